# Copyright (c) mmfdta authors.
"""Fetch a file so that it is whole or not there, and go on where a transfer broke."""

import hashlib
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from mmfdta.structures.whole_files import open_whole

_CHUNK = 1 << 18


class DownloadError(OSError):
    """A file that cannot be fetched, or is another than the one expected."""


def download(
    address: str,
    path: Path,
    title: str = '',
    size: int | None = None,
    sha256_prefix: str = '',
    progress: bool = True,
) -> None:
    """Fetch a file.

    Args:
        address: Of http or https; proxies are those of the environment.
        path: Where it belongs.
        title: What the progress bar says.
        size: Bytes that it has to have; None if unknown.
        sha256_prefix: What its SHA-256 has to begin with.
        progress: Show on standard error how far it is.

    Raises:
        DownloadError: If it cannot be fetched, or another file came.
    """
    try:
        with open_whole(path) as file, urlopen(address, timeout=30) as response:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
    except URLError as error:
        raise DownloadError(f'cannot fetch {address}: {error.reason}') from None
    try:
        check_hash(path, sha256_prefix, size)
    except DownloadError:
        path.unlink()
        raise


def check_hash(path: Path, sha256_prefix: str, size: int | None = None) -> None:
    """Compare a file with what is known of it.

    Raises:
        DownloadError: If it is another one.
    """
    if size is not None and path.stat().st_size != size:
        raise DownloadError(
            f'{path}: found {path.stat().st_size} bytes, expected {size}; remove it, '
            'and it is fetched anew'
        )
    if not sha256_prefix:
        return
    with open(path, 'rb') as file:
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if not digest.hexdigest().startswith(sha256_prefix):
        raise DownloadError(
            f'{path}: its SHA-256 begins with {digest.hexdigest()[:8]}, expected '
            f'{sha256_prefix}; remove it, and it is fetched anew'
        )
