# Copyright (c) mmfdta authors.
"""Recognises boxes that are not left, top, width, height in pixels.

A file of corners, centres or boxes in 0..1 reads without an error and scores almost
nothing. The numbers of one side, or a much better fit to the other side under another
interpretation, reveal it. A bad tracker is not mistaken for it, because no other
interpretation makes its boxes fit.
"""

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf

import numpy as np

from .tracks import Sequence, Tracks

# Most frames of a sequence that are examined.
_FRAMES = 40
# Fewest boxes from which anything is concluded.
_FEWEST = 8
_EPS = np.finfo('float').eps
# Boxes agree at the first IoU, and are close at the second.
_AGREES, _CLOSE = 0.5, 0.65
# Share of boxes that must agree under another interpretation: at least the first, and
# either the second more than without it, or the third times as many.
_SHARE, _MORE, _TIMES = 0.5, 0.4, 3
_USE_PIXELS = 'write left,top,width,height in pixels of the image'

# Other meanings of the four numbers of a box, each with its conversion to left, top,
# width, height.
_READINGS: dict[str, Callable[..., SequenceOf[np.ndarray]]] = {
    'corners x1,y1,x2,y2': lambda a, b, c, d: (a, b, c - a, d - b),
    'centres with width and height': lambda a, b, c, d: (a - c / 2, b - d / 2, c, d),
    'foot points with width and height': lambda a, b, c, d: (a - c / 2, b - d, c, d),
    'top,left,height,width': lambda a, b, c, d: (b, a, d, c),
    'left,top,height,width': lambda a, b, c, d: (a, b, d, c),
    'left,top,aspect ratio,height': lambda a, b, c, d: (a, b, c * d, d),
    'centres with aspect ratio and height': lambda a, b, c, d: (
        *(a - c * d / 2, b - d / 2),
        *(c * d, d),
    ),
    'corners y1,x1,y2,x2': lambda a, b, c, d: (b, a, d - b, c - a),
    'x1,x2,y1,y2': lambda a, b, c, d: (a, c, b - a, d - c),
}
_SWAPS = ('top,left,height,width', 'left,top,height,width')


def describe_boxes(tracks: Tracks, shape: tuple[int, int] | None = None) -> str | None:
    """Describe boxes that do not look like left, top, width, height in pixels.

    Args:
        tracks: A ground truth or a result.
        shape: Height and width of the images, if known.

    Returns:
        What they look like and what to do; None if they are plausible.
    """
    if _has_split_decimals(tracks):
        return (
            'the boxes look like decimal commas, each number read as two columns; '
            'write numbers with a decimal point'
        )
    tracks = tracks.select(tracks.xywh[:, 2:].min(axis=1, initial=np.inf) > 0)
    if is_normalised(tracks):
        return f'the boxes look like fractions of the image, 0..1; {_USE_PIXELS}'
    if len(tracks) < _FEWEST:
        return None
    start, end = tracks.xywh[:, :2], tracks.xywh[:, 2:]
    if (end > start).all(axis=1).mean() < 0.99:
        return None
    # The left and right side of a box are close to each other, wherever it is. One
    # object that moves and comes closer may also have such numbers, but not several.
    several = len(np.unique(tracks.identity)) > 2
    looks = several and _grow_together(start[:, 0], end[:, 0])
    if shape is not None:
        size = np.array(shape[::-1]) * 1.05
        leaves = (start + end > size).any(axis=1).mean()
        looks |= bool(leaves > 0.2 and (end <= size).all(axis=1).mean() > 0.99)
    if not looks:
        return None
    return f'the boxes look like corners x1,y1,x2,y2; {_USE_PIXELS}'


def _has_split_decimals(tracks: Tracks) -> bool:
    """Return whether y and h are single digits of any value, as after a comma."""
    digits = tracks.xywh[:, 1::2]
    return bool(
        len(tracks) >= 2 * _FEWEST
        and (tracks.xywh == np.floor(tracks.xywh)).all()
        and ((digits >= 0) & (digits <= 9)).all()
        and min(len(np.unique(column)) for column in digits.T) > 4
        and tracks.xywh[:, ::2].max() > 20
    )


def is_normalised(tracks: Tracks) -> bool:
    """Return whether all boxes are within about 0..1 and not all are integers."""
    xyxy = tracks.xyxy
    return bool(
        len(xyxy)
        and (np.abs(xyxy) <= 1.5).all()
        and (tracks.xywh[:, 2:] <= 1.05).all()
        and (xyxy != np.floor(xyxy)).any()
    )


def describe_pairs(sequences: SequenceOf[Sequence]) -> str | None:
    """Describe which side of the sequences has boxes in another form than the other.

    Args:
        sequences: All sequences that are scored together.

    Returns:
        Name of the sequence, which side, and the evidence; None if all is plausible.
    """
    groups = [[sequence] for sequence in sequences if not _is_small(sequence)]
    small = [sequence for sequence in sequences if _is_small(sequence)]
    for group in [*groups, small]:
        message = _describe_group(group)
        if message is not None:
            more = f' and {len(group) - 1} more' if len(group) > 1 else ''
            return f'{group[0].name}{more}: {message}'
    return None


def _is_small(sequence: Sequence) -> bool:
    return min(len(sequence.gt), len(sequence.pred)) < _FEWEST


def _describe_group(group: SequenceOf[Sequence]) -> str | None:
    sides = {
        'ground truth': Tracks.concatenate([s.gt for s in group]),
        'results': Tracks.concatenate([s.pred for s in group]),
    }
    normalised = [name for name, side in sides.items() if is_normalised(side)]
    if len(normalised) == 1:
        return (
            f'the boxes of the {normalised[0]} look like fractions of the image, 0..1, '
            f'and those of the other side do not; {_USE_PIXELS}'
        )
    found = _describe_overlap(_Pairs(group))
    if found is not None:
        return found
    for name, side in sides.items():
        looks = None if normalised else describe_boxes(side)
        if looks is not None:
            return f'{name}: {looks}'
    return None


def _describe_overlap(pairs: '_Pairs') -> str | None:
    """Describe the interpretation under which one side overlaps the other."""
    if min(len(pairs.gt), len(pairs.pred)) < _FEWEST:
        return None
    plain = max(pairs.shares(pairs.gt, pairs.pred))
    least = max(_SHARE, min(plain * _TIMES, plain + _MORE))
    if least > 1:
        return None
    for reading, convert in _READINGS.items():
        gt, pred = (
            np.stack(convert(*boxes.T), axis=1) for boxes in (pairs.gt, pairs.pred)
        )
        for name, sides in (
            ('the results', (pairs.gt, pred)),
            ('the ground truth', (gt, pairs.pred)),
        ):
            if pairs.fit(sides, least, of_one='corners' in reading):
                if reading in _SWAPS:  # of either side
                    name = 'one side'
                share = max(pairs.shares(*sides))
                return (
                    f'the boxes of {name} look like {reading}: read this way, '
                    f'{share:.0%} overlap the other side by half or more, else '
                    f'{plain:.0%}; {_USE_PIXELS}'
                )
    scale = pairs.find_scale()
    scaled = pairs.gt, pairs.pred * np.tile(scale, 2)
    shift = pairs.find_shift(pairs.gt, pairs.pred)
    shifted = pairs.gt, pairs.pred + np.append(shift, (0, 0))
    if (
        max(abs(np.log(scale))) > 0.08
        and pairs.fit(scaled, least)
        and (sum(pairs.shares(*shifted)) < sum(pairs.shares(*scaled)))
    ):
        return (
            f'the boxes of the results fit the ground truth when they are multiplied '
            f'by {scale[0]:.3g} (x) and {scale[1]:.3g} (y), but hardly without this: '
            'both sides must have pixels of the same image size'
        )
    return None


class _Pairs:
    """Boxes of both sides in some frames, and every pair that shares a frame.

    Attributes:
        gt: float64 (N, 4), left, top, width, height.
        pred: float64 (M, 4).
        gt_identity: int64 (N,).
        row: int64 (K,), the row of ``gt`` of each pair.
        other: int64 (K,), the row of ``pred``.
    """

    def __init__(self, group: SequenceOf[Sequence]) -> None:
        self.gt, self.pred = np.zeros((0, 4)), np.zeros((0, 4))
        self.gt_identity = np.zeros(0, np.int64)
        rows, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for sequence in group:
            shared = np.intersect1d(sequence.gt.frame, sequence.pred.frame)
            places = np.linspace(0, len(shared) - 1, min(_FRAMES, len(shared)))
            chosen = shared[places.astype(np.int64)]
            gt, pred = (
                side.select(np.isin(side.frame, chosen)).in_frame_order()
                for side in (sequence.gt, sequence.pred)
            )
            first = np.searchsorted(pred.frame, gt.frame)
            count = np.searchsorted(pred.frame, gt.frame, 'right') - first
            row = np.repeat(np.arange(len(gt)), count)
            within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
            rows.append(row + len(self.gt))
            others.append(first[row] + within + len(self.pred))
            self.gt_identity = np.append(self.gt_identity, gt.identity)
            self.gt = np.concatenate([self.gt, gt.xywh])
            self.pred = np.concatenate([self.pred, pred.xywh])
        self.row, self.other = np.concatenate(rows), np.concatenate(others)

    def agree(
        self, gt: np.ndarray, pred: np.ndarray, least: float = _AGREES
    ) -> np.ndarray:
        """Return which pairs have an IoU of at least ``least``; bool (K,)."""
        a, b = gt[self.row], pred[self.other]
        low = np.maximum(a[:, :2], b[:, :2])
        high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
        inside = np.maximum(high - low, 0).prod(axis=1)
        size_a, size_b = (np.maximum(c[:, 2:], 0).prod(axis=1) for c in (a, b))
        return (inside > 0) & (inside >= least * (size_a + size_b - inside))

    def shares(self, gt: np.ndarray, pred: np.ndarray) -> tuple[float, float]:
        """Return the share of each side's boxes that agree with one of the other."""
        agrees = self.agree(gt, pred)
        return (
            len(np.unique(self.row[agrees])) / len(gt),
            len(np.unique(self.other[agrees])) / len(pred),
        )

    def fit(
        self, sides: tuple[np.ndarray, np.ndarray], least: float, of_one: bool = False
    ) -> bool:
        """Return whether both sides fit together, and not by chance.

        Args:
            sides: Ground truth and results, float64 (N, 4) and (M, 4).
            least: Smallest share of agreeing boxes on the side that fits better.
            of_one: A single object that does not move is enough evidence.
        """
        gt, pred = sides
        shares = self.shares(gt, pred)
        if max(shares) < least or min(shares) < 0.1:
            return False
        agrees = self.agree(gt, pred)
        # A chance agreement seldom has an IoU far above the threshold.
        if 2 * self.agree(gt, pred, _CLOSE).sum() < agrees.sum():
            return False
        row = self.row[agrees]
        width = np.median(gt[row, 2:], axis=0)
        crosses = (np.ptp(gt[row, :2], axis=0) > 4 * width).any()
        if not (of_one or crosses or len(np.unique(self.gt_identity[row])) > 2):
            return False
        # A constant offset must be small.
        return bool((np.abs(self.find_shift(gt, pred)) < 0.1 * width).all())

    def find_scale(self) -> np.ndarray:
        """Find the factors for x and y that fit most pairs; float64 (2,)."""
        a, b = self.gt[self.row], self.pred[self.other]
        good = np.min([a[:, 2:], b[:, 2:], _centres(a), _centres(b)], axis=(0, 2)) > 0
        a, b = a[good], b[good]
        votes = np.log(_centres(a) / _centres(b))
        votes = votes[(np.abs(np.log(a[:, 2:] / b[:, 2:]) - votes) < 0.3).all(axis=1)]
        if not len(votes):
            return np.ones(2)
        cells, count = np.unique(np.round(votes / 0.1), axis=0, return_counts=True)
        near = (np.abs(votes - cells[count.argmax()] * 0.1) < 0.1).all(axis=1)
        return np.exp(np.median(votes[near], axis=0))

    def find_shift(self, gt: np.ndarray, pred: np.ndarray) -> np.ndarray:
        """Find the shift of the results that fits most pairs; float64 (2,)."""
        a, b = gt[self.row], pred[self.other]
        cell = np.maximum(np.median(gt[:, 2:], axis=0) / 4, _EPS)
        shifts = _centres(a) - _centres(b)
        cells, count = np.unique(np.round(shifts / cell), axis=0, return_counts=True)
        near = (np.abs(shifts - cells[count.argmax()] * cell) < cell).all(axis=1)
        return np.median(shifts[near], axis=0)


def _centres(xywh: np.ndarray) -> np.ndarray:
    return xywh[:, :2] + xywh[:, 2:] / 2


def _grow_together(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two columns are correlated with a slope of about 1."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return False
    (variance, both), (_, other) = np.cov(first, second)
    return both > 0.95 * np.sqrt(variance * other) and 0.7 < both / variance < 1.4
