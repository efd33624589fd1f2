# Copyright (c) mmfdta authors.
"""Keeps what the detector found, so that association can be tried many times."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from torch import Tensor

from mmfdta.datasets import MOTSequenceDataset
from mmfdta.models import FDTA
from mmfdta.structures.whole_files import open_whole

from ..progress import Progress
from .detection import detect_clip


@dataclass(frozen=True)
class CachedSequence:
    """Detections of a sequence above the lowest threshold that will be tried.

    Attributes:
        name (str): The sequence.
        image_size (tuple[int, int]): (H, W) of the original frames.
        offsets (list[int]): L + 1, where the rows of each frame start.
        boxes (Tensor): float32 (D, 4) cxcywh in 0..1.
        scores (Tensor): float32 (D,).
        labels (Tensor): int64 (D,).
        embeddings (Tensor): float32 (D, C).
    """

    name: str
    image_size: tuple[int, int]
    offsets: list[int]
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    embeddings: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def to(self, device: torch.device) -> 'CachedSequence':
        """Copy to a device."""
        tensors = (self.boxes, self.scores, self.labels, self.embeddings)
        return CachedSequence(
            self.name, self.image_size, self.offsets, *(t.to(device) for t in tensors)
        )


def fingerprint(
    model: FDTA, config: Config, dataset_cfg: ConfigDict, lowest_score: float
) -> str:
    """Name what decides about the detections: weights, model, data.

    Args:
        model (FDTA): With its weights.
        config (Config): Its config.
        dataset_cfg (ConfigDict): Config of the data.
        lowest_score (float): Detections with a score not above it are left out.

    Returns:
        str: 16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, value in model.detector.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    facts = [
        config.model.detector,
        config.model.get('data_preprocessor'),
        dataset_cfg,
        os.path.abspath(dataset_cfg.get('data_root') or ''),
        lowest_score,
    ]
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def cache_detections(
    model: FDTA,
    dataset: MOTSequenceDataset,
    folder: Path,
    lowest_score: float,
    batch_size: int = 1,
) -> list[CachedSequence]:
    """Detect in every frame once; sequences that are there are read.

    Args:
        model (FDTA): In evaluation mode.
        dataset (MOTSequenceDataset): The data.
        folder (Path): Where the detections of this model and data lie.
        lowest_score (float): Detections with a score not above it are left out.
        batch_size (int): Frames the detector takes at a time.

    Returns:
        list[CachedSequence]: On the CPU, in the order of the data set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f'{sequence.name}.npz' for sequence in dataset.sequences]
    missing = [i for i, path in enumerate(paths) if not path.is_file()]
    if missing:
        bar = Progress(sum(len(dataset.sequences[i]) for i in missing))
        for index in missing:
            found = _detect(model, dataset, index, lowest_score, batch_size, bar)
            _save(paths[index], found)
        bar.close()
    return [
        _load(path, sequence.name)
        for path, sequence in zip(paths, dataset.sequences, strict=True)
    ]


def _detect(
    model: FDTA,
    dataset: MOTSequenceDataset,
    index: int,
    lowest_score: float,
    batch_size: int,
    bar: Progress,
) -> CachedSequence:
    rows: list[tuple[Tensor, ...]] = []
    counts = [0]
    length = len(dataset.sequences[index])
    for start in range(0, length, batch_size):
        chunk = range(start, min(start + batch_size, length))
        outputs, frames = detect_clip(model, dataset, index, chunk)
        scores, labels = outputs.cls_scores[-1].sigmoid().max(-1)
        kept = scores > lowest_score
        parts = (outputs.bbox_preds[-1], scores, labels, outputs.embeddings)
        rows.append(tuple(part[kept].float().cpu() for part in parts))
        counts += kept.sum(1).tolist()
        for _ in chunk:
            bar.update()
    boxes, scores, labels, embeddings = (
        torch.cat(part) for part in zip(*rows, strict=True)
    )
    return CachedSequence(
        dataset.sequences[index].name,
        tuple(frames[0].ori_shape[:2]),
        np.cumsum(counts).tolist(),
        boxes,
        scores,
        labels.long(),
        embeddings,
    )


def _save(path: Path, sequence: CachedSequence) -> None:
    with open_whole(path) as file:
        np.savez(
            file,
            image_size=sequence.image_size,
            offsets=sequence.offsets,
            boxes=sequence.boxes.numpy(),
            scores=sequence.scores.numpy(),
            labels=sequence.labels.numpy(),
            embeddings=sequence.embeddings.numpy(),
        )


def _load(path: Path, name: str) -> CachedSequence:
    with np.load(path, allow_pickle=False) as file:
        height, width = file['image_size'].tolist()
        return CachedSequence(
            name,
            (height, width),
            file['offsets'].tolist(),
            *(
                torch.from_numpy(file[key])
                for key in ('boxes', 'scores', 'labels', 'embeddings')
            ),
        )
