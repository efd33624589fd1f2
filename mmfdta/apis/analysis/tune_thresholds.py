# Copyright (c) mmfdta authors.
"""Search the settings of a tracker; the detector runs once."""

import inspect
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mmdet.registry import MODELS

from mmfdta.evaluation import summarise
from mmfdta.evaluation.records import make_record
from mmfdta.structures.tables import markdown_table
from mmfdta.structures.tracks import Tracks

from ..detection_store import SequenceDetections
from ..evaluation_data import EvaluationData
from ..sequence_loop import SequenceLoop

_SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1')


@dataclass(frozen=True)
class Trial:
    """A setting and what it gave.

    Attributes:
        setting: Arguments of the tracker by name.
        scores: Fractions of 1, and the count ``IDSW``.
        seconds: Time that tracking and scoring took.
    """

    setting: dict[str, Any]
    scores: dict[str, float]
    seconds: float

    def as_dict(self) -> dict:
        """Return what is kept as JSON."""
        return self.setting | self.scores | dict(seconds=self.seconds)


class Tuner:
    """Tracks the same detections again and again.

    Args:
        loop: A tracker that detects and associates apart, on its data.
        detections: What its detector found in each sequence.
        data: The same data, to score with.
        tracker_cfg: Config of the tracker.
        report: Called after each new trial.

    Attributes:
        trials: What was tried, in order.
    """

    def __init__(
        self,
        loop: SequenceLoop,
        detections: list[SequenceDetections],
        data: EvaluationData,
        tracker_cfg: Mapping,
        report: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        self._loop = loop
        self._detections = detections
        self._data = data
        self._tracker_cfg = tracker_cfg
        self._report = report
        self._known: dict[str, Trial] = {}

    @property
    def trials(self) -> list[Trial]:
        """What was tried, in order."""
        return list(self._known.values())

    def try_setting(self, setting: Mapping[str, Any]) -> Trial:
        """Track and score everything with a setting; the same one only once.

        Args:
            setting: Arguments of the tracker that replace those of its config.
        """
        key = json.dumps(setting, sort_keys=True, default=str)
        if key not in self._known:
            start = time.perf_counter()
            tracks = [self.track(i, setting) for i in range(len(self._detections))]
            scores = summarise(self._data.score(tracks).over_classes())
            chosen = {name: scores[name] for name in (*_SCORES, 'IDSW')}
            seconds = time.perf_counter() - start
            self._known[key] = Trial(dict(setting), chosen, seconds)
            self._report(self._known[key])
        return self._known[key]

    def track(self, index: int, setting: Mapping[str, Any]) -> Tracks:
        """Track a sequence; return the tracks as they stand in result text.

        Args:
            index: Index of the sequence.
            setting: See :meth:`try_setting`.
        """
        tracker = build_tracker(self._loop.model.tracker, self._tracker_cfg, setting)
        known = self._detections[index]
        return track_known(self._loop, index, known, self._data, tracker)


def track_known(
    loop: SequenceLoop,
    index: int,
    known: SequenceDetections,
    data: EvaluationData,
    tracker: Any = None,
    on_frame: Callable[[], None] | None = None,
) -> Tracks:
    """Track a sequence on its detections; return the tracks as result text has them.

    Args:
        loop: A tracker that detects and associates apart, on its data.
        index: Index of the sequence.
        known: Its detections.
        data: The same data.
        tracker: What takes the place of the model's tracker.
        on_frame: Called after each frame.
    """
    mot_classes = data.classes.of_benchmark
    parts = []
    for frame, _ in loop.track(index, known, tracker):
        parts.append(make_record(frame, mot_classes).pred)
        if on_frame is not None:
            on_frame()
    return Tracks.concatenate(parts)


def build_tracker(present: Any, tracker_cfg: Mapping, setting: Mapping) -> Any:
    """Build a tracker like a model's, but for a setting.

    Args:
        present: The model's tracker.
        tracker_cfg: Its config.
        setting: Arguments that replace those of the config.

    Raises:
        ValueError: If the tracker takes no such argument, or refuses a value.
    """
    takes = inspect.signature(type(present).__init__).parameters
    unknown = sorted(set(setting) - set(takes))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        raise ValueError(
            f'model.tracker: {type(present).__name__} takes no {unknown[0]!r}; it '
            f'takes {", ".join(list(takes)[1:])}'
        )
    # What a model has told its tracker and its config does not repeat.
    told = {name: vars(present).get(name) for name in takes if name != 'self'}
    told = {k: v for k, v in told.items() if isinstance(v, int | float | str)}
    return MODELS.build({**told, **tracker_cfg, **setting})


def search_grid(tuner: Tuner, choices: Mapping[str, Iterable]) -> Trial:
    """Try every combination.

    Args:
        tuner: Tries settings.
        choices: Values of each argument of the tracker.

    Returns:
        The trial with the best HOTA, the first of equal ones.
    """
    combinations = itertools.product(*choices.values())
    settings = [dict(zip(choices, values, strict=True)) for values in combinations]
    return best_of([tuner.try_setting(setting) for setting in settings])


def search_coordinates(
    tuner: Tuner, choices: Mapping[str, Iterable], start: Mapping[str, Any]
) -> Trial:
    """Change one thing at a time, keep the best HOTA, until nothing helps.

    Args:
        tuner: Tries settings.
        choices: Values of each argument of the tracker.
        start: Where to start.

    Returns:
        The trial with the best HOTA.
    """
    best, before = tuner.try_setting(start), None
    while best is not before:
        before = best
        for name, values in choices.items():
            # The best one comes first: an equal one is no better.
            others = [tuner.try_setting({**best.setting, name: v}) for v in values]
            best = best_of([best, *others])
    return best


def best_of(trials: Iterable[Trial]) -> Trial:
    """Return the trial with the best HOTA, the first of equal ones."""
    return max(trials, key=lambda trial: trial.scores['HOTA'])


def format_trials(trials: Iterable[Trial]) -> str:
    """Write trials as a Markdown table, the best HOTA first.

    Args:
        trials: What was tried, with the same arguments each.

    Returns:
        The table; scores in percent.
    """
    ordered = sorted(trials, key=lambda trial: -trial.scores['HOTA'])
    rows = []
    for trial in ordered:
        values = trial.setting.values()
        rows.append(
            (
                *(f'{v:g}' if isinstance(v, float) else str(v) for v in values),
                *(f'{100 * trial.scores[name]:.2f}' for name in _SCORES),
                f'{trial.seconds:.1f}',
            )
        )
    return markdown_table((*ordered[0].setting, *_SCORES, 'seconds'), rows)
