# Copyright (c) mmfdta authors.
"""The same search of settings for each entry, on the val split."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from ..analysis.tune_thresholds import (
    Trial,
    search_random,
    search_settings,
    search_space,
    with_setting,
)
from ..detection_store import detects_apart
from ..evaluation_data import EvaluationData
from ..model_loading import load_tracker
from ..progress import Progress
from .entries import Entry, open_data

SUFFIX = ' (tuned)'
"""What the name of an entry with its best setting ends with."""


@dataclass(frozen=True)
class Tuning:
    """What the search for an entry gave.

    Attributes:
        published: The setting of its config, on val.
        best: The setting with the best HOTA on val; of equal ones the config's.
        trials: How many settings were tried, the config's included.
        entry: The entry with the best setting; None where that is the config's.
    """

    published: Trial
    best: Trial
    trials: int
    entry: Entry | None

    @property
    def changes(self) -> dict[str, Any]:
        """What the best setting has other than the config, by argument."""
        before = self.published.setting
        return {
            name: value
            for name, value in self.best.setting.items()
            if name not in before or before[name] != value
        }

    def describe(self) -> str:
        """Say in a line what was found."""
        tried = f'{self.trials} settings on val: HOTA '
        before, best = (t.scores['HOTA'] for t in (self.published, self.best))
        if self.entry is None:
            return f'{tried}{before:.1%}, published is best'
        return f'{tried}{before:.1%} published, {best:.1%} tuned'

    def as_dict(self) -> dict:
        """Return what is kept as JSON."""
        return dict(
            published=self.published.scores,
            tuned=self.best.scores,
            trials=self.trials,
            setting=self.changes,
        )


def check_tuning(entries: Sequence[Entry], reported: EvaluationData) -> dict[str, str]:
    """Say which entries cannot be tuned, and check the data of val for the others.

    Args:
        entries: All of them; their ``custom_imports`` are imported already.
        reported: The data that the benchmark scores.

    Returns:
        The reason, by the names of the entries.

    Raises:
        FileNotFoundError: If data of val are missing.
        ValueError: If entries do not see the same on val, or val is reported.
    """
    found = ((entry.name, _reason(entry)) for entry in entries)
    reasons = {name: reason for name, reason in found if reason is not None}
    tuned = [entry for entry in entries if entry.name not in reasons]
    if not tuned:
        listed = '; '.join(f'{name}: {reason}' for name, reason in reasons.items())
        raise ValueError(f'--tune: no entry has settings to search ({listed})')
    names = {entry.name for entry in entries}
    taken = {f'{entry.name}{SUFFIX}' for entry in tuned} & names
    if taken:
        raise ValueError(
            f'--tune: found an entry called {min(taken)!r}, which is the name of a '
            'row that --tune adds; give it another name'
        )
    try:
        val = open_data(tuned, 'val')
    except ValueError as error:
        raise ValueError(f'--tune searches on val: {error}') from None
    both = _images(val) & _images(reported)
    if both:
        raise ValueError(
            f'--tune: {val.describe()}, on which settings are chosen, and '
            f'{reported.describe()}, which is reported, share {len(both)} images; '
            'choose settings on another split (val_dataloader)'
        )
    return reasons


def _reason(entry: Entry) -> str | None:
    """Say why an entry cannot be tuned; None if it can."""
    if entry.config is None:
        return 'results that are there'
    kind = MODELS.get(entry.config.model.type)
    if kind is None or not detects_apart(kind):
        return f'{entry.config.model.type} does not detect and associate apart'
    if entry.checkpoint is None:
        return 'random weights'
    if not search_space(entry.config):
        return 'its tracker has no search space'
    return None


def _images(data: EvaluationData) -> set[Path]:
    return {
        Path(sequence.image_dir).absolute() / str(name)
        for sequence in data.sequences
        for name in sequence.image_names
    }


def tune_entry(
    entry: Entry,
    trials: int,
    seed: int,
    out: Path,
    detections: Path,
    machine: Mapping[str, Any],
) -> Tuning:
    """Search the settings of an entry on val, as ``mmfdta tune --search random`` does.

    Args:
        entry: One that can be tuned.
        trials: Settings that are tried, the config's included.
        seed: Seed of the draws.
        out: Folder of the search, which continues where it was.
        detections: Folder of the detection stores.
        machine: Device and threads.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If config, weights or data do not fit.
    """
    config = copy.deepcopy(entry.config)
    assert config is not None and entry.checkpoint is not None
    torch.set_num_threads(machine['threads'])
    model = load_tracker(config, entry.checkpoint, machine['device'])
    model.requires_grad_(False)
    with Progress(trials, unit='settings', title=entry.name) as bar:
        found = search_settings(
            model,
            EvaluationData.open(config, 'val'),
            config,
            search_space(config),
            partial(search_random, trials=trials, seed=seed),
            out,
            detections,
            on_trial=lambda trial: bar.update(),
        )
    published = found.trials[0]
    tuning = Tuning(published, found.best, len(found.trials), None)
    if not tuning.changes:
        return tuning
    config.model.tracker = ConfigDict(
        with_setting(model.tracker, config.model.tracker, tuning.changes)
    )
    tuned = replace(entry, name=f'{entry.name}{SUFFIX}', config=config)
    return replace(tuning, entry=tuned)
