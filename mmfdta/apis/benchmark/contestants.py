# Copyright (c) mmfdta authors.
"""Who takes part in a benchmark."""

import collections
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import Config

from ..config import find_config


@dataclass(frozen=True)
class Contestant:
    """Who takes part: a tracker, or the result text of one.

    Attributes:
        name (str): Its name in tables.
    """

    name: str

    @property
    def slug(self) -> str:
        """str: The name as the name of a folder."""
        kept = [c if c.isalnum() or c in '-_' else '_' for c in self.name.lower()]
        return ''.join(kept)


@dataclass(frozen=True)
class Tracker(Contestant):
    """A contestant that runs.

    Attributes:
        config (Config): What runs.
        checkpoint (Path | None): Its weights; None runs random ones.
    """

    config: Config
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Results(Contestant):
    """A contestant that has run elsewhere.

    Attributes:
        folder (Path): Has ``<sequence>.txt``.
    """

    folder: Path


@dataclass(frozen=True)
class LineUp:
    """The contestants and what the line-up's file says of the data.

    Attributes:
        contestants (list[Contestant]): In the order of the tables.
        data (str | None): ``val`` or ``test``, if the file says so.
        missing (list[str]): Those left out because a file of theirs is missing.
    """

    contestants: list[Contestant]
    data: str | None
    missing: list[str]


def read_line_up(
    words: Iterable[str],
    checkpoint_dir: Path | None = None,
    cfg_options: dict | None = None,
    random_weights: bool = False,
    skip_missing: bool = False,
) -> LineUp:
    """Read the contestants that the command line names.

    Args:
        words (Iterable[str]): ``CONFIG``, ``CONFIG=CHECKPOINT``, ``NAME=FOLDER``,
            or a config with a ``line_up``.
        checkpoint_dir (Path | None): Where the checkpoints of a line-up are,
            instead of its ``checkpoint_dir``.
        cfg_options (dict | None): Settings to change in all configs.
        random_weights (bool): Allow a config without a checkpoint.
        skip_missing (bool): Leave out contestants of a line-up whose files are
            missing.

    Returns:
        LineUp: The contestants; names are unique.

    Raises:
        FileNotFoundError: If a config, checkpoint or folder is missing.
        ValueError: If a contestant cannot be understood.
    """
    reader = _Reader(cfg_options or {}, random_weights)
    contestants: list[Contestant] = []
    missing: list[str] = []
    data = None
    for word in words:
        name, separator, value = word.partition('=')
        if separator and Path(value).is_dir():
            contestants.append(Results(name, Path(value)))
            continue
        config = reader.read(name)
        if 'line_up' not in config:
            checkpoint = Path(value) if separator else None
            contestants.append(reader.tracker(Path(name).stem, config, checkpoint))
            continue
        data = config.get('data', data)
        folder = checkpoint_dir or Path(config.get('checkpoint_dir', '.'))
        for entry in config.line_up:
            try:
                contestants.append(reader.entry(entry, folder))
            except FileNotFoundError as error:
                if not skip_missing:
                    raise
                missing.append(str(error))
    if not contestants:
        raise ValueError('there is nobody to compare: every contestant is missing')
    return LineUp(_with_unique_names(contestants), data, missing)


class _Reader:
    """Reads configs once for all contestants."""

    def __init__(self, cfg_options: dict, random_weights: bool) -> None:
        self._cfg_options = cfg_options
        self._random_weights = random_weights

    def read(self, name: str) -> Config:
        config = Config.fromfile(find_config(name))
        if 'line_up' not in config:
            config.merge_from_dict(self._cfg_options)
        return config

    def entry(self, entry: dict, folder: Path) -> Contestant:
        """Read a contestant of a line-up."""
        keys = set(entry)
        if keys == {'name', 'results'}:
            return Results(entry['name'], _find_results(entry, folder))
        if not {'name', 'config'} <= keys <= {'name', 'config', 'checkpoint'}:
            raise ValueError(
                f'line_up: found an entry with {sorted(keys)}, expected name, config '
                'and checkpoint, or name and results'
            )
        checkpoint = entry.get('checkpoint')
        path = None if checkpoint is None else folder / checkpoint
        return self.tracker(entry['name'], self.read(entry['config']), path)

    def tracker(self, name: str, config: Config, checkpoint: Path | None) -> Tracker:
        if checkpoint is None and not self._random_weights:
            raise ValueError(
                f'{name}: no checkpoint is named, and an untrained model tracks '
                'nothing. Write CONFIG=CHECKPOINT, or allow random weights with '
                '--allow-random-weights'
            )
        if checkpoint is not None and not checkpoint.is_file():
            raise FileNotFoundError(
                f'{name}: there is no checkpoint {checkpoint}; train it, convert a '
                'released one (docs/checkpoints.md), or name another folder with '
                '--checkpoint-dir'
            )
        return Tracker(name, config, checkpoint)


def _find_results(entry: dict, parent: Path) -> Path:
    """Find the folder of a line-up's result text, here or beside the checkpoints."""
    for folder in (Path(entry['results']), parent / entry['results']):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f'{entry["name"]}: there is no folder of results {entry["results"]}'
    )


def _with_unique_names(contestants: list[Contestant]) -> list[Contestant]:
    """Tell the checkpoints of one config apart.

    Raises:
        ValueError: If two contestants cannot be told apart.
    """
    counts = collections.Counter(c.name for c in contestants)
    named = [
        replace(c, name=f'{c.name} ({c.checkpoint.stem})')
        if counts[c.name] > 1 and isinstance(c, Tracker) and c.checkpoint
        else c
        for c in contestants
    ]
    slugs = collections.Counter(c.slug for c in named)
    for contestant in named:
        if slugs[contestant.slug] > 1:
            raise ValueError(
                f'two contestants are called {contestant.name!r}; give them names of '
                'their own in a line-up (docs/benchmark.md)'
            )
    return named
