# Copyright (c) mmfdta authors.
"""Released files at every way in: each takes what `mmfdta convert` would make of it."""

import argparse
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image
from tiny_run import tiny_run

from mmfdta.apis import MOTInferencer
from mmfdta.apis.config import build_runner, load_config
from mmfdta.apis.train import find_initial_weights, train
from mmfdta.apis.weights import find_checkpoint
from mmfdta.checkpoints import (
    CheckpointMismatchError,
    convert_state_dict,
    read_state_dict,
    write_checkpoint,
)
from mmfdta.cli.main import main

__all__ = ['tiny_run']


@pytest.fixture
def files(tiny_run, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A config, its model's weights, and the same in a file as released."""
    config = tiny_run()
    torch.manual_seed(3)
    model = MOTInferencer(str(config), device='cpu', allow_random_weights=True).model
    own = model.state_dict()
    for name in own:
        if 'backbone' in name and name.endswith('running_var'):
            own[name].uniform_(0.5, 2)
    write_checkpoint(dict(state_dict=own), tmp_path / 'own.pth')
    released = convert_state_dict(own, to='fdta').state_dict
    assert 'detr.transformer.level_embed' in released
    content = dict(
        model={f'module.{name}': tensor for name, tensor in released.items()},
        args=argparse.Namespace(lr=1.0),
        optimizer=dict(state={}, param_groups=[]),
        epoch=12,
    )
    torch.save(content, tmp_path / 'released.pth')
    return config, tmp_path / 'own.pth', tmp_path / 'released.pth'


def without_drawn(state_dict: dict) -> dict:
    """Leave out what no released file holds."""
    return {n: t for n, t in state_dict.items() if 'identity_adapter' not in n}


def same(found: dict, expected: dict) -> bool:
    found, expected = without_drawn(found), without_drawn(expected)
    return found.keys() == expected.keys() and all(
        torch.equal(tensor.cpu(), expected[name]) for name, tensor in found.items()
    )


def test_a_test_tracks_alike_and_says_what_it_took(files, tmp_path, capsys):
    config, own, released = files
    tracks = {}
    for file in (own, released):
        out = tmp_path / file.stem
        assert main(['test', str(config), str(file), '--out', str(out)]) == 0
        tracks[file] = {p.name: p.read_text() for p in sorted(out.rglob('*.txt'))}
        said = capsys.readouterr()
        lines = [x for x in (said.out + said.err).splitlines() if 'as released' in x]
        assert len(lines) == (file is released)
    assert f"{released}: FDTA as released, converted to the model's names" in lines[0]
    assert tracks[own] == tracks[released]
    assert any(tracks[own].values())


def test_training_starts_with_them(files):
    path, own, released = files
    config = load_config(str(path), dict(load_from=str(released)))
    runner = build_runner(config)
    runner.load_or_resume()
    weights = torch.load(own, weights_only=True)['state_dict']
    assert same(runner.model.state_dict(), weights)


def test_training_goes_on_from_its_own_files_only(files, capsys):
    path, _, released = files
    assert main(['train', str(path), '--resume', str(released)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert 'does not hold the weights of this model' in line


def test_the_inferencer_takes_them(files):
    path, own, released = files
    model = MOTInferencer(str(path), str(released), device='cpu').model
    weights = torch.load(own, weights_only=True)['state_dict']
    assert same(model.state_dict(), weights)


def test_a_detector_of_coco_tracks_nothing_but_starts_a_training(
    files, tmp_path, capsys
):
    path, own, _ = files
    weights = torch.load(own, weights_only=True)['state_dict']
    plain = convert_state_dict(weights, to='deformable_detr').state_dict
    for name, tensor in plain.items():
        if 'class_embed' in name:
            plain[name] = torch.randn(91, *tensor.shape[1:])
    torch.save(dict(model=plain, args=argparse.Namespace()), tmp_path / 'coco.pth')
    Image.new('RGB', (64, 48)).save(tmp_path / 'frame.png')
    arguments = [str(path), '--checkpoint', str(tmp_path / 'coco.pth')]
    for line in (
        ['test', *arguments],
        [
            'track',
            str(tmp_path / 'frame.png'),
            '--config',
            *arguments,
            '--out',
            'tracks.txt',
        ],
        ['similarity', *arguments, '--out', str(tmp_path / 'out')],
    ):
        assert main(line) == 1
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert last.startswith(
            f'mmfdta {line[0]}: {tmp_path / "coco.pth"} does not fit'
        )
        assert 'Deformable DETR as released, which has no spatial adapter' in last
    config = load_config(str(path), dict(load_from=str(tmp_path / 'coco.pth')))
    runner = build_runner(config)
    runner.load_or_resume()
    found = runner.model.state_dict()
    for name, tensor in convert_state_dict(plain).state_dict.items():
        assert torch.equal(found[name].cpu(), tensor)


def test_init_cfg_starts_what_load_from_does_not_have(tmp_path, monkeypatch):
    detector = MODELS.build(load_config('deformable_detr_pets').model).state_dict()
    write_checkpoint(dict(state_dict=detector), tmp_path / 'detector.pth')
    monkeypatch.chdir(tmp_path)
    options = dict(load_from='detector.pth', work_dir='run')
    config = load_config('motip_pets', options)
    assert find_initial_weights(config) == [str(find_checkpoint('minidance'))]
    runner = build_runner(config)
    runner.model.init_weights()
    runner.load_or_resume()
    package = read_state_dict(find_checkpoint('minidance'))
    found = runner.model.state_dict()
    assert {name.split('.')[0] for name in found} == {
        *('detector', 'trajectory_modeling', 'id_decoder')
    }
    for name, tensor in found.items():
        part, _, rest = name.partition('.')
        expected = detector[rest] if part == 'detector' else package[name]
        assert torch.equal(tensor.cpu(), expected), name


def test_init_cfg_names_a_file_that_has_weights_of_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config('motip_pets', dict(load_from='minidance', work_dir='run'))
    config.model.init_cfg.checkpoint = 'boxes.pth'
    with pytest.raises(
        FileNotFoundError,
        match=r'model\.init_cfg\.checkpoint: there is no checkpoint boxes\.pth; train',
    ):
        find_initial_weights(config)
    write_checkpoint(dict(state_dict={'other.weight': torch.ones(2)}), 'boxes.pth')
    assert find_initial_weights(config) == ['boxes.pth']
    with pytest.raises(
        CheckpointMismatchError, match=r'init_cfg\.checkpoint=boxes\.pth: none of its 1'
    ):
        train(config)


def test_classes_of_the_file_become_those_of_the_config(files, tmp_path):
    """MMDetection's file knows 80 classes, the model one."""
    path, own, _ = files
    weights = torch.load(own, weights_only=True)['state_dict']
    weights |= {
        name: torch.randn(80, *tensor.shape[1:])
        for name, tensor in weights.items()
        if 'cls_branches' in name
    }
    names = tuple(f'kind {i}' for i in range(77)) + ('cat', 'person', 'dog')
    meta = dict(dataset_meta=dict(classes=names, palette=[(0, 0, 0)] * 80))
    write_checkpoint(dict(state_dict=weights, meta=meta), tmp_path / 'coco.pth')
    inferencer = MOTInferencer(
        Config.fromfile(path), str(tmp_path / 'coco.pth'), device='cpu'
    )
    assert inferencer.classes == ('person',)
    found = inferencer.model.state_dict()
    heads = [name for name in weights if 'cls_branches' in name]
    for name in heads:
        assert torch.equal(found[name], weights[name][78:79])
