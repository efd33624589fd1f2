# Copyright (c) mmfdta authors.
"""The small FDTA trained and compared: adapters, detectors, sharing of gradients.

Every variant of a seed on one detector starts from the same weights of it and sees the
same clips; only a detector that has depth from the start is another. Section 4.3 of the
paper asks about the adapters on DanceTrack.
"""

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfdta.apis.benchmark import Entry
from mmfdta.structures.tables import csv_table, markdown_table
from mmfdta.structures.whole_files import write_text

from .demo import benchmark, compare_embeddings
from .stages import Stage, run_stages, say
from .training import (
    ALONE,
    DETECTOR,
    TRACKER,
    DemoPlan,
    data_stage,
    detector_stage,
    tracker_stage,
)

VARIANTS = {
    'none': '',
    'SA': 'S',
    'TA': 'T',
    'IA': 'I',
    'SA+TA': 'ST',
    'TA+IA': 'TI',
    'all': 'STI',
}
"""Name of a combination of adapters -> their letters."""
DETECTORS = {
    'deformable-detr': (DETECTOR, TRACKER),
    'dino': ('dino-r50_mini', 'fdta_dino-r50_mini'),
    'deformable-detr-two-stage': (
        'deformable-detr-two-stage_mini',
        'fdta_deformable-detr-two-stage_mini',
    ),
}
"""Name of a detector -> names of the configs of it alone and of FDTA on it."""
SHARING = {
    'default': None,
    'joint': {},
    'strong': dict(id_gradient=4.0, contrastive_gradient=4.0),
    'weak': dict(id_gradient=0.1, contrastive_gradient=0.1),
    'detached': dict(id_gradient=0.0, contrastive_gradient=0.0),
    'warm-up': dict(warmup_iters=800),
    'projection': dict(projection=dict(num_layers=2)),
}
"""How detector and association share gradients -> ``model.embedding_sharing``; None is
what FDTA's config has."""
SPATIAL = {
    'released': {},
    'gate': dict(depth_attn_cfg=dict(gated=True)),
    'loss-only': dict(spatial_adapter=dict(with_embedding=False, feature_gradient=1.0)),
    'from-start': {},
}
"""How the Spatial Adapter enters the detector -> changes to ``model.detector``:

- ``released``: the queries of a trained decoder attend to depth by an attention that
  starts at random; the depth loss trains the adapter only.
- ``gate``: a gate on that attention, which starts closed, so that training starts at
  the plain decoder.
- ``loss-only``: depth as a second task. The depth loss trains backbone and neck, too
  (as released it could change nothing without attention, for its gradient ends at their
  features); no query attends to depth.
- ``from-start``: as released, on a detector that was trained with adapter, attention
  and depth loss on single frames, for as many iterations as the plain one.
"""
SCORES = ('HOTA', 'DetA', 'AssA', 'IDF1', 'IDSW')
COLUMNS = (*SCORES, 'different', 'same', 'val')
"""Scores, the shares of similar pairs of different objects and of one object, and HOTA
on the val split."""
TITLES = (*SCORES, 'different > 0.9', 'same > 0.9', 'HOTA, val')


@dataclass(frozen=True)
class Variant:
    """What is trained.

    Attributes:
        adapters: Key of :data:`VARIANTS`.
        detector: Key of :data:`DETECTORS`.
        sharing: Key of :data:`SHARING`.
        spatial: Key of :data:`SPATIAL`; ``released`` without the Spatial Adapter.
    """

    adapters: str = 'all'
    detector: str = 'deformable-detr'
    sharing: str = 'default'
    spatial: str = 'released'

    @property
    def name(self) -> str:
        """Its name in tables: the adapters, and what is not as in the demo."""
        detector = '' if self.detector == 'deformable-detr' else self.detector
        return ', '.join(filter(None, (detector, self.adapters, *self._ways)))

    @property
    def key(self) -> str:
        """Its name in file names of its detector and seed."""
        return '-'.join((VARIANTS[self.adapters] or 'none', *self._ways))

    @property
    def _ways(self) -> list[str]:
        """What is not as in the demo, of all but the detector."""
        spatial = [] if self.spatial == 'released' else [self.spatial]
        return spatial if self.sharing == 'default' else [*spatial, self.sharing]

    def root(self, work_dir: Path) -> Path:
        """Folder with the seeds of its detector."""
        if self.detector == 'deformable-detr':
            return work_dir
        return work_dir / self.detector


def run_ablation(
    work_dir: Path,
    data_root: Path | None,
    seeds: Sequence[int],
    variants: Sequence[Variant] = tuple(map(Variant, VARIANTS)),
    settings: dict | None = None,
) -> None:
    """Run what has not been run yet, and write the tables after every variant.

    Args:
        work_dir: Gets ``ablation.{md,csv,json}``, ``seed<N>/`` with the runs on
            Deformable DETR and ``<detector>/seed<N>/`` with those on others.
        data_root: Folder of the rendered data; None: that of the configs.
        seeds: Seeds of the trainings; every seed has all its variants before the
            next one starts.
        variants: What is trained.
        settings: Changes to the configs of both trainings.

    Raises:
        FileExistsError: If the folder of the data holds something else.
    """
    init_default_scope('mmdet')
    # More than two threads gain nothing with tensors this small.
    torch.set_num_threads(min(2, torch.get_num_threads()))
    for seed, variant in product(seeds, variants):
        folder = variant.root(work_dir) / f'seed{seed}'
        plan = DemoPlan(folder, data_root, seed, settings or {})
        say(f'\nseed {seed}, {variant.name}')
        run_stages(list_stages(plan, variant), plan.work_dir)
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
        detector = config.model.detector
        detector.spatial_adapter = None
        # FDTA's own detector has the loss in its head.
        detector.get('bbox_head', detector).loss_depth = None
        _drop_learning_rates(config, 'spatial_adapter', *_ATTENTION)
    if 'T' not in kept:
        config.model.temporal_adapter = None
    if 'I' not in kept:
        config.model.identity_adapter = None
        config.optim_wrapper.clip_groups.pop('identity_adapter', None)
    return config


def set_spatial(config: Config, way: str) -> Config:
    """Let the Spatial Adapter enter the detector of FDTA's config in another way.

    Args:
        config: FDTA's config, with the adapter; it is changed.
        way: Key of :data:`SPATIAL`.

    Returns:
        The config.
    """
    config.model.detector.merge(SPATIAL[way])
    if not config.model.detector.spatial_adapter.get('with_embedding', True):
        _drop_learning_rates(config, *_ATTENTION)
    return config


_ATTENTION = 'depth_attn', 'depth_norm', 'depth_layers'


def _drop_learning_rates(config: Config, *names: str) -> None:
    keys = config.optim_wrapper.paramwise_cfg.custom_keys
    for name in names:
        keys.pop(name, None)


def with_depth(config: Config, tracker: Config) -> Config:
    """Give the config of a plain detector the Spatial Adapter, its loss and its data.

    Args:
        config: Config of the detector alone; it is changed.
        tracker: FDTA's config on that detector, which has them.

    Returns:
        The config.
    """
    detector = tracker.model.detector
    config.model.spatial_adapter = detector.spatial_adapter
    config.model.bbox_head.loss_depth = detector.bbox_head.loss_depth
    steps = config.train_dataloader.dataset.pipeline
    names = [step.type for step in steps]
    loading = next(
        step
        for step in tracker.train_dataloader.dataset.pipeline
        if step.type == 'LoadClipDepth'
    )
    steps.insert(names.index('DecodeClip') + 1, loading)
    return config


def list_stages(plan: DemoPlan, variant: Variant) -> list[Stage]:
    """List the detector of a seed, which its variants share, and one variant.

    Args:
        plan: Folders, seed and settings of the seed.
        variant: What is trained.

    Returns:
        The stages.
    """
    alone, name = DETECTORS[variant.detector]
    detector, stage = plan.config(alone), ALONE
    tracker = without_adapters(plan.config(name), VARIANTS[variant.adapters])
    if variant.spatial == 'from-start':
        detector, stage = with_depth(detector, tracker), f'{ALONE}-depth'
    elif variant.spatial != 'released':
        set_spatial(tracker, variant.spatial)
    sharing = SHARING[variant.sharing]
    if sharing is not None:
        tracker.model.embedding_sharing = dict(sharing)
    folder = plan.work_dir / variant.key
    trained, results = folder / 'fdta.pth', folder / 'scores.json'

    def measure() -> None:
        entry = Entry('FDTA', tracker, trained)
        (result,), _ = benchmark([entry], folder)
        (val,), _ = benchmark([entry], folder / 'val', 'val')
        panel = compare_embeddings(tracker, trained, folder, 'detector')
        found = {name: float(result.scores[name]) for name in SCORES}
        found |= dict(different=panel.share_different, same=panel.share_same)
        found['val'] = float(val.scores['HOTA'])
        write_text(results, json.dumps(found, indent=1) + '\n')

    key = variant.key
    return [
        data_stage(plan, plan.config(name)),
        detector_stage(plan, detector, stage),
        tracker_stage(plan, f'train-{key}', tracker, folder / 'train', trained, stage),
        Stage(f'test-{key}', 'Track and score', 1, '', measure, (results,)),
    ]


def list_variants(
    adapters: Sequence[str] = tuple(VARIANTS),
    detectors: Sequence[str] = ('deformable-detr',),
    sharing: Sequence[str] = ('default',),
    spatial: Sequence[str] = ('released',),
) -> list[Variant]:
    """Combine choices by their names.

    Args:
        adapters: Keys of :data:`VARIANTS`.
        detectors: Keys of :data:`DETECTORS`.
        sharing: Keys of :data:`SHARING`.
        spatial: Keys of :data:`SPATIAL`.

    Returns:
        Each combination, those of one detector next to each other. Without the Spatial
        Adapter there is one for all ways in which it could enter.

    Raises:
        ValueError: If a name is unknown, or another detector is to have depth from the
            start.
    """
    for option, names, known in (
        ('variants', adapters, VARIANTS),
        ('detectors', detectors, DETECTORS),
        ('sharing', sharing, SHARING),
        ('spatial', spatial, SPATIAL),
    ):
        unknown = [name for name in names if name not in known]
        if unknown:
            expected = ', '.join(known)
            raise ValueError(f'--{option}: found {unknown[0]!r}, expected {expected}')
    chosen = [
        Variant(a, d, s, way if 'S' in VARIANTS[a] else 'released')
        for d, s, a, way in product(detectors, sharing, adapters, spatial)
    ]
    for variant in chosen:
        if variant.spatial == 'from-start' and variant.detector != 'deformable-detr':
            raise ValueError(
                f'--spatial: found from-start with --detectors {variant.detector}, '
                'expected deformable-detr; MMDetection trains the others without depth'
            )
    return list(dict.fromkeys(chosen))


def known_variants() -> list[Variant]:
    """All that can be trained."""
    return [
        variant
        for detector in DETECTORS
        for variant in list_variants(
            tuple(VARIANTS),
            (detector,),
            tuple(SHARING),
            [
                way
                for way in SPATIAL
                if detector == 'deformable-detr' or way != 'from-start'
            ],
        )
    ]


def find_scores(work_dir: Path) -> Iterator[tuple[Variant, dict[str, dict]]]:
    """Read all scores that are there.

    Args:
        work_dir: As in :func:`run_ablation`.

    Yields:
        A variant, and the scores of its seeds by the names of their folders.
    """
    for variant in known_variants():
        paths = sorted(variant.root(work_dir).glob(f'seed*/{variant.key}/scores.json'))
        if paths:
            read = {p: json.loads(p.read_text(encoding='utf-8')) for p in paths}
            yield variant, {p.parent.parent.name: row for p, row in read.items()}


def write_results(work_dir: Path) -> None:
    """Write ``ablation.{md,csv,json}`` from all scores that are there.

    Args:
        work_dir: As in :func:`run_ablation`.
    """
    found = {variant.name: seeds for variant, seeds in find_scores(work_dir)}
    write_text(work_dir / 'ablation.json', json.dumps(found, indent=1) + '\n')
    rows = [
        (name, seed.removeprefix('seed'), *(row.get(column) for column in COLUMNS))
        for name, seeds in found.items()
        for seed, row in seeds.items()
    ]
    text = csv_table(('variant', 'seed', *COLUMNS), rows)
    write_text(work_dir / 'ablation.csv', text)
    write_text(work_dir / 'ablation.md', summarise_seeds(found))


def summarise_seeds(found: dict[str, dict[str, dict]]) -> str:
    """Write mean and standard deviation over the seeds, rates in percent.

    Args:
        found: Variant -> seed -> its scores; an earlier version's have no HOTA on val.

    Returns:
        A Markdown table.
    """
    rows = []
    for name, seeds in found.items():
        values = {c: [s[c] for s in seeds.values() if c in s] for c in COLUMNS}
        cells = [_mean_and_spread(values[column], column) for column in COLUMNS]
        rows.append((name, len(seeds), *cells))
    return markdown_table(('variant', 'seeds', *TITLES), rows)


def _mean_and_spread(values: list[float], column: str) -> str:
    if not values:
        return '-'
    factor, digits = (1, 0) if column == 'IDSW' else (100, 1)
    values = [factor * value for value in values]
    mean = f'{statistics.fmean(values):.{digits}f}'
    if len(values) < 2:
        return mean
    return f'{mean} ± {statistics.stdev(values):.{digits}f}'
