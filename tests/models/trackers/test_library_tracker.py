# Copyright (c) mmfdta authors.
"""Trackers of the package `trackers`, and one of your own, as trackers of configs."""

import copy
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import trackers
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from supervision import Detections

from mmfdta.apis.sequence_loop import lowest_used_score
from mmfdta.models.trackers import LibraryTracker, UpdateTracker, new_tracker

NAMES = {
    'botsort': trackers.BoTSORTTracker,
    'bytetrack': trackers.ByteTrackTracker,
    'cbiou': trackers.CBIoUTracker,
    'mcbyte': trackers.McByteTracker,
    'ocsort': trackers.OCSORTTracker,
    'sort': trackers.SORTTracker,
}
MOVES = ('botsort', 'mcbyte')
LENGTH = 30
pytestmark = pytest.mark.filterwarnings('error::UserWarning')


def make_video(seed: int, classes: int = 1) -> list[tuple]:
    """Frames with 8 objects that move, are missed, and are all gone now and then.

    The camera turns, so that a tracker that does not look loses them.
    """
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 255, (30, 70), np.uint8)
    ground = cv2.resize(ground, (350, 150), interpolation=cv2.INTER_CUBIC)
    ground = cv2.cvtColor(ground, cv2.COLOR_GRAY2BGR)
    places, speeds = rng.uniform(0, 100, (8, 2)), rng.normal(0, 0.5, (8, 2))
    video = []
    for number in range(LENGTH):
        turned = 5 * number
        seen = (rng.random(8) < 0.85) & (number % 13 != 5)
        place = (places + speeds * number + rng.normal(0, 0.4, (8, 2)))[seen]
        place -= [turned, 0]
        boxes = np.concatenate([place, place + [14, 30]], 1).astype(np.float32)
        sure = rng.random(len(boxes)) < 0.8
        scores = np.where(sure, *rng.uniform([[0.65], [0.05]], 1, (2, len(boxes))))
        scores = scores.astype(np.float32)
        image = np.ascontiguousarray(ground[:, turned : turned + 200])
        video.append((boxes, scores, (np.arange(8) % classes)[seen], image))
    return video


def sample_of(number: int, boxes, scores, labels) -> DetDataSample:
    sample = DetDataSample(metainfo=dict(frame_id=number))
    sample.pred_instances = InstanceData(
        bboxes=torch.from_numpy(boxes),
        scores=torch.from_numpy(scores),
        labels=torch.from_numpy(labels),
    )
    return sample


def rows_of(tracks: InstanceData) -> list[tuple]:
    """What was tracked in a frame, in an order of its own."""
    columns = tracks.instances_id, tracks.labels, tracks.scores, tracks.bboxes
    return sorted(
        zip(*(column.tolist() for column in columns), strict=True),
        key=lambda row: row[0],
    )


def run(tracker, video: list[tuple]) -> list[list[tuple]]:
    tracks = []
    for number, (*found, image) in enumerate(video):
        sample = sample_of(number, *found)
        tracks.append(rows_of(tracker.track(sample, frame=lambda image=image: image)))
    return tracks


def run_library(tracker, video: list[tuple], looks: bool) -> list[list[tuple]]:
    """The package's own tracker, fed by hand."""
    frames = []
    for boxes, scores, labels, image in video:
        kept = scores > np.float32(0.1)
        found = Detections(
            xyxy=boxes[kept], confidence=scores[kept], class_id=labels[kept]
        )
        tracked = tracker.update(found, **(dict(frame=image) if looks else {}))
        rows = [
            (int(number), int(label), float(score), box.tolist())
            for number, label, score, box in zip(
                tracked.tracker_id,
                [] if tracked.class_id is None else tracked.class_id,
                [] if tracked.confidence is None else tracked.confidence,
                tracked.xyxy,
                strict=True,
            )
            if number >= 0
        ]
        frames.append(sorted(rows, key=lambda row: row[0]))
    return frames


@pytest.mark.parametrize('name', NAMES)
def test_tracks_are_the_librarys_own(name):
    """Boxes, scores and identities, for two videos one after the other."""
    tracker = MODELS.build(dict(type='LibraryTracker', name=name))
    assert tracker.needs_frames == (name in MOVES)
    for seed in range(2):
        video = make_video(seed)
        expected = run_library(NAMES[name](), video, name in MOVES)
        assert run(tracker, video) == expected
        assert sum(map(len, expected)) > 40


def test_settings_reach_the_library():
    settings = dict(minimum_iou_threshold=0.2, minimum_consecutive_frames=1)
    video = make_video(3)
    own = trackers.SORTTracker(
        iou=trackers.GIoU(),
        state_estimator_class=type(
            trackers.BoTSORTTracker().state_estimator_class.__name__,
            (trackers.BoTSORTTracker().state_estimator_class,),
            {},
        ),
        **settings,
    )
    tracker = LibraryTracker(
        'sort',
        iou=dict(type='GIoU'),
        state_estimator_class='XCYCWHStateEstimator',
        **settings,
    )
    assert run(tracker, video) == run_library(own, video, False)
    assert run(LibraryTracker('sort'), video) != run(tracker, video)


def test_camera_motion_is_followed():
    """Objects that stand still in the world stay one identity each while it turns."""
    video = make_video(1)
    places = np.array([[160.0, 40], [195, 40], [230, 40]])
    for number, (*_, image) in enumerate(video):
        place = places - [5 * number, 0]
        boxes = np.concatenate([place, place + [14, 30]], 1).astype(np.float32)
        # They are looked away from for eight frames, in which the camera goes on.
        shown = boxes if not 12 <= number < 20 else boxes[:0]
        scores = np.full(len(shown), 0.9, np.float32)
        video[number] = shown, scores, np.zeros(len(shown), np.int64), image

    def identities(tracker) -> set[int]:
        return {row[0] for frame in run(tracker, video) for row in frame}

    assert identities(LibraryTracker('botsort')) == {0, 1, 2}


@pytest.mark.parametrize('name', NAMES)
def test_each_class_is_tracked_as_if_it_were_alone(name):
    """From the first frame of the video on, though a class appears later."""
    video = make_video(4, classes=3)
    for number in range(7):
        boxes, scores, labels, image = video[number]
        early = labels != 2
        video[number] = boxes[early], scores[early], labels[early], image
    tracks = run(LibraryTracker(name), video)
    for label in range(3):
        alone = [
            (b[labels == label], s[labels == label], labels[labels == label], image)
            for b, s, labels, image in video
        ]
        expected = run_library(NAMES[name](), alone, name in MOVES)
        found = [[row for row in frame if row[1] == label] for frame in tracks]
        pairs = set()
        for frame, other in zip(found, expected, strict=True):
            by_box = {tuple(row[3]): row[0] for row in other}
            assert {tuple(row[3]) for row in frame} == set(by_box)
            pairs |= {(row[0], by_box[tuple(row[3])]) for row in frame}
        # One identity for each of the library's numbers.
        assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    for frame in tracks:
        assert len({row[0] for row in frame}) == len(frame)


def test_motion_is_estimated_once_for_all_classes(monkeypatch):
    calls = []
    estimate = trackers.CMC.estimate
    monkeypatch.setattr(
        trackers.CMC, 'estimate', lambda *a: calls.append(1) or estimate(*a)
    )
    run(LibraryTracker('botsort'), make_video(0, classes=4))
    assert 0 < len(calls) <= LENGTH


@pytest.mark.parametrize('method', ['orb', 'sift', 'ecc', 'sparseOptFlow'])
def test_another_video_has_a_tracker_of_its_own(method):
    settings = dict(cmc_method=method, minimum_consecutive_frames=1)
    tracker = LibraryTracker('botsort', **settings)
    video = make_video(5)[:12]
    expected = run(copy.deepcopy(tracker), video)
    run(tracker, make_video(6)[:7])
    other = new_tracker(SimpleNamespace(tracker=tracker))
    assert run(other, video) == expected
    assert run(tracker, video) == expected


def test_frames_are_decoded_only_when_there_is_something_to_track():
    asked = []
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int)
    tracker = LibraryTracker('botsort')
    tracks = tracker.track(sample_of(0, *nothing), frame=lambda: asked.append(1))
    assert len(tracks) == 0 and not asked
    assert tracks.bboxes.shape == (0, 4)
    assert tracks.instances_id.dtype == tracks.labels.dtype == torch.int64


def test_memory_does_not_grow_with_the_video():
    tracker = LibraryTracker('cbiou', lost_track_buffer=3)
    rng = np.random.default_rng(0)
    for number in range(200):
        place = rng.uniform(0, 5000, (3, 2))
        boxes = np.concatenate([place, place + 20], 1).astype(np.float32)
        found = boxes, np.full(3, 0.9, np.float32), np.zeros(3, np.int64)
        for shift in (0, 1):
            sample = sample_of(2 * number + shift, *found)
            tracker.track(sample)
    assert tracker._next_identity > 300
    assert len(tracker._identities) < 20


def test_the_store_hands_on_what_it_may_use():
    assert lowest_used_score(LibraryTracker('bytetrack', score_thr=0.02)) == 0.02
    assert lowest_used_score(UpdateTracker(Numbering(), score_thr=0.01)) == 0.01


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(name='deepsort'), "tracker.name: found 'deepsort', expected one of bots"),
        (dict(name='sort', max_age=3), 'tracker.max_age: sort of the package trackers'),
        (dict(name='sort', iou='XIoU'), "tracker.iou: found 'XIoU', expected the name"),
        (
            dict(name='cbiou', lost_track_buffer=-1),
            r'cbiou .* refuses .*must be greater',
        ),
        (dict(name='sort', lost_track_buffer='a'), 'model.tracker: sort .* refuses'),
        (dict(name='sort', iou=dict(type='GIoU', b=1)), 'model.tracker.iou: '),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        LibraryTracker(**settings)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('kind', [LibraryTracker, None])
def test_bad_detections_leave_the_state_alone(kind):
    tracker = LibraryTracker('cbiou') if kind else UpdateTracker(Numbering())
    video = make_video(0)
    run(tracker, video[:5])
    for column, value in ((0, np.nan), (1, np.inf)):
        found = [copy.copy(part) for part in video[5][:3]]
        found[0] = np.ones((2, 4), np.float32)
        found[1], found[2] = np.ones(2, np.float32), np.zeros(2, int)
        found[column][0] = value
        with pytest.raises(ValueError, match='for 1 of 2 detections in frame 5'):
            tracker.track(sample_of(5, *found))
    other = LibraryTracker('cbiou') if kind else UpdateTracker(Numbering())
    expected = run(other, video)
    rest = [
        rows_of(tracker.track(sample_of(n, *frame[:3])))
        for n, frame in enumerate(video[5:], 5)
    ]
    assert rest == expected[5:]


def test_a_missing_frame_is_an_error():
    found = make_video(0)[0][:3]
    with pytest.raises(ValueError, match=r"'botsort'\): found no frame .*enable_cmc"):
        LibraryTracker('botsort').track(sample_of(0, *found))
    LibraryTracker('botsort', enable_cmc=False).track(sample_of(0, *found))


# --------------------------------------------------------- a tracker of one's own
class Numbering:
    """Numbers detections from left to right, and counts its frames."""

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.reset()

    def reset(self) -> None:
        self.frames = 0

    def update(self, detections):
        self.frames += 1
        order = detections.xyxy[:, 0].argsort()
        detections = detections[order]
        detections.tracker_id = self.first + np.arange(len(detections)) + self.frames
        return detections


class Looking(Numbering):
    """Numbers all detections by the brightness of the frame's first pixel."""

    def update(self, detections, frame):
        detections.tracker_id = int(frame[0, 0, 0]) + np.arange(len(detections))
        return detections


class Careless:
    """Has no `reset`, and returns what it is told to."""

    def __init__(self, tracker_id) -> None:
        self.tracker_id = tracker_id

    def update(self, detections):
        if isinstance(self.tracker_id, str):
            return detections.xyxy
        detections.tracker_id = self.tracker_id
        return detections


TWO = (
    np.array([[50, 0, 60, 9], [10, 0, 20, 9]], np.float32),
    np.array([0.9, 0.8], np.float32),
    np.array([0, 3]),
)


def test_own_tracker_object_is_asked_and_reset():
    tracker = MODELS.build(dict(type='UpdateTracker', tracker=Numbering(first=5)))
    assert not tracker.needs_frames
    for _ in range(2):
        for number in range(3):
            tracks = tracker.track(sample_of(number, *TWO))
            first = 6 + number
            assert rows_of(tracks) == [
                (first, 3, pytest.approx(0.8), [10, 0, 20, 9]),
                (first + 1, 0, pytest.approx(0.9), [50, 0, 60, 9]),
            ]


def test_own_tracker_class_is_built_for_each_video(tmp_path, monkeypatch):
    (tmp_path / 'my_tracking.py').write_text(
        'import numpy as np\n'
        'class Mine:\n'
        '    def __init__(self, first):\n'
        '        self.next = first\n'
        '    def update(self, detections):\n'
        '        self.next += 1\n'
        '        detections.tracker_id = np.full(len(detections), self.next)[:1]\n'
        '        return detections\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = dict(type='my_tracking.Mine', first=7)
    tracker = MODELS.build(dict(type='UpdateTracker', tracker=config))
    one = tuple(column[:1] for column in TWO)
    for follower in (tracker, new_tracker(SimpleNamespace(tracker=tracker)), tracker):
        for number in range(2):
            tracks = follower.track(sample_of(number, *one))
            assert tracks.instances_id.tolist() == [8 + number]


def test_own_tracker_sees_the_frame():
    tracker = UpdateTracker(Looking())
    assert tracker.needs_frames
    image = np.full((4, 4, 3), 40, np.uint8)
    tracks = tracker.track(sample_of(0, *TWO), frame=lambda: image)
    assert tracks.instances_id.tolist() == [40, 41]
    with pytest.raises(ValueError, match='Looking.update takes a frame'):
        tracker.track(sample_of(1, *TWO))


@pytest.mark.parametrize(
    ('tracker_id', 'identities'),
    [(None, []), (np.array([-1, 4]), [4]), (np.array([2, 1]), [1, 2])],
)
def test_what_has_no_identity_is_left_out(tracker_id, identities):
    config = dict(type=Careless, tracker_id=tracker_id)
    tracks = UpdateTracker(config).track(sample_of(0, *TWO))
    assert [row[0] for row in rows_of(tracks)] == identities


@pytest.mark.parametrize(
    ('tracker', 'message'),
    [
        (dict(type=Careless, tracker_id=np.array([3, 3])), 'found a tracker_id twice'),
        (dict(type=Careless, tracker_id='array'), 'Careless.update: returned ndarray'),
        (Careless(None), r'Careless has no reset\(\)'),
        (object(), 'object has no update, expected update'),
        (dict(type='Mine'), "found 'Mine', expected 'package.module.Class'"),
        (dict(type='collections.Nothing'), "found 'collections.Nothing'"),
        (dict(type='no_such_package.Mine'), "found 'no_such_package.Mine'.*PYTHON"),
        (dict(type=Careless), r"does not take \{\}: missing .*'tracker_id'"),
        (dict(type=Careless, tracker_id=None, x=1), "unexpected keyword argument 'x'"),
        (SimpleNamespace(update=lambda a, b: a, reset=1), 'expected update'),
    ],
)
def test_what_is_no_tracker_is_named(tracker, message):
    with pytest.raises((ValueError, ModuleNotFoundError), match=message) as caught:
        UpdateTracker(tracker).track(sample_of(0, *TWO))
    assert '\n' not in str(caught.value)
