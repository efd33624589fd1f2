# Copyright (c) mmfdta authors.
"""Draw who followed whom: a timeline for each sequence, with its switches."""

import argparse
import json
from pathlib import Path

from .evaluate import add_folder_arguments, find_options_trackers, say


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
    from mmfdta.structures.whole_files import write_text
    from mmfdta.visualization import save_timeline

    trackers = find_options_trackers(options)
    for tracker in trackers:
        folder = options.out / tracker.name if len(trackers) > 1 else options.out
        switches = {}
        sequences, remarks = tracker.load()
        say(options, remarks)
        for sequence in sequences:
            scored = select_scored(sequence, options.benchmark)
            path = folder / f'{sequence.name}.png'
            switches[sequence.name] = save_timeline(scored, path)
            print(f'{path}: {len(switches[sequence.name])} switches')
        write_text(folder / 'switches.json', json.dumps(switches, indent=1) + '\n')
