# Copyright (c) mmfdta authors.
"""Which identity an ID word stands for now."""

from collections import OrderedDict

import numpy as np


class IDVocabulary:
    """K words that are lent to identities, the least recently used one first.

    Identities are counted up from 0 and never used again.

    Args:
        num_words: K.
    """

    def __init__(self, num_words: int) -> None:
        self.num_words = num_words
        self.clear()

    def clear(self) -> None:
        """Take all words back and count identities from 0 again."""
        self._queue = OrderedDict.fromkeys(range(self.num_words))
        self.identities = np.full(self.num_words, -1, dtype=np.int64)
        self.classes = np.full(self.num_words, -1, dtype=np.int64)
        self.next_identity = 0

    @property
    def queue(self) -> list[int]:
        """The words, the next one to be lent first."""
        return list(self._queue)

    def new_identities(self, number: int) -> np.ndarray:
        """Count up.

        Args:
            number: How many.

        Returns:
            (number,) int64 identities that never were.
        """
        first = self.next_identity
        self.next_identity += number
        return np.arange(first, self.next_identity)

    def touch(self, words: np.ndarray) -> None:
        """Note that words are in use, the last one most recently.

        Args:
            words: (n,) int64.
        """
        for word in words.tolist():
            self._queue.move_to_end(word)

    def lend(self, identities: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Give words to identities, the least recently used one first.

        They stay at the front of the queue until they are touched.

        Args:
            identities: (n,) int64, n at most K.
            classes: (n,) int64 class of each.

        Returns:
            (n,) int64 words.
        """
        words = np.array(self.queue[: len(identities)], dtype=np.int64)
        self.identities[words] = identities
        self.classes[words] = classes
        return words
