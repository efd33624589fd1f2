# Copyright (c) mmfdta authors.
"""Track a split with FDTA, and keep its detections for the others."""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import load_checkpoint

from mmfdta.datasets import ClipIndex, MOTSequenceDataset
from mmfdta.evaluation import TrackBoxes
from mmfdta.structures.mot_text import read_mot_rows, write_mot_rows

from ..stages import say
from .neighbours import FrameDetections

LOWEST_SCORE = 0.05
"""Detections below are not kept; ByteTrack's lowest threshold is 0.1."""
_FRAMES_AT_ONCE = 20


@dataclass(frozen=True)
class TrackedSequence:
    """A sequence with its ground truth and what FDTA made of it."""

    name: str
    image_paths: list[str]
    truth: TrackBoxes
    tracks: TrackBoxes
    detections: list[FrameDetections]


def open_split(config: Config, split: str) -> MOTSequenceDataset:
    """Open a split with the test pipeline of a config."""
    settings = config.test_dataloader.dataset.copy()
    settings.split = split
    return DATASETS.build(settings)


def track_split(config: Config, weights: Path, split: str, folder: Path) -> None:
    """Track every sequence of a split and write tracks and detections.

    Args:
        config (Config): FDTA's config.
        weights (Path): Its trained weights.
        split (str): ``val`` or ``test``.
        folder (Path): Gets ``<sequence>.txt``, the tracks, and
            ``detections/<sequence>.txt``, which have no identity (-1).
    """
    dataset = open_split(config, split)
    model = MODELS.build(copy.deepcopy(config.model))
    load_checkpoint(model, str(weights), map_location='cpu', strict=True)
    model.eval()
    for index, sequence in enumerate(dataset.sequences):
        found, tracks = [], []
        for start in range(0, len(sequence), _FRAMES_AT_ONCE):
            stop = min(start + _FRAMES_AT_ONCE, len(sequence))
            clip = dataset[ClipIndex(index, tuple(range(start, stop)))]
            detected, tracked = _track_clip(model, clip)
            found += detected
            tracks += tracked
        _write_frames(folder / f'{sequence.name}.txt', tracks)
        _write_frames(folder / 'detections' / f'{sequence.name}.txt', found)
        if (index + 1) % 5 == 0:
            say(f'      {split}: {index + 1}/{len(dataset.sequences)} sequences')


@torch.no_grad()
def _track_clip(model: torch.nn.Module, clip: dict) -> tuple[list, list]:
    """Detections and tracks of the next frames: (boxes, scores, identities)."""
    batch = model.data_preprocessor(pseudo_collate([clip]), False)
    outputs = model(**batch, mode='tensor')
    (frames,) = model(**batch, mode='predict')
    scores = outputs.cls_scores[-1].sigmoid().amax(-1)
    centre, size = outputs.bbox_preds[-1].split(2, -1)
    boxes = torch.cat([centre - size / 2, centre + size / 2], -1)
    detected, tracked = [], []
    for i, frame in enumerate(frames):
        kept = scores[i] > LOWEST_SCORE
        scale = boxes.new_tensor(frame.ori_shape[:2]).flip(0).repeat(2)
        nobody = np.full(int(kept.sum()), -1)
        detected.append(
            ((boxes[i, kept] * scale).numpy(), scores[i, kept].numpy(), nobody)
        )
        tracks = frame.pred_track_instances.numpy()
        tracked.append((tracks.bboxes, tracks.scores, tracks.instances_id))
    return detected, tracked


def _write_frames(path: Path, frames: list[tuple]) -> None:
    """Write boxes frame by frame as MOTChallenge text."""
    xywh = np.concatenate([boxes for boxes, _, _ in frames]).astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    write_mot_rows(
        path,
        np.repeat(np.arange(1, len(frames) + 1), [len(f[1]) for f in frames]),
        np.concatenate([identities for _, _, identities in frames]),
        xywh,
        np.concatenate([scores for _, scores, _ in frames]),
        decimals=6,
    )


def read_split(config: Config, split: str, folder: Path) -> list[TrackedSequence]:
    """Read what :func:`track_split` wrote, with the ground truth.

    Args:
        config (Config): FDTA's config.
        split (str): ``val`` or ``test``.
        folder (Path): Where the text is.

    Returns:
        list[TrackedSequence]: The sequences of the split.
    """
    sequences = []
    for source, sequence in _with_sources(open_split(config, split)):
        name = sequence.name
        sequences.append(
            TrackedSequence(
                name,
                [str(Path(sequence.image_dir, i)) for i in sequence.image_names],
                _read_boxes(source.gt_path),
                _read_boxes(folder / f'{name}.txt'),
                _read_detections(folder / 'detections' / f'{name}.txt', len(sequence)),
            )
        )
    return sequences


def _with_sources(dataset: MOTSequenceDataset) -> list[tuple]:
    return list(zip(dataset.sources(), dataset.sequences, strict=True))


def _read_boxes(path: str | Path) -> TrackBoxes:
    rows = read_mot_rows(path)
    return TrackBoxes.create(rows.frame, rows.identity, rows.xywh, rows.mark)


def _read_detections(path: Path, length: int) -> list[FrameDetections]:
    """Detections of every frame, best first."""
    rows = read_mot_rows(path)
    xyxy = rows.xywh.astype(np.float32)
    xyxy[:, 2:] += xyxy[:, :2]
    frames = []
    for number in range(1, length + 1):
        here = np.flatnonzero(rows.frame == number)
        here = here[np.argsort(-rows.mark[here], kind='stable')]
        frames.append(FrameDetections(xyxy[here], rows.mark[here].astype(np.float32)))
    return frames
