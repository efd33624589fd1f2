# Copyright (c) mmfdta authors.
"""Files that are written completely or not at all; hashes; members of zips."""

import contextlib
import hashlib
import os
import secrets
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Ending of unfinished files, which a killed process leaves behind; hidden by a dot.
UNFINISHED = '.part'


@contextlib.contextmanager
def open_whole(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name when it is complete.

    It is written in the same folder under a hidden temporary name, flushed to disk and
    renamed. After an error, a file that existed before is unchanged. Missing folders
    are made.

    Raises:
        OSError: If it cannot be written; the error names ``path``.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f'.{path.name}.{secrets.token_hex(4)}{UNFINISHED}')
        # Not `tempfile`, whose files have no permissions for others: the umask cannot
        # be read without changing it for all threads.
        with open(unfinished, 'xb') as file:
            temporary = unfinished
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text with :func:`open_whole`."""
    with open_whole(path) as file:
        file.write(text.encode('utf-8'))


def refuse_current_folder(folder: str | os.PathLike) -> None:
    """Refuse to replace the current folder.

    What stands in it, such as a shell, would be left in a removed folder.

    Raises:
        FileExistsError: If it is the current folder.
    """
    if os.path.exists(folder) and os.path.samefile(folder, os.curdir):
        raise FileExistsError(
            f'{folder}: found the current folder, which cannot be replaced; name '
            'another one'
        )


def hash_file(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    # Not file_digest of hashlib, which Python 3.10 lacks.
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
    """Remove unfinished files of killed processes.

    Args:
        folder: A folder to which no other process writes; it need not exist.
        suffix: Remove only files that would have become ``*<suffix>``.
    """
    for path in Path(folder).glob(f'.*{suffix}.*{UNFINISHED}'):
        path.unlink(missing_ok=True)
