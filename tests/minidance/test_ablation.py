# Copyright (c) mmfdta authors.
"""The ablation, tiny: variants differ in their adapters only, and are reused."""

import copy
import json
import statistics

import pytest
import tiny_demo
import torch
from mmengine.config import Config

from mmfdta.apis.config import find_config
from mmfdta.cli.main import main
from mmfdta.minidance import ablation

PARTS = dict(S='detector.spatial_adapter', T='temporal_adapter', I='identity_adapter')


def run(folder, capsys):
    settings = tiny_demo.command_line()
    folders = ['--work-dir', str(folder / 'work'), '--data-root', str(folder / 'data')]
    what = ['--seeds', '3', '5', '--variants', 'none', 'TA+IA']
    code = main(['ablation', *folders, *what, '--cfg-options', *settings])
    return code, capsys.readouterr().out


def test_variants_are_trained_once_and_tabled(tmp_path, capsys):
    code, first = run(tmp_path, capsys)
    assert code == 0
    work = tmp_path / 'work'
    found = json.loads((work / 'ablation.json').read_text())
    assert {name: list(seeds) for name, seeds in found.items()} == {
        'none': ['seed3', 'seed5'],
        'TA+IA': ['seed3', 'seed5'],
    }
    for folder, kept in (('none', ''), ('TI', 'TI')):
        state = torch.load(work / 'seed3' / folder / 'fdta.pth', weights_only=True)
        for letter, part in PARTS.items():
            there = any(name.startswith(part) for name in state['state_dict'])
            assert there == (letter in kept)
    rows = (work / 'ablation.csv').read_text().splitlines()
    assert [row.split(',')[:2] for row in rows[1:]] == [
        ['none', '3'],
        ['none', '5'],
        ['TA+IA', '3'],
        ['TA+IA', '5'],
    ]
    assert (work / 'ablation.md').read_text() in first
    code, second = run(tmp_path, capsys)
    assert code == 0
    assert second.count('reused') == 16
    assert 'done in' not in second


def test_each_detector_trains_and_starts_fdta_on_it(tmp_path, capsys):
    """The learning rate is 0: FDTA ends with the weights of its detector."""
    folders = ['--work-dir', str(tmp_path / 'work'), '--data-root', str(tmp_path / 'd')]
    what = ['--seeds', '3', '--variants', 'TA+IA', '--detectors', 'dino']
    what += ['--sharing', 'detached', '--cfg-options', *tiny_demo.command_line()]
    assert main(['ablation', *folders, *what]) == 0
    seed = tmp_path / 'work' / 'dino' / 'seed3'
    detector = torch.load(seed / 'detector.pth', weights_only=True)['state_dict']
    trained = torch.load(seed / 'TI-detached' / 'fdta.pth', weights_only=True)
    host = {
        name.removeprefix('detector.host.'): value
        for name, value in trained['state_dict'].items()
        if name.startswith('detector.')
    }
    assert host.keys() == detector.keys()
    parameters = [k for k in host if 'running' not in k and 'batches' not in k]
    assert all(torch.equal(host[name], detector[name]) for name in parameters)
    rows = (tmp_path / 'work' / 'ablation.csv').read_text().splitlines()
    assert rows[1].startswith('"dino, TA+IA, detached",3,')


def test_each_way_of_depth_trains(tmp_path, capsys):
    """The learning rate is 0: FDTA ends with what it began with."""
    folders = ['--work-dir', str(tmp_path / 'work'), '--data-root', str(tmp_path / 'd')]
    what = ['--seeds', '3', '--variants', 'SA', 'none', '--spatial']
    what += ['gate', 'loss-only', 'from-start']
    settings = ['--cfg-options', *tiny_demo.command_line()]
    assert main(['ablation', *folders, *what, *settings]) == 0
    seed = tmp_path / 'work' / 'seed3'

    def read(path):
        weights = torch.load(seed / path, weights_only=True)['state_dict']
        return {k: v for k, v in weights.items() if 'spatial' in k or 'depth' in k}

    gate = read('S-gate/fdta.pth')
    gates = [v for k, v in gate.items() if k.endswith('depth_attn_gate')]
    assert len(gates) == 3 and not any(value.any() for value in gates)
    loss_only = read('S-loss-only/fdta.pth')
    assert loss_only and all('spatial_adapter' in name for name in loss_only)
    depth = {f'detector.{k}': v for k, v in read('detector-depth.pth').items()}
    from_start = read('S-from-start/fdta.pth')
    assert depth.keys() == from_start.keys() and not read('detector.pth')
    assert all(torch.equal(from_start[name], depth[name]) for name in depth)
    losses = (seed / 'train_detector-depth').glob('*/vis_data/scalars.json')
    assert all('loss_depth' in line for path in losses for line in path.open())
    rows = (tmp_path / 'work' / 'ablation.csv').read_text().splitlines()[1:]
    names = ['none', '"SA, gate"', '"SA, loss-only"', '"SA, from-start"']
    assert [row.rsplit(',', 9)[0] for row in rows] == names


def test_the_table_has_mean_and_deviation():
    values = dict(HOTA=[0.5, 0.6, 0.61], IDSW=[3, 5, 10])
    rows = {
        f'seed{i}': {c: values.get(c, [0.25] * 3)[i] for c in ablation.COLUMNS}
        for i in range(3)
    }
    line = ablation.summarise_seeds({'all': rows}).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    spread = statistics.stdev([50, 60, 61])
    assert cells[:3] == ['all', '3', f'57.0 ± {spread:.1f}']
    assert cells[6] == '6 ± 4'
    assert cells[7] == '25.0 ± 0.0'


def test_scores_of_an_earlier_version_have_no_column_for_val():
    rows = {'seed0': {c: 0.5 for c in ablation.COLUMNS if c != 'val'}}
    line = ablation.summarise_seeds({'all': rows}).splitlines()[-1]
    assert line.rstrip(' |').endswith('-')


def test_every_combination_has_a_name_and_a_place_of_its_own(tmp_path):
    variants = ablation.known_variants()
    assert len({variant.name for variant in variants}) == len(variants)
    places = {variant.root(tmp_path) / 'seed0' / variant.key for variant in variants}
    assert len(places) == len(variants)
    named = {variant.name for variant in ablation.list_variants()}
    assert named == {*ablation.VARIANTS}
    ways = ablation.list_variants(['TA+IA', 'all'], spatial=['gate', 'released'])
    assert [variant.name for variant in ways] == ['TA+IA', 'all, gate', 'all']


def test_detectors_of_mmdetection_have_no_depth_from_the_start():
    with pytest.raises(ValueError, match='from-start with --detectors dino, expected'):
        ablation.list_variants(['all'], ['dino'], spatial=['gate', 'from-start'])


@pytest.mark.parametrize('option', ['variants', 'detectors', 'sharing', 'spatial'])
def test_an_unknown_choice_is_named(option, tmp_path, capsys):
    code = main(['ablation', '--work-dir', str(tmp_path), f'--{option}', 'dno'])
    assert code == 1
    said = capsys.readouterr().err
    assert f"--{option}: found 'dno', expected" in said
    assert len(said.splitlines()) == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize('detector', ablation.DETECTORS)
@pytest.mark.parametrize('name', ablation.VARIANTS)
def test_every_other_setting_stays(name, detector):
    kept = ablation.VARIANTS[name]
    path = find_config(ablation.DETECTORS[detector][1])
    full = Config.fromfile(path)
    config = ablation.without_adapters(Config.fromfile(path), kept)
    for adapter in ('temporal_adapter', 'identity_adapter'):
        wanted = full.model[adapter] if adapter[0].upper() in kept else None
        assert config.model.pop(adapter) == wanted
        full.model.pop(adapter)
    if 'S' not in kept:
        assert config.model.detector.spatial_adapter is None
        full.model.detector.spatial_adapter = None
        if detector == 'deformable-detr':
            full.model.detector.bbox_head.loss_depth = None
        else:
            full.model.detector.loss_depth = None
    assert config.model == full.model
    assert config.train_dataloader == full.train_dataloader
    assert config.param_scheduler == full.param_scheduler


@pytest.mark.parametrize('detector', ablation.DETECTORS)
@pytest.mark.parametrize('way', ablation.SPATIAL)
def test_a_way_changes_nothing_but_depth(way, detector):
    path = find_config(ablation.DETECTORS[detector][1])
    full = Config.fromfile(path)
    config = ablation.set_spatial(Config.fromfile(path), way)
    adapter = config.model.detector.spatial_adapter
    assert adapter.pop('with_embedding', True) == (way != 'loss-only')
    assert adapter.pop('feature_gradient', 0.0) == (way == 'loss-only')
    gated = config.model.detector.pop('depth_attn_cfg', {})
    assert gated == (dict(gated=True) if way == 'gate' else {})
    keys = full.optim_wrapper.paramwise_cfg.custom_keys
    if way == 'loss-only':
        for name in ('depth_attn', 'depth_norm', 'depth_layers'):
            keys.pop(name, None)
    assert config.to_dict() == full.to_dict()


def test_a_detector_with_depth_from_the_start_is_else_the_same():
    plain, tracker = (
        Config.fromfile(find_config(name))
        for name in ablation.DETECTORS['deformable-detr']
    )
    config = ablation.with_depth(copy.deepcopy(plain), tracker)
    model = tracker.model.detector
    assert config.model.spatial_adapter == model.spatial_adapter
    assert config.model.bbox_head.loss_depth == model.bbox_head.loss_depth
    steps = config.train_dataloader.dataset.pipeline
    names = [step.type for step in steps]
    assert names.index('LoadClipDepth') == names.index('DecodeClip') + 1
    steps.pop(names.index('LoadClipDepth'))
    config.model.spatial_adapter = config.model.bbox_head.loss_depth = None
    for part in ('model', 'train_dataloader', 'optim_wrapper', 'train_cfg'):
        assert config[part] == plain[part]
