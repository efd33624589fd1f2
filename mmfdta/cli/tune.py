# Copyright (c) mmfdta authors.
"""Search the settings of a tracker; the detector runs once.

Without a choice of values a setting stays what the config says. Tune on a split that
you do not report.
"""

import argparse
import ast
import json
import sys
from pathlib import Path

from .model_arguments import add_model_arguments, open_model

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
            f'--{name}', nargs='+', type=float, help="values to try; the config's"
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
        'given for several',
    )
    parser.add_argument(
        '--search',
        choices=['grid', 'coordinate'],
        default='grid',
        help='all combinations, or one value at a time from the best on',
    )
    parser.add_argument(
        '--benchmark',
        choices=[name for name, b in BENCHMARKS.items() if not b.from_files],
        help="whose rules to score by; the config's",
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=1,
        help='frames the detector takes at a time (default: 1)',
    )


def run(options: argparse.Namespace) -> None:
    """Search, and print what was tried and the best.

    Raises:
        ValueError: If the model has no tracker to tune.
    """
    from dataclasses import replace

    from mmfdta.apis.analysis import tune_thresholds
    from mmfdta.apis.detection_store import DetectionStore, detects_apart
    from mmfdta.apis.progress import Progress
    from mmfdta.apis.sequence_loop import SequenceLoop, lowest_used_score
    from mmfdta.structures.whole_files import write_text

    model, data, config = open_model(options)
    if not detects_apart(model):
        raise ValueError(
            f'model.type: found {type(model).__name__}, expected FDTA, MOTIP or '
            'TrackingByDetection, which detect and associate apart'
        )
    data = replace(data, benchmark=options.benchmark or data.benchmark)
    tracker, tracker_cfg = model.tracker, config.model.tracker
    choices = _choices(options, tracker)
    lowest = min(
        lowest_used_score(
            tune_thresholds.build_tracker(tracker, tracker_cfg, {name: value})
        )
        for name, values in choices.items()
        for value in values
    )
    folder = options.detections or options.out / 'detections'
    store = DetectionStore(folder, model, data.dataset)
    loop = SequenceLoop(model, data.dataset, store, lowest, options.batch_size)
    with Progress(sum(map(len, data.sequences))) as bar:
        detections = loop.detect_all(bar.update)

    def report(trial: tune_thresholds.Trial) -> None:
        """Keep what there is so far: an interrupted search loses nothing."""
        print(f'{trial.setting}: HOTA {trial.scores["HOTA"]:.2%}', file=sys.stderr)
        rows = [known.as_dict() for known in tuner.trials]
        table = tune_thresholds.format_trials(tuner.trials)
        write_text(options.out / 'thresholds.json', json.dumps(rows, indent=1) + '\n')
        write_text(options.out / 'thresholds.md', table)

    tuner = tune_thresholds.Tuner(loop, detections, data, tracker_cfg, report)
    if options.search == 'grid':
        best = tune_thresholds.search_grid(tuner, choices)
    else:
        start = {name: getattr(tracker, name, v[0]) for name, v in choices.items()}
        best = tune_thresholds.search_coordinates(tuner, choices, start)
    print(tune_thresholds.format_trials(tuner.trials))
    changes = [
        f'model.tracker.{name}={str(value).replace(" ", "")}'
        for name, value in best.setting.items()
    ]
    print(f'Best: --cfg-options {" ".join(changes)}')


def _choices(options: argparse.Namespace, tracker: object) -> dict[str, list]:
    """Values to try by argument of the tracker; those of FDTA's are always listed.

    Raises:
        ValueError: If nothing is to be tried, or values are missing.
    """
    choices = {}
    for name in _SHORT:
        values = getattr(options, name)
        if values or hasattr(tracker, name):
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
        raise ValueError(
            f'nothing to try: {type(tracker).__name__} is not the tracker of FDTA; '
            'name arguments of it with --try NAME VALUE ...'
        )
    return choices
