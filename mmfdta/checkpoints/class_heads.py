# Copyright (c) mmfdta authors.
"""Chooses the classes that a classification head keeps.

Deformable DETR's head has a row for each of COCO's category numbers, 91 with the gaps;
MMDetection's has a row for each of the 80 categories in use.
"""

import difflib
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
        names: COCO names; only for heads of 80 or 91 classes.
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


def choose_classes(
    num_classes: int, choice: ClassChoice
) -> tuple[tuple[int, ...] | None, str]:
    """Find the rows of a head that a choice means.

    Args:
        num_classes: Number of rows of the head.
        choice: Which classes to keep.

    Returns:
        The rows to keep, None for all, and a description of the choice.

    Raises:
        CheckpointError: If a class is not in the head or named twice.
    """
    vocabulary = _VOCABULARIES.get(num_classes)
    if choice.indices:
        return _kept(choice.indices, (), num_classes, 'chosen')
    if choice.names:
        if vocabulary is None:
            raise CheckpointError(
                f'class names {list(choice.names)}: names are known for heads of 80 '
                f'or 91 COCO classes only, this one has {num_classes}; choose by '
                'index or keep all classes.'
            )
        rows = tuple(_row_of(name, vocabulary) for name in choice.names)
        return _kept(rows, choice.names, num_classes, 'chosen')
    if choice.keep or vocabulary is None:
        why = 'chosen' if choice.keep else 'default for a head that is not of COCO'
        text = f'all {num_classes} ({why})' if num_classes > 1 else 'the only one'
        return None, text
    row = vocabulary[DEFAULT_CLASS]
    return _kept((row,), (DEFAULT_CLASS,), num_classes, 'default for a COCO head')


def _row_of(name: str, vocabulary: dict[str, int]) -> int:
    if name not in vocabulary:
        close = difflib.get_close_matches(name, vocabulary, n=3)
        hint = f'; did you mean {" or ".join(close)}?' if close else '.'
        raise CheckpointError(f'class {name!r} is not one of COCO{hint}')
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
    if num_classes == 91 and 'bird' in names:
        text += (
            f'; row {RELEASED_BIRD} as in the released BFT training, although COCO '
            f'numbers the bird {_COCO_91.index("bird")}'
        )
    return tuple(rows), text
