# Copyright (c) mmfdta authors.
"""VisDrone and UAVDT against their toolkits' rules, drawn pixel by pixel."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmfdta.cli.main import main
from mmfdta.evaluation import Sequence, Settings, Tracks, evaluate, select_scored
from mmfdta.evaluation.formats import open_truth

from .formats_oracle import check, load_sides, random_boxes, random_sides
from .oracle import official_sequence

EVALUATED = {'pedestrian': 1, 'car': 4, 'van': 5, 'truck': 6, 'bus': 9}
SIZE = 700


def rows(tracks: Tracks, tail) -> str:
    columns = zip(tracks.frame, tracks.identity, tracks.xywh, tracks.label, strict=True)
    return ''.join(
        f'{f},{i},{",".join(f"{v:g}" for v in box)},{tail(label)}\n'
        for f, i, box, label in columns
    )


def scene(seed: int) -> tuple[int, Tracks, Tracks, Tracks]:
    """Draw length, ground truth with categories, regions and results."""
    rng, frames, gt, pred = random_sides(seed)
    labels = rng.choice([1, 4, 4, 5, 6, 9, 2, 10], 64)
    offset = rng.choice([0, -15, 40])
    gt, pred = (
        replace(t, label=labels[t.identity], xywh=t.xywh + [offset, offset, 0, 0])
        for t in (gt, pred)
    )
    frame = np.sort(rng.integers(1, frames + 1, rng.integers(0, 3 * frames)))
    xywh = random_boxes(rng, 'float', len(frame)) + [offset, offset, 60, 60]
    if seed % 2:  # toolkits round to pixels; whole numbers hit their borders
        gt, pred = (replace(t, xywh=t.xywh.round()) for t in (gt, pred))
        xywh = xywh.round()
    label = rng.choice([0, 11], len(frame))
    regions = Tracks.create(frame, np.zeros(len(frame)), xywh, label=label)
    return frames, gt, regions, pred


def drop_drawn(tracks: Tracks, regions: Tracks) -> Tracks:
    """Do what `dropObjects.m` does, with a map of pixels."""

    def whole(value: float, least: int = 1) -> int:
        return max(least, int(np.floor(value + 0.5)))

    keep = []
    for frame, xywh in zip(tracks.frame, tracks.xywh, strict=True):
        drawn = np.zeros((2 * SIZE, 2 * SIZE))  # [y, x], counted from 1
        here = regions.xywh[regions.frame == frame]
        for region in here:
            x, y, w, h = map(whole, region)
            drawn[y : y + h + 1, x : x + w + 1] = 1
        x, y, w, h = map(whole, xywh)
        under = drawn[y + 1 : y + h + 1, x + 1 : x + w + 1].sum()
        keep.append(not len(here) or under / (h * w) < 0.5)
    return tracks.select(np.array(keep, dtype=bool))


def drop_inside(tracks: Tracks, regions: Tracks) -> Tracks:
    """Do what `evaluateTracking.m` of UAVDT does, region by region."""
    keep = np.ones(len(tracks), dtype=bool)
    x, y, w, h = tracks.xywh.T
    for frame, (left, top, width, height) in zip(
        regions.frame, regions.xywh, strict=True
    ):
        keep &= ~(
            (tracks.frame == frame)
            & (x > left)
            & (y > top)
            & (x + w < left + width)
            & (y + h < top + height)
        )
    return tracks.select(keep)


def evaluate_files(gt: Path, results: Path):
    tracker, sequences, remarks = load_sides(gt, results)
    return evaluate(sequences, Settings(tracker.truth.benchmark)), remarks


def test_visdrone_equals_its_toolkit(tmp_path):
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'results').mkdir()
    scenes = {f'uav{seed:07d}_00000_v': scene(seed) for seed in range(24)}
    for name, (frames, gt, regions, pred) in scenes.items():
        truth = rows(gt, lambda c: f'1,{c},0,1') + rows(regions, lambda c: f'0,{c},0,0')
        (tmp_path / 'annotations' / f'{name}.txt').write_text(truth)
        (tmp_path / 'results' / f'{name}.txt').write_text(
            rows(pred, lambda c: f'0.9,{c},-1,-1')
        )
        (tmp_path / 'sequences' / name).mkdir(parents=True)
        for frame in range(frames):
            (tmp_path / 'sequences' / name / f'{frame + 1:07d}.jpg').touch()
    ours, _ = evaluate_files(tmp_path, tmp_path / 'results')
    assert set(ours.classes) == set(EVALUATED)
    dropped = 0
    for name, (frames, gt, regions, pred) in scenes.items():
        sides = [drop_drawn(side, regions) for side in (gt, pred)]
        dropped += len(pred) - len(sides[1])
        for label, number in EVALUATED.items():
            kept = [side.select(side.label == number) for side in sides]
            official = official_sequence(Sequence(name, frames, *kept))
            check(ours.of_sequence(name, label), official, f'{label} {name}')
    assert dropped > 50


def test_half_of_a_box_is_dropped_and_less_is_not():
    regions = Tracks.create([1], [0], [[10, 10, 9, 19]])  # columns 10 to 19
    boxes = [[9, 10, 19, 19], [9, 10, 20, 19], [9, 10, 21, 19], [0.6, 9, 19, 10]]
    boxes.append([9, 10, 20.5, 19])  # 21 wide: halves go up
    tracks = Tracks.create([1] * 5, range(5), boxes, label=[1] * 5)
    kept = drop_drawn(tracks, regions).identity.tolist()
    sequence = Sequence('s', 1, tracks, tracks, regions)
    ours = select_scored(sequence, 'visdrone', (1,))
    assert ours.gt.identity.tolist() == ours.pred.identity.tolist() == kept
    assert kept == [2, 4]


@pytest.mark.parametrize('whole', [False, True])
def test_uavdt_equals_its_toolkit(tmp_path, whole):
    (tmp_path / 'GT').mkdir()
    (tmp_path / 'results').mkdir()
    scenes = {f'M{seed:04d}': scene(seed + 100) for seed in range(12)}
    for name, (frames, gt, regions, pred) in scenes.items():
        # A region around a result, and one that shares a border with it.
        around = pred.select(slice(0, 4))
        around = replace(around, xywh=around.xywh + [-1, -1, 2, 2])
        touching = pred.select(slice(4, 6))
        touching = replace(touching, xywh=touching.xywh + [0, -1, 2, 2])
        regions = Tracks.concatenate([regions, around, touching])
        scenes[name] = frames, gt, regions, pred
        suffix, tail = ('_whole', '1,1,2') if whole else ('', '1,-1,-1')
        texts = {
            f'GT/{name}_gt{suffix}.txt': rows(gt, lambda c, tail=tail: tail),
            f'GT/{name}_gt_ignore.txt': rows(regions, lambda c: '1,-1,-1'),
            f'results/{name}.txt': rows(pred, lambda c: '0.9,-1,-1,-1'),
        }
        for path, text in texts.items():
            (tmp_path / path).write_text(text)
    ours, remarks = evaluate_files(tmp_path, tmp_path / 'results')
    assert any('labels for detection' in remark for remark in remarks) == whole
    dropped = 0
    for name, (frames, gt, regions, pred) in scenes.items():
        kept = drop_inside(pred, regions)
        dropped += len(pred) - len(kept)
        last = max(t.frame.max(initial=1) for t in (gt, pred, regions))
        official = official_sequence(Sequence(name, min(frames, int(last)), gt, kept))
        check(ours.of_sequence(name), official, name)
    assert dropped > 10


def test_rows_that_are_not_scored(tmp_path):
    text = '1,1,0,0,10,10,0,-1,-1\n1,2,50,50,10,10,1,-1,-1\n'
    (tmp_path / 'M0101_gt.txt').write_text(text)
    side = open_truth(tmp_path)
    assert side.read('M0101').tracks.score.tolist() == [0, 1]
    text = '1,1,0,0,10,10,0,4,0,0\n1,2,50,50,10,10,1,4,0,0\n'
    (tmp_path / 'v').mkdir()
    (tmp_path / 'v' / 'uav0000086_00000_v.txt').write_text(text)
    found = open_truth(tmp_path / 'v').read('uav0000086_00000_v')
    assert found.tracks.identity.tolist() == [2]
    assert found.ignored.identity.tolist() == [1]


OTHERS = {
    'MOT15': ('TUD-Campus', '1,1,399,182,121,229,1,-1,-1,-1\n'),
    'MOT15 in the world': ('TUD-Stadtmitte', '1,1,88,99,61,218,1,4.4,5.5,0\n'),
    'MOT17': ('MOT17-02', '1,1,9,9,9,9,1,1,0.5\n'),
    'ten columns of ones': ('mine', '1,1,9,9,9,9,1,1,1,1\n'),
    'a result': ('uav0000086_00000_v', '1,1,9,9,9,9,0.9,4,-1,-1\n'),
    'an M and a number': ('M0101', '1,1,9,9,9,9,1,-1,-1\n'),
}


@pytest.mark.parametrize('case', OTHERS)
def test_other_text_is_neither(tmp_path, case):
    name, text = OTHERS[case]
    (tmp_path / f'{name}.txt').write_text(text)
    assert open_truth(tmp_path) is None


GOOD = '1,1,0,0,9,9,1,4,0,0\n1,2,50,50,9,9,1,4,0,0\n2,1,0,0,9,9,1,4,0,0\n'
RESULT = '1,1,0,0,9,9,0.9,4,-1,-1\n'
NAME = 'uav0000086_00000_v'
FAULTS = {
    'columns lack': ('gt', GOOD + '2,2,0,0,9\n', 'found 5 columns'),
    'last columns lack': ('gt', GOOD + '2,2,0,0,9,9,1,4\n', 'found 8 columns'),
    'no category': ('gt', GOOD + '2,2,0,0,9,9,1,-1,0,0\n', 'category -1 in column 8'),
    'category 12': ('gt', GOOD + '2,2,0,0,9,9,1,12,0,0\n', 'category 12 in column 8'),
    'category 99': ('gt', GOOD + '2,2,0,0,9,9,1,99,0,0\n', 'category 99'),
    'category a word': ('gt', GOOD + '2,2,0,0,9,9,1,car,0,0\n', "'car'"),
    'frame beyond': ('gt', GOOD + '3,1,0,0,9,9,1,4,0,0\n', 'found frame 3'),
    'frame 0': ('gt', GOOD + '0,1,0,0,9,9,1,4,0,0\n', 'frame'),
    'region beyond': ('gt', GOOD + '9,0,0,0,9,9,0,0,0,0\n', 'found frame 9'),
    'negative frame': ('gt', GOOD + '-1,1,0,0,9,9,1,4,0,0\n', 'frame'),
    'identity twice': ('gt', GOOD + '2,1,5,5,9,9,1,4,0,0\n', 'identity 1 of class car'),
    'NaN': ('gt', GOOD + '2,2,nan,0,9,9,1,4,0,0\n', "'nan' for x"),
    'a word': ('gt', GOOD + '2,2,x,0,9,9,1,4,0,0\n', "'x' for x"),
    'result beyond': ('results', RESULT + '3,1,0,0,9,9,1,4,-1,-1\n', 'found frame 3'),
    'result twice': ('results', RESULT + RESULT, 'occurs again in frame 1'),
    'result without class': ('results', '1,1,0,0,9,9,1,-1,-1,-1\n', 'no class'),
    'result of 7 columns': ('results', '1,1,0,0,9,9,1\n', 'found 7 columns'),
    'result a word': ('results', '1,1,0,x,9,9,1,4,-1,-1\n', "'x' for y"),
    'result NaN': ('results', '1,1,0,0,nan,9,1,4,-1,-1\n', "'nan' for w"),
    'result frame 0': ('results', '0,1,0,0,9,9,1,4,-1,-1\n', 'frame'),
}


@pytest.mark.parametrize('case', FAULTS)
def test_faults_are_one_line_with_file_and_line(tmp_path, capsys, case):
    side, text, message = FAULTS[case]
    for name, content in (('gt', GOOD), ('results', RESULT)):
        folder = tmp_path / name / ('annotations' if name == 'gt' else '')
        folder.mkdir(parents=True)
        (folder / f'{NAME}.txt').write_text(text if name == side else content)
    images = tmp_path / 'gt' / 'sequences' / NAME
    images.mkdir(parents=True)
    for frame in (1, 2):
        (images / f'{frame:07d}.jpg').touch()
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'results')
    assert main(['evaluate', *paths, '--processes', '1']) == 1
    captured = capsys.readouterr()
    assert captured.out == ''
    assert captured.err.count('\n') == 1
    assert message in captured.err
    assert f'{NAME}.txt:' in captured.err


UAVDT = '1,1,0,0,9,9,1,1,2\n2,1,0,0,9,9,1,1,2\n'
UAVDT_FAULTS = {
    'columns lack': ('_gt', '1,1,0,0,9,9\n', 'found 6 columns'),
    'columns of the labels lack': ('_gt_whole', '1,1,0,0,9,9,1\n', 'found 7 columns'),
    'category 4': ('_gt_whole', UAVDT + '2,2,0,0,9,9,1,1,4\n', 'category 4'),
    'category 0': ('_gt_whole', UAVDT + '2,2,0,0,9,9,1,1,0\n', 'category 0'),
    'category -1': ('_gt_whole', UAVDT + '2,2,0,0,9,9,1,1,-1\n', 'category -1'),
    'identity twice': ('_gt', UAVDT + '2,1,5,5,9,9,1,1,2\n', 'identity 1'),
    'of two classes': ('_gt_whole', UAVDT + '2,1,5,5,9,9,1,1,3\n', 'identity 1'),
    'region is cut off': ('_gt_ignore', '1,1,0,0\n', 'found 4 columns'),
    'region is a word': ('_gt_ignore', '1,1,0,0,9,x\n', "'x' for h"),
    'region in frame 0': ('_gt_ignore', '0,1,0,0,9,9\n', 'frame'),
    'frame beyond': ('_gt', UAVDT + '3,1,0,0,9,9,1,1,2\n', 'found frame 3'),
    'region beyond': ('_gt_ignore', '3,1,0,0,9,9\n', 'found frame 3'),
}


@pytest.mark.parametrize('case', UAVDT_FAULTS)
def test_faults_of_uavdt_are_one_line(tmp_path, capsys, case):
    suffix, text, message = UAVDT_FAULTS[case]
    folder = tmp_path / 'GT'
    folder.mkdir()
    if suffix == '_gt_ignore':
        (folder / 'M0101_gt.txt').write_text(UAVDT)
    (folder / f'M0101{suffix}.txt').write_text(text)
    images = tmp_path / 'UAV-benchmark-M' / 'M0101'
    images.mkdir(parents=True)
    for frame in (1, 2):
        (images / f'img{frame:06d}.jpg').touch()
    (tmp_path / 'M0101.txt').write_text('1,1,0,0,9,9,0.9,-1,-1,-1\n')
    paths = '--gt', str(folder), '--results', str(tmp_path / 'M0101.txt')
    assert main(['evaluate', *paths, '--processes', '1']) == 1
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == '' and message in lines[-1]
    assert f'M0101{suffix}.txt:' in lines[-1]
    assert len(lines) == 1 + (suffix == '_gt_whole')


@pytest.mark.parametrize(
    ('categories', 'message'),
    [
        ((0, 3), 'add 1 to the class numbers of the results'),
        ((2, 5), 'take 1 off the class numbers of the results'),
        ((0, 11), 'classes 0 ignored region (1 rows), 11 others (1 rows), none of'),
        ((3, 8), '3 bicycle (1 rows), 8 awning-tricycle (1 rows), none of which is'),
        ((7, 7), 'class 7 tricycle (2 rows), none of which is scored'),
    ],
)
def test_results_of_categories_that_are_not_scored(
    tmp_path, capsys, categories, message
):
    gt = tmp_path / 'gt' / 'annotations' / f'{NAME}.txt'
    gt.parent.mkdir(parents=True)
    gt.write_text('1,1,0,0,9,9,1,1,0,0\n1,2,50,50,9,9,1,4,0,0\n')
    one, other = categories
    result = tmp_path / f'{NAME}.txt'
    result.write_text(f'1,1,0,0,9,9,1,{one},-1,-1\n1,2,50,50,9,9,1,{other},-1,-1\n')
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(result)
    assert main(['evaluate', *paths, '--processes', '1']) == 1
    captured = capsys.readouterr()
    assert captured.out == '' and message in captured.err
    assert 'broken off' not in captured.err
