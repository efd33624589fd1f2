# Copyright (c) mmfdta authors.
"""What is called from outside: training, testing and the Python interface."""

import importlib
from typing import TYPE_CHECKING, Any

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

_MODULES = {
    'Archive': 'archive',
    'CountEvent': 'counting',
    'CountingLine': 'counting_shapes',
    'CountingZone': 'counting_shapes',
    'Counts': 'counting',
    'ExportedTracker': 'exported_tracker',
    'LiveStreams': 'streams',
    'MOTInferencer': 'inferencer',
    'ObjectCounter': 'counting',
    'RayWorkers': 'ray_archive',
    'StreamBudget': 'streams',
    'StreamReport': 'streams',
    'TrackedFrame': 'tracked_frame',
    'TrackingReport': 'tracking_run',
    'TrackingSession': 'tracking_session',
    'read_zones': 'counting_shapes',
    'track_archive': 'archive',
    'track_archive_on_ray': 'ray_archive',
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: commands need not wait for it."""
    if name in _MODULES:
        return getattr(importlib.import_module(f'.{_MODULES[name]}', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
