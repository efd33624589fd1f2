# Copyright (c) mmfdta authors.
"""Draw who followed whom: a timeline for each sequence, with its switches."""

import argparse
import json
from pathlib import Path

from .evaluate import add_folder_arguments, score_trackers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_folder_arguments(parser)
    parser.add_argument(
        '--out',
        required=True,
        type=Path,
        metavar='DIR',
        help='folder for <sequence>.png and switches.json; frames count from 1 within '
        'the part of --frames or --half',
    )


def run(options: argparse.Namespace) -> int:
    """Draw each sequence, and list the switches of all."""
    from mmfdta.evaluation.scores import ALL
    from mmfdta.structures.whole_files import write_text
    from mmfdta.visualization import describe_errors, save_timeline

    evaluations, num_trackers = score_trackers(options, ('CLEAR',), events=True)
    for tracker, evaluation in evaluations.items():
        folder = options.out / tracker if num_trackers > 1 else options.out
        switches = {}
        for label, of_class in evaluation.events.items():
            for sequence, events in of_class.items():
                name = sequence if label == ALL else f'{sequence}_{label}'
                path = folder / f'{name}.png'
                switches[name] = save_timeline(name, events, path)
                print(f'{path}: {describe_errors(events)}')
        write_text(folder / 'switches.json', json.dumps(switches, indent=1) + '\n')
    return int(len(evaluations) < num_trackers)
