# Copyright (c) mmfdta authors.
"""The embeddings that a tracker remembers; NumPy only.

The rules are written once, for any kind of array: `ArrayMemory` holds NumPy arrays,
:class:`~mmfdta.models.trackers.EmbeddingMemory` tensors on any device.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

# A kind of array: NumPy's, or a tensor.
Array = TypeVar('Array', bound=Any)


@dataclass
class TrajectoryHistory(Generic[Array]):
    """Live trajectories of the last T frames; times are 0..T-1, now is T.

    Attributes:
        features: (T, N, C) embeddings, 0 where missing.
        masks: (T, N) bool, True where missing.
        id_labels: (N,) int64 ID words, ascending.
    """

    features: Array
    masks: Array
    id_labels: Array


class EmbeddingWindow(ABC, Generic[Array]):
    """Sliding window over the embeddings of the last frames, one column per ID word.

    The window slides over a buffer of twice its length and jumps back to the front
    when it reaches the end: a frame costs one row, not a copy of the window. Indices
    come from the host, wherever the buffer is.

    Args:
        length: Frames in the window.
        num_words: K.
    """

    def __init__(self, length: int, num_words: int) -> None:
        self.length = length
        self.num_words = num_words
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._start = self._end = 0
        # The first frame tells device, dtype and channels.
        self._buffer: Any = None

    def __len__(self) -> int:
        """Frames in the window now."""
        return self._end - self._start

    def append(self, words: np.ndarray, embeddings: Array) -> None:
        """Add a frame; the oldest one leaves when the window is full.

        Args:
            words: (n,) int64, different from each other.
            embeddings: (n, C) of the detections that have them.
        """
        if self._buffer is None:
            self._buffer = self._zeros((2 * self.length, self.num_words), embeddings)
        buffer = self._buffer
        if len(self) == self.length:
            self._start += 1
        if self._end == 2 * self.length:
            frames = len(self)
            buffer[:frames] = buffer[self._start :]
            self._start, self._end = 0, frames
        self._write(buffer[self._end], words, embeddings)
        self._end += 1

    def forget(self, words: np.ndarray) -> None:
        """Empty the columns of words that are to name something else.

        Args:
            words: (n,) int64.
        """
        if self._buffer is not None and len(words):
            self._empty(self._buffer[self._start : self._end], words)

    def read(self, words: Array) -> Array:
        """Return the embeddings (T, n, C) of ``words`` (n,) int64, 0 where missing."""
        if self._buffer is None:
            raise ValueError('nothing is remembered yet')
        return self._columns(self._buffer[self._start : self._end], words)

    @abstractmethod
    def bring(self, arrays: Sequence[np.ndarray]) -> list[Array]:
        """Return host arrays beside the embeddings that are remembered."""

    @abstractmethod
    def rows(self, embeddings: Array, which: np.ndarray) -> Array:
        """Return some embeddings (m, C) of (n, C), by their indices (m,) int64."""

    @abstractmethod
    def on_host(self, array: Array) -> np.ndarray:
        """Return the same numbers as float32 on the host."""

    @abstractmethod
    def _zeros(self, shape: tuple[int, int], like: Array) -> Array:
        """Return zeros (*shape, C) for embeddings like these (n, C)."""

    @abstractmethod
    def _write(self, row: Array, words: np.ndarray, embeddings: Array) -> None:
        """Make (K, C) the embeddings of a frame, 0 for other words."""

    @abstractmethod
    def _empty(self, window: Array, words: np.ndarray) -> None:
        """Put 0 into the columns of words, of (T, K, C)."""

    @abstractmethod
    def _columns(self, window: Array, words: Array) -> Array:
        """Copy the columns (T, n, C) of words, of (T, K, C)."""


class ArrayMemory(EmbeddingWindow[np.ndarray]):
    """An :class:`EmbeddingWindow` of NumPy arrays."""

    def bring(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the arrays, which are where the embeddings are."""
        return [*arrays]

    def rows(self, embeddings: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Return some embeddings (m, C) of (n, C), by their indices (m,) int64."""
        return embeddings[which]

    def on_host(self, array: np.ndarray) -> np.ndarray:
        """Return the same numbers as float32."""
        return np.asarray(array, dtype=np.float32)

    def _zeros(self, shape: tuple[int, int], like: np.ndarray) -> np.ndarray:
        return np.zeros((*shape, like.shape[-1]), dtype=like.dtype)

    def _write(
        self, row: np.ndarray, words: np.ndarray, embeddings: np.ndarray
    ) -> None:
        row[:] = 0
        row[words] = embeddings

    def _empty(self, window: np.ndarray, words: np.ndarray) -> None:
        window[:, words] = 0

    def _columns(self, window: np.ndarray, words: np.ndarray) -> np.ndarray:
        return window.take(words, axis=1)
