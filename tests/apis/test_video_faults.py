# Copyright (c) mmfdta authors.
"""Videos that break off, full disks, interruptions; memory and threads."""

import json
import subprocess
import sys
import threading
import tracemalloc
import warnings

import numpy as np
import pytest
from mmdet.structures import DetDataSample

from mmfdta.apis.sources import FrameSource, SourceFrame
from mmfdta.apis.track_outputs import VideoFacts, plan_outputs
from mmfdta.apis.tracked_frame import TrackedFrame
from mmfdta.apis.tracking_run import TrackingRun
from mmfdta.structures import Tracks
from mmfdta.structures.mot_text import read_tracks
from mmfdta.visualization import TrackStyle


# -------------------------------------------------------------------------- faults
def test_truncated_video_leaves_what_was_tracked_and_says_so(
    inferencer, toys, read_video
):
    video = toys.video('v.avi', 40)
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 6 // 10])
    out = [toys.folder / name for name in ('t.txt', 't.json', 't.mp4')]
    report = inferencer(video, out=out)
    assert not report.complete
    assert 0 < report.num_frames < 38
    assert 'announces 40 frames' in report.problem
    assert 'NOT COMPLETE' in str(report)
    assert [path.name for path in report.files] == [
        't.partial.txt',
        't.partial.json',
        't.partial.mp4',
    ]
    assert not any(path.exists() for path in out)
    document = json.loads((toys.folder / 't.partial.json').read_text())
    assert document['complete'] is False
    assert document['num_frames'] == report.num_frames
    frames, _ = read_video(toys.folder / 't.partial.mp4')
    assert len(frames) == report.num_frames


def test_broken_image_in_the_middle_ends_the_video(inferencer, toys):
    images = toys.images('broken', 8)
    data = (images / '5.png').read_bytes()
    (images / '5.png').write_bytes(data[: len(data) // 2])
    report = inferencer(images, out=toys.folder / 'b.txt')
    assert report.num_frames == 4
    assert 'frame 5 of 8' in report.problem and '5.png' in report.problem
    assert read_tracks(toys.folder / 'b.partial.txt').frame.max() == 4


def test_missing_images_are_said(inferencer, toys):
    images = toys.images('gaps', 12)
    for number in (5, 6, 9):
        (images / f'{number}.png').unlink()
    for source in (images, images / '*.png'):
        with pytest.warns(UserWarning, match=r'7.png comes after 4.png.* 2 such gaps'):
            report = inferencer(source, out=toys.folder / 'g.txt')
        assert report.complete and report.num_frames == 9
    # Every second image is a choice.
    images = toys.images('even', 11)
    for number in range(2, 11, 2):
        (images / f'{number}.png').unlink()
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        assert inferencer(images).num_frames == 6


def test_error_in_the_model_leaves_what_was_tracked(inferencer, toys, read_video):
    out = [toys.folder / 'm.txt', toys.folder / 'm.mp4']
    frames = inferencer.track(toys.video('v.mp4', 20), out=out)
    for _ in range(7):
        next(frames)
    inferencer.model.colors = None
    with pytest.raises(TypeError):
        list(frames)
    assert read_tracks(toys.folder / 'm.partial.txt').frame.max() == 7
    assert len(read_video(toys.folder / 'm.partial.mp4')[0]) == 7
    assert not out[0].exists() and not out[1].exists()


def test_leaving_the_loop_finishes_the_files_and_the_threads(inferencer, toys):
    before = threading.active_count()
    video = toys.video('v.mp4', 30)
    for frame in inferencer.track(video, out=toys.folder / 'l.txt'):
        if frame.index == 4:
            break
    del frame
    assert read_tracks(toys.folder / 'l.partial.txt').frame.max() == 5
    assert threading.active_count() == before


def test_unwritable_results_are_refused_before_tracking(inferencer, toys):
    video = toys.video('v.mp4', 5)
    (toys.folder / 'file').write_text('in the way')
    with pytest.raises(OSError, match='file'):
        inferencer(video, out=toys.folder / 'file' / 'x.mp4')
    (toys.folder / 'folder.txt').mkdir()
    with pytest.raises(OSError, match='folder'):
        inferencer(video, out=toys.folder / 'folder.txt')
    with pytest.raises(ValueError, match='x.doc'):
        inferencer(video, out=toys.folder / 'x.doc')
    with pytest.raises(ValueError, match='twice'):
        inferencer(video, out=[toys.folder / 'x.txt'] * 2)
    assert inferencer.model.batch_sizes == []


_FULL_DISK = """
import resource, signal, sys
tests, checkpoint, video, folder = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.path.insert(0, tests)
import mmfdta.registry
import conftest
from mmfdta.apis import MOTInferencer
inferencer = MOTInferencer(conftest.color_config(), checkpoint, device='cpu')
for limit, names in ((600, ['a.txt']), (12000, ['b.mp4', 'b.txt'])):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        inferencer(video, out=[f'{folder}/{name}' for name in names])
    except OSError as error:
        print('OSError', error)
"""


def test_full_disk_is_one_error_and_earlier_results_stay(toys, request, names_in):
    """A limit on the size of files stands for the disk."""
    folder = toys.folder / 'results'
    folder.mkdir()
    for name in ('a.txt', 'b.mp4', 'b.txt'):
        (folder / name).write_text('earlier')
    video = toys.video('v.mp4', 60)
    arguments = [request.path.parent, toys.checkpoint, video, folder]
    run = subprocess.run(
        [sys.executable, '-c', _FULL_DISK, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    errors = [line for line in run.stdout.splitlines() if line.startswith('OSError')]
    assert len(errors) == 2
    assert 'a.txt' in errors[0] and 'b.mp4' in errors[1]
    assert 'disk' in errors[1]
    # What could not be written stays as it was; the text beside the video is whole.
    assert names_in(folder) == ['a.txt', 'b.mp4', 'b.txt']
    assert (folder / 'a.txt').read_text() == 'earlier'
    assert (folder / 'b.mp4').read_text() == 'earlier'
    assert read_tracks(folder / 'b.txt').frame.max() == 60


# -------------------------------------------------------------- memory and threads
class _Endless(FrameSource):
    """Small frames without a file."""

    def __init__(self, num_frames, live=False):
        super().__init__('endless', 25.0, None if live else num_frames, live)
        self.count = num_frames

    def __iter__(self):
        for index in range(self.count):
            image = np.full((24, 32, 3), index % 200, np.uint8)
            yield SourceFrame(index + 1, image, index / 25)


def test_memory_does_not_grow_with_the_video(inferencer, tmp_path):
    facts = VideoFacts('endless', 25.0)
    out = [tmp_path / name for name in ('m.txt', 'm.json', 'm.avi')]
    outputs = plan_outputs(out, facts, TrackStyle(show_scores=True), caption=True)

    def prepare(image, index, *_):
        frame = DetDataSample(metainfo=dict(frame_id=index))
        return dict(inputs=image.copy(), data_samples=[frame])

    run = TrackingRun(_Endless(2400), prepare, _one_track, outputs)
    peaks = []
    tracemalloc.start()
    try:
        for frame in run.frames():
            if frame.index % 800 == 799:
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
    # A frame's image alone has 2.3 kB; 800 of them would be 1.8 MB.
    assert peaks[2] < peaks[1] + 100_000
    assert len(read_tracks(out[0])) == 2400


def _one_track(samples, first_frame):
    return [
        Tracks.create([number], [(number - 1) // 50], [[1, 2, 8, 10]], label=[0])
        for number in range(first_frame, first_frame + len(samples))
    ]


def test_reading_tracking_and_writing_overlap(inferencer):
    """The reader and the writer wait for each other: only at once can they go on."""
    meeting = threading.Barrier(2, timeout=120)

    class Source(_Endless):
        def __iter__(self):
            for frame in super().__iter__():
                if frame.number == 4:
                    meeting.wait()  # frame 4 is read while frame 1 is written
                yield frame

    class Output:
        path = 'x'

        def write(self, frame: TrackedFrame):
            if frame.index == 0:
                meeting.wait()

        def finish(self, complete):
            return None

    run = TrackingRun(Source(8), inferencer.preprocessor, _one_track, [Output()])
    assert len(list(run.frames())) == 8


def test_live_source_drops_what_it_cannot_keep_and_counts_it(inferencer):
    read = threading.Event()

    class Camera(_Endless):
        def __iter__(self):
            yield from super().__iter__()
            read.set()

    clock = []

    def slow(samples, first_frame):
        assert read.wait(120)  # all frames have come before the first is tracked
        clock.append(samples[0]['data_samples'][0].frame_id + 1)
        assert clock[-1] == first_frame
        return _one_track(samples, first_frame)

    run = TrackingRun(Camera(50, live=True), inferencer.preprocessor, slow, [])
    frames = run.frames()
    tracked = []
    while True:
        try:
            tracked.append(next(frames))
        except StopIteration as end:
            report = end.value
            break
    assert report.num_frames == len(tracked) < 10
    assert report.num_frames + report.dropped_frames == 50
    assert tracked[-1].image[0, 0, 0] == 49  # the newest frame was kept
    # The numbers are those of the source, and the model counts what it was given.
    numbers = [frame.number for frame in tracked]
    assert numbers == [frame.image[0, 0, 0] + 1 for frame in tracked]
    assert [frame.tracks.frame.tolist() for frame in tracked] == [[n] for n in numbers]
    assert clock == list(range(1, len(tracked) + 1))
    assert tracked[-1].time == 49 / 25
    assert report.complete


def test_error_of_the_reader_arrives(inferencer):
    class Source(_Endless):
        def __iter__(self):
            yield next(super().__iter__())
            raise RuntimeError('the reader broke')

    run = TrackingRun(Source(5), inferencer.preprocessor, _one_track, [])
    with pytest.raises(RuntimeError, match='the reader broke'):
        list(run.frames())
