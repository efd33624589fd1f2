# Copyright (c) mmfdta authors.
"""What a training step of FDTA waits for, in exact numbers."""

import pytest
from device_fixtures import assert_budget

# The costs of all layers and frames, which the host matches; and whether the
# contrastive MLP has a gradient.
WAITS = {
    'models/detectors/matcher.py:__call__': 1,
    'engine/optim_wrapper.py:_any_nonzero': 1,
}

BATCHES = [
    'one clip',
    'two sizes',
    'a clip without objects',
    'no objects',
    'more objects than queries',
]


@pytest.mark.parametrize(
    ('batches', 'options'),
    [
        (BATCHES, {}),
        (['two sizes', 'no objects'], dict(epoch=0)),
        (['two sizes'], dict(dtype='bfloat16')),
        (['two sizes'], dict(dtype='float16')),
    ],
    ids=['later', 'warm-up', 'bfloat16', 'float16'],
)
def test_waits_of_a_step(simulated_cuda, batches: list[str], options: dict):
    found = simulated_cuda('case_fdta_step', 'steps', batches=batches, **options)
    assert [*found] == batches
    for batch, counts in found.items():
        waits = dict(WAITS)
        if batch == 'no objects':
            waits.pop('models/detectors/matcher.py:__call__')
        assert_budget(counts, waits=waits, blocking_copies={}, pageable_copies={})


def test_waits_of_a_plain_detectors_step(simulated_cuda):
    counts = simulated_cuda('case_fdta_step', 'detector_step')
    waits = {'models/detectors/matcher.py:__call__': 1}
    assert_budget(counts, waits=waits, blocking_copies={}, pageable_copies={})


def test_launches_of_the_depth_loss(simulated_cuda):
    """They are no more for a hundred frames than for eight."""
    found = {
        frames: simulated_cuda('case_fdta_step', 'depth_loss', frames=frames)
        for frames in (1, 8, 30, 104)
    }
    assert found[1] < found[30] <= found[8] == found[104]
