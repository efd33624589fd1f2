# Copyright (c) mmfdta authors.
"""What is called from outside: training, testing and the Python interface."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .counting import CountEvent, Counts, ObjectCounter
    from .counting_shapes import CountingLine, CountingZone, read_zones
    from .exported_tracker import ExportedTracker
    from .inferencer import MOTInferencer
    from .tracked_frame import TrackedFrame
    from .tracking_run import TrackingReport
    from .tracking_session import TrackingSession

__all__ = [
    'CountEvent',
    'CountingLine',
    'CountingZone',
    'Counts',
    'ExportedTracker',
    'MOTInferencer',
    'ObjectCounter',
    'TrackedFrame',
    'TrackingReport',
    'TrackingSession',
    'read_zones',
]

_MODULES = {
    'CountEvent': 'counting',
    'CountingLine': 'counting_shapes',
    'CountingZone': 'counting_shapes',
    'Counts': 'counting',
    'ExportedTracker': 'exported_tracker',
    'MOTInferencer': 'inferencer',
    'ObjectCounter': 'counting',
    'TrackedFrame': 'tracked_frame',
    'TrackingReport': 'tracking_run',
    'TrackingSession': 'tracking_session',
    'read_zones': 'counting_shapes',
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: commands need not wait for it."""
    if name in _MODULES:
        return getattr(importlib.import_module(f'.{_MODULES[name]}', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
