# Copyright (c) mmfdta authors.
"""What is remembered of the trajectories in the last frames."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass
class TrajectoryHistory:
    """Live trajectories of the last T frames; times are 0..T-1, now is T.

    Attributes:
        features: (T, N, C) embeddings, 0 where missing.
        masks: (T, N) bool, True where missing.
        id_labels: (N,) int64 ID words, ascending.
    """

    features: Tensor
    masks: Tensor
    id_labels: Tensor


class HistoryBuffer:
    """Sliding window over the embeddings, one column an ID word.

    The window slides over a buffer of twice its length and jumps back to the front
    when it reaches the end: a frame costs one row, not a copy of the window.

    Args:
        length: Frames in the window.
        num_words: K.
        embed_dims: C.
    """

    def __init__(self, length: int, num_words: int, embed_dims: int) -> None:
        self.length = length
        self.num_words = num_words
        self.embed_dims = embed_dims
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._start = self._end = 0
        self._missing = np.ones((2 * self.length, self.num_words), dtype=bool)
        # Made anew with the first frame, which tells device and dtype.
        self._features = torch.zeros(0, self.num_words, self.embed_dims)

    def __len__(self) -> int:
        """Frames in the window now."""
        return self._end - self._start

    @property
    def missing(self) -> np.ndarray:
        """(T, K) bool: the word was not given in that frame of the window."""
        return self._missing[self._start : self._end]

    @property
    def live(self) -> np.ndarray:
        """(K,) bool: the word was given in some frame of the window."""
        return ~np.asarray(self.missing.all(0))

    def read(self) -> TrajectoryHistory:
        """Return the live trajectories."""
        words = np.flatnonzero(self.live)
        device = self._features.device
        id_labels = torch.from_numpy(words).to(device, non_blocking=True)
        masks = torch.from_numpy(self.missing[:, words])
        return TrajectoryHistory(
            features=self._features[self._start : self._end].index_select(1, id_labels),
            masks=masks.to(device, non_blocking=True),
            id_labels=id_labels,
        )

    def forget(self, words: np.ndarray) -> None:
        """Empty the columns of words that are to name something else.

        Args:
            words: (n,) int64.
        """
        words = words[self.live[words]]
        if len(words):
            self.missing[:, words] = True
            columns = torch.from_numpy(words).to(self._features.device)
            self._features[self._start : self._end].index_fill_(1, columns, 0)

    def append(self, words: np.ndarray, features: Tensor) -> None:
        """Add a frame; the oldest one leaves when the window is full.

        Args:
            words: (n,) int64, different from each other.
            features: (n, C) embeddings of the detections that have them.
        """
        if not len(self._features):
            self._features = features.new_zeros(
                2 * self.length, self.num_words, self.embed_dims
            )
        if len(self) == self.length:
            self._start += 1
        if self._end == 2 * self.length:
            frames = len(self)
            self._features[:frames] = self._features[self._start :]
            self._missing[:frames] = self._missing[self._start :]
            self._start, self._end = 0, frames
        columns = torch.from_numpy(words).to(features.device, non_blocking=True)
        self._features[self._end].zero_().index_copy_(
            0, columns, features.to(self._features)
        )
        self._missing[self._end] = True
        self._missing[self._end, words] = False
        self._end += 1
