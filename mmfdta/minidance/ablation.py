# Copyright (c) mmfdta authors.
"""The small FDTA trained and compared: adapters, detectors, sharing of gradients.

Every variant of a seed on one detector starts from the same weights of it and sees the
same clips; only a detector that has depth from the start is another. Section 4.3 of the
paper asks about the adapters on DanceTrack.
"""

import contextlib
import copy
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfdta.apis.benchmark import Entry
from mmfdta.apis.config import load_config
from mmfdta.apis.fingerprints import MODEL_CODE, code_digest, digest
from mmfdta.apis.machine import describe_machine
from mmfdta.structures.locks import hold_folder
from mmfdta.structures.whole_files import write_text

from .demo import benchmark, compare_embeddings
from .recipe import describe_training
from .records import SCORES, Run, add_record, read_records, write_tables
from .scene import MiniDanceOptions
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

CONDITIONS: dict[str, dict[str, float]] = {
    'default': {},
    'similarity-0.6': dict(similarity=0.6),
    'similarity-1.0': dict(similarity=1.0),
    'crossings': dict(crossing=1.0, gap=3.0),
    'occlusions': dict(screens=2),
}
"""Name of a rendering of MiniDance -> its options: other than the default are how alike
dancers look, whether all of them cross at very different depths, and whether they pass
behind screens."""
CODE = (*MODEL_CODE, 'engine', 'evaluation')
"""Folders whose code decides what a training gives."""
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
    'deformable-detr': (DETECTOR, 'fdta-depth-attention_mini'),
    'dino': ('dino-r50_mini', 'fdta_dino-r50_mini'),
    'deformable-detr-two-stage': (
        'deformable-detr-two-stage_mini',
        'fdta_deformable-detr-two-stage_mini',
    ),
}
"""Name of a detector -> names of the configs of it alone and of FDTA on it, with depth
as released."""
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
  features); no query attends to depth. On Deformable DETR this is ``fdta_mini``.
- ``from-start``: as released, on a detector that was trained with adapter, attention
  and depth loss on single frames, for as many iterations as the plain one.
"""


@dataclass(frozen=True)
class Variant:
    """What is trained.

    Attributes:
        adapters: Key of :data:`VARIANTS`.
        detector: Key of :data:`DETECTORS`.
        sharing: Key of :data:`SHARING`.
        spatial: Key of :data:`SPATIAL`; ``released`` without the Spatial Adapter.
        condition: Key of :data:`CONDITIONS`.
        iterations: Of FDTA's training; None as in its config.
    """

    adapters: str = 'all'
    detector: str = 'deformable-detr'
    sharing: str = 'default'
    spatial: str = 'released'
    condition: str = 'default'
    iterations: int | None = None

    @property
    def group(self) -> str:
        """What it is trained on, where that is not as in the config."""
        detector = '' if self.detector == 'deformable-detr' else self.detector
        condition = '' if self.condition == 'default' else self.condition
        length = f'{self.iterations} iterations' if self.iterations else ''
        return ', '.join(filter(None, (detector, condition, length)))

    @property
    def label(self) -> str:
        """The adapters, and how they are trained where that is not as in the config."""
        return ', '.join((self.adapters, *self._ways))

    @property
    def name(self) -> str:
        """Its name in tables."""
        return ', '.join(filter(None, (self.group, self.label)))

    @property
    def place(self) -> tuple[int, ...]:
        """Its place in tables: variants of one group stand together."""
        known = (
            (VARIANTS, self.adapters),
            (SPATIAL, self.spatial),
            (SHARING, self.sharing),
        )
        return (
            list(DETECTORS).index(self.detector),
            list(CONDITIONS).index(self.condition),
            self.iterations or 0,
            *(list(names).index(name) for names, name in known),
        )

    def stages(self, sequences: int | None = None) -> tuple[str, str, str]:
        """Names of the stages that train its detector and FDTA, and score it.

        Args:
            sequences: As in :func:`run_ablation`.
        """
        alone = f'{ALONE}-depth' if self.spatial == 'from-start' else ALONE
        test = '-'.join(filter(None, ('test', self.key, scored_part(sequences))))
        return alone, f'train-{self.key}', test

    @property
    def key(self) -> str:
        """Its name in file names of its detector and seed."""
        length = [f'{self.iterations}'] if self.iterations else []
        return '-'.join((VARIANTS[self.adapters] or 'none', *self._ways, *length))

    @property
    def _ways(self) -> list[str]:
        """What is not as in the config, of all but the detector."""
        spatial = [] if self.spatial == 'released' else [self.spatial]
        return spatial if self.sharing == 'default' else [*spatial, self.sharing]

    def root(self, work_dir: Path) -> Path:
        """Folder with the seeds of its detector, on its data."""
        if self.detector != 'deformable-detr':
            work_dir = work_dir / self.detector
        return work_dir if self.condition == 'default' else work_dir / self.condition

    def plan(
        self, work_dir: Path, data_root: Path | None, seed: int, settings: dict
    ) -> DemoPlan:
        """Plan a seed of it.

        Args:
            work_dir: As in :func:`run_ablation`.
            data_root: As in :func:`run_ablation`.
            seed: Of the training.
            settings: As in :func:`run_ablation`.
        """
        folder = self.root(work_dir) / f'seed{seed}'
        if self.condition == 'default':
            return DemoPlan(folder, data_root, seed, settings)
        usual = DemoPlan(folder, data_root, seed, settings).config(TRACKER)
        root = Path(usual.train_dataloader.dataset.data_root)
        options = {
            f'train_dataloader.dataset.options.{name}': value
            for name, value in CONDITIONS[self.condition].items()
        }
        root = root.with_name(f'{root.name}-{self.condition}')
        return DemoPlan(folder, root, seed, options | settings)


def run_ablation(
    work_dir: Path,
    data_root: Path | None,
    seeds: Sequence[int],
    variants: Sequence[Variant] = tuple(map(Variant, VARIANTS)),
    settings: dict | None = None,
    records: Path | None = None,
    reference: str | None = None,
    sequences: int | None = None,
) -> None:
    """Run what has not been run yet, and write the tables after every variant.

    Several processes may share a work dir and a file of records.

    Args:
        work_dir: Gets ``ablation.{md,csv,json}``, ``differences.{md,csv,json,png}``,
            ``seed<N>/`` with the runs on Deformable DETR and default data, and
            ``<detector>/<condition>/seed<N>/`` with those on others.
        data_root: Folder of the rendered data; None: that of the configs. Other
            renderings lie next to it, as ``<data root>-<condition>``.
        seeds: Seeds of the trainings; every seed has all its variants before the
            next one starts.
        variants: What is trained.
        settings: Changes to the configs of both trainings.
        records: File of finished runs. What it has of these settings and this number
            of sequences is not run again, what is finished is added to it, and the
            tables are those of the file, of the same. None: the tables are those of
            the work dir, of the same.
        reference: Label of the variant that the others are compared with; None takes
            ``none``, or the first one where ``none`` is not trained.
        sequences: How many sequences of val and of test are scored, at least 1; they
            are rendered next to the data, as ``<data>-<N>-sequences``, and begin with
            those of the data. None: those of the data.

    Raises:
        FileExistsError: If the folder of the data holds something else.
        ValueError: If no variant has the reference's label, the number of sequences is
            out of range, or the records cannot be read.
    """
    init_default_scope('mmdet')
    # More than two threads gain nothing with tensors this small.
    torch.set_num_threads(min(2, torch.get_num_threads()))
    labels = list(dict.fromkeys(variant.label for variant in variants))
    reference = reference or ('none' if 'none' in labels else labels[0])
    if reference not in {variant.label for variant in known_variants()}:
        raise ValueError(
            f'--reference: found {reference!r}, expected the name of a variant without '
            f'its detector, such as {"; ".join(labels)}'
        )
    if sequences is not None and sequences < 1:
        raise ValueError(f'--eval-sequences: found {sequences}, expected at least 1')
    work_dir.mkdir(parents=True, exist_ok=True)
    digests = Digests(settings or {})
    left_out = 0
    for seed, variant in product(seeds, variants):
        plan = variant.plan(work_dir, data_root, seed, settings or {})
        folder = plan.work_dir
        say(f'\nseed {seed}, {variant.name}')
        key = variant.name, seed, digests.of(variant), sequences or 0
        if records and key in {run.key for run in read_records(records)}:
            say(f'      reused from {records}')
        else:
            folder.mkdir(parents=True, exist_ok=True)
            waits = f'      waits for another process in {folder}'
            with hold_folder(folder, partial(say, waits)):
                run_stages(list_stages(plan, variant, sequences), folder)
                _note_settings(folder, variant, digests.of(variant), sequences)
                run = read_run(folder, variant, seed, sequences)
            if records:
                add_record(records, run)
        with hold_folder(work_dir, lambda: None):
            if records:
                runs = records_of(records, digests, sequences)
            else:
                runs, left_out = find_runs(work_dir, digests, sequences)
            write_tables(work_dir, runs, reference)
    if left_out:
        say(
            f'\nleft out of the tables: {left_out} runs in {work_dir}, of other or '
            'unknown settings'
        )
    for name in ('ablation.md', 'differences.md'):
        if (work_dir / name).exists():
            say(f'\n{(work_dir / name).read_text(encoding="utf-8")}')


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


def set_length(config: Config, iterations: int) -> Config:
    """Stretch or shorten a training, its warm-up and its cosine.

    Args:
        config: Config of a training; it is changed.
        iterations: How long it is to be.

    Returns:
        The config.
    """
    usual, (first, second) = config.train_cfg.max_iters, config.param_scheduler
    config.train_cfg.update(max_iters=iterations, val_interval=iterations)
    warmup = max(1, round(first.end * iterations / usual))
    first.end = warmup
    second.update(begin=warmup, end=iterations, T_max=iterations - warmup)
    return config


def make_configs(plan: DemoPlan, variant: Variant) -> tuple[Config, Config]:
    """Make the configs of the two trainings of a variant.

    Args:
        plan: Folders, seed and settings of the seed.
        variant: What is trained.

    Returns:
        Of the detector, and of FDTA on it.
    """
    alone, name = DETECTORS[variant.detector]
    detector = plan.config(alone)
    tracker = without_adapters(plan.config(name), VARIANTS[variant.adapters])
    if variant.spatial == 'from-start':
        detector = with_depth(detector, tracker)
    elif variant.spatial != 'released':
        set_spatial(tracker, variant.spatial)
    sharing = SHARING[variant.sharing]
    if sharing is not None:
        tracker.model.embedding_sharing = dict(sharing)
    if variant.iterations:
        set_length(tracker, variant.iterations)
    return detector, tracker


class Digests:
    """Names what decides both trainings of a variant, apart from the seed.

    Args:
        settings: Changes to the configs of both.
    """

    def __init__(self, settings: dict) -> None:
        self._settings = settings
        self._known: dict[Variant, str] = {}

    def of(self, variant: Variant) -> str:
        """Name those of a variant."""
        if variant not in self._known:
            plan = variant.plan(Path(), None, 0, self._settings)
            facts = map(describe_training, make_configs(plan, variant))
            decisive = [{**fact, 'randomness': None} for fact in facts]
            self._known[variant] = digest(*decisive)
        return self._known[variant]


def scored_part(sequences: int | None) -> str:
    """Name what is made for scoring on so many sequences; empty for those of the data.

    Args:
        sequences: As in :func:`run_ablation`.
    """
    return f'{sequences}-sequences' if sequences else ''


def score_on(tracker: Config, sequences: int) -> Config:
    """Take more or fewer sequences of val and test than a training's data has.

    Args:
        tracker: Config of the training.
        sequences: Of each split.

    Returns:
        A config whose data have these splits only, in a folder next to the training's.
        A sequence depends on its number, not on how many there are.
    """
    config = copy.deepcopy(tracker)
    dataset = config.train_dataloader.dataset
    root = Path(dataset.data_root)
    data = dict(
        data_root=str(root.with_name(f'{root.name}-{scored_part(sequences)}')),
        options=dict(dataset.options, train=0, val=sequences, test=sequences),
    )
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        config[loader].dataset.update(data)
    return config


def list_stages(
    plan: DemoPlan, variant: Variant, sequences: int | None = None
) -> list[Stage]:
    """List the detector of a seed, which its variants share, and one variant.

    Args:
        plan: As in :func:`make_configs`.
        variant: What is trained.
        sequences: As in :func:`run_ablation`.

    Returns:
        The stages.
    """
    detector, tracker = make_configs(plan, variant)
    folder = plan.work_dir / variant.key
    results = _scores_of(plan.work_dir, variant, sequences)
    trained, scores = folder / 'fdta.pth', results.parent
    scored = score_on(tracker, sequences) if sequences else tracker

    def measure() -> None:
        entry = Entry('FDTA', scored, trained)
        (result,), _ = benchmark([entry], scores)
        (val,), _ = benchmark([entry], scores / 'val', 'val')
        panel = compare_embeddings(scored, trained, scores, 'detector')
        found: dict[str, Any] = dict(
            test={name: float(result.scores[name]) for name in SCORES},
            val={name: float(val.scores[name]) for name in SCORES},
            similar=dict(different=panel.share_different, same=panel.share_same),
            code=code_digest((), CODE),
            machine=describe_machine('cpu', torch.get_num_threads()),
        )
        write_text(results, json.dumps(found, indent=1) + '\n')

    alone, train, test = variant.stages(sequences)
    options = MiniDanceOptions(**scored.train_dataloader.dataset.options)
    minutes = 0.03 * (options.val + options.test)
    return [
        data_stage(plan, tracker),
        detector_stage(plan, detector, alone),
        tracker_stage(plan, train, tracker, folder / 'train', trained, alone),
        # The data set renders more sequences when it is opened.
        Stage(test, 'Track and score', minutes, '', measure, (results,)),
    ]


def _scores_of(folder: Path, variant: Variant, sequences: int | None) -> Path:
    """The file of a run's scores, in the folder of its seed."""
    return folder / variant.key / scored_part(sequences) / 'scores.json'


def _note_settings(
    folder: Path, variant: Variant, settings: str, sequences: int | None
) -> None:
    """Write with what settings a run was made next to its scores.

    The stages have just told that it was with these, even if another version, which
    did not note them, ran it.
    """
    path = _scores_of(folder, variant, sequences)
    found = _read_json(path)
    if found.get('settings') != settings:
        text = json.dumps(dict(found, settings=settings), indent=1)
        write_text(path, f'{text}\n')


def read_run(
    folder: Path, variant: Variant, seed: int, sequences: int | None = None
) -> Run:
    """Read what a finished run has left.

    Args:
        folder: Of the seed.
        variant: What was trained.
        seed: Of the training.
        sequences: As in :func:`run_ablation`.

    Raises:
        FileNotFoundError: If it is not finished.
    """
    found = _read_json(_scores_of(folder, variant, sequences))
    settings = found.pop('settings', '')
    if 'test' not in found:
        found = _read_earlier(folder / variant.key, found)
    seconds = {}
    stages = variant.stages(sequences)
    for title, stage in zip(('detector', 'fdta', 'test'), stages, strict=True):
        with contextlib.suppress(FileNotFoundError, KeyError):
            known = _read_json(folder / '.stages' / f'{stage}.json')
            seconds[title] = known['seconds']
    return Run(
        variant.label,
        variant.group,
        seed,
        choices=asdict(variant),
        settings=settings,
        seconds=seconds,
        sequences=sequences,
        **found,
    )


def _read_earlier(folder: Path, found: dict[str, float]) -> dict[str, Any]:
    """What an earlier version has measured: scores, and two reports next to them."""
    test = {name: found[name] for name in SCORES if name in found}
    val = {'HOTA': found['val']} if 'val' in found else {}
    machine: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        report = _read_json(folder / 'benchmark' / 'benchmark.json')
        test = {name: report['trackers'][0]['scores'][name] for name in SCORES}
        facts = report['facts']['machine'].split(', ')
        machine = dict(fact.partition(' ')[::2] for fact in facts)
        report = _read_json(folder / 'val' / 'benchmark' / 'benchmark.json')
        val = {name: report['trackers'][0]['scores'][name] for name in SCORES}
    similar = {name: found[name] for name in ('different', 'same')}
    return dict(test=test, val=val, similar=similar, machine=machine)


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding='utf-8'))


def find_runs(
    work_dir: Path, digests: Digests, sequences: int | None = None
) -> tuple[list[Run], int]:
    """Read the runs that are finished in a work dir, and have today's settings.

    Args:
        work_dir: As in :func:`run_ablation`.
        digests: Of these settings.
        sequences: As in :func:`run_ablation`.

    Returns:
        In the order of tables; and how many others there are, of other settings or of
        a version that did not note them.
    """
    known = {(v.root(Path()), v.key): v for v in known_variants()}
    found = []
    for depth in ('', '*/', '*/*/'):
        for run in work_dir.glob(f'{depth}seed*/*'):
            if not (run / scored_part(sequences) / 'scores.json').is_file():
                continue
            root, folder = run.parents[1].relative_to(work_dir), run.parent
            key, length = _split_key(run.name)
            variant, seed = known.get((root, key)), folder.name.removeprefix('seed')
            if variant is None or not seed.isdecimal():
                continue
            variant = replace(variant, iterations=length)
            found.append((variant.place, int(seed), folder, variant))
    found.sort(key=lambda entry: entry[:2])
    runs = []
    for _, number, folder, variant in found:
        finished = read_run(folder, variant, number, sequences)
        if finished.settings == digests.of(variant):
            runs.append(finished)
    return runs, len(found) - len(runs)


def _split_key(key: str) -> tuple[str, int | None]:
    """What was trained, and for how many iterations, if not as in the config."""
    found = re.fullmatch(r'(.+)-(\d+)', key)
    return (found[1], int(found[2])) if found else (key, None)


def records_of(path: Path, digests: Digests, sequences: int | None = None) -> list[Run]:
    """Read the runs of a file that have today's settings and number of sequences.

    Args:
        path: The file.
        digests: Of these settings.
        sequences: As in :func:`run_ablation`.

    Returns:
        In the order of tables.
    """
    found = []
    for run in read_records(path):
        # Another version may know other choices.
        with contextlib.suppress(TypeError, KeyError, ValueError):
            variant = Variant(**run.choices)
            if (digests.of(variant), sequences) == (run.settings, run.sequences):
                found.append((variant.place, run.seed, run))
    return [run for *_, run in sorted(found, key=lambda entry: entry[:2])]


def list_variants(
    adapters: Sequence[str] = tuple(VARIANTS),
    detectors: Sequence[str] = ('deformable-detr',),
    sharing: Sequence[str] = ('default',),
    spatial: Sequence[str] = ('released',),
    conditions: Sequence[str] = ('default',),
    iterations: Sequence[int | None] = (None,),
) -> list[Variant]:
    """Combine choices by their names.

    Args:
        adapters: Keys of :data:`VARIANTS`.
        detectors: Keys of :data:`DETECTORS`.
        sharing: Keys of :data:`SHARING`.
        spatial: Keys of :data:`SPATIAL`.
        conditions: Keys of :data:`CONDITIONS`.
        iterations: Of FDTA's training; None, or as many as in its config, leave it.

    Returns:
        Each combination, those of one detector next to each other. Without the Spatial
        Adapter there is one for all ways in which it could enter.

    Raises:
        ValueError: If a name is unknown, another detector is to have depth from the
            start, or a training has no iterations to warm up.
    """
    for option, names, known in (
        ('variants', adapters, VARIANTS),
        ('detectors', detectors, DETECTORS),
        ('sharing', sharing, SHARING),
        ('spatial', spatial, SPATIAL),
        ('conditions', conditions, CONDITIONS),
    ):
        unknown = [name for name in names if name not in known]
        if unknown:
            expected = ', '.join(known)
            raise ValueError(f'--{option}: found {unknown[0]!r}, expected {expected}')
    for length in iterations:
        if length is not None and length < 2:
            raise ValueError(f'--iterations: found {length}, expected at least 2')
    usual = {
        name: load_config(DETECTORS[name][1]).train_cfg.max_iters
        for name in (detectors if any(iterations) else ())
    }
    chosen = [
        Variant(
            *(a, d, s, way if 'S' in VARIANTS[a] else 'released', condition),
            None if length == usual.get(d) else length,
        )
        for d, condition, length, s, a, way in product(
            detectors, conditions, iterations, sharing, adapters, spatial
        )
    ]
    for variant in chosen:
        if variant.spatial == 'from-start' and variant.detector != 'deformable-detr':
            raise ValueError(
                f'--spatial: found from-start with --detectors {variant.detector}, '
                'expected deformable-detr; MMDetection trains the others without depth'
            )
    return list(dict.fromkeys(chosen))


def known_variants() -> list[Variant]:
    """All that can be trained, for as long as the configs say."""
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
            tuple(CONDITIONS),
        )
    ]
