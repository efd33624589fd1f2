# Copyright (c) mmfdta authors.
"""Identities that outlive absence: who returns is known by the embeddings.

It works on the output of any tracker and needs NumPy and SciPy only.
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
"""The lowest similarity that was best on MiniDance's val with FDTA's embeddings."""
POOLED_THRESHOLD = 0.88
"""The same on the first half of PETS09-S2L1 for a detector's pooled feature maps."""

_FORMAT = 1
# A track is where its detection is; what a filter smooths has still most of it.
_SAME_BOX = 0.5


def rows_of_tracks(
    track_boxes: np.ndarray,
    track_labels: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
) -> np.ndarray:
    """Find the detection that each track of a frame is.

    Args:
        track_boxes: (n, 4) xyxy.
        track_labels: (n,) classes.
        boxes: (m, 4) xyxy of the detections, best score first.
        labels: (m,) classes of them.

    Returns:
        int64 (n,), the detection of the same class that overlaps most, the first of
        equal ones; -1 where none overlaps by half.
    """
    if not len(track_boxes) or not len(boxes):
        return np.full(len(track_boxes), -1, dtype=np.int64)
    overlap = box_ious(track_boxes, boxes)
    overlap[track_labels[:, None] != labels] = -1
    # Two empty boxes overlap by 0 / 0.
    overlap = np.nan_to_num(overlap, nan=0.0)
    rows = overlap.argmax(1)
    return np.where(overlap.max(1) >= _SAME_BOX, rows, -1)


def embeddings_of_tracks(embeddings: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Take the embeddings of tracks.

    Args:
        embeddings: (m, C) of the detections.
        rows: (n,) of `rows_of_tracks`.

    Returns:
        float32 (n, C), NaN for tracks that no detection is found for.
    """
    found = np.full((len(rows), embeddings.shape[1]), np.nan, dtype=np.float32)
    found[rows >= 0] = embeddings[rows[rows >= 0]]
    return found


@dataclass
class _Person:
    """An identity that is remembered."""

    label: int
    # (C,) float64: the sum of the good looks, each times its quality.
    look: np.ndarray
    # Frame of this video; -1 for one that was not seen in it.
    last_seen: int = -1


@dataclass
class _Track:
    """What an identity of the tracker stands for."""

    # -1 until the end of its first frame.
    number: int
    first_seen: int
    last_seen: int
    # Whether it is the person of that number; else it had no good look yet.
    decided: bool = False


class IdentityGallery:
    """Remembers identities by their embeddings, and gives returning ones their number.

    The first good look at a new track of the tracker decides whom it is: of the
    identities of its class that were absent since before the track began, the one that
    is similar by `threshold` or more; the tracks of a frame are assigned together, so
    that the sum of similarities is largest. A track that is similar to nobody has a new
    number, and so has one that waits for its first good look. An identity that is in
    the frame is never given to another track.

    Of an identity the mean of its good looks is remembered, weighted with their
    quality: the score times the share of the box that no other track covers. What is
    remembered is bounded: of more than `max_identities` those that were absent for
    longest are forgotten.

    Args:
        threshold: Least cosine, -1 to 1, of a track's first good look and the mean of
            an identity.
        min_quality: Looks of less quality, 0 to 1, are left out.
        max_identities: Most identities that are remembered.

    Attributes:
        next_number: The next new identity's number.
        source: Names the weights that the embeddings come from; '' if nobody said.
        path: The file that it is saved to when a video is over; None saves nothing.

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
        # Who was seen last is last.
        self._persons: OrderedDict[int, _Person] = OrderedDict()
        self.next_number = 0
        self.start_video()

    def start_video(self) -> None:
        """Begin a new video: everybody that is remembered is absent."""
        self._frame = -1
        self._tracks: OrderedDict[int, _Track] = OrderedDict()
        for person in self._persons.values():
            person.last_seen = -1

    def __len__(self) -> int:
        """Identities that are remembered."""
        return len(self._persons)

    @property
    def channels(self) -> int | None:
        """C of the embeddings; None if nobody is remembered."""
        first = next(iter(self._persons.values()), None)
        return None if first is None else len(first.look)

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
            embeddings: (n, C) of any length; a row that is not finite says nothing.

        Returns:
            (n,) int64 numbers, unique.

        Raises:
            ValueError: If lengths differ, an identity occurs twice, or the embeddings
                are of another size than those that are remembered; the state is then
                as before the frame.
        """
        self._check(identities, bboxes, scores, labels, embeddings)
        self._frame += 1
        embeddings = embeddings.astype(np.float64)
        lengths = np.linalg.norm(embeddings, axis=1)
        quality = np.asarray(scores, dtype=np.float64) * (1 - covered_shares(bboxes))
        good = np.isfinite(lengths) & (lengths > 0) & (quality >= self.min_quality)
        looks = embeddings / np.where(good, lengths, 1)[:, None]

        tracks = [self._track(key) for key in identities.tolist()]
        ripe = np.array([not track.decided for track in tracks], dtype=bool) & good
        new = [tracks[row] for row in np.flatnonzero(ripe)]
        self._decide(new, looks[ripe], labels[ripe])
        for row, track in enumerate(tracks):
            if not track.decided:
                self._number(track)
                continue
            person = self._persons[track.number]
            person.last_seen = self._frame
            person.label = int(labels[row])
            if good[row]:
                person.look += quality[row] * looks[row]
            self._persons.move_to_end(track.number)
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
        """Refuse what does not fit, before anything changes."""
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
                f'{known} as those that are remembered; they are of another model: '
                'take another gallery'
            )

    def _track(self, key: int) -> _Track:
        """Return what an identity of the tracker stands for, which is seen now."""
        track = self._tracks.pop(key, None)
        if track is not None and track.decided:
            person = self._persons.get(track.number)
            if person is None or person.last_seen != track.last_seen:
                track = None  # forgotten, or another track is that person by now
            else:
                person.last_seen = self._frame  # nobody else can be
        if track is None:
            track = _Track(-1, self._frame, self._frame)
        self._tracks[key] = track
        track.last_seen = self._frame
        return track

    def _number(self, track: _Track) -> None:
        """Give a track that has no number the next one."""
        if track.number < 0:
            track.number = self.next_number
            self.next_number += 1

    def _decide(
        self, tracks: list[_Track], looks: np.ndarray, labels: np.ndarray
    ) -> None:
        """Say whom tracks are; who is like nobody is somebody new."""
        if not tracks:
            return
        found = self._recognise(tracks, looks, labels)
        for track, label, number in zip(tracks, labels.tolist(), found, strict=True):
            if number >= 0:
                track.number = number
            else:
                self._number(track)
                nothing = np.zeros(looks.shape[1])
                self._persons[track.number] = _Person(label, nothing)
            track.decided = True

    def _recognise(
        self, tracks: list[_Track], looks: np.ndarray, labels: np.ndarray
    ) -> list[int]:
        """Numbers of the absent identities that tracks are; -1 for nobody."""
        found = [-1] * len(tracks)
        began = np.array([track.first_seen for track in tracks])
        absent = [n for n, p in self._persons.items() if p.last_seen < began.max()]
        if not absent:
            return found
        persons = [self._persons[number] for number in absent]
        means = np.stack([person.look for person in persons])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        seen = np.array([person.last_seen for person in persons])
        classes = np.array([person.label for person in persons])
        fits = (seen < began[:, None]) & (classes == labels[:, None])
        # Pairs that cannot be take part as those that are alike by the threshold: they
        # are no reason to part with a pair that is more alike.
        alike = looks @ means.T
        fits &= alike >= self.threshold
        gains = np.where(fits, alike - self.threshold, 0.0)
        for row, column in zip(
            *linear_sum_assignment(gains, maximize=True), strict=True
        ):
            if fits[row, column]:
                found[row] = absent[column]
        return found

    def _forget(self) -> None:
        """Keep what is remembered within its bounds; who is here stays."""
        most = self.max_identities
        for number in list(self._persons)[: max(len(self) - most, 0)]:
            if self._persons[number].last_seen < self._frame:
                del self._persons[number]
        # The tracker's identities of people who are forgotten stand for nobody.
        for key in list(self._tracks)[: max(len(self._tracks) - 2 * most, 0)]:
            if self._tracks[key].last_seen < self._frame:
                del self._tracks[key]

    # ------------------------------------------------------------------- a file
    @classmethod
    def open(cls, path: str | os.PathLike, **settings: float) -> 'IdentityGallery':
        """Return the gallery of a file, or an empty one that will be saved to it.

        Args:
            path: A file ``*.npz``; it need not be there.
            **settings: Arguments of the class.

        Raises:
            ValueError: If the name has another end, a setting is out of its range, or
                the file is no gallery.
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
        """Say which weights the embeddings to come are of.

        Args:
            source: Their name; the same name stands for the same weights.

        Raises:
            ValueError: If those that are remembered are of others.
        """
        if len(self) and self.source and self.source != source:
            where = self.path or 'gallery'
            raise ValueError(
                f'{where}: found embeddings of {self.source}, expected those of '
                f'{source}; take the same weights, or another gallery'
            )
        self.source = source

    def save(self, path: str | os.PathLike) -> None:
        """Write who is remembered; the file appears when it is complete.

        Raises:
            OSError: If it cannot be written.
        """
        persons = list(self._persons.values())
        looks = np.array([person.look for person in persons], dtype=np.float32)
        with open_whole(path) as file:
            np.savez_compressed(
                file,
                format=_FORMAT,
                source=self.source,
                next_number=self.next_number,
                number=np.array(list(self._persons), dtype=np.int64),
                label=np.array([person.label for person in persons], dtype=np.int64),
                look=looks.reshape(len(persons), -1 if persons else 0),
            )

    def load(self, path: str | os.PathLike) -> None:
        """Read who is remembered, instead of what this gallery remembers.

        Settings stay; of more identities than `max_identities` those that were seen
        last are taken. Nothing in the file is run.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no file of this kind, or damaged.
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
        """Take the content of a file, if it is whole."""
        if int(found['format']) != _FORMAT:
            raise ValueError(f'format {int(found["format"])} and not {_FORMAT}')
        numbers, labels = (found[name].astype(np.int64) for name in ('number', 'label'))
        looks = found['look'].astype(np.float64)
        fits = (
            looks.ndim == 2
            and len(numbers) == len(labels) == len(looks) == len(np.unique(numbers))
            and np.isfinite(looks).all()
        )
        if not fits:
            raise ValueError('its arrays do not fit each other')
        source = str(found['source'])
        next_number = max([int(found['next_number']), *(numbers + 1).tolist()])
        self.clear()
        self.source, self.next_number = source, next_number
        rows = list(zip(numbers.tolist(), labels.tolist(), looks, strict=True))
        for number, label, look in rows[-self.max_identities :]:
            self._persons[number] = _Person(label, look)
