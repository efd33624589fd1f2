# Copyright (c) mmfdta authors.
"""ByteTrack, OC-SORT and SORT of MMDetection on given detections."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

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
        published (dict): Config with the published settings.
        grid (dict[str, tuple]): Values of settings that are tried on the
            validation split.
    """

    name: str
    published: dict
    grid: dict[str, tuple]

    def variants(self) -> Iterator[dict]:
        """Yield the published config with every combination of the grid."""
        for values in itertools.product(*self.grid.values()):
            yield {**self.published, **dict(zip(self.grid, values, strict=True))}


NEIGHBOURS = (
    Neighbour(
        'ByteTrack',
        dict(
            type='ByteTracker',
            motion=dict(type='KalmanFilter'),
            obj_score_thrs=dict(high=0.6, low=0.1),
            init_track_thr=0.7,
            weight_iou_with_det_scores=True,
            match_iou_thrs=dict(high=0.1, low=0.5, tentative=0.3),
            num_frames_retain=30,
        ),
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
        dict(
            type='OCSORTTracker',
            motion=dict(type='KalmanFilter'),
            obj_score_thr=0.3,
            init_track_thr=0.7,
            weight_iou_with_det_scores=True,
            match_iou_thr=0.3,
            num_tentatives=3,
            vel_consist_weight=0.2,
            vel_delta_t=3,
            num_frames_retain=30,
        ),
        dict(
            init_track_thr=(0.7, 0.5),
            match_iou_thr=(0.3, 0.1),
            vel_consist_weight=(0.2, 0.0),
        ),
    ),
    Neighbour(
        'SORT',
        dict(
            type='SORTTracker',
            motion=dict(type='KalmanFilter', center_only=False),
            obj_score_thr=0.5,
            match_iou_thr=0.5,
            reid=None,
        ),
        dict(obj_score_thr=(0.5, 0.3), match_iou_thr=(0.5, 0.3, 0.1)),
    ),
)
"""The published settings are those of MMDetection's configs for MOT17."""


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
