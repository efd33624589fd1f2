# Copyright (c) mmfdta authors.
"""Logging waits once an interval, the check of losses once a step."""

import math

import pytest
from device_fixtures import assert_budget

VALUES = [1.0, 2.0, 3.0, 2.0, 1.0, 4.0, 1.0, 2.0, 3.0, 2.0]
CHECK = dict(
    stop='engine/finite_loss_hook.py:_stop_if_broken',
    skip='engine/finite_loss_hook.py:_after_forward',
)
FETCH = 'engine/message_hub.py:_fetch'


@pytest.mark.parametrize('action', ['stop', 'skip'])
def test_waits_of_an_epoch(simulated_cuda, tmp_path, action) -> None:
    """Ten steps in two intervals; then a checkpoint."""
    hooks = [dict(type='FiniteLossHook', action=action)]
    counts = simulated_cuda(
        'case_logging',
        'logged',
        folder=str(tmp_path),
        values=VALUES,
        custom_hooks=hooks,
    )
    saving = {k: n for k, n in counts['waits'].items() if k.startswith('mmengine/')}
    assert_budget(counts, waits={CHECK[action]: 10, FETCH: 2, **saving})


def test_the_histories_are_those_of_mmengine(simulated_cuda, tmp_path) -> None:
    found = simulated_cuda(
        'case_logging', 'logged', folder=str(tmp_path / 'a'), values=VALUES
    )
    expected = simulated_cuda(
        'case_logging', 'plain', folder=str(tmp_path / 'b'), values=VALUES
    )
    assert found['histories'] == expected
    assert len(expected['train/loss']) == len(expected['train/grad_norm_weight']) == 10
    assert expected['train/number'] == list(range(1, 11))


@pytest.mark.parametrize('broken', [math.nan, math.inf])
def test_a_broken_loss_touches_no_weight(simulated_cuda, tmp_path, broken) -> None:
    before = simulated_cuda(
        'case_logging', 'logged', folder=str(tmp_path / 'a'), values=VALUES[:3]
    )
    found = simulated_cuda(
        'case_logging',
        'logged',
        folder=str(tmp_path / 'b'),
        values=[*VALUES[:3], broken],
    )
    assert found['error'].startswith('iteration 4: loss_a = ')
    assert found['weights'] == before['weights']


def test_files_hold_nothing_of_the_device(simulated_cuda, tmp_path) -> None:
    found = simulated_cuda('case_logging', 'saved', folder=str(tmp_path))
    assert found['pickled'] == {}
    assert found['file'] == ['cpu']
    assert {'ema_state_dict', 'message_hub', 'optimizer'} < set(found['keys'])
    assert found['moments'] == ['cuda']
    assert found['same'] and found['metadata']
    assert found['latest'] == found['weights'] != found['averaged']
