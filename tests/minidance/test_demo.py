# Copyright (c) mmfdta authors.
"""The demo, tiny: every stage once, then nothing again."""

import itertools
import json
import time
from pathlib import Path

import cv2
import mmdet
import numpy as np
import pytest
import tiny_demo
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmfdta.apis.benchmark import Entry, EntryResult
from mmfdta.apis.config import find_config
from mmfdta.apis.evaluation_data import EvaluationData
from mmfdta.apis.weights import find_checkpoint
from mmfdta.checkpoints import read_state_dict
from mmfdta.cli.main import main
from mmfdta.evaluation import Settings, evaluate
from mmfdta.minidance import MiniDanceOptions, build_scene, make_minidance
from mmfdta.minidance.demo import (
    BASELINES,
    describe_comparison,
    read_losses,
    write_scores,
)
from mmfdta.minidance.stages import Stage, run_stages
from mmfdta.minidance.training import DemoPlan, train_on
from mmfdta.structures import Sequence, Tracks


def run_demo(folder, capsys, *options):
    settings = tiny_demo.command_line()
    folders = ['--work-dir', str(folder / 'work'), '--data-root', str(folder / 'data')]
    arguments = [*folders, *options, '--processes', '1', '--cfg-options', *settings]
    code = main(['demo', *arguments])
    return code, capsys.readouterr()


def stamps_of(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob('*') if p.is_file()}


def test_the_demo_goes_on_from_the_weights_of_the_package(tmp_path, capsys):
    code, first = run_demo(tmp_path, capsys)
    assert code == 0
    work = tmp_path / 'work'
    text = (work / 'scores.md').read_text()
    assert text in first.out
    rows = [line.split('|')[1].strip() for line in text.splitlines() if '|' in line]
    assert rows[2:] == ['FDTA', 'ByteTrack', 'OC-SORT', 'SORT']
    assert '1 test sequences of MiniDance, 20 frames in all' in text
    held_out = json.loads((work / 'held_out.json').read_text())
    assert f'is {held_out["before"]:.3f} before' in text
    assert f'{held_out["after"]:.3f} after' in text
    assert ('It has grown' in text) is not (held_out['after'] <= held_out['before'])
    # The statistics of normalisations follow the data at any learning rate.
    start = read_state_dict(find_checkpoint('minidance'))
    end = read_state_dict(work / 'fdta.pth')
    trained = [name for name, value in start.items() if value.dtype == torch.half]
    assert len(trained) > 250
    assert all(torch.equal(end[name], start[name].float()) for name in trained)
    assert 'Iter(train) [2/2]  loss:' in first.out
    assert list(read_losses(work / 'train_fdta')['loss_id'][:, 0]) == [1, 2]
    for name in ('scores', 'hota', 'training'):
        assert cv2.imread(str(work / f'{name}.png')) is not None
    video = cv2.VideoCapture(str(work / 'fdta_vs_bytetrack.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == tiny_demo.SIZES['frames']
    assert [name for name in range(1, 4) if f'[{name}/3]' in first.out] == [1, 2, 3]

    stamps = stamps_of(work)
    code, second = run_demo(tmp_path, capsys)
    assert code == 0
    assert second.out.count('reused') == 3
    assert text in second.out
    assert stamps_of(work) == stamps

    # The results of one demo are not replaced by those of the other.
    code, refused = run_demo(tmp_path, capsys, '--train')
    assert code == 1
    assert "'go_on'" in refused.err and '--work-dir' in refused.err
    assert stamps_of(work) == stamps


def test_weights_that_lose_are_not_kept(tmp_path, capsys):
    changes = {
        'optim_wrapper.optimizer.lr': 0.02,
        'param_scheduler.0.start_factor': 1.0,
    }
    make_minidance(tmp_path / 'data', MiniDanceOptions(**tiny_demo.SIZES), 1)
    plan = DemoPlan(tmp_path, tmp_path / 'data', 0, tiny_demo.settings(**changes))
    weights = tmp_path / 'fdta.pth'
    work, report = tmp_path / 'train', tmp_path / 'held_out.json'
    config = plan.config('fdta_mini_demo')
    train_on(config, work, weights, report)
    held_out = json.loads(report.read_text())
    assert not held_out['after'] <= held_out['before']
    text = describe_comparison(plan, config, EvaluationData.open(config, 'test'))
    assert 'It has grown, so the table is of the weights before.' in text
    assert 'keeps the weights that it started from' in capsys.readouterr().out
    start = read_state_dict(find_checkpoint('minidance'))
    kept = read_state_dict(weights)
    assert all(torch.equal(kept[name], value) for name, value in start.items())


def test_the_demo_that_trains_leaves_everything_and_reuses_it(tmp_path, capsys):
    code, first = run_demo(tmp_path, capsys, '--train')
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
    assert (
        document['trackers'][0]['settings']
        == Config.fromfile(find_config('fdta_mini')).model.tracker
    )
    chosen = json.loads((work / 'baselines.json').read_text())
    for baseline in BASELINES:
        tuned = document['trackers'][rows.index(f'{baseline.name} (tuned)') - 2]
        assert chosen[baseline.name].items() <= tuned['settings'].items()
    report = json.loads((work / 'benchmark/benchmark.json').read_text())
    assert [t['peak_memory'] for t in report['trackers']] == [None] * 7
    shares = json.loads((work / 'similarity.json').read_text())['shares_above']
    assert list(shares) == ['plain detector', 'FDTA']
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
    for stage in range(1, 7):
        assert f'[{stage}/6]' in first.out

    stamps = stamps_of(work)
    code, second = run_demo(tmp_path, capsys, '--train')
    assert code == 0
    assert second.out.count('reused') == 6
    assert table in second.out
    assert stamps_of(work) == stamps

    (work / 'scores.png').unlink()
    code, third = run_demo(tmp_path, capsys, '--train')
    assert code == 0
    assert '[5/6]' in third.out
    assert third.out.count(': reused (took') == 5
    assert third.out.count(': reused\n') == 7  # the entries of the benchmark
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


def test_the_time_of_a_stage_is_that_of_all_its_parts(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, 'monotonic', lambda: clock[0])
    parts = iter([(30.0, True), (7.0, True), (12.5, False)])

    def run():
        seconds, interrupted = next(parts)
        clock[0] += seconds
        if interrupted:
            raise KeyboardInterrupt
        (tmp_path / 'product').write_text('')

    stage = Stage('a', 'a', 1, '', run, (tmp_path / 'product',))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_stages([stage], tmp_path)
        clock[0] += 1000  # until it is started again
    run_stages([stage], tmp_path)
    record = json.loads((tmp_path / '.stages' / 'a.json').read_text())
    assert record['seconds'] == 49.5


def walk(jump_at=None, frames=12):
    """Two objects that walk side by side; from a frame on they change places.

    Returns:
        Boxes (2, 4) xyxy of each frame, and the ground truth.
    """
    detections, rows = [], []
    for t in range(frames):
        places = [(10.0 + 2 * t, 20.0), (10.0 + 2 * t, 200.0)]
        if jump_at is not None and t >= jump_at:
            places.reverse()
        boxes = [(x, y, x + 40, y + 60) for x, y in places]
        detections.append(np.array(boxes, np.float32))
        rows += [(t + 1, i, x, y, 40, 60) for i, (x, y) in enumerate(places)]
    table = np.array(rows, float)
    return detections, Tracks.create(table[:, 0], table[:, 1], table[:, 2:])


def track(config, detections):
    """Track boxes with one of MMDetection's trackers."""
    tracker = MODELS.build(config)
    parts = []
    for frame_id, boxes in enumerate(detections):
        sample = DetDataSample(metainfo=dict(frame_id=frame_id))
        sample.pred_instances = InstanceData(
            bboxes=torch.from_numpy(boxes),
            scores=torch.full((len(boxes),), 0.9),
            labels=torch.zeros(len(boxes), dtype=torch.int64),
        )
        found = tracker.track(model=None, img=None, data_sample=sample)
        parts.append(Tracks.from_instances(found, frame_id + 1))
    return Tracks.concatenate(parts)


def score(truth, tracks):
    sequence = Sequence('walk', int(truth.frame.max()), truth, tracks)
    return evaluate([sequence], Settings('minidance'))


def published(baseline):
    init_default_scope('mmdet')
    return Config.fromfile(find_config(baseline.config)).model.tracker.to_dict()


@pytest.mark.parametrize('baseline', BASELINES, ids=lambda b: b.name)
def test_baselines_follow_motion_and_not_looks(baseline):
    for values in itertools.product(*baseline.grid.values()):
        config = published(baseline) | dict(zip(baseline.grid, values, strict=True))
        followed, fooled = (
            score(truth, track(config, detections)).of_class('all')
            for detections, truth in (walk(), walk(jump_at=6))
        )
        assert followed['HOTA'].mean() == pytest.approx(1)
        assert followed['IDSW'] == 0
        assert fooled['DetA'].mean() == pytest.approx(1)
        assert fooled['IDSW'] == 2


@pytest.mark.parametrize('baseline', BASELINES, ids=lambda b: b.name)
def test_frames_without_detections_are_survived(baseline):
    detections, _ = walk()
    nothing = np.zeros((0, 4), np.float32)
    frames = [nothing, *detections[:4], nothing, *detections[6:]]
    tracks = track(published(baseline), frames)
    assert set(tracks.frame) == {2, 3, 4, 5, 7, 8, 9, 10, 11, 12}


@pytest.mark.parametrize('baseline', BASELINES, ids=lambda b: b.name)
def test_the_published_settings_are_tried_first(baseline):
    first = {name: values[0] for name, values in baseline.grid.items()}
    assert first.items() <= published(baseline).items()


def test_baselines_have_the_published_settings_of_mmdetection():
    configs = Path(mmdet.__file__).parent / '.mim' / 'configs'
    text = {
        'ByteTrack': 'bytetrack/bytetrack_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_'
        'test-mot17halfval.py',
        'OC-SORT': 'ocsort/ocsort_yolox_x_8xb4-amp-80e_crowdhuman-mot17halftrain_'
        'test-mot17halfval.py',
        'SORT': 'sort/sort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_'
        'test-mot17halfval.py',
    }
    for baseline in BASELINES:
        tracker = Config.fromfile(configs / text[baseline.name]).model.tracker
        assert dict(tracker) == published(baseline)


def test_the_table_holds_the_scores(tmp_path):
    _, truth = walk()
    config = Config(dict(model=dict(tracker=dict(type='Nobody'))))
    result = EntryResult(Entry('truth'), score(truth, truth))
    write_scores([Entry('truth', config)], [result], tmp_path, seed=3)
    line = (tmp_path / 'scores.md').read_text().splitlines()[2]
    assert [cell.strip() for cell in line.split('|')[1:-1]] == [
        'truth',
        '100.0',
        '100.0',
        '100.0',
        '100.0',
        '100.0',
        '0',
    ]
    assert (tmp_path / 'scores.csv').read_text().splitlines()[1] == (
        'truth,1.0,1.0,1.0,1.0,1.0,0.0'
    )


def test_a_real_video_is_tracked_too(tmp_path, capsys):
    """Video, weights and facts; the other stages are not done again for it."""
    assert run_demo(tmp_path, capsys)[0] == 0
    clip = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*'MJPG'), 10, (96, 64))
    scene = build_scene(MiniDanceOptions(width=96, height=64, frames=5), 'test', 0)
    for index in range(5):
        writer.write(scene.render(index).image)
    writer.release()
    options = ('--video', str(clip), '--checkpoint', 'minidance')
    code, said = run_demo(tmp_path, capsys, *options)
    assert code == 0, said.err
    assert said.out.count('reused') == 3
    assert 'fdta_mini' in said.out and 'tracked 5 frames' in said.out
    rows = np.loadtxt(tmp_path / 'work/clip_tracks.txt', delimiter=',', ndmin=2)
    assert f'{len(set(rows[:, 1]))} tracks (' in said.out
    video = cv2.VideoCapture(str(tmp_path / 'work/clip_tracks.mp4'))
    assert sum(video.read()[0] for _ in range(10)) == 5
    assert run_demo(tmp_path, capsys, *options)[1].out.count('reused') == 4
    # What lacks is said before anything else is done.
    for wrong in (
        ('--video', str(tmp_path / 'no.mp4')),
        ('--video', str(clip), '--checkpoint', 'no.pth'),
        ('--checkpoint', 'minidance'),
    ):
        code, said = run_demo(tmp_path, capsys, *wrong)
        assert code == 1 and '[1/' not in said.out, wrong
        assert said.err.startswith('mmfdta demo: ') and said.err.count('\n') == 1
