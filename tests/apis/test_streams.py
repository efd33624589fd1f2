# Copyright (c) mmfdta authors.
"""Cameras and streams side by side: right identities, budgets, ends, faults."""

import http.server
import io
import itertools
import queue
import threading

import numpy as np
import pytest
from PIL import Image

from mmfdta.apis import streams as streams_of
from mmfdta.apis.sources import FrameSource, SourceFrame, kind_of_source
from mmfdta.apis.streams import (
    FrameBuffer,
    Latencies,
    LiveStreams,
    StreamBudget,
    StreamReport,
)
from mmfdta.apis.tracking_run import TrackingReport
from mmfdta.cli.main import main
from mmfdta.models.trackers import IdentityGallery
from mmfdta.structures.mot_text import read_tracks


class Feed(FrameSource):
    """A live source that gives what a test puts into it; None ends it."""

    def __init__(self, name, live=True):
        super().__init__(name, frame_rate=10.0, live=live)
        self.items = queue.Queue()

    def __iter__(self):
        number = 0
        while not self._closed.is_set():
            try:
                item = self.items.get(timeout=0.01)
            except queue.Empty:
                continue
            if isinstance(item, Exception):
                raise item
            if item is None:
                self.problem = f'{self.name}: it ended'
                return
            number += 1
            yield SourceFrame(number, item, number / 10)


@pytest.fixture
def feeds(monkeypatch):
    """Live sources by name, in the place of cameras."""
    known = {name: Feed(name) for name in ('hall', 'yard', 'gate')}
    monkeypatch.setattr(streams_of, 'open_source', lambda name, options: known[name])
    return known


def clips_of(scene):
    """Three videos: other sizes, other lengths, other moments."""
    images = [scene.render(index)[..., ::-1].copy() for index in range(14)]
    return {
        'hall': images[:12],
        'yard': [image.repeat(2, 0).repeat(2, 1) for image in images[4:9]],
        'gate': images[:2:-1],
    }


def pump(run, feeds, clips):
    """Give each source its next frame when the one before has been tracked."""
    names = list(clips)
    left = {name: iter([*clip[1:], None]) for name, clip in clips.items()}
    found = {name: [] for name in names}
    for name, clip in clips.items():
        feeds[name].items.put(clip[0])
    for place, frame in run.frames():
        found[names[place]].append(frame)
        feeds[names[place]].items.put(next(left[names[place]]))
    return found


def test_each_stream_is_tracked_as_if_it_were_alone(inferencer, feeds, scene, toys):
    clips = clips_of(scene)
    outs = [[toys.folder / f'{name}.txt'] for name in clips]
    run = LiveStreams(inferencer, list(clips), outs)
    found = pump(run, feeds, clips)
    for name, clip in clips.items():
        alone = inferencer.session()
        for image, frame in zip(clip, found[name], strict=True):
            expected = alone.step(image)
            np.testing.assert_array_equal(frame.image, image)
            np.testing.assert_array_equal(frame.tracks.identity, expected.identity)
            np.testing.assert_array_equal(frame.tracks.label, expected.label)
            np.testing.assert_array_equal(frame.tracks.xywh, expected.xywh)
    for place, (name, clip) in enumerate(clips.items()):
        report = run.reports[place]
        assert report.tracking.num_frames == len(clip) and report.dropped == 0
        assert report.tracking.problem == f'{name}: it ended'
        rows = read_tracks(toys.folder / f'{name}.txt')
        assert set(rows.frame) <= set(range(1, len(clip) + 1)) and len(rows)
    assert not run.errors


def test_frames_given_to_the_tracker_meanwhile_are_another_video(
    inferencer, feeds, scene
):
    clip = clips_of(scene)['hall']
    inferencer.reset()
    expected = [inferencer.step(image) for image in clip]
    inferencer.reset()
    run = LiveStreams(inferencer, ['hall'], [[]])
    left = iter([*clip[1:], None])
    feeds['hall'].items.put(clip[0])
    for place, (_, frame) in enumerate(run.frames()):
        own = inferencer.step(clip[place])
        for found in (own, frame.tracks):
            np.testing.assert_array_equal(found.identity, expected[place].identity)
            np.testing.assert_array_equal(found.xywh, expected[place].xywh)
        feeds['hall'].items.put(next(left))
    assert run.reports[0].tracking.num_frames == len(clip)


def test_a_source_that_stalls_or_fails_holds_up_nobody(inferencer, feeds, scene, toys):
    clips = {'hall': clips_of(scene)['hall']}
    feeds['gate'].items.put(OSError('gate: not one frame comes from it'))
    names = ['hall', 'yard', 'gate']
    outs = [[toys.folder / f'{name}.txt'] for name in names]
    run = LiveStreams(inferencer, names, outs)
    images = iter(clips['hall'])
    feeds['hall'].items.put(next(images))
    feeds['yard'].items.put(clips['hall'][0])  # and nothing more
    counts = {0: 0, 1: 0}
    for place, _ in run.frames():
        counts[place] += 1
        if place == 0:
            image = next(images, None)
            if image is None:
                break
            feeds['hall'].items.put(image)
    assert counts == {0: len(clips['hall']), 1: 1}
    assert str(run.errors[2]) == 'gate: not one frame comes from it'
    # The loop was left: what there is is whole.
    assert [run.reports[place].tracking.num_frames for place in (0, 1)] == [12, 1]
    assert sorted(path.name for path in toys.folder.glob('*.txt')) == [
        'hall.txt',
        'yard.txt',
    ]


def test_two_streams_do_not_write_to_one_file(inferencer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'link').symlink_to('.')
    for other in (tmp_path / 'a.txt', 'link/a.txt'):
        with pytest.raises(ValueError, match='outs: one file is named twice'):
            LiveStreams(inferencer, ['hall', 'yard'], [['a.txt'], [other]])


def test_an_end_after_some_frames(inferencer, feeds, scene):
    clip = clips_of(scene)['hall']
    run = LiveStreams(inferencer, ['hall', 'yard'], [[], []], max_frames=3)
    found = pump(run, feeds, {'hall': clip, 'yard': clip})
    assert {name: len(frames) for name, frames in found.items()} == {
        'hall': 3,
        'yard': 3,
    }
    assert all(report.tracking.problem is None for report in run.reports.values())


def test_an_error_leaves_partial_files_of_all(inferencer, feeds, scene, toys):
    image = clips_of(scene)['hall'][6]
    outs = [[toys.folder / f'{name}.txt'] for name in ('hall', 'yard')]
    run = LiveStreams(inferencer, ['hall', 'yard'], outs)
    for name in ('hall', 'yard'):
        feeds[name].items.put(image)
    seen = set()
    with pytest.raises(ZeroDivisionError):
        for place, _ in run.frames():
            seen.add(place)
            if len(seen) == 2:
                feeds['yard'].items.put(ZeroDivisionError())
    assert sorted(path.name for path in toys.folder.glob('*.txt')) == [
        'hall.partial.txt',
        'yard.partial.txt',
    ]


def test_a_source_that_is_refused_leaves_no_other_open(inferencer, monkeypatch):
    yard = Feed('yard')

    def open_feed(name, options):
        if name == 'yard':
            return yard
        raise ValueError(f'{name}: no such option')

    monkeypatch.setattr(streams_of, 'open_source', open_feed)
    with pytest.raises(ValueError, match='hall: no such option'):
        list(LiveStreams(inferencer, ['hall', 'yard'], [[], []]).frames())
    assert yard._closed.is_set()


def test_an_error_after_the_loop_was_left_ends_all(inferencer, feeds, scene, toys):
    """Readers that fail while the loop is left: the files of all are finished."""
    clips = clips_of(scene)
    outs = [[toys.folder / f'{name}.txt'] for name in clips]
    run = LiveStreams(inferencer, list(clips), outs)
    for name, clip in clips.items():
        feeds[name].items.put(clip[0])
    frames = run.frames()
    for _ in clips:
        next(frames)
    for name in ('hall', 'yard'):
        feeds[name].items.put(ValueError(f'{name}: broken'))
    for name in ('hall', 'yard'):
        while not feeds[name].items.empty():
            pass
    with pytest.raises(ValueError, match='hall: broken'):
        frames.close()
    assert run.reports.keys() == {2} and run.errors.keys() == {0, 1}
    assert len(read_tracks(toys.folder / 'gate.txt')) > 0
    assert (toys.folder / 'yard.partial.txt').is_file()


def test_files_are_refused(inferencer, monkeypatch):
    known = {name: Feed(name, live=name == 'hall') for name in ('hall', 'a.mp4')}
    monkeypatch.setattr(streams_of, 'open_source', lambda name, options: known[name])
    run = LiveStreams(inferencer, list(known), [[], []])
    with pytest.raises(ValueError, match='a.mp4: found a file, expected a camera'):
        next(run.frames())
    assert known['hall']._closed.is_set()


@pytest.mark.parametrize('end', [None, OSError('hall: it broke off')])
def test_a_stream_alone_uses_the_gallery_of_its_tracker(
    inferencer, feeds, scene, toys, end
):
    path = toys.folder / 'who.npz'
    inferencer.gallery = IdentityGallery.open(path)
    feeds['hall'].items.put(clips_of(scene)['hall'][6])
    for _ in LiveStreams(inferencer, ['hall'], [[]]).frames():
        feeds['hall'].items.put(end)
    assert path.is_file()
    assert inferencer.num_frames == 0  # it was this session, and it is free again


def test_a_stream_does_not_replace_the_gallery(inferencer, feeds, toys):
    path = toys.folder / 'who.npz'
    inferencer.gallery = IdentityGallery.open(path)
    feeds['hall'].items.put(None)
    with pytest.raises(ValueError, match='who.npz: .* would replace the gallery'):
        next(LiveStreams(inferencer, ['hall'], [[path]]).frames())
    assert feeds['hall']._closed.is_set() and not path.exists()


def frame_of(number):
    return SourceFrame(number, np.zeros((1, 1, 3), np.uint8))


@pytest.mark.parametrize(
    ('arrival', 'needed', 'limit'),
    [*itertools.product([0.4, 1.0], [0.3, 0.9, 2.7, 7.0], [None, 0.5, 3.0, 8.0])],
)
def test_a_buffer_keeps_its_budget_wherever_that_can_be(arrival, needed, limit):
    """Frames at a fixed pace, a model that takes its time, a clock of numbers."""
    buffer, now, number, taken = FrameBuffer(limit), 0.0, 0, []
    for _ in range(60):
        while number * arrival <= now:
            buffer.put(frame_of(number), number * arrival)
            number += 1
        if len(buffer):
            newest = number - 1
            frame, arrived = buffer.take(now, needed)
            assert arrived == frame.number * arrival
            late = limit is not None and now + needed - arrived > limit
            assert not late or frame.number == newest
            taken.append(frame.number)
            now += needed
        else:
            now += arrival / 2
    assert taken == sorted(set(taken))
    assert len(taken) + len(buffer) + buffer.dropped == number
    if needed <= arrival:
        assert taken == list(range(len(taken))) and not buffer.dropped
    else:
        assert buffer.dropped


def test_percentiles():
    times = np.random.default_rng(0).gamma(2.0, 0.05, 2000)
    latencies = Latencies()
    assert latencies.percentile(0.5) is None
    for seconds in times:
        latencies.add(seconds)
    for share in (0.5, 0.95):
        exact = np.quantile(times, share, method='inverted_cdf')
        assert latencies.percentile(share) == pytest.approx(exact, rel=0.006)


@pytest.mark.parametrize(
    ('budget', 'kept'),
    [
        (StreamBudget(), True),
        (StreamBudget(0.2, 0.25), True),
        (StreamBudget(max_latency=0.199), False),
        (StreamBudget(max_dropped=0.249), False),
    ],
)
def test_a_report_says_whether_the_budget_was_kept(budget, kept):
    tracking = TrackingReport('hall', 75, 25, 1.0, 1.0, True, None, ())
    report = StreamReport(tracking, budget, (0.1, 0.2))
    assert report.is_kept == kept and ('MORE THAN' in str(report)) != kept
    assert 'left out 25.0%' in str(report) and '0.200 s at the 95th' in str(report)


@pytest.mark.parametrize(
    ('budget', 'message'),
    [
        (dict(max_latency=0), 'max_latency .*found 0, expected more than 0 seconds'),
        (dict(max_dropped=1.5), 'max_dropped .*found 1.5, expected a share, 0 to 1'),
    ],
)
def test_budgets_that_make_no_sense(budget, message):
    with pytest.raises(ValueError, match=message):
        StreamBudget(**budget)


@pytest.fixture
def address(scene):
    """Where 30 frames come from as JPEGs, whatever the path is."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            kind = 'multipart/x-mixed-replace; boundary=frame'
            self.send_header('Content-Type', kind)
            self.end_headers()
            for index in range(30):
                file = io.BytesIO()
                Image.fromarray(scene.render(index)).save(file, 'jpeg', quality=95)
                body = file.getvalue()
                head = '--frame\r\nContent-Type: image/jpeg\r\nContent-Length: '
                try:
                    self.wfile.write(f'{head}{len(body)}\r\n\r\n'.encode() + body)
                    self.wfile.write(b'\r\n')
                except OSError:
                    return

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


@pytest.fixture
def command(toys, monkeypatch, capsys):
    """A function: exit code, lines of standard output and of errors of `track`."""
    monkeypatch.chdir(toys.folder)
    toys.config.dump('config.py')
    model = ['--config=config.py', f'--checkpoint={toys.checkpoint}', '--no-progress']

    def run(*more):
        code = main(['track', *map(str, more), *model])
        said = capsys.readouterr()
        # The log goes to what was standard output when the first test made its logger.
        out = [line for line in said.out.splitlines() if ' WARNING ' not in line]
        return code, out, said.err.splitlines()

    return run


def test_the_command_tracks_streams_side_by_side(command, toys, address):
    sources = [f'{address}/hall', f'{address}/yard']
    assert [kind_of_source(source) for source in sources] == ['live', 'live']
    files = ('--out-dir=o', '--formats', 'txt', 'mp4')
    budget = ('--max-latency=3600', '--max-dropped=1')
    code, out, _ = command(*sources, *files, *budget)
    assert code == 0 and [line.split(': ')[0] for line in out] == sources
    for line in out:
        assert '(within 100.0%)' in line and '(within 3600 s)' in line
    names = sorted(path.name for path in (toys.folder / 'o').iterdir())
    assert names == sorted(
        f'{name}_tracks.{s}' for name in ('hall', 'yard') for s in ('txt', 'mp4')
    )


def test_a_budget_that_is_not_kept_and_a_dead_stream_are_exit_code_1(command, address):
    code, out, err = command(f'{address}/hall', '--max-latency=0.001', '--out=a.txt')
    assert code == 1 and 'MORE THAN 0.001 s' in out[0]
    dead = 'rtsp://me:secret@127.0.0.1:1/live'
    code, out, err = command(f'{address}/hall', dead, '--out-dir=o', '--formats=txt')
    assert code == 1 and len(out) == 1
    assert '1 of 2 not tracked: rtsp://127.0.0.1:1/live' in err[-1]
    assert 'secret' not in '\n'.join(out + err)


def test_a_camera_that_is_off_is_known_by_what_stands_beside_it(command, address):
    """Nobody can ask whether its address is that of a stream."""
    off = 'http://127.0.0.1:1/yard'
    assert kind_of_source(off) == 'silent'
    code, out, err = command(f'{address}/hall', off, '--out-dir=o', '--formats=txt')
    assert code == 1 and len(out) == 1 and out[0].startswith(f'{address}/hall: tracked')
    assert f'1 of 2 not tracked: {off}' in err[-1]
    code, _, err = command(off, '--out-dir=o', '--max-latency=1')
    assert code == 1 and f'1 of 1 not tracked: {off}' in err[-1]
    code, _, err = command(off, '--out-dir=o')
    assert code == 1 and f'1 of 1 not complete: {off}' in err[-1]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ['rtsp://a/b', 'v.mp4'],
            'a camera or stream, together with v.mp4',
        ),
        (['v.mp4', '--max-latency=1'], '--max-latency: is for cameras and streams; v.'),
        (['-', '--max-dropped=0.1'], '--max-dropped: is for cameras and streams; - '),
        (['rtsp://a/b', '0', '--show'], '--show: not with several cameras or streams'),
        (['rtsp://a/b', '0', '--gallery=g.npz'], '--gallery: not with several'),
        (['rtsp://a/b', '--max-latency=1', '--audio'], '--audio: not with several'),
        (['rtsp://a/b', 'rtsp://a/c', '--out=x.txt'], '--out: found 2 sources'),
    ],
)
def test_what_does_not_go_together_is_refused(command, toys, arguments, message):
    toys.video('v.mp4', 2)
    code, _, err = command(*arguments)
    assert code == 1 and len(err) == 1 and message in err[0]
