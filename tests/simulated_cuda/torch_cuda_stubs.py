# Copyright (c) mmfdta authors.
"""``torch.cuda`` of a machine with one simulated device.

A worker process puts them in before MMEngine and MMCV ask whether there is a GPU.
"""

import contextlib
import time
from types import SimpleNamespace
from typing import Any

import torch
from simulated_device import DEVICE

MEMORY = 80 * 2**30
ALLOCATED = 2**20


class Event:
    """A point of a stream; waiting for it ends the copies that began before."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.copies_begun = 0
        self.time = 0.0

    def record(self, stream: Any = None) -> None:
        self.copies_begun = DEVICE.copies_begun
        self.time = time.perf_counter()

    def query(self) -> bool:
        DEVICE.arrive(self.copies_begun)
        return True

    def synchronize(self) -> None:
        DEVICE.count('waits', 'event.synchronize')
        DEVICE.arrive(self.copies_begun)

    def wait(self, stream: Any = None) -> None:
        """Another stream waits; the host does not."""

    def elapsed_time(self, end: 'Event') -> float:
        return 1000 * (end.time - self.time)


class Stream:
    """A queue of the device; there is one."""

    device = torch.device('cuda', 0)

    def __init__(self, *_: Any, **__: Any) -> None:
        self.cuda_stream = 0

    def synchronize(self) -> None:
        DEVICE.wait('stream.synchronize')

    def query(self) -> bool:
        DEVICE.arrive(DEVICE.copies_begun)
        return True

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Another stream waits; the host does not."""

    def wait_stream(self, stream: 'Stream') -> None:
        """Another stream waits; the host does not."""


def install() -> None:
    """Replace what a CPU build cannot do."""
    torch._C._set_only_lift_cpu_tensors(True)
    torch.__future__.set_swap_module_params_on_conversion(True)
    stream = Stream()
    properties = SimpleNamespace(
        name='simulated device',
        major=8,
        minor=0,
        total_memory=MEMORY,
        multi_processor_count=108,
        warp_size=32,
    )
    returned = dict(
        _exchange_device=0,
        _lazy_init=None,
        _maybe_exchange_device=0,
        current_device=0,
        current_stream=stream,
        default_stream=stream,
        device_count=1,
        empty_cache=None,
        get_device_capability=(8, 0),
        get_device_name=properties.name,
        get_device_properties=properties,
        get_sync_debug_mode=0,
        init=None,
        is_available=True,
        is_bf16_supported=True,
        is_initialized=True,
        manual_seed=None,
        manual_seed_all=None,
        max_memory_allocated=ALLOCATED,
        max_memory_reserved=ALLOCATED,
        mem_get_info=(MEMORY - ALLOCATED, MEMORY),
        memory_allocated=ALLOCATED,
        memory_reserved=ALLOCATED,
        reset_max_memory_allocated=None,
        reset_peak_memory_stats=None,
        set_device=None,
        set_stream=None,
        set_sync_debug_mode=None,
    )
    for name, value in returned.items():
        setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    torch.cuda.synchronize = lambda *_: DEVICE.wait('torch.cuda.synchronize')
    torch.cuda.memory_stats = lambda *_: {}
    torch.cuda.get_rng_state = lambda *_: torch.get_rng_state()
    torch.cuda.set_rng_state = lambda state, *_: None
    torch.cuda.get_rng_state_all = lambda: [torch.get_rng_state()]
    torch.cuda.set_rng_state_all = lambda states: None
    torch.cuda.stream = lambda *_: contextlib.nullcontext()
    torch.__config__.show = lambda: properties.name
    torch.cuda.Event, torch.cuda.Stream = Event, Stream
