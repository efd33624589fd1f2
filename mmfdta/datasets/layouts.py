# Copyright (c) mmfdta authors.
"""Where the data sets keep images, annotations and depth maps.

Every function lists the sequences of one split of one data set as it unpacks;
nothing has to be moved, renamed or converted.
"""

import os
from pathlib import Path

from .structures import SequenceSource

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')


def list_folders(path: str | os.PathLike) -> list[str]:
    """List sub-folder names, sorted, without hidden ones.

    Args:
        path: The folder.

    Returns:
        Names.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    path = Path(path)
    if not path.is_dir():
        above = path.parent
        there = list_folders(above) if above.is_dir() else []
        hint = f'; {above} holds {", ".join(there[:8])}' if there else ''
        raise FileNotFoundError(
            f'{path}: no such folder, expected one folder a sequence in it'
            f'{hint}. Check data_root and split.'
        )
    return sorted(
        entry.name
        for entry in os.scandir(path)
        if entry.is_dir() and not entry.name.startswith('.')
    )


def list_images(path: str | os.PathLike) -> list[str]:
    """List image names of a folder, sorted, without hidden files.

    Args:
        path: The folder.

    Returns:
        File names.

    Raises:
        FileNotFoundError: If the folder is missing or holds no image.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f'{path}: no such folder, expected images in it')
    names = sorted(
        entry.name
        for entry in os.scandir(path)
        if not entry.name.startswith('.')
        and entry.name.lower().endswith(IMAGE_SUFFIXES)
    )
    if not names:
        raise FileNotFoundError(
            f'{path}: no images in it, expected files that end in '
            f'{", ".join(IMAGE_SUFFIXES)}. Was the archive unpacked completely?'
        )
    return names


def mot_layout(data_root: str, split: str) -> list[SequenceSource]:
    """List ``<root>/<split>/<seq>/{img1,gt/gt.txt,seqinfo.ini,depth}``.

    Args:
        data_root: The data set's folder.
        split: Sub-folder of the split; ``''`` if the sequences are in
            ``data_root`` itself.

    Returns:
        Sorted by name.
    """
    base = Path(data_root, split)
    return [
        _mot_source(base / name)
        for name in list_folders(base)
        if (base / name / 'img1').is_dir()
    ] or _no_sequences(base, '<sequence>/img1/')


def sportsmot_layout(data_root: str, split: str) -> list[SequenceSource]:
    """List SportsMOT, whose splits may lie below ``dataset/``.

    Args:
        data_root: The data set's folder.
        split: ``train``, ``val`` or ``test``.

    Returns:
        Sorted by name.
    """
    nested = Path(data_root, 'dataset')
    return mot_layout(str(nested if (nested / split).is_dir() else data_root), split)


def bft_layout(data_root: str, split: str) -> list[SequenceSource]:
    """List BFT: images flat in ``<split>/<seq>/``, text in ``annotations_mot``.

    A converted tree (``img1`` and ``gt/gt.txt`` in the sequence) is read too.

    Args:
        data_root: The data set's folder.
        split: ``train``, ``val`` or ``test``.

    Returns:
        Sorted by name.
    """
    base = Path(data_root, split)
    sources = []
    for name in list_folders(base):
        folder = base / name
        if (folder / 'img1').is_dir():
            sources.append(_mot_source(folder))
            continue
        text = Path(data_root, 'annotations_mot', split, f'{name}.txt')
        sources.append(
            SequenceSource(
                name=name,
                image_dir=str(folder),
                gt_path=str(text) if text.is_file() else None,
                seqinfo_path=None,
                depth_dir=str(folder / 'depth'),
            )
        )
    return sources or _no_sequences(base, '<sequence>/*.jpg')


def mot17_layout(
    data_root: str, split: str, detector: str = 'FRCNN'
) -> list[SequenceSource]:
    """List MOT17 once: its sequences repeat the images for three detectors.

    Args:
        data_root: The data set's folder.
        split: ``train`` or ``test``.
        detector: ``DPM``, ``FRCNN`` or ``SDP``.

    Returns:
        Sorted by name.
    """
    sources = [
        source
        for source in mot_layout(data_root, split)
        if source.name.endswith(f'-{detector}')
    ]
    return sources or _no_sequences(Path(data_root, split), f'<sequence>-{detector}')


def _mot_source(folder: Path) -> SequenceSource:
    text = folder / 'gt' / 'gt.txt'
    seqinfo = folder / 'seqinfo.ini'
    return SequenceSource(
        name=folder.name,
        image_dir=str(folder / 'img1'),
        gt_path=str(text) if text.is_file() else None,
        seqinfo_path=str(seqinfo) if seqinfo.is_file() else None,
        depth_dir=str(folder / 'depth'),
    )


def _no_sequences(base: Path, expected: str) -> list[SequenceSource]:
    raise FileNotFoundError(
        f'{base}: found no sequence, expected {expected}. Check data_root and split.'
    )
