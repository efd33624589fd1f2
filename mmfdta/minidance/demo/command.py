# Copyright (c) mmfdta authors.
"""Render, train, track, compare: FDTA on a CPU in one command.

Trains the small FDTA on MiniDance from scratch, tracks the test sequences with
it, lets ByteTrack, OC-SORT and SORT track the same detections, and leaves
tables, plots, a video and the weights in the work dir. What an earlier run has
finished is reused; an interrupted training goes on.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

from mmfdta.apis.config import add_cfg_options
from mmfdta.evaluation.hota import ALPHAS
from mmfdta.minidance import MiniDanceOptions, make_minidance
from mmfdta.visualization import (
    plot_hota_curves,
    plot_scores,
    plot_similarity,
    save_figure,
)

from .comparison import FDTA, Outcome, compare, write_tables
from .pictures import plot_training, read_losses, write_video
from .plan import DemoPlan
from .similarity import load_detector, measure_similarity
from .stages import Stage, run_stages, say
from .tracking import TrackedSequence, read_split, track_split
from .training import train, train_tracker

DETECTOR, TRACKER = 'deformable_detr_mini', 'fdta_mini'
RESULTS = (
    *('scores.md', 'scores.csv', 'scores.json', 'scores.png', 'hota.png'),
    *('training.png', 'similarity.png', 'fdta_vs_bytetrack.mp4'),
)


def parse_arguments(arguments: list[str]) -> DemoPlan:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        'python -m mmfdta demo',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/demo'),
        help='folder for weights and results (default: work_dirs/demo)',
    )
    parser.add_argument(
        '--data-root',
        type=Path,
        default=Path('data/minidance'),
        help='folder of MiniDance, rendered if missing (default: data/minidance)',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the training')
    parser.add_argument(
        '--processes', type=int, help='processes that render; default: one a core'
    )
    add_cfg_options(parser, 'settings to change in the configs of both trainings')
    args = parser.parse_args(arguments)
    return DemoPlan(
        args.work_dir, args.data_root, args.seed, args.cfg_options, args.processes
    )


def main(arguments: list[str]) -> int:
    """Run the demo.

    Args:
        arguments (list[str]): The command line.

    Returns:
        int: Exit code.
    """
    plan = parse_arguments(arguments)
    init_default_scope('mmdet')
    # More than two threads gain nothing with tensors this small.
    torch.set_num_threads(min(2, torch.get_num_threads()))
    start = time.monotonic()
    try:
        run_stages(list_stages(plan), plan.work_dir)
    except FileExistsError as error:
        print(f'mmfdta demo: {error}', file=sys.stderr)
        return 1
    say(f'\n{(plan.work_dir / "scores.md").read_text(encoding="utf-8")}')
    for name in RESULTS:
        say(str(plan.work_dir / name))
    say(str(plan.work_dir / 'fdta.pth'))
    say(f'\nThe demo took {(time.monotonic() - start) / 60:.1f} minutes.')
    return 0


def list_stages(plan: DemoPlan) -> list[Stage]:
    """List what the demo does, in its order."""
    detector, tracker = plan.config(DETECTOR), plan.config(TRACKER)
    options = MiniDanceOptions(**tracker.train_dataloader.dataset.options)
    work_dir = plan.work_dir
    weights = [work_dir / 'detector.pth', work_dir / 'fdta.pth']
    tracks = work_dir / 'tracks'
    folders = [work_dir / 'train_detector', work_dir / 'train_fdta']
    tracker.load_from = str(folders[1] / 'start.pth')

    def track() -> None:
        for split in ('val', 'test'):
            track_split(tracker, weights[1], split, tracks / split / 'fdta')

    def report() -> None:
        val, test = (
            read_split(tracker, split, tracks / split / 'fdta')
            for split in ('val', 'test')
        )
        write_report(plan, val, test)

    return [
        Stage(
            'data',
            f'Render MiniDance into {plan.data_root}',
            0.3,
            repr(options),
            lambda: _render(plan, options),
            (plan.data_root / 'minidance.json',),
        ),
        Stage(
            'detector',
            'Train the detector on single frames',
            7,
            detector.dump(),
            lambda: train(detector, folders[0], weights[0]),
            (weights[0],),
            folders[0],
        ),
        Stage(
            'fdta',
            'Train FDTA on clips',
            11,
            tracker.dump(),
            lambda: train_tracker(tracker, weights[0], folders[1], weights[1]),
            (weights[1],),
            folders[1],
        ),
        Stage('track', 'Track the val and test splits', 0.5, '', track, (tracks,)),
        Stage(
            'report',
            'Compare with ByteTrack, OC-SORT and SORT',
            1,
            '',
            report,
            tuple(work_dir / name for name in RESULTS),
        ),
    ]


def _render(plan: DemoPlan, options: MiniDanceOptions) -> None:
    def show(done: int, total: int) -> None:
        if done % 10 == 0 or done == total:
            say(f'      {done}/{total} sequences')

    make_minidance(plan.data_root, options, plan.processes, show)


def write_report(
    plan: DemoPlan, val: list[TrackedSequence], test: list[TrackedSequence]
) -> None:
    """Write tables, plots and the video.

    Args:
        plan (DemoPlan): Where to.
        val (list[TrackedSequence]): Where the neighbours' settings are chosen.
        test (list[TrackedSequence]): Where all are scored.
    """
    # Kalman filters of a few boxes: threads would only wait for each other.
    torch.set_num_threads(1)
    folder = plan.work_dir
    outcomes = compare(val, test, folder / 'tracks' / 'test')
    published = [o for o in outcomes if '(tuned)' not in o.name]
    save_figure(
        plot_scores({o.name: o.scores() for o in published}), folder / 'scores.png'
    )
    curves = {o.name: o.curves() for o in published}
    save_figure(plot_hota_curves(curves, ALPHAS), folder / 'hota.png')
    runs = {
        'detector': read_losses(folder / 'train_detector'),
        'FDTA': read_losses(folder / 'train_fdta'),
    }
    save_figure(plot_training(runs), folder / 'training.png')
    config = plan.config(TRACKER)
    panels = [
        measure_similarity(
            load_detector(plan.config(name), folder / weights), config, 'test', title
        )
        for name, weights, title in (
            (DETECTOR, 'detector.pth', 'plain detector'),
            (TRACKER, 'fdta.pth', 'FDTA'),
        )
    ]
    save_figure(plot_similarity(panels), folder / 'similarity.png')
    _write_video(folder / 'fdta_vs_bytetrack.mp4', test, outcomes)
    shares = {
        panel.title: dict(different=panel.share_different, same=panel.share_same)
        for panel in panels
    }
    facts = dict(seed=plan.seed, similarity_above_threshold=shares)
    write_tables(outcomes, folder, facts)


def _write_video(
    path: Path, test: list[TrackedSequence], outcomes: list[Outcome]
) -> None:
    """Show the sequence in which the neighbour makes most identity switches."""
    fdta, byte = (
        next(o for o in outcomes if o.name == name) for name in (FDTA, 'ByteTrack')
    )
    switches = [byte.evaluation.of_sequence(item.name)['IDSW'] for item in test]
    index = max(range(len(test)), key=lambda i: switches[i])
    write_video(path, test[index], fdta, byte, index)
