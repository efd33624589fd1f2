# Copyright (c) mmfdta authors.
"""Chooses the classes that a classification head keeps.

Deformable DETR's head has a row for each of COCO's category numbers, 91 with the gaps;
MMDetection's has a row for each of the 80 categories in use.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .files import CheckpointError

# Index = COCO's category number; None = a number that is not in use.
_COCO_91 = (
    None, 'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train',
    'truck', 'boat', 'traffic light', 'fire hydrant', None, 'stop sign',
    'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow',
    'elephant', 'bear', 'zebra', 'giraffe', None, 'backpack', 'umbrella', None, None,
    'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard', 'sports ball',
    'kite', 'baseball bat', 'baseball glove', 'skateboard', 'surfboard',
    'tennis racket', 'bottle', None, 'wine glass', 'cup', 'fork', 'knife', 'spoon',
    'bowl', 'banana', 'apple', 'sandwich', 'orange', 'broccoli', 'carrot', 'hot dog',
    'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant', 'bed', None,
    'dining table', None, None, 'toilet', None, 'tv', 'laptop', 'mouse', 'remote',
    'keyboard', 'cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator',
    None, 'book', 'clock', 'vase', 'scissors', 'teddy bear', 'hair drier',
    'toothbrush',
)  # fmt: skip
# MOTIP and FDTA start BFT from row 15 as "bird". By COCO's numbers that is the bench,
# but the published weights come from it, so "bird" means row 15 here, too.
RELEASED_BIRD = 15
_ROWS_91 = {name: row for row, name in enumerate(_COCO_91) if name} | {
    'bird': RELEASED_BIRD
}
COCO_NAMES = tuple(filter(None, _COCO_91))
_ROWS_80 = {name: row for row, name in enumerate(COCO_NAMES)}
_VOCABULARIES = {91: _ROWS_91, 80: _ROWS_80}
DEFAULT_CLASS = 'person'


@dataclass(frozen=True)
class ClassChoice:
    """Which classes to keep, in the order of the new labels.

    Without any argument: the person of a COCO head (80 or 91 classes), all classes of
    any other head.

    Attributes:
        indices: Rows of the head.
        names: Names of the file's classes where it has them, else COCO's, for heads of
            80 or 91 classes.
        keep: Keep all classes.

    Raises:
        CheckpointError: If more than one is given.
    """

    indices: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    keep: bool = False

    def __post_init__(self) -> None:
        if bool(self.indices) + bool(self.names) + self.keep > 1:
            raise CheckpointError(
                'choose classes by index, by name or keep all, not several of these '
                'at once.'
            )


def coco_rows(num_classes: int) -> dict[str, int] | None:
    """Return the row of each class of COCO; None for a head that is not of COCO."""
    return _VOCABULARIES.get(num_classes)


def is_coco(num_classes: int, known: Sequence[str]) -> bool:
    """Tell whether a head is of COCO: by the names of its classes, else their number.

    Args:
        num_classes: Number of rows of the head.
        known: Names of the file's classes, as far as they are known.
    """
    if len(known) == num_classes:
        return tuple(known) == COCO_NAMES
    return coco_rows(num_classes) is not None


def rows_by_name(num_classes: int, known: Sequence[str]) -> Mapping[str, int] | None:
    """Return the row of each class of a head; None if no names are known.

    Args:
        num_classes: Number of rows of the head.
        known: Names of the file's classes, as far as they are known.
    """
    if is_coco(num_classes, known):
        return coco_rows(num_classes)
    if len(known) == num_classes:
        return {name: row for row, name in enumerate(known)}
    return None


def names_of_kept(
    rows: tuple[int, ...] | None, num_classes: int, known: Sequence[str]
) -> tuple[str, ...]:
    """Return the names of the classes that a head keeps, to be written with it.

    Args:
        rows: What it keeps; None for all.
        num_classes: Number of rows that the head had.
        known: Names of the file's classes, as far as they are known.

    Returns:
        As many as rows that are kept; empty if they are not known, or a choice of
        COCO's, to which every data set gives names of its own.
    """
    if len(known) != num_classes:
        return ()
    if rows is None:
        return tuple(known)
    return () if is_coco(num_classes, known) else tuple(known[row] for row in rows)


def choose_classes(
    num_classes: int, choice: ClassChoice, known: Sequence[str] = ()
) -> tuple[tuple[int, ...] | None, str]:
    """Find the rows of a head that a choice means.

    Args:
        num_classes: Number of rows of the head.
        choice: Which classes to keep.
        known: Names of the file's classes, as far as they are known.

    Returns:
        The rows to keep, None for all, and a description of the choice.

    Raises:
        CheckpointError: If a class is not in the head or named twice.
    """
    coco = is_coco(num_classes, known)
    vocabulary = rows_by_name(num_classes, known)
    if choice.indices:
        return _kept(choice.indices, (), num_classes, 'chosen')
    if choice.names:
        if vocabulary is None:
            raise CheckpointError(
                f'class names {list(choice.names)}: names are known for heads of 80 '
                f'or 91 COCO classes only, this one has {num_classes}, and the file '
                'does not name them; choose by index or keep all classes.'
            )
        whose = 'one of COCO' if coco else 'in the file'
        rows = tuple(_row_of(name, vocabulary, whose) for name in choice.names)
        return _kept(rows, choice.names, num_classes, 'chosen')
    if choice.keep or vocabulary is None or not coco:
        why = 'chosen' if choice.keep else 'default for a head that is not of COCO'
        text = f'all {num_classes} ({why})' if num_classes > 1 else 'the only one'
        return None, text
    row = vocabulary[DEFAULT_CLASS]
    return _kept((row,), (DEFAULT_CLASS,), num_classes, 'default for a COCO head')


def _row_of(name: str, vocabulary: Mapping[str, int], whose: str) -> int:
    if name not in vocabulary:
        close = difflib.get_close_matches(name, vocabulary, n=3)
        hint = f'; did you mean {" or ".join(close)}?' if close else '.'
        raise CheckpointError(f'class {name!r} is not {whose}{hint}')
    return vocabulary[name]


def _kept(
    rows: tuple[int, ...], names: tuple[str, ...], num_classes: int, why: str
) -> tuple[tuple[int, ...], str]:
    for row in rows:
        if not 0 <= row < num_classes:
            raise CheckpointError(
                f'class index {row}: the head has the classes 0 to {num_classes - 1}.'
            )
    if len(set(rows)) < len(rows):
        raise CheckpointError(f'class indices {list(rows)}: a class occurs twice.')
    words = [str(row) for row in rows]
    if names:
        words = [f'{row} {name}' for row, name in zip(rows, names, strict=True)]
    text = f'{", ".join(words)} of {num_classes} ({why})'
    row_of_bird = dict(zip(names, rows, strict=False)).get('bird')
    if num_classes == 91 and row_of_bird == RELEASED_BIRD:
        text += (
            f'; row {RELEASED_BIRD} as in the released BFT training, although COCO '
            f'numbers the bird {_COCO_91.index("bird")}'
        )
    return tuple(rows), text
