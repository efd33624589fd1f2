# Copyright (c) mmfdta authors.
"""Finished runs of an ablation: their records, differences by seed, and tables.

A record says all that a table needs, so that the runs of several machines and sessions
add up in one file and no figure is typed.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t as student

from mmfdta.structures.locks import hold_folder
from mmfdta.structures.tables import csv_table, markdown_table
from mmfdta.structures.whole_files import write_text
from mmfdta.visualization import DifferenceRow, plot_paired, save_figure

SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1', 'IDSW')
"""Scores of a split, fractions of 1; IDSW is a number."""
COMPARED = ('HOTA', 'DetA', 'AssA', 'IDF1')
"""Scores of the test split that are compared by seed, besides HOTA on val."""
LEVEL = 0.95
"""Confidence level of the intervals."""
COLUMNS = (*SCORES, 'different', 'same', 'val')
"""Scores, the shares of similar pairs of different objects and of one object, and HOTA
on the val split."""
TITLES = (*SCORES, 'different > 0.9', 'same > 0.9', 'HOTA, val')


@dataclass(frozen=True)
class Run:
    """One training that was tracked and scored.

    Attributes:
        label: What was varied, as tables name it.
        group: On what: detector, data, length; empty where all is as in the demo. Runs
            of one group are comparable.
        seed: Of the training.
        test: Scores of the test split.
        val: Scores of the val split.
        choices: What its variant is made of.
        similar: Shares of similar pairs, of ``different`` objects and of the ``same``.
        settings: Digest of what decides the training but the seed; runs of other
            settings are not mixed.
        code: Digest of the code that scored it; None if it was not noted.
        machine: What it ran on, and versions.
        seconds: Of each stage.
        sequences: How many of each split were scored; None: those of the data.
    """

    label: str
    group: str
    seed: int
    test: dict[str, float]
    val: dict[str, float] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)
    similar: dict[str, float] = field(default_factory=dict)
    settings: str = ''
    code: str | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    sequences: int | None = None

    @property
    def name(self) -> str:
        """Its variant in tables."""
        return ', '.join(filter(None, (self.group, self.label)))

    @property
    def key(self) -> tuple[str, int, str, int]:
        """What only one run of a file has."""
        return self.name, self.seed, self.settings, self.sequences or 0

    def value(self, column: str) -> float | None:
        """One of :data:`COLUMNS`; None if it was not measured."""
        if column == 'val':
            return self.val.get('HOTA')
        return self.test.get(column, self.similar.get(column))


# --------------------------------------------------------------------- the file
def read_records(path: Path) -> list[Run]:
    """Read the runs of a file; none if it is not there.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        return [Run(**record) for record in content['runs']]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path}: cannot be read ({error!r}), expected what mmfdta ablation '
            '--records wrote; name another file'
        ) from None


def add_record(path: Path, run: Run) -> list[Run]:
    """Add a run to a file, in the place of one with its key.

    Other processes may add to the file meanwhile.

    Args:
        path: The file; it is made, and so is its folder.
        run: What to add.

    Returns:
        All runs that the file has then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with hold_folder(path.parent, lambda: None):
        runs = {known.key: known for known in read_records(path)}
        runs[run.key] = run
        ordered = sorted(runs.values(), key=lambda known: known.key)
        records = [asdict(known) for known in ordered]
        write_text(path, json.dumps(dict(runs=records), indent=1) + '\n')
    return ordered


# ------------------------------------------------------------------ differences
@dataclass(frozen=True)
class Difference:
    """How a variant differs from the reference of its group in one score.

    Attributes:
        name: The variant.
        reference: What it is compared with.
        score: One of :data:`COMPARED`, or ``HOTA, val``.
        by_seed: Difference by seed, for seeds that both have, fractions of 1.
        mean: Of the seeds.
        low: Lower end of its 95 % interval; NaN with fewer than two seeds.
        high: Upper end.
    """

    name: str
    reference: str
    score: str
    by_seed: dict[int, float]
    mean: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether there are seeds enough for one."""
        return not math.isnan(self.low)

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside of the interval; not without one."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, ...]:
    """Mean and its confidence interval by Student's t.

    Args:
        values: At least one.
        level: Of the interval.

    Returns:
        Mean, lower and upper end; the ends are NaN for one value.
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    error = statistics.stdev(values) / math.sqrt(len(values))
    width = float(student.ppf((1 + level) / 2, len(values) - 1)) * error
    return mean, mean - width, mean + width


def compare(runs: Sequence[Run], reference: str) -> list[Difference]:
    """Compare each variant with the reference of its group, seed by seed.

    Args:
        runs: At most one by variant and seed.
        reference: Label of the reference.

    Returns:
        For each variant that shares seeds with a reference, in the order of the runs.
    """
    by_name: dict[str, dict[int, Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, {})[run.seed] = run
    known = {run.group: by_name[run.name] for run in runs if run.label == reference}
    found = []
    for name, variant in by_name.items():
        first = next(iter(variant.values()))
        base = known.get(first.group, {})
        if first.label == reference:
            continue
        for column in (*COMPARED, 'val'):
            by_seed = {}
            for seed in sorted(variant.keys() & base.keys()):
                one, other = variant[seed].value(column), base[seed].value(column)
                if one is not None and other is not None:
                    by_seed[seed] = one - other
            if by_seed:
                score = 'HOTA, val' if column == 'val' else column
                ends = mean_interval([*by_seed.values()])
                found.append(Difference(name, reference, score, by_seed, *ends))
    return found


# ----------------------------------------------------------------------- tables
def by_variant(runs: Iterable[Run]) -> dict[str, dict[str, dict[str, float]]]:
    """Arrange runs as :func:`summarise_seeds` takes them.

    Args:
        runs: At most one by variant and seed; variants in their order.

    Returns:
        Variant -> seed -> those of :data:`COLUMNS` that were measured.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for run in runs:
        values = {column: run.value(column) for column in COLUMNS}
        kept = {column: value for column, value in values.items() if value is not None}
        found.setdefault(run.name, {})[f'seed{run.seed}'] = kept
    return found


def write_tables(folder: Path, runs: Sequence[Run], reference: str) -> None:
    """Write ``ablation.{md,csv,json}`` and ``differences.{md,csv,json,png}``.

    Args:
        folder: Where to.
        runs: At most one by variant and seed; variants in their order.
        reference: As in :func:`compare`.
    """
    found = by_variant(runs)
    write_text(folder / 'ablation.json', json.dumps(found, indent=1) + '\n')
    rows = [(r.name, r.seed, *(r.value(c) for c in COLUMNS)) for r in runs]
    text = csv_table(('variant', 'seed', *COLUMNS), rows)
    write_text(folder / 'ablation.csv', text)
    write_text(folder / 'ablation.md', summarise_seeds(found))
    differences = compare(runs, reference)
    if not differences:
        for suffix in ('md', 'csv', 'json', 'png'):
            (folder / f'differences.{suffix}').unlink(missing_ok=True)
        return
    write_text(folder / 'differences.md', summarise_differences(differences))
    facts = [asdict(difference) for difference in differences]
    for fact in facts:
        # JSON knows no NaN.
        fact.update({k: None for k in ('low', 'high') if math.isnan(fact[k])})
    write_text(folder / 'differences.json', json.dumps(facts, indent=1) + '\n')
    head = 'variant', 'reference', 'score', 'pairs', 'mean', 'low', 'high'
    cells = [
        (f['name'], f['reference'], f['score'], len(f['by_seed']))
        + (f['mean'], f['low'], f['high'])
        for f in facts
    ]
    write_text(folder / 'differences.csv', csv_table(head, cells))
    save_figure(draw_differences(differences), folder / 'differences.png')


def summarise_seeds(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Write mean and standard deviation over the seeds, rates in percent.

    Args:
        found: Variant -> seed -> its columns; an earlier version's have no HOTA on val.

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


def summarise_differences(differences: Iterable[Difference]) -> str:
    """Write mean differences with their intervals, in percent.

    Args:
        differences: As :func:`compare` gives them.

    Returns:
        A Markdown table, one row per variant and reference. Its last column says
        whether the interval of HOTA on test excludes zero; ``-`` without an interval.
    """
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for difference in differences:
        cells = rows.setdefault((difference.name, difference.reference), {})
        cells.setdefault('pairs', f'{len(difference.by_seed)}')
        cell = f'{100 * difference.mean:+.1f}'
        if difference.has_interval:
            low, high = 100 * difference.low, 100 * difference.high
            cell += f' [{low:+.1f}, {high:+.1f}]'
            if difference.score == 'HOTA':
                cells['decided'] = 'yes' if difference.excludes_zero else 'no'
        cells[difference.score] = cell
    scores = (*COMPARED, 'HOTA, val')
    columns = ('pairs', *scores, 'decided')
    lines = [(*key, *(row.get(c, '-') for c in columns)) for key, row in rows.items()]
    head = ('variant', 'reference', 'pairs', *scores, 'HOTA excludes 0')
    return markdown_table(head, lines)


def draw_differences(differences: Sequence[Difference]) -> Figure:
    """Draw the differences of each score on the test split.

    Args:
        differences: As :func:`compare` gives them.
    """
    names = list(dict.fromkeys(difference.name for difference in differences))
    panels: dict[str, dict[str, DifferenceRow]] = {score: {} for score in COMPARED}
    for found in differences:
        if found.score in panels:
            panels[found.score][found.name] = DifferenceRow(
                np.array([*found.by_seed.values()]),
                found.mean,
                found.low,
                found.high,
                names.index(found.name),
            )
    return plot_paired(panels, differences[0].reference, LEVEL)
