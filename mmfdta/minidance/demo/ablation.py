# Copyright (c) mmfdta authors.
"""Train the small FDTA with and without each adapter, and compare.

Every variant of a seed starts from the same detector and sees the same clips;
only the adapters differ. What an earlier run has finished is reused. Section
4.3 of the paper asks the same questions on DanceTrack.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfdta.apis.config import add_cfg_options
from mmfdta.minidance import MiniDanceOptions, make_minidance
from mmfdta.structures.mot_text import write_text_atomic

from .comparison import average, score
from .plan import DemoPlan
from .similarity import load_detector, measure_similarity
from .stages import Stage, run_stages, say
from .tracking import read_split, track_split
from .training import train, train_tracker

DETECTOR, TRACKER = 'deformable_detr_mini', 'fdta_mini'
VARIANTS = {
    'none': '',
    'SA': 'S',
    'TA': 'T',
    'IA': 'I',
    'SA+TA': 'ST',
    'TA+IA': 'TI',
    'all': 'STI',
}
"""Name of a variant -> letters of its adapters."""
COLUMNS = ('HOTA', 'DetA', 'AssA', 'IDF1', 'IDSW', 'different', 'same')
"""Scores, and the shares of similar pairs of different objects and of one object."""


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        'ablation',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/ablation'))
    parser.add_argument('--data-root', type=Path, default=Path('data/minidance'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS)
    )
    add_cfg_options(parser, 'settings to change in the configs of both trainings')
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run what has not been run yet, and write the tables after every variant.

    Args:
        arguments (list[str]): The command line.

    Returns:
        int: Exit code.
    """
    args = parse_arguments(arguments)
    init_default_scope('mmdet')
    torch.set_num_threads(min(2, torch.get_num_threads()))
    # Every seed has all its variants before the next one starts.
    for seed in args.seeds:
        folder = args.work_dir / f'seed{seed}'
        plan = DemoPlan(folder, args.data_root, seed, args.cfg_options)
        try:
            options = plan.config(TRACKER).train_dataloader.dataset.options
            make_minidance(args.data_root, MiniDanceOptions(**options))
        except FileExistsError as error:
            print(f'ablation: {error}', file=sys.stderr)
            return 1
        for name in args.variants:
            say(f'\nseed {seed}, {name}')
            run_stages(list_stages(plan, VARIANTS[name]), folder)
            write_results(args.work_dir)
    say(f'\n{(args.work_dir / "ablation.md").read_text(encoding="utf-8")}')
    return 0


def without_adapters(config: Config, kept: str) -> Config:
    """Take adapters out of FDTA's config.

    Args:
        config (Config): FDTA's config; it is changed.
        kept (str): Letters of those that stay: S, T, I.

    Returns:
        Config: The config.
    """
    if 'S' not in kept:
        config.model.detector.spatial_adapter = None
        config.model.detector.bbox_head.loss_depth = None
        keys = config.optim_wrapper.paramwise_cfg.custom_keys
        for key in ('spatial_adapter', 'depth_attn', 'depth_norm'):
            keys.pop(key, None)
    if 'T' not in kept:
        config.model.temporal_adapter = None
    if 'I' not in kept:
        config.model.identity_adapter = None
        config.optim_wrapper.clip_groups.pop('identity_adapter', None)
    return config


def list_stages(plan: DemoPlan, kept: str) -> list[Stage]:
    """List the detector of a seed, which its variants share, and one variant."""
    detector = plan.config(DETECTOR)
    tracker = without_adapters(plan.config(TRACKER), kept)
    folder = plan.work_dir / (kept or 'none')
    tracker.load_from = str(folder / 'start.pth')
    weights = plan.work_dir / 'detector.pth'
    trained, tracks = folder / 'fdta.pth', folder / 'tracks'
    results = folder / 'scores.json'

    def measure() -> None:
        track_split(tracker, trained, 'test', tracks)
        test = read_split(tracker, 'test', tracks)
        scores = average(score(test, [t.tracks for t in test]).of_class('all'))
        panel = measure_similarity(
            load_detector(tracker, trained), tracker, 'test', 'detector'
        )
        found = {name: float(scores[name]) for name in COLUMNS[:5]}
        found |= dict(different=panel.share_different, same=panel.share_same)
        write_text_atomic(results, json.dumps(found, indent=1) + '\n')

    letters = kept or 'none'
    return [
        Stage(
            'detector',
            'Train the detector on single frames',
            7,
            detector.dump(),
            lambda: train(detector, plan.work_dir / 'train_detector', weights),
            (weights,),
            plan.work_dir / 'train_detector',
        ),
        Stage(
            f'train-{letters}',
            'Train on clips',
            11,
            tracker.dump(),
            lambda: train_tracker(tracker, weights, folder / 'train', trained),
            (trained,),
            folder / 'train',
        ),
        Stage(f'test-{letters}', 'Track and score', 1, '', measure, (results,)),
    ]


def write_results(work_dir: Path) -> None:
    """Write ``ablation.{md,csv,json}`` from all scores that are there.

    Args:
        work_dir (Path): Folder of the seeds' folders.
    """
    found: dict[str, dict[str, dict]] = {}
    for name, letters in VARIANTS.items():
        paths = sorted(work_dir.glob(f'seed*/{letters or "none"}/scores.json'))
        if paths:
            found[name] = {
                p.parent.parent.name: json.loads(p.read_text(encoding='utf-8'))
                for p in paths
            }
    write_text_atomic(work_dir / 'ablation.json', json.dumps(found, indent=1) + '\n')
    lines = [','.join(('variant', 'seed', *COLUMNS))]
    lines += [
        ','.join([name, seed.removeprefix('seed'), *(str(row[c]) for c in COLUMNS)])
        for name, seeds in found.items()
        for seed, row in seeds.items()
    ]
    write_text_atomic(work_dir / 'ablation.csv', '\n'.join(lines) + '\n')
    write_text_atomic(work_dir / 'ablation.md', markdown_table(found))


def markdown_table(found: dict[str, dict[str, dict]]) -> str:
    """Write mean and standard deviation over the seeds, rates in percent.

    Args:
        found (dict): Variant -> seed -> its scores.

    Returns:
        str: A Markdown table.
    """
    titles = [*COLUMNS[:5], 'different > 0.9', 'same > 0.9']
    lines = [
        '| adapters | seeds | ' + ' | '.join(titles) + ' |',
        '| --- ' + '| ---: ' * (len(titles) + 1) + '|',
    ]
    for name, seeds in found.items():
        cells = [
            _mean_and_spread([row[column] for row in seeds.values()], column)
            for column in COLUMNS
        ]
        lines.append(f'| {name} | {len(seeds)} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def _mean_and_spread(values: list[float], column: str) -> str:
    factor, digits = (1, 0) if column == 'IDSW' else (100, 1)
    values = [factor * value for value in values]
    mean = f'{statistics.fmean(values):.{digits}f}'
    if len(values) < 2:
        return mean
    return f'{mean} ± {statistics.stdev(values):.{digits}f}'
