# Copyright (c) mmfdta authors.
"""The entries of a benchmark: trackers with their weights, and results as text."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import Config

from ..config import find_config
from ..config_check import check_config, check_new_keys
from ..evaluation_data import EvaluationData

# NAME:CONFIG=CHECKPOINT; a drive letter of Windows is no name.
_WORD = re.compile(r'(?:(?P<name>[^:=/\\]{2,}):)?(?P<config>[^=]+)(?:=(?P<value>.+))?')
_KEYS = {'name', 'config', 'checkpoint', 'cfg_options'}


@dataclass(frozen=True)
class Entry:
    """What is compared: a tracker that runs, or results that are there.

    Attributes:
        name: Its name in tables.
        config: What runs; None for results.
        checkpoint: The weights; None runs random ones.
        results: Folder with ``<sequence>.txt`` of a tracker that ran elsewhere.
    """

    name: str
    config: Config | None = None
    checkpoint: Path | None = None
    results: Path | None = None

    @property
    def slug(self) -> str:
        """The name as the name of a folder."""
        kept = [c if c.isalnum() or c in '-_' else '_' for c in self.name.lower()]
        return ''.join(kept)


@dataclass(frozen=True)
class EntryList:
    """The entries, and what a benchmark config says of the data.

    Attributes:
        entries: In the order of the tables; their names are unique.
        data: ``val`` or ``test``, if a benchmark config says so.
        missing: What was left out, because a file of it is missing.
    """

    entries: list[Entry]
    data: str | None
    missing: list[str]


def read_entries(
    words: Iterable[str],
    checkpoint_dir: Path | None = None,
    cfg_options: dict | None = None,
    options_for: Mapping[str, dict] | None = None,
    random_weights: bool = False,
    skip_missing: bool = False,
) -> EntryList:
    """Read the entries that a command line names.

    Args:
        words: ``CONFIG``, ``CONFIG=CHECKPOINT``, ``NAME:CONFIG=CHECKPOINT``,
            ``NAME=FOLDER``, or a config with ``entries``.
        checkpoint_dir: Where the checkpoints of a benchmark config are, instead of
            its ``checkpoint_dir``.
        cfg_options: Settings to change in all configs.
        options_for: Settings to change in the config of single entries, by name.
        random_weights: Allow an entry without a checkpoint.
        skip_missing: Leave out entries of a benchmark config whose files are missing.

    Raises:
        FileNotFoundError: If a config, checkpoint or folder is missing.
        ValueError: If an entry cannot be understood.
    """
    reader = _Reader(cfg_options or {}, options_for or {}, random_weights)
    entries: list[Entry] = []
    missing: list[str] = []
    data = None
    for word in words:
        parts = _WORD.fullmatch(word)
        if parts is None:
            raise ValueError(
                f'found {word!r}, expected CONFIG=CHECKPOINT, NAME:CONFIG=CHECKPOINT '
                'or NAME=FOLDER'
            )
        name, path, value = parts['name'], parts['config'], parts['value']
        if value and name is None and Path(value).is_dir():
            entries.append(Entry(path, results=Path(value)))
            continue
        config = reader.read(path)
        if 'entries' not in config:
            checkpoint = Path(value) if value else None
            entry = reader.entry(name or Path(path).stem, config, checkpoint)
            entries.append(entry)
            continue
        data = config.get('data', data)
        folder = checkpoint_dir or Path(config.get('checkpoint_dir', '.'))
        for item in config.entries:
            try:
                entries.append(reader.listed(item, folder))
            except FileNotFoundError as error:
                if not skip_missing:
                    raise
                missing.append(str(error))
    if not entries:
        raise ValueError('there is nothing to compare: every entry is missing')
    reader.check_names(missing)
    return EntryList(_with_unique_names(entries), data, missing)


class _Reader:
    """Reads configs alike for all entries."""

    def __init__(
        self, cfg_options: dict, options_for: Mapping[str, dict], random_weights: bool
    ) -> None:
        self._cfg_options = cfg_options
        self._options_for = dict(options_for)
        self._used: set[str] = set()
        self._random_weights = random_weights

    def read(self, name: str) -> Config:
        config = Config.fromfile(find_config(name))
        if 'line_up' in config:
            raise ValueError(
                f'{config.filename}: found line_up, which is called entries since 0.2'
            )
        return config

    def listed(self, item: dict, folder: Path) -> Entry:
        """Read an entry of a benchmark config."""
        keys = set(item)
        if keys == {'name', 'results'}:
            return Entry(item['name'], results=_find_results(item, folder))
        if not {'name', 'config'} <= keys <= _KEYS:
            raise ValueError(
                f'entries: found an entry with {sorted(keys)}, expected name, config '
                'and, if it has some, checkpoint and cfg_options; or name and results'
            )
        checkpoint = item.get('checkpoint')
        path = None if checkpoint is None else folder / checkpoint
        config = self.read(item['config'])
        return self.entry(item['name'], config, path, item.get('cfg_options'))

    def entry(
        self,
        name: str,
        config: Config,
        checkpoint: Path | None,
        cfg_options: dict | None = None,
    ) -> Entry:
        """Check an entry and apply what is to be changed, for it alone at last."""
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
        config.merge_from_dict(self._cfg_options)
        self._used.add(name)
        for options in (cfg_options, self._options_for.get(name)):
            if options:
                check_new_keys(config, options)
                config.merge_from_dict(dict(options))
                try:
                    check_config(config)
                except ValueError as error:
                    raise ValueError(f'{name}: {error}') from None
        return Entry(name, config, checkpoint)

    def check_names(self, missing: list[str]) -> None:
        """Refuse options for an entry that is not there."""
        unknown = set(self._options_for) - self._used
        if unknown and not missing:
            raise ValueError(
                f'--cfg-options-for: found {sorted(unknown)[0]!r}, expected one of '
                f'{sorted(self._used)}'
            )


def _find_results(item: dict, parent: Path) -> Path:
    """Find a folder of result text, here or beside the checkpoints."""
    for folder in (Path(item['results']), parent / item['results']):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f'{item["name"]}: there is no folder of results {item["results"]}'
    )


def _with_unique_names(entries: list[Entry]) -> list[Entry]:
    """Tell the checkpoints of one config apart.

    Raises:
        ValueError: If two entries cannot be told apart.
    """
    counts = collections.Counter(entry.name for entry in entries)
    named = [
        replace(entry, name=f'{entry.name} ({entry.checkpoint.stem})')
        if counts[entry.name] > 1 and entry.checkpoint
        else entry
        for entry in entries
    ]
    slugs = collections.Counter(entry.slug for entry in named)
    for entry in named:
        if slugs[entry.slug] > 1:
            raise ValueError(
                f'two entries are called {entry.name!r}; give them names of their '
                'own: NAME:CONFIG=CHECKPOINT'
            )
    return named


def open_data(entries: Sequence[Entry], data: str) -> EvaluationData:
    """Open the data, and check that all entries see the same.

    Args:
        entries: All of them.
        data: ``val`` or ``test``.

    Returns:
        The data of the first tracker.

    Raises:
        FileNotFoundError: If data or results are missing.
        ValueError: If entries read different data or there is no ground truth.
    """
    running = [entry for entry in entries if entry.config is not None]
    if not running:
        raise ValueError(
            'only folders of results are named, so nothing says what the data are; '
            'name a config, or use mmfdta evaluate'
        )
    opened = []
    for entry in running:
        try:
            opened.append(EvaluationData.open(entry.config, data))
        except ValueError as error:
            raise ValueError(f'{entry.name}: {error}') from None
    first = opened[0]
    for entry, other in zip(running, opened, strict=True):
        if (other.images, other.benchmark) != (first.images, first.benchmark):
            raise ValueError(
                f'{entry.name} reads {other.describe()}, but {running[0].name} '
                f'reads {first.describe()}; trackers are compared on the same '
                'images only'
            )
    for entry in entries:
        if entry.results is not None:
            _check_results(entry.name, entry.results, first.names)
    if not first.truths:
        raise ValueError(f'{first.describe()}: there are no sequences')
    return first


def _check_results(entry: str, folder: Path, names: list[str]) -> None:
    missing = [name for name in names if not (folder / f'{name}.txt').is_file()]
    if missing:
        raise FileNotFoundError(
            f'{entry}: {folder} lacks the results of {len(missing)} of '
            f'{len(names)} sequences, the first is {missing[0]}.txt'
        )
