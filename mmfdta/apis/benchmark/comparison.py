# Copyright (c) mmfdta authors.
"""Runs the entries of a benchmark one after the other, and scores them."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from mmfdta.structures.whole_files import write_text

from ..detection_store import LOWEST_SCORE
from ..evaluation_data import EvaluationData
from ..machine import describe_machine
from .entries import Entry, open_data
from .report import Report
from .results import LEVEL, EntryResult, compare, draw_sequences
from .runs import Job, RunFolder, SequenceRun, run_fingerprint, run_job


@dataclass(frozen=True)
class BenchmarkOptions:
    """How entries are run and compared.

    Attributes:
        data: ``val`` or ``test``: whose data loader of the configs is read.
        out: Folder of everything; None takes ``work_dirs/benchmark_<data>``.
        detections: Folder of the detection stores; None takes ``<out>/detections``.
        reference: The entry that the others are compared with; None takes the first.
        device: Such as ``cuda:1``; None takes a GPU if there is one.
        threads: Threads of PyTorch; None takes as many as it takes itself.
        warmup: Frames before times are taken.
        resamples: Draws of the intervals.
        seed: Seed of the draws.
        own_process: Run each entry in a process of its own, in which alone memory can
            be measured; it takes seconds to start.
    """

    data: str = 'val'
    out: Path | None = None
    detections: Path | None = None
    reference: str | None = None
    device: str | None = None
    threads: int | None = None
    warmup: int = 5
    resamples: int = 2000
    seed: int = 0
    own_process: bool = True

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return self.out or Path('work_dirs', f'benchmark_{self.data}')


@dataclass(frozen=True)
class Comparison:
    """What a benchmark gave.

    Attributes:
        report: Results, tables and plots; None if every entry failed.
        files: What was written.
        tracks: Folder of the tracks as text, by the name of the entry.
        failed: Names of the entries whose run failed; they said why.
    """

    report: Report | None
    files: list[Path]
    tracks: dict[str, Path]
    failed: list[str]


def run_benchmark(
    entries: Sequence[Entry],
    options: BenchmarkOptions | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Track with each entry, score all and write the report.

    What an earlier call has finished is reused; an interrupted call goes on where it
    was.

    Args:
        entries: What is compared.
        options: How.
        say: Is told how far it is, a line at a time.

    Raises:
        FileNotFoundError: If data or results are missing.
        ValueError: If entries do not fit together, or there is no ground truth.
    """
    options = options or BenchmarkOptions()
    data = open_data(entries, options.data)
    names = [entry.name for entry in entries]
    if options.reference is not None and options.reference not in names:
        raise ValueError(
            f'--reference: found {options.reference!r}, expected one of {names}'
        )
    device = options.device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
    machine = describe_machine(device, options.threads or torch.get_num_threads())
    results: list[EntryResult] = []
    tracks: dict[str, Path] = {}
    failed: list[str] = []
    for number, entry in enumerate(entries, start=1):
        head = f'[{number}/{len(entries)}] {entry.name}'
        runs: list[SequenceRun] = []
        folder = entry.results
        if folder is None:
            run_folder = _run(entry, options, data, machine, head, say)
            if run_folder is None:
                failed.append(entry.name)
                continue
            runs, folder = run_folder.read_all(), run_folder.tracks
        tracks[entry.name] = folder
        evaluation = data.score_text(folder)
        for remark in evaluation.remarks:
            say(f'{head}: {remark}')
        results.append(EntryResult(entry.name, evaluation, runs))
        say(f'{head}: HOTA {results[-1].scores["HOTA"]:.1%}')
    if not results:
        return Comparison(None, [], {}, failed)
    names = [result.name for result in results]
    reference = options.reference if options.reference in names else names[0]
    other = results[names.index(reference)].evaluation
    draws = draw_sequences(len(other.sequences), options.resamples, options.seed)
    differences = {
        result.name: compare(result.evaluation, other, draws)
        for result in results
        if result.name != reference
    }
    facts = dict(
        data=data.describe(),
        machine=', '.join(f'{name} {value}' for name, value in machine.items()),
        detections=f'above a score of {LOWEST_SCORE:g}, or what a tracker asks for',
        times=f'medians over frames, one at a time, after {options.warmup} frames of '
        'warm-up; FPS of all stages one after the other',
        intervals=f'{LEVEL:.0%}, {options.resamples} draws of sequences',
    )
    report = Report(results, reference, differences, facts)
    return Comparison(report, report.write(options.folder), tracks, failed)


def _run(
    entry: Entry,
    options: BenchmarkOptions,
    data: EvaluationData,
    machine: dict,
    head: str,
    say: Callable[[str], None],
) -> RunFolder | None:
    """Run an entry as far as it is not done.

    Returns:
        What it has left; None if its process failed.
    """
    folder = options.folder / 'runs' / entry.slug
    job = Job(
        name=entry.name,
        checkpoint=None if entry.checkpoint is None else str(entry.checkpoint),
        data=options.data,
        folder=str(folder),
        fingerprint=run_fingerprint(entry, options.data, machine),
        detections=str(options.detections or options.folder / 'detections'),
        machine=machine,
        warmup=options.warmup,
    )
    assert entry.config is not None, 'an entry of results does not run'
    run_folder = job.open_folder(data.sources(entry.config.model))
    left = run_folder.unfinished()
    if not left:
        say(f'{head}: reused')
        return run_folder
    done = len(data.names) - len(left)
    say(f'{head}: {len(left)} sequences' + (f', {done} reused' if done else ''))
    path = folder / 'job.json'
    write_text(path, json.dumps(asdict(job), indent=1) + '\n')
    entry.config.dump(folder / 'config.py')
    if not options.own_process:
        run_job(job, own_process=False)
        return run_folder
    # With -m the package would import the module before it runs.
    code = 'import sys; from mmfdta.apis.benchmark.runs import main; '
    worker = [sys.executable, '-c', f'{code}sys.exit(main(sys.argv[1:]))', str(path)]
    failed = subprocess.run(worker, check=False).returncode
    return None if failed else run_folder
