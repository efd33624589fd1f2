# Copyright (c) mmfdta authors.
"""The metric of the test loop, alone and in two processes."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from two_processes import two_processes

from mmfdta.cli.main import main
from mmfdta.datasets import MOTSequenceDataset
from mmfdta.evaluation import Sequence, Settings, Tracks, evaluate, summarise
from mmfdta.evaluation.folders import find_sequences
from mmfdta.structures.mot_text import read_tracks
from mmfdta.structures.track_embeddings import TrackEmbeddings

from .oracle import (
    STYLES,
    official_combined,
    official_sequence,
    only_class,
    random_scene,
)

MOVING = STYLES[3]


def make_samples(sequence, video_id=0, hidden=False, labels=None) -> list[dict]:
    """Frames of a scene as the test loop hands them to a metric."""
    samples = []
    for t in range(sequence.num_frames):
        sample = DetDataSample(
            metainfo=dict(
                sequence=sequence.name,
                video_id=video_id,
                frame_id=t,
                video_length=sequence.num_frames,
            )
        )
        gt = sequence.gt.select(sequence.gt.frame == t + 1)
        pred = sequence.pred.select(sequence.pred.frame == t + 1)
        if not hidden:
            sample.gt_instances = InstanceData(
                bboxes=torch.tensor(xyxy(gt.xywh), dtype=torch.float32),
                labels=torch.from_numpy(gt.label),
                instances_ids=torch.from_numpy(gt.identity),
                consider=torch.from_numpy(gt.score),
                categories=torch.from_numpy(gt.label),
            )
        sample.pred_track_instances = InstanceData(
            bboxes=torch.tensor(xyxy(pred.xywh), dtype=torch.float32),
            scores=torch.from_numpy(pred.score).float(),
            labels=torch.from_numpy(pred.label),
            instances_id=torch.from_numpy(pred.identity),
        )
        track = TrackDataSample()
        track.video_data_samples = [sample]
        samples.append(track.to_dict())
    return samples


def xyxy(xywh: np.ndarray) -> np.ndarray:
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def scenes(count: int) -> list[Sequence]:
    """Scenes with boxes on eighths of a pixel, exact in float32 and text."""
    result = []
    for seed in range(count):
        scene = random_scene(seed + 40, MOVING, f'seq{seed}')
        sides = [
            Tracks.create(side.frame, side.identity, (side.xywh * 8).round() / 8)
            for side in (scene.gt, scene.pred)
        ]
        result.append(Sequence(scene.name, scene.num_frames, *sides))
    return result


def run_metric(metric, sequences, order=None) -> dict:
    samples = [s for i, seq in enumerate(sequences) for s in make_samples(seq, i)]
    for i in range(len(samples)) if order is None else order(len(samples)):
        metric.process({}, [samples[i]])
    return metric.evaluate(len(samples))


def official(sequences) -> dict:
    hota, clear, identity = official_combined([official_sequence(s) for s in sequences])
    means = {name: float(np.mean(value)) for name, value in (hota | clear).items()}
    means |= identity
    names = {'TP': 'CLR_TP', 'FP': 'CLR_FP', 'FN': 'CLR_FN'}
    kept = (
        *('HOTA', 'DetA', 'AssA', 'DetRe', 'DetPr', 'AssRe', 'AssPr', 'LocA'),
        *('MOTA', 'MOTP', 'CLR_Re', 'CLR_Pr', 'IDSW', 'Frag', 'MT', 'PT', 'ML'),
        *('IDF1', 'IDP', 'IDR', 'IDTP', 'IDFP', 'IDFN', 'TP', 'FP', 'FN'),
    )
    return {f'mot/{name}': means[names.get(name, name)] for name in kept}


def test_scores_and_text(tmp_path):
    sequences = scenes(3)
    metric = METRICS.build(
        dict(type='MOTMetric', benchmark='dancetrack', out_dir=str(tmp_path / 'out'))
    )
    scores = run_metric(metric, sequences)
    assert scores == pytest.approx(official(sequences), abs=1e-9)
    assert metric.evaluation.sequences == ['seq0', 'seq1', 'seq2']
    files = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert files == ['seq0.txt', 'seq1.txt', 'seq2.txt']
    for sequence in sequences:
        rows = read_tracks(tmp_path / 'out' / f'{sequence.name}.txt')
        pred = sequence.pred.in_frame_order()
        np.testing.assert_array_equal(rows.frame, pred.frame)
        np.testing.assert_array_equal(rows.identity, pred.identity)
        np.testing.assert_array_equal(rows.xywh, pred.xywh)


def test_short_table_is_printed_and_the_whole_one_kept(tmp_path, capfd):
    path = tmp_path / 'run.log'
    logger = MMLogger.get_instance('mot-metric-test', log_file=str(path))
    try:
        run_metric(METRICS.build(dict(type='MOTMetric')), scenes(2))
    finally:
        MMLogger._instance_dict.pop('mot-metric-test')
    printed = ''.join(capfd.readouterr())
    assert 'Scores of 2 sequences, rates in percent:\nsequence' in printed
    assert (
        printed.count('COMBINED') == 1 and 'IDSW' in printed and 'Frag' not in printed
    )
    for handler in logger.handlers:
        handler.close()
    assert path.read_text().count('COMBINED') == 2 and 'Frag' in path.read_text()


def test_runs_again_after_evaluation():
    sequences = scenes(2)
    metric = METRICS.build(dict(type='MOTMetric'))
    first = run_metric(metric, sequences)
    assert run_metric(metric, sequences[:1]) == pytest.approx(
        official(sequences[:1]), abs=1e-9
    )
    assert first == pytest.approx(official(sequences), abs=1e-9)


def test_order_and_repetition_of_frames_do_not_matter():
    sequences = scenes(3)

    def shuffled(count):
        order = np.random.default_rng(0).permutation(count)
        return [*order, *order[:4]]

    metric = METRICS.build(dict(type='MOTMetric', num_workers=2))
    assert run_metric(metric, sequences, shuffled) == pytest.approx(
        official(sequences), abs=1e-9
    )


def test_one_family():
    metric = METRICS.build(dict(type='MOTMetric', metric='Identity', prefix='val'))
    scores = run_metric(metric, scenes(1))
    assert set(scores) == {
        f'val/{name}' for name in ('IDF1', 'IDP', 'IDR', 'IDTP', 'IDFP', 'IDFN')
    }


def test_ground_truth_as_in_the_text_goes_first():
    """Boxes may be those of a resized image; the rows of the text decide."""
    sequences = scenes(2)
    metric = METRICS.build(dict(type='MOTMetric'))
    for i, sequence in enumerate(sequences):
        for t, sample in enumerate(make_samples(sequence, i)):
            gt = sample['video_data_samples'][0].gt_instances
            rows = sequence.gt.select(sequence.gt.frame == t + 1)
            gt.xywh = torch.from_numpy(rows.xywh)
            gt.bboxes = gt.bboxes * 0.37
            metric.process({}, [sample])
    assert metric.evaluate(1) == pytest.approx(official(sequences), abs=1e-9)


@pytest.mark.parametrize(
    ('name', 'benchmark', 'of_data', 'is_said'),
    [
        ('MOT17-02-FRCNN', None, None, True),
        ('MOT17-02-FRCNN', 'mot_challenge', None, False),
        ('MOT17-02-FRCNN', None, 'mot17', False),
        ('MOT20-01', None, 'mot_challenge', True),
        ('MOT16-02', 'mot16', None, False),
        ('dancetrack0001', None, None, False),
        ('kitchen', None, None, False),
    ],
)
def test_rules_that_names_speak_against_are_said(
    monkeypatch, name, benchmark, of_data, is_said
):
    """A plain data set on files of MOT17 scores distractors as objects."""
    said = []
    monkeypatch.setattr(
        'mmfdta.evaluation.mot_metric.print_log',
        lambda text, *_, **__: said.append(text),
    )
    (scene,) = scenes(1)
    gt = replace(scene.gt, label=np.ones(len(scene.gt), dtype=np.int64))
    metric = METRICS.build(dict(type='MOTMetric', benchmark=benchmark))
    metric.dataset_meta = {'benchmark': of_data} if of_data else None
    run_metric(metric, [replace(scene, name=name, gt=gt)])
    lines = [text for text in said if 'are named as those of' in text]
    assert len(lines) == is_said
    if is_said:
        title = name.split('-')[0]
        assert f'{title}Dataset' in lines[0]
        assert f"benchmark='{title.lower()}'" in lines[0]


@pytest.mark.parametrize('name', ['kitti', 'visdrone', 'uavdt', 'bdd100k', 'tao'])
def test_benchmarks_that_need_their_files_are_refused(name):
    with pytest.raises(ValueError, match=f'{name} need.*mmfdta evaluate'):
        METRICS.build(dict(type='MOTMetric', benchmark=name))


def test_text_scores_like_the_run(tmp_path):
    """Boxes in full float32: what is written is what was scored."""
    sequences = [random_scene(seed, MOVING, f's{seed}') for seed in (41, 44, 45)]
    metric = METRICS.build(dict(type='MOTMetric', out_dir=str(tmp_path / 'out')))
    scores = run_metric(metric, sequences)
    for i, sequence in enumerate(sequences):
        gt = [s['video_data_samples'][0] for s in make_samples(sequence, i)]
        rows = [
            (t + 1, identity, *box[:2], *(box[2:] - box[:2]))
            for t, frame in enumerate(gt)
            for identity, box in zip(
                frame.gt_instances.instances_ids.tolist(),
                frame.gt_instances.bboxes.double().numpy(),
                strict=True,
            )
        ]
        text = ''.join(','.join(str(v) for v in row) + '\n' for row in rows)
        (tmp_path / f'{sequence.name}.txt').write_text(text)
    files, _ = find_sequences(tmp_path, tmp_path / 'out')
    again = summarise(evaluate(files, Settings()).of_class())
    for name in ('HOTA', 'AssA', 'LocA', 'MOTA', 'MOTP', 'IDF1', 'Frag'):
        assert scores[f'mot/{name}'] == again[name]


@pytest.mark.parametrize('text', ['names', 'count'])
@pytest.mark.parametrize(
    'numbers', [range(8), range(3, 11), range(1, 16, 2), [1, 2, 4, 5, 6, 9, 10, 12]]
)
def test_runs_on_odd_numbers_score_like_their_text(
    tmp_path, capsys, numbers: list[int], text: str
):
    """Images from 0, cut out, subsampled, with gaps; texts by names or counted."""
    for seed in (0, 1):
        folder = tmp_path / 'val' / f's{seed}'
        (folder / 'img1').mkdir(parents=True)
        for number in numbers:
            (folder / 'img1' / f'{number:06d}.jpg').touch()
        rng = np.random.default_rng(seed)
        rows = [
            (numbers[n] if text == 'names' else n + 1, i, *box)
            for n in range(8)
            for i, box in enumerate(10 + rng.random((3, 4)) * 30 + 9.0 * n)
        ]
        (folder / 'gt').mkdir()
        gt = ''.join(','.join(map(str, row)) + ',1,1,1\n' for row in rows)
        (folder / 'gt' / 'gt.txt').write_text(gt)
    dataset = MOTSequenceDataset(str(tmp_path), 'val', test_mode=True)
    sequences = []
    for known in dataset.sequences:
        gt = known.annotations.tracks
        pred = replace(gt, xywh=gt.xywh + [1, 2, 0, 0]).select(gt.identity != 1)
        sequences.append(Sequence(known.name, len(known), gt, pred))
    metric = METRICS.build(dict(type='MOTMetric', out_dir=str(tmp_path / 'out')))
    scores = run_metric(metric, sequences)
    assert 0 < scores['mot/HOTA'] < 1
    command = ['evaluate', '--gt', str(tmp_path / 'val'), '--processes', '1']
    command += ['--results', str(tmp_path / 'out'), '--out', str(tmp_path / 's.json')]
    assert main(command) == 0
    assert 'frames' in capsys.readouterr().err
    (document,) = json.loads((tmp_path / 's.json').read_text())['classes'].values()
    again = document['COMBINED']
    for name in ('HOTA', 'AssA', 'LocA', 'MOTA', 'IDF1', 'Frag'):
        assert scores[f'mot/{name}'] == pytest.approx(np.mean(again[name]), abs=1e-6)


def test_mot17_rules():
    """A result on a static person is taken out, one on a pedestrian scored."""
    box = [[0.0, 0.0, 10.0, 20.0], [50.0, 0.0, 10.0, 20.0], [90.0, 0.0, 9.0, 9.0]]
    gt = Tracks.create([1] * 3, [1, 2, 3], box, [1, 1, 0], [1, 7, 1])
    pred = Tracks.create([1, 1], [8, 9], box[:2], label=[0, 5])
    sequence = Sequence('MOT17-02', 1, gt, pred)
    metric = METRICS.build(dict(type='MOTMetric', benchmark='mot17'))
    scores = run_metric(metric, [sequence])
    assert scores['mot/HOTA'] == scores['mot/MOTA'] == scores['mot/IDF1'] == 1
    metric = METRICS.build(dict(type='MOTMetric', benchmark='mot_challenge'))
    scores = run_metric(metric, [sequence])
    assert (scores['mot/TP'], scores['mot/FP'], scores['mot/FN']) == (2, 0, 0)


def test_unwritable_folder_is_named(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    metric = METRICS.build(dict(type='MOTMetric', out_dir=str(tmp_path / 'file')))
    with pytest.raises(OSError, match='cannot write the results of seq0'):
        run_metric(metric, scenes(1))


def test_finished_sequences_stand_apart_until_all_are(tmp_path):
    out, partial = tmp_path / 'out', tmp_path / 'out.partial'
    out.mkdir()
    (out / 'seq0.txt').write_text('of an earlier test')
    (partial).mkdir()
    (partial / 'seq1.txt').write_text('of a killed test')
    (partial / 'other.txt').write_text('of a killed test on other data')
    sequences = scenes(2)
    metric = METRICS.build(dict(type='MOTMetric', out_dir=str(out)))
    for i, sequence in enumerate(sequences):
        samples = make_samples(sequence, i)
        for sample in samples[:-1]:
            metric.process({}, [sample])
        assert (i == 0) == (not (partial / 'seq0.txt').exists())
        metric.process({}, samples[-1:])
        # A sampler may repeat frames.
        metric.process({}, samples[:1])
        rows = read_tracks(partial / f'{sequence.name}.txt')
        expected = sequence.pred.in_frame_order()
        np.testing.assert_array_equal(rows.frame, expected.frame)
        np.testing.assert_array_equal(rows.xywh, expected.xywh)
        assert (out / 'seq0.txt').read_text() == 'of an earlier test'
    metric.evaluate(1)
    assert sorted(p.name for p in out.iterdir()) == ['seq0.txt', 'seq1.txt']
    for sequence in sequences:
        rows = read_tracks(out / f'{sequence.name}.txt')
        assert len(rows) == len(sequence.pred)
    assert [p.name for p in partial.iterdir()] == ['other.txt']
    # The next test begins anew.
    scores = run_metric(metric, sequences[:1])
    assert scores == pytest.approx(official(sequences[:1]), abs=1e-9)


def test_hidden_ground_truth_is_written_only(tmp_path):
    (sequence,) = scenes(1)
    metric = METRICS.build(dict(type='MOTMetric', out_dir=str(tmp_path)))
    for sample in make_samples(sequence, hidden=True):
        metric.process({}, [sample])
    assert metric.evaluate(1) == {}
    assert len(read_tracks(tmp_path / 'seq0.txt')) == len(sequence.pred)


def test_classes():
    rng = np.random.default_rng(0)
    colours = []
    for scene in scenes(2):
        sides = [
            Tracks.create(side.frame, side.identity, side.xywh, None, side.identity % 2)
            for side in (scene.gt, scene.pred)
        ]
        colours.append(Sequence(scene.name, scene.num_frames, *sides))
    metric = METRICS.build(dict(type='MOTMetric', class_aware=True))
    metric.dataset_meta = dict(classes=('even', 'odd'))
    scores = run_metric(metric, colours, rng.permutation)
    by_class = [official([only_class(s, label) for s in colours]) for label in (0, 1)]
    for label, name in enumerate(('even', 'odd')):
        for key, value in by_class[label].items():
            ours = scores[key.replace('mot/', f'mot/{name}_')]
            assert ours == pytest.approx(value, abs=1e-9)
    assert scores['mot/HOTA'] == pytest.approx(
        (by_class[0]['mot/HOTA'] + by_class[1]['mot/HOTA']) / 2, abs=1e-9
    )
    assert scores['mot/IDSW'] == by_class[0]['mot/IDSW'] + by_class[1]['mot/IDSW']


def coloured(labels) -> list[Sequence]:
    """Scenes whose identities have one of several labels, the same on both sides."""
    found = []
    for scene in scenes(3):
        sides = [
            replace(side, label=np.array(labels)[side.identity // 3 % len(labels)])
            for side in (scene.gt, scene.pred)
        ]
        found.append(replace(scene, gt=sides[0], pred=sides[1]))
    return found


META = dict(classes=('person', 'car'))
MAPPED = dict(META, class_numbers=(4, 2))
OF_TWO = {'none': (META, (1, 2)), 'own': (MAPPED, (4, 2))}


@pytest.mark.parametrize('case', OF_TWO)
def test_scores_by_class_are_those_of_the_text(tmp_path, case, capsys):
    """The metric's own text, scored by the command with the ground truth's numbers."""
    meta, numbers = OF_TWO[case]
    sequences = coloured((0, 1))
    metric = METRICS.build(dict(type='MOTMetric', out_dir=str(tmp_path / 'out')))
    metric.dataset_meta = meta
    scores = run_metric(metric, sequences)
    for sequence in sequences:
        rows = read_tracks(tmp_path / 'out' / f'{sequence.name}.txt')
        label = sequence.pred.in_frame_order().label
        assert rows.label.tolist() == np.array(numbers)[label].tolist()
        gt = replace(sequence.gt, label=np.array(numbers)[sequence.gt.label])
        text = ''.join(
            f'{f},{i},{",".join(map(repr, map(float, box)))},1,{n},1\n'
            for f, i, box, n in zip(
                gt.frame, gt.identity, gt.xywh, gt.label, strict=True
            )
        )
        (tmp_path / f'{sequence.name}.txt').write_text(text)
    words = [f'{n}={k}' for n, k in zip(META['classes'], numbers, strict=True)]
    sides = ['--gt', str(tmp_path), '--results', str(tmp_path / 'out')]
    out = ['--out', str(tmp_path / 'scores.csv'), '--processes', '1']
    assert main(['evaluate', *sides, '--classes', *words, *out]) == 0
    with (tmp_path / 'scores.csv').open(newline='') as file:
        rows = {
            row['class']: row
            for row in csv.DictReader(file)
            if row['sequence'] == 'COMBINED'
        }
    for name in ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1', 'IDSW'):
        assert float(rows['mean of classes'][name]) == scores[f'mot/{name}']
        for of_class in META['classes']:
            assert float(rows[of_class][name]) == scores[f'mot/{of_class}_{name}']
    by_class = [official([only_class(s, label) for s in sequences]) for label in (0, 1)]
    mean = sum(of['mot/HOTA'] for of in by_class) / 2
    assert scores['mot/HOTA'] == pytest.approx(mean, abs=1e-9)


def test_text_of_one_class_has_none(tmp_path):
    for number, (meta, benchmark) in enumerate(
        [
            (dict(classes=('person',)), None),
            (dict(classes=('person',), class_numbers=(3,)), 'dancetrack'),
            (META, 'mot17'),
            (None, None),
        ]
    ):
        out = tmp_path / str(number)
        metric = METRICS.build(
            dict(type='MOTMetric', benchmark=benchmark, out_dir=str(out))
        )
        metric.dataset_meta = meta
        sequences = coloured((1,)) if benchmark == 'mot17' else coloured((0,))
        run_metric(metric, sequences)
        for path in out.iterdir():
            lines = path.read_text().splitlines()
            assert all(line.endswith(',-1,-1,-1') for line in lines)


def test_ground_truth_of_other_classes_is_not_scored():
    """``category_map`` names one class; rows of others have a label of -1."""
    sequences = coloured((0, -1))
    kept = [replace(s, pred=s.pred.select(s.pred.label == 0)) for s in sequences]
    metric = METRICS.build(dict(type='MOTMetric'))
    metric.dataset_meta = dict(classes=('person',), class_numbers=(4,))
    expected = official([only_class(s, 0) for s in kept])
    assert run_metric(metric, kept) == pytest.approx(expected, abs=1e-9)


def test_classes_can_be_scored_as_one():
    sequences = coloured((0, 1))
    metric = METRICS.build(dict(type='MOTMetric', class_aware=False))
    metric.dataset_meta = META
    assert run_metric(metric, sequences) == pytest.approx(official(sequences), abs=1e-9)


def test_a_class_that_never_occurs_is_left_out():
    sequences = coloured((0, 1))
    metric = METRICS.build(dict(type='MOTMetric'))
    metric.dataset_meta = dict(classes=('person', 'car', 'bus'))
    scores = run_metric(metric, sequences)
    metric.dataset_meta = META
    assert run_metric(metric, sequences) == scores


def test_a_label_without_a_class_is_named():
    metric = METRICS.build(dict(type='MOTMetric'))
    metric.dataset_meta = META
    with pytest.raises(ValueError, match=r'seq1.*label 5.*2 classes .person, car'):
        run_metric(metric, coloured((0, 5)))


def test_missing_frame_is_named():
    (sequence,) = scenes(1)
    metric = METRICS.build(dict(type='MOTMetric'))
    samples = make_samples(sequence)
    for sample in samples[:2] + samples[3:]:
        metric.process({}, [sample])
    with pytest.raises(ValueError, match=r"'seq0'.*first missing frame_id is 2"):
        metric.evaluate(1)


def test_same_name_of_two_sequences():
    (sequence,) = scenes(1)
    metric = METRICS.build(dict(type='MOTMetric'))
    for sample in make_samples(sequence, 0) + make_samples(sequence, 1):
        metric.process({}, [sample])
    with pytest.raises(ValueError, match=r"'seq0'.*video_ids \[0, 1\]"):
        metric.evaluate(1)


def test_repeated_identity_is_named():
    box = [[1.0, 2.0, 3.0, 4.0]]
    pred = Tracks.create([1, 2, 2], [5, 5, 5], box * 3)
    sequence = Sequence('twice', 2, Tracks.create([1], [1], box), pred)
    with pytest.raises(ValueError, match=r'twice: result: identity 5.*frame 2'):
        run_metric(METRICS.build(dict(type='MOTMetric')), [sequence])


def test_not_finite_box_is_named():
    boxes = Tracks.create([1, 2], [5, 5], [[1.0, 2.0, 3.0, 4.0]] * 2)
    samples = make_samples(Sequence('seq0', 2, boxes, boxes))
    frame = samples[1]['video_data_samples'][0]
    frame.pred_track_instances.bboxes[0, 2] = float('nan')
    metric = METRICS.build(dict(type='MOTMetric'))
    with pytest.raises(ValueError, match=r"'seq0', frame_id 1.*finite"):
        metric.process({}, [samples[1]])


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"found 'mot99', expected one of mot_chall"):
        METRICS.build(dict(type='MOTMetric', benchmark='mot99'))
    with pytest.raises(ValueError, match=r"metric: found \['HOTTA'\]"):
        METRICS.build(dict(type='MOTMetric', metric='HOTTA'))
    with pytest.raises(ValueError, match='class_aware'):
        METRICS.build(dict(type='MOTMetric', benchmark='mot17', class_aware=True))


COUNTS = (1, 3)  # fewer sequences than processes, and more


def _rank(rank: int, world: int, port: int, folder: str) -> None:
    dist.init_process_group(
        'gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=world
    )
    torch.set_num_threads(1)
    for count in COUNTS:
        out = Path(folder) / str(count)
        sequences = scenes(count)
        metric = METRICS.build(dict(type='MOTMetric', out_dir=str(out / 'text')))
        for i in range(rank, count, world):
            for sample in make_samples(sequences[i], i):
                metric.process({}, [sample])
        torch.save(metric.evaluate(7), out / f'scores{rank}.pt')
    # A failure of the main process must reach the other instead of hanging it.
    if rank == 0:
        for sample in make_samples(sequences[0])[1:]:
            metric.process({}, [sample])
    expected = ValueError if rank == 0 else RuntimeError
    with pytest.raises(expected, match='first missing frame_id is 0'):
        metric.evaluate(7)
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_equal_one(tmp_path, free_port):
    for count in COUNTS:
        (tmp_path / str(count)).mkdir()
    with two_processes(_rank, 2, free_port, str(tmp_path)):
        pass
    for count in COUNTS:
        out = tmp_path / str(count)
        alone = METRICS.build(dict(type='MOTMetric', out_dir=str(out / 'alone')))
        scores = run_metric(alone, scenes(count))
        for rank in range(2):
            assert torch.load(out / f'scores{rank}.pt') == scores
        texts = [
            {path.name: path.read_bytes() for path in (out / name).iterdir()}
            for name in ('text', 'alone')
        ]
        assert len(texts[0]) == count
        assert texts[0] == texts[1]


def test_embeddings_of_tracks_stand_beside_the_text(tmp_path):
    """Found again by what the text says; a box without one has no row."""
    (scene,) = scenes(1)
    label = np.arange(len(scene.pred)) % 2
    scene = replace(scene, pred=replace(scene.pred, label=label))
    metric = METRICS.build(
        dict(type='MOTMetric', out_dir=str(tmp_path), class_aware=False)
    )
    metric.dataset_meta = dict(classes=('person', 'car'))
    samples = make_samples(scene)
    for sample in samples:
        (frame,) = sample['video_data_samples']
        found = frame.pred_track_instances
        columns = found.instances_id, found.labels, torch.full_like(found.labels, 7)
        embeddings = torch.stack(columns, dim=1).float() + frame.frame_id
        embeddings[found.instances_id == 1] = torch.nan
        found.embeddings = embeddings
    for sample in [*samples[::-1], samples[0]]:
        metric.process({}, [sample])
    metric.evaluate(0)
    tracks = read_tracks(tmp_path / f'{scene.name}.txt')
    known = TrackEmbeddings.load(tmp_path / f'{scene.name}.npz')
    rows = known.of_rows(tracks)
    assert 0 < len(known) == (rows >= 0).sum()
    np.testing.assert_array_equal(rows < 0, tracks.identity == 1)
    tracks, rows = tracks.select(rows >= 0), rows[rows >= 0]
    columns = tracks.identity, tracks.label - 1, np.full(len(tracks), 7)
    expected = np.stack(columns, axis=1) + tracks.frame[:, None] - 1
    np.testing.assert_array_equal(known.embeddings[rows], expected)


def test_without_embeddings_there_is_text_only(tmp_path):
    metric = METRICS.build(dict(type='MOTMetric', out_dir=str(tmp_path)))
    run_metric(metric, scenes(1))
    assert [path.suffix for path in tmp_path.iterdir()] == ['.txt']
