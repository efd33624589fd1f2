# Copyright (c) mmfdta authors.
"""Draw who followed whom: a timeline for each sequence, with its switches."""

import argparse
import json
from pathlib import Path

from .evaluate import add_folder_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_folder_arguments(parser)
    parser.add_argument(
        '--out',
        required=True,
        type=Path,
        metavar='DIR',
        help='folder for <sequence>.png and switches.json',
    )


def run(options: argparse.Namespace) -> None:
    """Draw each sequence, and list the switches of all."""
    from mmfdta.evaluation import select_scored
    from mmfdta.evaluation.folders import find_sequences
    from mmfdta.structures.whole_files import write_text
    from mmfdta.visualization import save_timeline

    switches = {}
    files, _ = find_sequences(options.gt, options.results, options.sequences)
    for file in files:
        sequence = select_scored(file.load(), options.benchmark)
        path = options.out / f'{sequence.name}.png'
        switches[sequence.name] = save_timeline(sequence, path)
        print(f'{path}: {len(switches[sequence.name])} switches')
    write_text(options.out / 'switches.json', json.dumps(switches, indent=1) + '\n')
