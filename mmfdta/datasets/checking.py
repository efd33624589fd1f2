# Copyright (c) mmfdta authors.
"""Checks a data set on disk and says what is wrong, by file and line.

Which checks there are, its class says (`MOTSequenceDataset.checks`). Only headers of
images are read unless decoding is asked for.
"""

import contextlib
import os
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from mmfdta.structures.frames import (
    COUNTED,
    IMAGE_DIR,
    FrameNumbers,
    SequenceFrames,
    complete_frames,
    decide_frame_numbers,
    list_images,
    number_images,
    read_seqinfo,
)
from mmfdta.structures.mot_text import ScannedText, scan_mot_text
from mmfdta.structures.plausibility import describe_boxes
from mmfdta.structures.tables import plain_table

from .classes import ClassRows, describe_identity_of_two
from .sequences import (
    MAX_OBJECTS,
    RowRule,
    Sequence,
    SequenceSource,
    describe_flat,
    huge_boxes,
    list_folders,
)
from .transforms.decoding import decode_exact, open_image, read_image_size
from .transforms.loading import describe_depth_map, find_depth_map

ERROR, WARNING, NOTE = 'error', 'warning', 'note'
# Grey level that the brightest pixel of an image of 16 bits usually has; 14 bits end
# at 63.
_LEAST_WHITE = 64
Shapes = list[tuple[int, int] | None]


@dataclass(frozen=True)
class Finding:
    """One thing found in a check.

    Attributes:
        level: ``error``: training or testing would fail or be wrong;
            ``warning``: worth a look; ``note``: for the record.
        path: File or folder.
        message: What was found, what was expected, what to do.
        line: Line of a text file.
    """

    level: str
    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = self.path if self.line is None else f'{self.path}:{self.line}'
        return f'{self.level:<7} {place}: {self.message}'


@dataclass
class SequenceReport:
    """What a check found in one sequence.

    Attributes:
        name: The sequence.
        images: Number of images.
        size: ``WIDTHxHEIGHT``, or how many sizes there are.
        boxes: Rows of the annotation, None if it is hidden.
        identities: Different identities.
        depth_maps: Number of depth maps that are in order.
        rows: Rows of the annotation by class.
        findings: In the order found.
    """

    name: str
    images: int = 0
    size: str = '-'
    boxes: int | None = None
    identities: int | None = None
    depth_maps: int = 0
    rows: ClassRows = field(default_factory=ClassRows)
    findings: list[Finding] = field(default_factory=list)

    def add(
        self, level: str, path: str | os.PathLike, message: str, line: int | None = None
    ) -> None:
        """Add a :class:`Finding`."""
        self.findings.append(Finding(level, str(path), message, line))

    def add_error(self, error: Exception) -> None:
        """Add what an error of a reader says: the path, a colon and the message."""
        path, _, message = str(error).partition(': ')
        self.add(ERROR, path, message)

    def count(self, level: str) -> int:
        """Count the findings of a level."""
        return sum(finding.level == level for finding in self.findings)


def check_numbers(
    sources: SequenceOf[SequenceSource], frame_numbers: str, report: SequenceReport
) -> FrameNumbers:
    """Decide how the frames of all texts are read, as the data set does, and say it.

    Args:
        sources: The sequences; those that cannot be read are passed over, as their
            own check names them.
        frame_numbers: ``auto``, ``names`` or ``count``.
        report: Gets the decision, or what is against one.

    Returns:
        The reading under which the fewest rows are without an image, if none fits.
    """
    found, scanned = [], []
    for source in sources:
        if source.gt_path is None:
            continue
        try:
            frames = source.read_frames(frame_numbers.startswith('count'))
            text = scan_mot_text(source.gt_path, first_frame=0)
        except (OSError, ValueError):
            continue
        found.append(frames)
        scanned.append(text.select(~text.degenerate))
    known = complete_frames(list(zip(found, scanned, strict=True)), frame_numbers)
    texts = list(zip(known, scanned, strict=True))
    try:
        numbers = decide_frame_numbers(texts, frame_numbers)
    except ValueError as error:
        readings = [
            reading
            for reading in (FrameNumbers(True), COUNTED, FrameNumbers(first=0))
            if frame_numbers == 'auto' or reading.choice.startswith(frame_numbers)
        ]
        lost = [
            sum(int((r.positions(f, t.tracks.frame) == 0).sum()) for f, t in texts)
            for r in readings
        ]
        if min(lost) == 0:  # else each row is named
            report.add_error(error)
        return readings[lost.index(min(lost))]
    if numbers.remark:
        report.add(NOTE, sources[0].image_dir, numbers.remark)
    return numbers


def check_sequence(
    source: SequenceSource,
    needs_text: bool = True,
    depth_only: bool = False,
    decode: bool = False,
    numbers: FrameNumbers = COUNTED,
    any_names: bool = False,
    rule: RowRule = RowRule(),  # noqa: B008 (it is frozen)
) -> SequenceReport:
    """Check one sequence.

    Args:
        source: Where its parts are.
        needs_text: A missing annotation is an error.
        depth_only: Check depth maps only, and require them.
        decode: Decode every image and depth map completely.
        numbers: How the frames of the text are read.
        any_names: Images of any names are counted.
        rule: Which rows are trained on.
    """
    report = SequenceReport(source.name)
    try:
        frames = _read_frames(source, any_names, numbers, report)
    except FileNotFoundError as error:
        report.add_error(error)
        return report
    names = list(frames.names or ())
    report.images = len(names)
    shapes = _read_shapes(source.image_dir, names, report, decode and not depth_only)
    if not depth_only:
        _check_sizes(source.image_dir, names, shapes, report)
        _check_seqinfo(source, names, shapes, report)
        _check_text(source, frames, shapes, needs_text, numbers, rule, report)
    _check_depth(source, names, shapes, depth_only, decode, report)
    return report


def _read_shapes(
    folder: str, names: list[str], report: SequenceReport, decode: bool
) -> Shapes:
    """Read (H, W) of every image, None where that fails."""
    shapes: Shapes = []
    modes: dict[str, str] = {}
    for name in names:
        path = os.path.join(folder, name)
        shape = None
        try:
            with open_image(path) as image:
                shape = (image.height, image.width)
                mode = image.mode
            deep = mode.startswith('I') and mode not in modes
            if decode or deep or mode == 'F' or is_cut_off(path):
                pixels = decode_exact(path)
                if deep and np.asarray(pixels).max() < _LEAST_WHITE:
                    message = (
                        'the image is nearly black, because 16 bits are divided by '
                        '257: its numbers seem to have fewer bits; spread them over 0 '
                        'to 65535'
                    )
                    report.add(WARNING, path, message)
            modes.setdefault(mode, path)
        except OSError as error:
            message = str(error).removeprefix(f'{path}: ')
            if os.path.getsize(path) == 0:
                message = 'the file is empty; unpack or download it again'
            report.add(ERROR, path, message)
        shapes.append(shape)
    for mode, path in modes.items():
        if mode != 'RGB':
            message = f'image of mode {mode}, converted to RGB when it is loaded'
            report.add(NOTE, path, message)
    sizes = sorted({shape for shape in shapes if shape is not None})
    if sizes:
        height, width = sizes[0]
        report.size = f'{width}x{height}' if len(sizes) == 1 else f'{len(sizes)} sizes'
    return shapes


def is_cut_off(path: str) -> bool:
    """Tell whether a JPEG lacks its end marker; then only decoding can tell."""
    if not path.lower().endswith(('.jpg', '.jpeg')):
        return False
    with open(path, 'rb') as file:
        file.seek(-2, os.SEEK_END)
        return file.read() != b'\xff\xd9'


def _read_frames(
    source: SequenceSource,
    any_names: bool,
    numbers: FrameNumbers,
    report: SequenceReport,
) -> SequenceFrames:
    """List the images, also if they cannot be numbered or ``seqinfo.ini`` not be read.

    Raises:
        FileNotFoundError: If there are no images.
    """
    try:
        known, text = source.read_frames(any_names), None
        if known is None and source.gt_path is not None:
            text = scan_mot_text(source.gt_path, first_frame=0)
        (frames,) = complete_frames([(known, text)], numbers.choice)
    except ValueError as error:
        report.add_error(error)
    else:
        _check_names(frames, report)
        return frames
    names = tuple(list_images(source.image_dir))
    in_names = None
    with contextlib.suppress(ValueError):
        in_names = number_images(names, source.image_dir)
    return SequenceFrames(source.image_dir, len(names), names, in_names)


def _check_names(frames: SequenceFrames, report: SequenceReport) -> None:
    """Say what is odd about the names of the images."""
    names = frames.names or ()
    if frames.left_out:
        message = (
            f'{len(frames.left_out)} images such as {frames.left_out[0]} are no '
            'frames, by their names or by imExt in seqinfo.ini'
        )
        report.add(NOTE, frames.path, message)
    if frames.numbers is None:
        message = (
            f'the names carry no numbers, the first is {names[0]}; frames are counted '
            'in the order of names'
        )
        report.add(WARNING, frames.path, message)
        return
    widths = {len(name) for name in names}
    if len(widths) > 1 and list(names) != sorted(names):
        message = (
            'names have numbers of different widths; they are ordered by number, but '
            'other tools may order them by letters'
        )
        report.add(WARNING, frames.path, message)
    gap = frames.find_gap()
    if gap is not None:
        message = (
            f'{names[gap + 1]} comes after {names[gap]}; if images are missing, unpack '
            'them again'
        )
        level = NOTE if frames.expected == frames.length else WARNING
        report.add(level, frames.path, message)


def _check_sizes(
    folder: str, names: list[str], shapes: Shapes, report: SequenceReport
) -> None:
    known = [shape for shape in shapes if shape is not None]
    if len(set(known)) < 2:
        return
    usual = max(set(known), key=known.count)
    for name, shape in zip(names, shapes, strict=True):
        if shape is not None and shape != usual:
            message = (
                f'{shape[1]}x{shape[0]} pixels, expected {usual[1]}x{usual[0]} as most '
                'images of the sequence have'
            )
            report.add(ERROR, os.path.join(folder, name), message)


def _check_seqinfo(
    source: SequenceSource, names: list[str], shapes: Shapes, report: SequenceReport
) -> None:
    if source.seqinfo_path is None or source.without_images:
        return
    try:
        info = read_seqinfo(source.seqinfo_path)
    except ValueError:
        return  # named with the images
    if info.length is not None and info.length != len(names):
        message = f'seqLength is {info.length}, but there are {len(names)} images'
        level = ERROR if len(names) < info.length else WARNING
        report.add(level, source.seqinfo_path, message)
    shape = next((shape for shape in shapes if shape is not None), None)
    said = (info.height, info.width)
    if shape is not None and None not in said and said != shape:
        message = (
            f'imWidth and imHeight are {info.width} and {info.height}, but '
            f'{names[shapes.index(shape)]} is {shape[1]}x{shape[0]}; images count'
        )
        report.add(WARNING, source.seqinfo_path, message)


def _check_text(
    source: SequenceSource,
    frames: SequenceFrames,
    shapes: Shapes,
    needs_text: bool,
    numbers: FrameNumbers,
    rule: RowRule,
    report: SequenceReport,
) -> None:
    if source.gt_path is None:
        level, reason = NOTE, 'those of this split are not published'
        if needs_text:
            level, reason = ERROR, 'was the archive unpacked completely?'
        message = f'no annotation; {reason}'
        report.add(level, source.image_dir, message)
        return
    try:
        text = scan_mot_text(source.gt_path, first_frame=0)
    except ValueError as error:
        report.add(ERROR, source.gt_path, str(error))
        return
    rows = text.select(~text.degenerate)
    report.boxes = len(rows)
    report.identities = len(np.unique(rows.tracks.identity))
    report.rows = ClassRows.of(rows.tracks, rows.visibility, rule)
    for problem in (*text.problems, *rows.duplicates(by_class=True)):
        report.add(ERROR, problem.path, problem.message, problem.line)
    of_two = describe_identity_of_two(rows.tracks)
    if of_two:
        report.identities = report.rows.identities.total()
        message = (
            f'{of_two}: identities count within each class; each pair of class and '
            'identity is taken as an object, and category_map tells classes apart'
        )
        report.add(WARNING, text.path, message)
    if text.no_class is not None:
        level = WARNING if rule.category_map is None else ERROR
        report.add(level, text.path, text.no_class.message, text.no_class.line)
    if len(text) and text.degenerate.all():
        report.add(ERROR, text.path, describe_flat(text), int(text.line[0]))
        return
    for line in text.line[text.degenerate]:
        message = 'width or height <= 0; the row is skipped'
        report.add(WARNING, text.path, message, int(line))
    _check_rows(rows, frames, shapes, numbers, report)


def _check_rows(
    rows: ScannedText,
    known: SequenceFrames,
    shapes: Shapes,
    numbers: FrameNumbers,
    report: SequenceReport,
) -> None:
    tracks = rows.tracks
    has_image = numbers.positions(known, tracks.frame) > 0
    if numbers.by_names and known.numbers is None:
        has_image[:] = True  # the names themselves are at fault, which is said
    reading = f' counted from {numbers.first}'
    if numbers.by_names or (known.is_regular and numbers.first == 1):
        reading = ' of this number'
    for frame in np.unique(tracks.frame[~has_image]):
        lines = rows.line[tracks.frame == frame]
        message = (
            f'frame {frame} has no image{reading}, but {len(lines)} rows from this one '
            'on'
        )
        report.add(ERROR, rows.path, message, int(lines[0]))
    for i in np.flatnonzero(tracks.identity < 0):
        message = f'identity {tracks.identity[i]}, expected identities from 0'
        report.add(ERROR, rows.path, message, int(rows.line[i]))
    shape = next((shape for shape in shapes if shape is not None), None)
    looks = describe_boxes(tracks, shape)
    if looks is not None:
        report.add(ERROR, rows.path, looks)
    for i in huge_boxes(rows):
        message = f'the box {tracks.xywh[i].tolist()} (x,y,w,h) is no box of an image'
        report.add(ERROR, rows.path, message, int(rows.line[i]))
    if shape is not None:
        x, y, w, h = tracks.xywh.T
        outside = (x >= shape[1]) | (y >= shape[0]) | (x + w <= 0) | (y + h <= 0)
        for i in np.flatnonzero(outside):
            message = f'the box lies outside the image of {shape[1]}x{shape[0]}'
            report.add(WARNING, rows.path, message, int(rows.line[i]))
    frames, counts = np.unique(tracks.frame, return_counts=True)
    for frame, count in zip(frames, counts, strict=True):
        if count > MAX_OBJECTS:
            message = (
                f'frame {frame} has {count} boxes; training leaves frames with more '
                f'than {MAX_OBJECTS} out'
            )
            report.add(WARNING, rows.path, message)
    empty = known.length - len(frames)
    if empty > 0:
        message = f'{empty} of {known.length} frames have no box; training skips them'
        report.add(NOTE, rows.path, message)


def _check_depth(
    source: SequenceSource,
    names: list[str],
    shapes: Shapes,
    required: bool,
    decode: bool,
    report: SequenceReport,
) -> None:
    if not os.path.isdir(source.depth_dir):
        if required:
            message = 'no depth maps; make them with mmfdta generate-depth'
            report.add(ERROR, source.depth_dir, message)
        return
    for name, shape in zip(names, shapes, strict=True):
        path = source.depth_dir
        try:
            path = find_depth_map(source.depth_dir, name)
            with Image.open(path) as image:
                problem = None if shape is None else describe_depth_map(image, shape)
                if decode:
                    image.load()
        except FileNotFoundError:
            problem = f'no depth map for {name}; run mmfdta generate-depth again'
        except OSError as error:
            problem = f'cannot be read ({error})'
        if problem is None:
            report.depth_maps += 1
        else:
            report.add(ERROR, path, problem)


def check_strays(
    folder: str, is_sequence: Callable[[Path], bool], layout: str
) -> SequenceReport:
    """Name the folders next to the sequences that are none.

    Args:
        folder: The folder of a split.
        is_sequence: Tells whether a folder in it is a sequence.
        layout: What a sequence looks like.
    """
    report = SequenceReport('(other folders)')
    for path in (Path(folder, name) for name in list_folders(folder)):
        if is_sequence(path):
            continue
        why = lack(path)
        level = WARNING if why else NOTE
        what = why.removeprefix(f'{path}: ') or f'is no sequence ({layout})'
        report.add(level, path, f'{what}; not used')
    return report


def lack(folder: Path) -> str:
    """Say that a folder has the text of a sequence and no images; empty if not."""
    ini = folder / 'seqinfo.ini'
    text = folder / 'gt' / 'gt.txt'
    found = next((path for path in (text, ini) if path.is_file()), None)
    if found is None:
        return ''
    said = None
    with contextlib.suppress(ValueError):
        said = read_seqinfo(ini if ini.is_file() else None).image_dir
    return (
        f'{folder}: holds {found.relative_to(folder)}, but no folder '
        f'{said or IMAGE_DIR} of images'
    )


def check_static_images(
    name: str,
    read: Callable[[], tuple[list[Sequence], list[str], list[str]]],
    decode: bool = False,
) -> SequenceReport:
    """Check a split of static images as if it were one sequence.

    Args:
        name: The report's name.
        read: Reads the split as :meth:`MOTSequenceDataset.read_sequences` does.
        decode: Decode every image completely.
    """
    report = SequenceReport(name)
    try:
        sequences, remarks, files = read()
    except (OSError, ValueError) as error:
        report.add_error(error)
        return report
    report.images = len(sequences)
    boxes = [
        0 if s.annotations is None else len(s.annotations.tracks) for s in sequences
    ]
    report.boxes = report.identities = sum(boxes)
    sizes = set()
    for sequence, count in zip(sequences, boxes, strict=True):
        path = os.path.join(sequence.image_dir, str(sequence.image_names[0]))
        try:
            sizes.add(read_image_size(path))
            if decode:
                decode_exact(path)
        except OSError as error:
            report.add(ERROR, path, str(error))
        if not sequence.legal_frames[0]:
            report.add(NOTE, path, f'{count} persons; training skips it')
    report.size = f'{len(sizes)} sizes'
    for remark in remarks:
        report.add(WARNING, files[0], remark)
    return report


def summarise(reports: SequenceOf[SequenceReport]) -> str:
    """Make a table to print, with a line per sequence and the totals."""
    head = ('sequence', 'images', 'size', 'boxes', 'ids', 'depth', 'errors', 'warnings')
    rows = [
        (
            report.name,
            report.images,
            report.size,
            '-' if report.boxes is None else report.boxes,
            '-' if report.identities is None else report.identities,
            report.depth_maps or '-',
            report.count(ERROR),
            report.count(WARNING),
        )
        for report in reports
        if report.images or report.count(ERROR)
    ]
    count = sum(not name.startswith('(') for name, *_ in rows)
    total = (
        f'{count} sequences',
        sum(report.images for report in reports),
        '',
        sum(report.boxes or 0 for report in reports),
        '',
        sum(report.depth_maps for report in reports),
        sum(report.count(ERROR) for report in reports),
        sum(report.count(WARNING) for report in reports),
    )
    return plain_table(head, [*rows, total])
