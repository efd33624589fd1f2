# Copyright (c) mmfdta authors.
"""Run several trackers on one data set and compare them.

Each entry runs in its own process, one after the other, frame by frame. What an
earlier call has finished is reused as long as config, weights, code, images and
machine are the same; an interrupted call continues where it stopped. With --tune each
tracker gets a second row with the best of as many settings, chosen on val. Then all are
scored with the project's metric, and tables and plots are written.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .arguments import (
    CfgOptions,
    add_cfg_options,
    add_compile,
    add_precision,
    number,
    seed,
)


class _OptionsFor(CfgOptions):
    """Gathers ``NAME KEY=VALUE ...`` by name."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence | None,
        option_string: str | None = None,
    ) -> None:
        name, *pairs = list(values or ())
        if not pairs or not all('=' in pair for pair in pairs):
            parser.error(f'{option_string}: found {values}, expected NAME KEY=VALUE')
        known = dict(getattr(namespace, self.dest))
        changes = argparse.Namespace(**{self.dest: known.get(name, {})})
        super().__call__(parser, changes, pairs, option_string)
        known[name] = getattr(changes, self.dest)
        setattr(namespace, self.dest, known)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'entries',
        nargs='+',
        metavar='ENTRY',
        help='[NAME:]CONFIG=CHECKPOINT, or NAME=FOLDER of result text, or a benchmark '
        'config such as benchmarks/minidance',
    )
    parser.add_argument(
        '--data',
        choices=['val', 'test'],
        help="whose data loader says what to read; the benchmark config's, or val",
    )
    parser.add_argument('--out', type=Path, help='folder; work_dirs/benchmark_<data>')
    parser.add_argument(
        '--detections',
        type=Path,
        help='folder where detections are kept and found, also by tune and '
        'similarity; <out>/detections',
    )
    parser.add_argument(
        '--checkpoint-dir',
        type=Path,
        help='where the checkpoints of a benchmark config are',
    )
    parser.add_argument(
        '--skip-missing',
        action='store_true',
        help='leave out entries of a benchmark config whose files are missing',
    )
    parser.add_argument(
        '--allow-random-weights',
        action='store_true',
        help='run configs without a checkpoint as they are initialised',
    )
    parser.add_argument(
        '--reference', help='entry that the others are compared with; the first'
    )
    parser.add_argument('--device', help='such as cuda:1 or cpu; a GPU if there is one')
    add_precision(parser, 'compute all entries in it')
    add_compile(parser)
    parser.add_argument(
        '--threads',
        type=number(1, whole=True),
        help="threads of PyTorch (default: PyTorch's choice)",
    )
    parser.add_argument(
        '--warmup',
        type=number(0, whole=True),
        default=5,
        help='frames before times are taken',
    )
    parser.add_argument(
        '--resamples',
        type=number(1, whole=True),
        default=2000,
        help='draws of the intervals',
    )
    parser.add_argument(
        '--seed',
        type=seed,
        default=0,
        metavar='N',
        help='seed of the draws, from 0 on (default: 0)',
    )
    parser.add_argument(
        '--tune',
        type=int,
        metavar='N',
        help="search settings of each tracker on val, the config's and N - 1 drawn "
        'ones as tune --search random does, and add a row with the best',
    )
    parser.add_argument(
        '--tune-seed',
        type=seed,
        default=0,
        metavar='N',
        help='seed of --tune, from 0 on (default: 0)',
    )
    add_cfg_options(parser, 'settings to change in the configs of all entries')
    parser.add_argument(
        '--cfg-options-for',
        nargs='+',
        action=_OptionsFor,
        default={},
        metavar=('NAME', 'KEY=VALUE'),
        help='settings to change in the config of one entry; may be given for several',
    )


def run(options: argparse.Namespace) -> int:
    """Run the entries, print the tables, and say which entries failed."""
    from mmengine.registry import init_default_scope

    from mmfdta.apis.benchmark import BenchmarkOptions, read_entries, run_benchmark

    init_default_scope('mmdet')
    settings = dict(options.cfg_options)
    if options.precision:
        settings['precision'] = options.precision
    if options.compile:
        settings['compile_detector'] = True
    listed = read_entries(
        options.entries,
        options.checkpoint_dir,
        settings,
        options.cfg_options_for,
        options.allow_random_weights,
        options.skip_missing,
    )
    for text in listed.missing:
        _say(f'left out: {text}')
    made = run_benchmark(
        listed.entries,
        BenchmarkOptions(
            data=options.data or listed.data or 'val',
            out=options.out,
            detections=options.detections,
            reference=options.reference,
            device=options.device,
            threads=options.threads,
            warmup=options.warmup,
            resamples=options.resamples,
            seed=options.seed,
            tune=options.tune,
            tune_seed=options.tune_seed,
        ),
        _say,
    )
    if made.report is not None:
        _say(f'\n{made.report.markdown()}')
        _say('\n'.join(map(str, made.files)))
    if made.failed:
        print(
            f'mmfdta benchmark: {", ".join(made.failed)} failed, see above; run the '
            'same command again to continue where it stopped',
            file=sys.stderr,
        )
    return 1 if made.failed else 0


def _say(text: str) -> None:
    print(text, flush=True)
