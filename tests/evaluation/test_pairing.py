# Copyright (c) mmfdta authors.
"""Seqmaps, and names that differ between ground truth and results."""

import shutil

import pytest

from mmfdta.evaluation.pairing import read_seqmap

from .texts import Folders, assert_equal, moving, run

NAMES = ('MOT17-02', 'MOT17-04', 'MOT17-05')


@pytest.fixture
def folders(tmp_path):
    made = Folders(tmp_path)
    for seed, name in enumerate(NAMES):
        made.add(name, *moving(20, seed), 20)
    return made


SEQMAPS = {
    'plain': 'name\nMOT17-02\nMOT17-05\n',
    'blank lines': 'name\n\nMOT17-02\n\n\nMOT17-05\n\n',
    'Windows': 'name\r\nMOT17-02\r\nMOT17-05\r\n',
    'byte order mark': '\ufeffname\nMOT17-02\nMOT17-05',
    'spaces': ' name \nMOT17-02 \n MOT17-05\n',
    'columns': 'name,length\nMOT17-02,20\nMOT17-05,20\n',
    'quotes': '"name","split"\n"MOT17-02","val"\n"MOT17-05","val"\n',
    'trailing commas': 'name,\nMOT17-02,\n,\nMOT17-05,\n',
    'no title': 'MOT17-02\nMOT17-05\n',
    'as for KITTI': 'MOT17-02 empty 000000 000020\nMOT17-05 empty 000000 000020\n',
}


@pytest.mark.parametrize('name', SEQMAPS)
def test_seqmap_chooses(folders, capsys, name):
    seqmap = folders.root / 'val_seqmap.txt'
    seqmap.write_bytes(SEQMAPS[name].encode())
    assert folders.evaluate('--seqmap', seqmap) == 0
    captured = capsys.readouterr()
    expected = folders.official({'MOT17-02': 20, 'MOT17-05': 20})
    assert_equal(captured.out, expected)
    assert 'MOT17-04' not in captured.out
    assert ('is taken as the sequence MOT17-02' in captured.err) == (name == 'no title')


def test_seqmap_names_what_is_missing(folders, capsys):
    seqmap = folders.root / 'seqmap.txt'
    seqmap.write_text('name\nMOT17-02\nMOT17-09\n')
    assert folders.evaluate('--seqmap', seqmap) == 1
    message = capsys.readouterr().err
    assert 'no ground truth of MOT17-09' in message and str(seqmap) in message
    seqmap.write_text('name\nMOT17-02\nMOT17-04\n')
    (folders.results / 'MOT17-04.txt').unlink()
    assert folders.evaluate('--seqmap', seqmap) == 1
    assert '1 of 2 sequences' in capsys.readouterr().err
    assert folders.evaluate('--seqmap', seqmap, '--sequences', 'MOT17-02') == 1
    assert '--sequences and --seqmap' in capsys.readouterr().err


BAD = {
    'empty': (b'', 'found no sequences'),
    'title only': (b'name\n\n', 'found no sequences'),
    'twice': (b'name\na\nb\na\n', 'the sequence a twice'),
    'not text': (b'name\n\xff\xfe\n', 'not UTF-8'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_seqmap(tmp_path, name):
    content, message = BAD[name]
    path = tmp_path / 'seqmap.txt'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_seqmap(path)
    assert str(path) in str(error.value)


def test_missing_seqmap(folders, capsys):
    assert folders.evaluate('--seqmap', folders.root / 'nil.txt') == 1
    assert 'nil.txt' in capsys.readouterr().err


def rename(folder, add='', remove=''):
    for path in list(folder.iterdir()):
        name = path.name.removesuffix('.txt')
        ending = '.txt' if path.is_file() else ''
        path.rename(path.with_name(name.removesuffix(remove) + add + ending))


@pytest.mark.parametrize('side', ['results', 'gt'])
@pytest.mark.parametrize('detector', ['FRCNN', 'DPM', 'SDP'])
def test_detector_on_one_side(folders, capsys, side, detector):
    expected = folders.official()
    rename(getattr(folders, side), f'-{detector}')
    assert folders.evaluate('--benchmark', 'mot_challenge') == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, expected)
    assert f'MOT17-02-{detector}' in captured.err
    one = ('--sequences', 'MOT17-04')
    assert folders.evaluate('--benchmark', 'mot_challenge', *one) == 0
    captured = capsys.readouterr()
    assert '\nMOT17-04' in captured.out and 'MOT17-05' not in captured.out


def add_copies(folders):
    """Copy every ground truth for each detector, as MOT17 comes."""
    for name in NAMES:
        for detector in ('DPM', 'FRCNN', 'SDP'):
            shutil.copytree(folders.gt / name, folders.gt / f'{name}-{detector}')
        shutil.rmtree(folders.gt / name)


def test_three_copies_of_the_ground_truth_count_once(folders, capsys):
    expected = folders.official()
    add_copies(folders)
    assert folders.evaluate('--benchmark', 'mot_challenge') == 0
    assert_equal(capsys.readouterr().out, expected)
    text = folders.gt / 'MOT17-04-SDP' / 'gt' / 'gt.txt'
    text.write_text(text.read_text().replace(',1,1,1\n', ',1,1,0.5\n'))
    assert folders.evaluate('--benchmark', 'mot_challenge') == 1
    message = capsys.readouterr().err
    assert 'MOT17-04-FRCNN' in message and '--sequences' in message
    pattern = ('--sequences', 'MOT17-*-FRCNN')
    assert folders.evaluate('--benchmark', 'mot_challenge', *pattern) == 0
    assert_equal(capsys.readouterr().out, expected)


def test_three_results_for_one_ground_truth(folders, capsys):
    """All 21 results of MOT17 against its ground truth without detectors."""
    results = folders.root / 'tree' / 'results'
    results.mkdir(parents=True)
    copies = Folders(folders.root / 'tree')
    for seed, name in enumerate(NAMES):
        for number, detector in enumerate(('DPM', 'FRCNN', 'SDP')):
            gt, pred = moving(20, seed)
            kept = pred.select(pred.identity // 10 > number)
            copies.add(f'{name}-{detector}', gt, kept, 20)
    folders.results = results
    assert folders.evaluate('--benchmark', 'mot_challenge') == 0
    captured = capsys.readouterr()
    assert_equal(captured.out, copies.official())
    one = ('--sequences', 'MOT17-02-SDP')
    assert folders.evaluate('--benchmark', 'mot_challenge', *one) == 0
    assert_equal(capsys.readouterr().out, copies.official({'MOT17-02-SDP': 20}))


def test_results_of_one_detector_against_three_copies(folders, capsys):
    """The usual folder of MOT17, and results for one detector."""
    add_copies(folders)
    expected_names = {f'{name}-FRCNN': 20 for name in NAMES}
    rename(folders.results, '-FRCNN')
    assert folders.evaluate('--benchmark', 'mot_challenge') == 1
    message = capsys.readouterr().err
    assert '6 of 9 sequences' in message and "--sequences '*-FRCNN'" in message
    seqmap = folders.root / 'seqmap.txt'
    seqmap.write_text('name\n' + '\n'.join(expected_names))
    assert folders.evaluate('--benchmark', 'mot_challenge', '--seqmap', seqmap) == 0
    assert_equal(capsys.readouterr().out, folders.official(expected_names))


def test_other_names_are_not_guessed(folders, capsys):
    rename(folders.results, '_result')
    assert folders.evaluate() == 1
    message = capsys.readouterr().err
    assert 'expected MOT17-02.txt' in message and 'MOT17-02_result' in message
    text = folders.results / 'MOT17-02_result.txt'
    assert run('--gt', folders.gt, '--results', text) == 1
    assert 'no ground truth of MOT17-02_result' in capsys.readouterr().err
    # There is one choice where both sides are alone.
    one = folders.gt / 'MOT17-02'
    assert run('--gt', one, '--results', text, '--benchmark', 'mot_challenge') == 0
    captured = capsys.readouterr()
    assert 'COMBINED' in captured.out
