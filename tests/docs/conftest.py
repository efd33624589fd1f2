# Copyright (c) mmfdta authors.
"""A folder as `make demo` leaves it, small and untrained."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from small_minidance import SIZE

from mmfdta.apis.config import find_config
from mmfdta.minidance import MiniDanceOptions, make_minidance


@pytest.fixture
def workshop(tmp_path, monkeypatch) -> Path:
    """A folder with what the page asks for, small."""
    make_minidance(tmp_path / 'data/minidance', MiniDanceOptions(**SIZE), 1)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(find_config('fdta_mini')).model)
    model.init_weights()
    for branch in model.detector.bbox_head.cls_branches:
        torch.nn.init.normal_(branch.weight, std=0.6)
        torch.nn.init.constant_(branch.bias, 0.5)
    (tmp_path / 'work_dirs/demo').mkdir(parents=True)
    weights = dict(state_dict=model.state_dict())
    torch.save(weights, tmp_path / 'work_dirs/demo/fdta.pth')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path
