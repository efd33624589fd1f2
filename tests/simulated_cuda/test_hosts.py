# Copyright (c) mmfdta authors.
"""FDTA on another detector runs on a device, and waits only where that one waits."""

import pytest

# Where MMDetection stands in the call, and what it leaves to the backward pass.
OF_THE_HOST = 'mmdet/', 'mmcv/', 'utils/mmcv_ext/', 'case_hosts.py:step [backward]'
LEVELS = 'ops/deformable_attention/levels.py:read_level_shapes'


@pytest.mark.parametrize('host', ['dino', 'ddq', 'detr'])
def test_waits(simulated_cuda, host: str):
    def own(case: str) -> list[dict[str, int]]:
        counts = simulated_cuda('case_hosts', case, host=host)
        return [
            {k: n for k, n in counts[kind].items() if not k.startswith(OF_THE_HOST)}
            for kind in ('waits', 'blocking_copies', 'pageable_copies')
        ]

    # Sizes of levels, which MMDetection gives as a tensor, once per pass of the
    # network: three parts with gradients, again in the backward pass, and one without.
    levels = host != 'detr'
    matcher = {'models/detectors/matcher.py:__call__': 1}
    assert own('step') == [matcher | ({LEVELS: 7} if levels else {}), {}, {}]
    assert own('detection') == [{LEVELS: 1} if levels else {}, {}, {}]
