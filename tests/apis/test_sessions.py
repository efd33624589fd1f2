# Copyright (c) mmfdta authors.
"""Sessions: batches of several videos, threads, galleries, and what is refused."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from exported_colors import write_model
from mmengine.config import Config
from rectangles import SIZE, draw, rectangle_config
from small_fdta import small_config
from small_motr import small_motr_config

from mmfdta.apis import ExportedTracker, MOTInferencer
from mmfdta.models.trackers import IdentityGallery

BYTE = dict(type='ByteTracker', motion=dict(type='KalmanFilter'))
OTHER_SIZE = (72, 120)


def opened(model: dict | None = None, **options) -> MOTInferencer:
    model = model or dict(type='TrackingByDetection', tracker=BYTE)
    torch.manual_seed(0)
    return MOTInferencer(
        rectangle_config(model), device='cpu', allow_random_weights=True, **options
    )


def with_networks(model: Config, **tracker) -> MOTInferencer:
    """A small FDTA or MOTR that tracks all that its random networks find."""
    model.tracker.update(det_thr=0.0, newborn_thr=0.0, area_thr=0.0, **tracker)
    return opened(model.to_dict())


def numbers(tracks) -> list[int]:
    return tracks.identity.tolist()


def alone(inferencer, frames: list[np.ndarray]) -> list[list[int]]:
    """Identities of a video that has the inferencer to itself."""
    inferencer.reset()
    found = [numbers(inferencer.step(frame)) for frame in frames]
    inferencer.reset()
    return found


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> list[Path]:
    """Three videos as folders of images; they need not end at the same time."""
    made = []
    for seed, length in ((1, 9), (2, 6), (3, 12)):
        folder = tmp_path_factory.mktemp('videos') / f'video{seed}'
        folder.mkdir()
        size = SIZE if seed < 3 else OTHER_SIZE
        for number, image in enumerate(draw(seed, length, size), 1):
            cv2.imwrite(str(folder / f'{number:03d}.png'), image)
        made.append(folder)
    return made


# ------------------------------------------------------------------------ together
@pytest.mark.parametrize(
    ('options', 'batches'),
    [({}, [3, 2]), (dict(batch_size=1), [1] * 5), (dict(batch_size=2), [2, 1, 2])],
)
def test_frames_of_one_size_are_detected_in_together(options, batches):
    inferencer = opened(**options)
    sizes = SIZE, OTHER_SIZE, SIZE, OTHER_SIZE, SIZE
    frames = {inferencer.session(): draw(i, 1, s)[0] for i, s in enumerate(sizes)}
    found = inferencer.step(frames)
    assert inferencer.model.detector.batches == batches
    assert list(found) == list(frames)
    for session, frame in frames.items():
        expected = opened().step(frame)
        np.testing.assert_array_equal(found[session].xywh, expected.xywh)
        assert session.num_frames == 1


def test_what_is_resized_to_one_size_is_one_batch():
    """The boxes are in pixels of each frame itself."""
    inferencer = opened()
    small, large = inferencer.session(), inferencer.session()
    frame = draw(5, 1)[0]
    double = cv2.resize(frame, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    found = inferencer.step({small: frame, large: double})
    assert inferencer.model.detector.batches == [2]
    assert len(found[small]) >= 3
    np.testing.assert_allclose(found[large].xywh, 2 * found[small].xywh, atol=2.1)


def test_many_sessions_are_given_eight_at_a_time_and_none_are_none():
    inferencer = opened()
    frames = {inferencer.session(): draw(i, 1)[0] for i in range(9)}
    assert len(inferencer.step(frames)) == 9
    assert inferencer.model.detector.batches == [8, 1]
    assert inferencer.step({}) == {}


def test_the_inferencer_is_a_session_beside_others():
    inferencer = opened()
    one, two = draw(1, 4), draw(2, 4)
    expected = alone(inferencer, one), alone(inferencer, two)
    other = inferencer.session()
    found = [
        inferencer.step({other: b, inferencer: a})
        for a, b in zip(one, two, strict=True)
    ]
    assert [numbers(f[inferencer]) for f in found] == expected[0]
    assert [numbers(f[other]) for f in found] == expected[1]


def test_settings_are_those_of_the_inferencer(toys, scene):
    """Of a model that keeps the video in an attribute, too."""
    inferencer = MOTInferencer(
        toys.config, toys.checkpoint, channel_order='rgb', classes=['blue', 'red']
    )
    session, other = inferencer.session(), inferencer.session()
    assert session.kept_classes == inferencer.kept_classes == ('red', 'blue')[::-1]
    assert session.classes == inferencer.classes
    assert session.preprocessor is inferencer.preprocessor
    for index in (0, 6):
        found = inferencer.step(
            {session: scene.render(index), other: scene.render(6 - index)}
        )
    assert found[session].label.tolist() == [0, 2]
    assert (numbers(found[session]), numbers(found[other])) == ([0, 2], [0])


def test_exported_models_detect_in_several_videos_together(toys, scene, tmp_path):
    tracker = ExportedTracker(write_model(tmp_path / 'm', scene.colors), threads=1)

    def frames(first: int) -> list[np.ndarray]:
        return [np.ascontiguousarray(scene.render(i)[..., ::-1]) for i in range(12)][
            first:
        ]

    clips = frames(0)[:6], frames(5)[:6]
    expected = [alone(tracker, clip) for clip in clips]
    one, two = tracker.session(), tracker.session()
    found = [tracker.step({two: b, one: a}) for a, b in zip(*clips, strict=True)]
    assert [numbers(f[one]) for f in found] == expected[0]
    assert [numbers(f[two]) for f in found] == expected[1]
    wide = np.zeros((60, 160, 3), np.uint8)
    sizes = {one: clips[0][0], two: wide, tracker: clips[1][0]}
    assert list(tracker.step(sizes)) == list(sizes)


# ------------------------------------------------------------------------- refused
@pytest.mark.parametrize('bad', ['text', np.zeros((4, 4, 3), np.float32)])
def test_a_frame_that_is_refused_changes_no_session(bad):
    inferencer = opened()
    one, two = draw(1, 6), draw(2, 6)
    expected = alone(inferencer, one)
    first, second = inferencer.session(), inferencer.session()
    for t in range(3):
        inferencer.step({first: one[t], second: two[t]})
    with pytest.raises(ValueError, match=r'^frame 2 of 2: found .*expected uint8') as e:
        inferencer.step({first: one[3], second: bad})
    assert '\n' not in str(e.value)
    assert first.num_frames == second.num_frames == 3
    rest = [inferencer.step({first: one[t], second: two[t]}) for t in (3, 4, 5)]
    assert [numbers(found[first]) for found in rest] == expected[3:]


@pytest.mark.parametrize('size', [SIZE, OTHER_SIZE])
def test_a_detector_that_fails_in_one_frame_changes_no_session(size):
    """Also where that frame is in another batch, which comes last."""
    inferencer = opened()
    one, poisoned = draw(1, 6), draw(2, 6, size, poisoned=(3,))
    expected = alone(inferencer, one)
    first, second = inferencer.session(), inferencer.session()
    for t in range(3):
        inferencer.step({first: one[t], second: poisoned[t]})
    with pytest.raises(ValueError, match='not finite'):
        inferencer.step({first: one[3], second: poisoned[3]})
    assert first.num_frames == second.num_frames == 3
    rest = [inferencer.step({first: one[t], second: poisoned[4]}) for t in (3, 4, 5)]
    assert [numbers(found[first]) for found in rest] == expected[3:]


def test_motr_asks_all_frames_before_a_track_changes(monkeypatch):
    inferencer = with_networks(small_motr_config(), keep_thr=0.0)
    one, two = draw(1, 4), draw(2, 4)
    expected = alone(inferencer, one)
    first, second = inferencer.session(), inferencer.session()
    inferencer.step({first: one[0], second: two[0]})
    before = [session.state.tracker.queries for session in (first, second)]
    decode, calls = inferencer.model.detector.decode, []

    def broken(*args):
        outputs = decode(*args)
        calls.append(1)
        if len(calls) == 2:
            outputs.bbox_preds.fill_(torch.nan)
        return outputs

    with monkeypatch.context() as patch:
        patch.setattr(inferencer.model.detector, 'decode', broken)
        with pytest.raises(ValueError, match='not finite'):
            inferencer.step({first: one[1], second: two[1]})
    after = [session.state.tracker.queries for session in (first, second)]
    assert all(x is y for x, y in zip(before, after, strict=True))
    rest = [inferencer.step({first: one[t], second: two[t]}) for t in (1, 2, 3)]
    assert [numbers(found[first]) for found in rest] == expected[1:]


def test_keys_that_are_no_sessions_of_this_model_are_refused():
    inferencer, frame = opened(), draw(1, 1)[0]
    with pytest.raises(ValueError, match="found 'hall' as a key, expected sessions"):
        inferencer.step({'hall': frame})
    session = inferencer.session()
    with pytest.raises(ValueError, match='found a session of another tracker'):
        inferencer.step({session: frame, opened().session(): frame})
    assert session.num_frames == 0


def test_a_session_in_the_middle_of_a_video_takes_no_other_frames(folders):
    inferencer = opened()
    expected = [numbers(frame.tracks) for frame in inferencer.track(folders[0])]
    session, other = inferencer.session(), inferencer.session()
    frame = draw(2, 1)[0]
    found = []
    for tracked in session.track(folders[0]):
        found.append(numbers(tracked.tracks))
        for wrong in (
            lambda: session.step(frame),
            lambda: inferencer.step({other: frame, session: frame}),
        ):
            with pytest.raises(RuntimeError, match='video1: found step in the middle'):
                wrong()
        assert other.num_frames == len(found) - 1
        other.step(frame)
        inferencer.step(frame)
    assert found == expected
    assert len(session.step(frame)) and session.num_frames == 1


def test_a_reset_leaves_a_video_in_its_middle(folders):
    session = opened().session()
    left = session.track(folders[0])
    next(left)
    session.reset()
    frames = draw(2, 3)
    found = [numbers(session.step(frame)) for frame in frames[:2]]
    with pytest.raises(RuntimeError, match='video1: another video was begun'):
        next(left)
    left.close()
    assert [*found, numbers(session.step(frames[2]))] == alone(opened(), frames)


# ------------------------------------------------------------------------- threads
@pytest.mark.parametrize('kind', ['bytetrack', 'fdta', 'motr', 'pooled'])
def test_threads_track_what_one_after_the_other_tracks(kind, folders, tmp_path):
    """A thread changes as often as it can; text is equal to the byte."""
    if kind == 'fdta':
        inferencer = with_networks(small_config())
    elif kind == 'motr':
        inferencer = with_networks(small_motr_config(), keep_thr=0.0)
    elif kind == 'pooled':  # hooks on the detector keep its maps
        inferencer = MOTInferencer(
            'iou-embedding_yolox-nano_coco',
            device='cpu',
            allow_random_weights=True,
            input_size=64,
            cfg_options={
                'model.detector.test_cfg.score_thr': 0.0,
                'model.detector.test_cfg.max_per_img': 20,
                'model.tracker.score_thr': 0.0,
                'model.tracker.newborn_thr': 0.0,
            },
        )
    else:
        inferencer = opened()
    whole = []
    for folder in folders:
        inferencer(folder, out=tmp_path / 'alone.txt')
        whole.append((tmp_path / 'alone.txt').read_bytes())
        (tmp_path / 'alone.txt').unlink()
    assert all(whole)

    def track(number: int) -> bytes:
        out = tmp_path / f'{number}.txt'
        # The inferencer itself has one of the videos.
        session = inferencer if number == 0 else inferencer.session()
        report = session(folders[number % 3], out=out)
        assert report.complete
        return out.read_bytes()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(track, range(4)))
    finally:
        sys.setswitchinterval(before)
    assert found == [*whole, whole[0]]


# ----------------------------------------------------------------------- galleries
def test_a_session_remembers_whom_the_inferencer_knew_and_keeps_it_to_itself(tmp_path):
    inferencer = opened(gallery=IdentityGallery.open(tmp_path / 'people.npz'))
    frames = draw(1, 3)
    before = inferencer.step(frames[0])
    known = len(inferencer.gallery)
    assert known == len(before) >= 3
    session = inferencer.session()
    assert session.gallery is session.state.tracker.gallery
    # The same people come in again, in another order of boxes.
    again = session.step(frames[0][:, ::-1])
    assert set(numbers(again)) == set(numbers(before))
    for seed in (4, 5):
        session.step(draw(seed, 1)[0])
    assert len(inferencer.gallery) == known
    inferencer.step(frames[1])
    assert session.gallery.path is None and not list(tmp_path.iterdir())
    session.gallery.save(tmp_path / 'session.npz')
    assert len(IdentityGallery.open(tmp_path / 'session.npz')) == len(session.gallery)


def test_galleries_of_a_step_are_those_of_each_session():
    model = dict(
        type='TrackingByDetection',
        tracker=dict(type='GalleryTracker', tracker=BYTE, across_videos=True),
    )
    inferencer = opened(model)
    one, two = draw(1, 6), draw(2, 6)
    first, second = inferencer.session(), inferencer.session()
    apart = [[numbers(s.step(f)) for f in v] for s, v in ((first, one), (second, two))]
    first, second = inferencer.session(), inferencer.session()
    found = [
        inferencer.step({first: a, second: b}) for a, b in zip(one, two, strict=True)
    ]
    assert [[numbers(f[s]) for f in found] for s in (first, second)] == apart


def test_a_new_session_takes_the_settings_of_now():
    inferencer = opened()
    inferencer.model.tracker.init_track_thr = 0.99  # no score is higher
    frame = draw(1, 1)[0]
    assert len(inferencer.session().step(frame)) == 0
