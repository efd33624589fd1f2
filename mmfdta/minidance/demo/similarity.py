# Copyright (c) mmfdta authors.
"""How alike the embeddings of objects are, before and after training FDTA."""

import copy
from pathlib import Path

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from torch import nn

from mmfdta.apis.analysis.similarity import (
    Similarities,
    annotated_objects,
    match_clip,
)
from mmfdta.apis.sequence_loop import SequenceLoop
from mmfdta.visualization import SimilarityPanel

from .tracking import open_split

_STRIDE = 3
_FRAMES_AT_ONCE = 20
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
    detector.data_preprocessor = MODELS.build(config.model.data_preprocessor)
    loop = SequenceLoop(detector, dataset, batch_size=_FRAMES_AT_ONCE)
    counted = Similarities(THRESHOLD)
    for index, sequence in enumerate(dataset.sequences):
        numbers = range(0, len(sequence), _STRIDE)
        clip = match_clip(
            loop.detect(index, numbers).frames,
            annotated_objects(dataset, index, numbers),
            _LOWEST_SCORE,
        )
        counted.add(clip.embeddings, clip.frames, clip.identities)
    return counted.panel(title)
