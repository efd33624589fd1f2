# Copyright (c) mmfdta authors.
"""Write the depth maps of a data set, <sequence>/depth/<image stem>.png.

    mmfdta generate-depth data/DanceTrack

Maps have 8 bits and are normalised over each sequence. An interrupted run continues
where it stopped; maps of a folder are read again from the first of a sequence. They are
needed for training only. With --launcher the sequences are shared out.
"""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mmfdta.utils.processes import Processes

from .arguments import add_launcher, join_job, number
from .check_data import check_splits, show_progress

if TYPE_CHECKING:
    from mmfdta.datasets.sequences import SequenceSource

DEFAULT_MODEL = 'depth-anything/Depth-Anything-V2-Small-hf'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('root', help='folder of the data set')
    parser.add_argument(
        '--kind',
        help='which data set it is, as for check-data; found out if it is not given',
    )
    parser.add_argument(
        '--splits', nargs='+', help='default: train, which is what needs depth'
    )
    parser.add_argument(
        '--backend',
        choices=('transformers', 'folder'),
        default='transformers',
        help='run a depth network (the default), or read maps from a folder',
    )
    parser.add_argument(
        '--model', default=DEFAULT_MODEL, help=f'transformers: default {DEFAULT_MODEL}'
    )
    parser.add_argument('--revision', help='transformers: revision of the model')
    parser.add_argument(
        '--device',
        default='auto',
        help='transformers: such as cuda:1 or cpu; a GPU if there is one',
    )
    parser.add_argument(
        '--batch-size',
        type=number(1, whole=True),
        default=1,
        help='transformers: images at a time (default: 1)',
    )
    parser.add_argument('--maps', help='folder: where the maps are')
    parser.add_argument(
        '--near-is-dark', action='store_true', help='folder: far is bright in the maps'
    )
    parser.add_argument(
        '--check', action='store_true', help='check that all maps are there and right'
    )
    add_launcher(parser)
    parser.set_defaults(
        decode=False,
        max_findings=20,
        frame_numbers='auto',
        classes=None,
        usage_error=parser.error,
    )


def run(options: argparse.Namespace) -> int:
    """Make or check depth maps.

    Returns:
        0, or 1 if a check found errors.
    """
    if options.backend == 'folder' and not (options.maps or options.check):
        options.usage_error('--backend folder needs --maps DIR')
    with join_job(options) as processes:
        return _generate(options, processes)


def _generate(options: argparse.Namespace, processes: Processes) -> int:
    from mmfdta.datasets.depth import (
        DepthBackend,
        FolderDepth,
        TransformersDepth,
        generate_depth,
    )
    from mmfdta.datasets.kinds import find_kind, guess_kind, open_split

    kind = find_kind(options.kind) if options.kind else guess_kind(options.root)
    if options.splits is None:
        found = kind.find_splits(options.root)
        options.splits = ['train'] if 'train' in found else found
    if options.check:
        return check_splits(kind, options, processes, depth_only=True)
    datasets = [open_split(kind, options.root, split) for split in options.splits]
    sources = [dataset.sources() for dataset in datasets]
    if options.backend == 'folder':
        backend: DepthBackend = FolderDepth(options.maps, options.near_is_dark)
    else:
        device = options.device
        if device in ('auto', 'cuda'):
            device = processes.device() or device
        backend = TransformersDepth(
            options.model, options.revision, device, options.batch_size
        )
    if processes.is_first:
        made = f'{options.backend}, licence of the weights or maps'
        print(f'depth from {made}: {backend.describe()["licence"]}')
    for dataset, parts in zip(datasets, sources, strict=True):
        title = f'{dataset.dataset_name} {dataset.split}'.strip()
        mine = processes.share(parts)
        shown: Iterable[SequenceSource] = mine
        if processes.is_first:
            shown = show_progress(mine, title, len(mine), 'sequences')
        written = sum(generate_depth(source, backend) for source in shown)
        written = sum(processes.gather(written))
        if processes.is_first:
            print(f'{title}: {written} maps written in {len(parts)} sequences')
    return 0
