# Copyright (c) mmfdta authors.
"""A tiny data set, weights, and the benchmark as people call it."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from mmfdta.apis.benchmark import comparison, runs
from mmfdta.apis.config import find_config
from mmfdta.apis.sequence_loop import SequenceLoop
from mmfdta.cli.main import main
from mmfdta.minidance import MiniDanceOptions, make_minidance

OPTIONS = dict(train=1, val=1, test=2, frames=8, width=96, height=64)


@dataclass
class Arena:
    """Data, weights and a folder for results."""

    folder: Path
    data: Path
    weights: Path

    def options(self) -> list[str]:
        """Settings that point configs at the data."""
        found = []
        for dataset in ('val_dataloader.dataset', 'test_dataloader.dataset'):
            found.append(f'{dataset}.data_root={self.data}')
            found += [f'{dataset}.options.{k}={v}' for k, v in OPTIONS.items()]
        return found

    def run(self, *arguments: str) -> int:
        """Run the benchmark on the test split."""
        return main(
            [
                'benchmark',
                *('--data', 'test', '--out', str(self.folder / 'out')),
                *('--device', 'cpu', '--threads', '1', '--warmup', '2'),
                *('--resamples', '50', *arguments),
                *('--cfg-options', *self.options()),
            ]
        )

    def tracks(self, name: str) -> dict[str, str]:
        """Texts that the run of an entry has left."""
        folder = self.folder / 'out' / 'runs' / name / 'tracks'
        return {path.name: path.read_text() for path in sorted(folder.glob('*.txt'))}

    def records(self, name: str) -> list[dict]:
        """Records of the sequences of an entry."""
        folder = self.folder / 'out' / 'runs' / name / 'sequences'
        return [json.loads(path.read_text()) for path in sorted(folder.iterdir())]


@pytest.fixture(scope='session')
def minidance(tmp_path_factory) -> Path:
    """A sequence of eight frames to choose settings on, and two to test."""
    root = tmp_path_factory.mktemp('minidance') / 'data'
    make_minidance(root, MiniDanceOptions(**OPTIONS), processes=1)
    return root


@pytest.fixture(scope='session')
def fdta_weights(tmp_path_factory) -> Path:
    """Weights of the small FDTA whose detector finds something."""
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(find_config('fdta_mini')).model)
    model.init_weights()
    _see_a_grid_of_boxes(model.detector)
    path = tmp_path_factory.mktemp('weights') / 'fdta.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


@torch.no_grad()
def _see_a_grid_of_boxes(detector: torch.nn.Module) -> None:
    """Place queries all over the image; scores depend on what is to be seen."""
    x, y = torch.meshgrid(
        torch.linspace(0.1, 0.9, 6), torch.linspace(0.3, 0.8, 5), indexing='ij'
    )
    centres = torch.stack([x, y], -1).flatten(0, 1).logit()
    channels = detector.embed_dims
    detector.query_embedding.weight[:, :2] = centres
    detector.reference_points_fc.weight.copy_(torch.eye(2, channels))
    detector.reference_points_fc.bias.zero_()
    size = torch.tensor([0.15, 0.4]).logit().tolist()
    head = detector.bbox_head
    for layer, branch in enumerate(head.reg_branches):
        branch[-1].weight.zero_()
        branch[-1].bias.copy_(torch.tensor([0, 0, *(size if layer == 0 else (0, 0))]))
    for branch in head.cls_branches:
        torch.nn.init.normal_(branch.weight, std=0.6)
        torch.nn.init.constant_(branch.bias, 3.0)


@pytest.fixture
def arena(tmp_path, minidance, fdta_weights) -> Arena:
    """Data, weights and an empty folder."""
    return Arena(tmp_path, minidance, fdta_weights)


@pytest.fixture
def in_process(monkeypatch):
    """Run jobs here: starting a process takes longer than these jobs."""
    done = []

    def run(process, check):
        done.append(json.loads(Path(process[-1]).read_text())['name'])
        return subprocess.CompletedProcess(process, runs.main(process[-1:]))

    monkeypatch.setattr(comparison.subprocess, 'run', run)
    return done


@pytest.fixture
def detected(monkeypatch):
    """Sequences that a detector has looked at."""
    looked = []
    inner = SequenceLoop._detect_frames

    def look(self, index, numbers=None):
        looked.append(self.dataset.sequences[index].name)
        yield from inner(self, index, numbers)

    monkeypatch.setattr(SequenceLoop, '_detect_frames', look)
    return looked
