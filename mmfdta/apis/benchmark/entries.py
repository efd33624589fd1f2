# Copyright (c) mmfdta authors.
"""The entries of a benchmark: trackers with their weights, and results as text."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import Config

from mmfdta.checkpoints import PUBLISHED

from ..config import find_config
from ..config_check import check_config, check_new_keys
from ..evaluation_data import EvaluationData
from ..fingerprints import file_digest
from ..model_loading import part_checkpoints
from ..weights import find_checkpoint

# NAME:CONFIG=CHECKPOINT; a drive letter of Windows is no name.
_WORD = re.compile(r'(?:(?P<name>[^:=/\\]{2,}):)?(?P<config>[^=]+)(?:=(?P<value>.+))?')
_KEYS = {'name', 'config', 'checkpoint', 'detector_checkpoint', 'cfg_options'}


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

    @property
    def weights(self) -> dict[str, str]:
        """SHA-256 of the files of weights, by part of the model; `model` is the rest.

        Raises:
            OSError: If one cannot be read.
        """
        if self.config is None:
            return {}
        files = {} if self.checkpoint is None else dict(model=self.checkpoint)
        for name, place in part_checkpoints(self.config).items():
            files[name] = find_checkpoint(place)
        return {name: file_digest(path) for name, path in files.items()}

    @property
    def config_name(self) -> str | None:
        """Name of the config's file; None for results, or without a file."""
        filename = None if self.config is None else self.config.filename
        return filename and Path(filename).stem


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
            ``NAME=FOLDER``, or a config with ``entries``. A checkpoint that stands in
            no folder may be the name or address of published weights; the default is
            the config's own.
        checkpoint_dir: Where the checkpoints of a benchmark config are, instead of
            its ``checkpoint_dir``.
        cfg_options: Settings to change in all configs.
        options_for: Settings to change in the config of single entries, by name.
        random_weights: Allow an entry without a checkpoint.
        skip_missing: Leave out entries of a benchmark config whose files are missing.

    Raises:
        FileNotFoundError: If a config, checkpoint or folder is missing.
        DownloadError: If published weights cannot be fetched.
        ValueError: If an entry cannot be understood.
    """
    items: list[dict] = []
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
            items.append(dict(name=path, results=Path(value)))
            continue
        config = _read(path)
        if 'entries' in config:
            data = config.get('data', data)
            folder = checkpoint_dir or Path(config.get('checkpoint_dir', '.'))
            items += [
                _check_listed(item) | dict(folder=folder) for item in config.entries
            ]
        else:
            items.append(
                dict(name=name or Path(path).stem, config=config, checkpoint=value)
            )
    entries: list[Entry] = []
    missing: list[str] = []
    for item in items:
        changes = [cfg_options or {}, item.get('cfg_options') or {}]
        changes.append((options_for or {}).get(item['name'], {}))
        try:
            entries.append(_open_entry(item, changes, random_weights))
        except FileNotFoundError as error:
            if not (skip_missing and 'folder' in item):
                raise
            missing.append(str(error))
    if not entries:
        raise ValueError('there is nothing to compare: every entry is missing')
    names = {item['name'] for item in items if 'results' not in item}
    unknown = sorted(set(options_for or {}) - names)
    if unknown:
        raise ValueError(
            f'--cfg-options-for: found {unknown[0]!r}, expected one of {sorted(names)}'
        )
    return EntryList(_with_unique_names(entries), data, missing)


def _read(name: str) -> Config:
    config = Config.fromfile(find_config(name))
    if 'line_up' in config:
        raise ValueError(
            f'{config.filename}: found line_up, which is called entries since 0.2'
        )
    return config


def _check_listed(item: dict) -> dict:
    """Check the keys of an entry of a benchmark config; return a copy."""
    keys = set(item)
    if keys != {'name', 'results'} and not {'name', 'config'} <= keys <= _KEYS:
        raise ValueError(
            f'entries: found an entry with {sorted(keys)}, expected name, config '
            'and, if it has some, checkpoint, detector_checkpoint and cfg_options; or '
            'name and results'
        )
    return dict(item)


def _open_entry(item: dict, changes: list[dict], random_weights: bool) -> Entry:
    """Find what an entry names, and apply what is to be changed in its config.

    Args:
        item: As in a benchmark config; there with ``folder``, of the checkpoints.
        changes: In all configs, then in this one by its benchmark config and by the
            command line, which has the last word.
        random_weights: Allow to have no checkpoint.
    """
    name, folder = item['name'], item.get('folder', Path())
    if 'results' in item:
        for results in (Path(item['results']), folder / item['results']):
            if results.is_dir():
                return Entry(name, results=results)
        raise FileNotFoundError(
            f'{name}: there is no folder of results {item["results"]}'
        )
    config, checkpoint = item['config'], item.get('checkpoint')
    if isinstance(config, str):
        config = _read(config)
    if checkpoint is None and not random_weights:
        checkpoint, folder = config.get('checkpoint'), Path()
    if checkpoint is None and not random_weights:
        raise ValueError(
            f'{name}: no checkpoint is named, and an untrained model tracks '
            'nothing. Write CONFIG=CHECKPOINT, or allow random weights with '
            '--allow-random-weights'
        )
    if checkpoint is not None:
        checkpoint = _find_weights(name, folder, checkpoint)
    check_new_keys(config, changes[0])
    config.merge_from_dict(changes[0])
    detector = item.get('detector_checkpoint')
    if detector is not None:
        if 'detector_checkpoint' not in config:
            raise ValueError(
                f'{name}: found detector_checkpoint, but its config '
                f'{Path(config.filename or "").name} has none, so its detector is in '
                'checkpoint; leave it out'
            )
        config.detector_checkpoint = str(_find_weights(name, item['folder'], detector))
    for options in filter(None, changes[1:]):
        check_new_keys(config, options)
        config.merge_from_dict(dict(options))
        try:
            check_config(config)
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from None
    return Entry(name, config, checkpoint)


def _find_weights(name: str, folder: Path, checkpoint: str) -> Path:
    """Find an entry's checkpoint in its folder, or as published weights."""
    path = folder / checkpoint
    if path.is_file():
        return path
    if checkpoint in PUBLISHED or '://' in checkpoint:
        return find_checkpoint(checkpoint)
    raise FileNotFoundError(
        f'{name}: there is no checkpoint {path}; train it, convert a '
        'released one (docs/checkpoints.md), or name another folder with '
        '--checkpoint-dir'
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
                f'two entries are called {entry.name!r}; give each its own '
                'name: NAME:CONFIG=CHECKPOINT'
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
        folder = entry.results
        if folder is None:
            continue
        lacking = [n for n in first.names if not (folder / f'{n}.txt').is_file()]
        if lacking:
            raise FileNotFoundError(
                f'{entry.name}: {folder} has no results of {len(lacking)} of '
                f'{len(first.names)} sequences, the first is {lacking[0]}.txt'
            )
    if not first.truths:
        raise ValueError(f'{first.describe()}: there are no sequences')
    return first
