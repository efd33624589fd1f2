# Copyright (c) mmfdta authors.
"""Videos: containers, sizes, and names that tell whether they are whole."""

import shutil
import sys
from collections import namedtuple

import cv2
import numpy as np
import pytest

from mmfdta.visualization import VIDEO_SUFFIXES, VideoWriter, video_writer

WRITERS = 'PyAV', 'OpenCV'


@pytest.fixture(params=WRITERS)
def by(request, monkeypatch):
    """Either is what writes."""
    if request.param == 'OpenCV':
        monkeypatch.setitem(sys.modules, 'av', None)
    return request.param


@pytest.fixture
def without_pyav(monkeypatch):
    """PyAV is not installed."""
    monkeypatch.setitem(sys.modules, 'av', None)


@pytest.fixture
def said(monkeypatch):
    """The messages, as they come."""
    lines = []
    monkeypatch.setattr(video_writer, 'say', lambda text, *_: lines.append(text))
    return lines


def _frames(path):
    capture = cv2.VideoCapture(str(path))
    found = []
    while True:
        ok, image = capture.read()
        if not ok:
            return found, capture.get(cv2.CAP_PROP_FPS)
        found.append(image)


@pytest.mark.parametrize('suffix', VIDEO_SUFFIXES)
def test_every_container_holds_every_frame(tmp_path, suffix, by):
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


@pytest.mark.parametrize('size', [(61, 83), (1, 1), (2, 300)])
def test_odd_sizes_are_written(tmp_path, size):
    writer = VideoWriter(tmp_path / 'v.mp4', 10)
    image = np.random.default_rng(0).integers(0, 200, (*size, 3), np.uint8)
    image[:, -1], image[-1] = 250, 250
    for _ in range(3):
        writer.write(image)
    frames, _ = _frames(writer.finish())
    assert len(frames) == 3
    even = size[0] + size[0] % 2, size[1] + size[1] % 2
    assert frames[0].shape[:2] == even
    # The border that is repeated, and no black.
    assert frames[0][size[0] - 1 :].min() > 200


def test_earlier_video_stays_until_the_new_one_is_whole(tmp_path, by):
    path = tmp_path / 'v.avi'
    path.write_bytes(b'earlier')
    writer = VideoWriter(path, 10)
    writer.write(np.zeros((32, 32, 3), np.uint8))
    assert path.read_bytes() == b'earlier'
    writer.discard()
    assert path.read_bytes() == b'earlier'
    assert [p.name for p in tmp_path.iterdir()] == ['v.avi']


def test_names_that_look_like_addresses_and_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        'a:b.mp4',
        'v_%03d.mp4',
        'Größe 1.mkv',
        "it's.webm",
        f'{"ä" * 125}.mp4',
    ):
        with VideoWriter(name, 10) as writer:
            writer.write(np.zeros((32, 32, 3), np.uint8))
        assert len(_frames(tmp_path / name)[0]) == 1


def test_video_that_lost_frames_is_refused(tmp_path, monkeypatch, without_pyav):
    """OpenCV says nothing when it cannot write; the file is looked at."""
    path = tmp_path / 'v.mp4'
    path.write_bytes(b'earlier')
    writer = VideoWriter(path, 10)
    for _ in range(5):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer._encoder._num_frames += 3
    with pytest.raises(OSError, match=r'5 of 8 frames'):
        writer.finish()
    assert path.read_bytes() == b'earlier'
    assert [p.name for p in tmp_path.iterdir()] == ['v.mp4']


def test_full_disk_is_noticed_on_the_way(tmp_path, monkeypatch, without_pyav):
    usage = namedtuple('usage', 'total used free')(1, 1, 1000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    writer = VideoWriter(tmp_path / 'v.mp4', 10)
    with pytest.raises(OSError, match='disk is full after 0 frames'):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.discard()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('suffix', VIDEO_SUFFIXES)
def test_file_that_may_not_grow_is_one_error(tmp_path, suffix):
    """A limit on the size of files stands for the disk."""
    resource = pytest.importorskip('resource')
    signal = pytest.importorskip('signal')
    path = tmp_path / f'v{suffix}'
    path.write_bytes(b'earlier')
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with (
            pytest.raises(OSError, match=rf'the video.*v\{suffix}'),
            VideoWriter(path, 10) as writer,
        ):
            for i in range(30):
                writer.write(np.roll(noise, 7 * i, axis=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b'earlier'
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_wrong_names_images_and_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'v\.gif.*\.mp4'):
        VideoWriter(tmp_path / 'v.gif', 10)
    for rate in (0, -1, 1e-6, 1e9, float('nan'), float('inf'), None):
        with pytest.raises(ValueError, match='frame rate'):
            VideoWriter(tmp_path / 'v.mp4', rate)
    for name, factor in (('v.mp4', 0), ('v.mkv', 52), ('v.webm', 64), ('v.avi', 20)):
        with pytest.raises(ValueError, match=rf'{name}: .*crf'):
            VideoWriter(tmp_path / name, 10, crf=factor)
    writer = VideoWriter(tmp_path / 'v.mp4', 10)
    images = np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), [[1]], None
    for image in images:
        with pytest.raises(ValueError, match=r'expected uint8 \(H, W, 3\)'):
            writer.write(image)
    assert not list(tmp_path.iterdir())


def test_frames_of_another_size_are_scaled_and_said_once(tmp_path, said, by):
    path = tmp_path / 'v.avi'
    with VideoWriter(path, 10) as writer:
        writer.write(np.full((64, 96, 3), 100, np.uint8))
        for size in ((32, 96), (640, 10), (128, 192)):
            writer.write(np.full((*size, 3), 200, np.uint8))
    frames, _ = _frames(path)
    assert [frame.shape for frame in frames] == [(64, 96, 3)] * 4
    found = [frame.mean(axis=2) for frame in frames]
    # Twice as wide: bars above and below of a quarter each.
    assert found[1][20:44].min() > 180 and found[1][:12].max() < 20
    assert found[1][-12:].max() < 20
    # Very tall: a line one pixel wide in the middle.
    assert found[2][:, 44:52].max() > 100 and found[2][:, :40].max() < 20
    assert found[3].min() > 180
    (line,) = said
    assert 'frame 2 is 96x32, the first is 96x64' in line


@pytest.mark.parametrize('suffix', VIDEO_SUFFIXES)
@pytest.mark.parametrize('rate', [0.001, 1000, 29.97, 23.976023976, np.float32(7.5)])
def test_any_rate_in_range_is_written(tmp_path, suffix, rate):
    path = tmp_path / f'v{suffix}'
    with VideoWriter(path, rate) as writer:
        for _ in range(3):
            writer.write(np.zeros((32, 32, 3), np.uint8))
    frames, found = _frames(path)
    assert len(frames) == 3
    assert found == pytest.approx(rate, rel=1e-3) or rate < 1  # OpenCV says 1000


def test_no_frames_make_no_file(tmp_path):
    assert VideoWriter(tmp_path / 'v.mp4', 10).finish() is None
    assert not list(tmp_path.iterdir())


def test_context_manager_finishes_or_discards(tmp_path):
    frame = np.zeros((64, 96, 3), np.uint8)
    with VideoWriter(tmp_path / 'whole.mp4', 10) as writer:
        writer.write(frame)
    with (
        pytest.raises(ValueError, match='expected uint8'),
        VideoWriter(tmp_path / 'broken.mp4', 10) as writer,
    ):
        writer.write(frame)
        writer.write(frame[..., 0])
    assert [path.name for path in tmp_path.iterdir()] == ['whole.mp4']


def test_opencv_says_what_it_cannot_keep(tmp_path, said, without_pyav):
    with VideoWriter(tmp_path / 'v.mp4', 10, audio_from='x.mp4') as writer:
        for time in (0, 0.1, 0.9, 1.7):
            writer.write(np.zeros((32, 32, 3), np.uint8), time)
    audio, rate = said
    assert 'without audio' in audio
    assert 'do not come at 10 per second' in rate
    assert len(_frames(tmp_path / 'v.mp4')[0]) == 4
