# Copyright (c) mmfdta authors.
"""What docs/own_data.md does with own data, on a few frames."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from pages import ROOT, code_blocks, shell_words

from mmfdta.apis.config import find_config
from mmfdta.cli.main import main as command_line

LENGTH, SIZE = 4, (64, 96)
# Sizes of a test: what the pages' commands leave to the config.
_TRAIN = 'train_dataloader.dataset.pipeline.3.transforms'
SMALL = [
    *(f'{_TRAIN}.0.0.short_sides=[32]', f'{_TRAIN}.1.2.short_sides=[32]'),
    *('train_dataloader.sampler.lengths=3', 'train_cfg.max_epochs=1'),
    'model.clip_detection.num_grad_frames=1',
    *(
        f'{name}_dataloader.{setting}'
        for name in ('train', 'val', 'test')
        for setting in ('num_workers=0', 'persistent_workers=False')
    ),
    *(
        f'{name}_dataloader.dataset.pipeline.0.transforms.1.short=32'
        for name in ('val', 'test')
    ),
]


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    """A detector as it is initialised, in MMDetection's names, for `convert`."""
    torch.manual_seed(0)
    config = Config.fromfile(find_config('deformable_detr_dancetrack'))
    config.model.backbone.init_cfg = None
    state_dict = MODELS.build(config.model).state_dict()
    path = tmp_path_factory.mktemp('weights') / 'coco.pth'
    torch.save(dict(state_dict=state_dict), path)
    return path


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    """The layout of the page, with two people who walk."""
    rng = np.random.default_rng(0)
    for split, name in (('train', 'street01'), ('val', 'street02')):
        folder = tmp_path / 'data' / 'mine' / split / name
        (folder / 'img1').mkdir(parents=True)
        (folder / 'gt').mkdir()
        rows = ''
        for frame in range(1, LENGTH + 1):
            image = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / 'img1' / f'{frame:06d}.jpg'), image)
            for i in (1, 2):
                rows += f'{frame},{i},{20 * i + frame},10,12,30,1,1,1\n'
        (folder / 'gt' / 'gt.txt').write_text(rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(page: Path, *verbs: str) -> list[list[str]]:
    """The page's commands on data/mine or mine.py, by their verbs."""
    found = [
        list(words[1:])
        for block in code_blocks(page, 'shell')
        for words in shell_words(block)
        if words[0] == 'mmfdta' and re.search(r'\bmine\b', ' '.join(words))
    ]
    assert [arguments[0] for arguments in found[: len(verbs)]] == [*verbs]
    return found[: len(verbs)]


def small(arguments: list[str]) -> list[str]:
    options = [] if '--cfg-options' in arguments else ['--cfg-options']
    return [*arguments, *options, *SMALL]


def test_the_command_without_a_config_trains(mine, weights, capfd):
    page = ROOT / 'docs' / 'own_data.md'
    *_, train = commands(page, 'check-data', 'train', 'test', 'train')
    assert command_line(['convert', str(weights), 'detector.pth']) == 0
    assert command_line(small(train)) == 0
    said = capfd.readouterr()
    lines = said.out + said.err
    assert 'Epoch(train) [1]' in lines and 'mot/HOTA: ' in lines
    folder = mine / 'work_dirs' / 'fdta_dancetrack'
    assert {path.name for path in folder.glob('*.pth')} >= {
        'epoch_1.pth',
        'best_mot_HOTA_epoch_1.pth',
    }


def test_the_config_of_the_page_is_tested(mine, weights, capfd):
    """Its config, and its commands except the training, which the other one is."""
    page = ROOT / 'docs' / 'own_data.md'
    (block,) = [b for b in code_blocks(page, 'python') if b.startswith('# mine.py')]
    base = find_config('fdta_dancetrack')
    (mine / 'mine.py').write_text(block.replace('./fdta_dancetrack.py', str(base)))
    check, train, test = commands(page, 'check-data', 'train', 'test')
    assert command_line(check) == 0
    # Without weights of the published size, the model as it is initialised.
    assert test[:2] == ['test', 'mine.py'] and train[:2] == ['train', 'mine.py']
    assert command_line(small(['test', 'mine.py', '--allow-random-weights'])) == 0
    said = capfd.readouterr()
    assert 'COMBINED' in said.out + said.err
    assert (mine / 'work_dirs' / 'mine' / 'tracks' / 'street02.txt').is_file()
