# Copyright (c) mmfdta authors.
"""Annotations in formats other than MOTChallenge text.

Each module reads one format and offers three functions: ``open_truth(path)`` looks at
what lies there and returns a :class:`Side`, or None if it is no ground truth of this
format; ``open_results(path, truth)`` does the same for what a tracker wrote for that
ground truth, and ``as_results(texts, truth)`` for texts that were found. A format is
recognised by its content, never by the suffix alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmfdta.structures.tracks import PartialClasses, Sequence, Tracks

__all__ = [
    'Annotations',
    'CornerTracks',
    'LoadedSide',
    'PairedSides',
    'Side',
    'as_results',
    'as_unpaired',
    'join',
    'open_results',
    'open_truth',
    'open_unpaired',
]

# Modules of this package, the most particular format first.
_MODULES: tuple[str, ...] = ('kitti', 'uavdt', 'visdrone', 'bdd100k', 'coco_vid')


@dataclass(frozen=True)
class CornerTracks(Tracks):
    """Boxes of a format that gives corners; these stay what they are, bit by bit.

    Left plus width may miss the right side by the last bit, which is enough to
    break a tie in another way than the official evaluation.

    Attributes:
        corners: float64 (N, 4), left, top, right, bottom in pixels.
    """

    corners: np.ndarray

    @classmethod
    def from_corners(
        cls,
        frame: np.ndarray,
        identity: np.ndarray,
        corners: np.ndarray,
        score: np.ndarray | None = None,
        label: np.ndarray | None = None,
    ) -> 'CornerTracks':
        """Build from corners, float64 (N, 4); for the rest see `Tracks.create`."""
        corners = np.asarray(corners, dtype=np.float64).reshape(-1, 4)
        xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        tracks = Tracks.create(frame, identity, xywh, score, label)
        return cls(**vars(tracks), corners=corners)

    @property
    def xyxy(self) -> np.ndarray:
        """float64 (N, 4), left, top, right, bottom in pixels."""
        return self.corners.copy()


@dataclass(frozen=True)
class Annotations:
    """One side of a sequence: its ground truth, or a result.

    Attributes:
        tracks: The boxes; frames count from 1, ground truth with a score of 0 is
            not scored, labels are the format's class numbers.
        ignored: Regions in which nothing was annotated, see ``Sequence.ignored``.
        num_frames: Length of the sequence; None where the format does not say it.
        class_names: Names of the class numbers; empty where the format has none.
        partial: See ``Sequence.partial``.
        source: The file, for messages.
    """

    tracks: Tracks
    ignored: Tracks = field(default_factory=Tracks.empty)
    num_frames: int | None = None
    class_names: dict[int, str] = field(default_factory=dict)
    partial: PartialClasses | None = None
    source: str = ''


class Side(Protocol):
    """All sequences of a ground truth or of a result, still to be read."""

    @property
    def title(self) -> str:
        """What the format is called, for messages."""
        ...

    @property
    def benchmark(self) -> str | None:
        """Name of the benchmark whose format it is; None where it is anybody's."""
        ...

    @property
    def classes(self) -> dict[str, int] | None:
        """Classes to score one by one, with their numbers; None: the benchmark's."""
        ...

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names of all class numbers; empty where the format has none."""
        ...

    @property
    def remarks(self) -> list[str]:
        """What the user should know, a line each."""
        ...

    @property
    def names(self) -> list[str]:
        """Names of the sequences, sorted."""
        ...

    def read(self, name: str) -> Annotations:
        """Read a sequence.

        Raises:
            OSError: If a file cannot be read.
            ValueError: At the first fault; the message names file and line or key.
        """
        ...


@dataclass(frozen=True)
class LoadedSide:
    """All sequences of a file that was read at once.

    Attributes:
        title: See :class:`Side`, as the next three.
        benchmark: The same.
        classes: The same.
        sequences: By name.
        remarks: See :class:`Side`.
    """

    title: str
    benchmark: str | None
    classes: dict[str, int] | None
    sequences: dict[str, Annotations]
    remarks: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Names of the sequences, sorted."""
        return sorted(self.sequences)

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names of all class numbers."""
        return next((s.class_names for s in self.sequences.values()), {})

    def read(self, name: str) -> Annotations:
        """Return a sequence."""
        return self.sequences[name]


@dataclass(frozen=True)
class PairedSides:
    """A sequence of two sides, read in the process that scores it.

    Attributes:
        name: Name of the sequence.
        truth: The ground truth.
        results: What a tracker wrote.
    """

    name: str
    truth: Side
    results: Side

    def load(self) -> Sequence:
        """Read both sides.

        Raises:
            OSError: If a file cannot be read.
            ValueError: At the first fault, or if the lengths differ.
        """
        return join(self.name, self.truth.read(self.name), self.results.read(self.name))


def join(name: str, truth: Annotations, result: Annotations) -> Sequence:
    """Make a sequence of both sides.

    Its length is what the ground truth says, else the result, else the last frame.

    Raises:
        ValueError: If both sides say a length and the lengths differ.
    """
    lengths = [s.num_frames for s in (truth, result) if s.num_frames is not None]
    if len(set(lengths)) > 1:
        raise ValueError(
            f'{result.source or name}: found a result of {lengths[1]} frames, expected '
            f'{lengths[0]}, as many as {truth.source or "the ground truth"} has'
        )
    if not lengths:
        frames = (truth.tracks.frame, truth.ignored.frame, result.tracks.frame)
        lengths = [max(int(frame.max(initial=1)) for frame in frames)]
    return Sequence(
        name=name,
        num_frames=lengths[0],
        gt=truth.tracks,
        pred=result.tracks,
        ignored=truth.ignored,
        partial=truth.partial,
    )


def open_truth(path: Path, benchmark: str = '') -> Side | None:
    """Open a ground truth in any format of this package.

    Args:
        path: A folder or a file.
        benchmark: The benchmark that it is said to be of, if any; text that may be
            of it or MOTChallenge's is then taken for its own.

    Returns:
        None if it is none of these formats; it may be MOTChallenge text.

    Raises:
        ValueError: If it clearly is one of them, and broken.
    """
    return _first(module.open_truth(path, benchmark) for module in _modules())


def open_results(path: Path, truth: Side) -> Side | None:
    """Open what a tracker wrote for a ground truth in a format of this package.

    Args:
        path: A folder or a file.
        truth: The ground truth; it knows numbers of images and of classes.

    Returns:
        None if it is none of these formats; it may be MOTChallenge text.

    Raises:
        ValueError: If it clearly is one of them, and broken.
    """
    return _first(module.open_results(path, truth) for module in _modules())


def as_results(texts: Any, truth: Side) -> Side:
    """Take result texts for those of a ground truth's format, or for MOTChallenge's.

    Args:
        texts: The `TextSide` of a tracker, not read yet.
        truth: The ground truth.
    """
    side = _first(module.as_results(texts, truth) for module in _modules())
    if side is not None:
        return side
    return import_module(f'{__name__}.text_results').TextResults.of(texts, truth)


def open_unpaired(path: Path) -> Side | None:
    """Open what a tracker wrote in a format that needs no ground truth to be read.

    Args:
        path: A folder or a file.

    Returns:
        None if it holds no JSON; it may be text.

    Raises:
        ValueError: If it is JSON that only a ground truth makes readable.
    """
    bdd100k, reading = (
        import_module(f'{__name__}.{name}') for name in ('bdd100k', 'reading')
    )
    if not reading.find_json(path):
        return None
    side = bdd100k.open_truth(path)
    if side is None:
        raise ValueError(
            f'{path}: found JSON that is no list of frames as in BDD100K; of results '
            'of COCO-VID and TAO only the ground truth numbers the images: name it '
            'with --gt'
        )
    return replace(side, is_truth=False)


def as_unpaired(texts: Any) -> Side:
    """Take result texts for KITTI's if they are.

    Args:
        texts: The `TextSide` of a tracker, not read yet.
    """
    kitti = import_module(f'{__name__}.kitti')
    return kitti.as_results(texts, kitti.KittiSide({})) or texts


def _first(sides: Iterable[Side | None]) -> Side | None:
    """Return what the first module gave that knows the format."""
    return next((side for side in sides if side is not None), None)


def _modules() -> Iterable:
    return [import_module(f'{__name__}.{name}') for name in _MODULES]
