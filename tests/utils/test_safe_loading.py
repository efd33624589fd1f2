# Copyright (c) mmfdta authors.
"""MMEngine's training state loads with `weights_only=True`; nothing else does."""

import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner.checkpoint import _load_checkpoint as load_checkpoint

from mmfdta.utils.safe_loading import require_safe_loading


class Calls:
    """An object whose unpickling calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_message_hub_loads_as_it_was(tmp_path):
    hub = MessageHub('safe loading')
    for value in (3.0, 2.0, np.float64(1.0)):
        hub.update_scalar('train/loss', value)
    hub.update_info('epoch', 4)
    torch.save(dict(message_hub=hub.state_dict()), tmp_path / 'state.pth')

    # OneDL's MMEngine takes back what it allows, which must not be ours.
    load_checkpoint(str(tmp_path / 'state.pth'))
    state = torch.load(tmp_path / 'state.pth', weights_only=True)['message_hub']
    buffer = state['log_scalars']['train/loss']
    assert isinstance(buffer, HistoryBuffer)
    assert buffer.data[0].tolist() == [3.0, 2.0, 1.0]
    assert buffer.statistics('mean', 2) == 1.5
    assert state['runtime_info']['epoch'] == 4


@pytest.mark.parametrize('code', ['f', 'd', 'i', 'l', '?'])
def test_numpy_arrays_and_scalars_load(tmp_path, code):
    values = np.array([1, 0, 1]).astype(code)
    torch.save(dict(array=values, scalar=values[0]), tmp_path / 'numpy.pth')
    loaded = torch.load(tmp_path / 'numpy.pth', weights_only=True)
    np.testing.assert_array_equal(loaded['array'], values)
    assert loaded['array'].dtype == values.dtype
    assert loaded['scalar'] == values[0]


@pytest.mark.parametrize(
    'payload',
    [
        Calls(os.path.join, 'any', 'call'),
        Calls(getattr, np.ndarray, 'tofile'),
        Calls(getattr, HistoryBuffer, '__init__.__globals__'),
    ],
    ids=['function', 'attribute of another class', 'dotted attribute'],
)
def test_code_in_a_checkpoint_is_refused(monkeypatch, tmp_path, payload):
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    torch.save(dict(state_dict={}, payload=payload), tmp_path / 'bad.pth')
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')
    require_safe_loading()
    with pytest.raises((pickle.UnpicklingError, TypeError, AttributeError)):
        # Asked for in so many words, as OneDL's MMEngine does after a refusal.
        torch.load(tmp_path / 'bad.pth', weights_only=False)
