# Copyright (c) mmfdta authors.
"""Facts by which operators choose their implementation."""

import functools
import platform
import re
from pathlib import Path

import torch
from torch import Tensor


@functools.cache
def amd_family() -> int:
    """Family of an AMD processor (25: Zen 3 and 4, 26: Zen 5); 0 for other makers."""
    try:
        text = Path('/proc/cpuinfo').read_text(encoding='utf-8')[:4096]
    except OSError:
        text = platform.processor()
    found = re.search(r'family\s*:?\s*(\d+)', text, re.IGNORECASE)
    return int(found[1]) if found and 'AuthenticAMD' in text else 0


@functools.cache
def has_avx512() -> bool:
    """Whether PyTorch's own code uses AVX-512 here."""
    return torch.backends.cpu.get_cpu_capability().startswith('AVX512')


def is_recorded() -> bool:
    """Whether a compiler or an exporter records operations and needs PyTorch's own."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def is_exported() -> bool:
    """Whether an exporter records operations, which must be PyTorch's own.

    It reads the flag because in PyTorch 2.11 `torch.compiler.is_exporting` is also True
    while `torch.compile` records.
    """
    return torch.jit.is_tracing() or torch.compiler._is_exporting_flag


def is_plain_float(x: Tensor) -> bool:
    """Whether a tensor is float32 on a CPU, outside of autocast and recording."""
    return (
        x.device.type == 'cpu'
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled('cpu')
        and not is_recorded()
    )


def wants_gradient(*tensors: Tensor | None) -> bool:
    """Whether a result of these tensors will carry a gradient."""
    return torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in tensors
    )
