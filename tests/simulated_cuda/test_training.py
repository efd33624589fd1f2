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
        'case_training', 'step', name='dancetrack', num_frames=30, num_clips=1
    )
    check(found['counts'], WAITS['fdta'])
    assert found['counts']['attention'].keys() == {'memory-efficient'}


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_half_precision(simulated_cuda, dtype: str) -> None:
    found = simulated_cuda('case_training', 'step', name='fdta', dtype=dtype)
    check(found['counts'], WAITS['fdta'])
    assert 'math' not in found['counts']['attention'], found['counts']['table']


def test_motr(simulated_cuda) -> None:
    """A frame's queries depend on what was matched in the frame before."""
    found = simulated_cuda(
        'case_training', 'step', name='motr', num_frames=3, num_clips=2
    )
    check(found['counts'], {'models/detectors/motr_head.py:_fetch': 6})
