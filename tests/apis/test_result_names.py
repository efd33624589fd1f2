# Copyright (c) mmfdta authors.
"""What results are called, and that none replaces a video."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmfdta.apis.archive import source_state
from mmfdta.apis.result_names import (
    find_sources,
    name_results,
    name_sources,
    refuse_replacing,
)
from mmfdta.apis.sources import open_source


@pytest.mark.parametrize(
    ('source', 'stem'),
    [
        ('a/clip.mp4', 'clip'),
        ('clip.of.sunday.mov', 'clip.of.sunday'),
        ('0', 'camera0'),
        ('-', 'stdin'),
        ('rtsp://user:secret@10.0.0.5:554/live/ch0', 'ch0'),
        ('rtsp://user:secret@camera', 'camera'),
        ('https://host/v%C3%A9lo.mp4?token=1', 'vélo'),
        ('shots/frame_%06d.png', 'shots'),
        ('shots/*.jpg', 'shots'),
        ('shots/**/*.jpg', 'shots'),
        ('https://host/a%2Fb%00.mp4', 'b_'),
    ],
)
def test_results_are_named_after_the_source(source, stem):
    ((file,),) = name_results([source], 'out', ['mp4'])
    assert file == Path('out', f'{stem}_tracks.mp4')


def test_folders_are_named_and_img1_is_not(tmp_path, monkeypatch):
    (tmp_path / 'seq' / 'img1').mkdir(parents=True)
    monkeypatch.chdir(tmp_path / 'seq')
    names = name_results(['.', 'img1', f'{tmp_path}/seq/'], '', ['.txt'])
    found = [file.name for (file,) in names]
    assert found == ['seq_tracks.txt', 'seq_2_tracks.txt', 'seq_3_tracks.txt']


def test_sources_that_are_called_alike_keep_apart():
    names = name_results(['a/v.mp4', 'b/V.mp4', 'v_2.mp4'], '', ['mp4', 'csv'])
    files = [file.name for files in names for file in files]
    assert len({name.casefold() for name in files}) == 6
    assert files[:2] == ['v_tracks.mp4', 'v_tracks.csv']


def test_two_stars_stand_for_any_number_of_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('2.mp4', 'a/10.mp4', 'a/b/3.mp4', 'c/d/e/1.mp4', 'c/notes.txt'):
        Path('days', name).parent.mkdir(parents=True, exist_ok=True)
        Path('days', name).touch()
    found = find_sources(['days/**/*.mp4'])
    assert {*map(Path, found)} == {*Path('days').rglob('*.mp4')} and len(found) == 4
    image = np.zeros((8, 8, 3), np.uint8)
    for name in ('1.png', 'a/2.png', 'a/b/3.png'):
        cv2.imwrite(str(Path('days', name)), image)
    assert find_sources(['days/**/*.png']) == ['days/**/*.png']
    assert open_source('days/**/*.png').num_frames == 3


@pytest.mark.parametrize(
    ('pattern', 'files'),
    [
        ('f/**/*.png', ['f/1.png', 'f/a/2.png', 'f/a/b/3.png']),
        ('[f]/%03d.png', ['[f]/001.png', '[f]/002.png']),
        ('f', ['f/1.ppm', 'f/2.ppm']),
    ],
)
def test_a_change_of_any_image_of_a_source_is_seen(tmp_path, pattern, files):
    for size, name in enumerate(files, start=10):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    source = str(tmp_path / pattern)
    size, time = source_state(source)
    assert size == sum((tmp_path / name).stat().st_size for name in files)
    for name in files:
        os.utime(tmp_path / name, ns=(0, time + 1000))
        assert source_state(source) == (size, time + 1000)
        time += 1000


def test_a_video_is_not_replaced_by_its_result(tmp_path):
    video = tmp_path / 'v 1.mp4'
    video.touch()
    (tmp_path / 'link.mp4').symlink_to(video)
    for source in (str(video), video.as_uri()):
        refuse_replacing([source], [tmp_path / 'other.mp4'])
        for name in ('v 1.mp4', 'link.mp4'):
            with pytest.raises(ValueError, match='would replace'):
                refuse_replacing(['0', source], [tmp_path / name])


def test_sources_that_are_called_alike_take_the_first_number_that_is_free():
    rng = np.random.default_rng(0)
    stems = ('v', 'V', 'v_2', 'v_3', 'w', 'w_2')
    for _ in range(50):
        sources = [f'{i}/{rng.choice(stems)}.mp4' for i in range(30)]
        known = {source: f'w_{i}' for i, source in enumerate(sources[::7], start=2)}
        taken = ['v_5', 'old']
        used = {name.casefold() for name in (*known.values(), *taken)}
        expected = []
        for source in sources:
            stem = Path(source).stem
            names = [stem, *(f'{stem}_{number}' for number in range(2, 40))]
            free = next(name for name in names if name.casefold() not in used)
            expected.append(known.get(source, free))
            used.add(expected[-1].casefold())
        assert name_sources(sources, known, taken) == expected


def test_ten_thousand_sources_may_be_called_alike():
    names = name_sources([f'{i}/video.mp4' for i in range(10_000)])
    assert names[-1] == 'video_10000'
    assert len(set(names)) == 10_000
