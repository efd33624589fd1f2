# Copyright (c) mmfdta authors.
"""Results that lie some frames off, alone or in all sequences, and short truths."""

import numpy as np
import pytest

from mmfdta.evaluation import Tracks
from mmfdta.structures.mot_text import read_tracks

from .texts import Folders, assert_equal, half, moving, renumber, within

LENGTHS = {'a': 80, 'b': 61}


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)


def fill(folders, change, lengths=LENGTHS, speed=9.0, has_length=True):
    """Write sequences; ``change`` makes both sides of name, truth, results, length."""
    for seed, (name, length) in enumerate(lengths.items()):
        gt, pred = change(name, *moving(length, seed, speed), length)
        folders.add(name, gt, pred, length)
        if not has_length:
            (folders.gt / name / 'seqinfo.ini').unlink()


def cut(frames, names=None):
    """Results of videos without their first frames."""

    def change(name, gt, pred, length):
        if names is not None and name not in names:
            return gt, pred
        return gt, renumber(within(pred, frames + 1, length), -frames)

    return change


def late(frames):
    return lambda name, gt, pred, n: (gt, renumber(within(pred, 1, n - frames), frames))


def truth_cut(frames):
    return lambda name, gt, pred, n: (
        renumber(within(gt, frames + 1, n), -frames),
        pred,
    )


def truth_late(frames):
    return lambda name, gt, pred, n: (renumber(within(gt, 1, n - frames), frames), pred)


KINDS = {
    'results cut': (cut, 1),
    'results late': (late, -1),
    'truth cut': (truth_cut, -1),
    'truth late': (truth_late, 1),
}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('frames', [2, 5, 17])
@pytest.mark.parametrize('lengths', [LENGTHS, {'alone': 70}])
@pytest.mark.parametrize('speed', [4.0, 9.0])
def test_offset_is_refused(folders, capsys, kind, frames, lengths, speed):
    make, sign = KINDS[kind]
    fill(folders, make(frames), lengths, speed)
    assert folders.evaluate() == 1
    captured = capsys.readouterr()
    assert captured.out == '' and captured.err.count('\n') == 1
    found = [f'--frames {frames + 1}-'] * (sign > 0) + [
        f'{frames} {"more" if sign > 0 else "less"}',
        f'fit frames {frames + 1} to',
    ]
    assert any(text in captured.err for text in found)
    assert folders.evaluate('--frames', 'all') == 0
    captured = capsys.readouterr()
    assert 'frames' in captured.err
    assert_equal(captured.out, folders.official())


@pytest.mark.parametrize('frames', [2, 6, 30])
def test_advice_for_an_offset_gives_the_right_score(folders, capsys, frames):
    fill(folders, cut(frames))
    assert folders.evaluate() == 1
    assert f'--frames {frames + 1}-' in capsys.readouterr().err
    assert folders.evaluate('--frames', f'{frames + 1}-') == 0
    output = capsys.readouterr().out
    right = Folders(folders.root / 'right')
    for seed, (name, length) in enumerate(LENGTHS.items()):
        both = (within(t, frames + 1, length) for t in moving(length, seed))
        right.add(name, *(renumber(t, -frames) for t in both), length - frames)
    assert_equal(output, right.official())


@pytest.mark.parametrize('odd', ['a', 'b'])
@pytest.mark.parametrize('frames', [3, 12])
def test_offset_of_one_sequence_is_refused_by_name(folders, capsys, odd, frames):
    fill(folders, cut(frames, [odd]))
    assert folders.evaluate() == 1
    message = capsys.readouterr().err
    assert f'results of {odd} ' in message
    assert f'--sequences {odd} --frames {frames + 1}-' in message
    assert folders.evaluate('--sequences', odd, '--frames', f'{frames + 1}-') == 0
    assert folders.evaluate('--frames', 'all') == 0


def test_offsets_that_differ(folders, capsys):
    frames = {'a': 4, 'b': 9}
    fill(folders, lambda name, *sides: cut(frames[name])(name, *sides))
    assert folders.evaluate() == 1
    message = capsys.readouterr().err
    assert '--sequences a --frames 5-' in message


@pytest.mark.parametrize('frames', [-2, 2, 5])
def test_offset_where_hardly_anything_moves_is_scored(folders, capsys, frames):
    fill(folders, cut(frames) if frames > 0 else late(-frames), speed=0.1)
    assert folders.evaluate() == 0
    captured = capsys.readouterr()
    assert 'better' not in captured.err
    assert_equal(captured.out, folders.official())


@pytest.mark.parametrize('kind', ['anywhere', 'beside', 'still', 'shuffled', 'few'])
@pytest.mark.parametrize('seed', range(3))
def test_bad_trackers_are_scored(folders, capsys, kind, seed):
    """Boxes of chance lie on some object some frames later, too."""
    rng = np.random.default_rng(seed)

    def spoil(name, gt, pred, length):
        boxes = pred.xywh.copy()
        if kind == 'anywhere':
            boxes[:, :2] = rng.uniform(0, 900, (len(pred), 2))
        elif kind == 'beside':
            boxes[:, :2] += rng.normal(0, 30, (len(pred), 2))
        elif kind == 'still':
            first = {i: pred.xywh[pred.identity == i][0] for i in pred.identity}
            boxes = np.array([first[i] for i in pred.identity])
        elif kind == 'shuffled':
            boxes = rng.permutation(boxes)
        spoiled = Tracks.create(pred.frame, pred.identity, boxes)
        return gt, spoiled.select(rng.random(len(pred)) < 0.2 + 0.8 * (kind != 'few'))

    fill(folders, spoil, speed=3.0)
    assert folders.evaluate() == 0
    captured = capsys.readouterr()
    assert 'better' not in captured.err
    assert_equal(captured.out, folders.official())


def test_other_texts_are_read_once(folders, monkeypatch):
    """Each sequence of a bad tracker asks what they hold."""
    rng = np.random.default_rng(0)
    lengths = {'a': 30, 'b': 30, 'c': 30}

    def spoil(name, gt, pred, length):
        boxes = np.append(rng.uniform(0, 900, (len(pred), 2)), pred.xywh[:, 2:], 1)
        return gt, Tracks.create(pred.frame, pred.identity, boxes)

    fill(folders, spoil, lengths)
    for name, length in lengths.items():
        folders.add_truth(name, moving(length)[0], length, 'gt_half.txt')
    read = []

    def count(path):
        read.append(path)
        return read_tracks(path)

    monkeypatch.setattr('mmfdta.evaluation.inputs.read_tracks', count)
    assert folders.evaluate() == 0
    assert sorted(read) == [folders.gt / n / 'gt' / 'gt_half.txt' for n in lengths]


def second_counted(name, gt, pred, length):
    middle = half(length)
    return gt, renumber(within(pred, middle + 1, length), -middle)


@pytest.mark.parametrize('odd', ['a', 'b', 'c'])
@pytest.mark.parametrize('has_length', [True, False])
@pytest.mark.parametrize('names', ['ab', 'abc'])
def test_half_of_one_sequence_is_refused_by_name(
    folders, capsys, odd, has_length, names
):
    if odd not in names:
        names += odd
    lengths = {name: 80 - 9 * i for i, name in enumerate(names)}
    fill(
        folders,
        lambda name, *sides: second_counted(name, *sides) if name == odd else sides[:2],
        lengths,
        has_length=has_length,
    )
    assert folders.evaluate() == 1
    captured = capsys.readouterr()
    assert captured.out == '' and captured.err.count('\n') == 1
    option = f'--sequences {odd} --half second'
    assert f'results of {odd} fit the second half' in captured.err
    assert option in captured.err
    assert folders.evaluate(*option.split()) == 0
    assert folders.evaluate('--frames', 'all') == 0


def test_one_sequence_of_every_second_frame_counted(folders, capsys):
    def change(name, gt, pred, length):
        kept = pred.select(pred.frame % 2 == 1)
        counted = Tracks.create(kept.frame // 2 + 1, kept.identity, kept.xywh)
        return gt, counted if name == 'b' else pred

    fill(folders, change)
    assert folders.evaluate() == 1
    assert '--sequences b --frames 1-/2' in capsys.readouterr().err


SHORT = {
    'first half': (lambda n: (1, half(n)), '--half first'),
    'second half': (lambda n: (half(n) + 1, n), '--half second'),
    'first third': (lambda n: (1, n // 3), '--frames 1-'),
    'last third': (lambda n: (n - n // 3, n), '--frames'),
    'middle': (lambda n: (n // 4, n // 2), '--frames'),
}


@pytest.mark.parametrize('name', SHORT)
@pytest.mark.parametrize('has_length', [True, False])
@pytest.mark.parametrize('lengths', [LENGTHS, {'alone': 80}])
def test_truth_of_a_part_is_refused(folders, capsys, name, has_length, lengths):
    """Results are of the whole, and numbered as the ground truth is."""
    span, option = SHORT[name]
    fill(
        folders,
        lambda _, gt, pred, n: (within(gt, *span(n)), pred),
        lengths,
        has_length=has_length,
    )
    assert folders.evaluate() == 1
    captured = capsys.readouterr()
    assert captured.out == '' and captured.err.count('\n') == 1
    assert 'ground truth covers a part' in captured.err and option in captured.err
    if option.startswith('--half'):
        assert folders.evaluate(*option.split()) == 0
        output = capsys.readouterr().out
        right = Folders(folders.root / 'right')
        for seed, (sequence, n) in enumerate(lengths.items()):
            first, last = span(n)
            both = (within(t, first, last) for t in moving(n, seed))
            length = last - first + 1
            right.add(sequence, *(renumber(t, 1 - first) for t in both), length)
        assert_equal(output, right.official())
    assert folders.evaluate('--frames', 'all') == 0
    assert_equal(capsys.readouterr().out, folders.official())


@pytest.mark.parametrize('name', ['first half', 'second half'])
def test_truth_of_a_half_in_one_sequence(folders, capsys, name):
    span, option = SHORT[name]
    fill(
        folders,
        lambda key, gt, pred, n: (within(gt, *span(n)) if key == 'b' else gt, pred),
    )
    assert folders.evaluate() == 1
    message = capsys.readouterr().err
    assert f'--sequences b {option}' in message and 'b: frames' in message


@pytest.mark.parametrize('ends', [(1, 45), (36, 80)])
def test_few_results_where_nobody_is_are_errors_of_the_tracker(folders, capsys, ends):
    def change(name, gt, pred, length):
        inside = (pred.frame >= ends[0]) & (pred.frame <= ends[1])
        return within(gt, *ends), pred.select(inside | (pred.identity < 20))

    fill(folders, change, {'a': 80, 'c': 80})
    assert folders.evaluate() == 0
    assert_equal(capsys.readouterr().out, folders.official())


@pytest.mark.parametrize('length', [3, 4, 5])
@pytest.mark.parametrize('longer', [0, 1, 30])
def test_hints_for_short_results_are_options(folders, capsys, length, longer):
    """Of a few frames much fits: the hint stays one that can be typed."""
    fill(
        folders,
        lambda name, gt, pred, n: (gt, renumber(within(pred, n, n), 1 - n)),
        {'a': length, 'b': length + longer, 'c': length},
    )
    assert folders.evaluate() == 1
    message = capsys.readouterr().err
    assert message.count(' or --') < 3 and 'alone' not in message
    hint = message.split(': add ')[1].split('; --frames all')[0]
    hint = hint.split(', and the like')[0].split(' if they are')[0]
    for option in hint.split(' or '):
        assert folders.evaluate(*option.split()) == 0, option
        capsys.readouterr()
