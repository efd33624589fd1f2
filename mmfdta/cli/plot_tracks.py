# Copyright (c) mmfdta authors.
"""Draw who followed whom: a timeline for each sequence, with its switches."""

import argparse
import json
from pathlib import Path

from .evaluate import (
    add_folder_arguments,
    choose_benchmark,
    find_options_trackers,
    say,
)


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
    from mmfdta.evaluation import Settings
    from mmfdta.evaluation.events import find_events
    from mmfdta.evaluation.scores import load_scored
    from mmfdta.structures.whole_files import write_text
    from mmfdta.visualization import describe_errors, save_timeline

    trackers = find_options_trackers(options)
    for tracker in trackers:
        folder = options.out / tracker.name if len(trackers) > 1 else options.out
        switches = {}
        sequences, remarks = tracker.load()
        say(options, remarks)
        benchmark, why = choose_benchmark(options, tracker.truth, sequences)
        say(options, why)
        settings = Settings(benchmark, classes=tracker.truth.classes)
        for sequence in sequences:
            for label, scored in load_scored(sequence, settings).items():
                name = sequence.name if label == 'all' else f'{sequence.name}_{label}'
                events = find_events(scored)
                path = folder / f'{name}.png'
                switches[name] = save_timeline(name, events, path)
                print(f'{path}: {describe_errors(events)}')
        write_text(folder / 'switches.json', json.dumps(switches, indent=1) + '\n')
