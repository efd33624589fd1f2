# Copyright (c) mmfdta authors.
"""What is called from outside: training, testing and the Python interface."""

from typing import TYPE_CHECKING

from mmfdta.utils.lazy import lazy_names

if TYPE_CHECKING:
    from .archive import Archive, track_archive
    from .counting import CountEvent, Counts, ObjectCounter
    from .counting_shapes import CountingLine, CountingZone, read_zones
    from .exported_tracker import ExportedTracker
    from .inferencer import MOTInferencer
    from .ray_archive import RayWorkers, track_archive_on_ray
    from .streams import LiveStreams, StreamBudget, StreamReport
    from .tracked_frame import TrackedFrame
    from .tracking_run import TrackingReport
    from .tracking_session import TrackingSession

__all__ = [
    'Archive',
    'CountEvent',
    'CountingLine',
    'CountingZone',
    'Counts',
    'ExportedTracker',
    'LiveStreams',
    'MOTInferencer',
    'ObjectCounter',
    'RayWorkers',
    'StreamBudget',
    'StreamReport',
    'TrackedFrame',
    'TrackingReport',
    'TrackingSession',
    'read_zones',
    'track_archive',
    'track_archive_on_ray',
]

# Commands need not wait for what they do not use.
__getattr__ = lazy_names(
    __name__,
    {
        'archive': ('Archive', 'track_archive'),
        'counting': ('CountEvent', 'Counts', 'ObjectCounter'),
        'counting_shapes': ('CountingLine', 'CountingZone', 'read_zones'),
        'exported_tracker': ('ExportedTracker',),
        'inferencer': ('MOTInferencer',),
        'ray_archive': ('RayWorkers', 'track_archive_on_ray'),
        'streams': ('LiveStreams', 'StreamBudget', 'StreamReport'),
        'tracked_frame': ('TrackedFrame',),
        'tracking_run': ('TrackingReport',),
        'tracking_session': ('TrackingSession',),
    },
)
