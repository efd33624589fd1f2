# Copyright (c) mmfdta authors.
"""Videos on a simulated GPU: several frames at a time, and what is waited for."""

import pytest
from device_fixtures import assert_budget
from test_prediction import BOXES, SCORES


@pytest.mark.parametrize(
    ('name', 'waits'),
    [
        # The first frame has no trajectories to compare with.
        ('fdta', dict.fromkeys(BOXES, 2) | dict.fromkeys(SCORES, 10)),
        ('motr', dict.fromkeys(BOXES, 11)),
        ('bytetrack', dict.fromkeys(BOXES, 2)),
    ],
)
def test_video(simulated_cuda, name: str, waits: dict[str, int]) -> None:
    found = simulated_cuda('case_videos', 'video', name=name, num_frames=11)
    assert found['given'] == [8, 3]
    assert found['tracks'] > 50
    assert_budget(found['counts'], waits=waits, blocking_copies={}, pageable_copies={})
