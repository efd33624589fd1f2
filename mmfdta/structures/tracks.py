# Copyright (c) mmfdta authors.
"""The boxes of one sequence, as arrays."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TrackBoxes:
    """Boxes with identities: a ground truth or a result of one sequence.

    Rows may come in any order of frames; within a frame their order is kept,
    because it decides which of two equally good matches an assignment takes.

    Attributes:
        frame (np.ndarray): int64 (N,), frame numbers from 1.
        identity (np.ndarray): int64 (N,), any whole numbers, unique in a frame.
        xywh (np.ndarray): float64 (N, 4), left, top, width, height in pixels.
        mark (np.ndarray): float64 (N,), confidence of a result, or the
            "consider" mark of a ground truth (0: not evaluated).
        category (np.ndarray): int64 (N,), class number, -1 where none is known.
    """

    frame: np.ndarray
    identity: np.ndarray
    xywh: np.ndarray
    mark: np.ndarray
    category: np.ndarray

    @classmethod
    def create(
        cls,
        frame: np.ndarray,
        identity: np.ndarray,
        xywh: np.ndarray,
        mark: np.ndarray | None = None,
        category: np.ndarray | None = None,
    ) -> 'TrackBoxes':
        """Build from anything array-like, with marks 1 and classes -1 by default.

        Args:
            frame (np.ndarray): (N,), frame numbers from 1.
            identity (np.ndarray): (N,).
            xywh (np.ndarray): (N, 4).
            mark (np.ndarray | None): (N,).
            category (np.ndarray | None): (N,).

        Returns:
            TrackBoxes: The arrays in their own types.

        Raises:
            ValueError: If the lengths differ or a box is not finite.
        """
        frame = np.asarray(frame, dtype=np.int64).reshape(-1)
        rows = len(frame)
        boxes = cls(
            frame=frame,
            identity=np.asarray(identity, dtype=np.int64).reshape(-1),
            xywh=np.asarray(xywh, dtype=np.float64).reshape(-1, 4),
            mark=np.ones(rows) if mark is None else np.asarray(mark, np.float64),
            category=(
                np.full(rows, -1, dtype=np.int64)
                if category is None
                else np.asarray(category).astype(np.int64)
            ),
        )
        lengths = {name: len(getattr(boxes, name)) for name in cls.__dataclass_fields__}
        if len(set(lengths.values())) > 1:
            raise ValueError(f'found columns of different lengths: {lengths}')
        if not np.isfinite(boxes.xywh).all():
            row = int(np.flatnonzero(~np.isfinite(boxes.xywh).all(axis=1))[0])
            raise ValueError(
                f'found box {boxes.xywh[row].tolist()} in row {row} (frame '
                f'{boxes.frame[row]}), expected finite numbers'
            )
        return boxes

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, keep: np.ndarray) -> 'TrackBoxes':
        """Return the rows chosen by a mask or index array.

        Args:
            keep (np.ndarray): bool (N,) or int (K,).

        Returns:
            TrackBoxes: The chosen rows.
        """
        return TrackBoxes(
            **{name: getattr(self, name)[keep] for name in self.__dataclass_fields__}
        )

    @classmethod
    def concatenate(cls, parts: list['TrackBoxes']) -> 'TrackBoxes':
        """Put rows behind one another.

        Args:
            parts (list[TrackBoxes]): At least one.

        Returns:
            TrackBoxes: All rows.
        """
        return cls(
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in cls.__dataclass_fields__
            }
        )

    def in_frame_order(self) -> 'TrackBoxes':
        """Return the rows sorted by frame, rows of a frame in their order."""
        if len(self) < 2 or (self.frame[1:] >= self.frame[:-1]).all():
            return self
        return self.select(np.argsort(self.frame, kind='stable'))

    def check(self, name: str, num_frames: int) -> None:
        """Refuse what no score is defined for.

        Args:
            name (str): What the rows are, for the message.
            num_frames (int): Length of the sequence.

        Raises:
            ValueError: If a frame number is outside of the sequence or an
                identity occurs twice in a frame.
        """
        outside = np.flatnonzero((self.frame < 1) | (self.frame > num_frames))
        if len(outside):
            raise ValueError(
                f'{name}: found frame {self.frame[outside[0]]}, expected 1 to '
                f'{num_frames}, the length of the sequence'
            )
        order = np.lexsort((self.identity, self.frame))
        frame, identity = self.frame[order], self.identity[order]
        again = np.flatnonzero(
            (frame[1:] == frame[:-1]) & (identity[1:] == identity[:-1])
        )
        if len(again):
            raise ValueError(
                f'{name}: identity {identity[again[0]]} occurs twice in frame '
                f'{frame[again[0]]}; an identity may have one box in a frame'
            )


@dataclass(frozen=True)
class Sequence:
    """Ground truth and result of one sequence.

    Attributes:
        name (str): Name of the sequence.
        num_frames (int): Its length in frames.
        gt (TrackBoxes): The ground truth.
        pred (TrackBoxes): What a tracker found.
    """

    name: str
    num_frames: int
    gt: TrackBoxes
    pred: TrackBoxes

    def load(self) -> 'Sequence':
        """Return itself; the evaluation also takes sequences still to be read."""
        return self

    def of_category(self, category: int) -> 'Sequence':
        """Return the boxes of one class.

        Args:
            category (int): The class number.

        Returns:
            Sequence: The rows of both sides with this class.
        """
        return Sequence(
            self.name,
            self.num_frames,
            self.gt.select(self.gt.category == category),
            self.pred.select(self.pred.category == category),
        )
