# Copyright (c) mmfdta authors.
"""Mistakes in a config are one error that names the key, before data is read."""

import sys
from pathlib import Path

import cv2
import mmdet
import numpy as np
import pytest
from mmengine.config import Config

from mmfdta.apis.config import load_config
from mmfdta.apis.config_check import ConfigError, check_config
from mmfdta.cli.main import main

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
OTHERS = Path(mmdet.__file__).parent / '.mim' / 'configs'

# Option -> what the error says besides the key.
UNKNOWN = {
    'model.temporal_adaptor={}': "did you mean 'temporal_adapter'?",
    'model.tracker.miss_tolerence=20': "did you mean 'miss_tolerance'?",
    'model.detector.spatial_adapter.bins=9': "SpatialAdapter takes no 'bins'",
    'model.detector.bbox_head.loss_dept={}': "did you mean 'loss_depth'?",
    'model.embedding_sharing.id_gradiet=0': "did you mean 'id_gradient'?",
    'model.embedding_sharing.projection.layers=2': 'EmbeddingProjection takes no',
    'model.identity_adapter.loss.temprature=1': "did you mean 'temperature'?",
    'train_dataloader.batchsize=2': "did you mean 'batch_size'?",
    'train_dataloader.sampler.length=3': "did you mean 'lengths'?",
    'train_dataloader.dataset.use_marks=True': "did you mean 'use_consider_flag'?",
    'train_dataloader.dataset.splt=val': "did you mean 'split'?",
    'train_dataloader.dataset.pipeline.1.probability=1': "takes no 'probability'",
    'val_evaluator.benchmrk=bft': "did you mean 'benchmark'?",
    'default_hooks.logger.intervall=3': "did you mean 'interval'?",
    'custom_hooks.0.seed=3': "IterationSeedHook takes no 'seed'",
    'train_cfg.max_iter=9': "did you mean 'max_iters'?",
    'optim_wrapper.clip_group={}': "did you mean 'clip_groups'?",
    'optim_wrapper.optimizer.weightdecay=0.1': "did you mean 'weight_decay'?",
}
MISSPELT = {
    'model.temporal_adapter.type=TemporalAdaptor': "did you mean 'TemporalAdapter'?",
    'model.identity_adapter.type=IdentityAdaptor': "did you mean 'IdentityAdapter'?",
    'model.detector.spatial_adapter.type=SpatialAdapte': "'SpatialAdapter'?",
    'model.tracker.type=FDTATraker': "did you mean 'FDTATracker'?",
    'train_dataloader.dataset.type=MiniDanceDatast': "did you mean 'MiniDanceDataset'?",
    'train_dataloader.sampler.type=Nonsense': "there is no 'Nonsense'",
    'optim_wrapper.type=OptimWraper': "did you mean 'OptimWrapper'?",
    'optim_wrapper.optimizer.type=AdamX': "did you mean 'Adam'?",
    'log_processor.type=LogProcesor': "did you mean 'LogProcessor'?",
    'default_hooks.timer.type=IterTimrHook': "did you mean 'IterTimerHook'?",
}
TYPES = {
    'model.tracker.miss_tolerance=many': "found 'many', a str, expected int",
    'model.tracker.det_thr=high': "found 'high', a str, expected float",
    'model.embedding_sharing.warmup_iters=0.5': 'found 0.5, a float, expected int',
    'model.id_decoder.num_layers=2.5': 'found 2.5, a float, expected int',
    'model.id_decoder.with_cp=1': 'found 1, a int, expected bool',
    'model.id_decoder.num_id_vocabulary=True': 'found True, a bool, expected int',
    'model.temporal_adapter=TemporalAdapter': "found 'TemporalAdapter', a str",
    'train_dataloader.sampler.max_interval=[1]': 'found [1], a list, expected int',
    'train_dataloader.batch_size=0': 'found 0, expected a whole number >= 1',
    'train_dataloader.num_workers=two': "found 'two', expected a whole number >= 0",
    'train_dataloader.dataset.pipeline.1.prob=often': "found 'often', a str",
    'val_evaluator.num_workers=2.0': 'found 2.0, a float, expected int',
}
RELATIONS = {
    # Words and identities.
    'train_dataloader.dataset.pipeline.5.vocab=20': 'model.num_id_vocabulary = 16',
    'model.tracker.num_id_vocabulary=8': 'model.num_id_vocabulary = 16',
    'train_dataloader.dataset.pipeline.5.num_training_ids=17': 'expected 1 to 16',
    'train_dataloader.dataset.pipeline.5.switch_prob=2': 'expected 0..1',
    # Windows and the table of relative positions.
    'train_dataloader.sampler.lengths=17': 'model.window = 16',
    'model.tracker.miss_tolerance=18': 'model.window = 16',
    'model.temporal_adapter.embed_dims=32': 'model.detector.bbox_head.embed_dims = 64',
    'model.tracker.embed_dims=32': 'model.detector.bbox_head.embed_dims = 64',
    'model.embedding_sharing.projection.embed_dims=32': 'bbox_head.embed_dims = 64',
    'model.detector.bbox_head.loss_depth.num_bins=20': 'num_bins = 40',
    'model.detector.spatial_adapter=None': 'model.detector.bbox_head.loss_depth',
}
CASES = {**UNKNOWN, **MISSPELT, **TYPES, **RELATIONS}


@pytest.fixture
def in_nowhere(tmp_path: Path, monkeypatch) -> Path:
    """A current folder without data: whoever reads some fails in another way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    monkeypatch.setenv('LOCAL_RANK', '0')
    # MiniDance would be rendered.
    monkeypatch.setattr('mmfdta.minidance.dataset.make_minidance', None)
    return tmp_path


@pytest.mark.parametrize('option', CASES)
def test_training_ends_before_data_is_read(in_nowhere: Path, option: str, capsys):
    arguments = [str(CONFIGS / 'fdta_mini.py'), '--cfg-options', option]
    assert main(['train', *arguments]) == 1
    message = capsys.readouterr().err
    where, _, name = option.split('=')[0].rpartition('.')
    assert where in message and name in message and CASES[option] in message
    assert message.count('\n') == 1, 'one mistake, one line'
    assert list(in_nowhere.iterdir()) == []


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        ('train_dataloder.batch_size=2', "did you mean 'train_dataloader'?"),
        ('learning_rate=0.1', "no 'learning_rate' and nothing would read it"),
    ],
)
def test_an_option_that_nothing_reads(in_nowhere: Path, option: str, said: str, capsys):
    config = str(CONFIGS / 'fdta_mini.py')
    cv2.imwrite('1.png', np.zeros((8, 8, 3), np.uint8))
    for command in (
        ['train', config],
        ['track', '1.png', '--out', 'x.txt', '--config', config],
        ['export', config, '--out', 'x'],
        ['estimate-memory', config],
    ):
        assert main([*command, '--cfg-options', option]) == 1
        message = capsys.readouterr().err
        assert f'--cfg-options {option.split("=")[0]}' in message and said in message
        assert message.count('\n') == 1


def test_testing_checks_the_config_too(in_nowhere: Path, capsys):
    arguments = [str(CONFIGS / 'fdta_mini.py'), '--allow-random-weights']
    option = 'model.tracker.id_thrs=0.1'
    assert main(['test', *arguments, '--cfg-options', option]) == 1
    assert 'model.tracker.id_thrs' in capsys.readouterr().err


def test_a_misspelt_section_of_a_file(tmp_path: Path):
    path = tmp_path / 'mine.py'
    path.write_text(
        f"_base_ = ['{CONFIGS / 'fdta_mini.py'}']\n"
        'load_form = None\nmy_own_variable = 3\n'
    )
    with pytest.raises(ConfigError) as caught:
        check_config(Config.fromfile(path))
    assert str(caught.value) == "load_form: unknown key, did you mean 'load_from'?"


def test_every_mistake_is_told():
    config = Config.fromfile(CONFIGS / 'fdta_mini.py')
    config.model.tracker.det_thrs = 0.5
    config.train_dataloader.sampler.lengths = 'long'
    with pytest.raises(ConfigError) as caught:
        check_config(config)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert {line.split(':')[0] for line in lines} == {
        'model.tracker.det_thrs',
        'train_dataloader.sampler.lengths',
    }


def test_lengths_by_epoch():
    config = Config.fromfile(CONFIGS / 'fdta_mini.py')
    config.train_dataloader.sampler.lengths = {0: 4, 3: 16}
    check_config(config)
    config.train_dataloader.sampler.lengths = {0: 4, 3: 17}
    with pytest.raises(ConfigError, match='lengths = 17 frames'):
        check_config(config)


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda p: p.stem)
def test_no_config_of_ours_is_refused(path: Path):
    check_config(Config.fromfile(path))


@pytest.mark.filterwarnings('ignore:faster_coco_eval')
def test_configs_of_mmdetection_are_not_refused():
    """Some of some hundred, whatever they build in whichever way."""
    checked = 0
    for path in sorted(OTHERS.glob('[a-z]*/*.py'))[::61]:
        try:
            config = Config.fromfile(path)
        except (ImportError, KeyError, TypeError):
            continue  # of another package, or a part of a config
        try:
            check_config(config)
        except ConfigError as error:
            # A mistake of its own: the metric was renamed.
            assert 'MOTChallengeMetrics' in str(error), f'{path}: {error}'
        checked += 1
    assert checked > 8


@pytest.mark.parametrize('best', ['HOTA', 'auto', ['mot/HOTA', 'IDF1']], ids=str)
def test_mmengines_own_hook_needs_whole_names_of_scores(best):
    config = load_config('fdta_mini')
    hook = dict(type='CheckpointHook', save_best=best, rule='greater')
    config.default_hooks.checkpoint = hook
    with pytest.raises(ConfigError, match=r'checkpoint\.save_best: .* not know'):
        check_config(config)
    config.default_hooks.checkpoint = dict(hook, save_best='mot/HOTA')
    check_config(config)
    config.default_hooks.checkpoint = dict(hook, type='WholeCheckpointHook')
    check_config(config)


def test_a_base_that_is_elsewhere_is_named(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("_base_ = './fdta_dancetrack.py'\n")
    with pytest.raises(ConfigError, match=r'own is /.*configs/fdta_dancetrack\.py'):
        load_config(str(path))


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'model.detector.bbox_head.num_classes': 2}, r'has 1 \(dancer\)'),
        (
            {'train_dataloader.dataset.metainfo': dict(classes=('a', 'b'))},
            r'2 \(a, b\)',
        ),
    ],
)
def test_classes_of_model_and_data_agree(options, said):
    config = load_config('fdta_mini', options)
    with pytest.raises(ConfigError, match=f'bbox_head.num_classes = .*{said}'):
        check_config(config)


def test_the_stages_of_a_roi_head_have_the_classes_of_the_data():
    head = 'model.detector.host.roi_head.bbox_head.3.num_classes'
    config = load_config('fdta_sparse-rcnn-r50_dancetrack', {head: 80})
    with pytest.raises(ConfigError, match=rf'{head} = 80, .*has 1 \(person\)'):
        check_config(config)


def test_two_classes_of_model_and_data():
    both = {
        'model.detector.bbox_head.num_classes': 2,
        'train_dataloader.dataset.metainfo': dict(classes=('a', 'b')),
    }
    check_config(load_config('fdta_mini', both))


@pytest.mark.parametrize('as_list', [False, True], ids=['dict', 'list'])
def test_weights_of_torchvision_without_torchvision(
    in_nowhere: Path, monkeypatch, as_list: bool, capsys
):
    """As in a host that is MMDetection's own config."""
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    weights = dict(type='Pretrained', checkpoint='torchvision://resnet50')
    path = in_nowhere / 'mine.py'
    path.write_text(
        f"_base_ = ['{CONFIGS / 'fdta_dino-r50_mini.py'}']\nmodel = dict(detector=dict("
        f'host=dict(backbone=dict(init_cfg={[weights] if as_list else weights}))))\n'
    )
    assert main(['train', str(path), '--cfg-options', 'load_from=nowhere.pth']) == 1
    message = capsys.readouterr().err
    where = 'model.detector.host.backbone.init_cfg'
    assert f'{where}{".0" if as_list else ""}.checkpoint: found ' in message
    assert f'set {where}=None' in message and message.count('\n') == 1
