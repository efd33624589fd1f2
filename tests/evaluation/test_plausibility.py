# Copyright (c) mmfdta authors.
"""What can only be a wrong number is refused; what may be meant is said and scored."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mmfdta.cli.main import main
from mmfdta.evaluation import Sequence, Settings, Tracks, evaluate, summarise
from mmfdta.evaluation.plausibility import (
    check_class_numbers,
    check_scored,
    check_sides,
)

from .texts import moving


def pair(seed: int = 0, length: int = 20) -> Sequence:
    return Sequence(f's{seed}', length, *moving(length, seed))


def write(root, sequences, as_corners: bool = False, detections: str = '') -> None:
    """Write ``gt/<name>/gt/gt.txt`` and ``results/<name>.txt``."""
    for sequence in sequences:
        for side, path in (
            ('gt', root / 'gt' / sequence.name / 'gt' / 'gt.txt'),
            ('pred', root / 'results' / f'{sequence.name}.txt'),
        ):
            tracks = getattr(sequence, side)
            boxes = tracks.xyxy if as_corners and side == 'pred' else tracks.xywh
            ids = tracks.identity * 0 - 1 if side == detections else tracks.identity
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                ''.join(
                    f'{f},{i},{",".join(map(str, box))},{score},{label},1\n'
                    for f, i, box, score, label in zip(
                        *(tracks.frame, ids, boxes.tolist()),
                        *(tracks.score.tolist(), tracks.label.tolist()),
                        strict=True,
                    )
                )
            )


def run(root, *arguments: str) -> int:
    folders = '--gt', str(root / 'gt'), '--results', str(root / 'results')
    return main(['evaluate', *folders, '--processes', '1', *arguments])


def with_gt(sequence: Sequence, **columns) -> Sequence:
    rows = len(sequence.gt)
    full = {name: np.full(rows, value) for name, value in columns.items()}
    return replace(sequence, gt=replace(sequence.gt, **full))


NOTHING = {
    'column 7 is 0, .* in all 80 rows': (dict(score=0.0), 'mot_challenge', ()),
    'column 8 has the classes 8, the rules of mot17 score 1': (
        *(dict(label=8), 'mot17', ()),
    ),
    'column 7 is 0, .* in all 80 rows.*': (dict(score=0.0, label=1), 'mot20', ()),
    'column 7 is 0': (dict(score=0.0, label=3), 'mot_challenge', ('car=3',)),
    'it has no rows': (None, 'mot_challenge', ()),
}


@pytest.mark.parametrize('reason', NOTHING)
def test_a_ground_truth_with_nothing_to_score_is_refused(tmp_path, capsys, reason):
    columns, benchmark, classes = NOTHING[reason]
    sequence = pair()
    if columns is None:
        sequence = replace(sequence, gt=Tracks.empty())
    else:
        sequence = with_gt(sequence, **columns)
    if classes:
        label = np.full(len(sequence.pred), 3)
        sequence = replace(sequence, pred=replace(sequence.pred, label=label))
    write(tmp_path, [sequence])
    arguments = ['--benchmark', benchmark]
    assert run(tmp_path, *arguments, *(['--classes', *classes] if classes else [])) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith('mmfdta evaluate: ')
    with pytest.raises(ValueError, match=f'nothing of the ground truth .*{reason}'):
        numbers = {'car': 3} if classes else None
        check_scored([sequence], Settings(benchmark, classes=numbers))


def test_one_sequence_without_ground_truth_is_said_and_scored(tmp_path, capsys):
    empty = with_gt(pair(1), score=0.0)
    write(tmp_path, [pair(0), empty])
    assert run(tmp_path) == 0
    captured = capsys.readouterr()
    assert 'nothing of the ground truth of s1 is scored' in captured.err
    assert 'COMBINED' in captured.out


@pytest.mark.parametrize('side', ['gt', 'pred'])
def test_detections_are_no_tracks(tmp_path, capsys, side):
    write(tmp_path, [pair()], detections=side)
    assert run(tmp_path) == 1
    error = capsys.readouterr().err
    assert 'identity is -1 in all' in error and 'detections, not tracks' in error


def test_detections_of_one_object_are_no_tracks():
    sequence = pair()
    one = sequence.pred.select(sequence.pred.identity // 10 == 1)
    one = replace(one, identity=np.full(len(one), -1))
    with pytest.raises(ValueError, match='results: the identity is -1 in all'):
        check_sides([replace(sequence, pred=one)])


def test_corners_are_refused_by_the_command(tmp_path, capsys):
    write(tmp_path, [pair(0), pair(1)], as_corners=True)
    assert run(tmp_path) == 1
    error = capsys.readouterr().err
    assert 'mmfdta evaluate: s0: the boxes of the results look like corners' in error
    assert error.count('\n') == 1


def test_boxes_that_look_like_corners_are_kept_if_asked_to(tmp_path, capsys):
    write(tmp_path, [pair(0), pair(1)], as_corners=True)
    assert run(tmp_path, '--keep-boxes', '--out', str(tmp_path / 'scores.json')) == 0
    assert 'look like corners' in capsys.readouterr().err
    # A corner for a size makes boxes too large to meet anything well.
    document = json.loads((tmp_path / 'scores.json').read_text())
    expected = [
        replace(s, pred=replace(s.pred, xywh=s.pred.xyxy)) for s in (pair(0), pair(1))
    ]
    scores = summarise(evaluate(expected, Settings()).of_class())
    combined = document['classes']['all']['COMBINED']
    assert combined['HOTA'] == pytest.approx(scores['HOTA'])


def numbered(sequence: Sequence) -> Tracks:
    return replace(sequence.pred, identity=np.arange(len(sequence.pred)))


def frozen(sequence: Sequence) -> Tracks:
    first = sequence.gt.select(sequence.gt.frame == 1)
    return Tracks.concatenate(
        [
            replace(first, frame=np.full(len(first), frame))
            for frame in range(1, sequence.num_frames + 1)
        ]
    )


SAID = {
    'give every box an identity of its own': numbered,
    'have the same boxes in every frame': frozen,
    'are the ground truth itself': lambda sequence: sequence.gt,
}


@pytest.mark.parametrize('words', SAID)
def test_what_may_be_meant_is_said(words):
    odd = pair(1)
    odd = replace(odd, pred=SAID[words](odd))
    assert check_sides([pair(0), pair(2)]) == []
    (remark,) = check_sides([pair(0), odd])
    assert words in remark and remark.endswith('(s1)')


def test_fractions_in_column_7_are_said():
    """TrackEval turns them into whole numbers and leaves 0 out."""
    (remark,) = check_sides([pair(0), with_gt(pair(1), score=0.3)])
    assert 'a fraction in 80 rows' in remark


def test_a_still_scene_is_no_frozen_result():
    sequence = pair()
    still = frozen(sequence)
    pred = replace(still, xywh=still.xywh + 1)
    assert check_sides([replace(sequence, gt=still, pred=pred)]) == []


@pytest.mark.parametrize('side', ['gt', 'pred'])
def test_boxes_without_an_extent_are_refused_where_they_are_most(side):
    """A few are kept, as the official evaluation does."""
    sequence = pair()

    def flatten(share: float) -> Sequence:
        tracks = getattr(sequence, side)
        xywh = tracks.xywh.copy()
        xywh[: round(share * len(tracks)), 2] *= -1
        return replace(sequence, **{side: replace(tracks, xywh=xywh)})

    with pytest.raises(ValueError, match='width or height is 0 or less in'):
        check_sides([flatten(0.7)])
    check_sides([flatten(0.1)])


def of_classes(gt: tuple[int, ...], pred: tuple[int, ...], seed: int = 0) -> Sequence:
    """Give the four objects classes on both sides."""
    sequence = pair(seed)
    label = np.array(gt)[sequence.gt.identity % len(gt)]
    found = np.array(pred)[sequence.pred.identity // 10 % len(pred)]
    return replace(
        sequence,
        gt=replace(sequence.gt, label=label),
        pred=replace(sequence.pred, label=found),
    )


SHIFTED = {
    'one above': ((1, 2), (2, 3), 'class one below .* take 1 off'),
    'one below': ((2, 3), (1, 2), 'class one above .* add 1 to'),
    'one class': ((1,), (2,), 'take 1 off the class numbers'),
    'far apart': ((1, 4), (2, 5), 'take 1 off the class numbers'),
    'three': ((1, 2, 3), (2, 3, 4), 'has 1, 2, 3, the results have 2, 3, 4'),
}


@pytest.mark.parametrize('case', SHIFTED)
def test_class_numbers_that_are_shifted_by_one_are_refused(tmp_path, capsys, case):
    gt, pred, message = SHIFTED[case]
    numbers = {f'c{n}': n for n in {*gt, *pred}}
    sequences = [of_classes(gt, pred, seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match=message):
        check_class_numbers(sequences, Settings(classes=numbers))
    write(tmp_path, sequences)
    words = [f'{name}={number}' for name, number in numbers.items()]
    assert run(tmp_path, '--benchmark', 'mot_challenge', '--classes', *words) == 1
    captured = capsys.readouterr()
    assert captured.out == '' and captured.err.count('\n') == 1
    assert run(tmp_path, '--benchmark', 'mot_challenge') == 0  # all as one class


@pytest.mark.parametrize(
    ('gt', 'pred'), [((1, 2), (1, 2)), ((1, 2), (2, 1)), ((1, 3), (3, 3)), ((1,), (3,))]
)
def test_other_class_numbers_are_not_taken_for_shifted(gt, pred):
    numbers = {f'c{n}': n for n in {*gt, *pred}}
    check_class_numbers([of_classes(gt, pred)], Settings(classes=numbers))
