# Copyright (c) mmfdta authors.
"""What the benchmarks share: taking turns, medians, memory and tables."""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from memory import peak_growth

from mmfdta.utils.environment import processor

Ways = dict[str, Callable[[], object]]


@dataclass
class Measured:
    """One way of doing something.

    Attributes:
        seconds: Wall time of each run.
        cpu: Processor time of all threads, of each run.
        memory: Peak memory beyond that before the run, MiB.
    """

    seconds: list[float]
    cpu: list[float]
    memory: float


def read_options(
    description: str, arguments: list[str], runs: int
) -> argparse.Namespace:
    """Read the options that benchmarks have in common and set the threads.

    Args:
        description: Of the benchmark; the first line is shown.
        arguments: Of the command line.
        runs: Runs of each way unless the command line says otherwise.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        '--released',
        type=Path,
        help='checkout of the released code; its side is left out without',
    )
    parser.add_argument('--runs', type=int, default=runs, help='of each way')
    add_threads(parser)
    options = parser.parse_args(arguments)
    use_threads(options.threads)
    return options


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``, for :func:`use_threads`."""
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())


def use_threads(threads: int) -> None:
    """Set how many threads PyTorch and OpenCV use."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def describe_machine() -> str:
    """Return processor, threads and versions in a line."""
    return (
        f'{processor()}, {torch.get_num_threads()} threads, '
        f'Python {platform.python_version()}, PyTorch {torch.__version__}'
    )


def take_turns(ways: Ways, runs: int) -> dict[str, Measured]:
    """Warm every way up, run it for its memory, then all in turns for their time.

    Args:
        ways: What to run, by name.
        runs: Runs of each that are timed.
    """
    results = {}
    for name, run in ways.items():
        run()
        results[name] = Measured([], [], peak_growth(run))
    for _ in range(runs):
        for name, run in ways.items():
            cpu, begin = time.process_time(), time.perf_counter()
            run()
            results[name].seconds.append(time.perf_counter() - begin)
            results[name].cpu.append(time.process_time() - cpu)
    return results


def print_header(title: str) -> None:
    """Print the head of a benchmark's table."""
    print(f'{title}; {describe_machine()}\n')
    print('| case | way | ms, median | range | CPU ms | peak MiB | times faster |')
    print('| --- | --- | ---: | --- | ---: | ---: | ---: |')


def print_case(case: str, results: dict[str, Measured]) -> None:
    """Print a row for each way; the last column compares with the first way.

    Args:
        case: What was done.
        results: By way; the first is what the others are compared with.
    """
    first = statistics.median(next(iter(results.values())).seconds)
    for name, result in results.items():
        times = [1000 * x for x in result.seconds]
        low, middle, high = min(times), statistics.median(times), max(times)
        print(
            f'| {case} | {name} | {middle:.1f} | {low:.1f} to {high:.1f} '
            f'| {1000 * statistics.median(result.cpu):.1f} | {result.memory:.0f} '
            f'| {1000 * first / middle:.2f} |',
            flush=True,
        )
