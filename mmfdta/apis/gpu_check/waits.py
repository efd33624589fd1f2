# Copyright (c) mmfdta authors.
"""How often the CPU waits for the GPU.

PyTorch's profiler records each call of CUDA, among them those that wait. The debug mode
of PyTorch warns of those that PyTorch itself makes, and knows the line.
"""

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType

import mmfdta

from .bench import Bench
from .checks import Found, check, judge
from .training import Training

WAITING = {
    'cudaStreamSynchronize',
    'cudaDeviceSynchronize',
    'cudaEventSynchronize',
    'cudaMemcpy',
    'cuStreamSynchronize',
    'cuCtxSynchronize',
}
_COUNTED = 'mmfdta counts waits'
_PACKAGE = Path(mmfdta.__file__).parent


class Waits:
    """What waited in a function.

    Args:
        run: The function; it is called twice, for the profiler and the debug mode.

    Attributes:
        calls: Of CUDA that wait, by name; None where the profiler sees no calls.
        places: Lines that wait, ``file:line``, as far as PyTorch warns of them.
    """

    def __init__(self, run: Callable[[], Any]) -> None:
        self.calls = _profiled(run)
        self.places: Counter[str] = Counter()
        with _debug_mode(self.places):
            run()

    @property
    def count(self) -> int:
        """The larger of both counts."""
        called = 0 if self.calls is None else sum(self.calls.values())
        return max(called, sum(self.places.values()))

    @property
    def text(self) -> str:
        """For people."""
        if self.calls is None:
            seen = 'the profiler sees no calls of CUDA'
        else:
            seen = ', '.join(f'{n} {c}' for c, n in self.calls.items()) or 'no call'
        places = ', '.join(f'{place} ({n})' for place, n in self.places.most_common(6))
        return f'{self.count}: {seen}; {places or "no line"}'


def _profiled(run: Callable[[], Any]) -> Counter[str] | None:
    profiler = torch.profiler
    torch.cuda.synchronize()
    kinds = [profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.CUDA]
    with (
        profiler.profile(activities=kinds) as profile,
        profiler.record_function(_COUNTED),
    ):
        run()
    events = profile.events()
    counted = next(
        e for e in events if e.name == _COUNTED and e.device_type == DeviceType.CPU
    )
    inside = [
        event.name
        for event in events
        if counted.time_range.start <= event.time_range.start <= counted.time_range.end
        and event.device_type == DeviceType.CPU
    ]
    if not any(name.startswith(('cuda', 'cuLaunch')) for name in inside):
        return None
    return Counter(name for name in inside if name in WAITING)


@contextmanager
def _debug_mode(places: Counter[str]) -> Iterator[None]:
    """Count the lines that PyTorch warns of."""

    def note(message: Warning | str, *_: Any, **__: Any) -> None:
        if 'synchronizing CUDA operation' in str(message):
            places[_own_line()] += 1

    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode('warn')
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


def _own_line() -> str:
    """The innermost line of this package's networks and trackers, or of any."""
    frames = traceback.extract_stack()[:-2]
    own = [
        frame
        for frame in frames
        if _PACKAGE in Path(frame.filename).parents
        and 'gpu_check' not in frame.filename
    ]
    frame = own[-1] if own else frames[-1]
    path = Path(frame.filename)
    name = path.relative_to(_PACKAGE) if own else path.name
    return f'{name}:{frame.lineno}'


def _register_frames() -> None:
    budgets = dict(FDTA=4, MOTR=3, SORT=2, ByteTrack=2)
    for tracker, budget in budgets.items():

        def run(bench: Bench, tracker: str = tracker, budget: int = budget) -> Found:
            made = bench.inferencer(tracker, bench.frame_size)
            *before, last, again = bench.video(max(bench.video_frames, 8))
            for frame in before:
                made.step(frame)
            rest = iter((last, again))
            waits = Waits(lambda: made.step(next(rest)))
            return _judge(waits, budget)

        check(
            'synchronisations',
            f'{tracker}, a frame',
            'waits of the CPU, blocking copies among them; batch of 1',
            f'{budget}',
            needs_gpu=True,
        )(run)


def _judge(waits: Waits, budget: int) -> Found:
    return judge(
        waits.count <= budget,
        waits.text,
        waits=waits.count,
        calls=dict(waits.calls or {}),
        places=dict(waits.places),
    )


_register_frames()


def _register_steps() -> None:
    for precision in ('fp32', 'fp16'):

        def run(bench: Bench, precision: str = precision) -> Found:
            frames = 12 if bench.quick else 30
            training = Training(
                bench,
                'FDTA',
                bench.device,
                precision,
                frames=frames,
                size=(192, 128),
            )
            for seed in range(2):
                training.train(seed)
            return _judge(Waits(training.train), 10)

        check(
            'synchronisations',
            f'FDTA, a step, {precision}',
            'waits of the CPU in a step of two clips of 30 frames (quick: 12)',
            '10',
            needs_gpu=True,
        )(run)

    def motr(bench: Bench) -> Found:
        frames = 3
        training = Training(bench, 'MOTR', bench.device, frames=frames, clips=1)
        for seed in range(2):
            training.train(seed)
        return _judge(Waits(training.train), 4 * frames)

    check(
        'synchronisations',
        'MOTR, a step',
        'waits of the CPU in a step of a clip of 3 frames',
        '12',
        needs_gpu=True,
    )(motr)


_register_steps()
