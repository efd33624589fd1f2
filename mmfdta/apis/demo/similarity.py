# Copyright (c) mmfdta authors.
"""How alike the embeddings of objects are, before and after training FDTA."""

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import load_checkpoint
from torch import nn

from mmfdta.datasets import ClipIndex
from mmfdta.models.detectors import ClipTargets
from mmfdta.visualization import SimilarityPanel

from .tracking import open_split

_EDGES = np.linspace(-1, 1, 81)
_STRIDE = 3
THRESHOLD = 0.9
"""The paper counts the similarities of different objects above it."""


def load_detector(config: Config, weights: Path) -> nn.Module:
    """Build the detector of a config, which may be the whole model.

    Args:
        config (Config): Config of FDTA or of the plain detector.
        weights (Path): Trained weights.

    Returns:
        nn.Module: An FDTADetector.
    """
    model = MODELS.build(copy.deepcopy(config.model))
    load_checkpoint(model, str(weights), map_location='cpu', strict=True)
    return getattr(model, 'detector', model).eval()


def measure_similarity(
    detector: nn.Module, config: Config, split: str, title: str
) -> SimilarityPanel:
    """Compare the embeddings of the objects of each sequence.

    Args:
        detector (nn.Module): An FDTADetector.
        config (Config): FDTA's config, for data and preprocessing.
        split (str): The split to measure on.
        title (str): Title of the panel.

    Returns:
        SimilarityPanel: Cosine similarities of different objects in a frame,
        and of one object in two frames.
    """
    dataset = open_split(config, split)
    preprocessor = MODELS.build(config.model.data_preprocessor)
    different, same = [], []
    for index, sequence in enumerate(dataset.sequences):
        numbers = tuple(range(0, len(sequence), _STRIDE))
        batch = pseudo_collate([dataset[ClipIndex(index, numbers)]])
        vectors, time, who = _embed(detector, preprocessor(batch))
        cosine = vectors @ vectors.T
        pair = np.triu(np.ones_like(cosine, dtype=bool), 1)
        alike = who[:, None] == who
        different.append(cosine[pair & ~alike & (time[:, None] == time)])
        same.append(cosine[pair & alike])
    return _panel(title, np.concatenate(different), np.concatenate(same))


@torch.no_grad()
def _embed(detector: nn.Module, batch: dict) -> tuple[np.ndarray, ...]:
    """Unit embeddings, frames and identities of the annotated objects."""
    (frames,) = batch['data_samples']
    frames = list(frames)
    outputs = detector.detect(batch['inputs']['img'][0], frames)
    targets = ClipTargets.from_samples(frames)
    matches = detector.bbox_head.matcher(
        outputs.cls_scores, outputs.bbox_preds, targets
    )
    query = matches.query_idx[-1]
    frame, box = (query >= 0).nonzero(as_tuple=True)
    vectors = F.normalize(outputs.embeddings[frame, query[frame, box]], dim=-1)
    return vectors.numpy(), frame.numpy(), targets.identities[frame, box].numpy()


def _panel(title: str, different: np.ndarray, same: np.ndarray) -> SimilarityPanel:
    return SimilarityPanel(
        title=title,
        edges=_EDGES,
        different=np.histogram(different, _EDGES)[0],
        same=np.histogram(same, _EDGES)[0],
        threshold=THRESHOLD,
        share_different=float((different > THRESHOLD).mean()),
        share_same=float((same > THRESHOLD).mean()),
    )
