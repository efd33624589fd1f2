# Copyright (c) mmfdta authors.
"""Gives each rank whole sequences, frame by frame in order."""

from collections.abc import Iterator

import torch
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from ..structures import ClipIndex


@DATA_SAMPLERS.register_module()
class SequenceSampler(Sampler):
    """Yields the frames of whole sequences, for tracking.

    Sequences go to the rank that has the fewest frames so far, longest first,
    so ranks finish together; the division is the same on every rank. With
    more ranks than sequences some ranks get nothing.

    Args:
        dataset (Dataset): Has ``sequences``.
        seed (int | None): Accepted because the runner gives one to every
            sampler; nothing is random here.
    """

    def __init__(
        self, dataset: torch.utils.data.Dataset, seed: int | None = None
    ) -> None:
        rank, world_size = get_dist_info()
        lengths = [len(sequence) for sequence in dataset.sequences]
        self.indices = divide_sequences(lengths, world_size)[rank]
        self.lengths = lengths

    def __len__(self) -> int:
        return sum(self.lengths[i] for i in self.indices)

    def __iter__(self) -> Iterator[ClipIndex]:
        for index in self.indices:
            for frame in range(self.lengths[index]):
                yield ClipIndex(index, (frame,))


def divide_sequences(lengths: list[int], world_size: int) -> list[list[int]]:
    """Divide sequences among ranks, balanced by frames.

    Args:
        lengths (list[int]): Frames of every sequence.
        world_size (int): Number of ranks.

    Returns:
        list[list[int]]: Ascending sequence indices of every rank.
    """
    loads = [0] * world_size
    shares: list[list[int]] = [[] for _ in range(world_size)]
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        rank = min(range(world_size), key=lambda r: (loads[r], r))
        loads[rank] += lengths[index]
        shares[rank].append(index)
    return [sorted(share) for share in shares]
