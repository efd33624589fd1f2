# Copyright (c) mmfdta authors.
"""Whole videos: sources, results, faults, and what stays in memory."""

import json
import subprocess
import sys
import threading
import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmfdta.apis import MOTInferencer
from mmfdta.apis import track as track_command
from mmfdta.apis.track_outputs import TrackedFrame, VideoFacts, plan_outputs
from mmfdta.apis.tracking_run import TrackingRun
from mmfdta.apis.video_sources import FrameSource, open_source
from mmfdta.utils.mot_text import read_mot_rows
from mmfdta.visualization import TrackStyle


@pytest.fixture
def inferencer(toys):
    return MOTInferencer(toys.config, toys.checkpoint, device='cpu')


def _read_video(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, image = capture.read()
        if not ok:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(image)


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------- sources
@pytest.mark.parametrize('kind', ['folder', 'sequence', 'pattern', 'video', 'image'])
def test_every_kind_of_source_gives_the_same_boxes(inferencer, toys, scene, kind):
    images = toys.images('seq/img1')
    (images / '.DS_Store').write_text('x')
    (images / '._1.png').write_text('x')
    source = {
        'folder': images,
        'sequence': images.parent,
        'pattern': str(images / '*.png'),
        'video': toys.video('v.mp4', 12) if kind == 'video' else None,
        'image': images / '1.png',
    }[kind]
    frames = list(inferencer.track(source))
    assert [frame.index for frame in frames] == list(
        range(1 if kind == 'image' else 12)
    )
    # Frame 10 comes after frame 9 although '10' < '9'.
    for frame in frames:
        expected = scene.true_boxes(frame.index)
        assert sorted(frame.tracks.labels.tolist()) == sorted(expected)
        for label, box in zip(
            frame.tracks.labels.tolist(), frame.tracks.bboxes, strict=True
        ):
            # A lossy codec smears borders.
            tolerance = 3 if kind == 'video' else 0.01
            np.testing.assert_allclose(box, expected[label], atol=tolerance)


def test_sources_that_are_not_there(tmp_path):
    (tmp_path / 'empty').mkdir()
    for wrong in ('nothing.mp4', tmp_path / 'empty', str(tmp_path / '*.jpg')):
        with pytest.raises(FileNotFoundError):
            open_source(wrong)
    broken = tmp_path / 'broken.mp4'
    for content in (b'', b'this is no video' * 100):
        broken.write_bytes(content)
        with pytest.raises(OSError, match='broken.mp4'):
            open_source(broken)


def test_password_of_an_address_is_not_shown():
    with pytest.raises(OSError) as caught:
        open_source('rtsp://user:secret@127.0.0.1:1/stream')
    assert 'secret' not in str(caught.value)
    assert 'rtsp://127.0.0.1:1/stream' in str(caught.value)


# ------------------------------------------------------------------------- results
def test_text_and_json_equal_the_predictions(inferencer, toys):
    video = toys.video('v.mp4', 20)
    out = [toys.folder / 'r' / name for name in ('t.txt', 't.json', 't.mp4')]
    frames = list(inferencer.track(video, out=out))
    assert _names(toys.folder / 'r') == ['t.json', 't.mp4', 't.txt']

    expected = [
        (f.index + 1, int(i), *(box[:2].tolist()), *((box[2:] - box[:2]).tolist()), s)
        for f in frames
        for i, box, s in zip(
            f.tracks.instances_id,
            f.tracks.bboxes.double(),
            f.tracks.scores.tolist(),
            strict=True,
        )
    ]
    rows = read_mot_rows(out[0], unique=True)
    found = np.column_stack([rows.frame, rows.identity, rows.xywh, rows.mark])
    np.testing.assert_allclose(found, np.array(expected), atol=5e-4)
    assert out[0].read_text().splitlines()[0].endswith(',-1,-1,-1')

    document = json.loads(out[1].read_text())
    assert document['complete'] and document['num_frames'] == 20
    assert document['frame_rate'] == 10
    assert [frame['frame'] for frame in document['frames']] == list(range(1, 21))
    tracks = [
        (frame['frame'], t['id'], *t['box'], t['score'])
        for frame in document['frames']
        for t in frame['tracks']
    ]
    np.testing.assert_allclose(np.array(tracks), np.array(expected), atol=5e-4)
    categories = {t['category'] for f in document['frames'] for t in f['tracks']}
    assert categories == {'red', 'green', 'blue'}


def test_video_has_every_frame_and_the_drawn_boxes(inferencer, toys):
    video = toys.video('v.mp4', 15)
    report = inferencer(video, out=toys.folder / 'drawn.mp4', caption=False)
    assert report.complete and report.num_frames == 15
    assert report.files == (toys.folder / 'drawn.mp4',)
    before, _ = _read_video(video)
    after, rate = _read_video(toys.folder / 'drawn.mp4')
    assert len(after) == 15 and rate == 10
    # Where nothing was drawn, black stays black; on an edge of the box it does not.
    difference = np.abs(after[9].astype(int) - before[9]).max(-1)
    assert difference[100:, 120:].max() < 30
    assert difference[19:49, 27:54].max() > 100


def test_frames_without_objects_are_in_the_results(inferencer, toys):
    images = toys.images('empty', 5)
    for path in images.iterdir():
        cv2.imwrite(str(path), np.zeros((120, 160, 3), np.uint8))
    out = [toys.folder / name for name in ('e.txt', 'e.json', 'e.avi')]
    report = inferencer(images, out=out, frame_rate=7)
    assert report.num_frames == 5
    assert out[0].read_text() == ''
    document = json.loads(out[1].read_text())
    assert [frame['tracks'] for frame in document['frames']] == [[]] * 5
    frames, rate = _read_video(out[2])
    assert len(frames) == 5 and rate == 7


def test_batches_give_what_single_frames_give(inferencer, toys):
    video = toys.video('v.mp4', 11)
    single = list(inferencer.track(video))
    batched = MOTInferencer(toys.config, toys.checkpoint, device='cpu', batch_size=4)
    together = list(batched.track(video))
    assert batched.model.batch_sizes == [4, 4, 3]
    assert inferencer.model.batch_sizes == [1] * 11
    for one, other in zip(single, together, strict=True):
        assert one.index == other.index
        for key in ('bboxes', 'scores', 'labels', 'instances_id'):
            assert torch.equal(one.tracks[key], other.tracks[key])


def test_frames_of_two_sizes_are_not_batched_together(toys):
    images = toys.images('mixed', 6)
    for number in (4, 5):
        path = images / f'{number}.png'
        cv2.imwrite(str(path), cv2.imread(str(path))[:100])
    batched = MOTInferencer(toys.config, toys.checkpoint, device='cpu', batch_size=4)
    assert len(list(batched.track(images))) == 6
    assert batched.model.batch_sizes == [3, 2, 1]
    with pytest.raises(ValueError, match=r'frame 4 is 160x100, expected 160x120'):
        batched(images, out=toys.folder / 'mixed.mp4')


def test_videos_do_not_leak_state_into_each_other(inferencer, toys):
    video = toys.video('v.mp4', 9)
    first = [frame.tracks.instances_id.tolist() for frame in inferencer.track(video)]
    again = [frame.tracks.instances_id.tolist() for frame in inferencer.track(video)]
    assert first == again


def test_max_frames_and_class_filter(toys):
    red = MOTInferencer(toys.config, toys.checkpoint, classes=['red'])
    out = toys.folder / 'red.txt'
    report = red(toys.video('v.mp4', 20), out=out, max_frames=6)
    assert report.complete and report.num_frames == 6
    assert set(read_mot_rows(out).identity.tolist()) == {0}
    assert len(read_mot_rows(out)) == 6


# -------------------------------------------------------------------------- faults
def test_truncated_video_leaves_what_was_tracked_and_says_so(inferencer, toys):
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
    frames, _ = _read_video(toys.folder / 't.partial.mp4')
    assert len(frames) == report.num_frames


def test_broken_image_in_the_middle_ends_the_video(inferencer, toys):
    images = toys.images('broken', 8)
    data = (images / '5.png').read_bytes()
    (images / '5.png').write_bytes(data[: len(data) // 2])
    report = inferencer(images, out=toys.folder / 'b.txt')
    assert report.num_frames == 4
    assert 'frame 5 of 8' in report.problem and '5.png' in report.problem
    assert read_mot_rows(toys.folder / 'b.partial.txt').frame.max() == 4


def test_error_in_the_model_leaves_what_was_tracked(inferencer, toys):
    out = [toys.folder / 'm.txt', toys.folder / 'm.mp4']
    frames = inferencer.track(toys.video('v.mp4', 20), out=out)
    for _ in range(7):
        next(frames)
    inferencer.model.colors = None
    with pytest.raises(TypeError):
        list(frames)
    assert read_mot_rows(toys.folder / 'm.partial.txt').frame.max() == 7
    assert len(_read_video(toys.folder / 'm.partial.mp4')[0]) == 7
    assert not out[0].exists() and not out[1].exists()


def test_leaving_the_loop_finishes_the_files_and_the_threads(inferencer, toys):
    before = threading.active_count()
    video = toys.video('v.mp4', 30)
    for frame in inferencer.track(video, out=toys.folder / 'l.txt'):
        if frame.index == 4:
            break
    del frame
    assert read_mot_rows(toys.folder / 'l.partial.txt').frame.max() == 5
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
import mmfdta
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


def test_full_disk_is_one_error_and_earlier_results_stay(toys, request):
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
    assert _names(folder) == ['a.txt', 'b.mp4', 'b.txt']
    assert (folder / 'a.txt').read_text() == 'earlier'
    assert (folder / 'b.mp4').read_text() == 'earlier'
    assert read_mot_rows(folder / 'b.txt').frame.max() == 60


# -------------------------------------------------------------- memory and threads
class _Endless(FrameSource):
    """Small frames without a file."""

    def __init__(self, num_frames, live=False):
        super().__init__('endless', 25.0, None if live else num_frames, live)
        self.count = num_frames

    def __iter__(self):
        for index in range(self.count):
            yield np.full((24, 32, 3), index % 200, np.uint8)


def test_memory_does_not_grow_with_the_video(inferencer, tmp_path):
    facts = VideoFacts('endless', 25.0)
    out = [tmp_path / name for name in ('m.txt', 'm.json', 'm.avi')]
    outputs = plan_outputs(out, facts, TrackStyle(show_scores=True), caption=True)

    def prepare(image, context):
        frame = DetDataSample(metainfo=dict(frame_id=context.index))
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
    assert len(read_mot_rows(out[0])) == 2400


def _one_track(samples):
    return [
        InstanceData(
            bboxes=torch.tensor([[1.0, 2.0, 9.0, 12.0]]),
            scores=torch.ones(1),
            labels=torch.zeros(1, dtype=torch.long),
            instances_id=torch.tensor([int(s['data_samples'][0].frame_id) // 50]),
        )
        for s in samples
    ]


def test_reading_tracking_and_writing_overlap(inferencer):
    """The reader and the writer wait for each other: only at once can they go on."""
    meeting = threading.Barrier(2, timeout=20)

    class Source(_Endless):
        def __iter__(self):
            for index, image in enumerate(super().__iter__()):
                if index == 3:
                    meeting.wait()  # frame 3 is read while frame 0 is written
                yield image

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

    def slow(samples):
        assert read.wait(20)  # all frames have come before the first is tracked
        return _one_track(samples)

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
    assert [frame.index for frame in tracked] == list(range(len(tracked)))
    assert report.complete


def test_error_of_the_reader_arrives(inferencer):
    class Source(_Endless):
        def __iter__(self):
            yield next(super().__iter__())
            raise RuntimeError('the reader broke')

    run = TrackingRun(Source(5), inferencer.preprocessor, _one_track, [])
    with pytest.raises(RuntimeError, match='the reader broke'):
        list(run.frames())


# ---------------------------------------------------------------------- the command
def _command(toys, *more):
    config = toys.folder / 'config.py'
    toys.config.dump(config)
    return [
        str(toys.folder / 'v.mp4'),
        f'--config={config}',
        f'--checkpoint={toys.checkpoint}',
        '--no-progress',
        *map(str, more),
    ]


def test_command_writes_video_and_text_and_reports(toys, capsys):
    toys.video('v.mp4', 12)
    out = toys.folder / 'tracks.mp4'
    assert track_command.main(_command(toys, '--out', out, '--show-fps')) == 0
    report = capsys.readouterr().out
    assert 'tracked 12 frames' in report and str(out) in report
    assert len(_read_video(out)[0]) == 12
    assert len(read_mot_rows(out.with_suffix('.txt'))) == 12 + 9 + 7


def test_command_refuses_in_one_line(toys):
    with pytest.raises(SystemExit, match=r'v\.mp4: no such video'):
        track_command.main(_command(toys, '--out', toys.folder / 'x.txt'))
    toys.video('v.mp4', 3)
    with pytest.raises(SystemExit, match='yellow'):
        track_command.main(
            _command(toys, '--out', toys.folder / 'x.txt', '--classes', 'yellow')
        )


def test_interrupted_command_keeps_what_was_tracked(toys, monkeypatch):
    toys.video('v.mp4', 30)
    step = MOTInferencer.predict_prepared
    calls = []

    def interrupted(self, samples):
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return step(self, samples)

    monkeypatch.setattr(MOTInferencer, 'predict_prepared', interrupted)
    out = toys.folder / 'i.txt'
    assert track_command.main(_command(toys, '--out', out)) == 130
    assert not out.exists()
    assert read_mot_rows(toys.folder / 'i.partial.txt').frame.max() == 9
