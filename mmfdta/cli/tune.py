# Copyright (c) mmfdta authors.
"""Search the settings of a tracker; the detector runs once.

Values to try are named, or those of the tracker's search space: `search` of the config,
else configs/_base_/search_spaces.py. Tune on a split that you do not report. The same
command continues an interrupted search.
"""

import argparse
import ast
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import number, seed
from .model_arguments import add_model_arguments, open_model

if TYPE_CHECKING:
    from mmfdta.apis.analysis.tune_thresholds import Trial

_TRIALS = 40
# Arguments of FDTA's tracker that have an option of their own.
_SHORT = ('det_thr', 'newborn_thr', 'id_thr', 'protocol')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    from mmfdta.structures.benchmarks import BENCHMARKS

    add_model_arguments(parser)
    parser.add_argument(
        '--out', required=True, type=Path, help='folder for thresholds.{json,md}'
    )
    parser.add_argument(
        '--detections',
        type=Path,
        help='folder where detections are kept and found, also by benchmark and '
        'similarity; <out>/detections',
    )
    for name in ('det-thr', 'newborn-thr', 'id-thr'):
        parser.add_argument(
            f'--{name}',
            nargs='+',
            type=number(0, 1),
            metavar='X',
            help="values to try, from 0 to 1; the config's",
        )
    parser.add_argument(
        '--protocol',
        nargs='+',
        choices=['object-max', 'hungarian', 'id-max'],
        help="FDTA's assignment; the config's",
    )
    parser.add_argument(
        '--try',
        nargs='+',
        action='append',
        dest='others',
        default=[],
        metavar=('NAME', 'VALUE'),
        help='values of any argument of model.tracker, as Python writes them; may be '
        'given for several. NAME.KEY reaches into a dictionary',
    )
    parser.add_argument(
        '--search',
        choices=['grid', 'coordinate', 'random'],
        default='grid',
        help='all combinations of the values that are named; one value at a time from '
        'the best on; or drawn combinations. The last two take the search space of '
        'the tracker if no values are named',
    )
    parser.add_argument(
        '--trials',
        type=int,
        help='settings that are tried at most, the one of the config included '
        f'(default: {_TRIALS} of random, no limit of coordinate)',
    )
    parser.add_argument(
        '--seed',
        type=seed,
        default=0,
        metavar='N',
        help='seed of random, from 0 on (default: 0)',
    )
    parser.add_argument(
        '--benchmark',
        choices=[name for name, b in BENCHMARKS.items() if not b.from_files],
        help="whose rules to score by; the config's",
    )
    parser.add_argument(
        '--batch-size',
        type=number(1, whole=True),
        default=1,
        help='frames the detector takes at a time (default: 1)',
    )


def run(options: argparse.Namespace) -> None:
    """Search, and print what was tried and the best.

    Raises:
        ValueError: If the model has no tracker to tune, or the search no end.
    """
    from dataclasses import replace

    if options.trials is not None and options.trials < 1:
        raise ValueError(f'--trials: found {options.trials}, expected at least 1')
    if options.trials is not None and options.search == 'grid':
        raise ValueError(
            '--trials: found it with --search grid, which tries all combinations; '
            'expected random or coordinate'
        )

    from mmfdta.apis.analysis import tune_thresholds
    from mmfdta.apis.detection_store import detects_apart

    model, data, config = open_model(options)
    if not detects_apart(model):
        raise ValueError(
            f'model.type: found {type(model).__name__}, expected FDTA, '
            'MOTIP, BoxFDTA or TrackingByDetection, which detect and associate apart'
        )
    data = replace(data, benchmark=options.benchmark or data.benchmark)

    def search(
        tuner: tune_thresholds.Tuner, choices: Mapping, start: Mapping
    ) -> tune_thresholds.Trial:
        if options.search == 'grid':
            return tune_thresholds.search_grid(tuner, choices)
        if options.search == 'coordinate':
            limit = options.trials
            return tune_thresholds.search_coordinates(tuner, choices, start, limit)
        trials = options.trials or _TRIALS
        return tune_thresholds.search_random(
            tuner, choices, start, trials, options.seed
        )

    found = tune_thresholds.search_settings(
        model,
        data,
        config,
        _choices(options, model.tracker, tune_thresholds.search_space(config)),
        search,
        options.out,
        options.detections or options.out / 'detections',
        options.batch_size,
        _say,
    )
    print(tune_thresholds.format_trials(found.trials))
    changes = [
        f'model.tracker.{name}={str(value).replace(" ", "")}'
        for name, value in found.best.setting.items()
    ]
    print(f'Best: --cfg-options {" ".join(changes)}')


def _say(trial: 'Trial') -> None:
    print(f'{trial.setting}: HOTA {trial.scores["HOTA"]:.2%}', file=sys.stderr)


def _choices(
    options: argparse.Namespace, tracker: object, space: dict[str, list]
) -> dict[str, list]:
    """Values to try by argument of the tracker; a grid lists those of FDTA's always.

    Raises:
        ValueError: If nothing is to be tried, or values are missing.
    """
    named = bool(options.others) or any(getattr(options, name) for name in _SHORT)
    if not named and options.search != 'grid' and space:
        return space
    choices = {}
    # What a tracker in another one has is no argument of that.
    takes = inspect.signature(type(tracker)).parameters
    for name in _SHORT:
        values = getattr(options, name)
        if values or name in takes and hasattr(tracker, name):
            choices[name] = values or [getattr(tracker, name)]
    for name, *values in options.others:
        if not values:
            raise ValueError(f'--try: found {name!r} and no value, expected NAME VALUE')
        choices[name] = []
        for value in values:
            try:
                choices[name].append(ast.literal_eval(value))
            except (ValueError, SyntaxError):
                choices[name].append(value)
    if not choices:
        hint = ', or take its search space with --search random' if space else ''
        raise ValueError(
            f'nothing to try of {type(tracker).__name__}; name arguments of it with '
            f'--try NAME VALUE ...{hint}'
        )
    return choices
