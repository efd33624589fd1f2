# Copyright (c) mmfdta authors.
"""Similarities against loops over pairs; stages against the parts of the model."""

import itertools
import json
import math
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.structures import InstanceData

from mmfdta.apis.analysis.diagnosis import separability
from mmfdta.apis.analysis.diagnosis.separability import (
    MatchedClip,
    Similarities,
    annotated_objects,
    clip_settings,
    cut_clips,
    features_by_stage,
    list_stages,
    match_clip,
    measure_similarity,
)
from mmfdta.apis.detection_store import DetectionStore
from mmfdta.apis.evaluation_data import EvaluationData
from mmfdta.apis.sequence_loop import SequenceLoop
from mmfdta.cli.main import main


def test_pairs_are_counted_as_a_loop_counts_them():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5))
    frames, identities = rng.integers(0, 6, 40), rng.integers(0, 5, 40)
    found = Similarities(threshold=0.3)
    found.add(*map(torch.from_numpy, (features, frames, identities)))
    expected = {'different': [], 'same': []}
    for i, j in itertools.combinations(range(40), 2):
        value = features[i] @ features[j]
        value /= np.linalg.norm(features[i]) * np.linalg.norm(features[j])
        if frames[i] == frames[j] and identities[i] != identities[j]:
            expected['different'].append(value)
        elif frames[i] != frames[j] and identities[i] == identities[j]:
            expected['same'].append(value)
    summary = found.summary()
    for name, values in expected.items():
        values = np.array(values)
        assert summary[name]['pairs'] == len(values) > 30
        assert summary[name]['mean'] == pytest.approx(values.mean())
        assert summary[name]['share_above'] == pytest.approx((values > 0.3).mean())
        histogram = np.histogram(values, bins=200, range=(-1, 1))[0]
        assert summary[name]['histogram'] == histogram.tolist()


def test_separation_is_what_a_loop_finds():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, 4)) + 2 * rng.normal(size=(6, 4))[np.arange(60) % 6]
    frames, identities = np.arange(60) // 6, np.arange(60) % 6
    keep = np.sort(rng.permutation(60)[:45])  # not everybody is there all the time
    features, frames, identities = features[keep], frames[keep], identities[keep]
    found = Similarities()
    found.add(*map(torch.from_numpy, (features, frames, identities)))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    value = unit @ unit.T
    pairs = list(itertools.combinations(range(45), 2))
    same, different = (
        np.array([value[p] for p in pairs if is_kind(*p)])
        for is_kind in (
            lambda i, j: frames[i] != frames[j] and identities[i] == identities[j],
            lambda i, j: frames[i] == frames[j] and identities[i] != identities[j],
        )
    )
    expected = (same[:, None] > different).mean()
    assert 0.6 < expected < 0.99
    assert found.auc == pytest.approx(expected, abs=1e-3)
    shares = [np.histogram(v, 200, (-1, 1))[0] / len(v) for v in (same, different)]
    assert found.overlap == pytest.approx(np.minimum(*shares).sum())
    margins = []
    for i in range(45):
        last = {identities[j]: j for j in range(45) if frames[j] < frames[i]}
        own = last.pop(identities[i], None)
        if own is not None and last:
            margins.append(value[i, own] - max(value[i, j] for j in last.values()))
    nearest = found.nearest
    assert nearest['objects'] == len(margins) > 30
    assert nearest['wrong'] == (np.array(margins) <= 0).mean() > 0
    assert nearest['median'] == pytest.approx(np.median(margins))
    shares = found.summary()['same']['shares']
    assert (
        shares['0.7'] == (same > 0.7).mean() and shares['0.95'] == (same > 0.95).mean()
    )


def test_equal_embeddings_have_similarity_one():
    found = Similarities()
    ones = torch.full((4, 3), 2.0)
    found.add(ones, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]))
    assert found.different.histogram.sum() == found.same.histogram.sum() == 2
    assert found.different.above == found.same.above == 2
    assert found.different.histogram[-1] == 2


def test_no_objects_count_nothing():
    found = Similarities()
    none = torch.zeros(0, dtype=torch.long)
    found.add(torch.zeros(0, 3), none, none)
    assert found.panel('x').share_different == 0
    summary = found.summary()
    assert summary['auc'] is summary['overlap'] is summary['nearest']['wrong'] is None


def _objects(boxes, ids):
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        instances_ids=torch.tensor(ids, dtype=torch.long),
    )


def _found(boxes, scores, embeddings):
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores),
        embeddings=embeddings,
    )


def test_objects_are_matched_to_their_detections():
    # Frame 0: detections 2 and 0 lie on objects 7 and 9; 1 is on 7 as well, but worse.
    # Frame 1: the only detection on object 9 has a low score; none on 7.
    right, left, beside = [140, 40, 160, 60], [40, 40, 60, 60], [42, 40, 62, 60]
    corner = [170, 85, 190, 95]
    embeddings = torch.arange(2 * 3 * 2.0).reshape(2, 3, 2)
    found = [
        _found([right, beside, left], [0.9] * 3, embeddings[0]),
        _found([right, corner, corner], [0.1, 0.9, 0.9], embeddings[1]),
    ]
    clip = match_clip(found, [_objects([left, right], [7, 9])] * 2, 0.5)
    assert clip.num_annotated == 4
    assert clip.frames.tolist() == [0, 0]
    assert clip.rows.tolist() in ([0, 2], [2, 0])
    assert torch.equal(clip.embeddings, embeddings[0, clip.rows])
    matched = dict(zip(clip.identities.tolist(), clip.embeddings.tolist(), strict=True))
    assert matched == {0: embeddings[0, 2].tolist(), 1: embeddings[0, 0].tolist()}


def test_frames_without_objects_match_nothing():
    found = [_found([[0, 0, 9, 9]] * 3, [0.9] * 3, torch.rand(3, 4))] * 2
    clip = match_clip(found, [_objects([], [])] * 2, 0.1)
    assert len(clip.embeddings) == clip.num_annotated == 0


def test_annotated_objects_are_those_of_the_text(mini):
    root = mini.folder / 'data' / 'val'
    data = EvaluationData(mini.dataset)
    for index, sequence in enumerate(mini.dataset.sequences):
        rows = np.loadtxt(root / sequence.name / 'gt' / 'gt.txt', delimiter=',')
        for frame, objects in zip(
            [5, 0], annotated_objects(data.scored[index], [5, 0]), strict=True
        ):
            here = rows[rows[:, 0] == frame + 1]
            assert objects.instances_ids.tolist() == here[:, 1].tolist()
            corners = np.c_[here[:, 2:4], here[:, 2:4] + here[:, 4:6]]
            np.testing.assert_allclose(objects.bboxes.numpy(), corners)


@pytest.mark.parametrize('kind', ['MOT17Dataset', 'MOTSequenceDataset'])
def test_only_objects_that_are_scored_are_compared(tmp_path, kind):
    """MOT17 scores pedestrians with a 1 in column 7; identities may be of a class."""
    rows = [(1, 1, 1), (2, 1, 1), (3, 0, 1), (4, 1, 8), (5, 1, 7), (6, 1, 3)]
    options: dict = dict(type=kind)
    if kind == 'MOTSequenceDataset':
        rows = [(1, 1, 1), (1, 1, 3), (2, 0, 1), (3, 1, 7)]
        options['metainfo'] = dict(classes=('person', 'car'))
        options['category_map'] = {1: 0, 3: 1}
    folder = tmp_path / 'train' / 'MOT17-02-FRCNN'
    for name in ('img1', 'gt'):
        (folder / name).mkdir(parents=True)
    text, frames = '', []
    for frame in range(1, 5):
        image = np.zeros((64, 320, 3), np.uint8)
        cv2.imwrite(str(folder / f'img1/{frame:06d}.jpg'), image)
        places = [50 * n + frame for n in range(len(rows))]
        for (identity, flag, label), left in zip(rows, places, strict=True):
            text += f'{frame},{identity},{left},5,20,40,{flag},{label},1\n'
        boxes = [[left - 1, 4, left + 19, 44] for left in places]
        frames.append(_found(boxes, [0.9] * len(rows), torch.eye(len(rows))))
    (folder / 'gt' / 'gt.txt').write_text(text)
    settings = dict(data_root=str(tmp_path), split='train', test_mode=True, pipeline=[])
    dataset = DATASETS.build(settings | options)
    benchmark = 'mot17' if kind == 'MOT17Dataset' else 'mot_challenge'
    data = EvaluationData(dataset, benchmark)
    loop = SimpleNamespace(dataset=dataset, device='cpu', model=torch.nn.Identity())
    known = [SimpleNamespace(frames=frames)]
    measured = measure_similarity(loop, data, 0.5, 4, 1, detections=known)
    (of_detector,) = measured.stages.values()
    assert measured.found == 1
    assert of_detector.different.fine.sum() == 4 * 1  # of the first two rows
    assert of_detector.same.fine.sum() == 2 * math.comb(4, 2)
    # Every object looks like itself only.
    assert of_detector.different.total == 0
    assert of_detector.same.total == pytest.approx(of_detector.same.fine.sum())


def test_stages_are_the_parts_of_the_model(mini):
    model = mini.model
    (channels,) = model.trajectory_modeling.norm.normalized_shape
    embeddings = torch.randn(5, channels)
    clip = MatchedClip(
        embeddings,
        frames=torch.tensor([0, 0, 1, 3, 3]),
        identities=torch.tensor([0, 1, 0, 0, 1]),
        num_frames=4,
        num_annotated=5,
        rows=torch.zeros(5, dtype=torch.long),
    )
    stages = features_by_stage(model, clip)
    assert list(stages) == list_stages(model)
    assert torch.equal(stages['detector'], embeddings)
    with torch.no_grad():
        projected = model.identity_adapter.mlp(embeddings)
        torch.testing.assert_close(stages['identity adapter'], projected)
        # Identity 1 on its own: seen in frames 0 and 3.
        alone = torch.zeros(4, 1, channels)
        alone[[0, 3], 0] = embeddings[[1, 4]]
        missing = torch.tensor([[False], [True], [True], [False]])
        refined = model.temporal_adapter(alone, missing)
        torch.testing.assert_close(
            stages['temporal adapter'][[1, 4]], refined[[0, 3], 0]
        )
        modelled = model.trajectory_modeling(refined)
        torch.testing.assert_close(
            stages['trajectory modelling'][[1, 4]], modelled[[0, 3], 0]
        )


def test_layers_are_those_of_the_decoder(mini, lie_on_nothing):
    """Against hooks on the layers themselves, and a detection in the usual way."""
    model, layers = mini.model, mini.model.detector.decoder.layers
    heard: list = []
    handles = [
        layer.register_forward_hook(lambda module, args, out: heard.append(out))
        for layer in layers
    ]
    loop = SequenceLoop(model, mini.dataset, batch_size=3)
    data = EvaluationData(mini.dataset)
    looked = list(loop.look_into(1, [5, 2, 4]))
    for handle in handles:
        handle.remove()
    usual = loop.detect(1, [5, 2, 4]).frames
    for t, (found, states) in enumerate(looked):
        torch.testing.assert_close(states, torch.stack(heard)[:, t])
        assert torch.equal(states[-1], found.embeddings)
        assert torch.equal(usual[t].bboxes, found.bboxes[found.scores > 0])
    stages = measure_similarity(loop, data, 0.0, 8, 1, by_layer=True).stages
    assert list(stages) == list_stages(model, len(layers))
    assert (
        list(stages)[: len(layers)]
        == ['decoder layer 1', 'decoder layer 2', 'detector'][-len(layers) :]
    )
    (det_thr, window) = clip_settings(model)
    assert (det_thr, window) == (model.tracker.det_thr, model.window)
    plain = measure_similarity(loop, data, 0.0, 8, 1).stages
    for name, stage in plain.items():
        assert stages[name].same.total == pytest.approx(stage.same.total, rel=1e-4)
    first, count = stages['decoder layer 1'], plain['detector'].same.fine.sum()
    assert first.same.fine.sum() == count
    assert first.same.total != pytest.approx(plain['detector'].same.total, rel=1e-3)


def test_clips_are_spread_and_do_not_overlap(mini):
    clips = list(cut_clips(mini.dataset, 3, 2))
    assert clips == [(s, f) for s in (0, 1) for f in ([0, 1, 2], [5, 6, 7])]
    assert list(cut_clips(mini.dataset, 30, 4)) == [(s, list(range(8))) for s in (0, 1)]


def test_batches_and_the_store_do_not_matter(mini, tmp_path, lie_on_nothing):
    store = DetectionStore(tmp_path, mini.model, mini.dataset)
    SequenceLoop(mini.model, mini.dataset, store).detect(1)
    loops = [
        SequenceLoop(mini.model, mini.dataset, batch_size=8),
        SequenceLoop(mini.model, mini.dataset, batch_size=3),
        SequenceLoop(mini.model, mini.dataset, store, batch_size=8),
    ]
    data = EvaluationData(mini.dataset)
    results = [measure_similarity(loop, data, 0.0, 8, 1, 0.9).stages for loop in loops]
    for name in results[0]:
        one, *others = (result[name] for result in results)
        assert one.same.histogram.sum() > 0
        for other in others:
            assert one.same.total == pytest.approx(other.same.total, rel=1e-4)
            assert one.same.histogram.sum() == other.same.histogram.sum()


@pytest.fixture
def lie_on_nothing(monkeypatch):
    """As untrained boxes do; what matters here is that pairs are found."""
    monkeypatch.setattr(separability, '_MIN_IOU', 0.0)


def test_command_writes_figure_and_json(mini, tmp_path, capsys, lie_on_nothing):
    code = main(
        [
            'similarity',
            str(mini.path),
            f'--checkpoint={mini.checkpoint}',
            f'--out={tmp_path}',
            '--device=cpu',
            '--threshold=0.5',
            '--layers',
        ]
    )
    assert code == 0
    report = json.loads((tmp_path / 'similarity.json').read_text())
    assert report['found'] == 1.0
    layers = len(mini.model.detector.decoder.layers)
    assert list(report['stages']) == list_stages(mini.model, layers)
    for stage in report['stages'].values():
        assert 0 <= stage['auc'] <= 1 and 0 <= stage['overlap'] <= 1
        for side in (stage['same'], stage['different']):
            assert sum(side['histogram']) == side['pairs'] > 0
            assert 0 <= side['share_above'] <= 1
    assert (tmp_path / 'similarity.png').stat().st_size > 10_000
    assert 'temporal adapter' in capsys.readouterr().out


def test_command_starts_in_a_process_of_its_own(mini, tmp_path):
    """Where operators are not compiled, MMDetection is not imported before us."""
    command = [sys.executable, '-m', 'mmfdta', 'similarity', str(mini.path)]
    command += [f'--checkpoint={tmp_path / "none.pth"}', f'--out={tmp_path}']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'none.pth' in done.stderr.splitlines()[-1]


def test_command_takes_a_plain_detector(mini, tmp_path, lie_on_nothing):
    """Its data and preprocessing are those of the tracker that it will be part of."""
    state = mini.model.detector.state_dict()
    path = tmp_path / 'detector.pth'
    torch.save(dict(state_dict=state), path)
    config = mini.config.copy()
    config.model = dict(
        mini.config.model.detector,
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[0] * 3, std=[1] * 3),
    )
    config.dump(tmp_path / 'detector.py')
    code = main(
        [
            *('similarity', str(tmp_path / 'detector.py'), '--device=cpu'),
            *(f'--checkpoint={path}', f'--data-from={mini.path}', f'--out={tmp_path}'),
        ]
    )
    assert code == 0
    report = json.loads((tmp_path / 'similarity.json').read_text())
    assert list(report['stages']) == ['detector']
    loop, data = SequenceLoop(mini.model, mini.dataset), EvaluationData(mini.dataset)
    (expected, *_) = measure_similarity(loop, data, 0.3).stages.values()
    assert report['stages']['detector'] == expected.summary()


def test_command_refuses_other_models_and_missing_weights(mini, tmp_path, capsys):
    none = ['--data=test', '--cfg-options', 'test_dataloader=None']
    motr = ['--allow-random-weights', '--device=cpu', f'--data-from={mini.path}']
    for config, arguments, expected in (
        (mini.path, [], 'no checkpoint'),
        (mini.path, none, 'no test_dataloader'),
        ('motr_mini', motr, 'model.type: found MOTR, expected FDTA'),
    ):
        assert main(['similarity', str(config), f'--out={tmp_path}', *arguments]) == 1
        assert expected in capsys.readouterr().err
