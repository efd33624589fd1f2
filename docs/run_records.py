# Copyright (c) mmfdta authors.
"""The records of runs in docs/records: what they are, and their scores over seeds.

CONTRIBUTING.md says what a record is.
"""

import csv
import json
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmfdta.apis.analysis.diagnosis.bounds import BOUNDS
from mmfdta.apis.analysis.diagnosis.causes import SWITCHES

TUNED = ' (tuned)'
# In the order of the columns; what else a record has comes behind them.
METRICS = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1', 'IDSW')
COUNTS = ('IDSW',)
TITLES = {
    'different_above_0.9': 'different > 0.9',
    'same_above_0.9': 'same > 0.9',
    'val': 'HOTA on val',
}


class Figure(NamedTuple):
    """Mean and standard deviation of a score over seeds; None: of one seed."""

    mean: float
    spread: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Figure':
        """Summarise the scores of seeds; the deviation is that of a sample."""
        spread = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), spread, len(values))

    def text(self, metric: str, sign: bool = False) -> str:
        """Write it, rates in percent with a digit behind the point."""
        factor, digits = (1, 0) if metric in COUNTS else (100, 1)
        text = f'{factor * self.mean:{"+" if sign else ""}.{digits}f}'
        if self.spread is None:
            return text
        return f'{text} ± {factor * self.spread:.{digits}f}'


@dataclass(frozen=True)
class RecordSet:
    """Runs of one thing with several seeds.

    Attributes:
        name: Its name.
        records: In the order of their seeds.
    """

    name: str
    records: list[dict]

    @cached_property
    def trackers(self) -> list[str]:
        """Names of the trackers, without those that are tuned."""
        names = (t['name'] for r in self.records for t in r['trackers'])
        return [n for n in dict.fromkeys(names) if not n.endswith(TUNED)]

    @cached_property
    def metrics(self) -> list[str]:
        """What the trackers are scored by."""
        found = {m for r in self.records for t in r['trackers'] for m in t['scores']}
        others = [m for t in self.records[0]['trackers'] for m in t['scores']]
        return [m for m in dict.fromkeys((*METRICS, *others)) if m in found]

    def only(self, names: Sequence[str]) -> 'RecordSet':
        """The same records of some trackers, in the order of their names.

        Raises:
            ValueError: If there is no such tracker.
        """
        unknown = [name for name in names if name not in self.trackers]
        if unknown:
            raise ValueError(
                f'found {unknown[0]!r}, expected trackers of {self.name}: '
                f'{", ".join(self.trackers)}'
            )
        records = []
        for record in self.records:
            by_name = {t['name']: t for t in record['trackers']}
            wanted = [n for name in names for n in (name, name + TUNED)]
            chosen = [by_name[name] for name in wanted if name in by_name]
            minus = record.get('differences') or {}
            minus = {name: d for name, d in minus.items() if name in wanted}
            records.append(dict(record, trackers=chosen, differences=minus))
        return RecordSet(self.name, records)

    def rows(self, name: str) -> list[dict]:
        """What the records have of a tracker; tuned where nothing was better: as is."""
        found = []
        for record in self.records:
            by_name = {t['name']: t for t in record['trackers']}
            plain = name.removesuffix(TUNED)
            searched = plain in (record.get('tuning') or {})
            here = plain if searched and name not in by_name else name
            if here in by_name:
                found.append(by_name[here])
        return found

    def figure(self, name: str, metric: str) -> Figure | None:
        """A score of a tracker over the seeds; None if there is none."""
        values = [t['scores'][metric] for t in self.rows(name) if metric in t['scores']]
        if not values:
            return None
        if isinstance(values[0], list):
            mean, spread, seeds = values[0]
            return Figure(mean, spread, seeds)
        return Figure.of(values)

    def cells(self, name: str) -> list[str]:
        """Write the scores of a tracker."""
        found = [(self.figure(name, metric), metric) for metric in self.metrics]
        return ['-' if f is None else f.text(metric) for f, metric in found]

    def seeds(self, name: str) -> int:
        """Over how many seeds a tracker is known."""
        return max(f.seeds for m in self.metrics if (f := self.figure(name, m)))

    def on_val(self, name: str, side: str) -> str:
        """HOTA on val, of the `published` setting or the `tuned` one."""
        found = [(r.get('tuning') or {}).get(name) for r in self.records]
        values = [tuning[side]['HOTA'] for tuning in found if tuning]
        return Figure.of(values).text('HOTA') if values else '-'

    def is_tuned(self, name: str) -> bool:
        """Whether a drawn setting was better, in any seed."""
        names = {t['name'] for r in self.records for t in r['trackers']}
        return f'{name}{TUNED}' in names

    @property
    def title(self) -> list[str]:
        """Titles of the scores."""
        return [TITLES.get(metric, metric) for metric in self.metrics]


def read_records(folder: Path, ablation: Path | None = None) -> dict[str, RecordSet]:
    """Read the records of a folder, and the runs of the ablation.

    Args:
        folder: Has ``*.json`` with one record, a list of records, or the runs that
            ``mmfdta ablation --records`` notes: those of one group are a set, named by
            the file and the group.
        ablation: A table with one line for each training.

    Returns:
        Sets by name.

    Raises:
        ValueError: If a file is no record, or two records are of one run.
    """
    found: dict[str, dict] = {}
    for path in sorted(folder.glob('*.json')):
        content = json.loads(path.read_text(encoding='utf-8'))
        if 'runs' in content:
            content = _records_of_runs(path, content['runs'])
        for record in content if isinstance(content, list) else [content]:
            lacking = [
                k for k in ('set', 'seed', 'source', 'trackers') if k not in record
            ]
            if lacking:
                raise ValueError(
                    f'{path.name}: found no {lacking[0]!r}, expected a record; '
                    'make one with --add'
                )
            seeds = found.setdefault(record['set'], {})
            if record['seed'] in seeds:
                raise ValueError(
                    f'{path.name}: there is another record of {record["set"]}, seed '
                    f'{record["seed"]}; delete one'
                )
            seeds[record['seed']] = record
    if ablation is not None:
        for name, seed, record in _read_ablation(ablation):
            found.setdefault(name, {})[seed] = record
    return {
        name: RecordSet(name, [seeds[s] for s in sorted(seeds, key=lambda s: s or 0)])
        for name, seeds in found.items()
    }


def _records_of_runs(path: Path, runs: list[dict]) -> list[dict]:
    """Put the runs of each group and seed into a record.

    Raises:
        ValueError: If a variant has two runs with a seed.
    """
    found: dict[tuple[str, int], dict] = {}
    for run in runs:
        group = run['group'].replace(', ', '-').replace(' ', '-')
        name = f'{path.stem}-{group}' if group else path.stem
        facts = dict(set=name, seed=run['seed'], source='mmfdta ablation', trackers=[])
        record = found.setdefault((name, run['seed']), dict(facts, title='variant'))
        if run['label'] in [tracker['name'] for tracker in record['trackers']]:
            raise ValueError(
                f'{path.name}: found two runs of {run["label"]}, seed {run["seed"]}, '
                'with different settings or sequences; keep one of them'
            )
        similar = {f'{key}_above_0.9': share for key, share in run['similar'].items()}
        scores = run['test'] | similar
        if 'HOTA' in run['val']:
            scores['val'] = run['val']['HOTA']
        record['trackers'].append(dict(name=run['label'], scores=scores))
    return list(found.values())


def _read_ablation(path: Path) -> Iterator[tuple[str, int, dict]]:
    """Yield set, seed and record of each seed of each length of training."""
    runs: dict[tuple[str, int], dict] = {}
    with path.open(encoding='utf-8', newline='') as file:
        for row in csv.DictReader(file):
            key = f'ablation-{row.pop("iterations")}', int(row.pop('seed'))
            name = row.pop('adapters')
            scores = {m: float(v) / (1 if m in COUNTS else 100) for m, v in row.items()}
            record = runs.setdefault(
                key, dict(source=path.name, title='adapters', trackers=[])
            )
            record['trackers'].append(dict(name=name, scores=scores))
    for (name, seed), record in runs.items():
        yield name, seed, record


def make_record(document: dict, name: str, seed: int | None, source: str) -> dict:
    """Take out of a benchmark's JSON what tables and plots need.

    Args:
        document: ``benchmark.json`` of ``mmfdta benchmark``.
        name: The set that it belongs to.
        seed: Seed of the training; None where nothing was trained.
        source: The command that ran.

    Raises:
        ValueError: If it is no such file.
    """
    lacking = [k for k in ('machine', 'trackers', 'differences') if k not in document]
    if lacking:
        raise ValueError(
            f'found no {lacking[0]!r}, expected benchmark.json of mmfdta benchmark'
        )
    kept = ('name', 'config', 'weights', 'scores', 'timing', 'peak_memory', 'cost')
    trackers = [{key: t[key] for key in kept} for t in document['trackers']]
    for tracker in trackers:
        tracker['scores'] = {m: tracker['scores'][m] for m in METRICS}
        timing = tracker['timing']
        if timing is not None:
            medians = {s: dict(median=t['median']) for s, t in timing['stages'].items()}
            tracker['timing'] = dict(timing, stages=medians)
    for by_metric in document['differences'].values():
        for metric, difference in by_metric.items():
            if metric != 'HOTA':
                del difference['of_sequences']
    return dict(
        set=name,
        seed=seed,
        source=source,
        # The folder of the data is a matter of the machine.
        data=re.sub(r'^\S*[/\\]', '', document['facts']['data']),
        machine=document['machine'],
        reference=document['reference'],
        trackers=trackers,
        differences=document['differences'],
        tuning=document.get('tuning'),
    )


def training_seconds(files: Sequence[Path]) -> list[float]:
    """Add up how long trainings took, as their logs have it.

    Args:
        files: ``<work dir>/<time>/vis_data/scalars.json`` of MMEngine. An interrupted
            training has several, in the order of their times.

    Returns:
        Elapsed seconds of the iterations of each work dir. A line of the log has the
        mean time of the last iterations; it stands for all since the line before.

    Raises:
        ValueError: If a file has no line with the time of an iteration.
    """
    spent: dict[Path, float] = {}
    for path in sorted(files):
        lines = [json.loads(line) for line in path.read_text('utf-8').splitlines()]
        lines = [line for line in lines if {'time', 'step', 'loss'} <= line.keys()]
        if not lines:
            raise ValueError(
                f'{path}: found no time of an iteration, expected scalars.json of a '
                'training'
            )
        # A training that goes on begins after the iterations of its checkpoint, which
        # the file does not name: lines are as far from each other as the first two.
        numbers = [line['step'] for line in lines]
        step = numbers[1] - numbers[0] if len(numbers) > 1 else numbers[0]
        steps = [min(step, numbers[0]), *np.diff(numbers).tolist()]
        times = [line['time'] for line in lines]
        folder = path.parents[2]
        spent[folder] = spent.get(folder, 0.0) + float(np.dot(times, steps))
    return list(spent.values())


def make_diagnosis_records(
    document: dict, name: str, seed: int | None, source: str
) -> list[dict]:
    """Take the bounds and the causes of switches out of a diagnosis.

    Args:
        document: ``diagnosis.json`` of ``mmfdta diagnose``.
        name: The set of the bounds; that of the causes is ``NAME-causes``.
        seed: As in :func:`make_record`.
        source: As in :func:`make_record`.

    Returns:
        Two records. A cause has the number of its switches as ``IDSW``; the most
        frequent cause comes first.
    """
    bounds = [
        dict(name=BOUNDS[key].title, scores=scores)
        for key, scores in document['bounds']['scores'].items()
    ]
    causes = [
        dict(name=SWITCHES[key].title, scores=dict(IDSW=count))
        for key, count in document['switches']['causes'].items()
    ]
    causes.sort(key=lambda cause: -cause['scores']['IDSW'])
    facts = dict(seed=seed, source=source)
    return [
        dict(set=name, title='identities and boxes', trackers=bounds, **facts),
        dict(set=f'{name}-causes', title='cause of a switch', trackers=causes, **facts),
    ]
