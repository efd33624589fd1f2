# Copyright (c) mmfdta authors.
"""Tables and plots of a benchmark."""

import json
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
from .results import LEVEL, METRICS, Difference, EntryResult, Timing

_SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1')
_MILLION, _GIGA, _MEBI = 1e6, 1e9, 2**20


@dataclass(frozen=True)
class Report:
    """Everything that is written.

    Attributes:
        results: Of each entry, in the order of the tables.
        reference: Name of the entry that the others are compared with.
        differences: By entry and metric.
        facts: Data, machine and settings.
    """

    results: list[EntryResult]
    reference: str
    differences: dict[str, dict[str, Difference]]
    facts: dict

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
        parts = [self._score_table(), self._difference_table(), self._cost_table()]
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
        for result in self.results:
            cells = [f'{100 * result.scores[name]:.1f}' for name in _SCORES]
            rows.append((result.name, *cells, f'{result.scores["IDSW"]:.0f}'))
        return markdown_table(('tracker', *_SCORES, 'IDSW'), rows)

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
        if not self._timed:
            return ''
        rows = []
        for result, timing in self._timed:
            cost = result.runs[0].cost
            rows.append(
                (
                    result.name,
                    *(_milliseconds(timing.stages[s]['median']) for s in STAGES),
                    f'{timing.frames_per_second:.2f}',
                    f'{result.peak_memory / _MEBI:.0f}' if result.peak_memory else '-',
                    f'{cost["parameters"] / _MILLION:.2f}',
                    f'{cost["flops"] / _GIGA:.2f}',
                )
            )
        stages = [f'{stage} ms' for stage in STAGES]
        head = ('tracker', *stages, 'FPS', 'memory MB', 'params M', 'GFLOPs')
        return markdown_table(head, rows)

    @property
    def _timed(self) -> list[tuple[EntryResult, Timing]]:
        """The entries that ran, with their times."""
        return [(r, r.timing) for r in self.results if r.timing is not None]

    def csv(self) -> str:
        """Return one line for each entry, rates as fractions."""
        rows = [self._plain_row(result) for result in self.results]
        return csv_table(tuple(rows[0]), [tuple(row.values()) for row in rows])

    def _plain_row(self, result: EntryResult) -> dict:
        timing, cost = result.timing, result.runs[0].cost if result.runs else None
        stages = timing.stages if timing else {}
        return dict(
            tracker=result.name,
            **{name: result.scores[name] for name in (*_SCORES, 'IDSW')},
            **{f'{s}_ms': stages[s]['median'] if stages else None for s in STAGES},
            frames_per_second=timing and timing.frames_per_second,
            peak_memory=result.peak_memory,
            parameters=cost and cost['parameters'],
            flops=cost and cost['flops'],
        )

    def json(self) -> str:
        """Return everything."""
        trackers = [
            dict(
                name=result.name,
                scores=result.scores,
                sequences={
                    name: summarise(result.evaluation.of_sequence(name))
                    for name in result.evaluation.sequences
                },
                timing=result.timing and asdict(result.timing),
                peak_memory=result.peak_memory,
                cost=result.runs[0].cost if result.runs else None,
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
        document = dict(
            facts=self.facts,
            reference=self.reference,
            level=LEVEL,
            trackers=trackers,
            differences=differences,
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
        speed = {result.name: time.frames_per_second for result, time in self._timed}
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


def _milliseconds(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
