# Copyright (c) mmfdta authors.
"""Which boxes a benchmark scores."""

from dataclasses import dataclass

import numpy as np

from mmfdta.structures.tracks import Sequence

from .assignment import match_frames
from .overlap import EPS, find_overlaps

_MOT_CLASSES = tuple(range(1, 14))
_PEDESTRIAN = 1


@dataclass(frozen=True)
class Benchmark:
    """The rules of a benchmark.

    Attributes:
        name (str): Its name in configs and on the command line.
        distractors (tuple[int, ...]): Classes whose objects may be found
            without penalty: results that match one are taken out. Empty where
            all rows count alike.
    """

    name: str
    distractors: tuple[int, ...] = ()

    def prepare(self, sequence: Sequence) -> Sequence:
        """Keep the boxes that are scored.

        Ground truth rows with mark 0 are never scored. With distractors (MOT17
        and its relatives) results are first matched with all of the ground
        truth at an IoU of 0.5, those on a distractor are taken out, and of the
        ground truth the pedestrians stay.

        Args:
            sequence (Sequence): All rows.

        Returns:
            Sequence: The rows to score.

        Raises:
            ValueError: If classes are found that the benchmark has not.
        """
        gt, pred = sequence.gt, sequence.pred
        keep = gt.mark != 0
        if self.distractors:
            self._check_classes(sequence)
            pred = pred.in_frame_order()
            pred = pred.select(~self._on_distractor(sequence))
            keep &= gt.category == _PEDESTRIAN
        return Sequence(sequence.name, sequence.num_frames, gt.select(keep), pred)

    def _check_classes(self, sequence: Sequence) -> None:
        strange = np.setdiff1d(sequence.gt.category, _MOT_CLASSES)
        if len(strange):
            raise ValueError(
                f'{sequence.name}: found ground truth of class {strange[0]}, '
                f'expected the classes 1 to {_MOT_CLASSES[-1]} of {self.name} in '
                'column 8; for other data choose benchmark mot_challenge'
            )
        strange = sequence.pred.category[sequence.pred.category > _PEDESTRIAN]
        if len(strange):
            raise ValueError(
                f'{sequence.name}: found a result of class {strange[0]}, but '
                f'{self.name} scores pedestrians only (class 1, or -1 for none)'
            )

    def _on_distractor(self, sequence: Sequence) -> np.ndarray:
        """Find results that match a distractor; bool (N,) in frame order."""
        overlaps = find_overlaps(sequence)
        score = np.where(overlaps.iou >= 0.5 - EPS, overlaps.iou, 0.0)
        matched = match_frames(overlaps, score) & (score > 0)
        category = sequence.gt.in_frame_order().category
        hit = matched & np.isin(category[overlaps.gt_row], self.distractors)
        found = np.zeros(len(sequence.pred), dtype=bool)
        found[overlaps.pred_row[hit]] = True
        return found


_MOT17_DISTRACTORS = (2, 7, 8, 12)
_ALL = (
    *(
        Benchmark(name)
        for name in ('mot_challenge', 'dancetrack', 'sportsmot', 'bft', 'minidance')
    ),
    Benchmark('mot17', distractors=_MOT17_DISTRACTORS),
    Benchmark('mot20', distractors=(*_MOT17_DISTRACTORS, 6)),
)
BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}


def get_benchmark(name: str) -> Benchmark:
    """Look a benchmark up.

    Args:
        name (str): Its name, in any case.

    Returns:
        Benchmark: Its rules.

    Raises:
        ValueError: If there is no such benchmark.
    """
    benchmark = BENCHMARKS.get(name.lower())
    if benchmark is None:
        raise ValueError(
            f'benchmark: found {name!r}, expected one of {", ".join(BENCHMARKS)}'
        )
    return benchmark
