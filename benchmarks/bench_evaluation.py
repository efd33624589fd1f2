# Copyright (c) mmfdta authors.
"""Time and memory of the evaluation, compared with the official one (trackeval).

Both read the same text files and compute HOTA, CLEAR and identity scores in the
same number of processes. Every run is a process of its own; the two take turns.
Prints a Markdown table. Linux only: memory is read from /proc.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from memory import process_memory

SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1', 'IDSW')
BENCHMARKS = {'mot_challenge': ('MOT15', False), 'mot17': ('MOT17', True)}
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Run:
    """One measured process.

    Attributes:
        seconds: From the first file to the combined scores.
        cpu: Seconds of all cores for that; other load does not matter.
        process_seconds: From the start of Python to its end.
        growth: Most anonymous memory of the process and its children
            beyond that after the imports, MiB. Files are left out, because their
            share depends on who else has mapped them.
        peak: Most memory with files, MiB (proportional set size).
        scores: The combined scores.
    """

    seconds: float
    cpu: float
    process_seconds: float
    growth: float
    peak: float
    scores: dict[str, float]


class Clock:
    """Tells the measuring process how long the scoring took."""

    def __init__(self) -> None:
        print('IMPORTED', process_memory(os.getpid())[0], flush=True)
        self.start = os.times()

    def stop(self, scores: dict[str, float]) -> None:
        """Print seconds and scores."""
        spent = [b - a for a, b in zip(self.start, os.times(), strict=True)]
        print(
            json.dumps({'seconds': spent[4], 'cpu': sum(spent[:4]), 'scores': scores})
        )


def run_ours(root: Path, benchmark: str, processes: int) -> None:
    """Score with mmfdta."""
    from mmfdta.evaluation import Settings, evaluate, summarise
    from mmfdta.evaluation.folders import find_sequences

    clock = Clock()
    files, _ = find_sequences(root / 'gt', root / 'results')
    scores = summarise(evaluate(files, Settings(benchmark), processes).of_class())
    clock.stop(scores)


def run_official(root: Path, benchmark: str, processes: int) -> None:
    """Score with trackeval."""
    import trackeval

    clock = Clock()
    name, preprocess = BENCHMARKS[benchmark]
    sequences = sorted(path.name for path in (root / 'gt').iterdir())
    dataset = trackeval.datasets.MotChallenge2DBox(
        {
            'GT_FOLDER': str(root / 'gt'),
            'TRACKERS_FOLDER': str(root),
            'TRACKERS_TO_EVAL': ['results'],
            'TRACKER_SUB_FOLDER': '',
            'SKIP_SPLIT_FOL': True,
            'BENCHMARK': name,
            'DO_PREPROC': preprocess,
            'SEQ_INFO': dict.fromkeys(sequences),
            'PRINT_CONFIG': False,
        }
    )
    quiet = dict.fromkeys(
        (
            *('PRINT_RESULTS', 'PRINT_CONFIG', 'TIME_PROGRESS', 'PLOT_CURVES'),
            *('OUTPUT_SUMMARY', 'OUTPUT_DETAILED', 'OUTPUT_EMPTY_CLASSES'),
        ),
        False,
    )
    evaluator = trackeval.Evaluator(
        {**quiet, 'USE_PARALLEL': processes > 1, 'NUM_PARALLEL_CORES': processes}
    )
    metrics = [
        trackeval.metrics.HOTA(),
        *(
            metric({'PRINT_CONFIG': False})
            for metric in (trackeval.metrics.CLEAR, trackeval.metrics.Identity)
        ),
    ]
    output, _ = evaluator.evaluate([dataset], metrics)
    combined = output['MotChallenge2DBox']['results']['COMBINED_SEQ']['pedestrian']
    merged = combined['HOTA'] | combined['CLEAR'] | combined['Identity']
    clock.stop({name: float(np.mean(merged[name])) for name in SCORES})


SIDES = {'mmfdta': run_ours, 'trackeval': run_official}


def measure(side: str, root: Path, benchmark: str, processes: int) -> Run:
    """Run one side in its own process and watch its memory."""
    command = [sys.executable, '-W', 'ignore', __file__, '--side', side]
    command += ['--root', str(root), '--benchmark', benchmark]
    command += ['--processes', str(processes)]
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        imported = next((line for line in process.stdout if 'IMPORTED' in line), '')
        peak = np.zeros(2)
        while process.poll() is None:
            peak = np.maximum(peak, process_memory(process.pid))
            time.sleep(_POLL_SECONDS)
        output, errors = process.communicate()
    elapsed = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f'{side} failed:\n{errors}')
    found = json.loads(output.splitlines()[-1])
    return Run(
        seconds=found['seconds'],
        cpu=found['cpu'],
        process_seconds=elapsed,
        growth=peak[0] - float(imported.split()[1]),
        peak=peak[1],
        scores={name: found['scores'][name] for name in SCORES},
    )


def report(runs: dict[str, list[Run]], title: str) -> str:
    """Write one benchmark's rows of the table."""
    lines = []
    for side, of_side in runs.items():
        middle = {
            name: statistics.median(getattr(run, name) for run in of_side)
            for name in ('seconds', 'cpu', 'process_seconds', 'growth', 'peak')
        }
        spread = [run.seconds for run in of_side]
        lines.append(
            f'| {title} | {side} | {middle["seconds"]:.2f} '
            f'({min(spread):.2f} to {max(spread):.2f}) '
            f'| {middle["cpu"]:.2f} | {middle["process_seconds"]:.2f} '
            f'| {middle["growth"]:.0f} | {middle["peak"]:.0f} |'
        )
    seconds, cpu = (
        statistics.median(getattr(run, name) for run in runs['trackeval'])
        / statistics.median(getattr(run, name) for run in runs['mmfdta'])
        for name in ('seconds', 'cpu')
    )
    difference = max(
        abs(runs['mmfdta'][0].scores[name] - runs['trackeval'][0].scores[name])
        for name in SCORES
    )
    lines.append(
        f'| {title} | ratio | {seconds:.1f} | {cpu:.1f} | | | |\n'
        f'| {title} | largest difference of a score | {difference:.0e} | | | | |'
    )
    return '\n'.join(lines)


def main() -> None:
    """Measure, or be one of the measured processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sequences', type=int, default=25)
    parser.add_argument('--frames', type=int, default=1000)
    parser.add_argument('--objects', type=int, default=10)
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--processes', type=int, default=os.cpu_count())
    parser.add_argument('--benchmark', choices=BENCHMARKS, help='default: all')
    parser.add_argument('--side', choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument('--root', type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        SIDES[options.side](options.root, options.benchmark, options.processes)
        return
    print(
        f'{options.sequences} sequences of {options.frames} frames and '
        f'{options.objects} objects, {options.processes} processes, median of '
        f'{options.runs} runs\n'
    )
    print('| rules | by | s (range) | CPU s | s with start | MiB for it | MiB in all |')
    print('| --- | --- | --- | --- | --- | --- | --- |')
    with tempfile.TemporaryDirectory() as folder:
        # Not above: the measured processes must not load PyTorch.
        from crowds import write_sequences

        write_sequences(
            Path(folder), options.sequences, options.frames, options.objects
        )
        for name in [options.benchmark] if options.benchmark else BENCHMARKS:
            runs: dict[str, list[Run]] = {side: [] for side in SIDES}
            for _ in range(options.runs):
                for side, of_side in runs.items():
                    of_side.append(measure(side, Path(folder), name, options.processes))
            print(report(runs, name), flush=True)


if __name__ == '__main__':
    main()
