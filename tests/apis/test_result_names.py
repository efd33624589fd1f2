# Copyright (c) mmfdta authors.
"""What results are called, and that none replaces a video."""

from pathlib import Path

import numpy as np
import pytest

from mmfdta.apis.result_names import name_results, name_sources, refuse_replacing


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
