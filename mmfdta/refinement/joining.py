# Copyright (c) mmfdta authors.
"""Tracklets of one object, joined by motion and appearance."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mmfdta.structures.track_embeddings import TrackEmbeddings
from mmfdta.structures.tracks import Tracks

from .motion import damp

# Boxes at an end of a tracklet that tell its place, size and velocity there.
_END_BOXES = 8
# A pair at its limit is still better than none.
_LEAST_GAIN = 1e-6


@dataclass(frozen=True)
class Join:
    """Two tracklets that became one.

    Attributes:
        label: Their class.
        identity: Identity of both from now on.
        joined: Identity that the later one had.
        last: Last frame of the earlier one.
        first: First frame of the later one.
        distance: How far motion is off, see :func:`join_tracklets`.
        similarity: Cosine of their embeddings; None without.
    """

    label: int
    identity: int
    joined: int
    last: int
    first: int
    distance: float
    similarity: float | None


@dataclass(frozen=True)
class _Ends:
    """One end of M tracklets: the first boxes or the last.

    Attributes:
        frame: float64 (M,).
        place: float64 (M, 2), the centre.
        size: float64 (M, 2), width and height.
        velocity: float64 (M, 2), pixels per frame, forward in time.
    """

    frame: np.ndarray
    place: np.ndarray
    size: np.ndarray
    velocity: np.ndarray


def track_rows(tracks: Tracks) -> list[np.ndarray]:
    """List the rows of each track, an identity of a class, in the order of frames."""
    if not len(tracks):
        return []
    order = np.lexsort((tracks.frame, tracks.identity, tracks.label))
    label, identity = tracks.label[order], tracks.identity[order]
    changes = (label[1:] != label[:-1]) | (identity[1:] != identity[:-1])
    return np.split(order, np.flatnonzero(changes) + 1)


def join_tracklets(
    tracks: Tracks,
    longest: float,
    distance: float,
    similarity: float,
    memory: float,
    fewest: int = 1,
    embeddings: TrackEmbeddings | None = None,
    pairs: bool = False,
) -> tuple[Tracks, list[Join]]:
    """Give the later of two tracklets of one object the identity of the earlier.

    Each end of a tracklet goes with one beginning at most, both of one class, so that
    the sum over all pairs of what is below the limits is largest.

    Args:
        tracks: What was tracked.
        longest: Most frames from the last of one to the first of the other.
        distance: Limit of motion: the distance between where one end is and where the
            other leads, the mean of forward and backward, in heights of the object,
            plus the logarithm of the ratio of heights.
        similarity: With embeddings, the lowest cosine of the means of both.
        memory: Frames over which a velocity forgets itself.
        fewest: Tracklets of fewer boxes are joined with none; they are often false.
        embeddings: Of the boxes; tracklets without one are joined by motion alone.
        pairs: Identities count within each class. Otherwise no join gives an identity
            two boxes in a frame, of whatever classes.

    Returns:
        The same rows with other identities, and the joins by frame.
    """
    rows = track_rows(tracks)
    if len(rows) < 2:
        return tracks, []
    starts = _ends(tracks, [track[:_END_BOXES] for track in rows], at_last=False)
    stops = _ends(tracks, [track[-_END_BOXES:] for track in rows], at_last=True)
    label = tracks.label[[track[0] for track in rows]]
    one, other = _candidates(stops.frame, starts.frame, label, longest)
    lasting = np.array([len(track) >= fewest for track in rows])
    both = lasting[one] & lasting[other]
    one, other = one[both], other[both]
    off = _distances(stops, starts, one, other, memory)
    cosines = _similarities(tracks, rows, embeddings)
    alike = np.full(len(one), np.nan)
    if cosines is not None:
        alike = np.einsum('nc,nc->n', cosines[one], cosines[other])
    known = ~np.isnan(alike)
    cost = off / distance if distance else np.where(off > 0, np.inf, 0.0)
    allowed = (cost <= 1) & ~(alike < similarity)
    if similarity < 1:
        unlike = (1 - alike[known]) / (1 - similarity)
        cost[known] = (cost[known] + unlike) / 2
    chosen = _assign(one, other, np.where(allowed, 1 - cost, -1), len(rows))

    identity = tracks.identity.copy()
    several = not pairs and len(np.unique(tracks.label)) > 1
    of_identity: dict[int, list[np.ndarray]] = {}
    for track in rows:
        of_identity.setdefault(int(identity[track[0]]), []).append(track)
    joins = []
    for pair in chosen[np.argsort(starts.frame[other[chosen]], kind='stable')]:
        earlier, later = rows[one[pair]], rows[other[pair]]
        kept, old = int(identity[earlier[0]]), int(identity[later[0]])
        if several:
            # One identity has one box per frame, also where classes are not told apart.
            taken = tracks.frame[np.concatenate(of_identity[kept])]
            if np.isin(tracks.frame[later], taken).any():
                continue
        identity[later] = kept
        of_identity[kept].append(later)
        of_identity[old] = [track for track in of_identity[old] if track is not later]
        joins.append(
            Join(
                label=int(label[one[pair]]),
                identity=kept,
                joined=old,
                last=int(stops.frame[one[pair]]),
                first=int(starts.frame[other[pair]]),
                distance=float(off[pair]),
                similarity=float(alike[pair]) if known[pair] else None,
            )
        )
    return replace(tracks, identity=identity), joins


def _ends(tracks: Tracks, ends: list[np.ndarray], at_last: bool) -> _Ends:
    """Fit a line through the boxes at an end of each tracklet."""
    frame = np.empty(len(ends))
    fitted = np.empty((len(ends), 4))
    velocity = np.zeros((len(ends), 2))
    centred = tracks.xywh.copy()
    centred[:, :2] += centred[:, 2:] / 2
    for i, rows in enumerate(ends):
        frame[i] = tracks.frame[rows[-1 if at_last else 0]]
        times, values = tracks.frame[rows] - frame[i], centred[rows]
        fitted[i] = values.mean(axis=0)
        if len(rows) > 2:
            apart = times - times.mean()
            slope = apart @ values / (apart @ apart)
            fitted[i] -= slope * times.mean()
            velocity[i] = slope[:2]
        else:
            fitted[i, :2] = values[-1 if at_last else 0, :2]
    return _Ends(frame, fitted[:, :2], np.maximum(fitted[:, 2:], 1e-3), velocity)


def _candidates(
    stop: np.ndarray, start: np.ndarray, label: np.ndarray, longest: float
) -> tuple[np.ndarray, np.ndarray]:
    """List the pairs that may be one object by their class and frames."""
    one, other = [], []
    for number in np.unique(label):
        of_class = np.flatnonzero(label == number)
        sorted_ = of_class[np.argsort(start[of_class], kind='stable')]
        low = np.searchsorted(start[sorted_], stop[of_class], side='right')
        high = np.searchsorted(start[sorted_], stop[of_class] + longest, side='right')
        counts = np.maximum(high - low, 0)
        one.append(np.repeat(of_class, counts))
        shift = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        other.append(sorted_[np.repeat(low, counts) + shift])
    return np.concatenate(one), np.concatenate(other)


def _distances(
    stops: _Ends, starts: _Ends, one: np.ndarray, other: np.ndarray, memory: float
) -> np.ndarray:
    """Measure how far motion is off for each pair, see :func:`join_tracklets`."""
    led = damp(starts.frame[other] - stops.frame[one], memory)[:, None]
    between = starts.place[other] - stops.place[one]
    forward = np.linalg.norm(between - led * stops.velocity[one], axis=1)
    backward = np.linalg.norm(between - led * starts.velocity[other], axis=1)
    heights = stops.size[one, 1], starts.size[other, 1]
    return (forward + backward) / (heights[0] + heights[1]) + np.abs(
        np.log(heights[0] / heights[1])
    )


def _similarities(
    tracks: Tracks, rows: list[np.ndarray], embeddings: TrackEmbeddings | None
) -> np.ndarray | None:
    """Average the embeddings of each tracklet, to length 1; NaN where there is none."""
    if embeddings is None or not len(embeddings):
        return None
    lengths = np.linalg.norm(embeddings.embeddings, axis=1, keepdims=True)
    unit = embeddings.embeddings / np.maximum(lengths, 1e-12)
    found = embeddings.of_rows(tracks)
    means = np.full((len(rows), unit.shape[1]), np.nan)
    for i, track in enumerate(rows):
        of_track = found[track]
        if (of_track >= 0).any():
            means[i] = unit[of_track[of_track >= 0]].mean(axis=0)
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def _assign(
    one: np.ndarray, other: np.ndarray, gain: np.ndarray, count: int
) -> np.ndarray:
    """Choose pairs, no end and no beginning twice, with the largest sum of gains.

    Args:
        one: int64 (P,), tracklets that end.
        other: int64 (P,), tracklets that begin.
        gain: float64 (P,), what each pair is worth; below 0 it is none.
        count: The number of tracklets.

    Returns:
        int64, the chosen of the P pairs.
    """
    good = np.flatnonzero(gain >= 0)
    if not len(good):
        return good
    graph = coo_matrix(
        (np.ones(len(good)), (one[good], other[good] + count)), (2 * count, 2 * count)
    )
    group = connected_components(graph, directed=False)[1][one[good]]
    order = np.argsort(group, kind='stable')
    chosen = []
    for pairs in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        pairs = good[pairs]
        ends, row = np.unique(one[pairs], return_inverse=True)
        begins, column = np.unique(other[pairs], return_inverse=True)
        gains = np.zeros((len(ends), len(begins)))
        gains[row, column] = gain[pairs] + _LEAST_GAIN
        taken = np.zeros_like(gains, dtype=bool)
        taken[linear_sum_assignment(gains, maximize=True)] = True
        chosen.append(pairs[taken[row, column]])
    return np.concatenate(chosen)
