# Copyright (c) mmfdta authors.
"""The steps that make finished tracks better, and what each of them changed."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mmfdta.structures.track_embeddings import TrackEmbeddings
from mmfdta.structures.tracks import BOX_DECIMALS, SCORE_DECIMALS, Tracks

from .joining import Join, join_tracklets, track_rows
from .motion import regress

STEPS = ('join', 'remove_short', 'interpolate', 'smooth')
INTERPOLATIONS = ('linear', 'gaussian')
# Deviation of found boxes where a process goes through them.
_NOISE = 0.5


@dataclass(frozen=True)
class Refinement:
    """Which steps are taken, in their order, and how.

    Frames are those that the video has; `frame_step` of their numbers lie from one to
    the next.

    Attributes:
        join: Longest gap in frames over which two tracklets become one; None joins
            none.
        remove_short: Tracks of fewer boxes are removed; None removes none.
        interpolate: ``linear`` or ``gaussian``: how boxes are put into gaps; None puts
            none.
        smooth: Noise of the boxes that is taken out of them, in units of how far an
            object usually moves in a frame; None leaves them as they are.
        join_distance: Limit of motion, see
            :func:`~mmfdta.refinement.joining.join_tracklets`.
        join_similarity: Lowest cosine of embeddings.
        join_boxes: Tracklets of fewer boxes are not joined.
        max_gap: Longest gap in frames that boxes are put into.
        memory: Frames over which a velocity forgets itself.
        frame_step: Difference of the numbers of frames that follow each other.

    Raises:
        ValueError: If a value is out of its range.
    """

    join: int | None = None
    remove_short: int | None = None
    interpolate: str | None = None
    smooth: float | None = None
    join_distance: float = 1.2
    join_similarity: float = 0.5
    join_boxes: int = 2
    max_gap: int = 5
    memory: float = 10.0
    frame_step: int = 1

    def __post_init__(self) -> None:
        least = dict(
            join=0,
            remove_short=1,
            smooth=0,
            join_distance=0,
            join_boxes=1,
            max_gap=0,
            frame_step=1,
        )
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and not low <= value < np.inf:
                raise ValueError(f'{name}: found {value}, expected {low} or more')
        if not -1 <= self.join_similarity <= 1:
            raise ValueError(
                f'join_similarity: found {self.join_similarity}, expected -1 to 1'
            )
        if not 0.1 <= self.memory < np.inf:
            raise ValueError(f'memory: found {self.memory}, expected 0.1 or more')
        if self.interpolate is not None and self.interpolate not in INTERPOLATIONS:
            raise ValueError(
                f'interpolate: found {self.interpolate!r}, expected one of '
                f'{", ".join(INTERPOLATIONS)}'
            )

    @classmethod
    def of(cls, **settings: Any) -> 'Refinement':
        """Take the steps that are named, or, if none is, those of `DEFAULT_STEPS`.

        Args:
            **settings: Attributes.

        Raises:
            ValueError: If a name is not known, or a value is out of its range.
        """
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise ValueError(f'found {name!r}, expected some of {", ".join(known)}')
        named = any(name in settings for name in STEPS)
        return cls(**({} if named else DEFAULT_STEPS) | settings)


DEFAULT_STEPS: dict[str, Any] = dict(join=8, remove_short=8, interpolate='linear')
"""The steps that are taken if none is named."""


@dataclass(frozen=True)
class Change:
    """What a step did to a sequence.

    Attributes:
        step: Its name.
        tracks: Number of tracks, identities of a class, before and after.
        boxes: Number of boxes before and after.
        added: Boxes that it put in.
        removed: Boxes that it took out.
        moved: Boxes whose place or size it changed.
        renamed: Boxes whose identity it changed.
        joins: The tracklets that it joined.
        removed_tracks: Class and identity of the tracks that it took out.
    """

    step: str
    tracks: tuple[int, int]
    boxes: tuple[int, int]
    added: int = 0
    removed: int = 0
    moved: int = 0
    renamed: int = 0
    joins: tuple[Join, ...] = ()
    removed_tracks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Refined:
    """Refined tracks of a sequence.

    Attributes:
        tracks: By frame; boxes that were put in stand behind those that were found.
        changes: What each step did, in their order.
    """

    tracks: Tracks
    changes: tuple[Change, ...]


def refine_tracks(
    tracks: Tracks,
    embeddings: TrackEmbeddings | None = None,
    pairs: bool | None = None,
    **settings: Any,
) -> Refined:
    """Make the finished tracks of a sequence better.

    A track is an identity of a class; classes do not mix, and boxes without a class
    are a class of their own. The steps are taken in this order: joining, removal of
    short tracks, interpolation, smoothing. Boxes that no step moves stay bit by bit;
    those that are put in have the class of the track, and a score between those of the
    boxes at the ends of the gap.

    Args:
        tracks: What a tracker found.
        embeddings: Embeddings of its boxes, for joining.
        pairs: Whether identities count within each class; None: if a frame has one of
            them in two classes. Otherwise no step gives an identity two boxes in a
            frame, of whatever classes.
        **settings: Steps and limits, see :class:`Refinement`. If no step is named,
            those of `DEFAULT_STEPS` are taken.

    Raises:
        ValueError: If an identity of a class has two boxes in a frame, or a setting is
            unknown or out of its range.
    """
    refinement = Refinement.of(**settings)
    for row, _ in tracks.find_repeats(by_class=True)[:1]:
        raise ValueError(
            f'identity {tracks.identity[row]} occurs twice in frame '
            f'{tracks.frame[row]}, expected one box of it per frame'
        )
    tracks = replace(tracks, label=np.maximum(tracks.label, -1)).in_frame_order()
    if type(tracks) is not Tracks:  # corners would not follow boxes that move
        columns = {name: getattr(tracks, name) for name in Tracks.__dataclass_fields__}
        tracks = Tracks(**columns)
    by_pairs = bool(tracks.find_repeats()) if pairs is None else pairs
    changes = []
    steps: dict[str, Callable[[], tuple[Tracks, dict]]] = dict(
        join=lambda: _join(tracks, refinement, embeddings, by_pairs),
        remove_short=lambda: _remove_short(tracks, refinement),
        interpolate=lambda: _interpolate(tracks, refinement, by_pairs),
        smooth=lambda: _smooth(tracks, refinement),
    )
    for name in STEPS:
        if getattr(refinement, name) is None:
            continue
        before = tracks
        tracks, found = steps[name]()
        numbers = len(track_rows(before)), len(track_rows(tracks))
        changes.append(Change(name, numbers, (len(before), len(tracks)), **found))
    return Refined(tracks, tuple(changes))


def _join(
    tracks: Tracks,
    how: Refinement,
    embeddings: TrackEmbeddings | None,
    pairs: bool,
) -> tuple[Tracks, dict]:
    assert how.join is not None
    joined, joins = join_tracklets(
        tracks,
        longest=(how.join + 1) * how.frame_step,
        distance=how.join_distance,
        similarity=how.join_similarity,
        memory=how.memory * how.frame_step,
        fewest=how.join_boxes,
        embeddings=embeddings,
        pairs=pairs,
    )
    renamed = int((joined.identity != tracks.identity).sum())
    return joined, dict(renamed=renamed, joins=tuple(joins))


def _remove_short(tracks: Tracks, how: Refinement) -> tuple[Tracks, dict]:
    assert how.remove_short is not None
    keep = np.ones(len(tracks), dtype=bool)
    removed = []
    for rows in track_rows(tracks):
        if len(rows) < how.remove_short:
            keep[rows] = False
            first = rows[0]
            removed.append((int(tracks.label[first]), int(tracks.identity[first])))
    count = int((~keep).sum())
    return tracks.select(keep), dict(removed=count, removed_tracks=tuple(removed))


def _interpolate(tracks: Tracks, how: Refinement, pairs: bool) -> tuple[Tracks, dict]:
    taken: set[tuple[int, int]] = set()
    if not pairs and len(np.unique(tracks.label)) > 1:
        # One identity has one box per frame, also where classes are not told apart.
        taken = set(zip(tracks.identity.tolist(), tracks.frame.tolist(), strict=True))
    step = how.frame_step
    parts = [tracks]
    for rows in track_rows(tracks):
        found, identity = tracks.frame[rows], int(tracks.identity[rows[0]])
        ahead = -(-np.diff(found) // step) - 1  # frames between, rounded up
        gaps = np.flatnonzero((ahead > 0) & (ahead <= how.max_gap))
        missing = [np.arange(found[i] + step, found[i + 1], step) for i in gaps]
        frames = np.concatenate([*missing, np.zeros(0, dtype=np.int64)])
        frames = np.array(
            [f for f in frames.tolist() if (identity, f) not in taken], dtype=np.int64
        )
        if not len(frames):
            continue
        if not pairs:
            taken.update((identity, frame) for frame in frames.tolist())
        boxes = _centred(tracks.xywh[rows])
        if how.interpolate == 'linear':
            columns = [np.interp(frames, found, column) for column in boxes.T]
            between = np.stack(columns, axis=1)
        else:
            between = _regress_boxes(found, boxes, frames, how, _NOISE)
        parts.append(
            Tracks(
                frame=frames,
                identity=np.full(len(frames), identity),
                xywh=_from_centre(between).round(BOX_DECIMALS),
                score=np.interp(frames, found, tracks.score[rows]).round(
                    SCORE_DECIMALS
                ),
                label=np.full(len(frames), tracks.label[rows[0]]),
            )
        )
    filled = Tracks.concatenate(parts).in_frame_order()
    return filled, dict(added=len(filled) - len(tracks))


def _smooth(tracks: Tracks, how: Refinement) -> tuple[Tracks, dict]:
    assert how.smooth is not None
    xywh = tracks.xywh.copy()
    if how.smooth > 0:
        for rows in track_rows(tracks):
            if len(rows) < 2:
                continue
            frames, boxes = tracks.frame[rows], _centred(tracks.xywh[rows])
            smooth = _regress_boxes(frames, boxes, frames, how, how.smooth)
            xywh[rows] = _from_centre(smooth).round(BOX_DECIMALS)
    moved = (xywh != tracks.xywh).any(axis=1)
    return replace(tracks, xywh=xywh), dict(moved=int(moved.sum()))


def _regress_boxes(
    found: np.ndarray, boxes: np.ndarray, at: np.ndarray, how: Refinement, noise: float
) -> np.ndarray:
    """Return boxes (M, 4) of the process through (N, 4); sizes stay within theirs."""
    times, asked = found / how.frame_step, at / how.frame_step
    means = regress(times, boxes, asked, how.memory, noise)
    sizes = boxes[:, 2:]
    means[:, 2:] = means[:, 2:].clip(sizes.min(axis=0), sizes.max(axis=0))
    return means


def _centred(xywh: np.ndarray) -> np.ndarray:
    """Return centre, width and height (N, 4) of left, top, width and height."""
    return np.concatenate([xywh[:, :2] + xywh[:, 2:] / 2, xywh[:, 2:]], axis=1)


def _from_centre(boxes: np.ndarray) -> np.ndarray:
    """Return left, top, width and height (N, 4) of centre, width and height."""
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
