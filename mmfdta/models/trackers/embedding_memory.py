# Copyright (c) mmfdta authors.
"""The embeddings that a tracker remembers; NumPy only.

One implementation serves all kinds of array: `ArrayMemory` holds NumPy arrays,
:class:`~mmfdta.models.trackers.EmbeddingMemory` tensors on any device.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

# A NumPy array or a tensor.
Array = TypeVar('Array', bound=Any)


@dataclass
class TrajectoryHistory(Generic[Array]):
    """Live trajectories of the last T frames, at times 0..T-1; the next frame is T.

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

    The window slides over a buffer of twice its length and is copied to the front only
    when it reaches the end, so most frames write a single row. Indices are on the host,
    also if the buffer is on a device.

    Args:
        length: Most frames in the window.
        num_words: Number K of ID words.
    """

    def __init__(self, length: int, num_words: int) -> None:
        self.length = length
        self.num_words = num_words
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._start = self._end = 0
        # Allocated at the first frame, which determines device, dtype and channels.
        self._buffer: Any = None

    def __len__(self) -> int:
        """Frames in the window now."""
        return self._end - self._start

    def append(self, words: np.ndarray, embeddings: Array) -> None:
        """Add a frame; a full window drops its oldest one.

        Args:
            words: (n,) int64, unique.
            embeddings: (n, C) of the detections with these words.
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
        """Empty the columns of words that are about to name other trajectories.

        Args:
            words: (n,) int64.
        """
        if self._buffer is not None and len(words):
            self._empty(self._buffer[self._start : self._end], words)

    def read(self, words: Array) -> Array:
        """Return the embeddings (T, n, C) of ``words`` (n,) int64, 0 where missing.

        Raises:
            ValueError: If nothing is remembered.
        """
        if self._buffer is None:
            raise ValueError('nothing is remembered yet')
        return self._columns(self._buffer[self._start : self._end], words)

    @abstractmethod
    def bring(self, arrays: Sequence[np.ndarray]) -> list[Array]:
        """Copy host arrays to the device of the remembered embeddings."""

    @abstractmethod
    def rows(self, embeddings: Array, which: np.ndarray) -> Array:
        """Return the embeddings (m, C) at the indices ``which`` (m,) int64."""

    @abstractmethod
    def on_host(self, array: Array) -> np.ndarray:
        """Return the same numbers as float32 on the host."""

    @abstractmethod
    def _zeros(self, shape: tuple[int, int], like: Array) -> Array:
        """Return zeros (*shape, C) for embeddings like these (n, C)."""

    @abstractmethod
    def _write(self, row: Array, words: np.ndarray, embeddings: Array) -> None:
        """Fill the row (K, C) with a frame's embeddings, 0 for other words."""

    @abstractmethod
    def _empty(self, window: Array, words: np.ndarray) -> None:
        """Set the columns of words in (T, K, C) to 0."""

    @abstractmethod
    def _columns(self, window: Array, words: Array) -> Array:
        """Copy the columns (T, n, C) of words out of (T, K, C)."""


class ArrayMemory(EmbeddingWindow[np.ndarray]):
    """An :class:`EmbeddingWindow` of NumPy arrays."""

    def bring(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the arrays; they are where the embeddings are."""
        return [*arrays]

    def rows(self, embeddings: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Return the embeddings (m, C) at the indices ``which`` (m,) int64."""
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
