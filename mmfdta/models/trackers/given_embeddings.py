# Copyright (c) mmfdta authors.
"""The embeddings of detections, for trackers that compare them on the host."""

from mmengine.structures import InstanceData
from torch import Tensor

from mmfdta.utils.transfers import to_host

from .assignment import check_finite


def given_embeddings(found: InstanceData, tracker: object, frame: int) -> Tensor:
    """Copy the embeddings of detections to the host.

    Args:
        found: n detections, with ``embeddings`` (n, C) on any device.
        tracker: The tracker that compares them, for the error.
        frame: Number of the frame in its sequence, from 0, for the error.

    Returns:
        (n, C) float32.

    Raises:
        ValueError: If there are no embeddings, or some are not finite.
    """
    if 'embeddings' not in found:
        raise ValueError(
            f'model.embeddings: {type(tracker).__name__} compares embeddings, and the '
            'detector gives none; set it, for example to '
            "dict(type='PooledEmbeddings')"
        )
    embeddings = to_host(found.embeddings).float()
    check_finite(embeddings.numpy(), 'embeddings', frame)
    return embeddings
