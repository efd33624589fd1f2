# Copyright (c) mmfdta authors.
"""Stretches that cannot be decoded, packets that are missing, files that were cut."""

import av
import numpy as np
import pytest

from mmfdta.visualization import VideoWriter


def damage(path, wanted, value=0xFF):
    """Overwrite the packets of some frames, in the order of decoding."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(video=0) if p.size]
    for number in wanted:
        content = bytes(packets[number - 1])
        start = data.index(content)
        data[start : start + len(content)] = bytes([value]) * len(content)
    path.write_bytes(data)
    return path


PLAIN = dict(options={'bf': '0'})


def test_a_broken_stretch_ends_the_run(clip, read):
    found = read(damage(clip('v.mp4', **PLAIN), range(8, 11)))
    assert found.numbers == found_numbers(found) == list(range(1, 8))
    assert 'broken after frame 7; --skip-broken' in found.source.problem


def found_numbers(found) -> list[int]:
    """Numbers of the frames by what is in them."""
    return [index + 1 for index in found.indices]


@pytest.mark.parametrize('name', ['v.mp4', 'v.mkv', 'v.avi'])
def test_a_broken_stretch_is_crossed_to_the_next_key_frame(clip, read, name):
    """Frames 8 to 10 are gone; 11 is the next key frame."""
    found = read(damage(clip(name, **PLAIN), range(8, 11)), skip_broken=True)
    assert found.numbers == found_numbers(found) == [*range(1, 8), *range(11, 21)]
    assert (found.source.skipped, found.source.problem) == (3, None)


def test_frames_that_rest_on_lost_ones_are_not_given(clip, read):
    """FFmpeg decodes 8 to 10 without 7, into smears."""
    found = read(damage(clip('v.mp4', **PLAIN), [7]), skip_broken=True)
    assert found.numbers == found_numbers(found) == [*range(1, 7), *range(11, 21)]
    assert found.source.skipped == 4


def test_broken_frames_that_others_do_not_need(clip, read):
    """Every JPEG stands for itself."""
    path = clip('v.avi', 'mjpeg', pixels='yuvj420p')
    found = read(damage(path, [5, 6, 20], value=0), skip_broken=True)
    assert found.numbers == found_numbers(found) == [*range(1, 5), *range(7, 20)]
    assert found.source.skipped == 3


def test_reordered_frames_keep_their_numbers(clip, read):
    path = clip('v.mp4', options={'bf': '3', 'b-adapt': '0'}, key_frames=10)
    found = read(damage(path, [4]), skip_broken=True)
    assert found.numbers == found_numbers(found)
    assert found.source.skipped == 20 - len(found.numbers) > 0
    assert found.numbers[-1] == 20


def test_missing_packets_of_a_transport_stream_leave_a_gap(clip, read):
    """The decoder never hears of them: the container and the time tell."""
    path = clip('v.ts', format='mpegts', **PLAIN)
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(video=0) if p.size]
    data = path.read_bytes()
    start, end = packets[6].pos, packets[9].pos
    path.write_bytes(data[: start + 188] + data[end + 188 :])
    found = read(path)
    assert found.numbers == found_numbers(found)
    assert found.numbers[-1] == 20
    assert found.source.skipped == 20 - len(found.numbers) >= 2


def test_a_recording_that_begins_between_key_frames(clip, read):
    path = clip('v.ts', format='mpegts', **PLAIN)
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(video=0) if p.size]
    path.write_bytes(path.read_bytes()[packets[2].pos :])
    found = read(path)
    assert found.indices == list(range(5, 20))
    assert found.numbers == list(range(1, 16))
    assert (found.source.skipped, found.source.problem) == (0, None)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('v.mp4', 'announces 20 frames'),
        ('v.avi', 'announces 20 frames'),
        ('v.webm', 'announces 3.0 s'),
    ],
)
def test_a_file_that_was_cut_off_is_told(clip, read, name, words):
    path = clip(
        name,
        'libvpx' if name == 'v.webm' else 'mpeg4',
        count=75 if name == 'v.webm' else 20,
        size=(160, 120),
        container={'movflags': 'faststart'} if name == 'v.mp4' else None,
    )
    whole = read(path)
    assert whole.source.problem is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    found = read(path)
    assert 0 < len(found.numbers) < len(whole.numbers)
    assert words in found.source.problem


def test_dropped_frames_of_an_avi_are_not_missing_at_its_end(tmp_path, read):
    """The pause is empty chunks, which the header counts: 58 frames for 40."""
    path = tmp_path / 'v.avi'
    times = [*(i / 25 for i in range(20)), *(1.52 + i / 25 for i in range(20))]
    with VideoWriter(path, 25) as writer:
        for index, time in enumerate(times):
            writer.write(np.full((48, 64, 3), 6 * index, np.uint8), time)
    found = read(path)
    assert found.source.num_frames == 58
    assert (len(found.numbers), found.source.problem) == (40, None)
    assert found.times == pytest.approx(times)
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    # Cut off before the 31st packet: 20 frames, 18 that were dropped, 10 frames.
    path.write_bytes(path.read_bytes()[: packets[30].pos])
    found = read(path)
    assert len(found.numbers) == 30
    assert 'announces 58 frames, but ends after 48' in found.source.problem


def test_nothing_can_be_decoded(clip, read):
    path = damage(clip('v.mp4', count=6, **PLAIN), range(1, 7))
    with pytest.raises(OSError, match=r'v\.mp4'):
        read(path)
    with pytest.raises(OSError, match=r'v\.mp4'):
        read(path, skip_broken=True)
