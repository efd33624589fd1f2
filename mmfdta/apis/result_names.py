# Copyright (c) mmfdta authors.
"""What results are called where nobody names them."""

import glob
import mimetypes
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mmfdta.structures.frames import IMAGE_DIR, natural_key
from mmfdta.utils.addresses import local_path

from .sources.image_files import SUFFIXES

_MOST_BYTES = 200
_NUMBERS = re.compile(r'%\d*d')
PATTERN = re.compile(r'[*?\[]|%\d*d')


def find_sources(words: Sequence[str]) -> list[str]:
    """Find what is meant by the words of a command.

    Args:
        words: Files, folders, patterns, indices of cameras, addresses. A pattern of
            videos, or of nothing but folders, is each of them; one of images is one
            source.

    Returns:
        The sources, in the order of the words; those of a pattern by name.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a word is empty, or a pattern matches images and videos.
    """
    sources: list[str] = []
    for word in words:
        if not word.strip():
            raise ValueError('found an empty source, expected a video')
        if '://' in word or word == '-' or word.isdecimal() or Path(word).exists():
            sources.append(word)
            continue
        if not PATTERN.search(word):
            raise FileNotFoundError(f'{word}: no such video, folder or image')
        found = sorted(glob.glob(word, recursive=True), key=natural_key)
        files = [path for path in found if os.path.isfile(path)]
        images = [path for path in files if path.lower().endswith(SUFFIXES)]
        videos = [path for path in files if _is_video(path)]
        if images and videos:
            raise ValueError(
                f'{word}: matches images ({len(images)}) and videos ({len(videos)}, '
                f'such as {videos[0]}); name videos, or the images of one source'
            )
        if not found and not _NUMBERS.search(word):
            raise FileNotFoundError(f'{word}: matches no video, folder or image')
        sources += [word] if images or not found else files or found
    return sources


def name_sources(
    sources: Sequence[str],
    known: Mapping[str, str] | None = None,
    taken: Iterable[str] = (),
) -> list[str]:
    """Find a name for each source, as file names hold it.

    Args:
        sources: Files, folders, patterns, indices of cameras, addresses.
        known: Sources that have a name already.
        taken: Names that no other source may have.

    Returns:
        A name for each. Sources that are called alike, in any case, are numbered.
    """
    known = known or {}
    new = (_stem(source) for source in sources if source not in known)
    numbered = iter(number_alike(new, [*known.values(), *taken]))
    return [known[s] if s in known else next(numbered) for s in sources]


def number_alike(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Number names that are alike, in any case: ``a``, ``a_2``, ``a_3``.

    Args:
        names: Without a suffix.
        taken: Names that none may get.

    Returns:
        As many, all different.
    """
    used = {name.casefold() for name in taken}
    numbers: dict[str, int] = {}  # the next one to try
    found = []
    for stem in names:
        name, number = stem, numbers.get(stem.casefold(), 2)
        while name.casefold() in used:
            name = f'{stem}_{number}'
            number += 1
        numbers[stem.casefold()] = number
        used.add(name.casefold())
        found.append(name)
    return found


def result_files(
    name: str, folder: str | os.PathLike, suffixes: Iterable[str]
) -> list[Path]:
    """Name the results of a source: ``NAME_tracks.SUFFIX``.

    Args:
        name: Of the source.
        folder: Where they will stand.
        suffixes: With or without a dot.
    """
    return [Path(folder, f'{name}_tracks.{s.lstrip(".")}') for s in suffixes]


def name_results(
    sources: Sequence[str], folder: str | os.PathLike, suffixes: Sequence[str]
) -> list[list[Path]]:
    """Name the results of several sources: ``NAME_tracks.SUFFIX``.

    Args:
        sources: Files, folders, patterns, indices of cameras, addresses.
        folder: Where the results will stand.
        suffixes: With or without a dot.

    Returns:
        The files of each source. Sources that are called alike are numbered.
    """
    return [result_files(name, folder, suffixes) for name in name_sources(sources)]


def refuse_replacing(
    sources: Iterable[str | os.PathLike],
    files: Iterable[str | os.PathLike],
    kind: str = 'a video that is to be tracked',
) -> None:
    """Refuse results that would take the place of what they are made of.

    Args:
        sources: What is read, also as ``file://``, or is going to be written next to
            the results.
        files: What would be written.
        kind: What a source is, for the message.

    Raises:
        ValueError: If a file is a source.
    """
    paths = [local_path(os.fspath(source)) for source in sources]
    taken = {_identify(path) for path in paths if path is not None}
    for file in files:
        if _identify(file) in taken:
            raise ValueError(
                f'{file}: the result would replace {kind}; name another file or folder'
            )


def _is_video(path: str) -> bool:
    return (mimetypes.guess_type(path)[0] or '').startswith('video/')


def _identify(path: str | os.PathLike) -> tuple[int, int] | str:
    """Tell a file from all others, through links, also before it is there."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def _stem(source: str) -> str:
    """What a source is called, without what a file name must not hold."""
    if source == '-':
        return 'stdin'
    if source.isdecimal() and not Path(source).exists():
        return f'camera{source}'
    if '://' in source:
        parts = urlsplit(source)
        path = Path(unquote(parts.path))
        text = path.stem or parts.hostname or ''
    elif PATTERN.search(source) and not Path(source).exists():
        folders = reversed(Path(source).absolute().parent.parts)
        text = next(folder for folder in folders if folder != '**')
    else:
        path = Path(source).absolute()
        if path.is_dir():
            path = path.resolve()
            text = path.parent.name if path.name == IMAGE_DIR else path.name
        else:
            text = path.stem
    name = re.sub(r'[^\w.() +-]+', '_', text)
    # File systems take 255 bytes, ends and numbers among them.
    name = name.encode()[:_MOST_BYTES].decode(errors='ignore')
    return name.strip('. ') or 'frames'
