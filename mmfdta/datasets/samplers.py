# Copyright (c) mmfdta authors.
"""Samplers of clips for training and of whole sequences for tracking."""

import logging
import random
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf

import numpy as np
import torch
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from torch.utils.data import Sampler

from mmfdta.utils.processes import divide_evenly

from .sequences import ClipIndex, Sequence


@DATA_SAMPLERS.register_module()
class ClipSampler(Sampler):
    """Yields clips of ``length`` frames at a random interval, shuffled.

    For every frame that leaves room for a clip, an interval is drawn from
    1..max_interval and limited by the frames that remain; the clip is legal
    if each of its frames has 1 to 300 objects with unique identities. Every
    static image gives one clip. The order is that of the released sampler:
    intervals from Python's generator and the permutation from PyTorch's, both
    seeded with ``seed + epoch``, so it is the same on every rank; rank ``r``
    of ``w`` takes the samples ``r, r + w, ...`` (arXiv 2512.02392, Sec. 4).

    Args:
        dataset: Has ``sequences`` and ``sequence_weights``.
        lengths: Frames in a clip T, or the epoch from
            which on each length holds, as in ``{0: 2, 8: 5}``.
        max_interval: Largest interval between two frames of a clip.
        seed: None draws one that all ranks share.
        round_up: Repeat samples from the start so that every rank gets
            as many.

    Raises:
        ValueError: If a length or interval is not positive, or no clip of the
            data set is legal; the message names the longest sequence.
    """

    def __init__(
        self,
        dataset: torch.utils.data.Dataset,
        lengths: int | dict[int, int] = 30,
        max_interval: int = 4,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.lengths = {0: lengths} if isinstance(lengths, int) else dict(lengths)
        self.max_interval = max_interval
        self.seed = sync_random_seed() if seed is None else seed
        self.round_up = round_up
        if 0 not in self.lengths or min(self.lengths.values()) < 1:
            raise ValueError(
                f'sampler.lengths={lengths}: expected a positive clip length, or '
                'a dict from epoch to length that begins at epoch 0'
            )
        if max_interval < 1:
            raise ValueError(f'sampler.max_interval={max_interval}: expected >= 1')
        for length in dict.fromkeys(self.lengths.values()):
            _check_length(dataset.sequences, length, max_interval)
        self.set_epoch(0)

    @property
    def clip_length(self) -> int:
        """Frames in a clip T in the current epoch."""
        return self.lengths[max(e for e in self.lengths if e <= self.epoch)]

    def set_epoch(self, epoch: int) -> None:
        """Draw the clips of an epoch, counted from 0."""
        self.epoch = epoch
        self._start = 0
        draws = random.Random(self.seed + epoch)
        clips = [
            (index, tuple(frames))
            for index, (sequence, weight) in enumerate(
                zip(self.dataset.sequences, self.dataset.sequence_weights, strict=True)
            )
            for frames in self._draw_sequence(sequence, weight, draws).tolist()
        ]
        if not clips:
            raise ValueError(
                f'no clip of {self.clip_length} frames was drawn in epoch {epoch} from '
                f'{len(self.dataset.sequences)} sequences. Lower '
                'train_dataloader.sampler.lengths or max_interval, or add data'
            )
        generator = torch.Generator()
        generator.manual_seed(self.seed + epoch)
        order = torch.randperm(len(clips), generator=generator).tolist()
        self.clips = [clips[i] for i in order]

    def skip(self, num_samples: int) -> None:
        """Leave out the first samples of this rank in the current epoch.

        The samples that follow are those that would have followed, with the
        same augmentation: this resumes an interrupted epoch.

        Args:
            num_samples: How many samples of this rank to leave out;
                holds until ``set_epoch``.
        """
        self._start = num_samples

    def _draw_sequence(
        self, sequence: Sequence, weight: int, generator: random.Random
    ) -> np.ndarray:
        """Draw a sequence's clips as int (clips, T) frames."""
        length = self.clip_length
        legal = sequence.legal_frames
        if sequence.is_static:
            return np.zeros((weight * int(legal[0]), length), dtype=int)
        begins = np.repeat(np.arange(max(len(sequence) - length + 1, 0)), weight)
        drawn = np.array(
            [generator.randint(1, self.max_interval) for _ in begins], dtype=int
        )
        room = (len(sequence) - 1 - begins) // max(length - 1, 1)
        intervals = np.minimum(drawn, room) if length > 1 else np.ones_like(drawn)
        frames = begins[:, None] + intervals[:, None] * np.arange(length)
        return frames[legal[frames].all(axis=1)]

    def __len__(self) -> int:
        total = len(self.clips)
        if self.round_up:
            mine = -(-total // self.world_size)
        else:
            mine = len(range(self.rank, total, self.world_size))
        return max(mine - self._start, 0)

    def __iter__(self) -> Iterator[ClipIndex]:
        total = len(self.clips)
        end = -(-total // self.world_size) * self.world_size
        places = range(self.rank, end if self.round_up else total, self.world_size)
        for place in places[self._start :]:
            sequence, frames = self.clips[place % total]
            yield ClipIndex(sequence, frames, (self.seed, self.epoch, place))


@DATA_SAMPLERS.register_module()
class SequenceSampler(Sampler):
    """Yields the frames of whole sequences, for tracking.

    Ranks get sequences with about as many frames, see
    :func:`~mmfdta.utils.processes.divide_evenly`, so that they finish together.

    Args:
        dataset: Has ``sequences``.
        seed: Accepted because the runner gives one to every
            sampler; nothing is random here.
    """

    def __init__(
        self, dataset: torch.utils.data.Dataset, seed: int | None = None
    ) -> None:
        rank, world_size = get_dist_info()
        lengths = [len(sequence) for sequence in dataset.sequences]
        self.indices = divide_evenly(lengths, world_size)[rank]
        self.lengths = lengths

    def __len__(self) -> int:
        return sum(self.lengths[i] for i in self.indices)

    def __iter__(self) -> Iterator[ClipIndex]:
        for index in self.indices:
            for frame in range(self.lengths[index]):
                yield ClipIndex(index, (frame,))


def _check_length(
    sequences: SequenceOf[Sequence], length: int, max_interval: int
) -> None:
    """Say which sequences can give no clip of a length.

    Raises:
        ValueError: If none can.
    """
    setting = f'train_dataloader.sampler.lengths={length}'
    short = [s for s in sequences if not s.is_static and len(s) < length]
    broken = [
        sequence
        for sequence in sequences
        if (sequence.is_static or len(sequence) >= length)
        and not _has_clip(sequence, length, max_interval)
    ]
    if sequences and len(short) == len(sequences):
        longest = max(short, key=len)
        raise ValueError(
            f'{setting} frames: no sequence is that long; the longest of {len(short)} '
            f'is {longest.name!r} with {len(longest)}. Lower the setting'
        )
    if len(short) + len(broken) == len(sequences):
        run, name = max(
            ((_longest_run(s.legal_frames), s.name) for s in sequences),
            default=(0, ''),
        )
        raise ValueError(
            f'{setting} frames: no clip of {len(sequences)} sequences has 1 to 300 '
            f'objects with unique identities in each frame; the longest stretch of '
            f'such frames has {run}, in {name!r}. Lower the setting, or see what '
            'mmfdta check-data says'
        )
    for found, reason in (
        (short, f'have fewer than {length} frames'),
        (broken, 'have no clip with 1 to 300 unique identities in each frame'),
    ):
        if found:
            names = ', '.join(f'{s.name} ({len(s)} frames)' for s in found[:3])
            print_log(
                f'{setting}: {len(found)} of {len(sequences)} sequences {reason} and '
                f'are left out: {names}{", ..." if len(found) > 3 else ""}',
                'current',
                logging.WARNING,
            )


def _has_clip(sequence: Sequence, length: int, max_interval: int) -> bool:
    """Tell whether some draw gives a legal clip of a sequence."""
    legal = sequence.legal_frames
    if sequence.is_static:
        return bool(legal[0])
    steps = np.arange(length)
    for interval in range(1, max_interval + 1):
        begins = np.arange(max(len(legal) - (length - 1) * interval, 0))
        if legal[begins[:, None] + interval * steps].all(axis=1).any():
            return True
    return False


def _longest_run(legal: np.ndarray) -> int:
    """Count the frames of the longest stretch of True."""
    ends = np.flatnonzero(np.diff(np.concatenate([[0], legal, [0]]).astype(int)))
    return int(np.diff(ends)[::2].max(initial=0))
