# Copyright (c) mmfdta authors.
"""What results are called where nobody names them."""

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mmfdta.structures.frames import IMAGE_DIR, is_image, natural_key

PATTERN = re.compile(r'[*?\[]|%\d*d')


def find_sources(words: Sequence[str]) -> list[str]:
    """Find what is meant by the words of a command.

    Args:
        words: Files, folders, patterns, indices of cameras, addresses. A pattern of
            videos is each of them; one of images is one source.

    Returns:
        The sources, in the order of the words; those of a pattern by name.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a word is empty.
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
        found = sorted(filter(os.path.isfile, glob.glob(word)), key=natural_key)
        videos = [path for path in found if not is_image(Path(path).name)]
        sources += videos if videos and len(videos) == len(found) else [word]
    return sources


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
    taken: set[str] = set()
    results = []
    for source in sources:
        stem, number = _stem(source), 1
        name = stem
        while name.casefold() in taken:
            number += 1
            name = f'{stem}_{number}'
        taken.add(name.casefold())
        results.append(
            [Path(folder, f'{name}_tracks.{s.lstrip(".")}') for s in suffixes]
        )
    return results


def refuse_replacing(
    sources: Iterable[str | os.PathLike], files: Iterable[str | os.PathLike]
) -> None:
    """Refuse results that would take the place of what is tracked.

    Raises:
        ValueError: If a file is a source.
    """
    present = [source for source in sources if os.path.isfile(source)]
    for file in files:
        for source in present:
            if os.path.exists(file) and os.path.samefile(file, source):
                raise ValueError(
                    f'{file}: the result would replace a video that is to be tracked; '
                    'name another file'
                )


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
        text = Path(source).absolute().parent.name
    else:
        path = Path(source).absolute()
        if path.is_dir():
            path = path.resolve()
            text = path.parent.name if path.name == IMAGE_DIR else path.name
        else:
            text = path.stem
    return re.sub(r'[^\w.() +-]+', '_', text).strip('. ') or 'frames'
