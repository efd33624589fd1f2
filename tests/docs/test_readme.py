# Copyright (c) mmfdta authors.
"""What README.md shows, run as printed: small data, weights that need no network."""

import dataclasses
import hashlib

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from pages import ROOT, code_blocks, shell_words
from small_minidance import SIZE

from mmfdta.apis import weights
from mmfdta.apis.config import find_config
from mmfdta.checkpoints import PUBLISHED
from mmfdta.cli.main import main as command_line
from mmfdta.minidance import MiniDanceOptions, make_minidance

README = ROOT / 'README.md'
# Sizes of a test: MiniDance of a few frames and two iterations.
TESTED = [
    *(
        f'{part}_dataloader.dataset.options.{name}={size}'
        for part in ('val', 'test')
        for name, size in SIZE.items()
    ),
    *(
        f'{part}_dataloader.{setting}'
        for part in ('val', 'test')
        for setting in ('num_workers=0', 'persistent_workers=False')
    ),
]
TRAINED = [
    *(f'train_dataloader.dataset.options.{name}={size}' for name, size in SIZE.items()),
    *('train_dataloader.sampler.lengths=3', 'train_cfg.max_iters=2'),
    'train_cfg.val_interval=2',
]


def commands() -> dict[str, list[str]]:
    """The arguments of the README's `mmfdta VERB` by verb."""
    return {
        words[1]: list(words[1:])
        for block in code_blocks(README, 'shell')
        for words in shell_words(block)
        if words[0] == 'mmfdta'
    }


@pytest.fixture
def people(tmp_path, monkeypatch):
    """A folder with `people.mp4`, and YOLOX-tiny as if it had been fetched."""
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'hub'))
    known = PUBLISHED['yolox-tiny']
    path = tmp_path / 'hub' / 'checkpoints' / known.file
    path.parent.mkdir(parents=True)
    model = Config.fromfile(find_config('bytetrack_yolox-tiny_coco')).model
    state = MODELS.build(model.detector).state_dict()
    # Nothing is an object: what is tracked is other tests'.
    values = {n: -10.0 if 'conv_obj' in n else 0.0 for n in state}
    state = {n: torch.full_like(w, values[n]) for n, w in state.items()}
    torch.save(dict(state_dict=state), path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    known = dataclasses.replace(known, sha256_prefix=digits)
    monkeypatch.setattr(weights, 'PUBLISHED', {**PUBLISHED, known.name: known})
    folder = tmp_path / 'here'
    folder.mkdir()
    size = (96, 64)
    writer = cv2.VideoWriter(
        str(folder / 'people.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10, size
    )
    for number in range(3):
        writer.write(np.full((*size[::-1], 3), 80 * number, np.uint8))
    writer.release()
    monkeypatch.chdir(folder)
    return folder


def test_the_command_and_the_code_track_the_video(people, capsys):
    assert command_line(commands()['track']) == 0
    written = {path.name for path in people.iterdir()}
    assert written == {'people.mp4', 'people_tracks.mp4', 'people_tracks.txt'}
    (code,) = code_blocks(README, 'python')
    assert 'MOTInferencer().track' in code
    capsys.readouterr()
    names: dict = {}
    exec(compile(code, str(README), 'exec'), names)
    frames = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert frames == ['1', '2', '3']
    assert names['picture'].shape == (64, 96, 3)


def test_the_commands_train_and_compare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = commands()
    options = ['--cfg-options', *TESTED]
    assert command_line([*found['train'], *options, *TRAINED]) == 0
    assert (tmp_path / 'work_dirs' / 'fdta_mini_demo' / 'iter_2.pth').is_file()
    make_minidance(tmp_path / 'data' / 'minidance', MiniDanceOptions(**SIZE), 1)
    assert command_line([*found['benchmark'], *options]) == 0
    table = tmp_path / 'work_dirs' / 'benchmark_val' / 'benchmark.md'
    rows = [line.split('|')[1].strip() for line in table.read_text().splitlines()[2:4]]
    assert rows == ['fdta_mini', 'bytetrack_fdta-det_mini']


def test_every_command_of_the_readme_is_run_here_or_in_ci():
    """pip and make are CI's: it installs, tests and runs the demo."""
    assert set(commands()) == {'track', 'train', 'benchmark'}
    others = {
        words[:2]
        for block in code_blocks(README, 'shell')
        for words in shell_words(block)
        if words[0] != 'mmfdta'
    }
    assert others == {('pip', 'install'), ('make', 'test'), ('make', 'demo')}
