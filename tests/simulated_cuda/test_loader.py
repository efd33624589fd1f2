# Copyright (c) mmfdta authors.
"""Images come to a GPU from pinned memory, annotations stay on the host."""

import pytest


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize('pinned', [True, False])
def test_a_runners_batches(simulated_cuda, num_workers: int, pinned: bool):
    options = {} if pinned else dict(pin_memory=False)
    found = simulated_cuda('case_loader', 'batches', num_workers=num_workers, **options)
    assert found['waits'] == found['blocking_copies'] == {}
    # Images and depth maps of two clips, each by itself.
    assert sum(found['pageable_copies'].values()) == (0 if pinned else 4)
    assert found['devices'] == ['cpu']
