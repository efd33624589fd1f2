# Copyright (c) mmfdta authors.
"""COCO-VID and TAO: one JSON with videos, images, annotations and categories.

An image has ``video_id`` and ``frame_id`` (``frame_index``); frames are put in its
order. An annotation has ``image_id``, ``category_id``, ``bbox`` (left, top, width,
height) and ``instance_id`` or ``track_id``. With ``iscrowd`` or ``ignore`` it is a
region to ignore for its own category, by TrackEval's rule for regions. Results are such
a JSON of the same images, or a list of annotations with a ``score``. Source: the
converters of MMTracking. They may also be MOTChallenge text with the category in column
8, frames counted from 1 in the order of the images; the same of it is scored.

A JSON whose videos have ``neg_category_ids`` and ``not_exhaustive_category_ids`` is
TAO's. Its videos are annotated for some classes only; what is found of others is not
scored, see :class:`~mmfdta.structures.tracks.PartialClasses`. Results in images that
have no annotation do not count, of an image only the 300 with the highest scores do,
and categories that another lists as ``merged`` are that one. TAO's own score, TrackMAP,
is not computed. Source: TrackEval 1.3.0, tao.py.

In both, the classes that have ground truth are scored.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmfdta.structures.classes import name_numbers
from mmfdta.structures.tracks import PartialClasses, Tracks

from ..classes import NO_CLASS
from ..folders import TextSide, find_files
from . import Annotations, LoadedSide, Side
from .reading import (
    find_json,
    first_character,
    get,
    read_json,
    refuse_repeats,
    to_box,
    to_number,
    to_whole,
)
from .text_results import TextResults

_FRAME = ('frame_id', 'frame_index')
_IDENTITY = ('instance_id', 'track_id')
_NEGATIVE, _PARTIAL = 'neg_category_ids', 'not_exhaustive_category_ids'
_MOST_RESULTS = 300


@dataclass(frozen=True)
class CocoVidTruth(LoadedSide):
    """Ground truth of all videos.

    Attributes:
        images: Video's name, frame, from 1, and video's id of each image.
        merged: Categories that stand for others.
        annotated: Images that have annotations.
    """

    images: dict[Any, tuple[str, int, Any]] = field(default_factory=dict)
    merged: dict[int, int] = field(default_factory=dict)
    annotated: frozenset = frozenset()

    @property
    def is_tao(self) -> bool:
        """Whether classes are annotated in part."""
        return self.benchmark == 'tao'


@dataclass(frozen=True)
class _Record:
    """An annotation or a result."""

    image: Any
    category: int
    identity: int
    box: SequenceOf[float]
    score: float
    is_region: bool
    where: str


def open_truth(path: Path, benchmark: str = '') -> CocoVidTruth | None:
    """Read a file, or the only one in a folder or zip.

    Raises:
        ValueError: If the file is broken, or there are several.
    """
    found = find_json(path)
    files = [file for file in found.values() if first_character(file) == '{']
    if len(files) > 1:
        raise ValueError(
            f'{path}: found {len(files)} JSON files, such as {files[0].name} and '
            f'{files[1].name}, expected the one that holds the ground truth: name it'
        )
    if not files:
        return None
    document = read_json(files[0])
    if 'videos' not in document and path != files[0] and 'images' not in document:
        return None  # something else next to other files
    return _read_truth(document, files[0])


def _read_truth(document: Any, path: Path) -> CocoVidTruth:
    where = str(path)
    parts = {
        key: get(document, key, where, list)
        for key in ('videos', 'images', 'annotations', 'categories')
    }
    names, merged = _read_categories(parts['categories'], path)
    videos: dict[Any, str] = {}
    partial: dict[str, PartialClasses | None] = {}
    is_tao = any(isinstance(v, dict) and _NEGATIVE in v for v in parts['videos'])
    for i, video in enumerate(parts['videos']):
        place = f'{path}: videos[{i}]'
        name = _name_video(video, place)
        identity = get(video, 'id', place, (int, str))
        if identity in videos or name in partial:
            raise ValueError(
                f'{place}: found the video {name!r} or its id {identity!r} again, '
                'expected each once'
            )
        videos[identity] = name
        partial[name] = _read_partial(video, place) if is_tao else None
    images = _read_images(parts['images'], videos, path)
    records = [
        _read_record(record, f'{path}: annotations[{i}]', names, merged, images)
        for i, record in enumerate(parts['annotations'])
    ]
    lengths = Counter(name for name, _, _ in images.values())
    regions = [] if is_tao else [r for r in records if r.is_region]
    objects = records if is_tao else [r for r in records if not r.is_region]
    seen = {record.category for record in objects}
    if not seen:
        raise ValueError(f'{path}: found no annotations, expected some to score with')
    tracks = _by_video(objects, images, videos.values(), names)
    ignored = _by_video(regions, images, videos.values())
    return CocoVidTruth(
        title='TAO JSON' if is_tao else 'COCO-VID JSON',
        benchmark='tao' if is_tao else None,
        classes={name: number for number, name in names.items() if number in seen},
        sequences={
            name: Annotations(
                tracks=tracks[name],
                ignored=ignored[name],
                num_frames=lengths[name],
                class_names=names,
                partial=partial[name],
                source=where,
            )
            for name in videos.values()
        },
        images=images,
        merged=merged,
        annotated=frozenset(record.image for record in records),
    )


def _read_categories(
    categories: list, path: Path
) -> tuple[dict[int, str], dict[int, int]]:
    """Return names by number, and the categories that others stand for."""
    names: dict[int, str] = {}
    merged: dict[int, int] = {}
    for i, category in enumerate(categories):
        place = f'{path}: categories[{i}]'
        number = get(category, 'id', place, int)
        name = get(category, 'name', place, str)
        if number in names or name in names.values():
            raise ValueError(
                f'{place}: found the category {name!r} or its id {number} again, '
                'expected each once'
            )
        names[number] = name
        for j, other in enumerate(category.get('merged') or ()):
            merged[get(other, 'id', f'{place}.merged[{j}]', int)] = number
    return names, merged


def _compare_categories(categories: list, names: dict[int, str], path: Path) -> None:
    """Refuse results whose ids mean other categories than in the ground truth."""
    own, _ = _read_categories(categories, path)
    for number, name in own.items():
        known = names.get(number, name)
        if name.lower() != known.lower():
            raise ValueError(
                f'{path}: categories: the id {number} is {name!r}, but {known!r} in '
                'the ground truth; number the categories as there'
            )


def _name_video(video: Any, place: str) -> str:
    known = isinstance(video, dict) and 'name' not in video and 'file_name' in video
    key = 'file_name' if known else 'name'
    return get(video, key, place, str).replace('/', '-')


def _read_partial(video: dict, place: str) -> PartialClasses:
    negative, partial = (
        frozenset(
            to_whole(number, f'{place}.{key}', 'a category')
            for number in get(video, key, place, list)
        )
        for key in (_NEGATIVE, _PARTIAL)
    )
    return PartialClasses(negative, partial)


def _read_images(
    images: list, videos: dict[Any, str], path: Path
) -> dict[Any, tuple[str, int, Any]]:
    """Return the video's name, the frame, from 1, and the video of each image."""
    by_video: dict[Any, dict[int, Any]] = {video: {} for video in videos}
    known: dict[Any, str] = {}
    for i, image in enumerate(images):
        place = f'{path}: images[{i}]'
        identity = get(image, 'id', place, (int, str))
        video = get(image, 'video_id', place, (int, str))
        if identity in known:
            raise ValueError(
                f'{place}.id: found {identity!r} again (first at {known[identity]}), '
                'expected each image once'
            )
        if video not in videos:
            raise ValueError(f'{place}.video_id: found {video!r}, which no video has')
        key = next((k for k in _FRAME if k in image), _FRAME[0])
        frame = to_whole(get(image, key, place, (int, float)), place, key)
        frames = by_video[video]
        if frame in frames:
            raise ValueError(
                f'{place}.{key}: found {frame} of video {videos[video]} again (first '
                f'at {known[frames[frame]]}), expected each frame once'
            )
        frames[frame] = identity
        known[identity] = place
    return {
        identity: (videos[video], number, video)
        for video, frames in by_video.items()
        for number, (_, identity) in enumerate(sorted(frames.items()), 1)
    }


def _read_record(
    record: Any,
    place: str,
    names: dict[int, str],
    merged: dict[int, int],
    images: dict[Any, tuple[str, int, Any]],
) -> _Record:
    image = get(record, 'image_id', place, (int, str))
    if image not in images:
        raise ValueError(f'{place}.image_id: found {image!r}, which no image has')
    video = record.get('video_id', images[image][2])
    if video != images[image][2]:
        raise ValueError(
            f'{place}.video_id: found {video!r}, but image {image!r} is of video '
            f'{images[image][2]!r}'
        )
    category = get(record, 'category_id', place, int)
    if category not in names and category not in merged:
        raise ValueError(
            f'{place}.category_id: found {category}, which no category has'
        )
    key = next((k for k in _IDENTITY if k in record), _IDENTITY[1])
    identity = to_whole(get(record, key, place, (int, str, float)), place, key)
    score = record.get('score')
    return _Record(
        image=image,
        category=merged.get(category, category),
        identity=identity,
        box=to_box(get(record, 'bbox', place, list), f'{place}.bbox'),
        score=1.0 if score is None else to_number(score, place, 'score'),
        is_region=bool(record.get('iscrowd') or record.get('ignore')),
        where=place,
    )


def _by_video(
    records: list[_Record],
    images: dict[Any, tuple[str, int, Any]],
    videos: Iterable[str],
    names: dict[int, str] | None = None,
) -> dict[str, Tracks]:
    """Make tracks of each video; with names, refuse an identity twice in a frame."""
    grouped: dict[str, list[_Record]] = {name: [] for name in videos}
    for record in records:
        grouped[images[record.image][0]].append(record)
    found = {}
    for name, group in grouped.items():
        tracks = Tracks.create(
            frame=[images[record.image][1] for record in group],
            identity=[record.identity for record in group],
            xywh=np.array([record.box for record in group]).reshape(-1, 4),
            score=[record.score for record in group],
            label=[record.category for record in group],
        )
        if names is not None:
            refuse_repeats(tracks, [record.where for record in group], names)
        found[name] = tracks
    return found


def _count_results(
    records: list[_Record], truth: CocoVidTruth, key: str = ''
) -> tuple[list[_Record], list[str]]:
    """Leave out results that do not count, and say how many there are of them.

    Args:
        records: All results.
        truth: The ground truth.
        key: What the class of a record is called, for messages.

    Raises:
        ValueError: If no class of the results has ground truth.
    """
    remarks = []
    names = next(iter(truth.sequences.values())).class_names
    if truth.is_tao:
        by_image: dict[Any, list[_Record]] = {}
        for record in records:
            by_image.setdefault(record.image, []).append(record)
        for image, group in by_image.items():
            if len(group) > _MOST_RESULTS:  # others stay in their order
                group = sorted(group, key=lambda record: record.score, reverse=True)
                by_image[image] = group[:_MOST_RESULTS]
        kept = list(itertools.chain.from_iterable(by_image.values()))
        if len(kept) < len(records):
            remarks.append(
                f'{len(records) - len(kept)} results are beyond the {_MOST_RESULTS} of '
                'the highest score in their image and are not scored, as in TAO'
            )
        records = [record for record in kept if record.image in truth.annotated]
        if len(records) < len(kept):
            remarks.append(
                f'{len(kept) - len(records)} results are in images without any '
                'annotation and are not scored, as in TAO'
            )
    scored = set((truth.classes or {}).values())
    counted = scored | {NO_CLASS}  # whose class an option may name
    kept = [record for record in records if record.category in counted]
    if records and not kept:
        found = name_numbers(Counter(record.category for record in records), names)
        expected = ', '.join(f'{number} {names[number]}' for number in sorted(scored))
        raise ValueError(
            f'{records[0].where}{key}: all {len(records)} results are of the '
            f'categories {found}, none of which has ground truth; expected some of '
            f'{expected}'
        )
    if len(kept) < len(records):
        remarks.append(
            f'{len(records) - len(kept)} results are of classes without ground truth '
            'and are not scored'
        )
    return kept, remarks


@dataclass(frozen=True)
class CocoVidResults:
    """Results of all videos as JSON, which is read when it is asked for.

    Attributes:
        path: The file.
        truth: The ground truth.
    """

    path: Path
    truth: CocoVidTruth

    @property
    def title(self) -> str:
        """What the format is called."""
        return self.truth.title

    @property
    def benchmark(self) -> str | None:
        """Name of the benchmark whose format it is."""
        return self.truth.benchmark

    @property
    def classes(self) -> dict[str, int] | None:
        """Classes to score one by one, with their numbers."""
        return self.truth.classes

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names of all class numbers."""
        return self.truth.class_names

    @property
    def names(self) -> list[str]:
        """Names of the videos, sorted."""
        return self.truth.names

    @property
    def remarks(self) -> list[str]:
        """What the user should know, a line each.

        Raises:
            OSError: If the file cannot be read.
            ValueError: At the first fault of it.
        """
        return self._loaded[1]

    def read(self, name: str) -> Annotations:
        """Return the results of a video that count; for errors see `remarks`."""
        return Annotations(
            self._loaded[0][name],
            class_names=dict(self.class_names),
            source=str(self.path),
        )

    @cached_property
    def _loaded(self) -> tuple[dict[str, Tracks], list[str]]:
        """Results of all videos, and remarks."""
        path, truth, names = self.path, self.truth, dict(self.class_names)
        document, where = read_json(path), f'{path}: '
        if isinstance(document, dict):
            _compare_categories(document.get('categories') or [], names, path)
            document = get(document, 'annotations', str(path), list)
            where = f'{where}annotations'
        elif not isinstance(document, list):
            raise ValueError(f'{path}: expected a list of results')
        records = [
            _read_record(record, f'{where}[{i}]', names, truth.merged, truth.images)
            for i, record in enumerate(document)
        ]
        _by_video(records, truth.images, truth.sequences, names)  # refuses repeats
        records, remarks = _count_results(records, truth, '.category_id')
        return _by_video(records, truth.images, truth.sequences), remarks


def open_results(path: Path, truth: Side) -> CocoVidResults | None:
    """Find a list of results, or annotations of the same images.

    Raises:
        ValueError: If there are several files.
    """
    if not isinstance(truth, CocoVidTruth):
        return None
    found = list(find_files(path, ['*.json', 'data/*.json'], bool, depth=0).values())
    if not found:
        return None
    if len(found) > 1:
        raise ValueError(
            f'{path}: found {len(found)} JSON files, such as {found[0].name} and '
            f'{found[1].name}, expected the one that holds the results: name it'
        )
    return CocoVidResults(found[0], truth)


@dataclass(frozen=True)
class CocoVidTexts(TextResults):
    """Results as MOTChallenge text, by the rules that hold for JSON.

    Attributes:
        truth: The ground truth.
    """

    truth: CocoVidTruth | None = None

    @property
    def remarks(self) -> list[str]:
        """What the user should know, a line each.

        Raises:
            OSError: If a text cannot be read.
            ValueError: At the first fault of one.
        """
        return self._loaded[1]

    def read(self, name: str) -> Annotations:
        """Return the results of a video that count; for errors see `remarks`."""
        return Annotations(self._loaded[0][name], source=str(self.paths[name]))

    @cached_property
    def _loaded(self) -> tuple[dict[str, Tracks], list[str]]:
        """Results of all videos, and remarks."""
        assert self.truth is not None  # `as_results` gives it
        truth = self.truth
        images = {place[:2]: image for image, place in truth.images.items()}
        names = truth.class_names
        records = []
        for name in sorted(set(self.names) & set(truth.sequences)):
            text = self.scan(name)
            tracks = text.tracks
            columns = tracks.frame, tracks.label, tracks.identity, tracks.score
            rows = zip(*(c.tolist() for c in (*columns, text.line)), strict=True)
            for (frame, label, identity, score, line), box in zip(
                rows, tracks.xywh, strict=True
            ):
                where = f'{self.paths[name]}:{line}'
                if (name, frame) not in images:  # the video has none at all
                    raise ValueError(f'{where}: found frame {frame}, which no image is')
                category = truth.merged.get(label, max(label, NO_CLASS))
                if category not in names and category != NO_CLASS:
                    raise ValueError(
                        f'{where}: found class {label} in column 8, which no category '
                        'has'
                    )
                records.append(
                    _Record(
                        image=images[name, frame],
                        category=category,
                        identity=identity,
                        box=box,
                        score=score,
                        is_region=False,
                        where=where,
                    )
                )
        _by_video(records, truth.images, truth.sequences, dict(names))
        kept, remarks = _count_results(records, truth)
        return _by_video(kept, truth.images, truth.sequences), remarks


def as_results(texts: TextSide, truth: Side) -> CocoVidTexts | None:
    """Take texts for results in the images of this format."""
    if not isinstance(truth, CocoVidTruth):
        return None
    lengths = {name: of.num_frames or 0 for name, of in truth.sequences.items()}
    return CocoVidTexts(texts.paths, truth.classes, lengths, truth=truth)


def format_results(truth: CocoVidTruth, sequences: Mapping[str, Tracks]) -> str:
    """Write results as a list of annotations of the ground truth's images.

    Args:
        truth: The ground truth.
        sequences: Results by the names of its videos, frames from 1.

    Returns:
        JSON, a record on each line.
    """
    images = {
        (name, frame): (image, video)
        for image, (name, frame, video) in truth.images.items()
    }
    records = []
    for name, tracks in sequences.items():
        columns = tracks.frame, tracks.label, tracks.identity, tracks.xywh, tracks.score
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for frame, label, identity, box, score in rows:
            image, video = images[name, frame]
            records.append(
                dict(
                    image_id=image,
                    video_id=video,
                    category_id=label,
                    track_id=identity,
                    bbox=box,
                    score=score,
                )
            )
    return '[' + ',\n'.join(map(json.dumps, records)) + ']\n'
