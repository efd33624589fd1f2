# Copyright (c) mmfdta authors.
"""Command line that makes depth maps for a data set."""

import argparse
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import track

from .check_data import run_checks
from .depth_backends import DEFAULT_MODEL, FolderDepth, TransformersDepth
from .depth_maps import DepthBackend, generate_depth
from .kinds import find_splits, open_split


def guess_kind(data_root: str) -> str:
    """Tell which data set a folder holds, by what is special about it.

    Args:
        data_root: The data set's folder.

    Returns:
        A key of ``KINDS``; ``mot`` for any other MOTChallenge layout.

    Raises:
        ValueError: For static images, which have no depth maps.
    """
    entries = sorted(os.listdir(data_root)) if os.path.isdir(data_root) else []
    if any(name.endswith('.odgt') for name in entries):
        raise ValueError(
            f'{data_root}: CrowdHuman holds static images; depth maps are made for '
            'sequences, and CrowdHuman trains without depth'
        )
    if 'annotations_mot' in entries:
        return 'bft'
    if os.path.isdir(os.path.join(data_root, 'dataset')):
        return 'sportsmot'
    return 'mot'


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m mmfdta generate-depth',
        description='Write 8-bit depth maps <sequence>/depth/<image stem>.png, '
        'normalised over each sequence. Runs again where it was interrupted.',
    )
    parser.add_argument('root', help='folder of the data set')
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
        type=int,
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
    options = parser.parse_args(arguments)
    if options.backend == 'folder' and not (options.maps or options.check):
        parser.error('--backend folder needs --maps DIR')
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Make or check depth maps.

    Args:
        arguments: Command line; by default that of the
            process.

    Returns:
        0 if all is well, 1 if the check found errors or depth cannot be
        made.
    """
    options = _parse(arguments)
    try:
        kind = guess_kind(options.root)
        splits = options.splits
        if splits is None:
            found = find_splits(kind, options.root)
            splits = ['train'] if 'train' in found else found
        if options.check:
            errors = run_checks(kind, options.root, splits, depth_only=True)
            return 1 if errors else 0
        _generate(options, kind, splits)
    except (OSError, ValueError, ImportError) as error:
        print(f'mmfdta generate-depth: {error}', file=sys.stderr)
        return 1
    return 0


def _generate(options: argparse.Namespace, kind: str, splits: list[str]) -> None:
    backend: DepthBackend
    if options.backend == 'folder':
        backend = FolderDepth(options.maps, options.near_is_dark)
    else:
        backend = TransformersDepth(
            options.model, options.revision, options.device, options.batch_size
        )
    licence = backend.describe()['licence']
    print(f'depth from {options.backend}, licence of the weights or maps: {licence}')
    console = Console(stderr=True)
    for split in splits:
        dataset = open_split(kind, options.root, split)
        sources = dataset.sources()
        title = f'{dataset.NAME} {split}'.strip()
        written = 0
        for source in track(sources, title, console=console, transient=True):
            written += generate_depth(source, backend)
        print(f'{title}: {written} maps written in {len(sources)} sequences')
