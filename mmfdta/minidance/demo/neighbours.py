# Copyright (c) mmfdta authors.
"""ByteTrack, OC-SORT and SORT of MMDetection on given detections."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmfdta.apis.config import find_config
from mmfdta.evaluation import TrackBoxes


@dataclass(frozen=True)
class FrameDetections:
    """Detections of one frame.

    Attributes:
        boxes (np.ndarray): float32 (N, 4), xyxy in pixels.
        scores (np.ndarray): float32 (N,).
    """

    boxes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Neighbour:
    """A tracker without learned association.

    Attributes:
        name (str): Its name in tables.
        config (str): Where its published settings are,
            ``configs/_base_/trackers/<config>.py``.
        grid (dict[str, tuple]): Values of settings that are tried on the
            validation split.
    """

    name: str
    config: str
    grid: dict[str, tuple]

    @functools.cached_property
    def published(self) -> dict:
        """dict: Config with the published settings."""
        path = find_config(f'_base_/trackers/{self.config}')
        return Config.fromfile(path).tracker.to_dict()

    def variants(self) -> Iterator[dict]:
        """Yield the published config with every combination of the grid."""
        for values in itertools.product(*self.grid.values()):
            yield {**self.published, **dict(zip(self.grid, values, strict=True))}


NEIGHBOURS = (
    Neighbour(
        'ByteTrack',
        'bytetrack',
        dict(
            obj_score_thrs=(dict(high=0.6, low=0.1), dict(high=0.4, low=0.1)),
            init_track_thr=(0.7, 0.5),
            match_iou_thrs=tuple(
                dict(high=high, low=0.5, tentative=0.3) for high in (0.1, 0.01)
            ),
        ),
    ),
    Neighbour(
        'OC-SORT',
        'ocsort',
        dict(
            init_track_thr=(0.7, 0.5),
            match_iou_thr=(0.3, 0.1),
            vel_consist_weight=(0.2, 0.0),
        ),
    ),
    Neighbour(
        'SORT', 'sort', dict(obj_score_thr=(0.5, 0.3), match_iou_thr=(0.5, 0.3, 0.1))
    ),
)


def run_neighbour(config: dict, frames: list[FrameDetections]) -> TrackBoxes:
    """Track one sequence.

    Args:
        config (dict): Config of one of MMDetection's trackers.
        frames (list[FrameDetections]): Detections of its frames.

    Returns:
        TrackBoxes: The tracks.
    """
    tracker = MODELS.build(config)
    numbers, identities, boxes, scores = [], [], [], []
    for frame_id, found in enumerate(frames):
        sample = DetDataSample(metainfo=dict(frame_id=frame_id))
        sample.pred_instances = InstanceData(
            bboxes=torch.from_numpy(found.boxes),
            scores=torch.from_numpy(found.scores),
            labels=torch.zeros(len(found.boxes), dtype=torch.int64),
        )
        tracks = tracker.track(model=None, img=None, data_sample=sample)
        numbers.append(np.full(len(tracks.bboxes), frame_id + 1))
        identities.append(tracks.instances_id.numpy())
        boxes.append(tracks.bboxes.numpy())
        scores.append(tracks.scores.numpy())
    xywh = np.concatenate(boxes).astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    return TrackBoxes.create(
        np.concatenate(numbers),
        np.concatenate(identities),
        xywh,
        np.concatenate(scores),
    )
