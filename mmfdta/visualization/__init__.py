# Copyright (c) mmfdta authors.
"""Tracks on pictures, and figures.

Only :class:`TrackVisualizer`, which is loaded when it is asked for, needs PyTorch
and MMDetection.
"""

from typing import TYPE_CHECKING

from mmfdta.utils.lazy import lazy_names

from .colors import identity_color
from .drawing import TrackDrawer, TrackStyle, draw_caption
from .plots import (
    DifferenceRow,
    EffectPanel,
    SimilarityPanel,
    TrackerPoint,
    plot_differences,
    plot_effects,
    plot_hota_curves,
    plot_paired,
    plot_plane,
    plot_scores,
    plot_shares,
    plot_similarity,
    save_figure,
)
from .timeline import (
    TimelineRow,
    build_timeline,
    describe_errors,
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
    'EffectPanel',
    'SimilarityPanel',
    'TimelineRow',
    'TrackDrawer',
    'TrackStyle',
    'TrackVisualizer',
    'TrackerPoint',
    'VideoWriter',
    'build_timeline',
    'describe_errors',
    'draw_caption',
    'identity_color',
    'list_switches',
    'plot_differences',
    'plot_effects',
    'plot_hota_curves',
    'plot_paired',
    'plot_plane',
    'plot_scores',
    'plot_shares',
    'plot_similarity',
    'plot_timeline',
    'save_figure',
    'save_timeline',
]


__getattr__ = lazy_names(__name__, {'track_visualizer': ('TrackVisualizer',)})
