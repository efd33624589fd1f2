# Copyright (c) mmfdta authors.
"""Tables and plots of a benchmark."""

import csv
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mmfdta.evaluation import summarise
from mmfdta.structures.mot_text import write_text_atomic
from mmfdta.visualization import (
    DifferenceRow,
    TrackerPoint,
    plot_differences,
    plot_plane,
    plot_scores,
    save_figure,
)

from ..tables import markdown_table
from .bootstrap import LEVEL, METRICS, Difference
from .frame_runner import STAGES
from .outcome import Outcome, Timing

_SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1')
_MILLION, _GIGA, _MEBI = 1e6, 1e9, 2**20


@dataclass(frozen=True)
class Report:
    """Everything that is written.

    Attributes:
        outcomes (list[Outcome]): In the order of the tables.
        reference (str): The contestant that the others are compared with.
        differences (dict[str, dict[str, Difference]]): By contestant and metric.
        facts (dict): Data, machine and settings.
    """

    outcomes: list[Outcome]
    reference: str
    differences: dict[str, dict[str, Difference]]
    facts: dict

    def write(self, folder: Path) -> list[Path]:
        """Write ``benchmark.{md,csv,json}`` and the plots.

        Args:
            folder (Path): Where to.

        Returns:
            list[Path]: The files.
        """
        texts = dict(md=self.markdown(), csv=self.csv(), json=self.json())
        for suffix, text in texts.items():
            write_text_atomic(folder / f'benchmark.{suffix}', text)
        figures = [
            save_figure(figure, folder / f'{name}.png')
            for name, figure in self._figures().items()
        ]
        return [folder / f'benchmark.{suffix}' for suffix in texts] + figures

    def markdown(self) -> str:
        """Write the tables to read."""
        parts = [self._score_table(), self._difference_table(), self._cost_table()]
        lines = [f'- {name}: {value}' for name, value in self.facts.items()]
        shared = [o.name for o in self.outcomes if o.shares_detections]
        if shared:
            lines.append(
                f'- detections shared, detector and images timed once: '
                f'{", ".join(shared)}'
            )
        return '\n'.join([*(part for part in parts if part), *lines]) + '\n'

    def _score_table(self) -> str:
        rows: list[tuple[str, ...]] = [('tracker', *_SCORES, 'IDSW')]
        for outcome in self.outcomes:
            cells = [f'{100 * outcome.scores[name]:.1f}' for name in _SCORES]
            rows.append((outcome.name, *cells, f'{outcome.scores["IDSW"]:.0f}'))
        return markdown_table(rows)

    def _difference_table(self) -> str:
        if not self.differences:
            return ''
        head = (f'minus {self.reference}', *METRICS, 'better in')
        rows: list[tuple[str, ...]] = [head]
        for name, by_metric in self.differences.items():
            cells = [_interval(by_metric[metric]) for metric in METRICS]
            hota = by_metric['HOTA'].of_sequences
            rows.append((name, *cells, f'{(hota > 0).sum()}/{len(hota)}'))
        return markdown_table(rows)

    def _cost_table(self) -> str:
        if not self._timed:
            return ''
        stages = [f'{stage} ms' for stage in STAGES]
        rows = [('tracker', *stages, 'FPS', 'memory MB', 'params M', 'GFLOPs')]
        for outcome, timing in self._timed:
            cost = outcome.runs[0].cost
            memory = max(run.peak_memory for run in outcome.runs)
            rows.append(
                (
                    outcome.name,
                    *(_milliseconds(timing.stages[s]['median']) for s in STAGES),
                    f'{timing.frames_per_second:.2f}',
                    f'{memory / _MEBI:.0f}',
                    f'{cost.parameters / _MILLION:.2f}',
                    f'{cost.flops / _GIGA:.2f}',
                )
            )
        return markdown_table(rows)

    @property
    def _timed(self) -> list[tuple[Outcome, Timing]]:
        """The contestants that ran, with their times."""
        return [(o, o.timing) for o in self.outcomes if o.timing is not None]

    def csv(self) -> str:
        """Write one line a contestant, rates as fractions."""
        rows = [self._plain_row(outcome) for outcome in self.outcomes]
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _plain_row(self, outcome: Outcome) -> dict:
        timing, cost = outcome.timing, outcome.runs[0].cost if outcome.runs else None
        stages = timing.stages if timing else {}
        return dict(
            tracker=outcome.name,
            **{name: outcome.scores[name] for name in (*_SCORES, 'IDSW')},
            **{f'{s}_ms': stages[s]['median'] if stages else None for s in STAGES},
            frames_per_second=timing and timing.frames_per_second,
            peak_memory=outcome.peak_memory,
            parameters=cost and cost.parameters,
            flops=cost and cost.flops,
        )

    def json(self) -> str:
        """Write everything."""
        trackers = [
            dict(
                name=outcome.name,
                scores=outcome.scores,
                sequences={
                    name: summarise(outcome.evaluation.of_sequence(name))
                    for name in outcome.evaluation.sequences
                },
                timing=outcome.timing and asdict(outcome.timing),
                peak_memory=outcome.peak_memory,
                cost=asdict(outcome.runs[0].cost) if outcome.runs else None,
                shares_detections=outcome.shares_detections,
            )
            for outcome in self.outcomes
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
        names = [outcome.name for outcome in self.outcomes]
        detection = {o.name: 100 * o.scores['DetA'] for o in self.outcomes}
        figures = dict(
            scores=plot_scores({o.name: o.scores for o in self.outcomes}),
            detection_association=plot_plane(
                self._points(detection, 'AssA'), ('DetA', 'AssA'), hota_lines=True
            ),
        )
        speed = {outcome.name: time.frames_per_second for outcome, time in self._timed}
        if speed:
            figures['speed'] = plot_plane(
                self._points(speed, 'HOTA'), ('frames a second', 'HOTA')
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
        """Trackers by a number of theirs, and in percent by a score over it."""
        return [
            TrackerPoint(o.name, across[o.name], 100 * o.scores[metric], number)
            for number, o in enumerate(self.outcomes)
            if o.name in across
        ]


def _interval(difference: Difference) -> str:
    values = (difference.overall, difference.low, difference.high)
    middle, low, high = (f'{100 * value:+.1f}' for value in values)
    return f'{middle} [{low}, {high}]'


def _milliseconds(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
