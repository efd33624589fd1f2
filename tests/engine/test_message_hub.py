# Copyright (c) mmfdta authors.
"""Values that wait on a device read as those that MMEngine fetches one by one."""

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from mmfdta.engine import message_hub
from mmfdta.engine.message_hub import DeferredMessageHub


@pytest.fixture
def hubs(monkeypatch: pytest.MonkeyPatch) -> tuple[MessageHub, MessageHub]:
    """MMEngine's hub, and ours, to which the CPU is a device to wait for."""
    monkeypatch.setattr(message_hub, '_AT_ONCE', ())
    name = str(len(MessageHub._instance_dict))
    return MessageHub(f'plain-{name}'), DeferredMessageHub.get_instance(f'own-{name}')


def log(hub: MessageHub, value: torch.Tensor) -> None:
    """An iteration: losses of several types, counts, host values, an aside."""
    hub.update_scalar('train/loss', value / 3)
    hub.update_scalar('train/lr', 1e-4)
    hub.update_scalar('train/half', (value / 3).half(), count=4)
    hub.update_scalar('train/number', value.long().reshape(1))
    hub.update_scalars({'train/two': dict(value=value, count=2)}, resumed=False)
    hub.update_scalar('train/mixed', value if value % 2 else float(value))
    hub.update_scalar('train/time', 0.5)


def histories(hub: MessageHub) -> dict:
    return {key: buffer.data for key, buffer in hub.log_scalars.items()}


def test_the_histories_are_those_of_mmengine(hubs):
    for step in range(7):
        for hub in hubs:
            log(hub, torch.tensor(float(step)))
            # The timer's question at each iteration.
            assert hub.get_scalar('train/time').current() == 0.5
        if step == 3:
            means = [hub.get_scalar('train/loss').mean(2) for hub in hubs]
            assert means[0] == means[1]
    expected, found = map(histories, hubs)
    assert expected.keys() == found.keys()
    for key, values in expected.items():
        np.testing.assert_array_equal(found[key], values)
        assert found[key][0].dtype == values[0].dtype
    with pytest.raises(KeyError):
        hubs[1].get_scalar('train/other')


def test_nothing_comes_over_before_it_is_read(hubs, monkeypatch):
    fetched, tolist = [], torch.Tensor.tolist

    def counted(tensor: torch.Tensor) -> list:
        fetched.append(len(tensor))
        return tolist(tensor)

    monkeypatch.setattr(torch.Tensor, 'tolist', counted)
    _, hub = hubs
    for _ in range(50):
        hub.update_scalar('train/loss', torch.tensor(1.0))
        hub.update_scalar('train/time', 0.5)
        hub.get_scalar('train/time').current()
    assert fetched == []
    assert hub.get_scalar('train/loss').mean(50) == 1.0
    assert fetched == [50]
    # They do not pile up if nobody reads them.
    monkeypatch.setattr(message_hub, '_MOST', 4)
    for _ in range(9):
        hub.update_scalar('train/loss', torch.tensor(2.0))
    assert fetched == [50, 4, 4]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_value_that_changes_afterwards_is_logged_as_it_was(hubs, dtype):
    value = torch.tensor(1.0, dtype=dtype)
    hubs[1].update_scalar('train/loss', value)
    value += 1
    hubs[1].update_scalar('train/loss', value)
    assert hubs[1].get_scalar('train/loss').data[0].tolist() == [1.0, 2.0]


def test_a_checkpoint_holds_everything(hubs):
    for hub in hubs:
        for step in range(3):
            log(hub, torch.tensor(float(step)))
    plain, own = (hub.state_dict() for hub in hubs)
    assert plain['log_scalars'].keys() == own['log_scalars'].keys()
    assert 'train/two' not in own['log_scalars']
    assert {type(b).__module__ for b in own['log_scalars'].values()} == {
        'mmengine.logging.history_buffer'
    }
    resumed = DeferredMessageHub(f'{hubs[1].instance_name}-resumed')
    resumed.load_state_dict(plain)
    for hub in (hubs[0], resumed):
        log(hub, torch.tensor(9.0))
    for key in plain['log_scalars']:
        np.testing.assert_array_equal(histories(resumed)[key], histories(hubs[0])[key])


def test_the_hub_is_the_current_one(hubs):
    assert MessageHub.get_current_instance() is hubs[1]
