# Copyright (c) mmfdta authors.
"""The settings of trackers that people change, by one name for all trackers."""

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from mmfdta.models.trackers.kinds import KINDS, kind_of

#: What each threshold does, by its name.
MEANINGS = {
    'det_thr': 'score above which a detection is tracked',
    'low_thr': 'score above which a detection may still continue a track',
    'new_thr': 'score above which a detection may begin a track',
    'match_thr': 'lowest similarity that continues a track: IoU, or the score of an ID',
    'max_gap': 'frames that an object may be missing and keep its identity',
}
#: Keys of each kind of `model.tracker` that has thresholds, by their names.
TRACKERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    name: kind.thresholds for name, kind in KINDS.items() if kind.thresholds
}

# Frames per second at which no tracker scales its gap, see `TrackerKind.gap_rate`.
_GAP_RATE = 30.0


def _tracker_of(model: Mapping) -> tuple[Mapping, str]:
    """Return the config of the tracker that decides, and where it stands."""
    tracker, path = model.get('tracker') or {}, 'model.tracker'
    while kind_of(tracker) == 'GalleryTracker':
        tracker, path = tracker['tracker'], f'{path}.tracker'
    return tracker, path


def threshold_options(model: Mapping, thresholds: Mapping[str, float]) -> dict:
    """Turn thresholds into settings of a config.

    Args:
        model: The config's ``model``.
        thresholds: Values by a name of `MEANINGS`.

    Returns:
        What ``cfg_options`` takes.

    Raises:
        ValueError: If the tracker has no such threshold, or a value cannot be.
    """
    tracker, path = _tracker_of(model)
    kind = kind_of(tracker)
    options: dict[str, Any] = {}
    for name, value in thresholds.items():
        keys = TRACKERS.get(kind, {}).get(name)
        if keys is None:
            raise ValueError(f'{_option(name)}: {_say_what_there_is(kind, tracker)}')
        _check(name, value)
        if name == 'max_gap':
            value = int(value) + KINDS[kind].gap_margin
            rate = KINDS[kind].gap_rate
            if rate in tracker:
                options[f'{path}.{rate}'] = _GAP_RATE
        options |= {f'{path}.{key}': value for key in keys}
    scores = [thresholds[name] for name in ('low_thr', 'det_thr') if name in thresholds]
    settings = (model.get('detector') or {}).get('test_cfg') or {}
    place = 'model.detector.test_cfg'
    if 'rcnn' in settings:  # a detector of two stages
        settings, place = settings['rcnn'] or {}, f'{place}.rcnn'
    if scores and min(scores) < settings.get('score_thr', 0):
        # What the detector leaves out no tracker sees.
        options[f'{place}.score_thr'] = min(scores)
    return options


def current_thresholds(model: Mapping) -> dict[str, float]:
    """Return the thresholds that a config's tracker has, as far as the config says."""
    tracker, _ = _tracker_of(model)
    kind = kind_of(tracker)
    found = {}
    for name, keys in TRACKERS.get(kind, {}).items():
        value = _value_of(tracker, keys[0])
        if value is not None:
            if name == 'max_gap':
                rate = tracker.get(KINDS[kind].gap_rate or '', _GAP_RATE)
                value = math.ceil(rate / _GAP_RATE * value) - KINDS[kind].gap_margin
            found[name] = value
    return found


def current_options(model: Mapping, name: str) -> dict[str, Any]:
    """Return what a config's tracker has for a threshold, as ``cfg_options`` takes it.

    Args:
        model: The config's ``model``.
        name: One of :func:`current_thresholds`.
    """
    tracker, path = _tracker_of(model)
    keys = TRACKERS[kind_of(tracker)][name]
    return {f'{path}.{key}': _value_of(tracker, key) for key in keys}


def _value_of(tracker: Mapping, key: str) -> Any:
    """Return a setting of a tracker's config; None if the config does not say it."""
    value: Any = tracker
    for part in key.split('.'):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def describe_thresholds(model: Mapping) -> str:
    """Write the thresholds of a config's tracker in brackets, with a space in front."""
    values = current_thresholds(model)
    listed = ', '.join(f'{name} {value:g}' for name, value in values.items())
    return f' ({listed})' if listed else ''


def _option(name: str) -> str:
    return f'--{name.replace("_", "-")}'


def _say_what_there_is(kind: str, tracker: Mapping) -> str:
    if kind not in TRACKERS:
        return (
            f'not known for model.tracker.type {kind!r}; set it with --cfg-options '
            'model.tracker.KEY=VALUE'
        )
    values = current_thresholds(dict(tracker=tracker))
    listed = ', '.join(
        _option(name) + (f' (now {values[name]:g})' if name in values else '')
        for name in TRACKERS[kind]
    )
    why = (
        '; it begins a track with every detection above --det-thr that continues none'
        if KINDS[kind].begins_with_all
        else ''
    )
    return f'{kind} has no such threshold, only {listed}{why}'


def _check(name: str, value: float) -> None:
    if name == 'max_gap':
        fits = isinstance(value, Integral) and value >= 1
        expected = 'a whole number from 1 on'
    else:
        fits, expected = isinstance(value, Real) and 0 <= value <= 1, '0 to 1'
    if not fits:
        raise ValueError(f'{_option(name)}: found {value}, expected {expected}')
