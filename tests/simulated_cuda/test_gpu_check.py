# Copyright (c) mmfdta authors.
"""A device that computes like the CPU passes the checks of a GPU."""


def test_the_simulated_device_passes(simulated_cuda, tmp_path) -> None:
    found = simulated_cuda('case_gpu_check', 'quick_checks', out=str(tmp_path))
    assert len(found) == 14
    assert {n: v for n, v in found.items() if not v.startswith('pass')} == {}
