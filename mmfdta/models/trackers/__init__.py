# Copyright (c) mmfdta authors.
"""Trackers, which give detections their identities from frame to frame.

All have MMDetection's interface: ``track(data_sample, **context)`` returns the frame's
tracks (docs/add_a_tracker.md). A tracker holds the state of one video.

Names are loaded on first use; `assignment`, `embedding_memory` and `gallery` need no
PyTorch.
"""

import copy
from typing import Any

from mmfdta.utils.environment import prepare_mmdet
from mmfdta.utils.lazy import lazy_names

__all__ = [
    'PROTOCOLS',
    'ArrayMemory',
    'DeepSORTTracker',
    'EmbeddingMemory',
    'FDTATracker',
    'GalleryTracker',
    'IdentityAssignment',
    'IdentityGallery',
    'IoUEmbeddingTracker',
    'LibraryTracker',
    'MOTRTracker',
    'OnlineStrongSORTTracker',
    'TrajectoryHistory',
    'UpdateTracker',
    'new_tracker',
]

__getattr__ = lazy_names(
    __name__,
    {
        'appearance_sort': ('DeepSORTTracker', 'OnlineStrongSORTTracker'),
        'assignment': ('PROTOCOLS', 'IdentityAssignment'),
        'embedding_memory': ('ArrayMemory', 'TrajectoryHistory'),
        'fdta_tracker': ('EmbeddingMemory', 'FDTATracker'),
        'gallery': ('IdentityGallery',),
        'gallery_tracker': ('GalleryTracker',),
        'iou_embedding_tracker': ('IoUEmbeddingTracker',),
        'library_tracker': ('LibraryTracker', 'UpdateTracker'),
        'motr_tracker': ('MOTRTracker',),
    },
    before=prepare_mmdet,
)


def new_tracker(model: Any) -> Any:
    """Return a tracker for another video on the same model.

    Args:
        model: A model with a ``tracker``: FDTA, MOTR, TrackingByDetection. Pass the
            returned one to its ``predict(inputs, data_samples, tracker=...)``.

    Returns:
        A copy with the settings of ``model.tracker`` and nothing tracked yet.
    """
    tracker = copy.deepcopy(model.tracker)
    tracker.reset()
    return tracker
