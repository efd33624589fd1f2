# Copyright (c) mmfdta authors.
"""Videos: containers, sizes, and names that tell whether they are whole."""

import shutil
from collections import namedtuple

import cv2
import numpy as np
import pytest

from mmfdta.visualization import VIDEO_SUFFIXES, VideoWriter


def _frames(path):
    capture = cv2.VideoCapture(str(path))
    found = []
    while True:
        ok, image = capture.read()
        if not ok:
            return found, capture.get(cv2.CAP_PROP_FPS)
        found.append(image)


@pytest.mark.parametrize('suffix', VIDEO_SUFFIXES)
def test_every_container_holds_every_frame(tmp_path, suffix):
    path = tmp_path / 'new' / f'v{suffix}'
    writer = VideoWriter(path, 12.5)
    for value in range(9):
        writer.write(np.full((64, 96, 3), 20 * value, np.uint8))
    assert not path.exists()
    assert writer.finish() == path
    frames, rate = _frames(path)
    assert [round(float(f.mean()) / 20) for f in frames] == list(range(9))
    assert rate == pytest.approx(12.5)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_odd_sizes_are_written(tmp_path):
    writer = VideoWriter(tmp_path / 'v.mp4', 10)
    for _ in range(3):
        writer.write(np.zeros((61, 83, 3), np.uint8))
    assert len(_frames(writer.finish())[0]) == 3


def test_earlier_video_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / 'v.avi'
    path.write_bytes(b'earlier')
    writer = VideoWriter(path, 10)
    writer.write(np.zeros((32, 32, 3), np.uint8))
    assert path.read_bytes() == b'earlier'
    writer.discard()
    assert path.read_bytes() == b'earlier'
    assert [p.name for p in tmp_path.iterdir()] == ['v.avi']


def test_video_that_lost_frames_is_refused(tmp_path, monkeypatch):
    """An encoder that cannot write says nothing; the file is looked at."""
    path = tmp_path / 'v.mp4'
    path.write_bytes(b'earlier')
    writer = VideoWriter(path, 10)
    for _ in range(5):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.num_frames += 3
    with pytest.raises(OSError, match=r'5 of 8 frames'):
        writer.finish()
    assert path.read_bytes() == b'earlier'
    assert [p.name for p in tmp_path.iterdir()] == ['v.mp4']


def test_full_disk_is_noticed_on_the_way(tmp_path, monkeypatch):
    usage = namedtuple('usage', 'total used free')(1, 1, 1000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    writer = VideoWriter(tmp_path / 'v.mp4', 10)
    with pytest.raises(OSError, match='disk is full after 0 frames'):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.discard()
    assert not list(tmp_path.iterdir())


def test_wrong_names_and_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'v\.gif.*\.mp4'):
        VideoWriter(tmp_path / 'v.gif', 10)
    writer = VideoWriter(tmp_path / 'v.mp4', 10)
    writer.write(np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match='frame 2 is 48x32, expected 32x32'):
        writer.write(np.zeros((32, 48, 3), np.uint8))
    writer.discard()


def test_no_frames_make_no_file(tmp_path):
    assert VideoWriter(tmp_path / 'v.mp4', 10).finish() is None
    assert not list(tmp_path.iterdir())


def test_context_manager_finishes_or_discards(tmp_path):
    frame = np.zeros((64, 96, 3), np.uint8)
    with VideoWriter(tmp_path / 'whole.mp4', 10) as writer:
        writer.write(frame)
    with (
        pytest.raises(ValueError, match='one size'),
        VideoWriter(tmp_path / 'broken.mp4', 10) as writer,
    ):
        writer.write(frame)
        writer.write(frame[:32])
    assert [path.name for path in tmp_path.iterdir()] == ['whole.mp4']
