# Copyright (c) mmfdta authors.
"""Training steps on a simulated GPU: the CPU's losses, and what the host waits for.

The numbers are exact, as in `test_prediction`, and hold for any number of frames and
clips.
"""

import pytest
from device_fixtures import assert_budget

COSTS = 'models/detectors/matcher.py:__call__'
REST = 'engine/optim_wrapper.py:_any_nonzero'
WAITS = {'fdta': {COSTS: 1, REST: 1}, 'motip': {COSTS: 1}}


def check(counts: dict, waits: dict[str, int]) -> None:
    assert_budget(counts, waits=waits, blocking_copies={}, float64={}, pickled={})


@pytest.mark.parametrize('name', WAITS)
def test_step(simulated_cuda, name: str) -> None:
    found = simulated_cuda('case_training', 'step', name=name)
    check(found['counts'], WAITS[name])


def test_clip_of_30_frames(simulated_cuda) -> None:
    """With all layers, heads and channels of the full model."""
    found = simulated_cuda(
        'case_training', 'step', name='dancetrack', num_frames=30, objects=[3]
    )
    check(found['counts'], WAITS['fdta'])
    assert found['counts']['attention'].keys() == {'memory-efficient'}


@pytest.mark.parametrize(
    'clips',
    [
        dict(objects=[0, 0], num_frames=2),
        dict(objects=[3, 0], num_frames=2),
        dict(objects=[2, 1, 3], num_frames=3, padded=False),
        dict(objects=[3], num_frames=1),
    ],
    ids=str,
)
def test_odd_clips(simulated_cuda, clips: dict) -> None:
    found = simulated_cuda('case_training', 'step', name='fdta', **clips)
    # Without objects nothing is matched.
    check(found['counts'], WAITS['fdta'] if any(clips['objects']) else {REST: 1})


def test_processes_of_a_job(simulated_cuda) -> None:
    """In a job of one process; its second step orders the gradients anew and waits."""
    found = simulated_cuda(
        'case_training', 'step', name='fdta', distributed=True, num_steps=3
    )
    # What arrives from other processes is copied by the simulation.
    assert_budget(found['counts'], waits=WAITS['fdta'])


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_half_precision(simulated_cuda, dtype: str) -> None:
    found = simulated_cuda('case_training', 'step', name='fdta', dtype=dtype)
    check(found['counts'], WAITS['fdta'])
    assert 'math' not in found['counts']['attention'], found['counts']['table']


def test_motr(simulated_cuda) -> None:
    """A frame's queries depend on what was matched in the frame before."""
    found = simulated_cuda('case_training', 'step', name='motr', num_frames=3)
    check(found['counts'], {'models/detectors/motr_head.py:_fetch': 6})
