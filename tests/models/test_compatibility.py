# Copyright (c) mmfdta authors.
"""What was made with mmfdta 0.1 loads, and gives the same tracks."""

import json

import numpy as np
import pytest
import torch
from frozen.make_frozen import FOLDER, NAMES, track
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

import mmfdta.registry  # noqa: F401


@pytest.mark.parametrize('name', NAMES)
def test_checkpoints_of_0_1_give_the_same_tracks(name: str):
    config = json.loads((FOLDER / f'{name}.json').read_text())
    weights = torch.load(FOLDER / f'{name}.pth', weights_only=True)['state_dict']
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config)
    model.load_state_dict(weights, strict=True)
    found, expected = track(model.eval()), np.load(FOLDER / f'{name}.npy')
    assert len(expected) > 40
    assert found[:, :2].tolist() == expected[:, :2].tolist()
    np.testing.assert_allclose(found[:, 2:], expected[:, 2:], rtol=0, atol=2e-3)
