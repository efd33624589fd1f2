# Copyright (c) mmfdta authors.
"""Exported models track videos with onnxruntime, and without PyTorch."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from exported_colors import write_model
from onnx import TensorProto, helper, numpy_helper

from mmfdta.apis import ExportedTracker
from mmfdta.cli.main import main
from mmfdta.runtime.frame_input import PreparedFrame
from mmfdta.runtime.sessions import open_session, run_session
from mmfdta.structures.mot_text import read_tracks
from mmfdta.utils import environment
from mmfdta.utils.environment import Environment

KINDS = ('yolox', 'queries')


@pytest.fixture(params=KINDS)
def folder(request, tmp_path, scene):
    """An exported model of each kind."""
    return write_model(tmp_path / 'model', scene.colors, request.param == 'queries')


def bgr(scene, index):
    return np.ascontiguousarray(scene.render(index)[..., ::-1])


def check(tracks, expected, tolerance=0.01):
    assert sorted(tracks.label.tolist()) == sorted(expected)
    for label, box in zip(tracks.label.tolist(), tracks.xyxy, strict=True):
        np.testing.assert_allclose(box, expected[label], atol=tolerance)


def test_boxes_are_in_pixels_and_identities_stay(folder, scene):
    tracker = ExportedTracker(folder, threads=1)
    names = {}
    for index in range(9):
        tracks = tracker.step(bgr(scene, index))
        check(tracks, scene.true_boxes(index))
        assert (tracks.frame == index + 1).all()
        np.testing.assert_allclose(tracks.score, 0.9, atol=1e-6)
        for label, identity in zip(tracks.label, tracks.identity, strict=True):
            assert names.setdefault(int(label), int(identity)) == identity
    assert sorted(names.values()) == [0, 1, 2]
    tracker.reset()
    assert tracker.step(bgr(scene, 7)).identity.tolist() == [0, 1, 2]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [None, (320, 320)])
def test_boxes_are_scaled_back_from_the_resized_frame(tmp_path, scene, kind, size):
    """A frame of 160x120 becomes 249x187; with a fixed size padding is below it."""
    folder = write_model(
        tmp_path / 'model', scene.colors, kind == 'queries', short=187, size=size
    )
    tracker = ExportedTracker(folder, threads=1)
    assert tracker.preprocessor.input_shape(120, 160) == (187, 249)
    for index in (5, 6):
        check(tracker.step(bgr(scene, index)), scene.true_boxes(index), tolerance=1.5)


def test_frames_without_objects_and_with_one(folder, scene):
    tracker = ExportedTracker(folder, threads=1)
    empty = np.zeros((120, 160, 3), np.uint8)
    assert len(tracker.step(empty)) == 0
    check(tracker.step(bgr(scene, 0)), scene.true_boxes(0))
    assert len(tracker.step(empty)) == 0
    check(tracker.step(bgr(scene, 2)), scene.true_boxes(2))


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_channel_order_is_that_of_the_argument(folder, scene, order):
    tracker = ExportedTracker(folder, threads=1, channel_order=order)
    frame = scene.render(6) if order == 'rgb' else bgr(scene, 6)
    check(tracker.step(frame), scene.true_boxes(6))


def test_batches_give_what_single_frames_give(folder, toys):
    video = toys.video('v.mp4', 9)
    single = list(ExportedTracker(folder, threads=1).track(video))
    batched = list(ExportedTracker(folder, threads=1, batch_size=4).track(video))
    assert len(single) == len(batched) == 9
    for first, second in zip(single, batched, strict=True):
        assert first.tracks.identity.tolist() == second.tracks.identity.tolist()
        np.testing.assert_array_equal(first.tracks.xywh, second.tracks.xywh)


def test_videos_beside_each_other_do_not_mix(folder, scene):
    """Two videos on the same graphs, frame by frame in turn, as one after the other."""
    alone = ExportedTracker(folder, threads=1)
    expected = [
        [alone.step(bgr(scene, index)).identity.tolist() for index in frames]
        for frames in (range(8), range(3, 11))
        if alone.reset() is None
    ]
    first = ExportedTracker(folder, threads=1, classes=['blue', 'red', 'green'])
    second = first.session()
    found = [[], []]
    for index in range(8):
        for place, tracker, shift in ((0, first, 0), (1, second, 3)):
            tracks = tracker.step(bgr(scene, index + shift))
            found[place].append(tracks.identity.tolist())
    assert found == expected
    assert second.kept_classes == first.kept_classes


def test_a_first_frame_that_fails_is_not_the_first(folder, scene, monkeypatch):
    """What follows it is a new video, and no track of the one before goes on."""
    tracker = ExportedTracker(folder, threads=1)
    expected = tracker.step(bgr(scene, 6))
    for index in (7, 8):
        tracker.step(bgr(scene, index))
    tracker.reset()
    with monkeypatch.context() as patch:
        patch.setattr(tracker, 'detect', lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tracker.step(bgr(scene, 5))
    tracks = tracker.step(bgr(scene, 6))
    assert tracks.frame.tolist() == expected.frame.tolist() == [1] * len(expected)
    assert tracks.identity.tolist() == expected.identity.tolist()


def test_a_video_that_is_left_does_not_end_the_one_after_it(folder, scene, toys):
    """Closing it, as Python does with a forgotten loop, touches no later frame."""
    tracker = ExportedTracker(folder, threads=1)
    left = tracker.track(toys.video('v.mp4', 6))
    next(left)
    with pytest.raises(RuntimeError, match='v.mp4: found step in the middle of track'):
        tracker.step(bgr(scene, 6))
    tracker.reset()
    first = tracker.step(bgr(scene, 6))
    left.close()
    second = tracker.step(bgr(scene, 7))
    assert set(first.frame.tolist()) == {1}
    assert set(second.frame.tolist()) == {2}


def test_two_videos_are_not_tracked_in_turn(folder, toys):
    """The second has the state now: the first says so, and changes nothing."""
    video = toys.video('v.mp4', 6)
    alone = [f.tracks.identity.tolist() for f in ExportedTracker(folder).track(video)]
    tracker = ExportedTracker(folder, threads=1)
    first, second = tracker.track(video), tracker.track(video)
    found = [next(frames).tracks.identity.tolist() for frames in (first, second)]
    with pytest.raises(RuntimeError, match='v.mp4: another video was begun'):
        next(first)
    rest = [frame.tracks.identity.tolist() for frame in second]
    assert [*found[1:], *rest] == alone


def test_classes_and_thresholds_are_those_of_every_tracker(folder, scene):
    tracker = ExportedTracker(folder, threads=1, classes=['BLUE', 0])
    tracker.step(bgr(scene, 5))
    assert set(tracker.step(bgr(scene, 6)).label.tolist()) <= {0, 2}
    assert tracker.kept_classes == ('blue', 'red')
    strict = ExportedTracker(folder, threads=1, thresholds=dict(det_thr=0.95))
    assert not any(len(strict.step(bgr(scene, index))) for index in range(6))
    with pytest.raises(ValueError, match='classes: found .cyan., expected some of red'):
        ExportedTracker(folder, threads=1, classes=['cyan'])


def test_the_detector_gives_what_a_lower_threshold_asks_for(tmp_path, scene):
    """Scores are 0.9; the exported settings leave out what is below 0.95."""
    folder = write_model(tmp_path / 'model', scene.colors, score_thr=0.95)
    thresholds = dict(det_thr=0.5, low_thr=0.2)
    assert len(ExportedTracker(folder, threads=1).step(bgr(scene, 0))) == 0
    lower = ExportedTracker(folder, threads=1, thresholds=thresholds)
    check(lower.step(bgr(scene, 0)), scene.true_boxes(0))


def test_a_threshold_that_the_tracker_lacks_is_refused(tmp_path, scene):
    folder = write_model(tmp_path / 'model', scene.colors, queries=True)
    with pytest.raises(
        ValueError, match='--low-thr: FDTATracker has no such threshold'
    ):
        ExportedTracker(folder, threads=1, thresholds=dict(low_thr=0.1))


def test_no_history_is_longer_than_the_table_of_distances(tmp_path, scene):
    """A table of 5 has distances 0 to 4: 3 missing frames, and the one before."""
    folder = write_model(tmp_path / 'model', scene.colors, queries=True)
    tracker = ExportedTracker(folder, threads=1, thresholds=dict(max_gap=3))
    assert tracker.state.assignment.max_history == 4
    for index in range(8):
        check(tracker.step(bgr(scene, index)), scene.true_boxes(index))
    with pytest.raises(ValueError, match='--max-gap: found 4 .* at most 3'):
        ExportedTracker(folder, threads=1, thresholds=dict(max_gap=4))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(channel_order='gbr'), "channel_order: found 'gbr'"),
        (dict(batch_size=0), 'batch_size: found 0'),
        (dict(threads=0), 'threads: found 0, expected at least 1'),
        (dict(provider='tpu'), "provider: found 'tpu', expected one of cpu, cuda"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, scene, arguments, message):
    folder = write_model(tmp_path / 'model', scene.colors)
    with pytest.raises(ValueError, match=message):
        ExportedTracker(folder, **arguments)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(nms=dict(type='soft_nms', iou_threshold=0.5)), "nms.type: found 'soft_"),
        (dict(nms=dict(type='nms')), 'detector.test_cfg.nms: found'),
        (dict(score_thr='0.1'), "detector.test_cfg.score_thr: found '0.1'"),
    ],
)
def test_boxes_are_not_chosen_by_other_rules_unsaid(tmp_path, scene, settings, message):
    folder = write_model(tmp_path / 'model', scene.colors)
    facts = json.loads((folder / 'model.json').read_text())
    facts['detector']['test_cfg'] |= settings
    (folder / 'model.json').write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=message):
        ExportedTracker(folder)


def test_what_onnxruntime_cannot_compute_is_one_line(tmp_path, scene):
    """Frames of four channels, which the graph cannot take."""
    folder = write_model(tmp_path / 'model', scene.colors)
    tracker = ExportedTracker(folder, threads=1)
    frame = PreparedFrame(np.zeros((4, 8, 8), np.uint8), (8, 8), (8, 8))
    with pytest.raises(RuntimeError, match=r'cannot compute .* frames \(1, 4, 8, 8\)'):
        tracker.detect([frame])


def test_what_an_operator_refuses_is_said_once(tmp_path, capfd):
    """It is an error, and onnxruntime writes nothing besides."""
    graph = helper.make_graph(
        [helper.make_node('TopK', ['x', 'k'], ['best', 'places'])],
        'best',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, ['N'])],
        [helper.make_tensor_value_info('best', TensorProto.FLOAT, [5])],
        [numpy_helper.from_array(np.array([5]), 'k')],
    )
    opset = helper.make_opsetid('', 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.save(model, tmp_path / 'best.onnx')
    session = open_session(tmp_path / 'best.onnx', threads=1)
    assert run_session(session, dict(x=np.ones(6, np.float32)))['best'].shape == (5,)
    with pytest.raises(RuntimeError, match=r'cannot compute .* x \(3,\): .*TopK'):
        run_session(session, dict(x=np.ones(3, np.float32)))
    assert capfd.readouterr().err == ''


def test_a_graph_that_cannot_be_loaded_is_named(tmp_path, scene):
    path = tmp_path / 'broken.onnx'
    path.write_bytes(b'no graph')
    with pytest.raises(RuntimeError, match=r'broken.onnx: onnxruntime .* cannot load'):
        open_session(path)


# ------------------------------------------------------------------ the command
@pytest.fixture
def command(folder, toys, monkeypatch):
    """A function: the exit code of `track --model` on a video."""
    monkeypatch.chdir(toys.folder)
    toys.video('v.mp4', 8)
    model = ['--model', str(folder), '--threads', '1', '--no-progress']
    return lambda *more: main(['track', 'v.mp4', *map(str, more), *model])


def test_the_command_tracks_and_says_with_what(command, toys, scene, capsys, names_in):
    assert command('--det-thr', '0.5') == 0
    assert {'v_tracks.mp4', 'v_tracks.txt'} <= set(names_in(toys.folder))
    said = capsys.readouterr().err
    for text in ('Tracker on colors (det_thr 0.5', '(fp32), onnxruntime', ', CPU'):
        assert text in said
    assert 'classes: red, green, blue' in said and 'frames 160x120' in said
    tracks = read_tracks(toys.folder / 'v_tracks.txt')
    assert set(tracks.frame) == {*range(1, 9)}
    # Column 8 is the number of the class.
    assert set(tracks.label) == {1, 2, 3}


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (['--checkpoint', 'x.pth'], '--checkpoint: an exported model computes as it'),
        (['--input-size', '64'], '--input-size: an exported model'),
        (['--device', 'cpu'], '--provider chooses'),
        (['--precision', 'fp16'], 'mmfdta export has --precision'),
        (['--compile'], '--compile: an exported model'),
        (['--cfg-options', 'a=1'], '--det-thr and others'),
        (['--allow-random-weights'], '--allow-random-weights: an exported model'),
    ],
)
def test_options_of_configs_are_refused(toys, capsys, option, message):
    assert main(['track', 'v.mp4', '--model', 'nowhere', *option]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize('option', [['--provider', 'cpu'], ['--threads', '1']])
def test_options_of_exported_models_need_one(capsys, option):
    assert main(['track', 'v.mp4', *option]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f'{option[0]}: is for an exported model; add --model')


@pytest.mark.parametrize('option', ['--model', '--config', '--checkpoint'])
def test_no_name_is_not_the_default(toys, capsys, option):
    assert main(['track', 'v.mp4', option, '']) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{option}: found '', expected a name")


def test_a_config_and_an_exported_model_are_two_models(capsys):
    with pytest.raises(SystemExit):
        main(['track', 'v.mp4', '--model', 'm', '--config', 'fdta_mini'])
    assert 'not allowed with argument --model' in capsys.readouterr().err


def test_what_is_wrong_with_the_folder_is_one_line(command, folder, capsys):
    graph = folder / 'detector.onnx'
    graph.write_bytes(graph.read_bytes()[:-1])
    assert command() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert 'detector.onnx: found SHA-256' in line
    (folder / 'model.json').unlink()
    assert command() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert 'has no model.json' in line


ALONE = """
import sys

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('torch', 'mmengine', 'mmcv', 'mmdet', 'onnx'):
            raise ModuleNotFoundError(f'No module named {name}', name=name)

sys.meta_path.insert(0, Nowhere())
from mmfdta.cli.main import main
from mmfdta.runtime.frame_input import PreparedFrame
from mmfdta.runtime.sessions import open_session

video, folder, truth = sys.argv[1:]
out = ['--out', 'o.mp4', 'o.txt', 'o.json', 'o.jsonl', 'o.csv']
line = ['--line', 'middle=80,0,80,120', '--counts', 'c.csv', '--show-fps']
code = main(['track', video, '--model', folder, '--threads', '1', *out, *line])
assert code == 0, code
from mmfdta.apis import ExportedTracker
assert not {'torch', 'mmengine', 'mmcv', 'mmdet', 'onnx'} & set(sys.modules)
code = main(['track', video, '--model', folder, '--cfg-options', 'a=1'])
assert code == 1, code
code = main(['evaluate', '--gt', truth, '--results', 'o.txt'])
assert code == 0, code
"""


def test_nothing_of_it_loads_pytorch(folder, toys, scene):
    """Tracking, drawing, counting and scoring where nothing of it can be imported."""
    video = toys.video('v.mp4', 8)
    truth = toys.folder / 'gt.txt'
    rows = [
        f'{index + 1},{label},{x1},{y1},{x2 - x1},{y2 - y1},1,{label + 1},1\n'
        for index in range(8)
        for label, (x1, y1, x2, y2) in scene.true_boxes(index).items()
    ]
    truth.write_text(''.join(rows))
    done = subprocess.run(
        [sys.executable, '-c', ALONE, str(video), str(folder), str(truth)],
        cwd=toys.folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'HOTA' in done.stdout
    assert '--cfg-options: an exported model' in done.stderr


def test_without_pytorch_a_config_points_to_exported_models(toys, monkeypatch, capsys):
    lacking = Environment({}, ['mmdet'], None)
    monkeypatch.setattr(environment, 'find_environment', lambda: lacking)
    video = toys.video('v.mp4', 2)
    monkeypatch.chdir(toys.folder)
    assert main(['track', str(video), '--config', 'fdta_mini']) == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert 'this needs mmdet, torch' in line and line.endswith('--model FOLDER')
