# Copyright (c) mmfdta authors.
"""The small FDTA with and without each adapter, trained and compared.

Every variant of a seed starts from the same detector and sees the same clips;
only the adapters differ. Section 4.3 of the paper asks the same questions on
DanceTrack.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfdta.apis.benchmark import Entry
from mmfdta.structures.tables import csv_table, markdown_table
from mmfdta.structures.whole_files import write_text

from .demo import benchmark, compare_embeddings
from .stages import Stage, run_stages, say
from .training import TRACKER, DemoPlan, data_stage, detector_stage, tracker_stage

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


def run_ablation(
    work_dir: Path,
    data_root: Path | None,
    seeds: Sequence[int],
    variants: Sequence[str] = tuple(VARIANTS),
    settings: dict | None = None,
) -> None:
    """Run what has not been run yet, and write the tables after every variant.

    Args:
        work_dir: Gets ``seed<N>/`` and ``ablation.{md,csv,json}``.
        data_root: Folder of the rendered data; None: that of the configs.
        seeds: Seeds of the trainings; every seed has all its variants before the
            next one starts.
        variants: Keys of :data:`VARIANTS`.
        settings: Changes to the configs of both trainings.

    Raises:
        FileExistsError: If the folder of the data holds something else.
        ValueError: If a variant is unknown.
    """
    unknown = [name for name in variants if name not in VARIANTS]
    if unknown:
        raise ValueError(f'--variants: found {unknown[0]!r}, expected {list(VARIANTS)}')
    init_default_scope('mmdet')
    # More than two threads gain nothing with tensors this small.
    torch.set_num_threads(min(2, torch.get_num_threads()))
    for seed in seeds:
        plan = DemoPlan(work_dir / f'seed{seed}', data_root, seed, settings or {})
        for name in variants:
            say(f'\nseed {seed}, {name}')
            run_stages(list_stages(plan, VARIANTS[name]), plan.work_dir)
            write_results(work_dir)
    say(f'\n{(work_dir / "ablation.md").read_text(encoding="utf-8")}')


def without_adapters(config: Config, kept: str) -> Config:
    """Take adapters out of FDTA's config.

    Args:
        config: FDTA's config; it is changed.
        kept: Letters of those that stay: S, T, I.

    Returns:
        The config.
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
    """List the detector of a seed, which its variants share, and one variant.

    Args:
        plan: Folders, seed and settings of the seed.
        kept: As in :func:`without_adapters`.

    Returns:
        The stages.
    """
    letters = kept or 'none'
    tracker = without_adapters(plan.config(TRACKER), kept)
    folder = plan.work_dir / letters
    trained, results = folder / 'fdta.pth', folder / 'scores.json'

    def measure() -> None:
        entry = Entry('FDTA', tracker, trained)
        (result,), _ = benchmark([entry], folder)
        panel = compare_embeddings(tracker, trained, folder, 'detector')
        found = {name: float(result.scores[name]) for name in COLUMNS[:5]}
        found |= dict(different=panel.share_different, same=panel.share_same)
        write_text(results, json.dumps(found, indent=1) + '\n')

    return [
        data_stage(plan, plan.config(TRACKER)),
        detector_stage(plan),
        tracker_stage(plan, f'train-{letters}', tracker, folder / 'train', trained),
        Stage(f'test-{letters}', 'Track and score', 1, '', measure, (results,)),
    ]


def write_results(work_dir: Path) -> None:
    """Write ``ablation.{md,csv,json}`` from all scores that are there.

    Args:
        work_dir: Folder of the seeds' folders.
    """
    found: dict[str, dict[str, dict]] = {}
    for name, letters in VARIANTS.items():
        paths = sorted(work_dir.glob(f'seed*/{letters or "none"}/scores.json'))
        if paths:
            found[name] = {
                p.parent.parent.name: json.loads(p.read_text(encoding='utf-8'))
                for p in paths
            }
    write_text(work_dir / 'ablation.json', json.dumps(found, indent=1) + '\n')
    rows = [
        (name, seed.removeprefix('seed'), *(row[column] for column in COLUMNS))
        for name, seeds in found.items()
        for seed, row in seeds.items()
    ]
    text = csv_table(('adapters', 'seed', *COLUMNS), rows)
    write_text(work_dir / 'ablation.csv', text)
    write_text(work_dir / 'ablation.md', summarise_seeds(found))


def summarise_seeds(found: dict[str, dict[str, dict]]) -> str:
    """Write mean and standard deviation over the seeds, rates in percent.

    Args:
        found: Variant -> seed -> its scores.

    Returns:
        A Markdown table.
    """
    rows = [
        (
            name,
            len(seeds),
            *(_mean_and_spread([row[c] for row in seeds.values()], c) for c in COLUMNS),
        )
        for name, seeds in found.items()
    ]
    titles = (*COLUMNS[:5], 'different > 0.9', 'same > 0.9')
    return markdown_table(('adapters', 'seeds', *titles), rows)


def _mean_and_spread(values: list[float], column: str) -> str:
    factor, digits = (1, 0) if column == 'IDSW' else (100, 1)
    values = [factor * value for value in values]
    mean = f'{statistics.fmean(values):.{digits}f}'
    if len(values) < 2:
        return mean
    return f'{mean} ± {statistics.stdev(values):.{digits}f}'
