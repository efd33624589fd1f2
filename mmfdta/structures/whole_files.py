# Copyright (c) mmfdta authors.
"""Files that are whole or not there, whenever a process ends; members of zips."""

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# What a process that was killed while writing leaves has a dotted name with this end.
UNFINISHED = '.part'


@contextlib.contextmanager
def open_whole(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name when it is complete.

    It is written beside its place under a temporary name with a dot, handed to the
    disk and renamed. After an error what stood under the name is as it was. Folders are
    made.

    Raises:
        OSError: If it cannot be written; the error names ``path``.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(UNFINISHED, f'.{path.name}.', path.parent)
        with os.fdopen(handle, 'wb') as file:
            yield file
            file.flush()
            os.fsync(handle)
        umask = os.umask(0)  # it cannot be read without being set
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text with :func:`open_whole`."""
    with open_whole(path) as file:
        file.write(text.encode('utf-8'))


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a file, or a member of a zip that the path leads through.

    Args:
        path: Such as ``results.zip/tracker/sequence.txt``.

    Raises:
        FileNotFoundError: If there is no such file or member.
        OSError: If it cannot be read.
    """
    path = Path(path)
    try:
        return path.read_bytes()
    except NotADirectoryError:
        archive = next(parent for parent in path.parents if parent.is_file())
        name = path.relative_to(archive).as_posix()
        try:
            with zipfile.ZipFile(archive) as opened:
                if name not in opened.namelist():  # as some tools of Windows write
                    name = name.replace('/', '\\')
                return opened.read(name)
        except (KeyError, zipfile.BadZipFile):
            raise FileNotFoundError(f'{path}: no such file in {archive}') from None
        except (NotImplementedError, RuntimeError) as error:
            raise OSError(f'{path}: cannot be unpacked: {error}') from None


def remove_unfinished(folder: str | os.PathLike, suffix: str) -> None:
    """Remove what killed processes left in a folder that nobody else writes to.

    Args:
        folder: The folder; it need not be there.
        suffix: Only files that would have become ``*<suffix>``.
    """
    for path in Path(folder).glob(f'.*{suffix}.*{UNFINISHED}'):
        path.unlink(missing_ok=True)
