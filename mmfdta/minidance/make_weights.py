# Copyright (c) mmfdta authors.
"""Make the weights of the small FDTA that come with mmfdta, and their recipe.

Trains as `mmfdta demo --train` does, or takes what such a run has left in the work
dir; rounds the weights to half precision; tracks the test split before and after.
"""

import argparse
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

from mmfdta.apis.benchmark import Entry

from .demo import SCORES, benchmark, list_training_stages
from .demo import WEIGHTS as TRAINED
from .recipe import FOLDER, write_halved, write_recipe
from .stages import run_stages
from .training import DETECTOR, TRACKER, DemoPlan


def main() -> int:
    """Train, round, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/demo_train'),
        help='folder of the training (default: %(default)s)',
    )
    parser.add_argument('--data-root', type=Path, help="MiniDance; the configs'")
    parser.add_argument('--seed', type=int, default=0, help='seed of the training')
    parser.add_argument(
        '--out', type=Path, default=FOLDER, help='where to (default: the package)'
    )
    options = parser.parse_args()
    init_default_scope('mmdet')
    torch.set_num_threads(min(2, torch.get_num_threads()))
    plan = DemoPlan(options.work_dir, options.data_root, options.seed)
    tracker = plan.config(TRACKER)
    run_stages(list_training_stages(plan, tracker), plan.work_dir)
    trained = plan.work_dir / TRAINED
    entries = [
        Entry('single precision', tracker, trained),
        Entry('half precision', tracker, write_halved(trained, options.out)),
    ]
    results, _ = benchmark(entries, plan.work_dir / 'rounding')
    scores = {
        result.name: {name: round(float(result.scores[name]), 4) for name in SCORES}
        for result in results
    }
    trainings = {name: plan.config(name) for name in (DETECTOR, TRACKER)}
    recipe = write_recipe(options.out, trainings, scores)
    print(
        f'{options.out / recipe["file"]}: {recipe["bytes"]} bytes, SHA-256 '
        f'{recipe["sha256"]}\n{scores["half precision"]}: state size, '
        'hash and HOTA in mmfdta/checkpoints/published.py'
    )
    return 0
