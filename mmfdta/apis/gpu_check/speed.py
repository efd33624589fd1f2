# Copyright (c) mmfdta authors.
"""Times and memory on the device."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..analysis.training_memory import estimate_memory, read_workload
from .bench import Bench
from .checks import Found, NotRunError, check, judge
from .training import Training

GIB = 2**30
# The estimate may be off by so much of what is measured.
ESTIMATE = 0.2


def synchronise(device: torch.device) -> None:
    """Wait until a device has done its work."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def seconds_of(
    run: Callable[[], Any], device: torch.device, runs: int, warm: int
) -> float:
    """Median of the seconds that a function takes.

    Args:
        run: The function.
        device: Where it works.
        runs: That are timed.
        warm: Runs before.
    """
    times = []
    for index in range(warm + runs):
        synchronise(device)
        begin = time.perf_counter()
        run()
        synchronise(device)
        if index >= warm:
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def peak_of(run: Callable[[], Any], device: torch.device) -> int:
    """Most bytes that PyTorch allocates on a GPU in a function; 0 on a CPU."""
    if device.type != 'cuda':
        run()
        return 0
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def frame_runs(bench: Bench) -> tuple[int, int]:
    """Frames that are timed, and frames before."""
    return (5, 3) if bench.quick else (30, 8)


def step_runs(bench: Bench) -> tuple[int, int]:
    """Training steps that are timed, and steps before."""
    return (2, 1) if bench.quick else (5, 2)


class Prepared:
    """A video whose frames are prepared, to feed a tracker as fast as it takes them.

    Args:
        bench: The workbench.
        size: Width and height of the frames.
        batch: Frames at a time.
        **options: Of `Bench.inferencer`.
    """

    def __init__(
        self, bench: Bench, size: tuple[int, int], batch: int = 1, **options: Any
    ) -> None:
        self.inferencer = bench.inferencer('FDTA', size, **options)
        self.batch = batch
        pictures = bench.video(8, size)
        self._samples = [
            self.inferencer.preprocessor(np.ascontiguousarray(pictures[t % 8]), t)
            for t in range(max(8, batch))
        ]
        self._next = 0

    def run(self) -> None:
        """Track the next frames; the video begins again when it is over."""
        first = self._next
        if first + self.batch > len(self._samples):
            first = 0
        samples = self._samples[first : first + self.batch]
        self._next = first + self.batch
        self.inferencer.predict_prepared(samples, first + 1)


def frames_per_second(
    bench: Bench, size: tuple[int, int], batch: int = 1, **options: Any
) -> tuple[float, int]:
    """Frames per second of FDTA, and bytes at the peak.

    Args:
        bench: The workbench.
        size: Width and height of the frames.
        batch: Frames at a time.
        **options: Of `Bench.inferencer`.
    """
    prepared = Prepared(bench, size, batch, **options)
    runs, warm = frame_runs(bench)
    if batch > 1:
        runs, warm = max(3, runs // batch), 3
    seconds = seconds_of(prepared.run, bench.device, runs, warm)
    return batch / seconds, peak_of(prepared.run, bench.device)


def training_at(bench: Bench, size: tuple[int, int], precision: str) -> Training:
    """A training as `speed` and `memory` measure it: one clip, 20 objects."""
    frames = 8 if bench.quick else 30
    return Training(
        bench,
        'FDTA',
        bench.device,
        precision,
        frames=frames,
        size=size,
        clips=1,
        objects=5 if bench.quick else 20,
    )


def seconds_per_step(
    bench: Bench, size: tuple[int, int], precision: str
) -> tuple[float, int]:
    """Seconds of a training step, and bytes at the peak."""
    training = training_at(bench, size, precision)
    runs, warm = step_runs(bench)
    seconds = seconds_of(training.train, bench.device, runs, warm)
    return seconds, peak_of(training.train, bench.device)


def as_memory(peak: int) -> str:
    """Bytes for people."""
    return f'{peak / GIB:.2f} GiB' if peak else 'memory not counted'


def within_memory(run: Callable[[], Any]) -> Any:
    """Run what may need more memory than there is.

    Raises:
        NotRunError: If it does.
    """
    try:
        return run()
    except torch.OutOfMemoryError as error:
        raise NotRunError('needs more memory than there is') from error


# ------------------------------------------------------------------------------ checks
# What is timed -> options.
WAYS: dict[str, dict[str, Any]] = {
    'fp32': {},
    'tf32': dict(precision='tf32'),
    'fp16': dict(precision='fp16'),
    'bf16': dict(precision='bf16'),
    'fp32, compiled': dict(compile=True),
    'fp16, compiled': dict(precision='fp16', compile=True),
    'fp32, batches of 8': dict(batch=8),
    'fp16, batches of 8': dict(precision='fp16', batch=8),
}
PLACES = 'the largest size', 'the second size'
"""Sizes of frames that are timed, as checks name them."""


def _register_frames() -> None:
    for place, title in enumerate(PLACES):
        for name, options in WAYS.items():

            def run(
                bench: Bench,
                place: int = place,
                options: dict[str, Any] = options,
            ) -> Found:
                if place >= len(bench.speed_sizes):
                    raise NotRunError('no such size was asked for')
                bench.check_precision(options.get('precision', 'fp32'))
                size = bench.speed_sizes[place]
                rate, peak = within_memory(
                    lambda: frames_per_second(bench, size, **options)
                )
                return Found(
                    f'{size[0]}x{size[1]}: {rate:.1f} frames/s, {as_memory(peak)}',
                    numbers=dict(size=size, frames_per_second=rate, peak=peak),
                )

            compared = 'FDTA from prepared frames to tracks on the host'
            check('speed', f'frames of {title}, {name}', compared)(run)


_register_frames()


def _register_steps() -> None:
    for name in ('fp32', 'tf32', 'fp16', 'bf16'):

        def run(bench: Bench, name: str = name) -> Found:
            bench.check_precision(name)
            width, height = bench.speed_sizes[0]
            seconds, peak = within_memory(
                lambda: seconds_per_step(bench, (width, height), name)
            )
            frames = 8 if bench.quick else 30
            return Found(
                f'{frames} frames of {width}x{height}: {seconds:.3f} s, '
                f'{as_memory(peak)}',
                numbers=dict(
                    size=(width, height), frames=frames, seconds=seconds, peak=peak
                ),
            )

        compared = 'FDTA, a clip, with the optimiser'
        check('speed', f'a training step, {name}', compared)(run)


_register_steps()


def _register_memory() -> None:
    for name in ('fp32', 'fp16'):

        def run(bench: Bench, name: str = name) -> Found:
            width, height = bench.speed_sizes[-1]
            training = training_at(bench, (width, height), name)

            def steps() -> None:
                training.train()
                training.train(1)

            peak = within_memory(lambda: peak_of(steps, bench.device))
            frames = len(training.batch()['data_samples'][0])
            config = bench.config('FDTA')
            config.train_dataloader.batch_size = 1
            work = read_workload(
                config,
                (height, width),
                clip_length=frames,
                num_objects=5 if bench.quick else 20,
                precision=name,
            )
            estimate = estimate_memory(config, work).peak
            off = estimate / peak - 1
            return judge(
                abs(off) <= ESTIMATE,
                f'{frames} frames of {width}x{height}: {as_memory(peak)} measured, '
                f'{as_memory(round(estimate))} estimated, {off:+.0%}',
                peak=peak,
                estimate=estimate,
            )

        check(
            'memory',
            f'a training step, {name}',
            'mmfdta estimate-memory against the peak that PyTorch allocated',
            f'{ESTIMATE:.0%} off',
            needs_gpu=True,
        )(run)


_register_memory()
