# Copyright (c) mmfdta authors.
"""Triton's kernels of deformable sampling, on a machine without a GPU."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('triton') is None, reason='Triton is not installed'
)
HERE = Path(__file__).parent


def compile_kernel(name, values, weights, capability):
    """Compile a kernel for 8 heads of 32 channels; nothing of it needs a GPU.

    Returns:
        The assembler text, and the bytes of the machine code.
    """
    from triton import compile as compile_for
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from mmfdta.ops.deformable_attention import kernels

    kernel = getattr(kernels, name)
    forward = name == 'forward_kernel'
    sizes = dict(HEADS=8, LEVELS=4, POINTS=4, CHANNELS=32, STEP=2, WIDTH=32)
    sizes['BLOCK'] = (64 if forward else 16) // (4 if values == 'fp32' else 2)
    types = dict.fromkeys(kernel.arg_names, '*fp32')
    types |= dict.fromkeys(sizes, 'constexpr') | dict(keys='i32', queries='i32')
    half = {'value': f'*{values}', 'output': f'*{values}', 'grad_output': f'*{values}'}
    half |= {'weights': f'*{weights}', 'levels': '*i32'}
    half |= dict.fromkeys(('x', 'y', 'grad_x', 'grad_y'), f'*{values}')
    half['grad_weights'] = f'*{weights}'
    types |= {key: kind for key, kind in half.items() if key in types}
    # Tensors start at multiples of 16 bytes, but for y, which stands behind x.
    aligned = [n for n, kind in types.items() if kind[0] == '*' and n != 'y']
    attributes = {
        (kernel.arg_names.index(n),): [['tt.divisibility', 16]] for n in aligned
    }
    source = ASTSource(kernel, types, sizes, attributes)
    options = dict(num_warps=4 if forward else 1, enable_fp_fusion=True)
    compiled = compile_for(source, GPUTarget('cuda', capability, 32), options)
    return compiled.asm['ptx'], compiled.asm['cubin']


@pytest.mark.parametrize(
    ('values', 'weights', 'capability'),
    [('fp32', 'fp32', 90), ('fp16', 'fp32', 80), ('bf16', 'bf16', 80)],
)
def test_kernels_compile_for_gpus(values, weights, capability, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    case = values, weights, capability
    forward, code = compile_kernel('forward_kernel', *case)
    assert code[:4] == b'\x7fELF'
    # Each of four points of a level reads four pixels, 16 bytes at once.
    assert len(re.findall(r'ld\.global\S*\.v4\.b32', forward)) == 16
    assert not re.search(r'bar\.sync|ld\.shared|\.local', forward)
    backward, code = compile_kernel('backward_kernel', *case)
    assert code[:4] == b'\x7fELF'
    added = re.findall(r'(?:red|atom)\.global\.\S*add\S*\.f32', backward)
    assert added
    assert all('relaxed' in name for name in added)
    assert not re.search(r'fence|membar|\.local', backward)


def test_kernels_compute_in_the_interpreter_what_mmcv_computes():
    file = HERE / 'interpreted_sampling.py'
    run = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', str(file)],
        env=os.environ | {'TRITON_INTERPRET': '1'},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-8000:]
    assert re.search(r'\d\d passed', run.stdout), run.stdout
    assert 'skipped' not in run.stdout
