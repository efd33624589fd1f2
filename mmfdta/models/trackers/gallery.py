# Copyright (c) mmfdta authors.
"""A gallery that recognises returning objects by their embeddings.

It works on the output of any tracker and needs only NumPy and SciPy.
"""

import os
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from mmfdta.structures.boxes import covered_shares
from mmfdta.structures.whole_files import open_whole

from .assignment import box_ious

LEARNED_THRESHOLD = 0.5
"""The best on MiniDance's val with FDTA's embeddings, the lowest of equal ones."""
POOLED_THRESHOLD = 0.88
"""The best on the first half of PETS09-S2L1 with a detector's pooled feature maps."""

_FORMAT = 1
# Above all numbers in a file, and far from the end of int64.
_MOST = 2**62
# Least IoU of a track and its detection, which differ if a filter smooths the track.
_SAME_BOX = 0.5


def rows_of_tracks(
    track_boxes: np.ndarray,
    track_labels: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
) -> np.ndarray:
    """Find the detection of each track of a frame.

    Args:
        track_boxes: (n, 4) xyxy.
        track_labels: (n,) classes.
        boxes: (m, 4) xyxy of the detections, best score first.
        labels: (m,) their classes.

    Returns:
        int64 (n,), the index of the detection of the same class with the largest IoU,
        the first of equals; -1 if no IoU is at least 0.5.
    """
    if not len(track_boxes) or not len(boxes):
        return np.full(len(track_boxes), -1, dtype=np.int64)
    overlap = box_ious(track_boxes, boxes)
    overlap[track_labels[:, None] != labels] = -1
    # The IoU of boxes that are not finite is NaN.
    overlap = np.nan_to_num(overlap, nan=0.0)
    rows = overlap.argmax(1)
    return np.where(overlap.max(1) >= _SAME_BOX, rows, -1)


def embeddings_of_tracks(embeddings: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Select the embeddings of tracks.

    Args:
        embeddings: (m, C) of the detections.
        rows: (n,) detection of each track, from `rows_of_tracks`.

    Returns:
        float32 (n, C), NaN for tracks without a detection.
    """
    found = np.full((len(rows), embeddings.shape[1]), np.nan, dtype=np.float32)
    found[rows >= 0] = embeddings[rows[rows >= 0]]
    return found


@dataclass
class _Entry:
    """A remembered identity."""

    label: int
    # (C,) float64 sum of the good unit embeddings, each times its quality.
    embedding_sum: np.ndarray
    # Frame of this video; -1 if not seen in it.
    last_seen: int = -1


@dataclass
class _Track:
    """A track of the tracker."""

    # -1 until the end of its first frame.
    number: int
    first_seen: int
    last_seen: int
    # Whether the number is that of an entry; a track without a good embedding has none.
    decided: bool = False


class IdentityGallery:
    """Remembers identities by their embeddings and gives returning ones their number.

    The first good embedding of a new track decides its identity. Candidates are the
    identities of its class that have been absent since before the track began, with a
    similarity of at least `threshold`. The tracks of a frame are assigned together, to
    maximise the sum of similarities. A track without a candidate gets a new number, and
    so does a track until its first good embedding. An identity that is in the frame is
    never given to another track.

    The gallery remembers the mean of an identity's good embeddings, weighted with their
    quality: the score times the share of the box that no other track covers. Memory is
    bounded: above `max_identities`, the identities that were absent for longest are
    forgotten.

    Args:
        threshold: Least cosine similarity, -1 to 1, of a track's first good embedding
            and the mean of an identity.
        min_quality: Least quality of a good embedding, 0 to 1.
        max_identities: Most identities that are remembered; at least 1.

    Attributes:
        next_number: Number of the next new identity.
        source: Name of the weights that the embeddings come from; '' if not set.
        path: File that the gallery is saved to at the end of a video; None saves
            nothing.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        threshold: float = LEARNED_THRESHOLD,
        min_quality: float = 0.3,
        max_identities: int = 1000,
    ) -> None:
        for name, value, fits, expected in (
            ('threshold', threshold, -1 <= threshold <= 1, '-1 to 1'),
            ('min_quality', min_quality, 0 <= min_quality <= 1, '0 to 1'),
            ('max_identities', max_identities, max_identities >= 1, '1 or more'),
        ):
            if not fits:
                raise ValueError(f'gallery.{name}: found {value}, expected {expected}')
        self.threshold = threshold
        self.min_quality = min_quality
        self.max_identities = max_identities
        self.source = ''
        self.path: Path | None = None
        self.clear()

    def clear(self) -> None:
        """Forget everything, and count from 0 again."""
        # In the order in which they were last seen.
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self.next_number = 0
        self.start_video()

    def start_video(self) -> None:
        """Start a new video: all remembered identities are absent."""
        self._frame = -1
        self._tracks: OrderedDict[int, _Track] = OrderedDict()
        for entry in self._entries.values():
            entry.last_seen = -1

    def __len__(self) -> int:
        """Number of remembered identities."""
        return len(self._entries)

    @property
    def channels(self) -> int | None:
        """Channels C of the embeddings; None if no identity is remembered."""
        first = next(iter(self._entries.values()), None)
        return None if first is None else len(first.embedding_sum)

    # ------------------------------------------------------------------ a frame
    def update(
        self,
        identities: np.ndarray,
        bboxes: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        embeddings: np.ndarray,
    ) -> np.ndarray:
        """Give the tracks of the next frame their lasting numbers.

        Args:
            identities: (n,) int64 of the tracker, unique.
            bboxes: (n, 4) xyxy in pixels.
            scores: (n,).
            labels: (n,) int64 classes.
            embeddings: (n, C) of any length; rows that are not finite are ignored.

        Returns:
            (n,) int64 numbers, unique.

        Raises:
            ValueError: If the arrays have different lengths, an identity occurs twice,
                or C is not that of the remembered embeddings; the state is then as
                before the frame.
        """
        self._check(identities, bboxes, scores, labels, embeddings)
        self._frame += 1
        embeddings = embeddings.astype(np.float64)
        lengths = np.linalg.norm(embeddings, axis=1)
        quality = np.asarray(scores, dtype=np.float64) * (1 - covered_shares(bboxes))
        good = np.isfinite(lengths) & (lengths > 0) & (quality >= self.min_quality)
        units = embeddings / np.where(good, lengths, 1)[:, None]

        tracks = [self._track(key) for key in identities.tolist()]
        undecided = np.array([not track.decided for track in tracks], dtype=bool)
        ready = undecided & good
        new = [tracks[row] for row in np.flatnonzero(ready)]
        self._decide(new, units[ready], labels[ready])
        for row, track in enumerate(tracks):
            if not track.decided:
                self._number(track)
                continue
            entry = self._entries[track.number]
            entry.last_seen = self._frame
            entry.label = int(labels[row])
            if good[row]:
                entry.embedding_sum += quality[row] * units[row]
            self._entries.move_to_end(track.number)
        self._forget()
        return np.array([track.number for track in tracks], dtype=np.int64)

    def _check(
        self,
        identities: np.ndarray,
        bboxes: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        embeddings: np.ndarray,
    ) -> None:
        """Refuse arguments that do not fit, before anything changes."""
        lengths = [len(x) for x in (identities, bboxes, scores, labels, embeddings)]
        if len(set(lengths)) > 1 or embeddings.ndim != 2:
            raise ValueError(
                f'gallery: found {lengths} identities, boxes, scores, labels and '
                f'embeddings {embeddings.shape}, expected one of each for every track'
            )
        if len(np.unique(identities)) < len(identities):
            raise ValueError(
                'gallery: an identity occurs twice in a frame; the tracker must give '
                'each object its own'
            )
        known = self.channels
        if len(embeddings) and known not in (None, embeddings.shape[1]):
            raise ValueError(
                f'gallery: found embeddings of {embeddings.shape[1]} numbers, expected '
                f'{known} as in the gallery, which another model filled; use another '
                'gallery'
            )

    def _track(self, key: int) -> _Track:
        """Return the track of an identity of the tracker, which is in the frame."""
        track = self._tracks.pop(key, None)
        if track is not None and track.decided:
            entry = self._entries.get(track.number)
            if entry is None or entry.last_seen != track.last_seen:
                track = None  # forgotten, or another track has this number by now
            else:
                entry.last_seen = self._frame  # no other track can get this number
        if track is None:
            track = _Track(-1, self._frame, self._frame)
        self._tracks[key] = track
        track.last_seen = self._frame
        return track

    def _number(self, track: _Track) -> None:
        """Give a track the next number, if it has none."""
        if track.number < 0:
            track.number = self.next_number
            self.next_number += 1

    def _decide(
        self, tracks: list[_Track], units: np.ndarray, labels: np.ndarray
    ) -> None:
        """Decide the identities of tracks; those without a match are new."""
        if not tracks:
            return
        found = self._recognise(tracks, units, labels)
        for track, label, number in zip(tracks, labels.tolist(), found, strict=True):
            if number >= 0:
                track.number = number
            else:
                self._number(track)
                nothing = np.zeros(units.shape[1])
                self._entries[track.number] = _Entry(label, nothing)
            track.decided = True

    def _recognise(
        self, tracks: list[_Track], units: np.ndarray, labels: np.ndarray
    ) -> list[int]:
        """Return the number of the absent identity of each track, -1 for none."""
        found = [-1] * len(tracks)
        began = np.array([track.first_seen for track in tracks])
        absent = [n for n, p in self._entries.items() if p.last_seen < began.max()]
        if not absent:
            return found
        entries = [self._entries[number] for number in absent]
        means = np.stack([entry.embedding_sum for entry in entries])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        seen = np.array([entry.last_seen for entry in entries])
        classes = np.array([entry.label for entry in entries])
        fits = (seen < began[:, None]) & (classes == labels[:, None])
        # Impossible pairs gain nothing, like pairs exactly at the threshold, so the
        # assignment never gives up a better pair for one of them.
        similarity = units @ means.T
        fits &= similarity >= self.threshold
        gains = np.where(fits, similarity - self.threshold, 0.0)
        for row, column in zip(
            *linear_sum_assignment(gains, maximize=True), strict=True
        ):
            if fits[row, column]:
                found[row] = absent[column]
        return found

    def _forget(self) -> None:
        """Keep memory within its bounds; identities in the frame stay."""
        most = self.max_identities
        for number in list(self._entries)[: max(len(self) - most, 0)]:
            if self._entries[number].last_seen < self._frame:
                del self._entries[number]
        # Most of these tracks belong to identities that are forgotten.
        for key in list(self._tracks)[: max(len(self._tracks) - 2 * most, 0)]:
            if self._tracks[key].last_seen < self._frame:
                del self._tracks[key]

    # ------------------------------------------------------------------- a file
    @classmethod
    def open(cls, path: str | os.PathLike, **settings: float) -> 'IdentityGallery':
        """Return the gallery of a file, or an empty one that will be saved to it.

        Args:
            path: A file ``*.npz``; it need not exist.
            **settings: Arguments of the class.

        Raises:
            ValueError: If the name has another suffix, a setting is out of its range,
                or the file is no gallery.
        """
        gallery = cls(**settings)  # type: ignore[arg-type]
        if Path(path).suffix != '.npz':
            raise ValueError(
                f'gallery: found {str(path)!r}, expected the name of a file that ends '
                'with .npz'
            )
        if Path(path).exists():
            gallery.load(path)
        gallery.path = Path(path)
        return gallery

    def of_weights(self, source: str) -> None:
        """Set the weights that the next embeddings come from.

        Args:
            source: Name of the weights; equal names mean equal weights.

        Raises:
            ValueError: If the remembered embeddings come from other weights.
        """
        if len(self) and self.source and self.source != source:
            where = self.path or 'gallery'
            raise ValueError(
                f'{where}: found embeddings of {self.source}, expected those of '
                f'{source}; take the same weights, or another gallery'
            )
        self.source = source

    def save(self, path: str | os.PathLike) -> None:
        """Write the remembered identities; the file appears once it is complete.

        Args:
            path: The file ``*.npz``; an existing one is replaced.

        Raises:
            OSError: If it cannot be written.
        """
        entries = list(self._entries.values())
        units = np.array([entry.embedding_sum for entry in entries], dtype=np.float32)
        with open_whole(path) as file:
            np.savez_compressed(
                file,
                format=_FORMAT,
                source=self.source,
                next_number=self.next_number,
                number=np.array(list(self._entries), dtype=np.int64),
                label=np.array([entry.label for entry in entries], dtype=np.int64),
                look=units.reshape(len(entries), -1 if entries else 0),
            )

    def load(self, path: str | os.PathLike) -> None:
        """Replace the remembered identities by those of a file.

        Settings stay. Of more identities than `max_identities`, those that were seen
        last are kept. The file cannot run code.

        Args:
            path: A file of :meth:`save`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not such a file, or damaged.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no such file, expected a gallery')
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            self._take(found)
        except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ValueError(
                f'{path}: expected a gallery of identities, found something else '
                f'({error}); name another file, or delete it'
            ) from None

    def _take(self, found: dict[str, np.ndarray]) -> None:
        """Take over the content of a file, if it is valid."""
        if int(found['format']) != _FORMAT:
            raise ValueError(f'format {int(found["format"])} and not {_FORMAT}')
        numbers, labels = (_whole(found, name) for name in ('number', 'label'))
        units = found['look'].astype(np.float64)
        if not (
            units.ndim == 2
            and numbers.ndim == labels.ndim == 1
            and len(numbers) == len(labels) == len(units) == len(np.unique(numbers))
        ):
            raise ValueError('its arrays do not fit each other')
        if not np.isfinite(units).all():
            raise ValueError('look: found NaN or infinity, expected finite numbers')
        source = str(found['source'])
        next_number = max([int(_whole(found, 'next_number')), *(numbers + 1).tolist()])
        self.clear()
        self.source, self.next_number = source, next_number
        rows = list(zip(numbers.tolist(), labels.tolist(), units, strict=True))
        for number, label, look in rows[-self.max_identities :]:
            self._entries[number] = _Entry(label, look)


def _whole(found: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Return an array of a file as int64, if it has whole numbers from 0 on only."""
    values = found[name]
    with np.errstate(invalid='ignore'):  # infinity has no remainder
        wrong = ~((values >= 0) & (values < _MOST) & (values % 1 == 0))
    if wrong.any():
        raise ValueError(
            f'{name}: found {values[wrong].flat[0]}, expected whole numbers from 0 on'
        )
    return values.astype(np.int64)
