# Copyright (c) mmfdta authors.
"""Scores of sequences and classes, alone and combined."""

import functools
import operator
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mmfdta.structures.tracks import Sequence

from .additive import Additive
from .clear import CLEARCounts, count_clear
from .hota import HOTACounts, count_hota
from .identity import IdentityCounts, count_identity
from .overlap import find_overlaps

FAMILIES = ('HOTA', 'CLEAR', 'Identity')
_COUNTS = frozenset(
    (
        *('HOTA_TP', 'HOTA_FN', 'HOTA_FP'),
        *('CLR_TP', 'CLR_FN', 'CLR_FP', 'IDSW', 'MT', 'PT', 'ML', 'Frag', 'CLR_Frames'),
        *('IDTP', 'IDFN', 'IDFP'),
    )
)


@dataclass(frozen=True)
class Counts(Additive):
    """What the scores of a sequence, or of several, are made of.

    Attributes:
        hota (HOTACounts | None): None where the family is not asked for.
        clear (CLEARCounts | None): The same.
        identity (IdentityCounts | None): The same.
    """

    hota: HOTACounts | None = None
    clear: CLEARCounts | None = None
    identity: IdentityCounts | None = None

    def scores(self, of_sequence: bool = False) -> dict[str, float | np.ndarray]:
        """Compute all scores under the names of the official evaluation.

        Args:
            of_sequence (bool): These are the counts of one sequence, see
                :meth:`CLEARCounts.scores`.

        Returns:
            dict: Fractions of 1 and counts; the scores of the HOTA family as
            float64 (19,), one for each localisation threshold.
        """
        scores: dict[str, float | np.ndarray] = {}
        if self.hota is not None:
            scores |= self.hota.scores()
        if self.clear is not None:
            scores |= self.clear.scores(of_sequence)
        if self.identity is not None:
            scores |= self.identity.scores()
        return scores


def count_sequence(sequence: Sequence, families: Iterable[str] = FAMILIES) -> Counts:
    """Count what the scores of a prepared sequence need.

    Args:
        sequence (Sequence): The rows that are scored, see
            :meth:`Benchmark.prepare`.
        families (Iterable[str]): Of ``HOTA``, ``CLEAR``, ``Identity``.

    Returns:
        Counts: The sums.
    """
    overlaps = find_overlaps(sequence)
    return Counts(
        hota=count_hota(overlaps) if 'HOTA' in families else None,
        clear=count_clear(overlaps) if 'CLEAR' in families else None,
        identity=count_identity(overlaps) if 'Identity' in families else None,
    )


@dataclass(frozen=True)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        counts (dict[str, dict[str, Counts]]): By class name, then by sequence.
            Without classes there is the one class ``all``.
    """

    counts: dict[str, dict[str, Counts]]

    @property
    def classes(self) -> list[str]:
        """list[str]: The classes."""
        return list(self.counts)

    @property
    def sequences(self) -> list[str]:
        """list[str]: The sequences."""
        return list(next(iter(self.counts.values())))

    def of_sequence(self, sequence: str, name: str | None = None) -> dict:
        """Return the scores of one sequence.

        Args:
            sequence (str): The sequence.
            name (str | None): The class, by default the first.

        Returns:
            dict: See :meth:`Counts.scores`.
        """
        name = self.classes[0] if name is None else name
        return self.counts[name][sequence].scores(of_sequence=True)

    def of_class(self, name: str | None = None) -> dict:
        """Return the scores of a class over all sequences.

        Args:
            name (str | None): The class, by default the first.

        Returns:
            dict: See :meth:`Counts.scores`.
        """
        name = self.classes[0] if name is None else name
        return self._sum(self.counts[name].values()).scores()

    def over_detections(self) -> dict:
        """Return the scores over all classes, every box weighing the same.

        Returns:
            dict: See :meth:`Counts.scores`; with one class, that class's.
        """
        by_class = [self._sum(of.values()) for of in self.counts.values()]
        return self._sum(by_class).scores()

    def over_classes(self) -> dict:
        """Return the mean of the classes' scores and the sum of their counts.

        Returns:
            dict: See :meth:`Counts.scores`; with one class, that class's.
        """
        by_class = [self.of_class(name) for name in self.classes]
        return {
            field: (sum if field in _COUNTS else functools.partial(np.mean, axis=0))(
                [scores[field] for scores in by_class]
            )
            for field in by_class[0]
        }

    @staticmethod
    def _sum(counts: Iterable[Counts]) -> Counts:
        return functools.reduce(operator.add, counts)


def summarise(scores: dict[str, float | np.ndarray]) -> dict[str, float]:
    """Average scores over the localisation thresholds.

    Args:
        scores (dict): See :meth:`Counts.scores`.

    Returns:
        dict[str, float]: One number each.
    """
    return {name: float(np.mean(value)) for name, value in scores.items()}
