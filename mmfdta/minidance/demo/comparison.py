# Copyright (c) mmfdta authors.
"""Score FDTA and its neighbours on the same detections."""

import json
from dataclasses import dataclass
from pathlib import Path

from mmfdta.apis import tables
from mmfdta.evaluation import Evaluation, Sequence, Settings, TrackBoxes, evaluate
from mmfdta.evaluation import summarise as average
from mmfdta.structures.mot_text import write_mot_rows, write_text_atomic

from ..stages import say
from .neighbours import NEIGHBOURS, Neighbour, run_neighbour
from .tracking import TrackedSequence

FDTA = 'FDTA'


@dataclass(frozen=True)
class Outcome:
    """What a tracker did on the test split.

    Attributes:
        name (str): The tracker.
        evaluation (Evaluation): Its scores.
        tracks (list[TrackBoxes]): Its tracks in every sequence.
        settings (dict): What it ran with; empty for FDTA.
    """

    name: str
    evaluation: Evaluation
    tracks: list[TrackBoxes]
    settings: dict

    def scores(self) -> dict[str, float]:
        """Scores of all sequences together, rates as fractions of 1."""
        return average(self.evaluation.of_class('all'))

    def curves(self) -> dict:
        """HOTA, DetA and AssA over the localisation thresholds."""
        return self.evaluation.of_class('all')


def score(sequences: list[TrackedSequence], tracks: list[TrackBoxes]) -> Evaluation:
    """Score the tracks of sequences against their ground truth."""
    return evaluate(
        [
            Sequence(item.name, len(item.image_paths), item.truth, boxes)
            for item, boxes in zip(sequences, tracks, strict=True)
        ],
        Settings('minidance'),
    )


def compare(
    val: list[TrackedSequence], test: list[TrackedSequence], folder: Path
) -> list[Outcome]:
    """Run the neighbours as published and as tuned on the validation split.

    Args:
        val (list[TrackedSequence]): Where settings are chosen.
        test (list[TrackedSequence]): Where all are scored.
        folder (Path): Gets the tracks as ``<tracker>/<sequence>.txt``.

    Returns:
        list[Outcome]: FDTA, then each neighbour as published and as tuned.
    """
    tracks = [item.tracks for item in test]
    outcomes = [Outcome(FDTA, score(test, tracks), tracks, {})]
    for neighbour in NEIGHBOURS:
        best = tune(neighbour, val)
        for name, settings in (
            (neighbour.name, neighbour.published),
            (f'{neighbour.name} (tuned)', best),
        ):
            tracks = [run_neighbour(settings, item.detections) for item in test]
            for item, boxes in zip(test, tracks, strict=True):
                path = folder / _slug(name) / f'{item.name}.txt'
                write_mot_rows(
                    path, boxes.frame, boxes.identity, boxes.xywh, boxes.mark, 6
                )
            outcomes.append(Outcome(name, score(test, tracks), tracks, settings))
        say(f'      {neighbour.name}: published and tuned on val')
    return outcomes


def tune(neighbour: Neighbour, val: list[TrackedSequence]) -> dict:
    """Choose the settings with the best HOTA on the validation split."""

    def hota(settings: dict) -> float:
        tracks = [run_neighbour(settings, item.detections) for item in val]
        return average(score(val, tracks).of_class('all'))['HOTA']

    return max(neighbour.variants(), key=hota)


def _slug(name: str) -> str:
    return name.lower().replace('-', '').replace(' (', '_').replace(')', '')


COLUMNS = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1', 'IDSW')


def markdown_table(outcomes: list[Outcome]) -> str:
    """Write the comparison as a Markdown table, rates in percent."""
    rows: list[tuple[str, ...]] = [('tracker', *COLUMNS)]
    rows += [(o.name, *(_cell(c, o.scores()[c]) for c in COLUMNS)) for o in outcomes]
    return tables.markdown_table(rows)


def write_tables(outcomes: list[Outcome], folder: Path, facts: dict) -> None:
    """Write ``scores.md``, ``scores.csv`` and ``scores.json``.

    Args:
        outcomes (list[Outcome]): Scores of the trackers.
        folder (Path): Where to write.
        facts (dict): What else belongs into the JSON file.
    """
    write_text_atomic(folder / 'scores.md', markdown_table(outcomes))
    lines = [','.join(('tracker', *COLUMNS))]
    lines += [
        ','.join([o.name, *(str(o.scores()[c]) for c in COLUMNS)]) for o in outcomes
    ]
    write_text_atomic(folder / 'scores.csv', '\n'.join(lines) + '\n')
    document = dict(
        facts,
        trackers=[
            dict(name=o.name, scores=_plain(o.scores()), settings=o.settings)
            for o in outcomes
        ],
    )
    write_text_atomic(folder / 'scores.json', json.dumps(document, indent=1) + '\n')


def _plain(scores: dict) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items()}


def _cell(column: str, value: float) -> str:
    return f'{value:.0f}' if column == 'IDSW' else f'{100 * value:.1f}'
