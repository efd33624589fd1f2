# Copyright (c) mmfdta authors.
"""Boxes with identities: the type that all packages exchange."""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

# Digits after the point in the text that tests and tracked videos write.
BOX_DECIMALS, SCORE_DECIMALS = 3, 6
# A float64 represents all integers below it exactly.
LARGEST_WHOLE = 2**53
# Names of TrackBoxes, and of the InstanceData that the inferencer returned.
_OLD_NAMES = dict(
    mark='score',
    category='label',
    bboxes='xyxy',
    scores='score',
    labels='label',
    instances_id='identity',
)


@dataclass(frozen=True)
class Tracks:
    """Boxes with identities: a ground truth or a result, of a frame or a sequence.

    Rows may come in any order of frames; within a frame their order is kept,
    because it decides which of two equally good matches an assignment takes.

    Attributes:
        frame: int64 (N,), frame numbers from 1.
        identity: int64 (N,), any integers, unique in a frame.
        xywh: float64 (N, 4), left, top, width, height in pixels of the original
            image.
        score: float64 (N,), confidence of a result, or column 7 of a ground truth
            (0: not evaluated).
        label: int64 (N,), class number, -1 if unknown.
    """

    frame: np.ndarray
    identity: np.ndarray
    xywh: np.ndarray
    score: np.ndarray
    label: np.ndarray

    @classmethod
    def create(
        cls,
        frame: np.ndarray | SequenceOf[int],
        identity: np.ndarray | SequenceOf[int],
        xywh: np.ndarray | SequenceOf[SequenceOf[float]],
        score: np.ndarray | SequenceOf[float] | None = None,
        label: np.ndarray | SequenceOf[int] | None = None,
    ) -> 'Tracks':
        """Build from anything array-like, with scores 1 and labels -1 by default.

        Raises:
            ValueError: If the lengths differ, a box is not finite, a frame, an
                identity or a label is not an integer, or a frame is below 0.
        """
        frame = _whole_numbers(frame, 'frame', lowest=0)
        rows = len(frame)
        tracks = cls(
            frame=frame,
            identity=_whole_numbers(identity, 'identity'),
            xywh=np.asarray(xywh, dtype=np.float64).reshape(-1, 4),
            score=np.ones(rows) if score is None else np.asarray(score, np.float64),
            label=(
                np.full(rows, -1, dtype=np.int64)
                if label is None
                else _whole_numbers(label, 'label')
            ),
        )
        lengths = {
            name: len(getattr(tracks, name)) for name in cls.__dataclass_fields__
        }
        if len(set(lengths.values())) > 1:
            raise ValueError(f'found columns of different lengths: {lengths}')
        if not np.isfinite(tracks.xywh).all():
            row = int(np.flatnonzero(~np.isfinite(tracks.xywh).all(axis=1))[0])
            raise ValueError(
                f'found box {tracks.xywh[row].tolist()} in row {row} (frame '
                f'{tracks.frame[row]}), expected finite numbers'
            )
        return tracks

    @classmethod
    def empty(cls) -> 'Tracks':
        """Return tracks without rows."""
        return cls.create([], [], np.zeros((0, 4)))

    @classmethod
    def concatenate(cls, parts: SequenceOf['Tracks']) -> 'Tracks':
        """Concatenate rows; no parts give no rows."""
        if not parts:
            return cls.empty()
        return cls(
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in cls.__dataclass_fields__
            }
        )

    @classmethod
    def from_instances(cls, instances: Any, frame: int) -> 'Tracks':
        """Convert the tracks or the ground truth of a frame from MMEngine's type.

        Args:
            instances: An ``InstanceData`` or a similar object, with ``bboxes``
                (N, 4), left, top, right, bottom in pixels; identities as
                ``instances_id`` (of a result) or ``instances_ids`` (of a ground
                truth); and optional ``scores`` and ``labels`` (N,). They may be
                arrays, tensors on any device or MMDetection's box types.
            frame: Number of the frame, from 1.

        Raises:
            ValueError: If boxes or identities are missing, lengths differ, or a box
                is not finite.
        """
        names = 'instances_id', 'instances_ids'
        name = next((name for name in names if name in instances), None)
        if name is None or 'bboxes' not in instances:
            raise ValueError(
                f'frame {frame}: expected instances with bboxes and instances_id, '
                f'found {", ".join(instances.keys()) or "none"}'
            )
        xywh = as_array(instances.get('bboxes')).astype(np.float64).reshape(-1, 4)
        xywh[:, 2:] -= xywh[:, :2]
        return cls.create(
            frame=np.full(len(xywh), frame),
            identity=as_array(instances.get(name)),
            xywh=xywh,
            score=as_array(instances.get('scores')) if 'scores' in instances else None,
            label=as_array(instances.get('labels')) if 'labels' in instances else None,
        )

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def xyxy(self) -> np.ndarray:
        """float64 (N, 4), left, top, right, bottom in pixels."""
        xyxy = self.xywh.copy()
        xyxy[:, 2:] += xyxy[:, :2]
        return xyxy

    def select(self, keep: np.ndarray | slice) -> 'Tracks':
        """Return the rows chosen by a mask, bool (N,), or indices, int (K,)."""
        fields = {n: getattr(self, n)[keep] for n in self.__dataclass_fields__}
        return type(self)(**fields)

    def in_frame_order(self) -> 'Tracks':
        """Return the rows sorted by frame; rows of a frame keep their order."""
        if len(self) < 2 or (self.frame[1:] >= self.frame[:-1]).all():
            return self
        return self.select(np.argsort(self.frame, kind='stable'))

    def rounded(self) -> 'Tracks':
        """Return boxes and scores as result text has them: with 3 and 6 decimals."""
        return replace(
            self,
            xywh=self.xywh.round(BOX_DECIMALS),
            score=self.score.round(SCORE_DECIMALS),
        )

    def find_repeats(self, by_class: bool = False) -> list[tuple[int, int]]:
        """List rows that repeat an identity within a frame, each with the first one.

        Args:
            by_class: The same identity of two classes is two objects, if both rows
                have a class.
        """
        label = self.label.copy() if by_class else np.zeros_like(self.label)
        if 0 < (label == -1).sum() < len(self):  # -1 may be any class
            places = np.stack([self.frame, self.identity], axis=1)
            group = np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)
            label[np.isin(group, group[label == -1])] = -1
        # Keeps the order of equal rows.
        order = np.lexsort((self.identity, label, self.frame))
        again = np.ones(max(len(self) - 1, 0), dtype=bool)
        for column in (self.frame, label, self.identity):
            again &= column[order][1:] == column[order][:-1]
        pairs, first = [], -1
        for place in np.flatnonzero(again):
            if place == 0 or not again[place - 1]:
                first = int(order[place])
            pairs.append((int(order[place + 1]), first))
        return sorted(pairs)

    def with_paired_identities(self) -> 'Tracks':
        """Give each pair of class and identity its own identity.

        The identities of the lowest class stay. Multiples of a power of ten are added
        to those of the other classes (12 of the second class becomes 112).
        """
        if not len(self):
            return self
        rank = np.unique(self.label, return_inverse=True)[1].reshape(-1)
        step = 10 ** len(str(2 * int(np.abs(self.identity).max())))
        if step * int(rank.max()) >= 2**62:
            pairs = np.stack([rank, self.identity], axis=1)
            identity = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
        else:
            identity = self.identity + step * rank
        return replace(self, identity=identity.astype(np.int64))

    def check(self, name: str, num_frames: int, by_class: bool = False) -> None:
        """Refuse tracks for which no score is defined.

        Args:
            name: Name of the rows, for the message.
            num_frames: Length of the sequence.
            by_class: The same identity of two classes is two objects.

        Raises:
            ValueError: If a frame number is outside the sequence or an identity
                occurs twice in a frame.
        """
        outside = np.flatnonzero((self.frame < 1) | (self.frame > num_frames))
        if len(outside):
            raise ValueError(
                f'{name}: found frame {self.frame[outside[0]]}, expected 1 to '
                f'{num_frames}, the length of the sequence'
            )
        for row, _ in self.find_repeats(by_class)[:1]:
            raise ValueError(
                f'{name}: identity {self.identity[row]} occurs twice in frame '
                f'{self.frame[row]}; an identity may have one box in a frame'
            )

    if not TYPE_CHECKING:  # type checkers still report unknown names

        def __getattr__(self, name: str) -> NoReturn:
            """Name the replacement of an attribute of version 0.1."""
            new = _OLD_NAMES.get(name)
            hint = f'; use {new}' if new else ''
            raise AttributeError(f'Tracks has no attribute {name!r}{hint}')


def as_array(values: Any) -> np.ndarray:
    """Convert an array, a tensor or MMDetection's boxes to an array on the host."""
    values = getattr(values, 'tensor', values)
    if hasattr(values, 'detach'):
        return values.detach().cpu().numpy()
    return np.asarray(values)


@dataclass(frozen=True)
class PartialClasses:
    """Classes that were not annotated everywhere in a sequence.

    TAO and similar data sets annotate only some classes of each video (federated
    data sets). Results of the other classes are neither right nor wrong.

    Attributes:
        negative: Classes that the video certainly does not show; every result of
            them is a false positive.
        not_exhaustive: Classes of which only some objects are annotated; a result
            that matches none of them does not count.
    """

    negative: frozenset[int]
    not_exhaustive: frozenset[int]


@dataclass(frozen=True)
class Sequence:
    """Ground truth and result of one sequence.

    Attributes:
        name: Name of the sequence.
        num_frames: Its length in frames.
        gt: The ground truth.
        pred: The result of a tracker.
        ignored: Regions in which nothing was annotated. Each has a frame; its label
            is the class to which it applies, -1 for all classes.
        partial: Classes that are only partly annotated; None: all are annotated.
    """

    name: str
    num_frames: int
    gt: Tracks
    pred: Tracks
    ignored: Tracks = field(default_factory=Tracks.empty)
    partial: PartialClasses | None = None

    def load(self) -> 'Sequence':
        """Return itself; the evaluation also accepts sequences that it must read."""
        return self


def _whole_numbers(
    values: np.ndarray | SequenceOf[int], name: str, lowest: int | None = None
) -> np.ndarray:
    """Convert (N,) numbers to int64; refuse fractions and overflows."""
    found = np.asarray(values).reshape(-1)
    if not len(found):
        return found.astype(np.int64)
    kind, largest = found.dtype.kind, 2**63 - 1
    whole: np.ndarray | SequenceOf[bool]
    if kind == 'O':  # Python's integers may have any size
        types = [type(value) for value in found]
        whole = [issubclass(t, (int, np.integer)) and t is not bool for t in types]
    elif kind == 'f':
        largest = LARGEST_WHOLE - 1
        whole = np.isfinite(found) & (found == np.floor(found))
    else:
        whole = np.full(len(found), kind in 'iu')
    lowest = -largest if lowest is None else lowest
    for row in np.flatnonzero(~np.asarray(whole)):
        raise ValueError(
            f'found {name} {found[row]} in row {row}, expected whole numbers'
        )
    wrong = (found < lowest) | (found > largest)
    for row in np.flatnonzero(wrong):
        raise ValueError(
            f'found {name} {found[row]} in row {row}, expected {lowest} to {largest}'
        )
    return found.astype(np.int64)
