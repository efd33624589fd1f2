# Copyright (c) mmfdta authors.
"""Containers, codecs, pixel formats, orientations and time stamps of videos."""

import io
import os
import signal
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mmfdta.apis.background import Prefetcher
from mmfdta.apis.sources import SourceOptions, kind_of_source, open_source

KINDS = {
    'h264.mp4': {},
    'fragments.mp4': dict(container={'movflags': 'frag_keyframe+empty_moov'}),
    'raw.h264': dict(format='h264'),
    'raw.m2v': dict(codec='mpeg2video', format='mpeg2video'),
    'raw.mjpeg': dict(codec='mjpeg', format='mjpeg', pixels='yuvj420p'),
    'stream.ts': dict(format='mpegts'),
    'stream.mpg': dict(codec='mpeg2video', format='mpeg'),
    'reordered.avi': {},
    'motion.avi': dict(codec='mjpeg', pixels='yuvj420p'),
    'flash.flv': {},
    'vp8.webm': dict(codec='libvpx', options={'auto-alt-ref': '1'}),
    'alpha.webm': dict(codec='libvpx-vp9', pixels='yuva420p'),
    'film.mov': dict(codec='prores_ks', pixels='yuva444p10le'),
    'ten_bits.mkv': dict(pixels='yuv422p10le'),
    'grey.mkv': dict(codec='ffv1', pixels='gray'),
    'odd.mkv': dict(codec='ffv1', size=(63, 47)),
    'picture.gif': dict(codec='gif', pixels='rgb8'),
    'a:b%03d*.mp4': {},
}


@pytest.mark.parametrize('name', KINDS)
def test_every_frame_comes_in_its_order_and_at_its_time(clip, read, name):
    found = read(clip(name, **KINDS[name]))
    assert found.numbers == list(range(1, 21))
    # Eight colours of a GIF are coarse.
    tolerance = 2 if 'gif' in name else 0
    assert all(
        abs(a - b) <= tolerance for a, b in zip(found.indices, range(20), strict=False)
    )
    assert found.images[0].shape == (47, 63, 3) if 'odd' in name else (48, 64, 3)
    assert (found.source.problem, found.source.live) == (None, False)
    if name == 'raw.mjpeg':  # nobody says how fast it is
        assert set(found.times) == {None}
    else:
        expected = [Fraction(i, 25) for i in range(20)]
        assert found.times == pytest.approx(expected, abs=1e-3)
        assert found.source.frame_rate == 25


def test_a_recording_without_a_count_or_an_index(clip, read, tmp_path):
    """What browsers write into a pipe: nothing is known before the end."""
    with av.open(str(clip('v.mkv', 'libvpx'))) as file:
        (stream,) = file.streams.video
        buffer = io.BytesIO()
        with av.open(_Pipe(buffer), 'w', format='webm', options={'live': '1'}) as out:
            copy = out.add_stream_from_template(stream)
            for packet in file.demux(stream):
                if packet.dts is not None:
                    packet.stream = copy
                    out.mux(packet)
    path = tmp_path / 'recording.webm'
    path.write_bytes(buffer.getvalue())
    found = read(path)
    assert found.source.num_frames is None
    assert found.indices == list(range(20))


class _Pipe:
    """Takes bytes and does not go back."""

    def __init__(self, buffer: io.BytesIO) -> None:
        self.write = buffer.write


@pytest.mark.parametrize('name', ['v.mkv', 'v.ts', 'v.avi', 'v.gif'])
def test_standard_input(clip, monkeypatch, name):
    data = clip(name, 'gif' if 'gif' in name else 'mpeg4', **_pixels(name)).read_bytes()
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(data)))
    assert [frame.number for frame in open_source('-')] == list(range(1, 21))


def test_ctrl_c_ends_the_wait_for_standard_input(monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, 'wb'):
        monkeypatch.setattr(sys, 'stdin', stdin)
        # A suite in the background of a shell is started with SIGINT ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        try:
            with pytest.raises(KeyboardInterrupt):
                open_source('-')
        finally:
            signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes with a name')
def test_a_pipe_with_a_name_is_left_while_its_writer_is_silent(clip, tmp_path):
    data = clip('v.ts', 'mpeg4').read_bytes()
    path = tmp_path / 'pipe 1'
    os.mkfifo(path)
    is_done, left = threading.Event(), threading.Event()

    def write() -> None:
        with path.open('wb') as file:
            file.write(data)
            file.flush()
            is_done.wait(60)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert kind_of_source(str(path)) == kind_of_source(path.as_uri()) == 'pipe'
    source = open_source(path.as_uri())
    reader = Prefetcher(source, 100)
    found = [next(iter(reader)).number for _ in range(10)]

    def leave() -> None:
        source.close()
        reader.close()
        left.set()

    threading.Thread(target=leave, daemon=True).start()
    try:
        assert left.wait(20), 'the source hangs in its pipe'
    finally:
        is_done.set()
    writer.join(20)
    assert found == list(range(1, 11))
    assert not writer.is_alive() and source.audio_from is None


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes with a name')
@pytest.mark.parametrize('name', ['v.mkv', 'deep.mkv'])
def test_a_pipe_with_a_name_is_read_once(clip, tmp_path, name):
    """Also where the range of the pixels is looked for."""
    deep = dict(codec='ffv1', pixels='gray16le') if name == 'deep.mkv' else {}
    video, path = clip(name, **deep), tmp_path / 'pipe'
    os.mkfifo(path)
    write = threading.Thread(
        target=lambda: path.write_bytes(video.read_bytes()), daemon=True
    )
    write.start()
    numbers = [frame.number for frame in open_source(path)]
    write.join(20)
    assert numbers == list(range(1, 21))


def _pixels(name: str) -> dict[str, str]:
    return dict(pixels='rgb8') if 'gif' in name else {}


# -------------------------------------------------------------------- orientation
@pytest.mark.parametrize('angle', [90, 180, 270])
@pytest.mark.parametrize('flip', [False, True])
def test_display_matrices_are_followed(clip, read, angle, flip):
    path = clip(
        'v.mp4',
        count=1,
        prepare=lambda stream: stream.set_display_rotation(angle, hflip=flip),
    )
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        stored = frame.to_ndarray(format='bgr24')
        matrix = np.frombuffer(frame.side_data['DISPLAYMATRIX'], np.int32) / 65536
    (image,) = read(path).images
    # Each corner of the stored picture goes where the matrix sends it.
    height, width = stored.shape[:2]
    a, b, _, c, d = matrix[:5]
    xs, ys = np.meshgrid([0, width - 1], [0, height - 1])
    moved_x, moved_y = a * xs + c * ys, b * xs + d * ys
    moved_x = np.rint(moved_x - moved_x.min()).astype(int)
    moved_y = np.rint(moved_y - moved_y.min()).astype(int)
    assert image.shape[:2] == ((width, height) if angle % 180 else (height, width))
    np.testing.assert_array_equal(image[moved_y, moved_x], stored[ys, xs])


# ---------------------------------------------------------------------- streams
def test_covers_are_no_videos_and_the_largest_video_is_taken(tmp_path, read):
    path = tmp_path / 'v.mp4'
    with av.open(str(path), 'w') as file:
        streams = []
        for size in ((320, 240), (32, 24), (64, 48)):
            codec = 'mjpeg' if size[0] == 320 else 'mpeg4'
            stream = file.add_stream(codec, rate=25)
            stream.width, stream.height = size
            stream.pix_fmt = 'yuvj420p' if size[0] == 320 else 'yuv420p'
            streams.append((stream, size))
        cover = streams[0][0]
        cover.disposition = av.stream.Disposition.attached_pic
        for stream, size in streams:
            for _ in range(1 if stream is cover else 3):
                image = np.zeros((size[1], size[0], 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format='rgb24')
                file.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
            file.mux(stream.encode(None))
    with pytest.warns(UserWarning, match='2 videos in it; .* 64x48, the largest'):
        found = read(path)
    assert [image.shape for image in found.images] == [(48, 64, 3)] * 3


def test_sizes_that_change(clip, read):
    parts = [
        clip(f'{i}.h264', format='h264', count=5, size=size, first=5 * i)
        for i, size in enumerate([(64, 48), (96, 64)])
    ]
    both = parts[0].with_name('both.h264')
    both.write_bytes(b''.join(part.read_bytes() for part in parts))
    found = read(both)
    assert found.indices == list(range(10))
    assert [i.shape for i in found.images] == [(48, 64, 3)] * 5 + [(64, 96, 3)] * 5


def test_what_is_no_video_is_one_line(tmp_path):
    sound = tmp_path / 'sound.m4a'
    with av.open(str(sound), 'w') as file:
        stream = file.add_stream('aac', rate=44100, layout='mono')
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format='fltp', layout='mono'
        )
        frame.sample_rate = 44100
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    for name, content in {
        'a.mp4': b'',
        'b.mp4': b'text ' * 99,
        'c.txt': b'text ' * 99,
    }.items():
        (tmp_path / name).write_bytes(content)
    for name, words in {
        'a.mp4': 'is empty',
        'b.mp4': 'no video in it',
        'c.txt': 'it is a text',
        'sound.m4a': 'only sound',
    }.items():
        with pytest.raises(OSError, match=words) as caught:
            open_source(tmp_path / name)
        assert name in str(caught.value) and '\n' not in str(caught.value)


# ------------------------------------------------------------------------- times
@pytest.mark.parametrize('name', ['v.mkv', 'v.mp4'])
def test_variable_rates_keep_their_times(clip, read, name):
    stamps = [0, 40, 80, 81, 300, 301, 1000, 5000, 65000, 65040]
    found = read(clip(name, stamps=stamps, unit=Fraction(1, 1000), count=10))
    assert found.times == [Fraction(stamp, 1000) for stamp in stamps]
    assert found.source.time_base is not None
    ticks = [time / found.source.time_base for time in found.times]
    assert all(tick.denominator == 1 for tick in ticks)


def test_a_clock_that_wraps_or_starts_anew_goes_on(clip, read, said):
    unit = Fraction(1, 90_000)
    stamps = [2**33 - 8 * 3600 + 3600 * i for i in range(20)]
    wrapped = clip('wrapped.ts', format='mpegts', stamps=stamps, unit=unit)
    expected = [Fraction(i, 25) for i in range(20)]
    assert read(wrapped).times == expected
    first = clip('first.ts', format='mpegts', count=10)
    later = [9_000_000 + 3600 * i for i in range(10)]
    second = clip(
        'second.ts', format='mpegts', count=10, stamps=later, unit=unit, first=10
    )
    for parts in ((first, second), (second, first)):
        joined = first.with_name(f'from_{parts[0].name}')
        joined.write_bytes(b''.join(part.read_bytes() for part in parts))
        assert read(joined).times == expected
    assert sum('its clock jumps' in text for text in said()) == 2


def test_what_an_edit_list_leaves_out_is_not_there(clip, read):
    path = clip('whole.mp4')
    edited = path.with_name('edited.mov')
    with av.open(str(path)) as file, av.open(str(edited), 'w') as out:
        (stream,) = file.streams.video
        copy = out.add_stream_from_template(stream)
        shift = round(Fraction(8, 25) / stream.time_base)
        for packet in file.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copy
                out.mux(packet)
    found = read(edited)
    assert found.indices == list(range(8, 20))
    assert found.numbers == list(range(1, 13))
    assert found.times == [Fraction(i, 25) for i in range(12)]
    assert found.source.problem is None


def test_a_rate_for_what_has_none(clip, read, said):
    path = clip('v.mjpeg', 'mjpeg', format='mjpeg', pixels='yuvj420p', count=4)
    assert read(path, frame_rate=10).times == [Fraction(i, 10) for i in range(4)]
    assert not said()
    read(path)
    assert '--fps' in said()[0]


def test_deep_grey_video_is_visible(tmp_path, read, said):
    """12 significant bits of 16: a sixteenth of white is nearly black."""
    path = tmp_path / 'thermal.mkv'
    with av.open(str(path), 'w') as file:
        stream = file.add_stream('ffv1', rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'gray16le'
        for index in range(10):
            values = np.full((48, 64), 400 * index, np.uint16)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(values, 'gray16le')))
        file.mux(stream.encode(None))
    found = read(path)
    greys = [int(image[0, 0, 0]) for image in found.images]
    assert greys == [round(400 * i * 255 / 4095) for i in range(10)]
    assert '0 to 4095' in said()[0]
    other = read(path, value_range=(0, 65535))
    assert [int(i[0, 0, 0]) for i in other.images] == [
        round(400 * i / 257) for i in range(10)
    ]


@pytest.mark.parametrize(
    'wrong',
    [dict(reconnect=-1), dict(frame_rate=0), dict(frame_rate=float('nan'))]
    + [dict(value_range=(5, 5)), dict(value_range=(0, float('inf')))],
)
def test_senseless_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SourceOptions(**wrong)


def test_nothing_is_written_to_the_screen(clip, read, capfd):
    path = clip('v.mp4')
    data = bytearray(path.read_bytes())
    data[600:700] = bytes(100)
    path.write_bytes(data)
    read(path, skip_broken=True)
    assert capfd.readouterr() == ('', '')


def test_a_closed_source_ends(clip):
    source = open_source(clip('v.mp4'))
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []
    unread = open_source(Path(clip('w.mp4')))
    unread.close()
