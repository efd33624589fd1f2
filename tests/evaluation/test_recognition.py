# Copyright (c) mmfdta authors.
"""Which rules are taken where nobody names a benchmark, and what is said of it."""

import numpy as np
import pytest

from mmfdta.cli.main import main
from mmfdta.evaluation import Sequence, Tracks
from mmfdta.evaluation.recognition import recognise
from mmfdta.structures.benchmarks import BENCHMARKS

# Classes and flags: as in MOT17, in MOT20, pedestrians only, none, of somebody's own.
MOT17 = ((1, 1), (1, 1), (7, 0), (11, 0), (3, 0))
MOT20 = (*MOT17, (6, 0))
PEDESTRIANS = ((1, 1), (1, 0))
NO_CLASS = ((-1, 1), (-1, 1))
TWO = ((1, 1), (2, 1))


def sequence(name: str, classes=PEDESTRIANS) -> Sequence:
    label, score = zip(*classes, strict=True)
    boxes = np.arange(4 * len(label)).reshape(-1, 4) + 1
    gt = Tracks.create([1] * len(label), range(len(label)), boxes, score, label)
    return Sequence(name, 1, gt, Tracks.empty())


NAMED = {
    'MOT16-02': 'mot16',
    'MOT17-02': 'mot17',
    'MOT17-13-SDP': 'mot17',
    'MOT20-05': 'mot20',
    'TUD-Stadtmitte': 'mot15',
    'KITTI-17': 'mot15',
    'dancetrack0065': 'dancetrack',
    'v_-6Os86HzwCs_c001': 'sportsmot',
    'minidance0003': 'minidance',
    'MOT17-02-YOLO': 'mot_challenge',
    'kitchen': 'mot_challenge',
}


@pytest.mark.parametrize('name', NAMED)
def test_names_tell_the_benchmark(name):
    classes = NO_CLASS if NAMED[name] == 'mot15' else PEDESTRIANS
    found = recognise([sequence(name, classes)])
    assert found.benchmark == NAMED[name]
    assert not found.in_doubt
    if found.benchmark != 'mot_challenge':
        assert BENCHMARKS[found.benchmark].title in str(found)


CLASSES = {
    'those of MOT17': (MOT17, '', 'mot17', False),
    'those of MOT20': (MOT20, '', 'mot_challenge', True),
    'those of MOT20, and the path says so': (MOT20, '/a/MOT20/train', 'mot20', False),
    'those of MOT17, and the path says so': (MOT20, '/a/mot17/x', 'mot17', False),
    'those of MOT16': (MOT17, '/MOT16/train', 'mot16', False),
    'a path of another name': (MOT17, '/MOT1700/train', 'mot17', False),
    'two own classes': (TWO, '/MOT17/train', 'mot_challenge', True),
    'own classes and flags': (((1, 1), (2, 0), (3, 1)), '', 'mot_challenge', True),
    'own classes, not flagged': (((1, 1), (7, 1), (8, 1)), '', 'mot_challenge', True),
    'beyond 13': ((*MOT17, (14, 0)), '', 'mot_challenge', True),
    'one other class flagged': (((1, 1), (2, 0)), '', 'mot_challenge', True),
    'one class': (PEDESTRIANS, '/MOT17/train', 'mot_challenge', False),
    'no class': (NO_CLASS, '', 'mot_challenge', False),
}


@pytest.mark.parametrize('case', CLASSES)
def test_classes_tell_the_benchmark(case):
    classes, where, benchmark, in_doubt = CLASSES[case]
    found = recognise([sequence('a', classes), sequence('b')], where)
    assert (found.benchmark, found.in_doubt) == (benchmark, in_doubt)
    if in_doubt:
        assert '--' in found.reason


CONFLICTS = {
    'named as MOT17, without classes': [sequence('MOT17-02', NO_CLASS)],
    'named as MOT17, other classes': [sequence('MOT17-02', ((1, 1), (20, 1)))],
    'named as MOT20 and MOT17': [sequence('MOT20-01'), sequence('MOT17-02')],
    'named as MOT17 and as nothing': [sequence('MOT17-02'), sequence('mine')],
    'one of MOT17 without classes': [
        sequence('MOT17-02'),
        sequence('MOT17-04', NO_CLASS),
    ],
}


@pytest.mark.parametrize('case', CONFLICTS)
def test_conflicts_take_the_plain_rules_and_name_the_option(case):
    found = recognise(CONFLICTS[case])
    assert found.benchmark == 'mot_challenge'
    assert found.in_doubt
    assert '--benchmark mot' in str(found)


def test_scores_by_class_are_not_those_of_mot17():
    found = recognise([sequence('MOT17-02', MOT17)], by_class=True)
    assert found.benchmark == 'mot_challenge'
    assert '--classes' in str(found)


def write(root, name: str, rows: str) -> None:
    for folder in (f'gt/{name}/gt', 'results'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / f'gt/{name}/gt/gt.txt').write_text(rows)
    # One result on the pedestrian, one on somebody who stands still.
    (root / f'results/{name}.txt').write_text(
        '1,1,0,0,10,20,1,-1,-1,-1\n1,2,50,0,10,20,1,-1,-1,-1\n'
    )


ROWS = '1,1,0,0,10,20,1,1,1\n1,2,50,0,10,20,0,7,1\n1,3,90,0,10,20,0,9,1\n'


@pytest.mark.parametrize(
    ('name', 'arguments', 'mota', 'said'),
    [
        ('MOT17-02-FRCNN', (), '100.000', 'rules of mot17 (MOT17): the sequences are'),
        ('renamed', (), '100.000', 'rules of mot17 (MOT17): column 8 holds classes'),
        ('renamed', ('--benchmark', 'mot_challenge'), '0.000', ''),
        ('MOT17-02-FRCNN', ('--benchmark', 'mot_challenge'), '0.000', ''),
        ('MOT16-02', ('--benchmark', 'mot16'), '100.000', ''),
    ],
)
def test_command_says_its_rules(tmp_path, capsys, name, arguments, mota, said):
    write(tmp_path, name, ROWS)
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'results')
    assert main(['evaluate', *paths, *arguments, '--processes', '1']) == 0
    captured = capsys.readouterr()
    head, *_, last = (line.split() for line in captured.out.splitlines())
    assert last[head.index('MOTA')] == mota
    assert captured.err.count('rules of') == bool(said)
    assert captured.err.startswith(f'mmfdta evaluate: {said}' if said else '')


@pytest.mark.parametrize(
    ('title', 'said'),
    [
        (
            'MOT20-01',
            'rules of mot20 (MOT20): the sequences are named',
        ),
        ('mine', 'rules of mot_challenge (all boxes count alike): column 8 holds'),
        ('', 'rules of mot_challenge (all boxes count alike): column 8 holds'),
    ],
)
def test_seqinfo_names_a_renamed_sequence(tmp_path, capsys, title, said):
    """With class 6 the classes alone do not tell MOT20 from MOT17."""
    write(tmp_path, 'renamed', f'{ROWS}1,4,150,0,10,20,0,6,1\n')
    ini = f'[Sequence]\nname={title}\nseqLength=1\n'
    (tmp_path / 'gt' / 'renamed' / 'seqinfo.ini').write_text(ini)
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'results')
    assert main(['evaluate', *paths, '--processes', '1']) == 0
    assert f'mmfdta evaluate: {said}' in capsys.readouterr().err


def test_timelines_follow_the_same_rules(tmp_path, capsys):
    write(tmp_path, 'MOT20-01', ROWS)
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'results')
    assert main(['plot-tracks', *paths, '--out', str(tmp_path / 'out')]) == 0
    assert 'mmfdta plot-tracks: rules of mot20 (MOT20)' in capsys.readouterr().err


KITTI = '0 1 Car 0 0 -10 0 0 40 80 -1 -1 -1 -1000 -1000 -1000 -10\n'
TEN_COLUMNS = '1,1,0,0,9,9,1,4,0,0\n'


@pytest.mark.parametrize(
    ('text', 'benchmark', 'message'),
    [
        ('1,1,0,0,9,9,1,1,1\n', 'kitti', 'found MOTChallenge text as ground truth'),
        ('1,1,0,0,9,9,1,1,1\n', 'visdrone', 'expected the files of VisDrone'),
        ('1,1,0,0,9,9,1,-1,-1,-1\n', 'uavdt', 'expected the files of UAVDT'),
        (KITTI, 'mot17', 'found KITTI text as ground truth, expected MOTChallenge'),
        (KITTI, 'mot20', 'found KITTI text as ground truth'),
        (KITTI, 'visdrone', 'found KITTI text as ground truth, expected the files'),
        (KITTI, 'bdd100k', 'found KITTI text as ground truth, expected the files'),
    ],
)
def test_rules_of_another_format_are_refused(
    tmp_path, capsys, text, benchmark, message
):
    for name in ('gt', 'results'):
        (tmp_path / name).mkdir()
        (tmp_path / name / '0000.txt').write_text(text)
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'results')
    assert main(['evaluate', *paths, '--benchmark', benchmark]) == 1
    captured = capsys.readouterr()
    assert captured.out == ''
    assert message in captured.err.splitlines()[-1]


def test_a_named_benchmark_decides_between_formats(tmp_path, capsys):
    """Ten columns may be VisDrone's or anybody's, until VisDrone is named."""
    for name in ('gt', 'results'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'mine.txt').write_text(TEN_COLUMNS)
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'results')
    assert main(['evaluate', *paths]) == 0
    assert 'car / COMBINED' not in capsys.readouterr().out
    assert main(['evaluate', *paths, '--benchmark', 'visdrone']) == 0
    assert 'car / COMBINED' in capsys.readouterr().out


def test_classes_of_a_format_are_known_by_name(tmp_path, capsys):
    for name in ('gt', 'results'):
        (tmp_path / name).mkdir()
        (tmp_path / name / '0000.txt').write_text(
            KITTI.replace('Car', 'Cyclist') + KITTI
        )
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'results')
    assert main(['evaluate', *paths, '--classes', 'cyclist', 'car']) == 0
    lines = capsys.readouterr().out.splitlines()
    scores = {line.split(' / ')[0]: line.split()[3] for line in lines if ' / ' in line}
    assert (scores['cyclist'], scores['car']) == ('100.000', '100.000')
    assert 'pedestrian' not in scores
    assert main(['evaluate', *paths, '--benchmark', 'mot_challenge']) == 0
    assert 'COMBINED  100.000' in capsys.readouterr().out
