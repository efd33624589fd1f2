# Copyright (c) mmfdta authors.
"""The ablation, tiny: variants differ in their adapters only, and are reused."""

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
    variants = ablation.list_variants(
        list(ablation.VARIANTS), list(ablation.DETECTORS), list(ablation.SHARING)
    )
    assert len({variant.name for variant in variants}) == len(variants)
    places = {variant.root(tmp_path) / 'seed0' / variant.key for variant in variants}
    assert len(places) == len(variants)
    named = {variant.name for variant in ablation.list_variants()}
    assert named == {*ablation.VARIANTS}


@pytest.mark.parametrize('option', ['variants', 'detectors', 'sharing'])
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
