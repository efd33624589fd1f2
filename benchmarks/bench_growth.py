# Copyright (c) mmfdta authors.
"""How time and memory grow with the size of the work: data, a plot and a table.

Every curve changes one size and keeps the others: objects, window and image of a
tracked frame, streams on one model, videos of an archive, clip length and objects of
the association's training, rows to score. What is measured is kept in `growth.jsonl`
after each point, and is not measured again.

Example:
    python benchmarks/bench_growth.py --out work_dirs/growth --only 'boxes*' --threads 1
"""

import argparse
import contextlib
import fnmatch
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import numpy as np
import torch
from curves import Curve, make_curves
from measuring import add_threads, describe_machine, use_threads
from memory import peak_growth, peak_of_children, resident_memory

matplotlib.use('Agg')

# What was measured of each curve, by size.
Points = dict[Curve, list[dict]]


def measure(curve: Curve, size: int, seconds: float, runs: int) -> dict:
    """Do the work of a size until it is known how long it takes.

    Args:
        curve: What to do.
        size: How much of it.
        seconds: Least time to spend.
        runs: Least number of runs.

    Returns:
        Milliseconds of a run: processor time of all threads (median and 95th
        percentile), wall time (median); MiB that are kept, and that a run takes at
        its peak beyond them.
    """
    at_first = resident_memory()
    work = curve.prepare(size)
    for _ in range(work.warm):
        work.run(work.feed())
    kept = resident_memory() - at_first
    value = work.feed()
    watch = peak_of_children if work.in_children else peak_growth
    peak = watch(lambda: work.run(value))
    cpu, wall = [], []
    while len(wall) < runs or (sum(wall) < seconds and len(wall) < 500):
        value = work.feed()
        before = _processor_time(), time.perf_counter()
        work.run(value)
        cpu.append(_processor_time() - before[0])
        wall.append(time.perf_counter() - before[1])
    return dict(
        curve=curve.title,
        size=size,
        cpu_ms=1000 * float(np.median(cpu)),
        wall_ms=1000 * float(np.median(wall)),
        p95_ms=1000 * float(np.percentile(cpu, 95)),
        kept_mib=kept,
        peak_mib=peak,
        runs=len(wall),
        machine=describe_machine(),
    )


def _processor_time() -> float:
    """Seconds of all threads, and of the processes that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def describe_power(points: list[dict], what: str) -> str:
    """Fit size**k to the last three points and write k; 1 is linear."""
    size, values = (np.log([p[name] for p in points[-3:]]) for name in ('size', what))
    if len(values) < 2:
        return ''
    return f'n^{np.polyfit(size, values, 1)[0]:.1f}'


def plot(groups: dict[str, Points], path: Path) -> None:
    """Draw processor time over size, a picture per group, with linear growth."""
    from matplotlib import pyplot

    columns = 3
    rows = -(-len(groups) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(13, 3.6 * rows), squeeze=False
    )
    for axis, (group, of_group) in zip(axes.flat, groups.items(), strict=False):
        sizes = sorted({p['size'] for points in of_group.values() for p in points})
        for curve, points in of_group.items():
            values = [p['cpu_ms'] for p in points]
            axis.loglog(
                [p['size'] for p in points], values, 'o-', ms=3, label=curve.name
            )
        low = min(points[0]['cpu_ms'] for points in of_group.values())
        linear = [low * size / sizes[0] for size in sizes]
        axis.loglog(sizes, linear, ':', color='grey', label='linear')
        axis.set_title(group, fontsize=10)
        axis.set_ylabel('CPU ms', fontsize=8)
        axis.set_xticks(sizes, [f'{size:,}' for size in sizes], fontsize=7)
        axis.minorticks_off()
        axis.legend(fontsize=6)
    for axis in axes.flat[len(groups) :]:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def print_table(group: str, of_group: Points) -> None:
    """Print processor time by size, and rates where frames are counted."""
    sizes = sorted({p['size'] for points in of_group.values() for p in points})
    head = [group, *(f'{size:,}' for size in sizes), 'grows with', 'MiB at the end']
    print(f'| {" | ".join(head)} |')
    print(f'| --- {"| ---: " * (len(head) - 1)}|')

    def print_row(name: str, values: list[float], *last: str) -> None:
        of_size = dict(zip((p['size'] for p in points), values, strict=True))
        cells = [f'{of_size[s]:.3g}' if s in of_size else '' for s in sizes]
        print(f'| {" | ".join([name, *cells, *last])} |')

    for curve, points in of_group.items():
        power = describe_power(points, 'cpu_ms')
        at_end = points[-1]['kept_mib'] + points[-1]['peak_mib']
        cpu = [p['cpu_ms'] for p in points]
        print_row(f'{curve.name}, CPU ms', cpu, power, f'{at_end:.0f}')
        if not curve.frames:
            continue
        within = [p['p95_ms'] for p in points]
        print_row(f'{curve.name}, 95 % within CPU ms', within, '', '')
        for clock in ('cpu', 'wall'):
            rate = [1000 * curve.frames * p['size'] / p[f'{clock}_ms'] for p in points]
            second = 'CPU second' if clock == 'cpu' else 'second'
            print_row(f'{curve.name}, frames per {second}', rate, '', '')
    print()


def main() -> None:
    """Measure what is not known yet, plot and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/growth'))
    parser.add_argument(
        '--only', nargs='+', default=['*'], metavar='PATTERN', help='titles of curves'
    )
    parser.add_argument('--list', action='store_true', help='list the curves and stop')
    parser.add_argument('--largest', type=int, default=sys.maxsize, help='of the sizes')
    parser.add_argument('--runs', type=int, default=3, help='least number per point')
    parser.add_argument('--seconds', type=float, default=2, help='least time per point')
    add_threads(parser)
    options = parser.parse_args()
    use_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / 'growth.jsonl'
    found: dict[tuple[str, int], dict] = {}
    if kept.exists():
        points = map(json.loads, kept.read_text().splitlines())
        found = {(p['curve'], p['size']): p for p in points}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        curves = [
            curve
            for curve in make_curves(Path(folder))
            if any(fnmatch.fnmatch(curve.title, only) for only in options.only)
        ]
        if options.list:
            print('\n'.join(f'{c.title}: {c.size} {c.sizes}' for c in curves))
            return
        for curve in curves:
            for size in curve.sizes:
                if (curve.title, size) in found or size > options.largest:
                    continue
                print(f'{curve.title}, {size} {curve.size}', file=sys.stderr)
                # What the work prints is not the report.
                with contextlib.redirect_stdout(sys.stderr):
                    point = measure(curve, size, options.seconds, options.runs)
                found[curve.title, size] = point
                with kept.open('a') as file:
                    file.write(json.dumps(point) + '\n')
    groups: dict[str, Points] = {}
    for curve in curves:
        keys = [(curve.title, size) for size in curve.sizes]
        points = [found[key] for key in keys if key in found]
        if points:
            groups.setdefault(curve.group, {})[curve] = points
    plot(groups, options.out / 'growth.png')
    print(f'{describe_machine()}\n')
    for group, of_group in groups.items():
        print_table(group, of_group)


if __name__ == '__main__':
    main()
