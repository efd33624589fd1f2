# Copyright (c) mmfdta authors.
"""Writes PETS09-S2L1 of the public video and its annotation, in MOT15's layout.

The annotation is MOTChallenge text or CVML. CVML counts frames from 0 and gives a box
by its centre and size; the text counts them from 1 and gives the left and upper side.
Pixels are the same in both: ``left = xc - w / 2``, as MOT15 has made its text of Anton
Milan's file.
"""

import filecmp
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import cv2
import numpy as np

from mmfdta.structures.frames import IMAGE_DIR, SequenceInfo
from mmfdta.structures.mot_text import scan_mot_text
from mmfdta.structures.tracks import Tracks
from mmfdta.structures.whole_files import read_bytes, write_text

from .depth import INFO_NAME

SEQUENCE = 'PETS09-S2L1'
NUM_FRAMES, WIDTH, HEIGHT, FRAME_RATE = 795, 768, 576, 7
"""What the sequence has; the size is in pixels."""
_JPEG_QUALITY = 95
# Largest median of what heights of boxes differ by from a line, as a share of them.
_MOST_SPREAD = 0.2
_BRIGHTEST = 255


def read_annotation(path: str | os.PathLike) -> Tracks:
    """Read the boxes of the sequence.

    Args:
        path: MOTChallenge text, or CVML.

    Returns:
        Rows by frame, then identity.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or a row has no frame of the sequence, no
            area, or an identity of another row; the message names file and line.
    """
    try:
        is_cvml = read_bytes(path).lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'<')
    except FileNotFoundError:
        raise FileNotFoundError(
            f'{path}: no such file; expected the annotation of {SEQUENCE}, '
            'MOTChallenge text or CVML'
        ) from None
    tracks, lines = _read_cvml(path) if is_cvml else _read_text(path)

    def refuse(row: int, found: str) -> NoReturn:
        raise ValueError(f'{path}:{lines[row]}: {found}')

    outside = (tracks.frame < 1) | (tracks.frame > NUM_FRAMES)
    if outside.any():
        row = int(np.argmax(outside))
        first = 0 if is_cvml else 1
        refuse(
            row,
            f'found frame {tracks.frame[row] - 1 + first}, expected {first} to '
            f'{NUM_FRAMES - 1 + first}, as {SEQUENCE} has {NUM_FRAMES} frames',
        )
    flat = (tracks.xywh[:, 2:] <= 0).any(axis=1)
    if flat.any():
        refuse(int(np.argmax(flat)), 'found a width or height <= 0')
    repeats = tracks.find_repeats()
    if repeats:
        row, first = repeats[0]
        refuse(
            row,
            f'identity {tracks.identity[row]} occurs again in its frame (first on line '
            f'{lines[first]})',
        )
    if not len(tracks):
        raise ValueError(f'{path}: found no box')
    return tracks.select(np.lexsort([tracks.identity, tracks.frame]))


def _read_text(path: str | os.PathLike) -> tuple[Tracks, np.ndarray]:
    text = scan_mot_text(path)
    text.require()
    return text.tracks, text.line


def _read_cvml(path: str | os.PathLike) -> tuple[Tracks, list[int]]:
    """Read ``<frame number><objectlist><object id><box xc yc w h/>``."""
    rows: list[tuple[float, ...]] = []
    lines: list[int] = []
    state: dict[str, float] = {}
    parser = expat.ParserCreate()

    def read(element: str, values: dict[str, str], *names: str) -> list[float]:
        try:
            return [float(values[name]) for name in names]
        except (KeyError, ValueError):
            raise ValueError(
                f'{path}:{parser.CurrentLineNumber}: found <{element}> with {values}, '
                f'expected numbers for {", ".join(names)}'
            ) from None

    def start(element: str, values: dict[str, str]) -> None:
        if element == 'frame':
            state.pop('object', None)
            (state['frame'],) = read(element, values, 'number')
        elif element == 'object':
            (state['object'],) = read(element, values, 'id')
        elif element == 'box':
            if len(state) < 2:
                raise ValueError(
                    f'{path}:{parser.CurrentLineNumber}: found <box> outside of an '
                    '<object> of a <frame>'
                )
            box = read(element, values, 'xc', 'yc', 'w', 'h')
            rows.append((state['frame'] + 1, state['object'], *box))
            lines.append(parser.CurrentLineNumber)

    parser.StartElementHandler = start
    try:
        parser.Parse(read_bytes(path), True)
    except expat.ExpatError as error:
        raise ValueError(f'{path}:{error.lineno}: no CVML: {error}') from None
    found = np.array(rows).reshape(-1, 6)
    xywh = found[:, 2:] - np.pad(found[:, 4:] / 2, [(0, 0), (0, 2)])
    try:
        return Tracks.create(found[:, 0], found[:, 1], xywh), lines
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def write_sequence(
    root: str | os.PathLike,
    frames: Iterable[np.ndarray],
    tracks: Tracks,
    ground_depth: bool = False,
) -> str:
    """Write ``<root>/train/PETS09-S2L1``, all of it or nothing.

    Args:
        root: Folder of the data set.
        frames: uint8 (H, W, 3) BGR, all that the video has.
        tracks: What :func:`read_annotation` gives.
        ground_depth: Draw depth maps, see :func:`draw_depth`.

    Returns:
        A line that says what was written.

    Raises:
        ValueError: If the frames are not those of the sequence, or people do not stand
            on level ground.
        FileExistsError: If there is a sequence that differs.
    """
    target = Path(root, 'train', SEQUENCE)
    horizon, spread = fit_horizon(tracks) if ground_depth else (0.0, 0.0)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=f'.{SEQUENCE}.partial-'))
    try:
        _write_frames(partial / IMAGE_DIR, frames)
        write_text(partial / 'gt' / 'gt.txt', _format_truth(tracks))
        info = SequenceInfo(
            name=SEQUENCE,
            image_dir=IMAGE_DIR,
            frame_rate=FRAME_RATE,
            length=NUM_FRAMES,
            width=WIDTH,
            height=HEIGHT,
            suffix='.jpg',
        )
        write_text(partial / 'seqinfo.ini', info.text())
        done = f'{len(tracks)} boxes'
        if ground_depth:
            _write_depth(partial / 'depth', tracks, horizon, spread)
            done += (
                f' and depth maps (the horizon is row {horizon:.0f}; heights differ by '
                f'{spread:.0%} from a line through it)'
            )
        partial.chmod(0o755)
        written = _publish(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    state = '' if written else ', which was there'
    return f'{SEQUENCE}: {NUM_FRAMES} images, {done} -> {target}{state}'


def _publish(partial: Path, target: Path) -> bool:
    """Give the folder its name, or find the same there; True if something is new."""
    if not target.exists():
        os.replace(partial, target)
        return True
    depth = partial / 'depth'
    is_new = depth.is_dir() and not (target / 'depth').exists()
    for path in sorted(path for path in partial.rglob('*') if path.is_file()):
        name = path.relative_to(partial)
        if is_new and depth in path.parents:
            continue
        there = target / name
        if not there.is_file() or not filecmp.cmp(path, there, shallow=False):
            found = 'differs' if there.is_file() else 'is missing'
            raise FileExistsError(
                f'{target}: is there, and {name} {found}; move the folder away, or '
                'name another root'
            )
    if is_new:
        os.replace(depth, target / 'depth')
    return is_new


def _write_frames(folder: Path, frames: Iterable[np.ndarray]) -> None:
    folder.mkdir()
    count = 0
    for count, image in enumerate(frames, start=1):
        height, width = image.shape[:2]
        if (width, height) != (WIDTH, HEIGHT):
            raise ValueError(
                f'the video: found frames of {width}x{height}, expected '
                f'{WIDTH}x{HEIGHT} of {SEQUENCE}'
            )
        if count <= NUM_FRAMES:
            quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
            _write_image(folder / f'{count:06d}.jpg', image, quality)
    if count != NUM_FRAMES:
        raise ValueError(
            f'the video: found {count} frames, expected {NUM_FRAMES} of {SEQUENCE} '
            '(vtest.avi of OpenCV)'
        )


def _write_image(path: Path, image: np.ndarray, flags: list[int]) -> None:
    """Encode and write; OpenCV itself is silent about a full disk."""
    path.write_bytes(cv2.imencode(path.suffix, image, flags)[1].tobytes())


def _format_truth(tracks: Tracks) -> str:
    rows = zip(tracks.frame, tracks.identity, tracks.xywh, tracks.score, strict=True)
    return ''.join(
        f'{frame},{identity},{x:.3f},{y:.3f},{w:.3f},{h:.3f},{score:g},1,1\n'
        for frame, identity, (x, y, w, h), score in rows
    )


def fit_horizon(tracks: Tracks) -> tuple[float, float]:
    """Find the row in which people on level ground would have no height.

    For a fixed camera the height of people of one size is linear in the row of their
    feet. Boxes that reach the border of the image are left out.

    Args:
        tracks: Boxes of whole people.

    Returns:
        The row, which may lie above the image, and the median of what heights differ
        by from the line, as a share of them.

    Raises:
        ValueError: If heights do not grow that way.
    """
    left, top, width, height = tracks.xywh.T
    feet = top + height
    inside = (left > 0) & (top > 0) & (left + width < WIDTH) & (feet < HEIGHT)
    feet, height = feet[inside], height[inside]
    if len(np.unique(feet)) > 1:
        slope, offset = np.polyfit(feet, height, 1)
        horizon = -offset / slope if slope > 0 else np.inf
        spread = float(np.median(abs(height - slope * feet - offset) / height))
        if horizon < feet.min() and spread <= _MOST_SPREAD:
            return float(horizon), spread
        found = f'a horizon at row {horizon:.0f} and heights {spread:.0%} off a line'
    else:
        found = f'{len(feet)} boxes inside of the image'
    raise ValueError(
        f'ground depth: found {found}, expected people on level ground, whose heights '
        f'grow with the row of their feet, and differ by {_MOST_SPREAD:.0%} at most'
    )


def draw_depth(xywh: np.ndarray, horizon: float) -> np.ndarray:
    """Draw inverse depth: that of the ground, and of people as upright cards on it.

    On level ground inverse depth is linear in the row, and zero at the horizon. The
    last row of the image is the brightest; what is above the horizon is black.

    Args:
        xywh: float (N, 4) boxes of the people in the image.
        horizon: Its row.

    Returns:
        uint8 (H, W), near is bright.
    """
    scale = _BRIGHTEST / (HEIGHT - horizon)
    ground = (np.arange(HEIGHT) + 0.5 - horizon) * scale
    depth = np.repeat(ground[:, None], WIDTH, axis=1)
    feet = xywh[:, 1] + xywh[:, 3]
    for row in np.argsort(feet):  # who is nearer covers who is farther
        left, top, width, height = xywh[row]
        columns = slice(max(round(left), 0), max(round(left + width), 0))
        rows = slice(max(round(top), 0), max(round(top + height), 0))
        depth[rows, columns] = (feet[row] - horizon) * scale
    return np.clip(np.rint(depth), 0, _BRIGHTEST).astype(np.uint8)


def _write_depth(folder: Path, tracks: Tracks, horizon: float, spread: float) -> None:
    folder.mkdir()
    for frame in range(1, NUM_FRAMES + 1):
        depth = draw_depth(tracks.xywh[tracks.frame == frame], horizon)
        _write_image(folder / f'{frame:06d}.png', depth, [])
    info = dict(
        backend='level ground and the boxes of the annotation',
        horizon=horizon,
        spread=spread,
        polarity='near is bright',
        maps=NUM_FRAMES,
        size=[WIDTH, HEIGHT],
    )
    write_text(folder / INFO_NAME, json.dumps(info, indent=2) + '\n')
