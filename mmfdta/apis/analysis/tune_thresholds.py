# Copyright (c) mmfdta authors.
"""Search the settings of a tracker; the detector runs once."""

import hashlib
import inspect
import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from torch import nn

from mmfdta.evaluation import summarise
from mmfdta.evaluation.records import make_record
from mmfdta.models.trackers.kinds import kind_of
from mmfdta.structures.tables import markdown_table
from mmfdta.structures.tracks import Tracks
from mmfdta.structures.whole_files import write_text

from ..config import find_config
from ..detection_store import (
    DetectionStore,
    SequenceDetections,
    detection_fingerprint,
)
from ..evaluation_data import EvaluationData
from ..fingerprints import (
    code_digest,
    config_code_digest,
    digest,
    weights_digest,
)
from ..progress import Progress
from ..sequence_loop import SequenceLoop, lowest_used_score

SEARCH_SPACES = '_base_/search_spaces'
"""The config that says what is tried of each class of trackers."""
_SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1')
# Arguments of a tracker that another one is around.
_INNER = 'tracker.'


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


@dataclass(frozen=True)
class Resumed:
    """The trials of a search that was interrupted.

    Attributes:
        path: File of the trials.
        fingerprint: What decides about them; those of another one do not count.
    """

    path: Path
    fingerprint: str

    def read(self) -> list[Trial]:
        """Return the trials that are there, in order."""
        try:
            content = json.loads(self.path.read_text(encoding='utf-8'))
            if content['fingerprint'] != self.fingerprint:
                return []
            return [Trial(**trial) for trial in content['trials']]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def write(self, trials: Iterable[Trial]) -> None:
        """Keep trials, instead of what was there.

        Raises:
            OSError: If they cannot be written.
        """
        rows = [asdict(trial) for trial in trials]
        content = dict(fingerprint=self.fingerprint, trials=rows)
        write_text(self.path, json.dumps(content, indent=1) + '\n')


class Tuner:
    """Tracks the same detections again and again.

    Args:
        loop: A tracker that detects and associates apart, on its data.
        detections: What its detector found in each sequence.
        data: The same data, to score with.
        tracker_cfg: Config of the tracker.
        report: Called after each trial.
        known: Trials of an earlier search, which are not made again.

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
        known: Iterable[Trial] = (),
    ) -> None:
        self._loop = loop
        self._detections = detections
        self._data = data
        self._tracker_cfg = tracker_cfg
        self._report = report
        self._earlier = {_key(trial.setting): trial for trial in known}
        self._known: dict[str, Trial] = {}

    @property
    def trials(self) -> list[Trial]:
        """What was tried, in order."""
        return list(self._known.values())

    @property
    def trials_to_keep(self) -> list[Trial]:
        """What was tried, and what earlier searches had."""
        return list((self._known | self._earlier).values())

    def try_setting(self, setting: Mapping[str, Any]) -> Trial:
        """Track and score everything with a setting; the same one only once.

        Args:
            setting: Arguments of the tracker that replace those of its config.
        """
        key = _key(setting)
        if key not in self._known:
            self._known[key] = self._earlier.get(key) or self._make(setting)
            self._report(self._known[key])
        return self._known[key]

    def _make(self, setting: Mapping[str, Any]) -> Trial:
        start = time.perf_counter()
        tracker = self._build(setting)  # of all sequences, as in a test
        tracks = [
            track_known(self._loop, i, known, self._data, tracker)
            for i, known in enumerate(self._detections)
        ]
        scores = summarise(self._data.score(tracks).over_classes())
        chosen = {name: float(scores[name]) for name in (*_SCORES, 'IDSW')}
        return Trial(dict(setting), chosen, time.perf_counter() - start)

    def _build(self, setting: Mapping[str, Any]) -> Any:
        return build_tracker(self._loop.model.tracker, self._tracker_cfg, setting)

    def track(self, index: int, setting: Mapping[str, Any]) -> Tracks:
        """Track a sequence alone; return the tracks as they stand in result text.

        Args:
            index: Index of the sequence.
            setting: See :meth:`try_setting`.
        """
        known = self._detections[index]
        tracker = self._build(setting)
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


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def build_tracker(present: Any, tracker_cfg: Mapping, setting: Mapping) -> Any:
    """Build a tracker like a model's, except for a setting.

    Args:
        present: The model's tracker.
        tracker_cfg: Its config.
        setting: Arguments that replace those of the config; ``name.key`` reaches into
            an argument that is a dictionary, and ``tracker.name`` into a tracker that
            this one is around.

    Raises:
        ValueError: If the tracker takes no such argument, or refuses a value.
    """
    changed = _with_told(present, with_setting(present, tracker_cfg, setting))
    return MODELS.build(Config(dict(tracker=changed)).tracker)


def with_setting(
    present: Any, tracker_cfg: Mapping, setting: Mapping, place: str = 'model.tracker'
) -> dict[str, Any]:
    """Return a tracker's config with a setting.

    Args:
        present: The tracker.
        tracker_cfg: Its config, which is not changed.
        setting: See :func:`build_tracker`. Of a dictionary that the config leaves to
            the tracker, the other keys are the tracker's.
        place: Where the config stands, for errors.

    Raises:
        ValueError: If the tracker takes no such argument.
    """
    takes = inspect.signature(type(present).__init__).parameters
    unknown = sorted({name.partition('.')[0] for name in setting} - set(takes))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        raise ValueError(
            f'{place}: {type(present).__name__} takes no {unknown[0]!r}; it '
            f'takes {", ".join(list(takes)[1:])}'
        )
    config = dict(tracker_cfg)
    own, inner = _split_setting(setting, tracker_cfg)
    if inner is not None:
        config['tracker'] = with_setting(
            present.tracker, tracker_cfg['tracker'], inner, f'{place}.tracker'
        )
    for name, value in own.items():
        argument, _, key = name.partition('.')
        if key:
            parts = _present_value(present, config, argument)
            if not isinstance(parts, Mapping) or key not in parts:
                known = list(parts) if isinstance(parts, Mapping) else parts
                raise ValueError(f'{name}: found {key!r}, expected one of {known}')
            config[argument] = {**parts, key: value}
        else:
            config[argument] = value
    return config


def _with_told(present: Any, tracker_cfg: Mapping) -> dict[str, Any]:
    """Add to a tracker's config what its model has told it, which no config repeats."""
    takes = inspect.signature(type(present).__init__).parameters
    told = {name: vars(present).get(name) for name in takes if name != 'self'}
    told = {k: v for k, v in told.items() if isinstance(v, int | float | str)}
    config = {**told, **tracker_cfg}
    if isinstance(tracker_cfg.get('tracker'), Mapping):
        config['tracker'] = _with_told(present.tracker, tracker_cfg['tracker'])
    return config


def _split_setting(
    setting: Mapping[str, Any], tracker_cfg: Mapping
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Divide arguments into those of a tracker, and of one that it is around.

    Returns:
        Both by name; None for the second where it is around none.
    """
    if not isinstance(tracker_cfg.get('tracker'), Mapping):
        return dict(setting), None
    inner = {n[len(_INNER) :]: v for n, v in setting.items() if n.startswith(_INNER)}
    own = {name: v for name, v in setting.items() if not name.startswith(_INNER)}
    return own, inner


def present_setting(
    present: Any, tracker_cfg: Mapping, names: Iterable[str]
) -> dict[str, Any]:
    """Return the values that arguments of a tracker have now.

    Args:
        present: The tracker.
        tracker_cfg: Its config.
        names: The arguments, as :func:`build_tracker` takes them. One that neither
            the config nor the tracker tells is left out.
    """
    found = {}
    for name in names:
        argument, _, key = name.partition('.')
        if name.startswith(_INNER) and isinstance(tracker_cfg.get('tracker'), Mapping):
            inside = present_setting(present.tracker, tracker_cfg['tracker'], [key])
            value = inside.get(key)
        else:
            value = _present_value(present, tracker_cfg, argument)
            if key:
                value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            found[name] = value
    return found


def _present_value(present: Any, tracker_cfg: Mapping, argument: str) -> Any:
    if argument in tracker_cfg:
        return tracker_cfg[argument]
    return getattr(present, argument, None)


def search_space(config: Config) -> dict[str, list]:
    """Return what a search tries of a config's tracker.

    Args:
        config: The config; its ``search`` comes before the project's own.

    Returns:
        Values by argument, as :func:`build_tracker` takes them; empty for a tracker
        that has no space. A tracker around another has both spaces.

    Raises:
        ValueError: If ``search`` of the config is no space.
    """
    space = config.get('search')
    if space is None:
        spaces = Config.fromfile(find_config(SEARCH_SPACES)).search_spaces
        tracker, prefix = config.model.get('tracker'), ''
        found: dict[str, list] = {}
        while isinstance(tracker, Mapping):
            own = ConfigDict(spaces.get(kind_of(tracker), {})).to_dict()
            found |= {f'{prefix}{name}': values for name, values in own.items()}
            tracker, prefix = tracker.get('tracker'), f'{prefix}{_INNER}'
        return found
    if not isinstance(space, Mapping) or not space:
        raise ValueError(f'search: found {space!r}, expected values by argument')
    for name, values in space.items():
        if not isinstance(values, list | tuple) or not values:
            raise ValueError(f'search.{name}: found {values!r}, expected a list')
    return {name: list(values) for name, values in space.items()}


def search_fingerprint(
    model: nn.Module, data: EvaluationData, config: Config, lowest_score: float
) -> str:
    """Name what decides about the trials of a search.

    Args:
        model: A tracker that detects and associates apart, with its weights.
        data: What is tracked and scored.
        config: The model's config.
        lowest_score: Detections above it are handed on.

    Returns:
        16 hexadecimal digits of detections, weights, settings, ground truth and code.
    """
    truths = hashlib.sha256()
    for truth in data.truths:
        columns = truth.frame, truth.identity, truth.xywh, truth.score, truth.label
        for column in columns:
            truths.update(np.ascontiguousarray(column).tobytes())
    return digest(
        detection_fingerprint(model, data.dataset),
        weights_digest(model),
        list(data.sources(config.model).values()),
        truths.hexdigest(),
        [data.benchmark, data.class_aware, data.classes.names, data.classes.numbers],
        config.model,
        lowest_score,
        config_code_digest(config),
        code_digest((), ['evaluation']),
    )


@dataclass(frozen=True)
class Search:
    """What a search gave.

    Attributes:
        best: The trial with the best HOTA, the first of equal ones.
        trials: What was tried, in order.
        start: The setting that the config has.
    """

    best: Trial
    trials: list[Trial]
    start: dict[str, Any]


def search_settings(
    model: nn.Module,
    data: EvaluationData,
    config: Config,
    choices: Mapping[str, Sequence],
    search: Callable[[Tuner, Mapping[str, Sequence], dict[str, Any]], Trial],
    out: Path,
    detections: Path,
    batch_size: int = 1,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> Search:
    """Search settings of a model's tracker; the detector runs where it has not yet.

    A folder has the trials so far: an interrupted search loses nothing, and the same
    one goes on.

    Args:
        model: A tracker that detects and associates apart, with its weights.
        data: What is tracked and scored.
        config: The model's config.
        choices: Values of each argument of the tracker.
        search: Takes a tuner, the choices and the setting of the config, tries
            settings and returns the best trial.
        out: Gets ``thresholds.{json,md}`` and ``trials.json``.
        detections: Folder of the detection stores.
        batch_size: Frames that the detector takes at a time.
        on_trial: Called after each trial.

    Raises:
        OSError: If an image cannot be read, or a file not be written.
        ValueError: If the tracker refuses a value, or there is no ground truth.
    """
    tracker, tracker_cfg = model.tracker, config.model.tracker
    # Some searches start with the setting of the config, which may be no choice.
    changes = [{n: value} for n, values in choices.items() for value in values]
    lowest = min(
        lowest_used_score(build_tracker(tracker, tracker_cfg, change))
        for change in ({}, *changes)
    )
    store = DetectionStore(detections, model, data.dataset)
    loop = SequenceLoop(model, data.dataset, store, lowest, batch_size)
    with Progress(sum(map(len, data.sequences))) as bar:
        found = loop.detect_all(bar.update)
    facts = search_fingerprint(model, data, config, lowest)
    resumed = Resumed(out / 'trials.json', facts)

    def keep(trial: Trial) -> None:
        rows = [known.as_dict() for known in tuner.trials]
        write_text(out / 'thresholds.json', json.dumps(rows, indent=1) + '\n')
        write_text(out / 'thresholds.md', format_trials(tuner.trials))
        resumed.write(tuner.trials_to_keep)
        on_trial(trial)

    tuner = Tuner(loop, found, data, tracker_cfg, keep, resumed.read())
    start = present_setting(tracker, tracker_cfg, choices)
    return Search(search(tuner, choices, start), tuner.trials, start)


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
    tuner: Tuner,
    choices: Mapping[str, Iterable],
    start: Mapping[str, Any],
    trials: int | None = None,
) -> Trial:
    """Change one thing at a time, keep the best HOTA, until nothing helps.

    Args:
        tuner: Tries settings.
        choices: Values of each argument of the tracker.
        start: Where to start.
        trials: How many are made at most, the start included; None: no limit.

    Returns:
        The trial with the best HOTA.
    """
    best, before = tuner.try_setting(start), None
    while best is not before:
        before = best
        for name, values in choices.items():
            # The best one comes first: an equal one is no better.
            found = [best]
            for value in values:
                if trials is not None and len(tuner.trials) >= trials:
                    return best_of(found)
                found.append(tuner.try_setting({**best.setting, name: value}))
            best = best_of(found)
    return best


def search_random(
    tuner: Tuner,
    choices: Mapping[str, Sequence],
    start: Mapping[str, Any],
    trials: int,
    seed: int = 0,
) -> Trial:
    """Try drawn combinations: each value as likely as another, none of them twice.

    More trials with the same seed begin with the same ones.

    Args:
        tuner: Tries settings.
        choices: Values of each argument of the tracker; one that is named twice
            counts once.
        start: What is tried first.
        trials: How many are made, the start included; fewer if there are no more
            combinations.
        seed: Of the draws.

    Returns:
        The trial with the best HOTA, the first of equal ones.
    """
    draw = random.Random(seed)
    found = [tuner.try_setting(start)]
    drawn = {_key(start)}
    choices = {
        name: list({_key(value): value for value in values}.values())
        for name, values in choices.items()
    }
    inside = all(
        _key(start.get(name)) in map(_key, values) for name, values in choices.items()
    )
    combinations = math.prod(map(len, choices.values()))
    trials = min(trials, combinations + (not inside))
    while len(found) < trials:
        setting = {name: draw.choice(values) for name, values in choices.items()}
        if _key(setting) not in drawn:
            drawn.add(_key(setting))
            found.append(tuner.try_setting(setting))
    return best_of(found)


def best_of(trials: Iterable[Trial]) -> Trial:
    """Return the trial with the best HOTA, the first of equal ones."""
    return max(trials, key=lambda trial: trial.scores['HOTA'])


def format_trials(trials: Iterable[Trial]) -> str:
    """Write trials as a Markdown table, the best HOTA first.

    Args:
        trials: What was tried; an argument that a setting lacks is as in the config.

    Returns:
        The table; scores in percent.
    """
    ordered = sorted(trials, key=lambda trial: -trial.scores['HOTA'])
    names = list(dict.fromkeys(name for trial in ordered for name in trial.setting))
    rows = []
    for trial in ordered:
        values = [trial.setting.get(name, '') for name in names]
        rows.append(
            (
                *(f'{v:g}' if isinstance(v, float) else str(v) for v in values),
                *(f'{100 * trial.scores[name]:.2f}' for name in _SCORES),
                f'{trial.seconds:.1f}',
            )
        )
    return markdown_table((*names, *_SCORES, 'seconds'), rows)
