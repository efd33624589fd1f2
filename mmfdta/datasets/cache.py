# Copyright (c) mmfdta authors.
"""Annotation cache: a split's sequences in one file of arrays.

The cache knows the text files it was made from by their content, the images by their
names, and which sequences there were. If one has changed since, the cache is not used,
so that it can never be wrong about a box. It also knows how the frames of the texts
were read.
"""

import hashlib
import json
import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmfdta.structures.frames import FrameNumbers, list_images
from mmfdta.structures.tracks import Tracks
from mmfdta.structures.whole_files import open_whole

from .sequences import Sequence, SequenceAnnotations, SequenceSource

_VERSION = 4


def save_cache(
    path: str | os.PathLike,
    data_root: str,
    sequences: list[Sequence],
    sources: list[SequenceSource] | None,
    files: list[str],
    numbers: FrameNumbers,
) -> None:
    """Write a split's sequences atomically.

    Args:
        path: Where to write.
        data_root: Paths are stored relative to this.
        sequences: The split.
        sources: Where their parts are; None if the data set has no such list.
        files: Files they were read from.
        numbers: How the frames of their texts were read.
    """
    header = dict(
        version=_VERSION,
        sources=_list_parts(sources, data_root),
        files={os.path.relpath(file, data_root): _digest(file) for file in files},
        frame_numbers=dict(choice=numbers.choice, remark=numbers.remark),
        sequences=[
            dict(
                name=s.name,
                image_dir=os.path.relpath(s.image_dir, data_root),
                depth_place=_relative(s.depth_place, data_root),
                length=len(s),
                rows=None if s.annotations is None else len(s.annotations.tracks),
                is_static=s.is_static,
                frame_rate=s.frame_rate,
            )
            for s in sequences
        ],
    )
    arrays: dict[str, Any] = dict(
        header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        image_names=np.concatenate(
            [s.image_names for s in sequences] or [np.array([''])]
        ),
    )
    known = [s.annotations for s in sequences if s.annotations is not None]
    tracks = Tracks.concatenate([annotations.tracks for annotations in known])
    arrays.update(
        frame=tracks.frame,
        identity=tracks.identity,
        xywh=tracks.xywh,
        score=tracks.score,
        category=_join([annotations.category for annotations in known]),
        visibility=_join([annotations.visibility for annotations in known]),
    )
    with open_whole(path) as file:  # carries no time: two runs agree
        np.savez_compressed(file, **arrays)


def load_cache(
    path: str | os.PathLike,
    data_root: str,
    sources: list[SequenceSource] | None,
    frame_numbers: str = 'auto',
) -> list[Sequence] | None:
    """Read a split's sequences, and say how the frames of their texts were read.

    Args:
        path: The cache.
        data_root: Paths are relative to this.
        sources: Where the parts of the sequences are that are to be read; None if the
            data set has no such list.
        frame_numbers: How frames are to be read; ``auto`` takes what the cache has.

    Returns:
        None if there is no cache, or if it is out of date, unreadable or of other
        sequences (which is said in the log).
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header = json.loads(arrays.pop('header').tobytes())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        _distrust(path, f'cannot be read ({error})')
        return None
    if header.get('version') != _VERSION:
        _distrust(path, 'was written by another version')
        return None
    bare = next((s for s in sources or () if s.without_images), None)
    if bare is not None:
        _distrust(path, f'cannot hold sequence {bare.name}, which has no images', '')
        return None
    change = _find_change(header['sources'], _list_parts(sources, data_root))
    if change:
        _distrust(path, change)
        return None
    for file, digest in header['files'].items():
        full = os.path.join(data_root, file)
        if not os.path.isfile(full) or _digest(full) != digest:
            _distrust(path, f'is older than {full}')
            return None
    numbers = header['frame_numbers']
    # Without a remark, names and counting from 1 are the same.
    same = () if numbers['remark'] else ('names', 'count')
    if frame_numbers not in ('auto', numbers['choice'], *same):
        _distrust(path, f'was written with frame_numbers={numbers["choice"]!r}')
        return None
    sequences = _unpack(header['sequences'], arrays, data_root)
    folder = _find_changed_folder(sequences)
    if folder is not None:
        _distrust(path, f'lists other images than are in {folder}')
        return None
    if numbers['remark']:
        print_log(numbers['remark'], 'current', logging.WARNING)
    return sequences


def _list_parts(
    sources: list[SequenceSource] | None, data_root: str
) -> list[list] | None:
    """List name and parts of each sequence, with paths relative to the data root."""
    if sources is None:
        return None
    return [
        [
            source.name,
            *(
                _relative(part, data_root)
                for part in (
                    source.image_dir,
                    source.gt_path,
                    source.seqinfo_path,
                    source.depth_dir,
                )
            ),
        ]
        for source in sources
    ]


def _relative(part: str | None, data_root: str) -> str | None:
    """Make a path relative to the data root; a part that there is not stays."""
    return os.path.relpath(part, data_root) if part else part


def _find_change(known: list[list] | None, found: list[list] | None) -> str:
    """Say which sequence the cache does not have as it is; empty if there is none."""
    if known == found:
        return ''
    before = {name: parts for name, *parts in known or []}
    now = {name: parts for name, *parts in found or []}
    for name, parts in now.items():
        if name not in before:
            return f'does not have sequence {name}'
        if before[name] != parts:
            return f'was written when sequence {name} had other files'
    gone = next((name for name in before if name not in now), '')
    if gone:
        return f'has sequence {gone}, which is not there'
    return 'has the sequences in another order'


def _find_changed_folder(sequences: list[Sequence]) -> str | None:
    """Find a folder that does not have the images of its sequences; None if all do.

    Static images share a folder, in which there may be others.
    """
    static: dict[str, set[str]] = {}
    for sequence in sequences:
        if sequence.is_static:
            names = static.setdefault(sequence.image_dir, set())
            names.update(sequence.image_names.tolist())
        elif not _has_images(sequence):
            return sequence.image_dir
    for folder, names in static.items():
        if not os.path.isdir(folder) or not names <= {*os.listdir(folder)}:
            return folder
    return None


def _has_images(sequence: Sequence) -> bool:
    """Tell whether a sequence's folder holds its images and no others like them."""
    names = sequence.image_names.tolist()
    endings = tuple({os.path.splitext(name)[1] for name in names})
    try:
        found = list_images(sequence.image_dir)
    except FileNotFoundError:
        return False
    return [name for name in found if name.endswith(endings)] == names


def _unpack(
    entries: list[dict], arrays: dict[str, np.ndarray], data_root: str
) -> list[Sequence]:
    sequences, image, row = [], 0, 0
    for entry in entries:
        length, annotations = entry['length'], None
        if entry['rows'] is not None:
            rows = slice(row, row + entry['rows'])
            names = 'frame', 'identity', 'xywh', 'score'
            columns = {name: arrays[name][rows] for name in names}
            label = np.zeros(entry['rows'], dtype=np.int64)
            annotations = SequenceAnnotations.create(
                Tracks(**columns, label=label),
                length,
                arrays['category'][rows],
                arrays['visibility'][rows],
            )
            row = rows.stop
        sequences.append(
            Sequence(
                name=entry['name'],
                image_dir=os.path.join(data_root, entry['image_dir']),
                image_names=arrays['image_names'][image : image + length],
                annotations=annotations,
                depth_place=entry['depth_place']
                and os.path.join(data_root, entry['depth_place']),
                is_static=entry['is_static'],
                frame_rate=entry['frame_rate'],
            )
        )
        image += length
    return sequences


def _join(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)


def _digest(file: str) -> str:
    return hashlib.sha1(Path(file).read_bytes(), usedforsecurity=False).hexdigest()


def _distrust(
    path: Path, reason: str, remedy: str = '. Run mmfdta prepare-dataset again'
) -> None:
    print_log(
        f'annotation cache {path} {reason}; reading the original files instead{remedy}',
        'current',
        logging.WARNING,
    )
