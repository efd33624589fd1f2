# Copyright (c) mmfdta authors.
"""MMDetection's trackers see exactly the detections that FDTA sees."""

import copy
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from small_fdta import collate, make_clip

from mmfdta.apis.detection_store import detection_fingerprint
from mmfdta.apis.model_loading import load_tracker
from mmfdta.checkpoints import CheckpointError, CheckpointMismatchError
from mmfdta.engine import ExactWeightsHook
from mmfdta.ops import accelerate

CONFIGS = Path(__file__).parents[3] / 'configs'
TRACKERS = ('bytetrack', 'ocsort', 'sort')


def read(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


@pytest.fixture(scope='module')
def fdta(tmp_path_factory):
    """FDTA with random weights, and their checkpoint."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(read('fdta_mini').model)
    model.init_weights()
    path = tmp_path_factory.mktemp('weights') / 'fdta.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    # As commands load it.
    return accelerate(model.eval()), path


@torch.no_grad()
@pytest.mark.parametrize('tracker', TRACKERS)
def test_detections_are_those_of_fdta(fdta, tracker: str):
    model, checkpoint = fdta
    baseline = load_tracker(read(f'{tracker}_fdta-det_mini'), checkpoint, 'cpu')
    clip = make_clip(num_frames=1, size=(96, 128))
    frame = clip['data_samples'][0]
    frame.set_metainfo(dict(ori_shape=(192, 256), frame_id=0))
    batch = model.data_preprocessor(collate(copy.deepcopy(clip)))
    raw = model(**batch, mode='tensor')
    batch = baseline.data_preprocessor(collate(clip))
    found = baseline.detector.predict(
        batch['inputs']['img'][:, 0], list(batch['data_samples'][0])
    )[0].pred_instances
    # By hand: the best class of each query, boxes in pixels of 256 x 192.
    scores = 1 / (1 + np.exp(-raw.cls_scores[-1, 0].double().numpy()))
    order = np.argsort(-scores.max(-1), kind='stable')
    np.testing.assert_allclose(found.scores, scores.max(-1)[order], rtol=1e-6)
    x, y, w, h = raw.bbox_preds[-1, 0].double().numpy()[order].T
    corners = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)
    np.testing.assert_allclose(found.bboxes, corners * [256, 192, 256, 192], atol=1e-3)
    np.testing.assert_array_equal(found.embeddings, raw.embeddings[0].numpy()[order])


def test_detections_on_another_detector_are_kept_once(tmp_path):
    """What FDTA on DINO found is found again by every tracker on its weights."""
    model = MODELS.build(read('fdta_dino-r50_mini').model)
    model.init_weights()
    path = tmp_path / 'fdta.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    data = SimpleNamespace(pipeline=SimpleNamespace(transforms=[]))

    def name_of(config: str) -> str:
        return detection_fingerprint(load_tracker(read(config), path, 'cpu'), data)

    names = [f'{tracker}_fdta-dino_mini' for tracker in TRACKERS]
    assert {*map(name_of, names)} == {name_of('fdta_dino-r50_mini')}


def test_configs_share_detector_and_data_with_the_one_that_they_name():
    """Their comments say whose checkpoint they take."""
    paths = sorted(CONFIGS.glob('*_fdta-*.py'))
    # Those train association, or take it out of another checkpoint.
    paths = [path for path in paths if not path.stem.startswith('boxes')]
    assert len(paths) == 30
    for path in paths:
        named = re.search(r'checkpoint of (\S+)\.py', path.read_text())
        config = read(path.stem)
        source = read(named[1] if named else 'fdta_mini')
        for key in ('detector', 'data_preprocessor'):
            assert config.model[key] == source.model[key], path
        for key in ('val_dataloader', 'test_dataloader', 'test_evaluator'):
            assert config[key] == source[key], path
        assert config.checkpoint_modules == ['detector']
        for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
            assert config[key] is None, path


def test_only_the_named_modules_are_taken(fdta, tmp_path):
    model, checkpoint = fdta
    config = read('bytetrack_fdta-det_mini')
    baseline = load_tracker(config, checkpoint, 'cpu')
    expected = model.state_dict()
    assert baseline.state_dict()
    for name, value in baseline.state_dict().items():
        assert torch.equal(value, expected[name])
    lacking = {k: v for k, v in expected.items() if 'detector.neck' not in k}
    torch.save(dict(state_dict=lacking), tmp_path / 'bad.pth')
    with pytest.raises(CheckpointMismatchError, match='missing: detector.neck'):
        load_tracker(config, tmp_path / 'bad.pth', 'cpu')
    config.checkpoint_modules = None
    with pytest.raises(CheckpointMismatchError, match='unknown: temporal_adapter'):
        load_tracker(config, checkpoint, 'cpu')


def test_weights_of_a_training_that_diverged_are_refused(fdta, tmp_path):
    model, _ = fdta
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    next(v for n, v in weights.items() if 'neck' in n).view(-1)[0] = torch.nan
    torch.save(dict(state_dict=weights), tmp_path / 'nan.pth')
    with pytest.raises(CheckpointError, match='1 of .*not finite, detector.neck'):
        load_tracker(read('bytetrack_fdta-det_mini'), tmp_path / 'nan.pth', 'cpu')


def test_the_runner_takes_only_the_named_modules(fdta):
    model, _ = fdta

    class Runner:
        pass

    runner = Runner()
    weights = dict(model.state_dict())
    runner.model = torch.nn.ModuleDict(dict(detector=model.detector))
    checkpoint = dict(state_dict=weights)
    ExactWeightsHook(['detector']).after_load_checkpoint(runner, checkpoint)
    assert list(checkpoint['state_dict']) == list(runner.model.state_dict())
    with pytest.raises(CheckpointMismatchError, match='unknown'):
        ExactWeightsHook().after_load_checkpoint(runner, dict(state_dict=weights))
