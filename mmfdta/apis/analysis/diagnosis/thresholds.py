# Copyright (c) mmfdta authors.
"""What each threshold of a tracker does to its scores, all others as they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mmfdta.evaluation.scores import COUNTS
from mmfdta.models.trackers import GalleryTracker, LibraryTracker

from ...thresholds import (
    TRACKERS,
    current_options,
    current_thresholds,
    threshold_options,
)
from ..tune_thresholds import Trial, Tuner

STEP = 0.1
_HIGHEST = 0.95
_PREFIX = 'model.tracker.'


@dataclass(frozen=True)
class ThresholdEffect:
    """A threshold, and the scores with other values of it.

    Attributes:
        name: One of :data:`mmfdta.apis.thresholds.MEANINGS`.
        value: What the config has, as the name means it: ``max_gap`` may be less
            than the argument of the tracker.
        trials: Scores by value, ascending; fractions of 1, and the count ``IDSW``.
        options: Settings of the config, by key, with the value of the best HOTA.
    """

    name: str
    value: float
    trials: dict[float, dict[str, float]]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> float:
        """The value with the best HOTA; of equal ones the config's, or the lowest."""
        return max(
            self.trials, key=lambda v: (self.trials[v]['HOTA'], v == self.value, -v)
        )

    @property
    def gain(self) -> float:
        """HOTA that the best value has more than the config's, a fraction of 1."""
        return self.trials[self.best]['HOTA'] - self.trials[self.value]['HOTA']

    @property
    def span(self) -> float:
        """Largest HOTA less the smallest, a fraction of 1."""
        values = [scores['HOTA'] for scores in self.trials.values()]
        return max(values) - min(values)

    def summary(self) -> dict:
        """Return what is kept as JSON."""
        trials = [dict(value=value) | scores for value, scores in self.trials.items()]
        return dict(
            value=self.value,
            best=self.best,
            gain=self.gain,
            options=self.options,
            trials=trials,
        )


def read_thresholds(tracker: Any) -> dict[str, float]:
    """Return the thresholds that a tracker has, by name.

    Args:
        tracker: Any tracker; of kinds that are not known there are none.
    """
    return current_thresholds(dict(tracker=_as_config(tracker)))


def _as_config(tracker: Any) -> dict[str, Any]:
    """The settings of a tracker that are thresholds, under the names of a config."""
    if isinstance(tracker, GalleryTracker):
        return dict(type='GalleryTracker', tracker=_as_config(tracker.tracker))
    if isinstance(tracker, LibraryTracker):
        named = dict(name=tracker.name, score_thr=tracker.score_thr)
        return dict(type='LibraryTracker', **named, **tracker.settings)
    kind = type(tracker).__name__
    keys = [key for keys in TRACKERS.get(kind, {}).values() for key in keys]
    names = {key.partition('.')[0] for key in keys}
    values = {name: getattr(tracker, name) for name in names if hasattr(tracker, name)}
    return dict(type=kind, **values)


def choose_values(
    name: str, value: float, steps: int, lowest: float = 0.0, longest: int | None = None
) -> list[float]:
    """Choose the values of a threshold to try, ascending, its own among them.

    Args:
        name: The threshold. Scores go in steps of 0.1, and ``max_gap`` by factors
            of 2.
        value: What it is.
        steps: Values to each side.
        lowest: Score of the lowest detection there is.
        longest: Longest gap that the model knows.
    """
    around = range(-steps, steps + 1)
    if name == 'max_gap':
        gaps = {int(value), *(round(value * 2**k) for k in around)}
        return sorted(
            gap
            for gap in gaps
            if gap == value or gap >= 1 and (longest is None or gap <= longest)
        )
    # A match may be as unlikely as it wants.
    low = 0.0 if name == 'match_thr' else max(lowest, 0.0)
    scores = {round(value + STEP * k, 6) for k in around}
    return sorted({value, *(s for s in scores if low <= s <= _HIGHEST)})


def setting_of(tracker: Any, name: str, value: float) -> dict[str, Any]:
    """Turn a threshold into a setting, as :func:`build_tracker` takes it.

    Args:
        tracker: The tracker.
        name: The threshold.
        value: Its value.
    """
    options = threshold_options(dict(tracker=_as_config(tracker)), {name: value})
    return {option.removeprefix(_PREFIX): chosen for option, chosen in options.items()}


def plan_thresholds(
    tracker: Any, steps: int, lowest: float = 0.0, longest: int | None = None
) -> dict[str, list[float]]:
    """List the values of each threshold to try; see :func:`choose_values`."""
    return {
        name: choose_values(name, value, steps, lowest, longest)
        for name, value in read_thresholds(tracker).items()
    }


def measure_thresholds(
    tuner: Tuner,
    tracker: Any,
    plan: Mapping[str, list[float]],
) -> list[ThresholdEffect]:
    """Track with every value of each threshold.

    Args:
        tuner: Tracks and scores with a setting.
        tracker: The tracker, as the config has it.
        plan: See :func:`plan_thresholds`.

    Returns:
        The effect of each threshold, in the order of the plan.
    """
    effects = []
    present = read_thresholds(tracker)
    for name, values in plan.items():
        trials = {}
        for value in values:
            is_present = value == present[name]
            setting = {} if is_present else setting_of(tracker, name, value)
            trials[value] = _scores_of(tuner.try_setting(setting))
        effect = ThresholdEffect(name, present[name], trials)
        model = dict(tracker=_as_config(tracker))
        if effect.best == effect.value:  # which may be none that can be chosen
            options = current_options(model, name)
        else:
            options = threshold_options(model, {name: effect.best})
        effects.append(replace(effect, options=options))
    return effects


def _scores_of(trial: Trial) -> dict[str, float]:
    return {
        name: int(score) if name in COUNTS else score
        for name, score in trial.scores.items()
    }
