# Copyright (c) mmfdta authors.
"""Which boxes count: the rules of the benchmarks, applied to a sequence.

What TrackEval 1.3.0 does for a benchmark is done here operation by operation, so
that two matches that tie there tie here.
"""

from dataclasses import replace

import numpy as np

from mmfdta.structures.benchmarks import Benchmark, RegionRule, get_benchmark
from mmfdta.structures.tracks import Sequence, Tracks

from .matching import EPS, find_overlaps, match_frames


def select_scored(
    sequence: Sequence,
    benchmark: str | Benchmark,
    numbers: tuple[int, ...] | None = None,
) -> Sequence:
    """Keep the boxes that a benchmark scores.

    Ground truth rows with a column 7 of 0 are never scored. With distractors
    (MOT17 and its relatives) results are first matched with all of the ground
    truth at an IoU of 0.5, those on a distractor are taken out, and of the
    ground truth the pedestrians stay. Regions to ignore take results out as the
    benchmark's ``region_rule`` says.

    Args:
        sequence: Both sides, all rows.
        benchmark: Whose rules.
        numbers: The class to keep, by its numbers; None: all boxes, or the one
            class that the benchmark scores.

    Raises:
        ValueError: If classes are found that the benchmark has not, or there is
            no such benchmark.
    """
    if isinstance(benchmark, str):
        benchmark = get_benchmark(benchmark)
    if benchmark.scored_class is not None:
        _check_classes(sequence, benchmark)
        numbers, distractors = (benchmark.scored_class,), benchmark.distractors
    else:
        like = zip(benchmark.numbers, benchmark.lookalikes, strict=False)
        chosen = numbers or ()
        # Scored together with its look-alike, a class has none.
        distractors = tuple(o for n, o in like if n in chosen and o not in chosen)
    sequence = replace(
        sequence,
        gt=sequence.gt.in_frame_order(),
        pred=sequence.pred.in_frame_order(),
        ignored=sequence.ignored.in_frame_order(),
    )
    if benchmark.region_rule is not RegionRule.UNMATCHED:
        sequence = _outside_regions(sequence, benchmark.region_rule)
    gt, pred, ignored = sequence.gt, sequence.pred, sequence.ignored
    if numbers is not None and benchmark.scored_class is None:
        gt = gt.select(np.isin(gt.label, (*numbers, *distractors)))
        pred = pred.select(np.isin(pred.label, numbers))
        ignored = ignored.select(np.isin(ignored.label, (*numbers, -1)))
    scored = gt.score != 0
    distracting = np.isin(gt.label, distractors)
    if benchmark.unscored_distract:
        distracting |= ~scored
    elif benchmark.scored_class is None:  # unscored rows shield no result
        gt = gt.select(scored)
        scored, distracting = scored[scored], distracting[scored]
    if numbers is not None:
        scored &= np.isin(gt.label, numbers)
    sequence = replace(sequence, gt=gt, pred=pred, ignored=ignored)
    has_rules = (
        distracting.any()
        or len(ignored)
        or sequence.partial is not None
        or benchmark.min_height is not None
    )
    if has_rules and len(pred):
        pred = pred.select(~_uncounted(sequence, benchmark, numbers, distracting))
    return replace(
        sequence, gt=gt.select(scored), pred=pred, ignored=Tracks.empty(), partial=None
    )


def _check_classes(sequence: Sequence, benchmark: Benchmark) -> None:
    known, scored = benchmark.known_classes, benchmark.scored_class
    strange = np.setdiff1d(sequence.gt.label, known)
    if len(strange):
        raise ValueError(
            f'{sequence.name}: found ground truth of class {strange[0]}, expected '
            f'the classes {known[0]} to {known[-1]} of {benchmark.name} in column 8; '
            'for other data choose benchmark mot_challenge'
        )
    strange = sequence.pred.label[sequence.pred.label > scored]
    if len(strange):
        raise ValueError(
            f'{sequence.name}: found a result of class {strange[0]}, but '
            f'{benchmark.name} scores {benchmark.classes[0]}s only (class {scored}, or '
            '-1 for none)'
        )


def _uncounted(
    sequence: Sequence,
    benchmark: Benchmark,
    numbers: tuple[int, ...] | None,
    distracting: np.ndarray,
) -> np.ndarray:
    """Find results that are neither right nor wrong.

    Args:
        sequence: One class, both sides in frame order.
        benchmark: Whose rules.
        numbers: The class.
        distracting: bool (M,), the rows of the ground truth that are distractors.

    Returns:
        bool (N,).
    """
    gt, pred = sequence.gt, sequence.pred
    overlaps = find_overlaps(sequence)
    score = np.where(overlaps.iou >= 0.5 - EPS, overlaps.iou, 0.0)
    pairs = match_frames(overlaps, score) & (score > 0)
    matched = np.zeros(len(pred), dtype=bool)
    matched[overlaps.pred_row[pairs]] = True
    found = np.zeros(len(pred), dtype=bool)
    found[overlaps.pred_row[pairs & distracting[overlaps.gt_row]]] = True
    others = np.zeros(len(pred), dtype=bool)
    corners = pred.xyxy
    if benchmark.min_height is not None:
        height = corners[:, 3] - corners[:, 1]
        others |= height <= benchmark.min_height + EPS
    if len(sequence.ignored):
        others |= _half_in_one(pred, sequence.ignored)
    if sequence.partial is not None:
        if numbers is None:
            raise ValueError(
                f'{sequence.name}: its classes are annotated in part, so that they '
                'must be scored one by one'
            )
        if sequence.partial.not_exhaustive.intersection(numbers):
            others[:] = True
        elif not sequence.partial.negative.intersection(numbers):
            others |= ~np.isin(pred.frame, gt.frame)
    return found | (~matched & others)


def _same_frame(tracks: Tracks, regions: Tracks) -> tuple[np.ndarray, np.ndarray]:
    """Pair every box with every region of its frame.

    Args:
        tracks: N boxes.
        regions: R regions in frame order.

    Returns:
        int64 (K,) both, rows of ``tracks``, ascending, and of ``regions``.
    """
    first = np.searchsorted(regions.frame, tracks.frame)
    count = np.searchsorted(regions.frame, tracks.frame, 'right') - first
    row = np.repeat(np.arange(len(tracks)), count)
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return row, first[row] + within


def _half_in_one(tracks: Tracks, regions: Tracks) -> np.ndarray:
    """Find boxes of whose area more than half lies in one region; bool (N,)."""
    row, region = _same_frame(tracks, regions)
    box, other = tracks.xyxy[row], regions.xyxy[region]
    low, high = np.maximum(box, other), np.minimum(box, other)
    inside = np.maximum(high[:, 2] - low[:, 0], 0)
    inside *= np.maximum(high[:, 3] - low[:, 1], 0)
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    share = np.zeros(len(row))
    np.divide(inside, area, out=share, where=area > EPS)
    found = np.zeros(len(tracks), dtype=bool)
    found[row[share > 0.5 + EPS]] = True
    return found


def _outside_regions(sequence: Sequence, rule: RegionRule) -> Sequence:
    """Take out what a toolkit takes out before it matches anything."""
    gt, pred, regions = sequence.gt, sequence.pred, sequence.ignored
    if rule is RegionRule.MOSTLY:
        gt = gt.select(~_half_in_pixels(gt, regions))
        pred = pred.select(~_half_in_pixels(pred, regions))
    else:
        row, region = _same_frame(pred, regions)
        box, other = pred.xyxy[row], regions.xyxy[region]
        within = (box[:, :2] > other[:, :2]) & (box[:, 2:] < other[:, 2:])
        found = np.zeros(len(pred), dtype=bool)
        found[row[within.all(axis=1)]] = True
        pred = pred.select(~found)
    return replace(sequence, gt=gt, pred=pred, ignored=Tracks.empty())


def _half_in_pixels(tracks: Tracks, regions: Tracks) -> np.ndarray:
    """Find boxes of which at least half lies in the regions of the frame together.

    The VisDrone toolkit draws the regions into a map of pixels, both borders
    included, and counts them below a box, the left and upper border left out; all
    numbers are rounded and at least 1. The map itself is not needed.

    Args:
        tracks: N boxes in frame order.
        regions: In frame order.

    Returns:
        bool (N,).
    """
    found = np.zeros(len(tracks), dtype=bool)
    boxes, others = _whole(tracks.xywh), _whole(regions.xywh)
    for frame in np.intersect1d(tracks.frame, regions.frame):
        rows = slice(*np.searchsorted(tracks.frame, (frame, frame + 1)))
        first, last = np.searchsorted(regions.frame, (frame, frame + 1))
        here = others[first:last]
        start, stop = here[:, :2], here[:, :2] + here[:, 2:] + 1
        edges = [np.unique((start[:, i], stop[:, i])) for i in range(2)]
        # Cells between the edges, those of any region.
        covered = np.zeros((len(edges[0]) - 1, len(edges[1]) - 1), dtype=bool)
        for low, high in zip(start, stop, strict=True):
            i, j = (np.searchsorted(edges[k], (low[k], high[k])) for k in range(2))
            covered[slice(*i), slice(*j)] = True
        box = boxes[rows]
        left, right = box[:, :2] + 1, box[:, :2] + box[:, 2:] + 1
        across, down = (
            np.maximum(
                np.minimum(right[:, k, None], edges[k][1:])
                - np.maximum(left[:, k, None], edges[k][:-1]),
                0,
            )
            for k in range(2)
        )
        pixels = ((across @ covered) * down).sum(axis=1)
        found[rows] = 2 * pixels >= box[:, 2] * box[:, 3]
    return found


def _whole(xywh: np.ndarray) -> np.ndarray:
    """Round to pixels as MATLAB does, numbers from 1; int64."""
    return np.maximum(np.floor(xywh + 0.5), 1).astype(np.int64)
