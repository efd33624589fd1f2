# Copyright (c) mmfdta authors.
"""Tracks on pictures, and figures."""

from mmfdta.utils.mmdet_setup import prepare_mmdet

prepare_mmdet()

from .colors import identity_color
from .comparison_plots import (
    DifferenceRow,
    TrackerPoint,
    plot_differences,
    plot_plane,
)
from .drawing import DrawnTracks, TrackDrawer, TrackStyle, draw_caption
from .plots import (
    SimilarityPanel,
    TimelineRow,
    plot_hota_curves,
    plot_scores,
    plot_similarity,
    plot_timeline,
    save_figure,
)
from .timeline import build_timeline, list_switches, save_timeline
from .track_visualizer import TrackVisualizer, drawn_tracks
from .video_writer import VIDEO_SUFFIXES, VideoWriter

__all__ = [
    'VIDEO_SUFFIXES',
    'DifferenceRow',
    'DrawnTracks',
    'SimilarityPanel',
    'TimelineRow',
    'TrackDrawer',
    'TrackStyle',
    'TrackVisualizer',
    'TrackerPoint',
    'VideoWriter',
    'build_timeline',
    'draw_caption',
    'drawn_tracks',
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
