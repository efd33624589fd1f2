# Copyright (c) mmfdta authors.
"""Whole videos: sources, results and the command."""

import csv
import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmfdta.apis import MOTInferencer
from mmfdta.apis.sources import open_source
from mmfdta.apis.track_outputs import VideoFacts, plan_outputs
from mmfdta.apis.tracked_frame import TrackedFrame
from mmfdta.cli.main import main
from mmfdta.evaluation.records import assemble, make_record
from mmfdta.structures import Tracks
from mmfdta.structures.classes import column_numbers
from mmfdta.structures.mot_text import read_tracks, write_tracks
from mmfdta.visualization import TrackStyle


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
        assert sorted(frame.tracks.label.tolist()) == sorted(expected)
        for label, box in zip(
            frame.tracks.label.tolist(), frame.tracks.xyxy, strict=True
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
def test_text_json_and_csv_equal_the_predictions(inferencer, toys, names_in):
    video = toys.video('v.mp4', 20)
    out = [toys.folder / 'r' / name for name in ('t.txt', 't.json', 't.mp4', 't.csv')]
    frames = list(inferencer.track(video, out=out))
    assert names_in(toys.folder / 'r') == ['t.csv', 't.json', 't.mp4', 't.txt']

    expected = [
        (f.index + 1, i, *box, s)
        for f in frames
        for i, box, s in zip(
            f.tracks.identity, f.tracks.xywh, f.tracks.score, strict=True
        )
    ]
    rows = read_tracks(out[0], unique=True)
    found = np.column_stack([rows.frame, rows.identity, rows.xywh, rows.score])
    np.testing.assert_allclose(found, np.array(expected), rtol=0, atol=5.001e-4)
    # The model has three classes, and no data set numbers them.
    labels = [label for f in frames for label in f.tracks.label.tolist()]
    assert rows.label.tolist() == [label + 1 for label in labels]

    with out[3].open(newline='') as file:
        table = list(csv.DictReader(file))
    titles = 'frame,id,x,y,w,h,score,label,category,time'
    assert ','.join(table[0]) == titles
    cells = [[float(row[name]) for name in list(row)[:7]] for row in table]
    np.testing.assert_allclose(cells, np.array(expected), rtol=0, atol=5.001e-4)
    names = 'red', 'green', 'blue'
    assert [(int(r['label']), r['category']) for r in table] == [
        (label, names[label]) for label in labels
    ]

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


def test_text_is_to_the_digit_that_of_the_metric(tmp_path):
    random = torch.Generator().manual_seed(0)
    facts = VideoFacts('seq', 10.0)
    (output,) = plan_outputs(tmp_path / 'video.txt', facts, TrackStyle(), caption=False)
    records = []
    for index in range(4):
        corners = 300 * torch.rand(9, 2, generator=random) - 20
        sizes = 100 * torch.rand(9, 2, generator=random) + 1
        tracks = InstanceData(
            bboxes=torch.cat([corners, corners + sizes], dim=1),
            scores=torch.rand(9, generator=random),
            labels=torch.zeros(9, dtype=torch.int64),
            instances_id=torch.randperm(20, generator=random)[:9],
        )
        if index == 2:
            tracks.bboxes[0] = torch.tensor([-0.0001, 10.0, 20.5, 30.25])
        found = Tracks.from_instances(tracks, index + 1)
        output.write(TrackedFrame(index, np.zeros((8, 8, 3), np.uint8), found))
        meta = dict(sequence='seq', frame_id=index, video_id=0, video_length=4)
        sample = DetDataSample(metainfo=meta)
        sample.pred_track_instances = tracks
        records.append(make_record(sample, mot_classes=False))
    output.finish(complete=True)
    _, (hidden,) = assemble(records)
    write_tracks(tmp_path / 'metric.txt', hidden.pred)
    text = (tmp_path / 'video.txt').read_text()
    assert text == (tmp_path / 'metric.txt').read_text()
    assert len(text.splitlines()) == 36


@pytest.mark.parametrize(
    ('meta', 'numbers'),
    [
        (dict(classes=('object',)), [-1, -1]),
        (dict(classes=('person',), class_numbers=(4,)), [-1, -1]),
        (dict(classes=('red', 'green', 'blue')), [1, 3]),
        (dict(classes=('red', 'green', 'blue'), class_numbers=(7, 2, 5)), [7, 5]),
        ({}, [-1, -1]),
    ],
)
def test_column_8_is_the_number_of_the_data_set(tmp_path, meta, numbers):
    facts = VideoFacts('v', 10.0, meta.get('classes', ()), column_numbers(meta))
    (output,) = plan_outputs(tmp_path / 'v.txt', facts, TrackStyle(), caption=False)
    label = [0, 0 if numbers == [-1, -1] else 2]
    tracks = Tracks.create([1, 1], [3, 4], [[0, 0, 5, 5]] * 2, None, label)
    output.write(TrackedFrame(0, np.zeros((8, 8, 3), np.uint8), tracks))
    output.finish(complete=True)
    assert (tmp_path / 'v.txt').read_text() == ''.join(
        f'1,{identity},0,0,5,5,1,{number},-1,-1\n'
        for identity, number in zip((3, 4), numbers, strict=True)
    )


def test_csv_of_a_video_without_objects_has_titles_only(tmp_path):
    facts = VideoFacts('v', 10.0, ('say "hi", class',))
    (output,) = plan_outputs(tmp_path / 'v.csv', facts, TrackStyle(), caption=False)
    for index in range(2):
        output.write(TrackedFrame(index, np.zeros((8, 8, 3), np.uint8), Tracks.empty()))
    output.finish(complete=True)
    head = 'frame,id,x,y,w,h,score,label,category,time\n'
    assert (tmp_path / 'v.csv').read_text() == head


def test_names_with_commas_are_quoted_in_csv(tmp_path):
    facts = VideoFacts('v', 10.0, ('a, "b"',))
    (output,) = plan_outputs(tmp_path / 'v.csv', facts, TrackStyle(), caption=False)
    tracks = Tracks.create([1], [3], [[0.5, 0, 5, 5]], None, [0])
    output.write(TrackedFrame(0, np.zeros((8, 8, 3), np.uint8), tracks))
    output.finish(complete=True)
    with (tmp_path / 'v.csv').open(newline='') as file:
        (row,) = csv.DictReader(file)
    assert (row['category'], row['x'], row['id']) == ('a, "b"', '0.5', '3')


def test_tracks_that_are_no_numbers_are_refused(tmp_path):
    facts = VideoFacts('seq', 10.0)
    (output,) = plan_outputs(tmp_path / 'n.txt', facts, TrackStyle(), caption=False)
    tracks = Tracks.create([7], [0], [[0, 0, 5, 5]], score=[np.nan])
    with pytest.raises(ValueError, match=r'n\.txt: frame 7: .*finite'):
        output.write(TrackedFrame(6, np.zeros((8, 8, 3), np.uint8), tracks))


def test_video_has_every_frame_and_the_drawn_boxes(inferencer, toys, read_video):
    video = toys.video('v.mp4', 15)
    report = inferencer(video, out=toys.folder / 'drawn.mp4', caption=False)
    assert report.complete and report.num_frames == 15
    assert report.files == (toys.folder / 'drawn.mp4',)
    before, _ = read_video(video)
    after, rate = read_video(toys.folder / 'drawn.mp4')
    assert len(after) == 15 and rate == 10
    # Where nothing was drawn, black stays black; on an edge of the box it does not.
    difference = np.abs(after[9].astype(int) - before[9]).max(-1)
    assert difference[100:, 120:].max() < 30
    assert difference[19:49, 27:54].max() > 100


def test_frames_without_objects_are_in_the_results(inferencer, toys, read_video):
    images = toys.images('empty', 5)
    for path in images.iterdir():
        cv2.imwrite(str(path), np.zeros((120, 160, 3), np.uint8))
    out = [toys.folder / name for name in ('e.txt', 'e.json', 'e.avi')]
    report = inferencer(images, out=out, frame_rate=7)
    assert report.num_frames == 5
    assert out[0].read_text() == ''
    document = json.loads(out[1].read_text())
    assert [frame['tracks'] for frame in document['frames']] == [[]] * 5
    frames, rate = read_video(out[2])
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
        for key in ('frame', 'identity', 'xywh', 'score', 'label'):
            np.testing.assert_array_equal(
                getattr(one.tracks, key), getattr(other.tracks, key)
            )


def test_frames_of_two_sizes_are_not_batched_together(toys, read_video):
    images = toys.images('mixed', 6)
    for number in (4, 5):
        path = images / f'{number}.png'
        cv2.imwrite(str(path), cv2.imread(str(path))[:100])
    batched = MOTInferencer(toys.config, toys.checkpoint, device='cpu', batch_size=4)
    assert len(list(batched.track(images))) == 6
    assert batched.model.batch_sizes == [3, 2, 1]
    report = batched(images, out=toys.folder / 'mixed.mp4')
    frames, _ = read_video(report.files[0])
    assert [frame.shape for frame in frames] == [(120, 160, 3)] * 6


def test_videos_do_not_leak_state_into_each_other(inferencer, toys):
    video = toys.video('v.mp4', 9)
    first = [frame.tracks.identity.tolist() for frame in inferencer.track(video)]
    again = [frame.tracks.identity.tolist() for frame in inferencer.track(video)]
    assert first == again


def test_max_frames_and_class_filter(toys):
    red = MOTInferencer(toys.config, toys.checkpoint, classes=['red'])
    out = toys.folder / 'red.txt'
    report = red(toys.video('v.mp4', 20), out=out, max_frames=6)
    assert report.complete and report.num_frames == 6
    assert set(read_tracks(out).identity.tolist()) == {0}
    assert len(read_tracks(out)) == 6


# ---------------------------------------------------------------------- the command
def _command(toys, *more):
    config = toys.folder / 'config.py'
    toys.config.dump(config)
    return [
        'track',
        str(toys.folder / 'v.mp4'),
        f'--config={config}',
        f'--checkpoint={toys.checkpoint}',
        '--no-progress',
        *map(str, more),
    ]


def test_command_writes_video_and_text_and_reports(toys, capsys, read_video):
    toys.video('v.mp4', 12)
    out = toys.folder / 'tracks.mp4'
    assert main(_command(toys, '--out', out, '--show-fps')) == 0
    report = capsys.readouterr().out
    assert 'tracked 12 frames' in report and str(out) in report
    assert len(read_video(out)[0]) == 12
    assert len(read_tracks(out.with_suffix('.txt'))) == 12 + 9 + 7


def test_command_refuses_in_one_line(toys, capsys):
    assert main(_command(toys, '--out', toys.folder / 'x.txt')) == 1
    assert 'v.mp4: no such video' in capsys.readouterr().err
    toys.video('v.mp4', 3)
    arguments = _command(toys, '--out', toys.folder / 'x.txt', '--classes', 'yellow')
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert 'yellow' in error
    assert error.startswith('mmfdta track: ') and error.count('\n') == 1


def test_interrupted_command_keeps_what_was_tracked(toys, monkeypatch):
    toys.video('v.mp4', 30)
    step = MOTInferencer.predict_prepared
    calls = []

    def interrupted(self, samples, first_frame):
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return step(self, samples, first_frame)

    monkeypatch.setattr(MOTInferencer, 'predict_prepared', interrupted)
    out = toys.folder / 'i.txt'
    assert main(_command(toys, '--out', out)) == 130
    assert not out.exists()
    assert read_tracks(toys.folder / 'i.partial.txt').frame.max() == 9
