# Copyright (c) mmfdta authors.
"""Whether a test gave the scores that are published for its weights."""

import json
import logging
import shlex
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmfdta.checkpoints.published import (
    PUBLISHED,
    SEQUENCES,
    TOLERANCE,
    PublishedScores,
    PublishedWeights,
)
from mmfdta.datasets import MOTSequenceDataset
from mmfdta.evaluation import MOTMetric
from mmfdta.structures.benchmarks import Benchmark
from mmfdta.structures.tables import plain_table
from mmfdta.structures.whole_files import write_text

from .config import read_config
from .fingerprints import file_digest
from .machine import describe_machine

# Next to the scores that MMEngine writes.
FILE = 'published.json'
# Of a data set: where it lies, and what names its split.
_PLACE = ('data_root', 'ann_file', 'split', 'half')
_NUM_SHOWN = 4
_REPORT = (
    'To report it, equal or not: the issue form "Published scores" asks for this table '
    'and for what mmfdta env prints (docs/published_weights.md)'
)
_CAUSES = (
    'Usual causes: images that were resized or compressed again, another release of '
    'the annotations, other versions of what decodes and resizes (mmfdta env), TF32 '
    'that the environment forces'
)


@dataclass(frozen=True)
class Recognised:
    """Published weights, and how a file was recognised as these.

    Attributes:
        weights: Which.
        sha256: Of the file.
        by: What told it.
    """

    weights: PublishedWeights
    sha256: str
    by: str


def recognise_weights(path: Path) -> Recognised | None:
    """Find out whether a file is one that is published.

    Args:
        path: The file.

    Returns:
        The weights whose published digits its SHA-256 begins with; else those that are
        called like it and have none; else None.
    """
    digest = file_digest(path)
    for weights in PUBLISHED.values():
        if weights.sha256_prefix and digest.startswith(weights.sha256_prefix):
            return Recognised(weights, digest, 'its SHA-256')
    for weights in PUBLISHED.values():
        address = urlsplit(weights.address or '').path.rpartition('/')[2]
        if path.name in (weights.file, address) and not weights.sha256_prefix:
            return Recognised(weights, digest, 'its name')
    return None


def deciding_settings(config: Config) -> dict[str, Any]:
    """List the settings of a config that decide about the scores of a test.

    Args:
        config: The config.

    Returns:
        Plain values by keys with dots; what is None counts as not there. Which split
        is tested, and where it lies, is not among them.
    """
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    evaluators = config.get('test_evaluator') or []
    if isinstance(evaluators, Mapping):
        evaluators = [evaluators]
    found = dict(
        model=config.model,
        test_dataloader=dict(
            dataset={key: v for key, v in dataset.items() if key not in _PLACE}
        ),
        test_evaluator=[
            {key: v for key, v in evaluator.items() if key not in ('out_dir', 'prefix')}
            for evaluator in evaluators
        ],
        precision=config.get('precision') or 'fp32',
    )
    for key in ('checkpoint_modules', 'part_checkpoints', 'detector_checkpoint'):
        found[key] = config.get(key)
    return dict(_flatten(found))


def _flatten(value: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    parts: Any = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    elif value is not None:
        yield key, value
    for name, part in parts:
        yield from _flatten(part, f'{key}.{name}' if key else str(name))


def changed_settings(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Say which settings differ.

    Args:
        ours: `deciding_settings` of a run.
        theirs: Those of the config that a figure is for.

    Returns:
        For each its key, its value there and here.
    """
    keys = [*theirs, *(key for key in ours if key not in theirs)]
    if not any(key.startswith('model.embeddings') for key in theirs):
        # --keep-embeddings adds them, for a tracker that looks at none.
        keys = [key for key in keys if not key.startswith('model.embeddings')]
    return [
        f'{key} ({theirs.get(key)!r} there, {ours.get(key)!r} here)'
        for key in keys
        if theirs.get(key) != ours.get(key)
    ]


@dataclass(frozen=True)
class FinishedRun:
    """What was tested, and what came of it.

    Attributes:
        recognised: The weights.
        config: Name of the config.
        settings: Its `deciding_settings`.
        benchmark: Of the data set.
        split: Name of the split, ``second halves`` of a cut one.
        num_sequences: Sequences that were scored, or tracked where there is no ground
            truth.
        num_expected: Sequences that the split has.
        scores: In percent, by name; empty without ground truth.
    """

    recognised: Recognised
    config: str
    settings: Mapping[str, Any]
    benchmark: Benchmark
    split: str
    num_sequences: int
    num_expected: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ScoreRow:
    """One score and the published one, in percent."""

    metric: str
    published: float
    here: float
    tolerance: float

    @property
    def difference(self) -> float:
        """How much more it is here."""
        return self.here - self.published

    @property
    def within(self) -> bool:
        """Whether that is within the tolerance."""
        # Figures have one or two decimals, which binary numbers do not hit.
        return abs(self.difference) <= self.tolerance + 1e-9


@dataclass(frozen=True)
class Reproduction:
    """A run and the published figure.

    Attributes:
        verdict: ``equal`` or ``different``; ``not compared`` where settings or data
            are others, ``not scored`` where there is no ground truth, ``no figure``
            where none is published for what was run.
        reason: In words.
        figure: The figure; None if there is none.
        rows: The scores side by side, if there are both.
        changed: Settings that differ, see `changed_settings`.
    """

    verdict: str
    reason: str
    figure: PublishedScores | None = None
    rows: tuple[ScoreRow, ...] = ()
    changed: tuple[str, ...] = ()


def compare_with_published(run: FinishedRun) -> Reproduction:
    """Compare a run with what is published for its weights.

    Args:
        run: The run.

    Raises:
        FileNotFoundError: If the config of the figure is not there.
        ConfigError: If it cannot be read.
    """
    weights = run.recognised.weights
    where = f'{run.benchmark.title} {run.split}'
    there = [figure for figure in weights.figures if figure.scored_on == where]
    changes = {
        figure.config: changed_settings(
            run.settings, deciding_settings(read_config(figure.config))
        )
        for figure in there
    }
    found = [
        figure
        for figure in there
        if Path(figure.config).stem == run.config or not changes[figure.config]
    ]
    if not found:
        return Reproduction(
            'no figure',
            f'None is known of {weights.name} on {where} with {run.config}; '
            + _list_figures(weights),
        )
    figure = found[0]
    changed = tuple(changes[figure.config])
    rows = tuple(
        ScoreRow(name, value, run.scores[name], TOLERANCE[name])
        for name, value in figure.scores.items()
        if name in run.scores
    )
    if not rows:
        verdict = 'not scored'
        reason = f'There is no ground truth of {where} here.'
        if figure.server:
            reason += f' {figure.server} scores it.'
    elif changed:
        more = len(changed) - _NUM_SHOWN
        shown = ', '.join(changed[:_NUM_SHOWN])
        verdict = 'not compared'
        reason = f'Not compared, as settings were changed: {shown}'
        reason += f' and {more} more' if more > 0 else ''
    elif run.num_sequences != run.num_expected:
        verdict = 'not compared'
        reason = (
            f'Not compared, as {run.num_sequences} sequences were scored and {where} '
            f'has {run.num_expected}'
        )
    elif outside := [row.metric for row in rows if not row.within]:
        verdict = 'different'
        reason = f'Outside of the tolerance: {", ".join(outside)}. '
        reason += f'Known: {figure.remark}. ' if figure.remark else ''
        reason += _CAUSES
    else:
        verdict, reason = 'equal', 'All within the tolerance: as published'
    return Reproduction(verdict, reason, figure, rows, changed)


def _list_figures(weights: PublishedWeights) -> str:
    """Name the figures that there are in a line."""
    if not weights.figures:
        return 'none at all is published for it'
    named = []
    for figure in weights.figures:
        metric, value = next(iter(figure.scores.items()))
        config = f', {figure.config}' if figure.data != 'COCO' else ' of the detector'
        named.append(f'{figure.scored_on} ({metric} {value}{config})')
    return f'there are: {", ".join(named)}'


def describe(reproduction: Reproduction, run: FinishedRun) -> str:
    """Write a comparison for the console.

    Args:
        reproduction: The comparison.
        run: The run.

    Returns:
        The scores side by side, if there are any, and what they say.
    """
    figure = reproduction.figure
    if figure is None:
        return f'Published scores: {reproduction.reason}'
    recognised = run.recognised
    lines = [
        f'Published scores of {recognised.weights.name} on {figure.scored_on}, stated '
        f'by {figure.origin}: {figure.source}'
    ]
    if reproduction.rows:
        lines.append(
            plain_table(
                ('', 'published', 'here', 'difference', 'tolerance'),
                [
                    (
                        row.metric,
                        f'{row.published:g}',
                        f'{row.here:.2f}',
                        # Without the sign of a rounded zero.
                        f'{round(row.difference, 2) + 0.0:+.2f}',
                        f'{row.tolerance:g}',
                    )
                    for row in reproduction.rows
                ],
            )
        )
    else:
        lines.append(', '.join(f'{name} {v}' for name, v in figure.scores.items()))
    lines.append(reproduction.reason)
    if reproduction.verdict in ('equal', 'different'):
        lines += [
            f'{run.config}, {run.num_sequences} sequences; the file was recognised by '
            f'{recognised.by} (SHA-256 {recognised.sha256})',
            _REPORT,
        ]
    return '\n'.join(lines)


def say_published(
    runner: Runner, path: Path, settings: Mapping[str, Any], scores: Mapping[str, float]
) -> None:
    """Say how a test compares with what is published for its weights, and keep it.

    Nothing is said of weights that nobody has published. What is said also stands in
    the log; ``published.json`` next to the scores has it for machines.

    Args:
        runner: After the test.
        path: The file of weights.
        settings: `deciding_settings` of the config, as the test began.
        scores: What the test gave.
    """
    recognised = recognise_weights(path)
    if recognised is None:
        return
    dataset = runner.test_loop.dataloader.dataset
    metrics = [
        m for m in runner.test_loop.evaluator.metrics if isinstance(m, MOTMetric)
    ]
    if not metrics or not isinstance(dataset, MOTSequenceDataset):
        return
    half = getattr(dataset, 'half', None)
    split = f'{half} halves' if half and dataset.split == 'train' else dataset.split
    num_tracked, scored = len(dataset.sequences), metrics[0].evaluation
    prefix = f'{metrics[0].prefix}/'
    run = FinishedRun(
        recognised,
        Path(runner.cfg.filename or '').stem,
        settings,
        dataset.BENCHMARK,
        split,
        len(scored.sequences) if scored else num_tracked,
        SEQUENCES.get((dataset.BENCHMARK.title, split), num_tracked),
        {
            name.removeprefix(prefix): 100 * value
            for name, value in scores.items()
            if name.startswith(prefix)
        },
    )
    reproduction = compare_with_published(run)
    text = describe(reproduction, run)
    zip_folder, out = run.benchmark.zip_folder, metrics[0].out_dir
    if reproduction.verdict == 'not scored' and zip_folder is not None and out:
        folder = dataset.split_folder(dataset.data_root, dataset.split)
        words = [
            *('mmfdta', 'submit', run.benchmark.name, '--results', str(out)),
            *('--data', str(folder), '--out', f'{run.config}.zip'),
        ]
        text += f'\nTo pack them: {shlex.join(words)}'
    print_log(text, 'current', logging.INFO)
    facts = _facts(reproduction, run) | {
        'file': str(path),
        'inference_batch_size': runner.cfg.get('inference_batch_size'),
        'compile_detector': bool(runner.cfg.get('compile_detector')),
        'machine': describe_machine(
            next(runner.model.parameters(), torch.empty(0)).device,
            torch.get_num_threads(),
        ),
    }
    write_text(Path(runner.log_dir, FILE), json.dumps(facts, indent=1) + '\n')


def _facts(reproduction: Reproduction, run: FinishedRun) -> dict[str, Any]:
    """Return a comparison as plain values."""
    rows: SequenceOf[ScoreRow] = reproduction.rows
    return {
        'weights': run.recognised.weights.name,
        'sha256': run.recognised.sha256,
        'recognised_by': run.recognised.by,
        'config': run.config,
        'data': run.benchmark.title,
        'split': run.split,
        'sequences': run.num_sequences,
        'verdict': reproduction.verdict,
        'reason': reproduction.reason,
        'figure': reproduction.figure and asdict(reproduction.figure),
        'changed': list(reproduction.changed),
        'precision': run.settings.get('precision'),
        'rows': [
            asdict(row) | {'difference': row.difference, 'within': row.within}
            for row in rows
        ],
    }
