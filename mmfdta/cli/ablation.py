# Copyright (c) mmfdta authors.
"""Train the small FDTA with and without each adapter, and compare.

Every variant of a seed starts from the same detector and sees the same clips;
only the adapters differ. With --detectors and --sharing other detectors and ways in
which they share gradients with association are compared, too, and with --spatial ways
in which the Spatial Adapter enters the detector, on other renderings (--conditions)
and for other lengths of training (--iterations), each with each. What an earlier run
has finished is reused, on any machine with --records; an interrupted training resumes.
"""

import argparse
from pathlib import Path

from .arguments import number, seed
from .demo import add_folders

WORK_DIR = 'work_dirs/ablation'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_folders(parser, WORK_DIR, 'data/minidance')
    parser.add_argument(
        '--seeds',
        type=seed,
        nargs='+',
        default=[0, 1, 2],
        metavar='N',
        help='seeds of the trainings, from 0 on (default: 0 1 2)',
    )
    parser.add_argument(
        '--variants',
        nargs='+',
        metavar='VARIANT',
        help='none, SA, TA, IA, SA+TA, TA+IA, all (default: each of them)',
    )
    parser.add_argument(
        '--detectors',
        nargs='+',
        metavar='DETECTOR',
        default=['deformable-detr'],
        help='deformable-detr (the default), dino, deformable-detr-two-stage',
    )
    parser.add_argument(
        '--sharing',
        nargs='+',
        metavar='WAY',
        default=['default'],
        help="default (as in the detector's config), joint, strong, weak, detached, "
        'warm-up, projection',
    )
    parser.add_argument(
        '--spatial',
        nargs='+',
        metavar='WAY',
        default=['released'],
        help='how the Spatial Adapter enters the detector: released (the default), '
        'gate (its attention starts closed), loss-only (depth trains backbone and '
        'neck, no query attends to it), from-start (the detector has had it from the '
        'start)',
    )
    parser.add_argument(
        '--conditions',
        nargs='+',
        metavar='CONDITION',
        default=['default'],
        help='renderings of the data: default, similarity-0.6, similarity-1.0, '
        'crossings (all dancers cross, at very different depths), occlusions (behind '
        'screens); each has its own detector and its own folder next to the data root',
    )
    parser.add_argument(
        '--iterations',
        type=number(2, whole=True),
        nargs='+',
        metavar='N',
        default=[None],
        help="iterations of FDTA's training, from 2 on; warm-up and cosine are "
        'stretched with them (default: those of its config)',
    )
    parser.add_argument(
        '--eval-sequences',
        type=int,
        metavar='N',
        help='sequences of val and of test to score, rendered for that (default: those '
        'of the data, 10 of each); with more, a difference depends less on which '
        'sequences there are',
    )
    parser.add_argument(
        '--records',
        type=Path,
        metavar='FILE',
        help='JSON file of finished runs: those that it has are not run again, others '
        'are added; tables are made of it',
    )
    parser.add_argument(
        '--reference',
        metavar='VARIANT',
        help='variant that the others are compared with, seed by seed, by its name in '
        'the table (default: none, or the first one)',
    )


def run(options: argparse.Namespace) -> None:
    """Train, track and compare."""
    from mmfdta.minidance.ablation import VARIANTS, list_variants, run_ablation

    variants = list_variants(
        options.variants or list(VARIANTS),
        options.detectors,
        options.sharing,
        options.spatial,
        options.conditions,
        options.iterations,
    )

    run_ablation(
        options.work_dir or Path(WORK_DIR),
        options.data_root,
        options.seeds,
        variants,
        options.cfg_options,
        options.records,
        options.reference,
        options.eval_sequences,
    )
