# Copyright (c) mmfdta authors.
"""Halves and other parts of sequences, asked for and recognised."""

import numpy as np
import pytest

from mmfdta.evaluation import Sequence, Tracks, doubts
from mmfdta.evaluation.parts import Part, rate_all

from .texts import Folders, assert_equal, half, moving, renumber, run, within

LENGTHS = {'a': 40, 'b': 31, 'c': 24}  # odd and even


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)


def fill(folders, change, lengths=LENGTHS, speed=9.0, halves=True):
    """Write sequences; ``change`` makes results of what a tracker finds in all."""
    for seed, (name, length) in enumerate(lengths.items()):
        gt, pred = moving(length, seed, speed)
        folders.add(name, gt, change(pred, length), length)
        if halves:
            middle = half(length)
            first = within(gt, 1, middle)
            second = renumber(within(gt, middle + 1, length), -middle)
            folders.add_truth(name, first, length, 'gt_train_half.txt')
            folders.add_truth(name, second, length, 'gt_val_half.txt')


def second_counted(pred, length):
    return renumber(within(pred, half(length) + 1, length), -half(length))


def second_whole(pred, length):
    return within(pred, half(length) + 1, length)


def first_half(pred, length):
    return within(pred, 1, half(length))


def everything(pred, length):
    return pred


def official_of(folders, part):
    """Score with the halves that ByteTrack's conversion would have written."""
    if part == 'first':
        lengths = {name: half(n) for name, n in folders.lengths.items()}
        return lengths, 'gt_train_half.txt'
    lengths = {name: n - half(n) for name, n in folders.lengths.items()}
    return lengths, 'gt_val_half.txt'


HALVES = {
    'second, counted from 1': (second_counted, 'second'),
    'second, counted from the sequence': (second_whole, 'second'),
    'second, out of the whole': (everything, 'second'),
    'first': (first_half, 'first'),
    'first, out of the whole': (everything, 'first'),
}


@pytest.mark.parametrize('option', ['--half', '--gt-file'])
@pytest.mark.parametrize('name', HALVES)
@pytest.mark.parametrize('lengths', [LENGTHS, {'alone': 20}, {'alone': 21}])
def test_half_equals_official(folders, capsys, name, option, lengths):
    change, part = HALVES[name]
    fill(folders, change, lengths)
    of_half, gt_file = official_of(folders, part)
    values = {'--half': part, '--gt-file': gt_file}
    assert folders.evaluate(option, values[option]) == 0
    output = capsys.readouterr().out
    # The official evaluation wants results that count from 1 of the half.
    cut = folders.root / 'cut' / 'results'
    for seed, (sequence, length) in enumerate(lengths.items()):
        pred = moving(length, seed)[1]
        of_part = first_half if part == 'first' else second_counted
        folders.add(
            sequence,
            moving(length, seed)[0],
            of_part(pred, length),
            length,
            results=cut,
        )
    assert_equal(output, folders.official(of_half, gt_file, cut))


REFUSED = {
    'second half, counted from 1': (second_counted, '--half second'),
    'second half, counted from the sequence': (second_whole, '--half second'),
    'first half': (first_half, '--half first'),
    'every second frame': (
        lambda pred, n: pred.select(pred.frame % 2 == 1),
        '--frames 1-/2',
    ),
    'every second frame, counted': (
        lambda pred, n: Tracks.create(
            pred.frame[pred.frame % 2 == 1] // 2 + 1,
            pred.identity[pred.frame % 2 == 1],
            pred.xywh[pred.frame % 2 == 1],
        ),
        '--frames 1-/2',
    ),
    'every third frame': (
        lambda pred, n: pred.select(pred.frame % 3 == 1),
        '--frames 1-/3',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
@pytest.mark.parametrize('lengths', [LENGTHS, {'alone': 30}])
@pytest.mark.parametrize('halves', [True, False])
def test_part_is_refused_with_the_option(folders, capsys, name, lengths, halves):
    change, option = REFUSED[name]
    fill(folders, change, lengths, halves=halves)
    assert folders.evaluate() == 1
    captured = capsys.readouterr()
    assert captured.out == '' and option in captured.err
    assert captured.err.count('\n') == 1
    assert folders.evaluate(*option.split()) == 0
    captured = capsys.readouterr()
    assert 'fit' not in captured.err and ' 0.000' not in captured.out


def remarks(errors):
    """Lines on standard error, but for the one that says whose rules are taken."""
    return [line for line in errors.splitlines() if 'rules of' not in line]


@pytest.mark.parametrize('lengths', [LENGTHS, {'alone': 60}])
def test_frames_out_of_the_middle(folders, capsys, lengths):
    """A clip was cut out of each sequence and tracked."""
    fill(folders, lambda pred, n: renumber(within(pred, 7, 18), -6), lengths)
    assert folders.evaluate() == 1
    assert '--frames 7-18' in capsys.readouterr().err
    assert folders.evaluate('--frames', '7-18') == 0
    assert 'count from the first frame of frames 7 to 18' in capsys.readouterr().err


@pytest.mark.parametrize('odd', ['a', 'b'])
def test_results_that_count_in_two_ways(folders, capsys, odd):
    """One sequence was run on the half, the others on the whole."""
    fill(folders, everything)
    length = LENGTHS[odd]
    gt, pred = moving(length, 'ab'.index(odd))
    folders.add(odd, gt, second_counted(pred, length), length)
    assert folders.evaluate('--half', 'second') == 1
    assert f'results of {odd} count from the first frame of the second half' in (
        capsys.readouterr().err
    )
    assert folders.evaluate() == 1
    errors = capsys.readouterr().err
    assert f'results of {odd} fit the second half' in errors
    assert f'--sequences {odd} --half second' in errors
    assert folders.evaluate('--frames', 'all') == 0


@pytest.mark.parametrize('off', [-6, -4, 4, 6])
def test_results_some_frames_off_are_refused(folders, capsys, off):
    """A video that was cut at its beginning, or a clock that was late."""

    def change(pred, length):
        return renumber(within(pred, 1 - min(off, 0), length - max(off, 0)), off)

    fill(folders, change, speed=2.0)
    assert folders.evaluate() == 1
    when = 'later' if off < 0 else 'earlier'
    assert f'{abs(off)} frames {when}' in capsys.readouterr().err
    assert folders.evaluate('--frames', 'all') == 0
    assert_equal(capsys.readouterr().out, folders.official())


def test_half_of_another_cut(folders, capsys):
    """L // 2 frames in the first half: the frames have to be named."""
    fill(folders, lambda pred, n: renumber(within(pred, 11, 20), -10), {'seq': 20})
    assert folders.evaluate() == 1
    assert '--frames 11-20' in capsys.readouterr().err
    assert folders.evaluate('--half', 'second') == 1
    assert '--frames' in capsys.readouterr().err


def test_most_sequences_end_at_the_half(folders, capsys):
    """In one of them nobody is there in the second half."""
    fill(folders, first_half, {'a': 40, 'b': 31, 'c': 24, 'd': 30})
    gt, pred = (within(t, 1, 15) for t in moving(30, 3))
    folders.add('d', gt, pred, 30)
    assert folders.evaluate() == 1
    assert '--half first' in capsys.readouterr().err


def test_scattered_frames_are_told(folders, capsys):
    """Key frames only, at no fixed distance."""
    keys = [1, 2, 4, 9, 11, 16, 17, 23, 24, 30, 31, 39, 40]
    fill(folders, lambda pred, n: pred.select(np.isin(pred.frame, keys)))
    assert folders.evaluate() == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, folders.official())
    assert 'annotated frames' in captured.err


def from_zero(change):
    """Count from 0, where nothing is found in the first frame."""
    return lambda pred, n: renumber(within(change(pred, n), 2, n), -1)


def test_results_from_zero_without_a_frame_zero(folders, capsys):
    fill(folders, from_zero(everything))
    option = ('--result-frame-numbers', 'count0')
    assert folders.evaluate() == 1
    assert ' '.join(option) in capsys.readouterr().err
    assert folders.evaluate(*option) == 0
    output = capsys.readouterr().out
    fill(folders, lambda pred, n: within(pred, 2, n))
    assert_equal(output, folders.official())


def test_half_of_results_from_zero(folders, capsys):
    """Frames of the sequence from 0, of the second half only."""
    fill(folders, from_zero(second_whole))
    option = ('--result-frame-numbers', 'count0')
    assert folders.evaluate(*option) == 1
    assert '--half second' in capsys.readouterr().err
    assert folders.evaluate('--half', 'second') == 0
    assert ' '.join(option) in capsys.readouterr().err
    assert folders.evaluate('--half', 'second', *option) == 0
    output = capsys.readouterr().out
    fill(folders, second_counted)
    lengths, gt_file = official_of(folders, 'second')
    assert_equal(output, folders.official(lengths, gt_file))


def test_results_that_come_late_are_told(folders, capsys):
    fill(folders, lambda pred, n: renumber(within(pred, 1, n - 1), 1))
    assert folders.evaluate() == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, folders.official())
    assert 'one frame earlier' in captured.err


@pytest.mark.parametrize('has_length', [True, False])
def test_no_frame_in_common(folders, capsys, has_length):
    fill(folders, lambda pred, n: renumber(pred, 100))
    for name in LENGTHS if not has_length else ():
        (folders.gt / name / 'seqinfo.ini').unlink()
    assert folders.evaluate() == 1
    message = capsys.readouterr().err
    assert '101' in message and 'a' in message


@pytest.mark.parametrize('first', [1, 2, 3])
def test_one_frame_in_three_counted(folders, capsys, first):
    """Subsampled from any frame on, and counted from 1."""

    def change(pred, length):
        kept = pred.select(pred.frame % 3 == first % 3)
        frame = (kept.frame - first) // 3 + 1
        return Tracks.create(frame, kept.identity, kept.xywh)

    fill(folders, change)
    assert folders.evaluate() == 1
    assert f'--frames {first}-/3' in capsys.readouterr().err


def test_the_last_frames_of_each_sequence(folders, capsys):
    """Counted from 1: every sequence begins at another frame."""
    fill(folders, lambda pred, n: renumber(within(pred, n - 9, n), 10 - n))
    assert folders.evaluate() == 1
    message = capsys.readouterr().err
    assert '--sequences a --frames 31-40, and the like for the others' in message
    one = ('--sequences', 'a', '--frames')
    assert folders.evaluate(*one, '31-40') == 0
    assert 'only' not in capsys.readouterr().err
    assert folders.evaluate(*one, '1-10') == 0
    assert 'only 0% of the results meet an object' in capsys.readouterr().err


def test_results_that_meet_nothing_are_told(folders, capsys):
    """Frames that run backwards fit no part."""
    fill(
        folders,
        lambda pred, n: Tracks.create(n + 1 - pred.frame, pred.identity, pred.xywh),
    )
    assert folders.evaluate() == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, folders.official())
    assert 'of the results meet an object' in captured.err


def test_text_that_fits_is_named(folders, capsys):
    fill(folders, second_counted, {'seq': 20})
    assert folders.evaluate() == 1
    message = capsys.readouterr().err
    assert '--half second or --gt-file gt_val_half.txt' in message


def test_half_is_refused_where_nothing_moves(folders, capsys):
    """Results of another part fit as well: only where they end tells."""
    fill(folders, second_counted, speed=0.0, halves=False)
    assert folders.evaluate() == 1
    message = capsys.readouterr().err
    assert '--half first or --half second' in message


def test_all_frames_when_asked_for(folders, capsys):
    fill(folders, second_counted)
    assert folders.evaluate('--frames', 'all') == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, folders.official())
    assert 'second half' in captured.err


@pytest.mark.parametrize('change', [second_counted, first_half])
def test_the_other_half_is_refused(folders, capsys, change):
    fill(folders, change)
    wrong = 'second' if change is first_half else 'first'
    assert folders.evaluate('--half', wrong) == 1
    assert 'half' in capsys.readouterr().err


@pytest.mark.parametrize('part', ['train', 'val'])
def test_half_texts_that_keep_the_numbers(folders, capsys, part):
    """MMDetection's conversion leaves the frames as they are."""
    fill(folders, second_counted if part == 'val' else first_half)
    for seed, (name, length) in enumerate(LENGTHS.items()):
        gt, _ = moving(length, seed)
        ends = (half(length) + 1, length) if part == 'val' else (1, half(length))
        folders.add_truth(name, within(gt, *ends), length, f'gt_half-{part}.txt')
    assert folders.evaluate('--gt-file', f'gt_half-{part}.txt') == 0
    lengths, gt_file = official_of(folders, 'first' if part == 'train' else 'second')
    assert_equal(capsys.readouterr().out, folders.official(lengths, gt_file))


def test_a_text_of_another_name_is_whole(folders, capsys):
    fill(folders, everything, halves=False)
    for seed, (name, length) in enumerate(LENGTHS.items()):
        gt, _ = moving(length, seed)
        folders.add_truth(name, gt.select(gt.identity > 1), length, 'corrected.txt')
    assert folders.evaluate('--gt-file', 'corrected.txt') == 0
    expected = folders.official(gt_file='corrected.txt')
    assert_equal(capsys.readouterr().out, expected)
    assert expected['CLR_FN'] != folders.official()['CLR_FN']


def in_one_half(part, length):
    """Objects that are in one half only, and false tracks in the other, too."""
    gt, pred = moving(length, 0)
    middle = half(length)
    ends = (1, middle - 1) if part == 'first' else (middle + 1, length)
    rest = (middle + 1, length) if part == 'first' else (1, middle - 1)
    wrong = within(gt.select(gt.identity == 1), *rest)
    wrong = Tracks.create(wrong.frame, wrong.identity + 70, wrong.xywh + [0, 900, 0, 0])
    return within(gt, *ends), Tracks.concatenate([within(pred, *ends), wrong])


@pytest.mark.parametrize('part', ['first', 'second'])
@pytest.mark.parametrize('kind', ['flat', 'named', 'a text itself'])
def test_objects_in_one_half_are_no_half_text(folders, capsys, part, kind):
    """Objects come or leave near the middle: frames are those of the sequence."""
    gt, pred = in_one_half(part, 100)
    folders.add('s1', gt, pred, 100, 'corrected.txt')
    folders.add('s1', gt, pred, 100)
    text = folders.gt / 's1' / 'gt' / 'gt.txt'
    flat = folders.root / 'flat'
    flat.mkdir()
    (flat / 's1.txt').write_text(text.read_text())
    sides = {
        'flat': ['--gt', flat],
        'named': ['--gt', folders.gt, '--gt-file', 'corrected.txt'],
        'a text itself': ['--gt', flat / 's1.txt'],
    }[kind]
    for options in ([], ['--frames', 'all']):
        assert run(*sides, '--results', folders.results, *options) == 0
        captured = capsys.readouterr()
        assert_equal(captured.out, folders.official())
        assert 'is taken for' not in captured.err


@pytest.mark.parametrize('change', [second_counted, everything])
def test_all_frames_of_a_half_text_as_they_are_numbered(folders, capsys, change):
    fill(folders, change)
    options = ('--gt-file', 'gt_val_half.txt', '--frames', 'all')
    assert folders.evaluate(*options) == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, folders.official(gt_file='gt_val_half.txt'))
    assert 'is taken for' not in captured.err


def test_a_half_text_without_half_in_its_name(folders, capsys):
    """Results of the whole lie on its objects in the second half only."""
    fill(folders, everything)
    for name in LENGTHS:
        path = folders.gt / name / 'gt' / 'gt_val_half.txt'
        path.rename(path.with_name('val.txt'))
    outputs = []
    for options in ((), ('--half', 'second')):
        assert folders.evaluate('--gt-file', 'val.txt', *options) == 0
        captured = capsys.readouterr()
        assert 'val.txt is taken for the second half' in captured.err
        outputs.append(captured.out)
    fill(folders, second_counted)
    lengths, _ = official_of(folders, 'second')
    for output in outputs:
        assert_equal(output, folders.official(lengths, 'val.txt'))


PATTERNS = (
    '{seq}/gt/gt_val_half.txt',
    '{gt_folder}/{seq}/gt/gt_val_half.txt',  # as TrackEval's GT_LOC_FORMAT
    'gt/gt_val_half.txt',
)


@pytest.mark.parametrize('pattern', PATTERNS)
def test_pattern_of_texts(folders, capsys, pattern):
    fill(folders, second_counted)
    assert folders.evaluate('--gt-file', pattern) == 0
    lengths, gt_file = official_of(folders, 'second')
    assert_equal(capsys.readouterr().out, folders.official(lengths, gt_file))


def test_pattern_with_the_name_twice(folders, capsys):
    fill(folders, everything)
    other = folders.root / 'other'
    for name in LENGTHS:
        text = (folders.gt / name / 'gt' / 'gt.txt').read_text()
        (other / name).mkdir(parents=True)
        (other / name / f'{name}_boxes.txt').write_text(text)
        (other / name / 'of_another_boxes.txt').write_text('1,1,1,1,9,9,1,1,1\n')
    folders.gt, gt = other, folders.gt
    assert folders.evaluate('--gt-file', '{seq}/{seq}_boxes.txt') == 0
    folders.gt = gt
    assert_equal(capsys.readouterr().out, folders.official())


def test_text_that_some_sequences_lack(folders, capsys):
    fill(folders, second_counted)
    (folders.gt / 'b' / 'gt' / 'gt_val_half.txt').unlink()
    assert folders.evaluate('--gt-file', 'gt_val_half.txt') == 1
    message = capsys.readouterr().err
    assert 'b' in message and 'gt_val_half.txt' in message
    assert (
        folders.evaluate('--gt-file', 'gt_val_half.txt', '--sequences', 'a', 'c') == 0
    )
    assert folders.evaluate('--gt-file', 'gt_val_haf.txt') == 1
    assert 'gt_val_half.txt' in capsys.readouterr().err
    for name in LENGTHS:
        (folders.gt / name / 'gt' / 'gt.txt').unlink()
    assert folders.evaluate() == 1
    assert 'gt_val_half.txt: name it with --gt-file' in capsys.readouterr().err


def test_a_range_equals_official(folders, capsys):
    fill(folders, everything, halves=False)
    expected = Folders(folders.root / 'part')
    for seed, (name, length) in enumerate(LENGTHS.items()):
        gt, pred = (renumber(within(t, 6, 20), -5) for t in moving(length, seed))
        expected.add(name, gt, pred, 15)
    for results in (folders.results, expected.results):
        folders.results = results  # of the whole, and counted from 1 of the range
        assert folders.evaluate('--frames', '6-20') == 0
        assert_equal(capsys.readouterr().out, expected.official())


@pytest.mark.parametrize('text', ['0-3', '5-4', '1-9/0', 'x', '-3', '1,3', ''])
def test_no_range(text, capsys):
    with pytest.raises(ValueError, match='FIRST-LAST'):
        Part.parse(text)
    with pytest.raises(SystemExit):
        run('--gt', '.', '--results', '.', f'--frames={text}')
    assert 'FIRST-LAST' in capsys.readouterr().err


def test_range_behind_the_end(folders, capsys):
    fill(folders, everything)
    assert folders.evaluate('--frames', '30-') == 1
    assert 'c: found 24 frames' in capsys.readouterr().err


@pytest.mark.parametrize('lengths', [LENGTHS, {'alone': 30}])
def test_first_frames(folders, capsys, lengths):
    """A run on the first frames of each sequence."""
    fill(folders, lambda pred, n: within(pred, 1, 9), lengths, halves=False)
    assert folders.evaluate() == 1
    assert '--frames 1-9' in capsys.readouterr().err
    assert folders.evaluate('--frames', '1-9') == 0


def test_one_sequence_may_end_in_silence(folders, capsys):
    def change(pred, length):
        return within(pred, 1, 30) if length == 40 else pred

    fill(folders, change)
    assert folders.evaluate() == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, folders.official())
    assert 'a (1 to 30 of 40)' in captured.err


def test_a_sequence_alone_that_ends_early_is_told(folders, capsys):
    fill(folders, lambda pred, n: within(pred, 1, 24), {'alone': 30}, halves=False)
    assert folders.evaluate() == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, folders.official())
    assert '--frames 1-24' in captured.err


def test_the_last_frames_without_objects_are_no_matter(folders, capsys):
    for seed, (name, length) in enumerate(LENGTHS.items()):
        gt, pred = (within(t, 1, half(length)) for t in moving(length, seed))
        folders.add(name, gt, pred, length)
    assert folders.evaluate() == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, folders.official())
    assert remarks(captured.err) == []


@pytest.mark.parametrize('found', [0.9, 0.3])
def test_a_good_and_a_poor_tracker_pass_in_silence(folders, capsys, found):
    rng = np.random.default_rng(3)
    fill(folders, lambda pred, n: pred.select(rng.random(len(pred)) < found))
    assert folders.evaluate() == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, folders.official())
    assert remarks(captured.err) == []


@pytest.mark.parametrize('lengths', [LENGTHS, {'alone': 30}])
@pytest.mark.parametrize('has_length', [True, False])
def test_ground_truth_of_a_half(folders, capsys, lengths, has_length):
    """``gt.txt`` was replaced by that of a half, the results are of the whole."""
    for seed, (name, length) in enumerate(lengths.items()):
        gt, pred = moving(length, seed)
        folders.add(name, second_counted(gt, length), pred, length)
        if not has_length:
            (folders.gt / name / 'seqinfo.ini').unlink()
    assert folders.evaluate() == 1
    assert 'whole ground truth' in capsys.readouterr().err


def test_ground_truth_of_the_first_halves(folders, capsys):
    """The longer the sequence, the later the ground truth ends."""
    for seed, (name, length) in enumerate(LENGTHS.items()):
        gt, pred = moving(length, seed)
        folders.add(name, first_half(gt, length), pred, length)
        (folders.gt / name / 'seqinfo.ini').unlink()
    assert folders.evaluate() == 1
    assert 'name the whole ground truth' in capsys.readouterr().err
    assert folders.evaluate('--frames', 'all') == 0


def test_sparse_ground_truth(folders, capsys):
    """Every fifth frame is annotated; results on the others are no errors."""
    for seed in range(2):
        gt, pred = moving(60, seed)
        folders.add(f's{seed}', gt.select(gt.frame % 5 == 1), pred, 60)
    assert folders.evaluate() == 1
    assert '--frames 1-/5' in capsys.readouterr().err
    assert folders.evaluate('--frames', '1-/5') == 0
    sparse = Folders(folders.root / 'sparse')
    for seed in range(2):
        both = (t.select(t.frame % 5 == 1) for t in moving(60, seed))
        gt, pred = (
            Tracks.create((t.frame - 1) // 5 + 1, t.identity, t.xywh, t.score)
            for t in both
        )
        sparse.add(f's{seed}', gt, pred, 12)
    assert_equal(capsys.readouterr().out, sparse.official())


@pytest.mark.parametrize('names', ['ab', 'abc'])
def test_swapped_names_are_told(folders, capsys, names):
    fill(folders, everything)
    texts = [(folders.results / f'{name}.txt').read_text() for name in names]
    for name, text in zip(names, [*texts[1:], texts[0]], strict=True):
        rows = [r for r in text.splitlines() if int(r.split(',')[0]) <= LENGTHS[name]]
        (folders.results / f'{name}.txt').write_text('\n'.join(rows) + '\n')
    for option, code in (((), 1), (('--frames', 'all'), 0)):
        assert folders.evaluate(*option) == code
        message = capsys.readouterr().err
        for name, other in zip(names, [*names[1:], names[0]], strict=True):
            assert f'results of {name} fit the ground truth of {other}' in message


def test_swapped_names_of_many_sequences_take_no_square_of_their_number(monkeypatch):
    def place(number: int) -> Tracks:
        return Tracks.create([1, 2], [1, 1], [[100.0 * number, 0, 50, 50]] * 2)

    sequences = [
        Sequence(f's{n}', 2, place(n), place((n + 1) % 120)) for n in range(120)
    ]
    rated = []

    def count(of):
        rated.append(of)
        return rate_all(of)

    monkeypatch.setattr(doubts, 'rate_all', count)
    monkeypatch.setattr(doubts, '_MOST_PAIRS', 400)
    refusal, _ = doubts.find_swaps(sequences)
    assert 'results of s0 fit the ground truth of s1' in refusal
    assert len(rated) <= 120 + 400


def test_results_of_one_sequence_under_two_names(folders, capsys):
    fill(folders, everything, {'a': 30, 'b': 30})
    text = (folders.results / 'a.txt').read_text()
    (folders.results / 'b.txt').write_text(text)
    assert folders.evaluate() == 1
    message = capsys.readouterr().err
    assert 'the results of b fit the ground truth of a' in message


def test_empty_results(folders, capsys):
    fill(folders, everything)
    (folders.results / 'b.txt').write_text('')
    assert folders.evaluate() == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, folders.official())
    assert 'results of b are empty' in captured.err
    for name in 'ac':
        (folders.results / f'{name}.txt').write_text('\n')
    assert folders.evaluate() == 1
    assert 'broken off' in capsys.readouterr().err
    assert folders.evaluate('--frames', 'all') == 0
