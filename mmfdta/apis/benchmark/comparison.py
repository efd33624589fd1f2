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
from .tuning import Tuning, check_tuning, tune_entry


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
        tune: Settings that are tried on val for each tracker, that of its config
            included; None: none.
        tune_seed: Seed of the settings that are drawn.
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
    tune: int | None = None
    tune_seed: int = 0
    own_process: bool = True

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return self.out or Path('work_dirs', f'benchmark_{self.data}')

    @property
    def store_folder(self) -> Path:
        """Where detections are kept and found."""
        return self.detections or self.folder / 'detections'


@dataclass(frozen=True)
class Comparison:
    """What a benchmark gave.

    Attributes:
        report: Results, tables and plots; None if every entry failed.
        files: What was written.
        tracks: Folder of the tracks as text, by the name of the entry.
        failed: Names of the entries whose run failed, or whose results are refused;
            they said why.
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

    What an earlier call has finished is reused; an interrupted call continues where it
    was.

    Args:
        entries: What is compared.
        options: How.
        say: Is told how far it is, a line at a time.

    Raises:
        FileNotFoundError: If data or results are missing.
        ValueError: If entries do not fit together, there is no ground truth, or
            settings would be chosen on what is reported.
    """
    options = options or BenchmarkOptions()
    if options.tune is not None:
        _check_tune(options)
    data = open_data(entries, options.data)
    names = [entry.name for entry in entries]
    if options.reference is not None and options.reference not in names:
        raise ValueError(
            f'--reference: found {options.reference!r}, expected one of {names}'
        )
    device = options.device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
    machine = describe_machine(device, options.threads or torch.get_num_threads())
    not_tuned: dict[str, str] = {}
    if options.tune is not None:
        not_tuned = check_tuning(entries, data)
        if not_tuned:
            listed = '; '.join(f'{name}: {why}' for name, why in not_tuned.items())
            say(f'not tuned: {listed}')
    results: list[EntryResult] = []
    tracks: dict[str, Path] = {}
    failed: list[str] = []
    tunings: dict[str, Tuning] = {}

    def measure(entry: Entry, head: str) -> bool:
        """Track, score and add to the results; False if that failed."""
        runs: list[SequenceRun] = []
        folder = entry.results
        if folder is None:
            run_folder = _run(entry, options, data, machine, head, say)
            if run_folder is None:
                failed.append(entry.name)
                return False
            runs, folder = run_folder.read_all(), run_folder.tracks
        try:
            evaluation = data.score_text(folder, entry.results is not None)
        except ValueError as error:
            if entry.results is None:
                raise
            say(f'{head}: not scored: {error}')
            failed.append(entry.name)
            return False
        for remark in evaluation.remarks:
            say(f'{head}: {remark}')
        tracks[entry.name] = folder
        results.append(EntryResult(entry, evaluation, runs))
        say(f'{head}: HOTA {results[-1].scores["HOTA"]:.1%}')
        return True

    for number, entry in enumerate(entries, start=1):
        place = f'[{number}/{len(entries)}]'
        if not measure(entry, f'{place} {entry.name}'):
            continue
        if options.tune is None or entry.name in not_tuned:
            continue
        tuning = tune_entry(
            entry,
            options.tune,
            options.tune_seed,
            options.folder / 'tune' / entry.slug,
            options.store_folder,
            machine,
        )
        tunings[entry.name] = tuning
        say(f'{place} {entry.name}: {tuning.describe()}')
        if tuning.entry is not None:
            measure(tuning.entry, f'{place} {tuning.entry.name}')
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
    if options.tune is not None:
        facts['tuning'] = (
            f"HOTA on val of the config's setting and {options.tune - 1} drawn ones at "
            f'most, seed {options.tune_seed}'
        )
    report = Report(
        results,
        reference,
        differences,
        facts,
        machine,
        None if options.tune is None else tunings,
    )
    return Comparison(report, report.write(options.folder), tracks, failed)


def _check_tune(options: BenchmarkOptions) -> None:
    """Refuse a search that has no draws, or one on the split that is reported."""
    if options.tune is not None and options.tune < 2:
        raise ValueError(
            f"--tune: found {options.tune}, expected at least 2; the config's own "
            'setting is the first'
        )
    if options.data == 'val':
        raise ValueError(
            '--tune: found --data val, on which settings are chosen and so are not '
            'reported; expected --data test'
        )


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
        fingerprint=run_fingerprint(entry, options.data, machine, options.warmup),
        detections=str(options.store_folder),
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
