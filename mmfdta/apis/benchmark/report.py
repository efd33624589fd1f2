# Copyright (c) mmfdta authors.
"""Tables and plots of a benchmark."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mmfdta.evaluation import summarise
from mmfdta.structures.tables import csv_table, markdown_table
from mmfdta.structures.whole_files import write_text
from mmfdta.visualization import (
    DifferenceRow,
    TrackerPoint,
    plot_differences,
    plot_plane,
    plot_scores,
    save_figure,
)

from ..sequence_loop import STAGES
from .results import LEVEL, METRICS, Difference, EntryResult
from .tuning import Tuning

_SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1')


@dataclass(frozen=True)
class Report:
    """Everything that is written.

    Attributes:
        results: Of each entry, in the order of the tables.
        reference: Name of the entry that the others are compared with.
        differences: By entry and metric.
        facts: Data, machine and settings, for people.
        machine: Device, threads and versions.
        tunings: What the search on val gave for the entries that it can be done for;
            None where none was asked for.
    """

    results: list[EntryResult]
    reference: str
    differences: dict[str, dict[str, Difference]]
    facts: dict
    machine: dict
    tunings: Mapping[str, Tuning] | None = None

    def write(self, folder: Path) -> list[Path]:
        """Write ``benchmark.{md,csv,json}`` and the plots.

        Args:
            folder: Where to.

        Returns:
            The files.
        """
        texts = dict(md=self.markdown(), csv=self.csv(), json=self.json())
        for suffix, text in texts.items():
            write_text(folder / f'benchmark.{suffix}', text)
        figures = [
            save_figure(figure, folder / f'{name}.png')
            for name, figure in self._figures().items()
        ]
        return [folder / f'benchmark.{suffix}' for suffix in texts] + figures

    def markdown(self) -> str:
        """Return the tables to read."""
        parts = [
            self._score_table(),
            self._tuning_table(),
            self._difference_table(),
            self._cost_table(),
        ]
        lines = [f'- {name}: {value}' for name, value in self.facts.items()]
        shared = [r.name for r in self.results if r.reused_detections]
        if shared:
            lines.append(
                '- detections reused, decoding and detector timed when they were '
                f'made: {", ".join(shared)}'
            )
        return '\n'.join([*(part for part in parts if part), *lines]) + '\n'

    def _score_table(self) -> str:
        rows = []
        for row in self._rows():
            cells = [f'{100 * row[name]:.1f}' for name in _SCORES]
            name = row['tracker']
            tuning = (self.tunings or {}).get(name)
            if tuning is not None and tuning.entry is None:
                name = f'{name} (published is best)'
            rows.append((name, *cells, f'{row["IDSW"]:.0f}'))
        return markdown_table(('tracker', *_SCORES, 'IDSW'), rows)

    def _tuning_table(self) -> str:
        """HOTA on val before and after, and what was changed; a dash: not searched."""
        if self.tunings is None:
            return ''
        rows: list[tuple] = []
        added = {t.entry.name for t in self.tunings.values() if t.entry is not None}
        for name in (r.name for r in self.results if r.name not in added):
            tuning = self.tunings.get(name)
            if tuning is None:
                rows.append((name, '-', '-', '-', '-'))
                continue
            hota = [
                f'{100 * trial.scores["HOTA"]:.1f}'
                for trial in (tuning.published, tuning.best)
            ]
            setting = [f'{key}={value}' for key, value in tuning.changes.items()]
            text = ', '.join(setting) or 'published is best'
            rows.append((name, *hota, tuning.trials, text))
        head = ('on val', 'HOTA, published', 'HOTA, tuned', 'settings', 'best setting')
        return markdown_table(head, rows)

    def _difference_table(self) -> str:
        if not self.differences:
            return ''
        rows = []
        for name, by_metric in self.differences.items():
            cells = [_interval(by_metric[metric]) for metric in METRICS]
            hota = by_metric['HOTA'].of_sequences
            rows.append((name, *cells, f'{(hota > 0).sum()}/{len(hota)}'))
        head = (f'minus {self.reference}', *METRICS, 'better in')
        return markdown_table(head, rows)

    def _cost_table(self) -> str:
        # Column of the table: column of the CSV, its unit, how it is written.
        columns = {f'{s} ms': (f'{s}_ms', 1, '.2f') for s in STAGES} | {
            'FPS': ('frames_per_second', 1, '.2f'),
            'memory MB': ('peak_memory', 2**20, '.0f'),
            'params M': ('parameters', 1e6, '.2f'),
            'GFLOPs': ('flops', 1e9, '.2f'),
        }
        rows = []
        for row in self._rows():
            cells = []
            for key, unit, form in columns.values():
                cells.append('-' if row[key] is None else f'{row[key] / unit:{form}}')
            if row['frames_per_second'] is not None:
                rows.append((row['tracker'], *cells))
        return markdown_table(('tracker', *columns), rows) if rows else ''

    def csv(self) -> str:
        """Return one line for each entry, rates as fractions."""
        rows = self._rows()
        return csv_table(tuple(rows[0]), [tuple(row.values()) for row in rows])

    def _rows(self) -> list[dict]:
        """Numbers of each entry; None is what a run alone tells."""
        rows = []
        for result in self.results:
            timing, cost = result.timing, result.cost or {}
            stages = timing.stages if timing else {}
            rows.append(
                dict(
                    tracker=result.name,
                    **{name: result.scores[name] for name in (*_SCORES, 'IDSW')},
                    **{f'{s}_ms': stages.get(s, {}).get('median') for s in STAGES},
                    frames_per_second=timing and timing.frames_per_second,
                    peak_memory=result.peak_memory,
                    parameters=cost.get('parameters'),
                    flops=cost.get('flops'),
                )
            )
        return rows

    def json(self) -> str:
        """Return everything."""
        trackers = [
            dict(
                name=result.name,
                config=result.entry.config_name,
                weights=result.entry.weights,
                scores=result.scores,
                sequences={
                    name: summarise(result.evaluation.over_classes(name))
                    for name in result.evaluation.sequences
                },
                timing=result.timing and asdict(result.timing),
                peak_memory=result.peak_memory,
                cost=result.cost,
                reused_detections=result.reused_detections,
            )
            for result in self.results
        ]
        differences = {
            name: {
                metric: asdict(d) | dict(of_sequences=d.of_sequences.tolist())
                for metric, d in by_metric.items()
            }
            for name, by_metric in self.differences.items()
        }
        tunings = self.tunings
        document = dict(
            facts=self.facts,
            machine=self.machine,
            reference=self.reference,
            level=LEVEL,
            trackers=trackers,
            differences=differences,
            tuning=None
            if tunings is None
            else {name: tuning.as_dict() for name, tuning in tunings.items()},
        )
        return json.dumps(document, indent=1) + '\n'

    def _figures(self) -> dict:
        names = [result.name for result in self.results]
        detection = {r.name: 100 * r.scores['DetA'] for r in self.results}
        figures = dict(
            scores=plot_scores({r.name: r.scores for r in self.results}),
            detection_association=plot_plane(
                self._points(detection, 'AssA'), ('DetA', 'AssA'), hota_lines=True
            ),
        )
        timed = [(r.name, r.timing) for r in self.results]
        speed = {name: timing.frames_per_second for name, timing in timed if timing}
        if speed:
            figures['speed'] = plot_plane(
                self._points(speed, 'HOTA'), ('frames per second', 'HOTA')
            )
        rows = {
            name: DifferenceRow(**asdict(d['HOTA']), number=names.index(name))
            for name, d in self.differences.items()
        }
        if rows:
            figures['differences'] = plot_differences(
                rows, self.reference, 'HOTA', LEVEL
            )
        return figures

    def _points(self, across: dict[str, float], metric: str) -> list[TrackerPoint]:
        """Entries by a number of theirs, and in percent by a score over it."""
        return [
            TrackerPoint(r.name, across[r.name], 100 * r.scores[metric], number)
            for number, r in enumerate(self.results)
            if r.name in across
        ]


def _interval(difference: Difference) -> str:
    values = (difference.overall, difference.low, difference.high)
    middle, low, high = (f'{100 * value:+.1f}' for value in values)
    return f'{middle} [{low}, {high}]'
