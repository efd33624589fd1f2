# Copyright (c) mmfdta authors.
"""Results of one run in every format: they say the same, and are whole or say so."""

import csv
import json
import resource
import signal
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from mmfdta.apis import track_outputs
from mmfdta.apis.track_outputs import VideoFacts, VideoOptions, plan_outputs
from mmfdta.apis.tracked_frame import TrackedFrame
from mmfdta.structures import Tracks
from mmfdta.structures.mot_text import read_tracks
from mmfdta.structures.track_embeddings import EmbeddedTracks, TrackEmbeddings
from mmfdta.visualization import TrackStyle

CLASSES = 'person', 'car, "red"'
# Numbers of the source with gaps, as broken frames leave them, and uneven times.
NUMBERS = 1, 2, 5, 6, 9
TIMES = tuple(Fraction(tick, 90000) for tick in (0, 3003, 15015, 18019, 90001))
FACTS = VideoFacts('v.mp4', Fraction(30000, 1001), CLASSES, (1, 3), Fraction(1, 90000))


def _frames(times=TIMES):
    random = np.random.default_rng(0)
    frames = []
    for i, (number, time) in enumerate(zip(NUMBERS, times, strict=True)):
        rows = 0 if i == 2 else 3  # nobody is there in the third
        tracks = Tracks.create(
            [number] * rows,
            random.permutation(20)[:rows],
            random.uniform(-5, 60, (rows, 4)),
            random.uniform(0, 1, rows),
            random.integers(0, 2, rows),
        )
        image = np.full((64, 96, 3), 20 * i, np.uint8)
        seconds = None if time is None else float(time)
        frames.append(TrackedFrame(number - 1, image, tracks, time=seconds))
    return frames


def _write(paths, frames, complete=True, facts=FACTS, video=None):
    outputs = plan_outputs(paths, facts, TrackStyle(), caption=False, video=video)
    for frame in frames:
        for output in outputs:
            output.write(frame)
    return [output.finish(complete) for output in outputs]


def _rows(frames):
    """Frame, identity, box, score, label and time of every track."""
    rows = []
    for frame in frames:
        tracks = frame.tracks
        columns = tracks.identity, tracks.xywh, tracks.score, tracks.label
        for identity, box, score, label in zip(*columns, strict=True):
            rows.append((frame.number, identity, *box, score, label, frame.time))
    return np.array(rows, dtype=float)


def _rows_of_json(frames):
    """The same of frames that were read."""
    return np.array(
        [
            (frame['frame'], t['id'], *t['box'], t['score'], t['label'], frame['time'])
            for frame in frames
            for t in frame['tracks']
        ],
        dtype=float,
    )


def test_every_format_says_the_same(tmp_path):
    frames = _frames()
    names = 't.txt', 't.csv', 't.json', 't.jsonl'
    text, table, document, lines = _write([tmp_path / name for name in names], frames)
    expected = _rows(frames)
    digits = dict(rtol=0, atol=5.001e-4)

    rows = read_tracks(text, unique=True)
    found = np.column_stack([rows.frame, rows.identity, rows.xywh, rows.score])
    np.testing.assert_allclose(found, expected[:, :7], **digits)
    assert rows.label.tolist() == [(1, 3)[int(label)] for label in expected[:, 7]]

    with table.open(newline='') as file:
        cells = list(csv.DictReader(file))
    names = ['frame', 'id', 'x', 'y', 'w', 'h', 'score', 'label', 'time']
    found = np.array([[float(row[name]) for name in names] for row in cells])
    np.testing.assert_allclose(found, expected, **digits)
    np.testing.assert_allclose(found[:, -1], expected[:, -1], rtol=0, atol=5.001e-7)
    categories = [CLASSES[int(label)] for label in expected[:, 7]]
    assert [row['category'] for row in cells] == categories

    whole = json.loads(document.read_text())
    head = {key: value for key, value in whole.items() if key != 'frames'}
    assert head == dict(
        video='v.mp4',
        frame_rate=pytest.approx(30000 / 1001),
        classes=list(CLASSES),
        num_frames=5,
        complete=True,
    )
    single = [json.loads(line) for line in lines.read_text().splitlines()]
    assert single == whole['frames']
    np.testing.assert_allclose(_rows_of_json(single), expected, **digits)
    assert [frame['frame'] for frame in single] == list(NUMBERS)
    times = [frame['time'] for frame in single]
    np.testing.assert_allclose(times, [float(t) for t in TIMES], rtol=0, atol=5.001e-7)
    assert single[2]['tracks'] == []
    found = [t['category'] for frame in single for t in frame['tracks']]
    assert found == categories


def test_embeddings_have_the_rows_of_the_text(tmp_path):
    """Of boxes that have one; the file holds numbers, classes as in column 8."""
    random = np.random.default_rng(1)
    frames, looks = [], []
    for frame in _frames():
        embeddings = random.normal(size=(len(frame.tracks), 6)).astype(np.float32)
        if len(embeddings):
            embeddings[1] = np.nan
        looks.append(embeddings)
        tracks = EmbeddedTracks.of(frame.tracks, embeddings)
        frames.append(replace(frame, tracks=tracks))
    paths = tmp_path / 't.txt', tmp_path / 't.npz'
    text, file = _write(paths, frames)
    found, rows = TrackEmbeddings.load(file), read_tracks(text)
    at, expected = found.of_rows(rows), np.concatenate(looks)
    known = np.isfinite(expected).all(1)
    assert (at >= 0).tolist() == known.tolist() and len(found) == known.sum() == 8
    np.testing.assert_array_equal(found.embeddings[at[known]], expected[known])
    # What broke off, what is empty, and tracks without embeddings.
    _, partial = _write(paths, frames[:2], complete=False)
    assert partial.name == 't.partial.npz' and len(TrackEmbeddings.load(partial)) == 4
    _, empty = _write(paths, frames[2:3])
    assert len(TrackEmbeddings.load(empty)) == 0
    with pytest.raises(ValueError, match='t.npz: frame 1 has tracks without embedd'):
        _write(paths[1], _frames())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith('.')]


def test_times_of_a_source_without_a_clock_are_left_open(tmp_path):
    frames = _frames([None] * 5)
    names = 't.csv', 't.jsonl', 't.mp4'
    table, lines, video = _write([tmp_path / name for name in names], frames)
    with table.open(newline='') as file:
        assert {row['time'] for row in csv.DictReader(file)} == {''}
    read = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {frame['time'] for frame in read} == {None}
    # The video shows every frame where the rate has it; gaps stay gaps.
    with av.open(str(video)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    expected = [(number - 1) * Fraction(1001, 30000) for number in NUMBERS]
    np.testing.assert_allclose(
        np.array(times, float), np.array(expected, float), atol=6e-6
    )


def test_video_keeps_the_times_exactly(tmp_path):
    (video,) = _write([tmp_path / 't.mp4'], _frames())
    with av.open(str(video)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert times == list(TIMES)


def test_json_lines_are_read_while_they_grow(tmp_path):
    path = tmp_path / 't.jsonl'
    (output,) = plan_outputs(path, FACTS, TrackStyle(), caption=False)
    growing = tmp_path / 't.partial.jsonl'
    for count, frame in enumerate(_frames(), start=1):
        output.write(frame)
        text = growing.read_text()
        assert text.endswith('\n')
        numbers = [json.loads(line)['frame'] for line in text.splitlines()]
        assert numbers == list(NUMBERS[:count])
    assert [p.name for p in tmp_path.iterdir()] == ['t.partial.jsonl']
    assert output.finish(complete=True) == path
    assert path.read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == ['t.jsonl']


def test_what_broke_off_says_so_in_its_name(tmp_path):
    for name in ('t.txt', 't.csv', 't.json', 't.jsonl', 't.mp4'):
        (tmp_path / name).write_text('earlier')
    paths = sorted(tmp_path.iterdir())
    files = _write(paths, _frames()[:3], complete=False)
    assert [file.name for file in files] == [
        f'{path.stem}.partial{path.suffix}' for path in paths
    ]
    assert {path.read_text() for path in paths} == {'earlier'}
    assert len(list(tmp_path.iterdir())) == 10
    assert not json.loads((tmp_path / 't.partial.json').read_text())['complete']
    lines = (tmp_path / 't.partial.jsonl').read_text().splitlines()
    assert [json.loads(line)['frame'] for line in lines] == [1, 2, 5]


def test_full_disk_leaves_the_lines_that_are_whole(tmp_path):
    """A limit on the size of files stands for the disk."""
    path = tmp_path / 't.jsonl'
    (output,) = plan_outputs(path, FACTS, TrackStyle(), caption=False)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, limits[1]))
    try:
        with pytest.raises(OSError, match=r'cannot write the tracks.*t\.jsonl'):
            for frame in _frames():
                output.write(frame)
        output.discard()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    text = (tmp_path / 't.partial.jsonl').read_text()
    frames = [json.loads(line) for line in text.splitlines()]
    assert text.endswith('\n') and [f['frame'] for f in frames] == [1]
    assert not path.exists()


def test_options_of_videos_are_checked_before_the_first_frame(tmp_path):
    paths = [tmp_path / 't.mp4', tmp_path / 't.txt']
    with pytest.raises(ValueError, match=r't\.mp4: found crf 77, expected 1'):
        plan_outputs(paths, FACTS, TrackStyle(), False, VideoOptions(crf=77))
    with pytest.raises(ValueError, match=r't\.doc.*\.jsonl'):
        plan_outputs(tmp_path / 't.doc', FACTS, TrackStyle(), False)


# ------------------------------------------------------------------- from a source on
@pytest.fixture
def film(toys, scene):
    """A film of uneven times that begins late, with a tone of its whole length."""
    path = toys.folder / 'film.ts'
    with av.open(str(path), 'w') as container:
        pictures = container.add_stream('libx264', rate=25, options={'bf': '0'})
        pictures.height, pictures.width = scene.size
        pictures.pix_fmt = 'yuv420p'
        pictures.codec_context.time_base = Fraction(1, 90000)
        sound = container.add_stream('aac', rate=48000, layout='mono')
        for i, tick in enumerate(FILM_TICKS):
            frame = av.VideoFrame.from_ndarray(scene.render(i), 'rgb24')
            frame.pts, frame.time_base = tick + 900_000, Fraction(1, 90000)
            for packet in pictures.encode(frame):
                container.mux(packet)
        tone = (9000 * np.sin(np.arange(48000) / 9)).astype(np.int16)
        for first in range(0, len(tone), 960):
            part = tone[None, first : first + 960]
            piece = av.AudioFrame.from_ndarray(part, 's16', 'mono')
            piece.sample_rate, piece.pts = 48000, 480_000 + first
            piece.time_base = Fraction(1, 48000)
            for packet in sound.encode(piece):
                container.mux(packet)
        for stream in (pictures, sound):
            for packet in stream.encode(None):
                container.mux(packet)
    return path


FILM_TICKS = 0, 3600, 4000, 15000, 30000, 60000, 90000


def _read(path):
    """Times of the frames, and the length of the sound, seconds; 0 without sound."""
    with av.open(str(path)) as container:
        times = [f.pts * Fraction(f.time_base) for f in container.decode(video=0)]
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return times, 0.0
        *_, last = container.decode(audio=0)
        return times, float(last.time + last.samples / last.sample_rate)


def test_times_and_sound_of_a_source_are_in_the_video(inferencer, film, toys):
    out = [toys.folder / name for name in ('o.mp4', 'o.csv')]
    assert inferencer(film, out=out, audio=True).complete
    times, sound = _read(out[0])
    assert times == [Fraction(tick, 90000) for tick in FILM_TICKS]
    assert sound == pytest.approx(1.02, abs=0.05)
    with out[1].open(newline='') as file:
        found = {int(row['frame']): float(row['time']) for row in csv.DictReader(file)}
    for frame, time in found.items():
        assert time == pytest.approx(FILM_TICKS[frame - 1] / 90000, abs=5.001e-7)

    assert inferencer(film, out=out[0], audio=True, max_frames=5).complete
    times, sound = _read(out[0])
    assert len(times) == 5
    assert sound == pytest.approx(30000 / 90000 + 0.08, abs=0.1)

    assert inferencer(film, out=out[0]).complete
    assert _read(out[0])[1] == 0


def test_rate_that_is_given_replaces_the_times(inferencer, film, toys):
    out = [toys.folder / name for name in ('o.mp4', 'o.jsonl')]
    inferencer(film, out=out, frame_rate=5)
    assert _read(out[0])[0] == [Fraction(i, 5) for i in range(7)]
    lines = [json.loads(line) for line in out[1].read_text().splitlines()]
    expected = [tick / 90000 for tick in FILM_TICKS]
    assert [line['time'] for line in lines] == pytest.approx(expected, abs=5.001e-7)
    with pytest.raises(ValueError, match=r'audio: frame_rate \(--fps\)'):
        inferencer(film, out=out, frame_rate=5, audio=True)


def test_images_have_no_sound_to_keep(inferencer, toys, monkeypatch):
    said = []
    monkeypatch.setattr(track_outputs, 'say', lambda text, *_: said.append(text))
    images = toys.images('frames', 4)
    assert inferencer(images, out=toys.folder / 'o.mp4', audio=True).complete
    assert len(said) == 1 and said[0].startswith('frames: no audio')
