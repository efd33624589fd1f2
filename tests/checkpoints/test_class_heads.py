# Copyright (c) mmfdta authors.
"""Choosing the classes of a detection head."""

import pytest
import torch
from torch import Tensor

from mmfdta.checkpoints import CheckpointError, ClassChoice, convert_state_dict

from . import samples

RELEASED = [f'class_embed.{i}.{leaf}' for i in range(6) for leaf in ('weight', 'bias')]
OURS = [n.replace('class_embed', 'detector.bbox_head.cls_branches') for n in RELEASED]


def heads(num_classes: int, choice: ClassChoice | None) -> tuple[list[Tensor], ...]:
    """The class heads before and after a conversion."""
    source = samples.deformable_detr(num_classes)
    result = convert_state_dict(source, classes=choice).state_dict
    return [source[n] for n in RELEASED], [result[n] for n in OURS]


@pytest.mark.parametrize(
    ('num_classes', 'choice', 'rows'),
    [
        (91, None, [1]),  # person by COCO's number
        (80, None, [0]),  # person in MMDetection's order
        (91, ClassChoice(names=('person',)), [1]),
        (91, ClassChoice(names=('bird',)), [15]),  # as the released BFT training
        (80, ClassChoice(names=('bird',)), [14]),
        (80, ClassChoice(names=('bird', 'person', 'toothbrush')), [14, 0, 79]),
        (91, ClassChoice(names=('toothbrush', 'stop sign')), [90, 13]),
        (91, ClassChoice(indices=(16,)), [16]),
        (91, ClassChoice(indices=(3, 1, 8)), [3, 1, 8]),
        (7, ClassChoice(indices=(6, 0)), [6, 0]),
        (91, ClassChoice(keep=True), list(range(91))),
        (7, None, list(range(7))),
        (1, None, [0]),
    ],
)
def test_rows(num_classes: int, choice: ClassChoice | None, rows: list[int]) -> None:
    before, after = heads(num_classes, choice)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new, torch.stack([old[row] for row in rows]))


@pytest.mark.parametrize(
    ('num_classes', 'choice', 'message'),
    [
        (91, ClassChoice(names=('persn',)), 'did you mean person'),
        (91, ClassChoice(indices=(91,)), 'classes 0 to 90'),
        (91, ClassChoice(indices=(-1,)), 'classes 0 to 90'),
        (91, ClassChoice(indices=(2, 2)), 'occurs twice'),
        (1, ClassChoice(names=('person',)), 'this one has 1'),
    ],
)
def test_wrong_choice(num_classes: int, choice: ClassChoice, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        heads(num_classes, choice)


def test_two_ways_at_once() -> None:
    with pytest.raises(CheckpointError, match='not several of these'):
        ClassChoice(indices=(1,), names=('person',))


def test_heads_of_different_length() -> None:
    source = samples.deformable_detr(91)
    source['class_embed.3.bias'] = source['class_embed.3.bias'][:90]
    with pytest.raises(CheckpointError, match=r'\[90, 91\]'):
        convert_state_dict(source)


def test_choice_is_stated() -> None:
    source = samples.deformable_detr(91)
    assert '1 person of 91' in convert_state_dict(source).report.summary()
    report = convert_state_dict(source, classes=ClassChoice(names=('bird',))).report
    assert '15 bird of 91' in report.summary()
    assert 'COCO numbers the bird 16' in report.summary()
