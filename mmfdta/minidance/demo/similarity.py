# Copyright (c) mmfdta authors.
"""How alike the embeddings of objects are, before and after training FDTA."""

import copy
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import load_checkpoint
from torch import nn

from mmfdta.apis.analysis.similarity import Similarities, match_clip
from mmfdta.datasets import ClipIndex
from mmfdta.visualization import SimilarityPanel

from .tracking import open_split

_STRIDE = 3
_LOWEST_SCORE = 0.3
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
    counted = Similarities(THRESHOLD)
    for index, sequence in enumerate(dataset.sequences):
        numbers = tuple(range(0, len(sequence), _STRIDE))
        batch = preprocessor(pseudo_collate([dataset[ClipIndex(index, numbers)]]))
        frames = list(batch['data_samples'][0])
        with torch.no_grad():
            outputs = detector.detect(batch['inputs']['img'][0], frames)
        found = match_clip(outputs, frames, _LOWEST_SCORE)
        counted.add(found.embeddings, found.frames, found.identities)
    return counted.panel(title)
