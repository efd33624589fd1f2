# Copyright (c) mmfdta authors.
"""KITTI's text against the official data set class, and what is wrong with it."""

import numpy as np
import pytest
from trackeval.datasets import Kitti2DBox

from mmfdta.cli.main import main
from mmfdta.evaluation import Sequence, Settings, Tracks, evaluate
from mmfdta.evaluation.formats import open_truth
from mmfdta.evaluation.rules import select_scored

from .formats_oracle import (
    assert_equal_official,
    check,
    load_sides,
    official_evaluation,
    random_boxes,
    random_sides,
)

TYPES = ('Car', 'Car', 'Pedestrian', 'Van', 'Person', 'Cyclist', 'Truck', 'Misc')


def row(frame, identity, kind, box, truncated=0, occluded=0, score=None) -> str:
    corners = ' '.join(f'{value!r}' for value in map(float, box))
    end = '' if score is None else f' {score}'
    return (
        f'{frame} {identity} {kind} {truncated} {occluded} -10 {corners} '
        f'-1 -1 -1 -1000 -1000 -1000 -10{end}\n'
    )


def write_scene(folder, seed: int, name: str) -> int:
    """Write a random sequence with regions, types and flags; return its length."""
    rng, frames, gt, pred = random_sides(seed)
    types = rng.choice(TYPES, 64)
    lines = []
    for frame, identity, box in zip(gt.frame, gt.identity, gt.xyxy, strict=True):
        flags = rng.choice([0, 0, 0, 1, 2]), rng.choice([0, 0, 1, 2, 3])
        lines.append(row(frame - 1, identity, types[identity], box.round(2), *flags))
    for frame in range(frames):
        for region in random_boxes(rng, 'float', rng.integers(0, 3)):
            region[2:] += region[:2] + 30
            lines.append(row(frame, -1, 'DontCare', region.round(2), -1, -1))
    rng.shuffle(lines)
    (folder / 'gt' / 'label_02').mkdir(parents=True, exist_ok=True)
    (folder / 'tracker' / 'data').mkdir(parents=True, exist_ok=True)
    (folder / 'gt' / 'label_02' / f'{name}.txt').write_text(''.join(lines))
    types = np.where(rng.random(64) < 0.7, types, rng.choice(TYPES[:6], 64))
    (folder / 'tracker' / 'data' / f'{name}.txt').write_text(
        ''.join(
            row(f - 1, i, types[i], box.round(2), -1, -1, score=0.5)
            for f, i, box in zip(pred.frame, pred.identity, pred.xyxy, strict=True)
        )
    )
    return frames


def official(folder) -> Kitti2DBox:
    return Kitti2DBox(
        {
            'GT_FOLDER': str(folder / 'gt'),
            'TRACKERS_FOLDER': str(folder),
            'TRACKERS_TO_EVAL': ['tracker'],
            'PRINT_CONFIG': False,
        }
    )


def write_scenes(folder, seeds) -> None:
    lengths = {f'{s:04d}': write_scene(folder, s, f'{s:04d}') for s in seeds}
    (folder / 'gt' / 'evaluate_tracking.seqmap.training').write_text(
        ''.join(f'{n} empty 000000 {length:06d}\n' for n, length in lengths.items())
    )


def test_files_equal_official(tmp_path):
    write_scenes(tmp_path, range(40))
    assert_equal_official(tmp_path / 'gt', tmp_path / 'tracker', official(tmp_path))


def test_a_class_merged_with_its_lookalike_equals_official(tmp_path):
    """Cars and vans as one class are what cars are where every van is called a car."""
    write_scenes(tmp_path, range(20))
    _, sequences, _ = load_sides(tmp_path / 'gt', tmp_path / 'tracker')
    ours = evaluate(sequences, Settings('kitti', classes={'vehicle': (1, 2)}))
    assert any((s.gt.label == 2).any() and (s.pred.label == 2).any() for s in sequences)
    for path in tmp_path.glob('*/*/*.txt'):
        path.write_text(path.read_text().replace(' Van ', ' Car '))
    expected = official_evaluation(official(tmp_path))['car']['COMBINED']
    check(ours.of_class('vehicle'), expected, 'vehicle')


def test_results_of_exactly_25_pixels_do_not_count():
    boxes = [[0, 0, 9, height] for height in (24, 25, 25.01)]
    pred = Tracks.create([1] * 3, range(3), boxes, label=[1] * 3)
    sequence = Sequence('s', 1, Tracks.empty(), pred)
    scored = select_scored(sequence, 'kitti', (1,))
    assert scored.pred.identity.tolist() == [2]


@pytest.mark.parametrize('names', [('gt', 'label_02'), ('gt',), ('.',)])
def test_ground_truth_is_found(tmp_path, names):
    write_scenes(tmp_path, [3, 7])
    side = open_truth(tmp_path.joinpath(*names))
    assert side.benchmark == 'kitti'
    assert side.names == ['0003', '0007']
    assert side.read('0003').num_frames == side.lengths['0003']
    assert side.read('0003').class_names[4] == 'pedestrian'


def test_seqmaps_of_the_devkit_stand_side_by_side(tmp_path):
    """That of the test split names its sequences alike, with other lengths."""
    write_scenes(tmp_path, [3, 7])
    gt = tmp_path / 'gt'
    lengths = open_truth(gt).lengths
    (gt / 'evaluate_tracking.seqmap.test').write_text('0003 empty 000000 000465\n')
    (gt / 'evaluate_tracking.seqmap.val').write_text(
        f'0007 empty 000000 {lengths["0007"]:06d}\n'
    )
    assert open_truth(gt).lengths == lengths


def test_a_class_without_results_is_said(tmp_path, capsys):
    write_scenes(tmp_path, [3, 7])
    for path in (tmp_path / 'tracker' / 'data').glob('*.txt'):
        rows = path.read_text().splitlines(keepends=True)
        path.write_text(''.join(row for row in rows if ' Pedestrian ' not in row))
    paths = '--gt', f'{tmp_path}/gt', '--results', f'{tmp_path}/tracker'
    assert main(['evaluate', *paths]) == 0
    said = 'mmfdta evaluate: the results have no pedestrian: scores of 0, which lower'
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    'text',
    ['1,1,0,0,9,9,1,1,1\n', '1 1 0 0 9 9 1 1 1\n', '', '{"a": 1}', 'name\n0000\n'],
)
def test_other_text_is_not_kitti(tmp_path, text):
    (tmp_path / '0000.txt').write_text(text)
    assert open_truth(tmp_path) is None


BOX = 0, 0, 40, 80
NEXT = row(1, 2, 'Car', BOX)
GOOD = row(0, 1, 'Car', BOX) + row(1, 1, 'Car', BOX)
FAULTS = {
    'columns lack': (GOOD + '1 2 Car 0 0 -10 0 0 9 9\n', 'found 10 columns'),
    'columns are cut off': (GOOD + ' '.join(GOOD.split()[:16]), 'found 16 columns'),
    'too many columns': (GOOD + NEXT[:-1] + ' 1 1 1\n', '20 columns'),
    'no number': (
        GOOD + NEXT.replace('40.0', 'x'),
        "'x' for column 9",
    ),
    'NaN': (GOOD + NEXT.replace('40.0', 'nan'), "'nan' for column 9"),
    'unknown type': (GOOD + row(1, 2, 'Boat', BOX), "type 'Boat'"),
    'a number as type': (GOOD + row(1, 2, '1', BOX), "type '1'"),
    'types in another language': (GOOD + row(1, 2, 'Auto', BOX), "type 'Auto'"),
    'an empty type': (GOOD + row(1, 2, '', BOX), 'found 16 columns'),
    'swapped columns': (GOOD + row(1, 'Car', 2, BOX), "type '2'"),
    'frame beyond': (GOOD + row(2, 1, 'Car', BOX), 'frame 2, expected 0 to 1'),
    'far beyond': (GOOD + row(999999, 1, 'Car', BOX), 'frame 999999'),
    'negative frame': (GOOD + row(-1, 1, 'Car', BOX), 'frame -1'),
    'half a frame': (GOOD + row(0.5, 1, 'Car', BOX), "'0.5' for frame"),
    'no frame': (GOOD + row('x', 1, 'Car', BOX), "'x' for frame"),
    'identity twice': (GOOD + row(1, 1, 'Car', BOX), 'identity 1 of class car again'),
    'row twice': (GOOD + GOOD, 'identity 1 of class car again'),
    'identity three times': (GOOD + GOOD + GOOD, '0000.txt:1)'),
    'twice in another spelling': (GOOD + row(1, 1, 'CAR', BOX), 'again'),
    'twice, decimals': (GOOD + row(1, '1.0', 'Car', BOX), 'again'),
    'identities of detections': (row(0, -1, 'Car', BOX), 'negative identities only'),
    'half an identity': (GOOD + row(1, 1.5, 'Car', BOX), "'1.5' for id"),
}


@pytest.mark.parametrize('side', ['gt', 'results'])
@pytest.mark.parametrize('case', FAULTS)
def test_faults_are_one_line_with_file_and_line(tmp_path, capsys, case, side):
    text, message = FAULTS[case]
    for name, content in (('gt', GOOD), ('results', GOOD)):
        (tmp_path / name).mkdir()
        (tmp_path / name / '0000.txt').write_text(text if name == side else content)
    seqmap = tmp_path / 'gt' / 'evaluate_tracking.seqmap.val'
    seqmap.write_text('0000 empty 000000 000002\n')
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'results')
    assert main(['evaluate', *paths, '--processes', '1']) == 1
    captured = capsys.readouterr()
    assert captured.out == ''
    assert captured.err.count('\n') == 1
    assert message in captured.err
    assert str(tmp_path / side / '0000.txt') + ':' in captured.err


def test_command_scores_both_classes(tmp_path, capsys):
    write_scenes(tmp_path, [3, 7])
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'tracker')
    assert main(['evaluate', *paths, '--processes', '1']) == 0
    captured = capsys.readouterr()
    assert 'rules of kitti (KITTI): the ground truth is KITTI text' in captured.err
    lines = [line.rsplit(maxsplit=6)[0] for line in captured.out.splitlines()]
    assert 'pedestrian / 0003' in lines and 'car / COMBINED' in lines
    assert any(line.startswith('mean of classes') for line in lines)


@pytest.mark.parametrize('word', ['bus', 'car=2'])
def test_names_of_classes_are_those_of_the_format(tmp_path, capsys, word):
    write_scenes(tmp_path, range(4))
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'tracker')
    assert main(['evaluate', *paths, '--frames', 'all', '--classes', word]) == 1
    *_, message = capsys.readouterr().err.splitlines()
    assert 'the format has car=1, van=2' in message and 'labels.txt' not in message
