# Copyright (c) mmfdta authors.
"""What players and readers find in a video: codec, colours, times and audio."""

import struct
from fractions import Fraction
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from mmfdta.visualization import VideoWriter, pyav_encoding

SOUND_RATE = 48000


@pytest.fixture
def said(monkeypatch):
    """The messages, as they come."""
    lines = []
    monkeypatch.setattr(pyav_encoding, 'say', lambda text, *_: lines.append(text))
    return lines


def _times(path):
    """Time stamps of the frames, seconds, exactly."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = Fraction(stream.time_base)
        return [frame.pts * base for frame in container.decode(stream)]


def _boxes(path):
    """Names of the parts that an MP4 file is made of, in order."""
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        size, name = struct.unpack('>I4s', data[at : at + 8])
        names.append(name.decode())
        at += size
    return names


# ------------------------------------------------------------------------- pictures
@pytest.mark.parametrize('suffix', ['.mp4', '.m4v', '.mov', '.mkv'])
def test_h264_is_what_browsers_play(tmp_path, suffix):
    path = tmp_path / f'v{suffix}'
    with VideoWriter(path, Fraction(30000, 1001)) as writer:
        for i in range(150):
            writer.write(np.full((62, 84, 3), i, np.uint8))
    with av.open(str(path)) as container:
        (stream,) = container.streams
        context = stream.codec_context
        assert (context.name, context.profile) == ('h264', 'High')
        assert (context.pix_fmt, context.width, context.height) == ('yuv420p', 84, 62)
        assert float(stream.average_rate) == pytest.approx(30000 / 1001, rel=1e-4)
        assert container.duration / 1e6 == pytest.approx(150 * 1001 / 30000, abs=2e-3)
        packets = [packet for packet in container.demux(stream) if packet.size]
        keys = [float(p.pts * p.time_base) for p in packets if p.is_keyframe]
    assert len(packets) == 150
    assert keys[0] == 0 and max(b - a for a, b in pairwise([*keys, 5.0])) < 2.05
    if suffix != '.mkv':
        names = _boxes(path)
        assert names.index('moov') < names.index('mdat')


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv', '.avi', '.webm'])
def test_colours_come_back_in_readers_that_follow_tags_and_in_opencv(tmp_path, suffix):
    random = np.random.default_rng(0)
    corners = [(b, g, r) for b in (0, 255) for g in (0, 255) for r in (0, 255)]
    colors = np.array([*corners, *random.integers(0, 256, (16, 3))], np.uint8)
    image = np.repeat(np.repeat(colors[:, None], 64, 1), 32, 0)
    path = tmp_path / f'v{suffix}'
    with VideoWriter(path, 25, crf=None if suffix == '.avi' else 1) as writer:
        for _ in range(3):
            writer.write(image)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        exact = frame.to_ndarray(format='bgr24', interpolation=0x40000 | 0x2000 | 4)
        if suffix != '.avi':  # whose codec has no such tags
            tags = frame.colorspace, frame.color_range
            assert tags == (6, 1)  # BT.601, limited
    _, fast = cv2.VideoCapture(str(path)).read()
    loss = 6 if suffix == '.avi' else 0  # MPEG-4 is quantised
    for found, rounding in ((exact, 2), (fast, 4)):
        middle = found[16::32, 32].astype(int)
        assert np.abs(middle - colors).max() <= rounding + loss
        # No channel is too dark or too bright as a whole.
        inner = (colors > 4) & (colors < 251)
        bias = [(middle - colors)[inner[:, c], c].mean() for c in range(3)]
        assert np.abs(bias).max() < 0.5 * rounding + 0.1 * loss


def test_thin_coloured_lines_keep_their_colour(tmp_path):
    """Chroma is the mean of its pixels, not one of them."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 1::2] = 0, 0, 250
    with VideoWriter(tmp_path / 'v.mp4', 25, crf=1) as writer:
        writer.write(image)
    _, found = cv2.VideoCapture(str(tmp_path / 'v.mp4')).read()
    assert found[16:48, 16:48, 2].mean() == pytest.approx(125, abs=10)


def test_rate_factor_trades_size_for_quality(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    sizes = []
    for factor in (10, 23, 40):
        with VideoWriter(tmp_path / 'v.mp4', 25, crf=factor) as writer:
            for i in range(5):
                writer.write(np.roll(noise, i, axis=1))
        sizes.append((tmp_path / 'v.mp4').stat().st_size)
    assert sizes[0] > 1.5 * sizes[1] > 2 * sizes[2]


def test_pixels_that_are_not_square_stay_so(tmp_path):
    path = tmp_path / 'v.mp4'
    with VideoWriter(path, 25, pixel_aspect=Fraction(16, 15)) as writer:
        writer.write(np.zeros((64, 80, 3), np.uint8))
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 15)


def test_without_x264_the_codec_is_said(tmp_path, said, monkeypatch):
    left = av.codecs_available - {'libx264'}
    monkeypatch.setattr(av, 'codecs_available', left)
    with VideoWriter(tmp_path / 'v.mp4', 25) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    assert len(said) == 1 and 'has no libx264' in said[0]
    with av.open(str(tmp_path / 'v.mp4')) as container:
        assert container.streams.video[0].codec_context.name == 'mpeg4'
    monkeypatch.setattr(av, 'codecs_available', set())
    with pytest.raises(OSError, match='none of the encoders libx264, mpeg4'):
        VideoWriter(tmp_path / 'w.mp4', 25).write(np.zeros((32, 32, 3), np.uint8))


# ---------------------------------------------------------------------------- times
@pytest.mark.parametrize(
    'unit', [Fraction(1, 90000), Fraction(1, 15360), Fraction(1001, 30000), None]
)
def test_uneven_times_are_exact_in_mp4(tmp_path, unit):
    ticks = [0, 1, 2, 40, 41, 400, 7000]
    base = unit or Fraction(1, 24000)  # no unit: one of the rate's
    times = [tick * base for tick in ticks]
    path = tmp_path / 'v.mp4'
    rate = Fraction(24000, 1001)
    with VideoWriter(path, rate, time_base=unit) as writer:
        for time in times:
            writer.write(np.zeros((32, 32, 3), np.uint8), float(time))
    assert _times(path) == times
    with av.open(str(path)) as container:
        end = float(times[-1] + 1 / rate)
        assert container.duration / 1e6 == pytest.approx(end, abs=1e-3 + float(base))


def test_times_between_the_ticks_of_a_coarse_clock_are_kept(tmp_path):
    times = [0, 1 / 30, 0.04, 1 / 15, 0.1]
    with VideoWriter(tmp_path / 'v.mp4', 25, time_base=Fraction(1, 25)) as writer:
        for time in times:
            writer.write(np.zeros((32, 32, 3), np.uint8), time)
    found = [float(time) for time in _times(tmp_path / 'v.mp4')]
    np.testing.assert_allclose(found, times, rtol=0, atol=6e-6)


@pytest.mark.parametrize(('suffix', 'off'), [('.mkv', 0.0006), ('.webm', 0.0006)])
def test_uneven_times_are_kept_to_the_millisecond(tmp_path, suffix, off):
    times = [0, 0.0333667, 0.0667333, 0.5, 2.0020367]
    with VideoWriter(tmp_path / f'v{suffix}', 30) as writer:
        for time in times:
            writer.write(np.zeros((32, 32, 3), np.uint8), time)
    found = [float(time) for time in _times(tmp_path / f'v{suffix}')]
    np.testing.assert_allclose(found, times, rtol=0, atol=off)


def test_avi_keeps_times_to_the_frame_of_its_rate(tmp_path):
    with VideoWriter(tmp_path / 'v.avi', 10) as writer:
        for time in (0, 0.11, 0.5, 0.51, 1.24):
            writer.write(np.zeros((32, 32, 3), np.uint8), time)
    found = [float(time) for time in _times(tmp_path / 'v.avi')]
    assert found == pytest.approx([0, 0.1, 0.5, 0.6, 1.2])


def test_times_that_stand_still_or_go_back_do_not_lose_frames(tmp_path):
    given = [5.0, 5.0, 5.2, 5.1, 5.3]
    with VideoWriter(tmp_path / 'v.mp4', 10) as writer:
        for time in given:
            writer.write(np.zeros((32, 32, 3), np.uint8), time)
    found = _times(tmp_path / 'v.mp4')
    # The video begins with its first frame.
    np.testing.assert_allclose(
        [float(t) for t in found], [0, 0, 0.2, 0.2, 0.3], atol=0.001
    )
    assert all(a < b for a, b in pairwise(found))


@pytest.mark.parametrize('suffix', ['.mp4', '.mov', '.avi'])
def test_a_gap_that_no_container_keeps_is_said(tmp_path, said, suffix):
    path = tmp_path / f'v{suffix}'
    with VideoWriter(path, 10) as writer:
        for time in (0, 1, 1e7, 1e7 + 1, 1e7 + 3):
            writer.write(np.zeros((32, 32, 3), np.uint8), time)
    assert len(said) == 1 and 'A gap of 9999999 s' in said[0]
    found = [float(time) for time in _times(path)]
    assert found == pytest.approx([0, 1, 1.1, 2.1, 4.1])


# ---------------------------------------------------------------------------- audio
def _film(path, video, audio, late=Fraction(0), seconds=2, layout='stereo'):
    """Write a film that is black and silent for a second, then white and loud.

    Args:
        late: How much later than 0 all of it begins.
    """
    with av.open(str(path), 'w') as container:
        pictures = container.add_stream(video, rate=25)
        pictures.width = pictures.height = 64
        pictures.pix_fmt = 'yuv420p'
        sound = container.add_stream(audio, rate=SOUND_RATE, layout=layout)
        for i in range(25 * seconds):
            value = 255 * (i >= 25)
            frame = av.VideoFrame.from_ndarray(
                np.full((64, 64), value, np.uint8), 'gray'
            )
            frame.pts, frame.time_base = i + round(25 * late), Fraction(1, 25)
            for packet in pictures.encode(frame):
                container.mux(packet)
        moments = np.arange(seconds * SOUND_RATE) / SOUND_RATE
        wave = np.where(moments >= 1, np.sin(2 * np.pi * 1000 * moments), 0)
        samples = (20000 * wave).astype(np.int16)
        channels = 1 if layout == 'mono' else 2
        for first in range(0, len(samples), 960):
            part = np.repeat(samples[first : first + 960], channels)[None]
            piece = av.AudioFrame.from_ndarray(part, 's16', layout)
            piece.sample_rate = SOUND_RATE
            piece.pts = first + round(SOUND_RATE * late)
            piece.time_base = Fraction(1, SOUND_RATE)
            for packet in sound.encode(piece):
                container.mux(packet)
        for stream in (pictures, sound):
            for packet in stream.encode(None):
                container.mux(packet)
    return path


def _copy(source, path, num_frames=None, **options):
    """Write the frames of a film anew, with its audio."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        base = Fraction(stream.time_base)
        frames = [
            (frame.pts * base, frame.to_ndarray(format='bgr24'))
            for frame in container.decode(stream)
        ][:num_frames]
    start = frames[0][0]
    options = dict(time_base=base, audio_from=source, audio_start=start) | options
    with VideoWriter(path, 25, **options) as writer:
        for time, image in frames:
            writer.write(image, time - start)
    return path


def _hear(path):
    """Codec, the first loud moment, the end of the sound, the first white moment."""
    loud = white = None
    with av.open(str(path)) as container:
        codec = container.streams.audio[0].codec_context.name
        resampler = av.AudioResampler('flt', 'mono')
        for frame in container.decode(audio=0):
            begin = float(frame.pts * frame.time_base)
            end = begin + frame.samples / frame.sample_rate
            for part in resampler.resample(frame):
                found = np.flatnonzero(np.abs(part.to_ndarray()[0]) > 0.1)
                if loud is None and len(found):
                    loud = begin + found[0] / frame.sample_rate
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if white is None and frame.to_ndarray(format='gray').mean() > 128:
                white = float(frame.pts * frame.time_base)
    return codec, loud, end, white


@pytest.mark.parametrize(
    ('source', 'video', 'audio', 'target', 'expected'),
    [
        ('a.mp4', 'libx264', 'aac', 'v.mp4', 'aac'),
        ('a.ts', 'libx264', 'aac', 'v.mp4', 'aac'),
        ('a.mkv', 'libx264', 'flac', 'v.mp4', 'aac'),
        ('a.mkv', 'libx264', 'ac3', 'v.mkv', 'ac3'),
        ('a.webm', 'libvpx', 'libopus', 'v.webm', 'opus'),
        ('a.mp4', 'libx264', 'aac', 'v.webm', 'opus'),
        ('a.mov', 'libx264', 'pcm_s16le', 'v.mov', 'pcm_s16le'),
        ('a.mpg', 'mpeg2video', 'mp2', 'v.mov', 'aac'),
        ('a.mkv', 'libx264', 'flac', 'v.avi', 'mp3float'),
    ],
)
@pytest.mark.parametrize('layout', ['stereo', 'mono'])
def test_audio_stays_with_the_pictures(
    tmp_path, source, video, audio, target, expected, layout
):
    film = _film(tmp_path / source, video, audio, layout=layout)
    codec, loud, end, white = _hear(_copy(film, tmp_path / target))
    assert codec == expected
    assert white == pytest.approx(1, abs=0.001)
    assert loud == pytest.approx(1, abs=0.003)
    assert end == pytest.approx(2, abs=0.05)


def test_packets_that_fit_are_copied_to_the_bit(tmp_path):
    film = _film(tmp_path / 'a.mp4', 'libx264', 'aac')
    kept = _copy(film, tmp_path / 'v.mp4')
    found = []
    for path in (film, kept):
        with av.open(str(path)) as container:
            packets = container.demux(audio=0)
            found.append([bytes(p) for p in packets if p.size and p.pts >= 0])
    assert found[0] == found[1] and len(found[0]) > 80


@pytest.mark.parametrize('audio', ['aac', 'mp2'])
def test_clock_of_the_source_may_begin_anywhere(tmp_path, audio):
    film = _film(tmp_path / 'a.ts', 'libx264', audio, late=Fraction(10))
    assert _times(film)[0] >= 10
    _, loud, _, white = _hear(_copy(film, tmp_path / 'v.mp4'))
    assert white == pytest.approx(1, abs=0.001)
    assert loud == pytest.approx(1, abs=0.003)


@pytest.mark.parametrize('audio', ['aac', 'flac'])
def test_audio_ends_with_the_last_frame(tmp_path, audio):
    film = _film(tmp_path / 'a.mkv', 'libx264', audio, seconds=3)
    _, loud, end, white = _hear(_copy(film, tmp_path / 'v.mp4', num_frames=35))
    assert (white, loud) == pytest.approx((1, 1), abs=0.003)
    assert end == pytest.approx(35 / 25, abs=0.08)  # and the packet that had begun


def test_frames_that_lack_do_not_move_the_audio(tmp_path):
    """The picture before stays where frames could not be read."""
    film = _film(tmp_path / 'a.mp4', 'libx264', 'aac')
    with VideoWriter(tmp_path / 'v.mp4', 25, audio_from=film) as writer:
        for i in (0, 1, 2, *range(20, 50)):
            writer.write(np.full((64, 64, 3), 255 * (i >= 25), np.uint8), i / 25)
    _, loud, _, white = _hear(tmp_path / 'v.mp4')
    assert (white, loud) == pytest.approx((1, 1), abs=0.003)


def test_a_video_without_audio_is_one_line(tmp_path, said):
    mute = tmp_path / 'mute.mp4'
    with VideoWriter(mute, 25) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    (tmp_path / 'broken.mp4').write_bytes(b'nothing')
    for name in ('mute.mp4', 'broken.mp4', 'none.mp4'):
        with VideoWriter(tmp_path / 'v.mp4', 25, audio_from=tmp_path / name) as writer:
            writer.write(np.zeros((32, 32, 3), np.uint8))
        with av.open(str(tmp_path / 'v.mp4')) as container:
            assert not container.streams.audio
    assert [line.partition(':')[0].partition('(')[0].strip() for line in said] == [
        'mute.mp4 has no audio',
        'broken.mp4 has audio that cannot be read',
        'none.mp4 has audio that cannot be read',
    ]


def test_audio_that_breaks_off_leaves_the_pictures_whole(tmp_path, said):
    film = _film(tmp_path / 'a.ts', 'libx264', 'aac')
    whole = _copy(film, tmp_path / 'whole.mp4')
    data = bytearray(film.read_bytes())
    noise = np.random.default_rng(0).integers(0, 255, len(data) // 3, np.uint8)
    data[len(data) // 3 : len(data) // 3 + len(noise)] = noise.tobytes()
    film.write_bytes(data[: len(data) * 9 // 10])
    with (
        av.open(str(whole)) as container,
        VideoWriter(
            tmp_path / 'v.mp4', 25, audio_from=film, audio_start=1.48
        ) as writer,
    ):
        for frame in container.decode(video=0):
            writer.write(frame.to_ndarray(format='bgr24'), float(frame.time))
    assert _times(tmp_path / 'v.mp4') == _times(whole)
