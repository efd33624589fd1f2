# Copyright (c) mmfdta authors.
"""What a process runs on, how long it takes, and how much memory it needs."""

import os
import platform
import sys
import time
from pathlib import Path

import torch

from mmfdta.utils.environment import processor

from .fingerprints import versions

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_STATUS = Path('/proc/self/status')


def describe_machine(device: str | torch.device, threads: int) -> dict[str, str | int]:
    """Describe what times depend on.

    Args:
        device: Where models run.
        threads: Threads of PyTorch.

    Returns:
        Names and numbers for people.
    """
    name = processor()
    if torch.device(device).type == 'cuda':
        name = torch.cuda.get_device_name(device)
    return dict(
        device=str(device),
        processor=name,
        cores=os.cpu_count() or 1,
        threads=threads,
        python=platform.python_version(),
        **versions(),
    )


def peak_memory(device: str | torch.device) -> int | None:
    """Most memory that this process has used so far.

    Args:
        device: Where the model runs.

    Returns:
        Bytes that PyTorch allocated on a GPU; on a CPU, the resident memory of the
        process, or None where it is not known.
    """
    if torch.device(device).type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    try:
        # The kernel's other counter, ru_maxrss, starts at what the parent used.
        line = next(x for x in _STATUS.read_text().splitlines() if 'VmHWM' in x)
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        if resource is None:
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == 'darwin' else peak * 1024


class Clock:
    """Reads the time after the device has done its work.

    Args:
        device: Where the model runs.
    """

    def __init__(self, device: str | torch.device) -> None:
        device = torch.device(device)
        self._gpu = device if device.type == 'cuda' else None

    def now(self) -> float:
        """Seconds."""
        if self._gpu is not None:
            torch.cuda.synchronize(self._gpu)
        return time.perf_counter()
