# Copyright (c) mmfdta authors.
"""Fetch a file so that it is whole or not there, and continue where a transfer broke.

What has arrived stands next to its place as ``.NAME.part``, which one process at a time
writes. The file gets its name when its size and its hash are right; until then one that
was there before stays.
"""

import contextlib
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import time
import zipfile
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPRedirectHandler,
    Request,
    build_opener,
    getproxies,
    proxy_bypass,
)

from mmfdta.structures.locks import lock
from mmfdta.structures.whole_files import UNFINISHED, write_text
from mmfdta.utils.addresses import without_password
from mmfdta.version import __version__

from .progress import Progress, say_bytes

_CHUNK = 1 << 18
_SECONDS = 30.0  # that a server may be silent
_ATTEMPTS = 3  # without a byte more
_PAUSE = 1.0  # seconds between them
# The server's answers after which it may be asked again.
_LATER = {429, 500, 502, 503, 504}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class DownloadError(OSError):
    """A file that cannot be fetched, or is another than the one expected."""


class _BrokenError(Exception):
    """A transfer that may be tried again."""


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
        address: Of http or https; proxies are those of the environment.
        path: Where it belongs.
        title: What the progress bar says.
        size: Bytes that it has to have; None if unknown.
        sha256_prefix: What its SHA-256 has to begin with; empty if unknown.
        source: The page that publishes it.
        elsewhere: How another place is named.
        origin: What a mirror's address stands for.
        follow: Whether `is_current` is to be asked of it later.
    """

    address: str
    path: Path
    title: str = ''
    size: int | None = None
    sha256_prefix: str = ''
    source: str = ''
    elsewhere: str = 'TORCH_HOME=FOLDER names another place for fetched weights'
    origin: str = ''
    follow: bool = False

    @property
    def part(self) -> Path:
        """Where it stands until it is whole."""
        return self.path.with_name(f'.{self.path.name}{UNFINISHED}')

    @property
    def note(self) -> Path:
        """Where it stands what the server called the file, see `_Note`."""
        return self.path.with_name(f'.{self.path.name}.json')

    @property
    def note_of_part(self) -> Path:
        """The same of the unfinished file, which may be a newer one."""
        return self.part.with_name(f'{self.part.name}.json')

    def advice(self) -> str:
        """What somebody can do whose network does not get the file."""
        digits = self.sha256_prefix
        known = f' (its SHA-256 begins with {digits})' if digits else ''
        page = f'; {self.source} publishes it' if self.source else ''
        return (
            f'; fetch {self.origin or "it"} elsewhere and put it as {self.path}'
            f'{known}, or name the path of your copy{page}'
        )

    def error(self, reason: str) -> DownloadError:
        """Say why it cannot be fetched, and what can be done."""
        address = without_password(self.address) + _proxy_of(self.address)
        return DownloadError(f'cannot fetch {address}: {reason}{self.advice()}')


@dataclass(frozen=True)
class _Note:
    """What tells that a server still offers the same file."""

    address: str
    validator: str

    @classmethod
    def of(cls, address: str, headers: Message) -> '_Note':
        tag = headers.get('ETag', '')
        # A weak tag does not promise the same bytes.
        dated = headers.get('Last-Modified', '')
        return cls(address, dated if tag.startswith('W/') or not tag else tag)

    @classmethod
    def read(cls, path: Path) -> '_Note | None':
        try:
            return cls(**json.loads(path.read_text(encoding='utf-8')))
        except (OSError, ValueError, TypeError):
            return None


def download(wanted: Wanted, progress: bool = True) -> None:
    """Fetch a file; a part of it that an earlier attempt left is gone on with.

    Nothing is fetched if it is there; one that `is_current` is to be asked of is
    fetched again if the server offers another.

    Args:
        wanted: The file; if another process fetches it, this one waits.
        progress: Say on standard error what is fetched and how far it is.

    Raises:
        DownloadError: If it cannot be fetched, or another file came.
    """
    try:
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        part = _open_alone(wanted, progress)
    except OSError as error:
        raise DownloadError(
            f'{wanted.path.parent}: cannot write there ({error.strerror or error}); '
            f'{wanted.elsewhere}, or fetch {wanted.origin or wanted.address} yourself '
            'and name its path'
        ) from None
    with part:
        try:
            # Another process may have fetched it meanwhile.
            there = wanted.path.is_file()
            if not there or (wanted.follow and is_current(wanted) is False):
                _fetch(wanted, part, progress)
        finally:
            if not _length(part):
                wanted.part.unlink(missing_ok=True)
            if not wanted.part.exists():
                wanted.note_of_part.unlink(missing_ok=True)


def check_file(path: Path, sha256_prefix: str, size: int | None = None) -> None:
    """Compare a file with what is known of it.

    Raises:
        DownloadError: If it is another one.
    """
    problem = _find_problem(path, sha256_prefix, size)
    if problem:
        raise DownloadError(
            f'{path}: {problem}: incomplete, damaged or another file; remove it to '
            'fetch it again'
        )


def is_current(wanted: Wanted) -> bool | None:
    """Ask whether a server still offers the file that was fetched from it.

    Returns:
        None if it does not say.
    """
    note = _Note.read(wanted.note)
    request = Request(wanted.address, headers=_headers(), method='HEAD')
    try:
        with build_opener().open(request, timeout=_SECONDS) as response:
            now = _Note.of(wanted.address, response.headers)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return now == note if note and now.validator else None


def _open_alone(wanted: Wanted, progress: bool) -> IO[bytes]:
    """Open the unfinished file when no other process has it."""

    def say() -> None:
        if progress:
            _say(f'another process is fetching {wanted.path}; waiting for it')

    while True:
        file = open(wanted.part, 'ab+')  # noqa: SIM115  (the caller closes it)
        try:
            lock(file.fileno(), say)
            # Whoever had it may have given it its name meanwhile.
            if os.path.samestat(os.fstat(file.fileno()), os.stat(wanted.part)):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()


def _fetch(wanted: Wanted, part: IO[bytes], progress: bool) -> None:
    """Fill the unfinished file, check it and give it its name."""
    patience, resumed = _ATTEMPTS, False
    while True:
        before = _length(part)
        resumed |= before > 0
        try:
            stated = _transfer(wanted, part, progress)
        except _BrokenError as broken:
            patience = _ATTEMPTS if _length(part) > before else patience - 1
            if not patience:
                raise wanted.error(str(broken)) from None
            time.sleep(_PAUSE)
            continue
        problem = _find_problem(
            wanted.part, wanted.sha256_prefix or stated, wanted.size
        )
        if not problem:
            break
        part.truncate(0)
        if not resumed:
            raise wanted.error(f'what came is not the file: {problem}')
        resumed = False  # its beginning may have been of another file
    os.fsync(part.fileno())
    os.replace(wanted.part, wanted.path)
    if wanted.follow:
        with contextlib.suppress(OSError):  # then it may be fetched once more
            os.replace(wanted.note_of_part, wanted.note)


def _transfer(wanted: Wanted, part: IO[bytes], progress: bool) -> str:
    """Fetch what is missing.

    Returns:
        The SHA-256 that the server states, empty if it states none.

    Raises:
        DownloadError: If trying again is of no use.
        _BrokenError: If the connection broke.
    """
    note, headers = _Note.read(wanted.note_of_part), _headers()
    if note is None or note.address != wanted.address or not note.validator:
        part.truncate(0)
    elif have := _length(part):
        headers |= {'Range': f'bytes={have}-', 'If-Range': note.validator}
    redirects = _Redirects()
    try:
        response = build_opener(redirects).open(
            Request(wanted.address, headers=headers), timeout=_SECONDS
        )
    except HTTPError as error:
        error.close()
        if error.code == 416:  # there is no such range
            part.truncate(0)
            raise _BrokenError(
                'the server cannot continue a partial download'
            ) from None
        reason = f'the server answers {error.code} {error.reason}'
        if error.code in _LATER:
            raise _BrokenError(reason) from None
        raise wanted.error(reason) from None
    except URLError as error:
        raise wanted.error(_say_reason(error.reason)) from None
    except (http.client.HTTPException, OSError) as error:
        raise _BrokenError(_say_reason(error)) from None
    except ValueError as error:
        raise wanted.error(str(error)) from None
    with response:
        start = _start_of(response)
        if start != _length(part):
            part.truncate(0)
            if start:
                raise _BrokenError('the server continues at another place')
        _receive(wanted, part, response, progress)
    return redirects.sha256


def _receive(
    wanted: Wanted,
    part: IO[bytes],
    response: http.client.HTTPResponse,
    progress: bool,
) -> None:
    """Write what a server sends behind what is there."""
    if response.headers.get_content_type() == 'text/html':
        raise wanted.error('a web page came instead of the file')
    have, length = _length(part), response.headers.get('Content-Length', '')
    total = have + int(length) if length.isdecimal() else None
    if wanted.size is not None and total not in (None, wanted.size):
        raise wanted.error(
            f'the server has a file of {total} bytes, expected {wanted.size}'
        )
    needed = (total or have) - have
    free = shutil.disk_usage(wanted.path.parent).free
    if free < needed:
        raise _no_space(wanted, f'{say_bytes(needed)} needed, {say_bytes(free)} free')
    with contextlib.suppress(OSError):  # without it, it starts again another time
        note = _Note.of(wanted.address, response.headers)
        write_text(wanted.note_of_part, json.dumps(vars(note)))
    if progress:
        size = 'of unknown size' if total is None else say_bytes(total)
        begin = f'continuing after {say_bytes(have)} with' if have else 'fetching'
        _say(f'{begin} {without_password(wanted.address)} ({size}) to {wanted.path}')
    with contextlib.ExitStack() as stack:
        bar = None
        if progress:
            bar = Progress(total, unit='bytes', title=wanted.title, done=have)
            stack.enter_context(bar)
        while True:
            try:
                chunk = response.read(_CHUNK)
            except (http.client.HTTPException, OSError) as error:
                part.flush()
                raise _BrokenError(_broke(part, total, _say_reason(error))) from None
            if not chunk:
                break
            try:
                part.write(chunk)
                part.flush()
            except OSError as error:
                if error.errno not in _FULL:
                    raise DownloadError(f'{wanted.part}: {error.strerror}') from None
                with contextlib.suppress(OSError):
                    wanted.part.unlink()
                raise _no_space(wanted, str(error.strerror)) from None
            if bar is not None:
                bar.update(count=len(chunk))
    if total is not None and _length(part) < total:
        raise _BrokenError(_broke(part, total, 'the server ended the connection'))


class _Redirects(HTTPRedirectHandler):
    """Follow redirections, and keep the hash that Hugging Face states in its own.

    Attributes:
        sha256: 64 digits, or empty.
    """

    sha256 = ''

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> Request | None:
        """Return the next request."""
        stated = headers.get('X-Linked-Etag', '').strip('"')
        if re.fullmatch('[0-9a-f]{64}', stated):
            self.sha256 = stated
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _find_problem(path: Path, sha256_prefix: str, size: int | None) -> str:
    """Say in what a file differs from what is known of it; empty if in nothing."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f'it has {found} bytes, expected {size}'
    if sha256_prefix:
        with open(path, 'rb') as file:
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        begin = digest.hexdigest()[: max(8, len(sha256_prefix))]
        if not begin.startswith(sha256_prefix):
            return f'its SHA-256 begins with {begin}, expected {sha256_prefix}'
        return ''
    with open(path, 'rb') as file:
        begin = file.read(64).decode('latin-1').lstrip()
    if begin.startswith('PK') and not zipfile.is_zipfile(path):
        return f'it breaks off after {found} bytes'
    if begin.lower().startswith(('<!doctype', '<html', '<?xml')):
        return 'it is a web page'
    if begin.startswith('version https://git-lfs'):
        return 'it only says which file of Git LFS belongs there'
    return '' if found else 'it is empty'


def _headers() -> dict[str, str]:
    return {'User-Agent': f'mmfdta/{__version__}', 'Accept-Encoding': 'identity'}


def _length(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _start_of(response: http.client.HTTPResponse) -> int:
    """Where in the file an answer begins."""
    stated = response.headers.get('Content-Range', '')
    found = re.match(r'bytes (\d+)-', stated)
    return int(found[1]) if response.status == 206 and found else 0


def _broke(part: IO[bytes], total: int | None, reason: str) -> str:
    there = say_bytes(_length(part))
    of = '' if total is None else f' of {say_bytes(total)}'
    return (
        f'broke off after {there}{of} ({reason}); run the same command again to '
        'continue from there'
    )


def _no_space(wanted: Wanted, numbers: str) -> DownloadError:
    return DownloadError(
        f'{wanted.path.parent}: no space for {wanted.path.name} ({numbers}); make '
        f'some; {wanted.elsewhere}'
    )


def _say_reason(error: object) -> str:
    """Name an error of a connection without the noise of its type."""
    if isinstance(error, http.client.IncompleteRead):
        return 'the server ended the connection'
    if isinstance(error, TimeoutError):
        return f'no answer within {_SECONDS:.0f} s'
    text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return ' '.join(text.split())


def _proxy_of(address: str) -> str:
    """Name the proxy that an address goes through, without its password."""
    parts = urlsplit(address)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc):
        return ''
    shown = without_password(proxy) if '://' in proxy else proxy.rpartition('@')[2]
    return f' through the proxy {shown} (of {parts.scheme}_proxy)'


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
