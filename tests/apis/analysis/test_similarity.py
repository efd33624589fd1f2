# Copyright (c) mmfdta authors.
"""Similarities against loops over pairs; stages against the parts of the model."""

import itertools
import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmfdta.apis.analysis import similarity
from mmfdta.apis.analysis.similarity import (
    MatchedClip,
    Similarities,
    cut_clips,
    features_by_stage,
    list_stages,
    match_clip,
    measure_similarity,
)
from mmfdta.models.detectors import DetectorOutputs


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


def test_equal_embeddings_have_similarity_one():
    found = Similarities()
    ones = torch.full((4, 3), 2.0)
    found.add(ones, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]))
    assert found.different.sum() == found.same.sum() == 2
    assert found.above_different == found.above_same == 2
    assert found.different[-1] == 2


def test_no_objects_count_nothing():
    found = Similarities()
    none = torch.zeros(0, dtype=torch.long)
    found.add(torch.zeros(0, 3), none, none)
    assert found.panel('x').share_different == 0


def _frame(boxes, ids):
    frame = DetDataSample(metainfo=dict(img_shape=(100, 200)))
    frame.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        instances_ids=torch.tensor(ids, dtype=torch.long),
    )
    return frame


def test_objects_are_matched_to_their_detections():
    # Frame 0: queries 2 and 0 lie on objects 7 and 9; query 1 is on 7 as well, but
    # worse. Frame 1: the only query on object 9 has a low score; none on 7.
    boxes = torch.zeros(1, 2, 3, 4)
    boxes[0, 0] = torch.tensor(
        [[0.75, 0.5, 0.1, 0.2], [0.26, 0.5, 0.1, 0.2], [0.25, 0.5, 0.1, 0.2]]
    )
    boxes[0, 1] = torch.tensor(
        [[0.75, 0.5, 0.1, 0.2], [0.9, 0.9, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1]]
    )
    scores = torch.full((1, 2, 3, 1), 3.0)
    scores[0, 1, 0] = -3.0
    embeddings = torch.arange(2 * 3 * 2.0).reshape(2, 3, 2)
    outputs = DetectorOutputs(scores, boxes, embeddings)
    objects = [[40, 40, 60, 60], [140, 40, 160, 60]]
    clip = match_clip(outputs, [_frame(objects, [7, 9]), _frame(objects, [7, 9])], 0.5)
    assert clip.num_annotated == 4
    assert clip.frames.tolist() == [0, 0]
    found = dict(zip(clip.identities.tolist(), clip.embeddings.tolist(), strict=True))
    assert found == {0: embeddings[0, 2].tolist(), 1: embeddings[0, 0].tolist()}


def test_frames_without_objects_match_nothing():
    outputs = DetectorOutputs(
        torch.ones(1, 2, 3, 1), torch.rand(1, 2, 3, 4), torch.rand(2, 3, 4)
    )
    clip = match_clip(outputs, [_frame([], []), _frame([], [])], 0.1)
    assert len(clip.embeddings) == clip.num_annotated == 0


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


def test_clips_are_spread_and_do_not_overlap(mini):
    clips = list(cut_clips(mini.dataset, 3, 2))
    assert clips == [(s, f) for s in (0, 1) for f in ([0, 1, 2], [5, 6, 7])]
    assert list(cut_clips(mini.dataset, 30, 4)) == [(s, list(range(8))) for s in (0, 1)]


def test_the_detectors_batches_do_not_matter(mini):
    results = [
        measure_similarity(mini.model, mini.dataset, 8, 1, 0.9, batch_size)[0]
        for batch_size in (8, 3)
    ]
    for name in results[0]:
        one, other = (result[name] for result in results)
        assert one.sum_same == pytest.approx(other.sum_same, rel=1e-4)
        assert one.same.sum() == other.same.sum()


def test_command_writes_figure_and_json(mini, tmp_path, capsys, monkeypatch):
    # Untrained boxes lie on nothing; what matters here is that pairs are found.
    monkeypatch.setattr(similarity, '_MIN_IOU', 0.0)
    similarity.main(
        [
            str(mini.path),
            f'--checkpoint={mini.checkpoint}',
            f'--out={tmp_path}',
            '--device=cpu',
            '--threshold=0.5',
        ]
    )
    report = json.loads((tmp_path / 'similarity.json').read_text())
    assert report['found'] == 1.0
    assert list(report['stages']) == list_stages(mini.model)
    for stage in report['stages'].values():
        for side in stage.values():
            assert sum(side['histogram']) == side['pairs'] > 0
            assert 0 <= side['share_above'] <= 1
    assert (tmp_path / 'similarity.png').stat().st_size > 10_000
    assert 'temporal adapter' in capsys.readouterr().out


def test_command_refuses_other_models_and_missing_weights(mini, tmp_path):
    with pytest.raises(SystemExit, match='no checkpoint'):
        similarity.main([str(mini.path), f'--out={tmp_path}'])
    with pytest.raises(SystemExit, match='no test_dataloader'):
        similarity.main(
            [
                str(mini.path),
                f'--out={tmp_path}',
                '--data=test',
                '--cfg-options',
                'test_dataloader=None',
            ]
        )
