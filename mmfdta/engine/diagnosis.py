# Copyright (c) mmfdta authors.
"""What is kept of a training iteration that went wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.structures import BaseDataElement

# A clip of this many frames is described frame by frame.
_LISTED = 40


def to_plain(value: object) -> object:
    """Copy data as tensors, containers, text and numbers.

    ``torch.load`` reads the result with ``weights_only=True``.

    Args:
        value: A batch, losses, data samples.

    Returns:
        The same; data elements become dicts, what is unknown its text.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, np.ndarray):
        numeric = value.dtype.kind in 'biuf'
        return torch.from_numpy(value.copy()) if numeric else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, BaseDataElement):
        return {name: to_plain(item) for name, item in value.all_items()}
    if isinstance(value, Mapping):
        return {str(name): to_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return repr(value)


def describe_samples(
    samples: Sequence[TrackDataSample | DetDataSample],
) -> list[dict[str, Any]]:
    """Name the frames of a batch.

    Args:
        samples: Clips or images.

    Returns:
        ``dataset``, ``sequence``, ``frame_ids`` (from 0) and ``img_paths`` of each, as
        far as they are known.
    """
    described = []
    for sample in samples:
        frames = list(sample) if isinstance(sample, TrackDataSample) else [sample]
        described.append(
            dict(
                dataset=frames[0].get('dataset'),
                sequence=frames[0].get('sequence'),
                frame_ids=[to_plain(frame.get('frame_id')) for frame in frames],
                img_paths=[frame.get('img_path') for frame in frames],
            )
        )
    return described


def format_samples(described: list[dict[str, Any]]) -> str:
    """Write what :func:`describe_samples` found for a person to read."""
    texts = []
    for sample in described:
        frames = ', '.join(map(str, sample['frame_ids'][:_LISTED]))
        if len(sample['frame_ids']) > _LISTED:
            frames += ', ...'
        texts.append(f'sequence {sample["sequence"]}, frame_id {frames}')
    return '; '.join(texts)
