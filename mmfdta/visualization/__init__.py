# Copyright (c) mmfdta authors.
"""Tracks on pictures, and figures.

Only :class:`TrackVisualizer`, which is loaded when it is asked for, needs PyTorch
and MMDetection.
"""

from typing import TYPE_CHECKING, Any

from .colors import identity_color
from .drawing import TrackDrawer, TrackStyle, draw_caption
from .plots import (
    DifferenceRow,
    SimilarityPanel,
    TrackerPoint,
    plot_differences,
    plot_hota_curves,
    plot_plane,
    plot_scores,
    plot_similarity,
    save_figure,
)
from .timeline import (
    TimelineRow,
    build_timeline,
    list_switches,
    plot_timeline,
    save_timeline,
)
from .video_writer import VIDEO_SUFFIXES, VideoWriter

if TYPE_CHECKING:
    from .track_visualizer import TrackVisualizer

__all__ = [
    'VIDEO_SUFFIXES',
    'DifferenceRow',
    'SimilarityPanel',
    'TimelineRow',
    'TrackDrawer',
    'TrackStyle',
    'TrackVisualizer',
    'TrackerPoint',
    'VideoWriter',
    'build_timeline',
    'draw_caption',
    'identity_color',
    'list_switches',
    'plot_differences',
    'plot_hota_curves',
    'plot_plane',
    'plot_scores',
    'plot_similarity',
    'plot_timeline',
    'save_figure',
    'save_timeline',
]


def __getattr__(name: str) -> Any:
    if name == 'TrackVisualizer':
        from .track_visualizer import TrackVisualizer

        return TrackVisualizer
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
