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
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from mmfdta.checkpoints.published import PUBLISHED, PublishedWeights
from mmfdta.structures.whole_files import open_whole

from .downloads import DownloadError, Wanted, check_file, download, is_current

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
    path, text = Path(text), str(text)
    if text.startswith('file://'):
        path = Path(url2pathname(unquote(urlsplit(text).path)))
    elif '://' in text:
        return _find_address(text, progress)
    if path.is_file():
        return path
    if text in PUBLISHED:
        return _find_published(PUBLISHED[text], progress)
    if path.exists():
        return path  # whoever reads it says what it is
    close = difflib.get_close_matches(text, PUBLISHED, 1)
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


def place_of(weights: PublishedWeights) -> Path:
    """Where the file of published weights is, or belongs."""
    if weights.part_of_package:
        return PACKAGE / weights.part_of_package
    return cache_folder() / weights.file


def address_of(weights: PublishedWeights) -> str | None:
    """Where a file is fetched from, the mirror of ``MMFDTA_MIRROR`` considered."""
    mirror = os.environ.get(MIRROR)
    if not weights.address or not mirror:
        return weights.address
    return mirror.rstrip('/') + urlsplit(weights.address).path


def _find_published(weights: PublishedWeights, progress: bool) -> Path:
    path = place_of(weights)
    if not path.is_file():
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
        )
        download(wanted, progress)
    check_file(path, weights.sha256_prefix, weights.size)
    return path


def _find_address(address: str, progress: bool) -> Path:
    for weights in PUBLISHED.values():
        if address in (weights.address, address_of(weights)):
            return _find_published(weights, progress)
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
    wanted = Wanted(address, path, name, sha256_prefix=found[1] if found else '')
    if path.is_file() and not found:
        current = is_current(wanted)
        if current is None and progress:
            print(
                f'{address} does not say whether it has changed; taking {path}, which '
                'was fetched from it',
                file=sys.stderr,
            )
        elif current is False:
            path.unlink()
    if not path.is_file():
        download(wanted, progress)
    check_file(path, wanted.sha256_prefix)
    return path
