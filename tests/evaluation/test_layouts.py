# Copyright (c) mmfdta authors.
"""Where ground truth and results lie: folders, zips, trees, texts, several trackers."""

import csv
import json
import shutil
import zipfile

import pytest

from mmfdta.cli.main import main
from mmfdta.evaluation.folders import find_results, find_sequences, find_truths

from .texts import Folders, assert_equal, moving, run, shown

NAMES = ('a', 'b')


@pytest.fixture
def folders(tmp_path):
    made = Folders(tmp_path)
    for seed, name in enumerate(NAMES):
        made.add(name, *moving(20, seed), 20)
    return made


def pack(path, texts, prefix=''):
    """Write a zip of the texts of a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, 'w') as archive:
        for text in sorted(texts.glob('*.txt')):
            archive.write(text, f'{prefix}{text.name}')
    return path


def move(folders, place):
    """Move the results elsewhere below the root."""
    target = folders.root / place
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folders.results, target)
    return target


# What holds the results, and what is named with --results.
RESULTS = {
    'flat': ('results', 'results'),
    'folder data': ('run/data', 'run'),
    'folder data itself': ('run/data', 'run/data'),
    'folder tracker': ('work/tracker', 'work'),
    'tree': ('trackers/MOT17-train/ours/data', 'trackers'),
    'tree from the split on': (
        'trackers/MOT17-train/ours/data',
        'trackers/MOT17-train',
    ),
    'tree from the tracker on': (
        'trackers/MOT17-train/ours/data',
        'trackers/MOT17-train/ours',
    ),
}


@pytest.mark.parametrize('name', RESULTS)
def test_folders_of_results(folders, capsys, name):
    place, named = RESULTS[name]
    expected = folders.official()
    texts = move(folders, place)
    (folders.root / named / 'pedestrian_summary.txt').write_text('HOTA DetA\n50 60\n')
    assert run('--gt', folders.gt, '--results', folders.root / named) == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, expected)
    assert (str(texts) in captured.err) == (place != named)


PREFIXES = ('', 'tracker/', 'ours/', 'ours/data/', 'trackers/MOT17-train/ours/data/')


@pytest.mark.parametrize('prefix', PREFIXES)
def test_zips_of_results(folders, capsys, prefix):
    expected = folders.official()
    packed = pack(folders.root / 'packed.zip', folders.results, prefix)
    with zipfile.ZipFile(packed, 'a') as archive:
        archive.writestr('__MACOSX/._a.txt', b'\0\1')
        archive.writestr('readme.txt', 'how to read')
    assert run('--gt', folders.gt, '--results', packed) == 0
    assert_equal(capsys.readouterr().out, expected)


def test_a_submission_is_scored_again(folders, capsys):
    expected = folders.official()
    for benchmark in ('dancetrack', 'sportsmot'):
        packed = folders.root / f'{benchmark}.zip'
        arguments = [
            f'--results={folders.results}',
            f'--data={folders.gt}',
            f'--out={packed}',
        ]
        assert main(['submit', benchmark, *arguments]) == 0
        capsys.readouterr()
        assert run('--gt', folders.gt, '--results', packed) == 0
        assert_equal(capsys.readouterr().out, expected)
    both = [folders.root / f'{name}.zip' for name in ('dancetrack', 'sportsmot')]
    assert run('--gt', folders.gt, '--results', *both) == 0
    output = capsys.readouterr().out
    assert shown(output, 'dancetrack') == shown(output, 'sportsmot')


def test_zip_of_windows(folders, capsys):
    packed = folders.root / 'packed.zip'
    with zipfile.ZipFile(packed, 'w') as archive:
        for name in NAMES:
            entry = zipfile.ZipInfo('x')
            entry.filename = f'tracker\\{name}.txt'
            archive.writestr(entry, (folders.results / f'{name}.txt').read_text())
    assert run('--gt', folders.gt, '--results', packed) == 0
    assert_equal(capsys.readouterr().out, folders.official())


def test_faults_in_a_zip_are_named(folders, capsys):
    (folders.results / 'b.txt').write_text('1,1,5,5,9,9,1,-1,-1,-1\n1,2,x,5,9,9\n')
    packed = pack(folders.root / 'packed.zip', folders.results, 'tracker/')
    assert run('--gt', folders.gt, '--results', packed) == 1
    assert f'{packed}/tracker/b.txt:2: ' in capsys.readouterr().err
    packed.write_bytes(packed.read_bytes()[:-40])
    assert run('--gt', folders.gt, '--results', packed) == 1
    assert f'{packed}: this is no complete zip file' in capsys.readouterr().err
    empty = folders.root / 'empty.zip'
    zipfile.ZipFile(empty, 'w').close()
    assert run('--gt', folders.gt, '--results', empty) == 1
    assert f'{empty}: no results in it' in capsys.readouterr().err


TRUTHS = {
    'tree': ('gt/mot_challenge/MOT17-train', 'gt/mot_challenge'),
    'tree from the top': ('gt/mot_challenge/MOT17-train', 'gt'),
    'data set': ('data/train', 'data'),
}


@pytest.mark.parametrize('name', TRUTHS)
def test_folders_of_ground_truth(folders, capsys, name):
    place, named = TRUTHS[name]
    expected = folders.official()
    target = folders.root / 'tree' / place
    target.parent.mkdir(parents=True)
    shutil.move(folders.gt, target)
    # Another split, with a seqmap as in TrackEval's tree.
    other = target.parent / 'other'
    (other / 'c' / 'gt').mkdir(parents=True)
    (other / 'c' / 'gt' / 'gt.txt').write_text('1,1,0,0,9,9,1,1,1\n')
    (target.parent / 'seqmaps').mkdir()
    (target.parent / 'seqmaps' / 'MOT17-train.txt').write_text('name\na\nb\n')
    gt = folders.root / 'tree' / named
    assert run('--gt', gt, '--results', folders.results) == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, expected)
    assert f'ground truth is read from {target}' in captured.err
    # Two splits with the same sequences: the user has to choose.
    shutil.copytree(target, target.parent / 'again')
    assert run('--gt', gt, '--results', folders.results) == 1
    message = capsys.readouterr().err
    assert str(target) in message and str(target.parent / 'again') in message


def test_sequence_that_is_named_itself(folders, capsys):
    """One level too low: the sequence alone, and its text."""
    result = folders.results / 'a.txt'
    expected = folders.official({'a': 20})
    for gt in ('a', 'a/gt', 'a/gt/gt.txt'):
        assert run('--gt', folders.gt / gt, '--results', result) == 0
        captured = capsys.readouterr()
        assert_equal(captured.out, expected, 'a')
    assert run('--gt', folders.gt / 'a', '--results', folders.results) == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, expected, 'a')
    assert 'b' in captured.err and f'--gt {folders.gt}' in captured.err


def test_texts_alone(folders, capsys):
    text = folders.results / 'a.txt'
    one, both = folders.official({'a': 20}), folders.official()
    other = folders.root / 'out.txt'
    shutil.copy(text, other)
    for gt, results in (
        (folders.gt, [text]),
        (folders.gt / 'a' / 'gt' / 'gt.txt', [text]),
        (folders.gt / 'a' / 'gt' / 'gt.txt', [other]),
        (folders.gt / 'a', [other]),
    ):
        assert run('--gt', gt, '--results', *results) == 0
        captured = capsys.readouterr()
        assert_equal(captured.out, one)
        assert '\nb ' not in captured.out
    flat = folders.root / 'flat.txt'
    shutil.copy(folders.gt / 'a' / 'gt' / 'gt.txt', flat)
    assert run('--gt', flat, '--results', other) == 0
    assert_equal(capsys.readouterr().out, one)
    # Texts of two sequences are results of one tracker.
    assert run('--gt', folders.gt, '--results', text, folders.results / 'b.txt') == 0
    assert_equal(capsys.readouterr().out, both)
    assert run('--gt', folders.gt, '--results', other) == 1
    assert 'no ground truth of out' in capsys.readouterr().err


def test_zip_of_ground_truth(folders, capsys):
    packed = folders.root / 'gt.zip'
    with zipfile.ZipFile(packed, 'w') as archive:
        for name in NAMES:
            text = folders.gt / name / 'gt' / 'gt.txt'
            archive.write(text, f'train/{name}/gt/gt.txt')
    assert run('--gt', packed, '--results', folders.results) == 0
    assert_equal(capsys.readouterr().out, folders.official())
    flat = folders.root / 'data.zip'
    with zipfile.ZipFile(flat, 'w') as archive:
        for name in NAMES:
            archive.write(folders.gt / name / 'gt' / 'gt.txt', f'{name}.txt')
    assert run('--gt', flat, '--results', folders.results) == 0
    assert_equal(capsys.readouterr().out, folders.official())


HINTS = {
    # Named for the ground truth, named for the results, what the message names.
    'results too low': ('gt', 'results/plots', 'results'),
    'results far too low': ('gt', 'results/plots/more', 'results'),
    'ground truth too low': ('gt/a/img1', 'results', 'gt'),
    'other names': ('gt', 'strange', 'strange'),
    'sides exchanged': ('results', 'gt', 'gt'),
}


@pytest.mark.parametrize('name', HINTS)
def test_hints(folders, capsys, name):
    (folders.results / 'plots' / 'more').mkdir(parents=True)
    (folders.gt / 'a' / 'img1').mkdir()
    (folders.root / 'strange').mkdir()
    (folders.root / 'strange' / 'x.txt').write_text('1,1,0,0,9,9,1,-1,-1,-1\n')
    gt, results, hint = HINTS[name]
    assert run('--gt', folders.root / gt, '--results', folders.root / results) == 1
    message = capsys.readouterr().err
    assert str(folders.root / hint) in message and message.count('\n') == 1


def test_ground_truth_of_one_text_without_results(folders, capsys):
    text = folders.root / 'other.txt'
    shutil.copy(folders.gt / 'a' / 'gt' / 'gt.txt', text)
    assert run('--gt', text, '--results', folders.results) == 1
    message = capsys.readouterr().err
    assert 'expected other.txt; found a, b' in message and message.count('\n') == 1
    assert f'Did you mean --gt {folders.gt}?' in message


@pytest.mark.parametrize('ending', ['.csv', '.TXT', '.json', '_pred.txt'])
def test_other_endings_are_named(folders, capsys, ending):
    for name in NAMES:
        (folders.results / f'{name}.txt').rename(folders.results / f'{name}{ending}')
    assert folders.evaluate() == 1
    message = capsys.readouterr().err
    assert 'expected' in message and 'a.txt' in message
    assert f'a{ending}'.removesuffix('.txt') in message
    one = folders.results / f'a{ending}'
    assert run('--gt', folders.gt, '--results', one) in (0, 1)
    captured = capsys.readouterr()
    if ending == '.json':
        assert f'{one}: found a file .json' in captured.err
    if ending == '.csv':
        assert shown(captured.out) == shown(captured.out, 'a')


def test_a_folder_for_each_sequence(folders, capsys):
    expected = folders.official()
    for name in NAMES:
        text = folders.results / f'{name}.txt'
        (folders.results / name).mkdir()
        text.rename(folders.results / name / text.name)
    assert folders.evaluate() == 0
    assert_equal(capsys.readouterr().out, expected)


def test_the_ground_truth_as_results_is_told(folders, capsys):
    flat = folders.root / 'flat'
    flat.mkdir()
    for name in NAMES:
        shutil.copy(folders.gt / name / 'gt' / 'gt.txt', flat / f'{name}.txt')
    assert run('--gt', flat, '--results', flat) == 0
    assert 'ground truth itself' in capsys.readouterr().err


def test_another_split_is_found(folders, capsys):
    """The results are of the split beside, or below, the one that is named."""
    other = folders.root / 'data' / 'val'
    shutil.copytree(folders.gt, other)
    (folders.root / 'data' / 'train' / 'c' / 'gt').mkdir(parents=True)
    text = folders.root / 'data' / 'train' / 'c' / 'gt' / 'gt.txt'
    text.write_text('1,1,0,0,9,9,1,1,1\n')
    gt = folders.root / 'data' / 'train'
    assert run('--gt', gt, '--results', folders.results) == 1
    assert f'Did you mean --gt {other}?' in capsys.readouterr().err


# Several trackers


@pytest.fixture
def trackers(folders):
    """Three trackers, of which the second lacks objects and the third is empty-ish."""
    for number, name in enumerate(('ours', 'theirs', 'simple')):
        for seed, sequence in enumerate(NAMES):
            gt, pred = moving(20, seed)
            pred = pred.select(pred.identity // 10 > number)
            folders.add(sequence, gt, pred, 20, results=folders.root / 'all' / name)
    return folders


def test_several_trackers(trackers, capsys):
    places = {name: trackers.root / 'all' / name for name in ('ours', 'theirs')}
    assert run('--gt', trackers.gt, '--results', *places.values()) == 0
    output = capsys.readouterr().out
    for name, place in places.items():
        assert_equal(output, trackers.official(results=place), name)
    # A table for each tracker follows, as all columns were asked for.
    assert output.count('COMBINED') == 2 and output.count('\na  ') == 2


LAYOUTS = ('{}', '{}/data', 'MOT17-train/{}/data', '{}/tracker')


@pytest.mark.parametrize('layout', LAYOUTS)
def test_folder_of_trackers(trackers, capsys, layout):
    root = trackers.root / 'trackers'
    names = ('ours', 'theirs', 'simple')
    for name in names:
        target = root / layout.format(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(trackers.root / 'all' / name, target)
    out = trackers.root / 'scores'
    assert run('--gt', trackers.gt, '--results', root, '--out', out) == 0
    output = capsys.readouterr().out
    rows = list(csv.DictReader((out / 'scores.csv').open()))
    document = json.loads((out / 'scores.json').read_text())
    assert list(document['trackers']) == sorted(names)
    for name in names:
        expected = trackers.official(results=trackers.root / 'all' / name)
        assert_equal(output, expected, name)
        combined = [row for row in rows if row['tracker'] == name]
        assert [row['sequence'] for row in combined] == ['a', 'b', 'COMBINED']
        kept = document['trackers'][name]['classes']['all']['COMBINED']
        for score in ('HOTA', 'MOTA', 'IDF1', 'IDSW'):
            assert float(combined[-1][score]) == pytest.approx(expected[score])
            assert kept[score] == pytest.approx(expected[score])


def test_zips_and_folders_at_once(trackers, capsys):
    packed = pack(trackers.root / 'packed' / 'zipped.zip', trackers.root / 'all/simple')
    ours = trackers.root / 'all' / 'ours'
    assert run('--gt', trackers.gt, '--results', packed, ours) == 0
    output = capsys.readouterr().out
    assert_equal(output, trackers.official(results=ours), 'ours')
    simple = trackers.official(results=trackers.root / 'all' / 'simple')
    assert_equal(output, simple, 'zipped')


def test_texts_of_several_trackers(trackers, capsys):
    places = [trackers.root / 'all' / name for name in ('ours', 'simple')]
    texts = [place / 'a.txt' for place in places]
    assert run('--gt', trackers.gt, '--results', *texts) == 0
    output = capsys.readouterr().out
    for place in places:
        assert_equal(output, trackers.official({'a': 20}, results=place), place.name)
    gt = trackers.gt / 'a' / 'gt' / 'gt.txt'
    named = [
        shutil.copy(text, trackers.root / f'{n}.txt') for n, text in enumerate(texts)
    ]
    assert run('--gt', gt, '--results', *named) == 0
    output = capsys.readouterr().out
    for number, place in enumerate(places):
        expected = trackers.official({'a': 20}, results=place)
        assert_equal(output, expected, str(number))


def test_trackers_of_one_name(trackers, capsys):
    for run_name in ('1', '2'):
        shutil.copytree(trackers.root / 'all' / 'ours', trackers.root / run_name / 'x')
    places = [trackers.root / run_name / 'x' for run_name in ('1', '2')]
    assert run('--gt', trackers.gt, '--results', *places) == 0
    output = capsys.readouterr().out
    for place in places:
        assert_equal(output, trackers.official(), str(place))


def test_a_tracker_that_is_named_twice_counts_once(trackers, capsys):
    ours, theirs = (trackers.root / 'all' / name for name in ('ours', 'theirs'))
    again = ours / '..' / 'ours'
    assert run('--gt', trackers.gt, '--results', ours, theirs, again) == 0
    output = capsys.readouterr().out
    assert output.count('COMBINED') == 2
    assert_equal(output, trackers.official(results=ours), 'ours')
    assert run('--gt', trackers.gt, '--results', ours, again) == 0
    assert capsys.readouterr().out.count('COMBINED') == 1


def test_a_broken_tracker_does_not_vanish(trackers, capsys):
    places = [trackers.root / 'all' / name for name in ('ours', 'theirs', 'simple')]
    (places[1] / 'b.txt').write_text('1,1,5,5,9\n')
    (places[2] / 'b.txt').unlink()
    out = trackers.root / 'scores.json'
    assert run('--gt', trackers.gt, '--results', *places, '--out', out) == 1
    captured = capsys.readouterr()
    assert_equal(captured.out, trackers.official(results=places[0]), 'ours')
    lines = captured.err.splitlines()
    theirs = next(line for line in lines if 'theirs: not scored' in line)
    assert f'{places[1]}/b.txt:1: ' in theirs
    simple = next(line for line in lines if 'simple: not scored' in line)
    assert 'b.txt' in simple
    assert list(json.loads(out.read_text())['trackers']) == ['ours']
    assert run('--gt', trackers.gt, '--results', *places[1:]) == 1
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('others', [('theirs', 'simple'), ('simple',)])
@pytest.mark.parametrize('broken', ['other names', 'empty'])
def test_a_tracker_without_results_does_not_vanish(trackers, capsys, others, broken):
    root = trackers.root / 'all'
    for name in {'theirs', 'simple'} - set(others):
        shutil.rmtree(root / name)
    for text in list((root / 'ours').iterdir()):
        if broken == 'empty':
            text.unlink()
        else:
            text.rename(text.with_name(f'{text.stem}_pred.txt'))
    assert run('--gt', trackers.gt, '--results', root) == 0
    captured = capsys.readouterr()
    expected = trackers.official(results=root / 'simple')
    assert_equal(captured.out, expected, 'simple' if others[1:] else 'COMBINED')
    said = f'no results of these sequences in {root / "ours"}' in captured.err
    assert said or (broken == 'empty' and not others[1:])


def test_trackers_of_different_sequences_are_told(trackers, capsys):
    """A number over other sequences is not to be compared."""
    (trackers.root / 'all' / 'theirs' / 'b.txt').unlink()
    places = [trackers.root / 'all' / name for name in ('ours', 'theirs')]
    assert run('--gt', trackers.gt, '--results', *places) == 1
    assert 'theirs: not scored' in capsys.readouterr().err


# From Python


def test_finding_from_python(trackers):
    (truth,) = find_truths(trackers.gt)
    assert truth.names == ['a', 'b'] and truth.frames('a').length == 20
    found = find_results([trackers.root / 'all'], truth.names)
    assert [name for name, _ in found] == ['ours', 'simple', 'theirs']
    with pytest.raises(ValueError, match='found 3 folders'):
        find_sequences(trackers.gt, trackers.root / 'all')
    files, extra = find_sequences(trackers.gt, trackers.root / 'all' / 'ours', ['a'])
    assert [file.name for file in files] == ['a'] and not extra
