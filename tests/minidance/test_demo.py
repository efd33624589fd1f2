# Copyright (c) mmfdta authors.
"""The demo, tiny: every stage once, then nothing again."""

import json
from pathlib import Path

import cv2
import mmdet
import numpy as np
import pytest
import tiny_demo
import torch
from mmengine.config import Config

from mmfdta.cli.main import main
from mmfdta.evaluation import TrackBoxes
from mmfdta.minidance.demo.comparison import Outcome, markdown_table, score, tune
from mmfdta.minidance.demo.neighbours import NEIGHBOURS, FrameDetections, run_neighbour
from mmfdta.minidance.demo.pictures import read_losses
from mmfdta.minidance.demo.tracking import TrackedSequence
from mmfdta.minidance.stages import Stage, run_stages


def run_demo(folder, capsys):
    settings = tiny_demo.command_line()
    folders = ['--work-dir', str(folder / 'work'), '--data-root', str(folder / 'data')]
    code = main(['demo', *folders, '--processes', '1', '--cfg-options', *settings])
    return code, capsys.readouterr()


def test_the_demo_leaves_everything_and_reuses_it(tmp_path, capsys):
    code, first = run_demo(tmp_path, capsys)
    assert code == 0
    work = tmp_path / 'work'
    table = (work / 'scores.md').read_text()
    assert table in first.out
    rows = [line.split('|')[1].strip() for line in table.splitlines()]
    assert rows[2:] == ['FDTA', 'ByteTrack', 'ByteTrack (tuned)', 'OC-SORT'] + [
        'OC-SORT (tuned)',
        'SORT',
        'SORT (tuned)',
    ]
    document = json.loads((work / 'scores.json').read_text())
    assert [t['name'] for t in document['trackers']] == rows[2:]
    assert (work / 'scores.csv').read_text().count('\n') == 8
    for name in ('scores', 'hota', 'training', 'similarity'):
        assert cv2.imread(str(work / f'{name}.png')) is not None
    video = cv2.VideoCapture(str(work / 'fdta_vs_bytetrack.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == tiny_demo.SIZES['frames']
    weights = torch.load(work / 'fdta.pth', weights_only=False)['state_dict']
    assert any(name.startswith('id_decoder.') for name in weights)
    detector = torch.load(work / 'detector.pth', weights_only=False)['state_dict']
    for name, value in detector.items():
        assert torch.equal(weights[f'detector.{name}'], value)
    curves = [read_losses(work / f'train_{name}') for name in ('detector', 'fdta')]
    assert [len(line['loss_cls']) for line in curves] == [2, 2]
    assert ['loss_id' in line for line in curves] == [False, True]
    for stage in range(1, 6):
        assert f'[{stage}/5]' in first.out
        assert f'{stage}/5' in first.out

    stamps = {p: p.stat().st_mtime_ns for p in work.rglob('*') if p.is_file()}
    code, second = run_demo(tmp_path, capsys)
    assert code == 0
    assert second.out.count('reused') == 5
    assert table in second.out
    assert {p: p.stat().st_mtime_ns for p in work.rglob('*') if p.is_file()} == stamps

    (work / 'scores.png').unlink()
    code, third = run_demo(tmp_path, capsys)
    assert third.out.count('reused') == 4
    assert (work / 'scores.png').is_file()


def test_foreign_data_is_refused_with_one_line(tmp_path, capsys):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'cat.jpg').write_text('')
    code, said = run_demo(tmp_path, capsys)
    assert code == 1
    assert said.err.startswith('mmfdta demo: ')
    assert 'no MiniDance data set' in said.err


def test_a_stage_is_done_anew_when_what_it_stands_on_changes(tmp_path, capsys):
    done = []

    def stages(first):
        def make(name):
            def run():
                done.append(name)
                (tmp_path / name).write_text('')

            return run

        inputs = dict(a=first, b='')
        return [
            Stage(name, name, 1, inputs[name], make(name), (tmp_path / name,))
            for name in ('a', 'b')
        ]

    run_stages(stages('x'), tmp_path)
    run_stages(stages('x'), tmp_path)
    assert done == ['a', 'b']
    run_stages(stages('y'), tmp_path)
    assert done == ['a', 'b', 'a', 'b']
    (tmp_path / 'b').unlink()
    run_stages(stages('y'), tmp_path)
    assert done == ['a', 'b', 'a', 'b', 'b']
    (tmp_path / '.stages' / 'a.json').write_text('{"inp')
    run_stages(stages('y'), tmp_path)
    assert done[5:] == ['a']


def walk(jump_at=None, frames=12):
    """Two objects that walk side by side; from a frame on they change places."""
    detections, rows = [], []
    for t in range(frames):
        places = [(10.0 + 2 * t, 20.0), (10.0 + 2 * t, 200.0)]
        if jump_at is not None and t >= jump_at:
            places.reverse()
        boxes = np.array([(x, y, x + 40, y + 60) for x, y in places], np.float32)
        detections.append(FrameDetections(boxes, np.full(2, 0.9, np.float32)))
        rows += [(t + 1, i, x, y, 40, 60) for i, (x, y) in enumerate(places)]
    table = np.array(rows, float)
    truth = TrackBoxes.create(table[:, 0], table[:, 1], table[:, 2:])
    nothing = TrackBoxes.create([], [], np.zeros((0, 4)))
    return TrackedSequence('walk', [''] * frames, truth, nothing, detections)


@pytest.mark.parametrize('neighbour', NEIGHBOURS, ids=lambda n: n.name)
def test_neighbours_follow_motion_and_not_looks(neighbour):
    for settings in neighbour.variants():
        easy, hard = walk(), walk(jump_at=6)
        tracks = [run_neighbour(settings, item.detections) for item in (easy, hard)]
        followed, fooled = (
            score([item], [boxes]).of_class('all')
            for item, boxes in zip((easy, hard), tracks, strict=True)
        )
        assert followed['HOTA'].mean() == pytest.approx(1)
        assert followed['IDSW'] == 0
        assert fooled['DetA'].mean() == pytest.approx(1)
        assert fooled['IDSW'] == 2


@pytest.mark.parametrize('neighbour', NEIGHBOURS, ids=lambda n: n.name)
def test_frames_without_detections_are_survived(neighbour):
    nothing = FrameDetections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    frames = [nothing, *walk().detections[:4], nothing, *walk().detections[6:]]
    tracks = run_neighbour(neighbour.published, frames)
    assert set(tracks.frame) == {2, 3, 4, 5, 7, 8, 9, 10, 11, 12}


def test_tuning_takes_what_is_best_on_the_given_split():
    """Objects too fast for a strict overlap need the loosest threshold."""
    item = walk()
    step = np.array([14, 0, 14, 0], np.float32)
    fast = [
        FrameDetections(f.boxes + t * step, f.scores)
        for t, f in enumerate(item.detections)
    ]
    truth = item.truth
    xywh = truth.xywh.copy()
    xywh[:, 0] += 14 * (truth.frame - 1)
    truth = TrackBoxes.create(truth.frame, truth.identity, xywh)
    item = TrackedSequence(item.name, item.image_paths, truth, truth, fast)
    sort = next(n for n in NEIGHBOURS if n.name == 'SORT')
    assert tune(sort, [item])['match_iou_thr'] < sort.published['match_iou_thr']


def test_neighbours_keep_the_published_settings_of_mmdetection():
    configs = Path(mmdet.__file__).parent / '.mim' / 'configs'
    text = {
        'ByteTrack': 'bytetrack/bytetrack_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_'
        'test-mot17halfval.py',
        'OC-SORT': 'ocsort/ocsort_yolox_x_8xb4-amp-80e_crowdhuman-mot17halftrain_'
        'test-mot17halfval.py',
        'SORT': 'sort/sort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_'
        'test-mot17halfval.py',
    }
    for neighbour in NEIGHBOURS:
        tracker = Config.fromfile(configs / text[neighbour.name]).model.tracker
        assert dict(tracker) == neighbour.published


def test_the_table_holds_the_scores():
    item = walk()
    perfect = score([item], [item.truth])
    line = markdown_table([Outcome('truth', perfect, [item.truth], {})]).splitlines()
    assert [cell.strip() for cell in line[2].split('|')[1:-1]] == [
        'truth',
        '100.0',
        '100.0',
        '100.0',
        '100.0',
        '100.0',
        '0',
    ]
