# Copyright (c) mmfdta authors.
"""Training clips for the benchmarks."""

from dataclasses import dataclass

import numpy as np
import torch
from mmdet.structures import TrackDataSample
from mmengine.structures import BaseDataElement, InstanceData
from networks import make_frames

from mmfdta.datasets import make_id_targets


@dataclass
class ClipSize:
    """What a clip holds."""

    frames: int = 30
    objects: int = 30
    groups: int = 6
    height: int = 256
    width: int = 456


def make_clip(size: ClipSize, words: int = 50) -> TrackDataSample:
    """Make a clip whose objects are in every frame.

    Args:
        size: Of the clip.
        words: ID words.
    """
    extent = torch.tensor([size.width, size.height]) / 5
    clip = TrackDataSample()
    clip.video_data_samples = make_frames(size.frames, size.height, size.width)
    for frame in clip:
        left_top = torch.rand(size.objects, 2) * 4 * extent
        frame.gt_instances = InstanceData(
            bboxes=torch.cat([left_top, left_top + extent], dim=1),
            labels=torch.zeros(size.objects, dtype=torch.int64),
            instances_ids=torch.arange(size.objects),
        )
    ids = [np.arange(size.objects)] * size.frames
    rng = np.random.default_rng(0)
    targets = make_id_targets(ids, size.groups, words, words, 0.5, 0.5, rng)
    fields = {
        name: torch.from_numpy(array)
        for name, array in vars(targets).items()
        if name != 'column_ids'
    }
    clip.id_targets = [BaseDataElement(**fields)]
    return clip
