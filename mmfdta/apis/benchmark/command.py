# Copyright (c) mmfdta authors.
"""Run several trackers on one data set and compare them.

Each contestant runs in a process of its own, one after the other, frame by
frame. What an earlier call has finished is reused as long as config, weights,
code and machine are the same; an interrupted call goes on where it was. Then all
are scored with the project's metric, and tables and plots are written.
"""

import argparse
import collections
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

from mmfdta.evaluation import Sequence as ScoredSequence
from mmfdta.evaluation import Settings, evaluate
from mmfdta.structures.mot_text import read_tracks

from ..config import add_cfg_options
from . import bootstrap
from .contestants import Contestant, LineUp, Results, Tracker, read_line_up
from .course import Course, open_course
from .fingerprints import detector_fingerprint, run_fingerprint
from .machine import describe_machine
from .outcome import Outcome
from .report import Report
from .runs import Job, RunFolder, SequenceRun


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        'python -m mmfdta benchmark',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'contestants',
        nargs='+',
        metavar='CONTESTANT',
        help='CONFIG=CHECKPOINT, or NAME=FOLDER of result text, or a line-up such as '
        'benchmarks/minidance',
    )
    parser.add_argument(
        '--data',
        choices=['val', 'test'],
        help="whose data loader says what to read; the line-up's, or val",
    )
    parser.add_argument('--out', type=Path, help='folder; work_dirs/benchmark_<data>')
    parser.add_argument(
        '--checkpoint-dir', type=Path, help="where a line-up's checkpoints are"
    )
    parser.add_argument(
        '--skip-missing',
        action='store_true',
        help='leave out contestants of a line-up whose files are missing',
    )
    parser.add_argument(
        '--allow-random-weights',
        action='store_true',
        help='run configs without a checkpoint as they are initialised',
    )
    parser.add_argument(
        '--reference', help='whom the others are compared with; the first contestant'
    )
    parser.add_argument('--device', help='such as cuda:1 or cpu; a GPU if there is one')
    parser.add_argument(
        '--threads', type=int, default=torch.get_num_threads(), help='of PyTorch'
    )
    parser.add_argument(
        '--warmup', type=int, default=5, help='frames before times are taken'
    )
    parser.add_argument(
        '--resamples', type=int, default=2000, help='draws of the intervals'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the draws')
    add_cfg_options(parser, 'settings to change in all configs')
    return parser


def main(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments (list[str]): The command line.

    Returns:
        int: Exit code; 1 if something is missing or a contestant failed.
    """
    options = build_parser().parse_args(arguments)
    init_default_scope('mmdet')
    try:
        line_up = read_line_up(
            options.contestants,
            options.checkpoint_dir,
            options.cfg_options,
            options.allow_random_weights,
            options.skip_missing,
        )
        for text in line_up.missing:
            _say(f'left out: {text}')
        return _benchmark(options, line_up)
    except (OSError, ValueError) as error:
        print(f'mmfdta benchmark: {error}', file=sys.stderr)
        return 1


def _benchmark(options: argparse.Namespace, line_up: LineUp) -> int:
    data = options.data or line_up.data or 'val'
    out = options.out or Path('work_dirs', f'benchmark_{data}')
    device = options.device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
    machine = describe_machine(device, options.threads)
    course = open_course(line_up.contestants, data)
    _check_reference(options.reference, line_up.contestants)
    jobs = plan_jobs(line_up.contestants, data, out, machine, options.warmup)
    outcomes: list[Outcome] = []
    failed: list[str] = []
    for number, contestant in enumerate(line_up.contestants, start=1):
        head = f'[{number}/{len(line_up.contestants)}] {contestant.name}'
        if isinstance(contestant, Results):
            outcomes.append(_score(contestant.name, course, contestant.folder))
        elif isinstance(contestant, Tracker):
            job = jobs[contestant.name]
            if not _run(job, contestant, course, head):
                failed.append(contestant.name)
                continue
            folder = RunFolder(Path(job.folder), job.fingerprint)
            runs = [folder.require(name) for name in course.names]
            outcomes.append(_score(contestant.name, course, folder.tracks, runs))
        _say(f'{head}: HOTA {outcomes[-1].scores["HOTA"]:.1%}')
    if outcomes:
        facts = _facts(course, machine, options)
        report = _report(outcomes, options, facts)
        files = report.write(out)
        _say(f'\n{report.markdown()}')
        _say('\n'.join(map(str, files)))
    if failed:
        print(
            f'mmfdta benchmark: {", ".join(failed)} failed, see above; the same '
            'command goes on where it stopped',
            file=sys.stderr,
        )
    return 1 if failed else 0


def plan_jobs(
    contestants: Sequence[Contestant], data: str, out: Path, machine: dict, warmup: int
) -> dict[str, Job]:
    """Plan the runs; contestants with equal detectors share detections.

    Args:
        contestants (Sequence[Contestant]): All of them.
        data (str): ``val`` or ``test``.
        out (Path): Folder of the benchmark.
        machine (dict): See :func:`describe_machine`.
        warmup (int): Frames that are not timed.

    Returns:
        dict[str, Job]: By name; folders of results have none.
    """
    running = [c for c in contestants if isinstance(c, Tracker)]
    detectors = {c.name: detector_fingerprint(c, data) for c in running}
    uses = collections.Counter(detectors.values())
    jobs = {}
    for tracker in running:
        folder = out / 'runs' / tracker.slug
        detector, shared = detectors[tracker.name], None
        if detector is not None and uses[detector] > 1:
            shared = str(out / 'detections' / detector)
        jobs[tracker.name] = Job(
            name=tracker.name,
            config=str(folder / 'config.py'),
            checkpoint=None if tracker.checkpoint is None else str(tracker.checkpoint),
            data=data,
            folder=str(folder),
            fingerprint=run_fingerprint(tracker, data, machine),
            detections=shared,
            device=machine['device'],
            threads=machine['threads'],
            warmup=warmup,
        )
    return jobs


def _run(job: Job, tracker: Tracker, course: Course, head: str) -> bool:
    """Run a job in a process of its own unless it is done; whether it succeeded."""
    folder = RunFolder(Path(job.folder), job.fingerprint)
    left = [name for name in course.names if folder.read(name) is None]
    if not left:
        _say(f'{head}: reused')
        return True
    done = len(course.names) - len(left)
    _say(f'{head}: {len(left)} sequences' + (f', {done} reused' if done else ''))
    path = job.save()
    tracker.config.dump(job.config)
    worker = [sys.executable, '-m', 'mmfdta.apis.benchmark.worker', str(path)]
    return subprocess.run(worker, check=False).returncode == 0


def _score(
    name: str, course: Course, tracks: Path, runs: Sequence[SequenceRun] = ()
) -> Outcome:
    """Score the text of a folder, which a run has left or another program."""
    sequences = [
        ScoredSequence(
            name, length, truth, read_tracks(tracks / f'{name}.txt', num_frames=length)
        )
        for name, length, truth in course.sequences
    ]
    evaluation = evaluate(sequences, Settings(course.benchmark))
    return Outcome(name, evaluation, list(runs))


def _check_reference(name: str | None, contestants: Sequence[Contestant]) -> None:
    names = [contestant.name for contestant in contestants]
    if name is not None and name not in names:
        raise ValueError(f'--reference: found {name!r}, expected one of {names}')


def _report(
    outcomes: list[Outcome], options: argparse.Namespace, facts: dict
) -> Report:
    names = [outcome.name for outcome in outcomes]
    reference = options.reference if options.reference in names else names[0]
    other = outcomes[names.index(reference)]
    draws = bootstrap.draw_sequences(
        len(other.evaluation.sequences), options.resamples, options.seed
    )
    differences = {
        outcome.name: bootstrap.compare(outcome.evaluation, other.evaluation, draws)
        for outcome in outcomes
        if outcome is not other
    }
    return Report(outcomes, reference, differences, facts)


def _facts(course: Course, machine: dict, options: argparse.Namespace) -> dict:
    return dict(
        data=course.describe(),
        machine=', '.join(f'{name} {value}' for name, value in machine.items()),
        times=f'medians over frames, one at a time, after {options.warmup} frames of '
        'warm-up; FPS of all stages one after the other',
        intervals=f'{bootstrap.LEVEL:.0%}, {options.resamples} draws of sequences',
    )


def _say(text: str) -> None:
    print(text, flush=True)
