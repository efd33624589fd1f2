# Copyright (c) mmfdta authors.
"""From what a user names to a file of weights: a path, an address or a short name.

`mmfdta weights` lists the names. What is fetched stays where PyTorch and MMEngine keep
theirs, ``torch.hub.get_dir()/checkpoints``.
"""

import difflib
import hashlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mmfdta.checkpoints.published import (
    PUBLISHED,
    SPLITS,
    TOLERANCE,
    PublishedScores,
    PublishedWeights,
)
from mmfdta.structures.benchmarks import BENCHMARKS
from mmfdta.structures.whole_files import open_whole
from mmfdta.utils.addresses import local_path

from .downloads import DownloadError, Wanted, check_file, download, is_current
from .progress import say_bytes

PACKAGE = Path(__file__).resolve().parents[1]
# Replaces scheme and host of the addresses of published weights.
MIRROR = 'MMFDTA_MIRROR'
# Digits of the SHA-256 that publishers put before the suffix of a file.
_HASH = re.compile(r'-([0-9a-f]{8,64})\.\w+$')


def find_checkpoint(
    text: str | os.PathLike | None,
    config: Mapping | None = None,
    progress: bool = True,
) -> Path:
    """Find the file of weights that a user means; fetch it if it is not here yet.

    Args:
        text: A path, an address, or a name of `PUBLISHED`; a file of that name comes
            first. None takes the config's key ``checkpoint``.
        config: What the weights are for.
        progress: Show on standard error what is fetched and how far it is.

    Returns:
        A file. That it is whole is checked where digits of its hash are known.

    Raises:
        ValueError: If nothing is named.
        FileNotFoundError: If there is neither such a file nor such a name, or only a
            browser gets it.
        DownloadError: If it cannot be fetched, or another file is in its place.
    """
    if text is None:
        text = (config or {}).get('checkpoint')
    if not text:
        raise ValueError('no checkpoint is named')
    text = str(text)
    local = local_path(text)
    if local is None:
        return _find_address(text, progress)
    path = Path(local)
    if path.is_file():
        return path
    if text in PUBLISHED:
        return fetch_published(PUBLISHED[text], progress=progress)
    if path.exists():
        return path  # whoever reads it says what it is
    close = similar_names(text)
    hint = f', did you mean {close[0]}?' if close else ''
    if not path.suffix and path.name == text:
        hint = hint or '; mmfdta weights lists the names of published weights'
    raise FileNotFoundError(f'there is no checkpoint {text}{hint}')


def cache_folder() -> Path:
    """Where fetched weights are: that of PyTorch and MMEngine.

    It loads no PyTorch; the rule is that of ``torch.hub.get_dir``.
    """
    if 'torch' in sys.modules:
        import torch

        return Path(torch.hub.get_dir(), 'checkpoints')
    cache = os.environ.get('XDG_CACHE_HOME', '~/.cache')
    home = os.environ.get('TORCH_HOME', os.path.join(cache, 'torch'))
    return Path(home).expanduser() / 'hub' / 'checkpoints'


def place_of(weights: PublishedWeights, folder: Path | None = None) -> Path:
    """Where the file of published weights is, or belongs.

    Args:
        weights: Which.
        folder: Of fetched files; None takes the `cache_folder`, or the package for what
            comes with it.
    """
    if weights.part_of_package and folder is None:
        return PACKAGE / weights.part_of_package
    return (folder or cache_folder()) / weights.file


def address_of(weights: PublishedWeights) -> str | None:
    """Where a file is fetched from, the mirror of ``MMFDTA_MIRROR`` considered.

    Raises:
        ValueError: If the mirror is no address.
    """
    mirror = os.environ.get(MIRROR)
    if not weights.address or not mirror:
        return weights.address
    if not re.match(r'https?://[^/]', mirror):
        raise ValueError(
            f'{MIRROR}: found {mirror!r}, expected an address such as '
            'https://mirror.example'
        )
    return mirror.rstrip('/') + urlsplit(weights.address).path


def find_published(name: str) -> PublishedWeights:
    """Find published weights by their name.

    Raises:
        ValueError: If there are none; the message names similar ones, or all.
    """
    if name in PUBLISHED:
        return PUBLISHED[name]
    close = similar_names(name) or list(PUBLISHED)
    raise ValueError(
        f'there are no published weights {name!r}; expected one of {", ".join(close)}'
    )


def similar_names(text: str) -> list[str]:
    """List at most three names of published weights that a text may mean."""
    plain = re.sub(r'[_\s]+', '-', text.strip().lower())
    return difflib.get_close_matches(plain, PUBLISHED, 3)


def facts_of(weights: PublishedWeights, folder: Path | None = None) -> dict:
    """All that is known of published weights, as plain values.

    Args:
        weights: Which.
        folder: See `place_of`.

    Returns:
        The attributes of `PublishedWeights`, with its first figure as ``scores`` and
        ``scored_on``; ``figures`` have ``server`` and ``commands``, see `commands_of`;
        ``path``, and ``here``: whether the file is there.
    """
    path = place_of(weights, folder)
    facts = {f.name: getattr(weights, f.name) for f in fields(weights)}
    facts |= {'scores': dict(weights.scores), 'scored_on': weights.scored_on}
    facts['figures'] = [
        asdict(figure)
        | {'server': figure.server, 'commands': commands_of(weights, figure)}
        for figure in weights.figures
    ]
    return facts | {'path': str(path), 'here': path.is_file()}


def commands_of(weights: PublishedWeights, figure: PublishedScores) -> list[str]:
    """Write the commands that get a figure.

    Args:
        weights: Whose figure it is.
        figure: Which.

    Returns:
        What tracks and scores, and where a server scores, what packs the results for
        it, if this project does; empty if nothing here gives the figure.
    """
    if not figure.config:
        return []
    if figure.data == 'COCO':
        return [
            f'mmfdta mmdet test MMDETECTION/configs/{figure.config}.py '
            f'$(mmfdta weights {weights.name})'
        ]
    test = f'mmfdta test {figure.config} {weights.name}'
    if not figure.server:
        return [test]
    results = f'work_dirs/{figure.config}/submit'
    commands = [f'{test} --out {results} --cfg-options {" ".join(figure.options)}']
    packed = [
        b.name
        for b in BENCHMARKS.values()
        if b.title == figure.data and b.zip_folder is not None
    ]
    return commands + [
        f'mmfdta submit {name} --results {results} --data data/{figure.data}/'
        f'{figure.split} --out {figure.config}.zip'
        for name in packed
    ]


def not_published(weights: PublishedWeights) -> list[str]:
    """List the usual splits of the data of its figures for which there are none."""
    there = {figure.scored_on for figure in weights.figures}
    data = dict.fromkeys(figure.data for figure in weights.figures)
    return [
        name
        for title in data
        for split in SPLITS.get(title, ())
        if (name := f'{title} {split}') not in there
    ]


def fetch_published(
    weights: PublishedWeights, folder: Path | None = None, progress: bool = True
) -> Path:
    """Fetch published weights, unless they are there.

    Args:
        weights: Which; what comes with the package is copied from there.
        folder: Where to; None leaves it where names are looked up, see `place_of`.
        progress: Show on standard error what is fetched and how far it is.

    Returns:
        The file; its hash is right, if one is known.

    Raises:
        FileNotFoundError: If only a browser gets it.
        DownloadError: If it cannot be fetched, or another file is in its place.
    """
    path = place_of(weights, folder)
    if not path.is_file():
        if weights.part_of_package:
            source = place_of(weights)
            if not source.is_file():
                raise FileNotFoundError(
                    f'{weights.name}: {source} is part of mmfdta and missing; '
                    'reinstall it'
                )
            with open_whole(path) as file:
                file.write(source.read_bytes())
            return fetch_published(weights, folder, progress)
        address = address_of(weights)
        if address is None:
            raise FileNotFoundError(
                f'{weights.name}: only a browser gets this file; open {weights.page} '
                f'and put it as {path}'
            )
        wanted = Wanted(
            address,
            path,
            weights.name,
            weights.size,
            weights.sha256_prefix,
            weights.source,
            elsewhere='name another FOLDER' if folder else Wanted.elsewhere,
            origin='' if address == weights.address else str(weights.address),
        )
        download(wanted, progress)
    check_file(path, weights.sha256_prefix, weights.size)
    return path


def describe_published() -> str:
    """Write the list of published weights, at most 100 characters wide."""
    lines: list[str] = []
    entries = list(PUBLISHED.values())
    groups = dict.fromkeys((w.family, w.source, w.licence) for w in entries)
    for family, source, licence in groups:
        members = [w for w in entries if (w.family, w.source) == (family, source)]
        rows = [_describe(weights) for weights in members]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += [f'{family} ({licence})', f'  {source}']
        for row, weights in zip(rows, members, strict=True):
            cells = [c.ljust(width) for c, width in zip(row, widths, strict=True)]
            lines.append('    ' + '  '.join(cells).rstrip())
            indent = sum(widths[:2]) + 8
            lines += [' ' * indent + config for config in weights.configs[1:]]
        lines.append('')
    lines += [
        'Scores are as published, in percent; licences are those of the projects, data',
        'sets have their own terms. --checkpoint NAME fetches what it needs, to',
        f'{cache_folder()} (TORCH_HOME=FOLDER moves it).',
    ]
    return '\n'.join(lines)


def describe_expected(weights: PublishedWeights) -> str:
    """Write which scores weights are to have, who scores them and by which commands."""
    lines = [f'{weights.name}  {weights.family} ({weights.licence})']
    for figure in weights.figures:
        scores = ', '.join(f'{name} {value}' for name, value in figure.scores.items())
        lines += [
            f'  {figure.scored_on}: {scores}',
            f'    stated by {figure.origin}: {figure.source}',
        ]
        if figure.remark:
            lines.append(f'    {figure.remark}')
        commands = commands_of(weights, figure)
        if figure.server:
            lines.append(f'    the ground truth is hidden; scored by {figure.server}')
        elif figure.data == 'COCO':
            by = "MMDetection's tool and config" if commands else "its authors' code"
            lines.append(f'    of the detector; scored by {by}')
        lines += [f'      {command}' for command in commands]
    lines += [f'  {name}: not published' for name in not_published(weights)]
    if not weights.figures:
        lines.append(f'  no score is published: {weights.source}')
    return '\n'.join(lines)


def describe_tolerance() -> str:
    """Write how far from a figure the same weights may score, and where to read why."""
    widths = [f'{name} {value}' for name, value in TOLERANCE.items()]
    return (
        'Scores are in percent. mmfdta test compares, and takes as equal what differs '
        f'by at\nmost: {", ".join(widths)}. Why, and how to report what comes out:\n'
        'docs/published_weights.md'
    )


def _describe(weights: PublishedWeights) -> tuple[str, ...]:
    """A row of the list: name, first score, first config, size if it is known."""
    score = ''
    if weights.scores:
        measure, value = next(iter(weights.scores.items()))
        score = f'{measure} {value} ({weights.scored_on})'
    path, size = place_of(weights), weights.size
    if path.is_file():
        state = f'here, {say_bytes(path.stat().st_size)}'
    elif weights.page:
        state = 'by browser'
    else:
        state = '' if size is None else say_bytes(size)
    return weights.name, score, weights.configs[0], state


def _find_address(address: str, progress: bool) -> Path:
    for weights in PUBLISHED.values():
        if address in (weights.address, address_of(weights)):
            return fetch_published(weights, progress=progress)
    parts = urlsplit(address)
    name = unquote(parts.path).rpartition('/')[2]
    if not name:
        raise DownloadError(f'{address}: it names no file')
    found = _HASH.search(name)
    path = cache_folder() / name
    if not found:
        # Two addresses may end alike.
        digest = hashlib.sha256(address.encode()).hexdigest()[:12]
        path = cache_folder() / 'by_address' / digest / name
    if parts.scheme not in ('http', 'https'):
        from mmengine.fileio import get

        with open_whole(path) as file:
            file.write(get(address))
        return path
    digits = found[1] if found else ''
    wanted = Wanted(address, path, name, sha256_prefix=digits, follow=not found)
    current = is_current(wanted) if path.is_file() and not found else True
    if current is None and progress:
        print(
            f'{address} does not say whether it has changed; taking {path}, which '
            'was fetched from it',
            file=sys.stderr,
        )
    if current is False or not path.is_file():
        download(wanted, progress)
    check_file(path, wanted.sha256_prefix)
    return path
