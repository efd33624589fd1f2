# Copyright (c) mmfdta authors.
"""The settings of trackers that people change, by one name for all trackers."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

#: What each threshold does, by its name.
MEANINGS = {
    'det_thr': 'score above which a detection is tracked',
    'low_thr': 'score above which a detection may still continue a track',
    'new_thr': 'score above which a detection may begin a track',
    'match_thr': 'lowest similarity that continues a track: IoU, or the score of an ID',
    'max_gap': 'frames that an object may be missing and keep its identity',
}
# MMDetection compares with `init_track_thr` only while nothing is tracked. Where it
# differs from the other threshold, a lone object would not be seen.
_BOX_TRACKER = dict(
    det_thr=('obj_score_thr', 'init_track_thr'),
    match_thr=('match_iou_thr',),
    max_gap=('num_frames_retain',),
)
# It begins a track with every detection that it sees.
_APPEARANCE_SORT = dict(
    det_thr=('obj_score_thr',),
    match_thr=('match_iou_thr',),
    max_gap=('num_frames_retain',),
)
_BOTSORT = dict(
    det_thr=('high_conf_det_threshold',),
    low_thr=('score_thr',),
    new_thr=('track_activation_threshold',),
    match_thr=('minimum_iou_threshold_first_assoc',),
    max_gap=('lost_track_buffer',),
)
_LIBRARY = 'LibraryTracker'
# Kind of `model.tracker`, see `kind_of` -> name -> its keys.
TRACKERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    'ByteTracker': dict(
        det_thr=('obj_score_thrs.high', 'init_track_thr'),
        low_thr=('obj_score_thrs.low',),
        match_thr=('match_iou_thrs.high',),
        max_gap=('num_frames_retain',),
    ),
    'OCSORTTracker': _BOX_TRACKER,
    # It matches only what it saw in the frame before.
    'SORTTracker': dict(det_thr=('obj_score_thr',), match_thr=('match_iou_thr',)),
    'DeepSORTTracker': _APPEARANCE_SORT,
    'OnlineStrongSORTTracker': _APPEARANCE_SORT,
    'FDTATracker': dict(
        det_thr=('det_thr',),
        new_thr=('newborn_thr',),
        match_thr=('id_thr',),
        max_gap=('miss_tolerance',),
    ),
    'MOTRTracker': dict(
        det_thr=('det_thr',),
        low_thr=('keep_thr',),
        new_thr=('newborn_thr',),
        max_gap=('miss_tolerance',),
    ),
    'IoUEmbeddingTracker': dict(
        det_thr=('score_thr',),
        new_thr=('newborn_thr',),
        match_thr=('match_thr',),
        max_gap=('miss_tolerance',),
    ),
    # Those of the package `trackers`.
    f'{_LIBRARY}:botsort': _BOTSORT,
    f'{_LIBRARY}:cbiou': _BOTSORT,
    f'{_LIBRARY}:mcbyte': _BOTSORT,
    f'{_LIBRARY}:bytetrack': {**_BOTSORT, 'match_thr': ('minimum_iou_threshold',)},
    f'{_LIBRARY}:ocsort': dict(
        det_thr=('high_conf_det_threshold',),
        match_thr=('minimum_iou_threshold',),
        max_gap=('lost_track_buffer',),
    ),
    f'{_LIBRARY}:sort': dict(
        det_thr=('score_thr',),
        new_thr=('track_activation_threshold',),
        match_thr=('minimum_iou_threshold',),
        max_gap=('lost_track_buffer',),
    ),
}
# The others end a track with the first frame after the gap.
_ENDS_WITH_THE_GAP = (
    'IoUEmbeddingTracker',
    *(kind for kind in TRACKERS if kind.startswith(_LIBRARY)),
)
_BEGIN_WITH_ALL = (
    'ByteTracker',
    'OCSORTTracker',
    'SORTTracker',
    'DeepSORTTracker',
    'OnlineStrongSORTTracker',
    f'{_LIBRARY}:ocsort',
)


def kind_of(tracker: Mapping) -> str:
    """Name the kind of a config's tracker, as `TRACKERS` and search spaces do."""
    kind = tracker.get('type')
    kind = kind.__name__ if isinstance(kind, type) else str(kind).rpartition('.')[2]
    return f'{kind}:{tracker.get("name")}' if kind == _LIBRARY else kind


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
            value = int(value) + (kind not in _ENDS_WITH_THE_GAP)
        options |= {f'{path}.{key}': value for key in keys}
    scores = [thresholds[name] for name in ('low_thr', 'det_thr') if name in thresholds]
    settings = (model.get('detector') or {}).get('test_cfg') or {}
    if scores and min(scores) < settings.get('score_thr', 0):
        # What the detector leaves out no tracker sees.
        options['model.detector.test_cfg.score_thr'] = min(scores)
    return options


def current_thresholds(model: Mapping) -> dict[str, float]:
    """Return the thresholds that a config's tracker has, as far as the config says."""
    tracker, _ = _tracker_of(model)
    kind = kind_of(tracker)
    found = {}
    for name, keys in TRACKERS.get(kind, {}).items():
        value: Any = tracker
        for part in keys[0].split('.'):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            lasts = name == 'max_gap' and kind not in _ENDS_WITH_THE_GAP
            found[name] = value - lasts
    return found


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
        if kind in _BEGIN_WITH_ALL
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
