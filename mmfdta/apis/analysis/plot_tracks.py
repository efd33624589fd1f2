# Copyright (c) mmfdta authors.
"""Draw who followed whom: a timeline for each sequence, with its switches."""

import argparse
import json
import sys
from pathlib import Path

from mmfdta.evaluation import BENCHMARKS, select_scored
from mmfdta.evaluation.folders import find_sequences
from mmfdta.structures.mot_text import write_text_atomic
from mmfdta.visualization import save_timeline


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        'python -m mmfdta plot-tracks', description=__doc__
    )
    parser.add_argument(
        '--gt',
        required=True,
        metavar='DIR',
        help='ground truth: <sequence>/gt/gt.txt or <sequence>.txt',
    )
    parser.add_argument(
        '--results', required=True, metavar='DIR', help='results: <sequence>.txt'
    )
    parser.add_argument(
        '--out',
        required=True,
        metavar='DIR',
        help='folder for <sequence>.png and switches.json',
    )
    parser.add_argument(
        '--benchmark',
        default='mot_challenge',
        choices=sorted(BENCHMARKS),
        help='whose rules say which boxes count (default: %(default)s, all)',
    )
    parser.add_argument(
        '--sequences', nargs='+', metavar='NAME', help='plot these sequences only'
    )
    return parser


def main(arguments: list[str]) -> None:
    """Plot as the arguments say.

    Raises:
        SystemExit: If the folders cannot be read.
    """
    options = build_parser().parse_args(arguments)
    out = Path(options.out)
    switches = {}
    try:
        files, _ = find_sequences(options.gt, options.results, options.sequences)
        for file in files:
            sequence = select_scored(file.load(), options.benchmark)
            path = out / f'{sequence.name}.png'
            switches[sequence.name] = save_timeline(sequence, path)
            print(f'{path}: {len(switches[sequence.name])} switches')
        write_text_atomic(out / 'switches.json', json.dumps(switches, indent=1) + '\n')
    except (OSError, ValueError) as error:
        sys.exit(f'mmfdta plot-tracks: {error}')
