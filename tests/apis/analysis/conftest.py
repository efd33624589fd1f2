# Copyright (c) mmfdta authors.
"""A small FDTA and two rendered sequences of eight frames."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config

from mmfdta.apis.config import find_config
from mmfdta.apis.model_loading import load_tracker

OPTIONS = dict(width=96, height=64, frames=8, train=0, val=2, test=0, min_dancers=3)


@pytest.fixture(scope='module')
def mini(tmp_path_factory):
    """Config file, config, model with random weights, checkpoint and data set."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp('mini')
    config = Config.fromfile(find_config('fdta_mini'))
    dataset = config.val_dataloader.dataset
    dataset.update(data_root=str(folder / 'data'), options=OPTIONS)
    # Untrained queries look alike; every one of them is a detection.
    config.model.tracker.update(det_thr=0.0, newborn_thr=0.0, id_thr=0.05)
    config.load_from = None
    path = folder / 'fdta_tiny.py'
    config.dump(path)
    model = load_tracker(config, None, 'cpu', allow_random_weights=True)
    checkpoint = folder / 'weights.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    return SimpleNamespace(
        folder=folder,
        path=path,
        config=config,
        model=model,
        checkpoint=checkpoint,
        dataset=DATASETS.build(dataset),
        dataset_options=OPTIONS,
    )
