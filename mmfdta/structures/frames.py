# Copyright (c) mmfdta authors.
"""Frames of a sequence on disk, and the rule of frame numbers.

A sequence is a folder with images, an optional ``seqinfo.ini`` and text. Frame numbers
of a text have one of two interpretations ("readings"): the number in the name of an
image (``names``), or the n-th image (``count``), from 1, or from 0 if a text has a
frame 0. One reading holds for all sequences of a split, or all texts of a folder. If
only one fits, it is used; if both fit and differ, the user must choose with an option.

Data sets, their checker and their cache, evaluation, submission, depth and tracking
all find images and assign rows to them with this module.
"""

import os
import re
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from .mot_text import ScannedText

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
IMAGE_DIR = 'img1'
FRAME_NUMBERS = ('auto', 'names', 'count', 'count0')

_Number = TypeVar('_Number', int, float)
_DIGITS = re.compile('([0-9]+)')
_THUMBNAIL = re.compile(r'(^|[^a-z])thumb(nail)?s?([^a-z]|$)')
_LARGEST = 2**63 - 1
_NOT_IMAGES = ('depth', 'gt', 'det')
# Without a space before it, the character is part of the value.
_COMMENT = re.compile(r'\s[;#].*')


# Images of a folder


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key under which image 10 comes after image 9."""
    parts = _DIGITS.split(name.casefold())
    key = [(0, int(p), '') if p[0] in '0123456789' else (1, 0, p) for p in parts if p]
    return [*key, (2, 0, name)]


def is_image(name: str) -> bool:
    """Return whether a file name is that of an image that is not hidden."""
    return not name.startswith('.') and name.lower().endswith(IMAGE_SUFFIXES)


def without_thumbnails(names: Iterable[str]) -> list[str]:
    """Remove images that are named as thumbnails, if there are others."""
    names = list(names)
    full = [name for name in names if not _THUMBNAIL.search(name.lower())]
    return full or names


def list_images(path: str | os.PathLike, suffix: str | None = None) -> list[str]:
    """List the images of a folder, sorted by name, numbers in names by value.

    Hidden files, files that are not images, folders and thumbnails are left out.

    Args:
        path: The folder.
        suffix: Take only images with this ending (``imExt``), if there are any.

    Returns:
        File names.

    Raises:
        FileNotFoundError: If the folder is missing or has no image.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f'{path}: no such folder, expected images in it')
    names = without_thumbnails(
        entry.name
        for entry in os.scandir(path)
        if is_image(entry.name) and entry.is_file()
    )
    if not names:
        raise FileNotFoundError(
            f'{path}: no images in it, expected files that end in '
            f'{", ".join(IMAGE_SUFFIXES)}. Was the archive unpacked completely?'
        )
    if suffix:
        names = [n for n in names if n.lower().endswith(suffix)] or names
    return sorted(names, key=None if _are_plain(names) else natural_key)


def _are_plain(names: SequenceOf[str]) -> bool:
    """Return whether names are numbers of one width, as most are; a fast check."""
    stem, ending = os.path.splitext(names[0])
    return len(stem) < 19 and all(
        len(name) == len(names[0])
        and name.endswith(ending)
        and name.isascii()
        and name[: len(stem)].isdecimal()
        for name in names
    )


def _group_names(names: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
    """Group names that differ in their numbers and endings only."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        parts = _DIGITS.split(os.path.splitext(name)[0].casefold())
        kinds.setdefault(tuple(parts[::2]), []).append(name)
    return kinds


def find_stray(names: SequenceOf[str]) -> tuple[str, str] | None:
    """Find an image that is not named like the others, which have numbers.

    Returns:
        Its name and that of another; None if all names are similar, or if most names
        have no numbers.
    """
    kinds = _group_names(names)
    numbered = [found for k, found in kinds.items() if len(k) > 1 and found[1:]]
    if len(kinds) == 1 or 2 * sum(map(len, numbered)) < len(names):
        return None
    usual = max(numbered, key=len)
    odd = min((found for found in kinds.values() if found is not usual), key=len)
    return odd[0], usual[0]


def number_images(
    names: SequenceOf[str], folder: str | os.PathLike, allow_mixed: bool = False
) -> np.ndarray | None:
    """Find the number in the name of each image.

    Names such as ``000001.jpg``, ``img1.jpg`` or ``cam2_0001_left.png`` differ in one
    number, which is that of the frame. If several numbers differ, it is the one that
    increases in equal steps.

    Args:
        names: File names in their order.
        folder: Their folder, for messages.
        allow_mixed: Return None for names of several kinds instead of raising.

    Returns:
        int64 (L,), ascending; None if the names have no frame number.

    Raises:
        ValueError: If two images have the same number, or if most names are similar
            and some are not.
    """
    if _are_plain(names):
        width = len(os.path.splitext(names[0])[0])
        return np.array([name[:width] for name in names]).astype(np.int64)
    kinds = _group_names(names)
    if len(kinds) > 1:
        stray = None if allow_mixed else find_stray(names)
        if stray is None:
            return None
        raise ValueError(
            f'{folder}: found {stray[0]} among images such as {stray[1]}, expected '
            'names of one kind. Remove what is no frame, or count all images in the '
            "order of their names with frame_numbers='count' (--frame-numbers count)"
        )
    texts = [_DIGITS.findall(os.path.splitext(name)[0]) for name in names]
    columns = [[int(text) for text in column] for column in zip(*texts, strict=True)]
    varying = [c for c in columns if min(c) != max(c)] or columns[-1:]
    if len(varying) > 1:
        steady = [c for c in varying if len({b - a for a, b in _pairs(c)}) == 1]
        varying = [c for c in steady if c[1] > c[0]]
    if len(varying) != 1 or max(varying[0]) > _LARGEST:
        return None
    numbers = np.array(varying[0], dtype=np.int64)
    repeated = np.flatnonzero(numbers[1:] == numbers[:-1])
    if len(repeated):
        i = repeated[0]
        raise ValueError(
            f'{folder}: found {names[i]} and {names[i + 1]}, two images of the number '
            f'{numbers[i]} ({len(repeated)} such pairs), expected one. Remove one of '
            'them, or name the right ending as imExt in seqinfo.ini'
        )
    return numbers


def _pairs(values: list[int]) -> list[tuple[int, int]]:
    return list(zip(values[:-1], values[1:], strict=True))


# seqinfo.ini


@dataclass(frozen=True)
class SequenceInfo:
    """Content of ``seqinfo.ini``; None or 0 for what it does not give.

    Attributes:
        length: ``seqLength``.
        height: ``imHeight``.
        width: ``imWidth``.
        frame_rate: ``frameRate``.
        image_dir: ``imDir``.
        suffix: ``imExt``, lower case with its dot.
        name: ``name``.
    """

    length: int | None = None
    height: int | None = None
    width: int | None = None
    frame_rate: float = 0.0
    image_dir: str | None = None
    suffix: str | None = None
    name: str | None = None

    def text(self) -> str:
        """Write the file, all of whose values have to be known."""
        return (
            '[Sequence]\n'
            f'name={self.name}\n'
            f'imDir={self.image_dir}\n'
            f'frameRate={self.frame_rate:g}\n'
            f'seqLength={self.length}\n'
            f'imWidth={self.width}\n'
            f'imHeight={self.height}\n'
            f'imExt={self.suffix}\n'
        )


def read_seqinfo(path: str | os.PathLike | None) -> SequenceInfo:
    """Read ``seqinfo.ini``; without a path, return empty information.

    Keys and sections may be in upper or lower case, with ``=`` or ``:``. If there is a
    section ``[Sequence]``, only its keys are used, else those of the complete file,
    which needs no section.

    Raises:
        ValueError: If a line is not a setting, a key has two different values, or a
            value is not a number; the message names file, line, section and key.
    """
    if path is None:
        return SequenceInfo()
    values = _read_settings(Path(path))

    def number(key: str, kind: Callable[[float], _Number]) -> _Number | None:
        line, section, text = values.get(key.lower(), (0, '', ''))
        if not text:
            return None
        try:
            value = float(text if text.isascii() and '_' not in text else 'text')
            if not abs(value) < 1e9 or kind(value) != value:
                raise ValueError
            if kind is int and value < 0:
                raise ValueError
        except ValueError:
            what = 'a number' if kind is float else 'a whole number from 0'
            raise ValueError(
                f'{path}:{line}: found {key}={text!r} {_name_section(section)}, '
                f'expected {what}'
            ) from None
        return kind(value)

    def text(key: str) -> str | None:
        return values.get(key.lower(), (0, '', ''))[2] or None

    suffix = text('imExt')
    return SequenceInfo(
        length=number('seqLength', int),
        height=number('imHeight', int),
        width=number('imWidth', int),
        frame_rate=max(number('frameRate', float) or 0.0, 0.0),
        image_dir=text('imDir'),
        suffix=suffix and f'.{suffix.lower().lstrip("*").lstrip(".")}',
        name=text('name'),
    )


def _read_settings(path: Path) -> dict[str, tuple[int, str, str]]:
    """Return line, section and value of each key, keys in lower case."""
    data = path.read_bytes()
    is_wide = data[:2] in (b'\xff\xfe', b'\xfe\xff')
    try:
        content = data.decode('utf-16' if is_wide else 'utf-8-sig')
    except UnicodeDecodeError:
        content = data.decode('latin-1')
    found: list[tuple[int, str, str, str]] = []
    section = ''
    for line, raw in enumerate(content.lstrip('\ufeff').splitlines(), start=1):
        text = _COMMENT.sub('', f' {raw}').strip()
        if not text:
            continue
        if text.startswith('[') and text.endswith(']'):
            section = text[1:-1].strip()
            continue
        key, separator, value = _split_setting(text)
        if not separator or '\0' in text:
            raise ValueError(
                f'{path}:{line}: found {text[:40]!r}, expected KEY=VALUE such as '
                'seqLength=600 in a section [Sequence]'
            )
        found.append((line, section, key, value))
    if any(section.lower() == 'sequence' for _, section, _, _ in found):
        found = [setting for setting in found if setting[1].lower() == 'sequence']
    values: dict[str, tuple[int, str, str]] = {}
    for line, section, key, value in found:
        before = values.setdefault(key.lower(), (line, section, value))
        if before[2] != value:
            raise ValueError(
                f'{path}:{line}: found {key}={value} {_name_section(section)}, but '
                f'{key}={before[2]} on line {before[0]}, expected one value'
            )
    return values


def _name_section(section: str) -> str:
    return f'in section [{section}]' if section else 'outside of any section'


def _split_setting(text: str) -> tuple[str, str, str]:
    """Split at the first ``=`` or ``:``, and remove quotes."""
    match = re.match(r'([^=:{}<>\[\]]*)([=:])(.*)', text)
    if match is None:
        return text, '', ''
    key, separator, value = (
        part.strip().strip('"\'').strip() for part in match.groups()
    )
    return key, separator if key else '', value


def find_image_dir(folder: str | os.PathLike, info: SequenceInfo) -> Path | None:
    """Find the folder of a sequence's images: ``imDir``, or ``img1``.

    Args:
        folder: The sequence's folder.
        info: Its ``seqinfo.ini``.

    Returns:
        None if there are no images.

    Raises:
        FileNotFoundError: If ``imDir`` does not exist, but another folder has images.
    """
    folder = Path(folder)
    name = info.image_dir or IMAGE_DIR
    path = folder / name.replace('\\', '/')
    if path.is_dir():
        return path
    if name == IMAGE_DIR or not folder.is_dir():
        return None
    others = [
        entry.name
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
        if entry.is_dir()
        and entry.name not in _NOT_IMAGES
        and any(is_image(name) for name in os.listdir(entry.path))
    ]
    if others:
        raise FileNotFoundError(
            f'{folder / "seqinfo.ini"}: imDir is {name}, but there is no folder '
            f'{path}; there are images in {folder / others[0]}. Correct imDir'
        )
    return None


# Frames of a sequence


@dataclass(frozen=True)
class SequenceFrames:
    """Number, names and numbers of the frames of a sequence.

    Attributes:
        path: Folder of the images, or of the sequence, for messages; empty if the
            length was derived from texts.
        length: Number of frames L; that of the images if there are any.
        names: File names of the L images; None if there are no images.
        numbers: int64 (L,), ascending, the numbers in the names. 1..L if there are no
            images; None if the names have no numbers.
        expected: ``seqLength``.
        left_out: Images of the folder that are not used: thumbnails, and those that do
            not end in ``imExt``.
        remarks: What does not fit together, and what was done.
    """

    path: str
    length: int
    names: tuple[str, ...] | None = None
    numbers: np.ndarray | None = None
    expected: int | None = None
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @classmethod
    def of_images(
        cls,
        image_dir: str | os.PathLike,
        info: SequenceInfo = SequenceInfo(),
        allow_mixed: bool = False,
    ) -> 'SequenceFrames':
        """List the images of a folder and number them.

        Args:
            image_dir: The folder.
            info: What ``seqinfo.ini`` says.
            allow_mixed: See :func:`number_images`.

        Raises:
            FileNotFoundError: If the folder is missing or has no image.
            ValueError: If names are of several kinds or two images have one number.
        """
        names = tuple(list_images(image_dir, info.suffix))
        there = {name for name in os.listdir(image_dir) if is_image(name)}
        left_out = tuple(
            name
            for name in sorted(there - set(names))
            if Path(image_dir, name).is_file()
        )
        remarks = []
        if left_out:
            remarks.append(
                f'{image_dir}: {len(left_out)} images such as {left_out[0]} are no '
                'frames, by their names or by imExt in seqinfo.ini'
            )
        if info.length is not None and info.length != len(names):
            remarks.append(
                f'{image_dir}: seqLength in seqinfo.ini is {info.length}, but there '
                f'are {len(names)} images; the images count'
            )
        if info.suffix and not names[0].lower().endswith(info.suffix):
            remarks.append(
                f'{image_dir}: imExt in seqinfo.ini is {info.suffix}, but the images '
                f'are such as {names[0]}; they are taken'
            )
        frames = cls(
            path=str(image_dir),
            length=len(names),
            names=names,
            numbers=number_images(names, image_dir, allow_mixed),
            expected=info.length,
            left_out=left_out,
            remarks=tuple(remarks),
        )
        gap = frames.find_gap()
        if gap is None or info.length == len(names):
            return frames
        remark = (
            f'{image_dir}: {names[gap + 1]} comes after {names[gap]}; if images are '
            'missing, unpack them again'
        )
        return replace(frames, remarks=(*remarks, remark))

    @classmethod
    def of_length(cls, path: str | os.PathLike, length: int) -> 'SequenceFrames':
        """Describe a sequence if only its length is known."""
        return cls(str(path), length, numbers=np.arange(1, length + 1))

    def cut(self, start: int, stop: int) -> 'SequenceFrames':
        """Return the frames ``start`` to ``stop - 1``, from 0, as a sequence."""
        return replace(
            self,
            length=stop - start,
            names=None if self.names is None else self.names[start:stop],
            numbers=None if self.numbers is None else self.numbers[start:stop],
            expected=None,
            left_out=(),
            remarks=(),
        )

    def extended(self) -> 'SequenceFrames':
        """Return a sequence of ``seqLength`` frames, without images."""
        length = max(self.expected or 0, self.length)
        remark = (
            f'{self.path}: there are {self.length} images, but seqLength in '
            f'seqinfo.ini is {length}; seqLength counts'
        )
        frames = SequenceFrames.of_length(self.path, length)
        return replace(frames, remarks=(remark,))

    @property
    def is_regular(self) -> bool:
        """Whether the names have the numbers 1..L, so that both readings agree."""
        return self.numbers is not None and bool(
            (self.numbers == np.arange(1, self.length + 1)).all()
        )

    def find_gap(self) -> int | None:
        """Return the index of the first image before a gap in the numbers, or None.

        Numbers in equal steps have no gap.
        """
        if self.numbers is None or self.length < 3:
            return None
        steps = np.diff(self.numbers)
        gaps = np.flatnonzero(steps != steps.min())
        return int(gaps[0]) if len(gaps) else None

    @property
    def place(self) -> str:
        """Where the images are, or where the length comes from, for messages."""
        if self.names is None:
            known = (
                f'seqLength in {self.path}' if self.path else 'the last in the texts'
            )
            return f'({known})'
        return f'({self.length} images in {self.path})'

    def describe(self, position: int) -> str:
        """Name the image at a position from 1."""
        if self.names is None:
            return f'frame {position} of {self.length}'
        return self.names[position - 1]


def find_frames(
    folder: str | os.PathLike, allow_mixed: bool = False
) -> SequenceFrames | None:
    """Find the frames of a sequence: its images, else ``seqLength``.

    Args:
        folder: The sequence's folder.
        allow_mixed: See :func:`number_images`.

    Returns:
        None if there are no images and ``seqinfo.ini`` gives no length.

    Raises:
        FileNotFoundError: If ``imDir`` does not exist, but another folder has images.
        ValueError: If ``seqinfo.ini`` cannot be read, or the images have no clear
            numbers.
    """
    ini = Path(folder, 'seqinfo.ini')
    info = read_seqinfo(ini if ini.is_file() else None)
    image_dir = find_image_dir(folder, info)
    if image_dir is not None and any(is_image(name) for name in os.listdir(image_dir)):
        return SequenceFrames.of_images(image_dir, info, allow_mixed)
    return SequenceFrames.of_length(folder, info.length) if info.length else None


def length_of_text(frame: np.ndarray, from_zero: bool) -> int:
    """Return the length of a sequence of which only a text is known.

    Args:
        frame: int (R,), frames in the text.
        from_zero: Texts count from 0; one does so for all that are read together.

    Returns:
        The place of the last frame, counted from 1; 1 for a text without rows.
    """
    return int(frame.max(initial=1 - from_zero)) + from_zero


def complete_frames(
    known: SequenceOf[tuple[SequenceFrames | None, ScannedText | None]],
    choice: str = 'auto',
) -> list[SequenceFrames]:
    """Let sequences of unknown length end with the last frame of their texts.

    Args:
        known: What is known of the frames of each sequence, and its text.
        choice: How frames are read, see :func:`decide_frame_numbers`.
    """
    frames = [np.zeros(0, int) if t is None else t.tracks.frame for _, t in known]
    from_zero = choice == 'count0' or any((frame == 0).any() for frame in frames)
    return [
        found or SequenceFrames.of_length('', length_of_text(frame, from_zero))
        for (found, _), frame in zip(known, frames, strict=True)
    ]


# The rule


@dataclass(frozen=True)
class FrameNumbers:
    """How the frames of texts are read, decided for all of them.

    Attributes:
        by_names: Frames are the numbers in the names of the images; else they count
            the images.
        first: The number of the first image if images are counted, 1 or 0.
        remark: The decision in one line; empty if both readings agree.
    """

    by_names: bool = False
    first: int = 1
    remark: str = ''

    @property
    def choice(self) -> str:
        """The setting that chooses this reading: ``names``, ``count`` or ``count0``."""
        if self.by_names:
            return 'names'
        return 'count' if self.first == 1 else 'count0'

    def positions(self, frames: SequenceFrames, frame: np.ndarray) -> np.ndarray:
        """Find the image of each row.

        Args:
            frames: Frames of the sequence.
            frame: int (R,), frames in the text.

        Returns:
            int64 (R,), from 1; 0 for rows without an image.
        """
        if not self.by_names:
            place = frame - self.first
            return np.where((place >= 0) & (place < frames.length), place + 1, 0)
        if frames.numbers is None:
            return np.zeros(len(frame), dtype=np.int64)
        place = np.searchsorted(frames.numbers, frame).clip(max=frames.length - 1)
        return np.where(frames.numbers[place] == frame, place + 1, 0)

    def place(self, frames: SequenceFrames, text: ScannedText) -> np.ndarray:
        """Find the image of each row of a text.

        Args:
            frames: Frames of the sequence.
            text: The text.

        Returns:
            int64 (R,), from 1.

        Raises:
            ValueError: If a row has no image; names file and line.
        """
        positions = self.positions(frames, text.tracks.frame)
        lost = np.flatnonzero(positions == 0)
        if len(lost):
            raise ValueError(
                f'{self._explain_lost(frames, text, int(lost[0]))} ({len(lost)} such '
                'rows). Are images missing?'
            )
        return positions

    @staticmethod
    def _suggest_length(frames: SequenceFrames, text: ScannedText) -> str:
        """Suggest ``seqLength`` for texts that keep the numbers of a longer video."""
        if frames.names is not None or not frames.path:
            return ''
        first, last = int(text.tracks.frame.min()), int(text.tracks.frame.max())
        return (
            f"; if frames keep a longer video's numbers ({first} to {last} here), set "
            f'seqLength={last} or more, or remove it'
        )

    def _explain_lost(self, frames: SequenceFrames, text: ScannedText, row: int) -> str:
        """Explain where a row is and why it has no image."""
        where = f'{text.path}:{text.line[row]}: frame {text.tracks.frame[row]}'
        if frames.is_regular and self.first == 1:
            return (
                f'{text.path}:{text.line[row]}: found frame {text.tracks.frame[row]}, '
                f'but the sequence has {frames.length} frames {frames.place}'
                f'{self._suggest_length(frames, text)}'
            )
        if not self.by_names:
            last = frames.length - 1 + self.first
            return (
                f'{where} has no image counted from {self.first}, expected '
                f'{self.first} to {last} {frames.place}'
            )
        if frames.numbers is None:
            return (
                f'{where} has no image by number, as names carry none, or several '
                f'{frames.place}'
            )
        return (
            f'{where} has no image of that number, found {frames.numbers[0]} to '
            f'{frames.numbers[-1]} {frames.place}'
        )


COUNTED = FrameNumbers()


class AmbiguousFrames(ValueError):
    """Several readings of frame numbers fit, and differ."""


def decide_frame_numbers(
    texts: SequenceOf[tuple[SequenceFrames, ScannedText]],
    choice: str = 'auto',
    option: str = "frame_numbers='names' or 'count' (--frame-numbers)",
    from_zero: bool = False,
) -> FrameNumbers:
    """Decide how the frames of texts are read, for all of them in the same way.

    Args:
        texts: The frames of each sequence, and its text.
        choice: ``auto``: the reading that fits. ``names``: numbers in names;
            ``count``: the n-th image, from 0 if a text has a frame 0, else from 1;
            ``count0``: the n-th image, from 0.
        option: The option by which users choose, for messages.
        from_zero: Texts may count from 0 although none has a frame 0.

    Raises:
        AmbiguousFrames: If several readings fit and differ.
        ValueError: If no reading fits, or if images seem to be missing. Messages name
            file, line and both readings.
    """
    if choice not in FRAME_NUMBERS:
        raise ValueError(
            f'frame_numbers: found {choice!r}, expected one of '
            f'{", ".join(FRAME_NUMBERS)}'
        )
    texts = [(frames, text) for frames, text in texts if len(text)]
    has_zero = any((text.tracks.frame == 0).any() for _, text in texts)
    names, count = FrameNumbers(True), FrameNumbers(False, 0 if has_zero else 1)
    if choice != 'auto':
        chosen = names if choice == 'names' else count
        chosen = replace(chosen, first=0) if choice == 'count0' else chosen
        for frames, text in texts:
            chosen.place(frames, text)
        return _with_remark(chosen, texts)
    readings = [names, count]
    if from_zero and not has_zero:
        readings.append(FrameNumbers(first=0))
    lost = [_find_lost(reading, texts) for reading in readings]
    if all(lost) and lost[0] == lost[1]:
        raise ValueError(f'{lost[0]}. Is this the right text, and are frames missing?')
    if all(lost):
        raise ValueError(
            f'{lost[0]}; and {lost[1]}. Are images missing, or do sequences count in '
            'different ways?'
        )
    chosen, *others = (r for r, why in zip(readings, lost, strict=True) if not why)
    for other in others:
        _refuse_ambiguous(chosen, other, texts, option)
    if chosen is not names:
        _refuse_missing_images(names, chosen, texts, option)
    return _with_remark(chosen, texts)


def _find_lost(
    reading: FrameNumbers, texts: Iterable[tuple[SequenceFrames, ScannedText]]
) -> str:
    """Explain the first row without an image; empty if there is none."""
    for frames, text in texts:
        lost = np.flatnonzero(reading.positions(frames, text.tracks.frame) == 0)
        if len(lost):
            return reading._explain_lost(frames, text, int(lost[0]))
    return ''


def _refuse_ambiguous(
    one: FrameNumbers,
    other: FrameNumbers,
    texts: Iterable[tuple[SequenceFrames, ScannedText]],
    option: str,
) -> None:
    for frames, text in texts:
        positions = [r.positions(frames, text.tracks.frame) for r in (one, other)]
        differ = np.flatnonzero(positions[0] != positions[1])
        if len(differ):
            row = differ[0]
            ways = [
                'by the number in the name' if r.by_names else f'counted from {r.first}'
                for r in (one, other)
            ]
            raise AmbiguousFrames(
                f'{text.path}:{text.line[row]}: frame {text.tracks.frame[row]} can be '
                f'{frames.describe(positions[0][row])}, {ways[0]}, or '
                f'{frames.describe(positions[1][row])}, {ways[1]}, and both readings '
                f'fit all sequences. Choose one with {option}'
            )


def _refuse_missing_images(
    names: FrameNumbers,
    count: FrameNumbers,
    texts: Iterable[tuple[SequenceFrames, ScannedText]],
    option: str,
) -> None:
    """Refuse to count the images if some seem to be missing.

    That is so if most frames of a text have an image of their number, numbers are
    skipped or ``seqLength`` is larger than the number of images, and the text does not
    end with the last image.
    """
    for frames, text in texts:
        expected = frames.expected or frames.length
        may_miss_images = expected > frames.length or (
            frames.find_gap() is not None and frames.expected != frames.length
        )
        found = names.positions(frames, text.tracks.frame) > 0
        last = count.positions(frames, text.tracks.frame).max()
        if found.all() or last == frames.length or 2 * found.sum() < len(found):
            continue
        if may_miss_images:
            row = int(np.flatnonzero(~found)[0])
            raise ValueError(
                f'{names._explain_lost(frames, text, row)}; counted from {count.first} '
                'it has one, but images seem to be missing. Add them, or choose a '
                f'reading with {option}'
            )


def _with_remark(
    reading: FrameNumbers, texts: Iterable[tuple[SequenceFrames, ScannedText]]
) -> FrameNumbers:
    """Add the decision as a remark with an example, unless both readings agree."""
    for frames, text in texts:
        if frames.is_regular and reading.first == 1:
            continue
        frame = text.tracks.frame[0]
        image = frames.describe(reading.positions(frames, frame[None])[0])
        place = f'{text.path}:{text.line[0]}: frame {frame} is {image}'
        if reading.by_names:
            remark = f'frames are the numbers in the names of the images ({place})'
        elif frames.names is None or frames.is_regular:
            remark = f'frames count from {reading.first} ({place})'
        elif frames.numbers is None:
            remark = (
                f'frames count the images in the order of their names, from '
                f'{reading.first}, as these carry no numbers, or several ({place})'
            )
        else:
            remark = (
                f'frames count the images from {reading.first}, whatever the numbers '
                f'in their names ({place})'
            )
        return replace(reading, remark=remark)
    return reading


# Halves of a sequence


def half_length(length: int) -> int:
    """Return the number of frames of the first half of a sequence.

    That of ByteTrack and MMDetection for MOT17: longer than the rest, by 1 or 2.
    """
    return length // 2 + 1
