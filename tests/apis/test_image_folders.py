# Copyright (c) mmfdta authors.
"""Folders of images as users have them: the frames are those of a data set."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmfdta.apis.sources import open_source


def fill(folder: Path, names: list[str], first: int = 0) -> Path:
    """Write images whose grey tells their place."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names, start=first):
        image = Image.new('RGB', (8, 6), (10 * place, 10 * place, 10 * place))
        # PNG whatever the name says, to keep the grey.
        image.save(folder / name, format='PNG')
    return folder


def order(source: Path | str) -> list[int]:
    """Tell by their grey which images a source gives."""
    return [round(float(np.mean(frame.image)) / 10) for frame in open_source(source)]


@pytest.mark.parametrize(
    'names',
    [
        [f'{t}.png' for t in range(8, 13)],
        [f'img{t}.jpg' for t in range(98, 103)],
        [f'frame_{t}_left.bmp' for t in range(5)],
        ['a2b10.png', 'a2b11.png', 'a10b1.png'],
        ['first.png', 'second.png', 'third.png'],
    ],
)
def test_images_come_by_number(tmp_path: Path, names: list[str]) -> None:
    folder = fill(tmp_path / 'v', names)
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        assert order(folder) == list(range(len(names)))
        assert order(str(folder / '*')) == list(range(len(names)))


def test_strays_are_no_frames(tmp_path: Path) -> None:
    folder = fill(tmp_path / 'v', ['1.png', '2.png', '10.png'])
    for name in ('Thumbs.db', '.DS_Store', 'desktop.ini', '._1.png', 'notes.txt'):
        (folder / name).write_text('x')
    (folder / '1_thumb.png').write_text('x')
    (folder / 'more.png').mkdir()
    with pytest.warns(UserWarning, match='10.png comes after 2.png'):
        assert order(folder) == [0, 1, 2]


@pytest.mark.parametrize(
    ('images', 'seqinfo'),
    [
        ('img1', ''),
        ('img1', '[Sequence]\nseqLength=9\n'),
        ('frames', '[Sequence]\nimDir=frames\n'),
        ('images/left', 'imDir : images/left'),
    ],
)
def test_a_sequence_is_a_source(tmp_path: Path, images: str, seqinfo: str) -> None:
    fill(tmp_path / 's' / images, ['000000.jpg', '000001.jpg'])
    if seqinfo:
        (tmp_path / 's' / 'seqinfo.ini').write_text(seqinfo)
    assert order(tmp_path / 's') == [0, 1]


def test_im_ext_chooses_among_two_kinds(tmp_path: Path) -> None:
    fill(tmp_path / 's' / 'img1', ['1.png', '2.png'], 1)
    fill(tmp_path / 's' / 'img1', ['1.jpg', '2.jpg'], 5)
    with pytest.raises(ValueError, match='1.jpg and 1.png, two images of the number 1'):
        open_source(tmp_path / 's')
    (tmp_path / 's' / 'seqinfo.ini').write_text('[Sequence]\nimExt=.png\n')
    assert order(tmp_path / 's') == [1, 2]
    assert order(str(tmp_path / 's' / 'img1' / '*.jpg')) == [5, 6]


def test_a_wrong_im_dir_names_both_folders(tmp_path: Path) -> None:
    fill(tmp_path / 's' / 'img1', ['1.png'])
    (tmp_path / 's' / 'seqinfo.ini').write_text('[Sequence]\nimDir=img\n')
    with pytest.raises(FileNotFoundError, match='imDir is img,.*images in .*img1'):
        open_source(tmp_path / 's')


@pytest.mark.parametrize('stray', ['title.png', '2_mask.png', 'copy of 1.png'])
def test_an_image_of_another_kind_is_named(tmp_path: Path, stray: str) -> None:
    folder = fill(tmp_path / 'v', ['1.png', '2.png', '3.png', stray])
    with pytest.warns(UserWarning, match=f'{stray} is among images such as 1.png'):
        open_source(folder)
