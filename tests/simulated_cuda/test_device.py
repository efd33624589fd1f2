# Copyright (c) mmfdta authors.
"""The simulated CUDA device itself: what it counts, refuses and computes."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EVERY_KERNEL = {
    'float32': 'memory-efficient',
    'float32, 62': 'math',
    'float32, 62 and 64': 'math',
    'float32, bias': 'memory-efficient',
    'float16': 'flash',
    'bfloat16, 62': 'flash',
    'float16, bias': 'memory-efficient',
    'float16, 12, bias': 'math',
    'autocast': 'flash',
    'transposed bias': 'math',
    'float64': 'math',
}


def test_operations(simulated_cuda) -> None:
    found = simulated_cuda('case_device', 'transfers')
    for name, counts in found['wait'].items():
        assert counts['waits'] >= 1, name
        assert counts['blocking_copies'] == 0, name
    for name, counts in found['block'].items():
        assert counts == dict(waits=0, blocking_copies=1, pageable_copies=0), name
    for name, counts in found['free'].items():
        assert counts['waits'] == counts['blocking_copies'] == 0, name


def test_refused(simulated_cuda) -> None:
    said = simulated_cuda('case_device', 'refused')
    assert said.pop('numpy') == 'TypeError'
    assert set(said.values()) == {'MixedDevicesError'}, said


def test_places(simulated_cuda) -> None:
    counts = simulated_cuda('case_device', 'places')
    place = 'case_device.py'
    assert counts['waits'] == {f'{place}:places': 3, f'{place}:backward [backward]': 1}


def test_copies_that_do_not_block(simulated_cuda) -> None:
    early, *others = simulated_cuda('case_device', 'late_copies')
    assert math.isnan(early)
    assert others[0] == 3
    assert math.isnan(others[1])
    assert others[2] == 4
    assert 'pinned memory changed' in simulated_cuda('case_device', 'reused_memory')


@pytest.mark.parametrize('dtype', [None, 'float16', 'bfloat16'])
def test_training(simulated_cuda, dtype) -> None:
    expected = simulated_cuda('case_device', 'network', device='cpu')
    found = simulated_cuda('case_device', 'network', device='cuda', dtype=dtype)
    assert found == pytest.approx(expected, rel=1e-5 if dtype is None else 0.05)


def test_checkpoints(simulated_cuda) -> None:
    found = simulated_cuda('case_device', 'saved')
    assert found == dict(pickled=3, device='cuda', list='cuda', host='Tensor')


@pytest.mark.parametrize('num_workers', [0, 1])
def test_loader(simulated_cuda, num_workers) -> None:
    found = simulated_cuda('case_device', 'loader', num_workers=num_workers)
    assert found == dict(sum_False=66, sum_True=66, pageable_False=3, pageable_True=0)


def test_attention_kernels(simulated_cuda) -> None:
    assert simulated_cuda('case_device', 'kernels') == EVERY_KERNEL


def test_custom_operator(simulated_cuda) -> None:
    found = simulated_cuda('case_device', 'custom_operator')
    assert found['grad'] == [12, 12]
    assert found['operators']['cube'] == found['operators']['cube_slope'] == 1
    assert 'mul' not in found['operators']


def test_float64(simulated_cuda) -> None:
    assert simulated_cuda('case_device', 'float64') == {'case_device.py:float64': 2}


def test_case_that_fails_is_told(simulated_cuda) -> None:
    with pytest.raises(pytest.fail.Exception, match='no_such_case'):
        simulated_cuda('case_device', 'no_such_case')
    assert simulated_cuda('case_device', 'float64')  # and the process goes on


def test_compiled_once_by_two_processes(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    code = 'import device_compiler; print(device_compiler.compiled_guard())'
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', code], cwd=HERE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    paths = {process.communicate()[0].strip() for process in processes}
    (path,) = paths
    assert list(Path(path).parent.iterdir()) == [Path(path)]
