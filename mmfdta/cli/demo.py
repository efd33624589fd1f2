# Copyright (c) mmfdta authors.
"""Render, train, track, compare: FDTA on a CPU in a few minutes.

Renders a few sequences of MiniDance, trains the small FDTA on from the weights that
come with mmfdta, tracks the test sequences with it, lets ByteTrack, OC-SORT and SORT
track the same detections, and leaves a table, plots, a video and the weights in the
work dir. With --train it renders all of MiniDance and trains from scratch, which takes
six times as long. What an earlier run has finished is reused; an interrupted training
continues.
"""

import argparse
from pathlib import Path

from .arguments import add_cfg_options, number, seed

WORK_DIR, LONG_WORK_DIR = 'work_dirs/demo', 'work_dirs/demo_train'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        '--train',
        action='store_true',
        help='train the detector and FDTA from scratch, and tune the baselines',
    )
    add_folders(
        parser,
        f'{WORK_DIR}, with --train {LONG_WORK_DIR}',
        'data/minidance_demo, with --train data/minidance',
    )
    parser.add_argument(
        '--seed',
        type=seed,
        default=0,
        metavar='N',
        help='seed of the training, from 0 on (default: 0)',
    )
    parser.add_argument(
        '--processes',
        type=number(1, whole=True),
        help='processes that render; default: one per core',
    )
    clip = parser.add_argument_group('a real video')
    clip.add_argument(
        '--video',
        type=Path,
        metavar='PATH',
        help='a video of your own, tracked by what `mmfdta track` takes',
    )
    clip.add_argument(
        '--config', help="config of the video's tracker, such as bytetrack_yolox-x_coco"
    )
    clip.add_argument(
        '--checkpoint',
        metavar='FILE',
        help="weights of the video's tracker; fetched if they are not named",
    )


def add_folders(parser: argparse.ArgumentParser, work_dir: str, data_root: str) -> None:
    """Add what the demo and the ablation share: their folders and settings.

    Args:
        parser: Receives the arguments.
        work_dir: Where results go if nothing else is said, for ``--help``.
        data_root: Where the data are if nothing else is said, for ``--help``.
    """
    parser.add_argument(
        '--work-dir',
        type=Path,
        help=f'folder for weights and results (default: {work_dir})',
    )
    parser.add_argument(
        '--data-root',
        type=Path,
        help=f'folder of MiniDance, rendered if missing (default: {data_root})',
    )
    add_cfg_options(parser, 'settings to change in the configs of the trainings')


def run(options: argparse.Namespace) -> None:
    """Run the demo."""
    from mmfdta.minidance.demo import Clip, run_demo
    from mmfdta.minidance.training import DemoPlan

    clip = None
    if options.video is not None:
        clip = Clip(options.video, options.config, options.checkpoint)
    elif options.config or options.checkpoint:
        raise ValueError('--config and --checkpoint need --video, which is missing')
    plan = DemoPlan(
        options.work_dir or Path(LONG_WORK_DIR if options.train else WORK_DIR),
        options.data_root,
        options.seed,
        options.cfg_options,
        options.processes,
    )
    run_demo(plan, options.train, clip)
