# Copyright (c) mmfdta authors.
"""The stages of the demo, and its tables, plots and video."""

import time
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

from mmfdta.evaluation.hota import ALPHAS
from mmfdta.visualization import (
    plot_hota_curves,
    plot_scores,
    plot_similarity,
    save_figure,
)

from ..stages import Stage, run_stages, say
from ..training import (
    DETECTOR,
    TRACKER,
    DemoPlan,
    data_stage,
    detector_stage,
    tracker_stage,
)
from .comparison import FDTA, Outcome, compare, write_tables
from .pictures import plot_training, read_losses, write_video
from .similarity import load_detector, measure_similarity
from .tracking import TrackedSequence, read_split, track_split

RESULTS = (
    *('scores.md', 'scores.csv', 'scores.json', 'scores.png', 'hota.png'),
    *('training.png', 'similarity.png', 'fdta_vs_bytetrack.mp4'),
)


def run_demo(plan: DemoPlan) -> None:
    """Do what an earlier run has not done yet, and say where the results are.

    Args:
        plan: Folders, seed and settings.

    Raises:
        FileExistsError: If the folder of the data holds something else.
    """
    init_default_scope('mmdet')
    # More than two threads gain nothing with tensors this small.
    torch.set_num_threads(min(2, torch.get_num_threads()))
    start = time.monotonic()
    run_stages(list_stages(plan), plan.work_dir)
    say(f'\n{(plan.work_dir / "scores.md").read_text(encoding="utf-8")}')
    for name in (*RESULTS, 'fdta.pth'):
        say(str(plan.work_dir / name))
    say(f'\nThe demo took {(time.monotonic() - start) / 60:.1f} minutes.')


def list_stages(plan: DemoPlan) -> list[Stage]:
    """List what the demo does, in its order."""
    tracker = plan.config(TRACKER)
    work_dir = plan.work_dir
    weights, tracks = work_dir / 'fdta.pth', work_dir / 'tracks'

    def track() -> None:
        for split in ('val', 'test'):
            track_split(tracker, weights, split, tracks / split / 'fdta')

    def report() -> None:
        val, test = (
            read_split(tracker, split, tracks / split / 'fdta')
            for split in ('val', 'test')
        )
        write_report(plan, val, test)

    return [
        data_stage(plan),
        detector_stage(plan),
        tracker_stage(plan, 'fdta', tracker, work_dir / 'train_fdta', weights),
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
