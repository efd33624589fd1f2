# Copyright (c) mmfdta authors.
"""A recorded run against the run of a test, the scores, and brute force."""

import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from scipy.optimize import linear_sum_assignment

from mmfdta.apis.analysis.diagnosis import record_evidence, record_sequence
from mmfdta.datasets import ClipIndex
from mmfdta.evaluation import Tracks, summarise
from mmfdta.evaluation.matching import box_iou
from mmfdta.evaluation.records import make_record
from mmfdta.models.trackers.assignment import PROTOCOLS
from mmfdta.structures.mot_text import format_tracks

pytestmark = pytest.mark.filterwarnings('ignore:frame .* more than ID words')


def test_a_recorded_run_is_the_run_of_a_test(trained):
    known = trained.found[0]
    run = record_sequence(trained.loop, trained.data, 0, known)
    plain = Tracks.concatenate(
        [make_record(frame, False).pred for frame, _ in trained.loop.track(0, known)]
    )
    assert len(plain) > 40
    assert format_tracks(run.tracks) == format_tracks(plain)
    assert trained.model.tracker.observer is None
    # The detector may round otherwise with other frames beside.
    frames = []
    for frame in range(run.num_frames):
        sample = trained.data.dataset[ClipIndex(0, (frame,))]
        ((found,),) = trained.model.test_step(pseudo_collate([sample]))
        frames.append(make_record(found, False).pred)
    tested, anew = (
        Tracks.concatenate(frames),
        record_sequence(trained.loop, trained.data, 0).tracks,
    )
    for tracks in (run.tracks, anew):
        np.testing.assert_array_equal(tracks.identity, tested.identity)
        np.testing.assert_allclose(tracks.xywh, tested.xywh, atol=2e-3)


def test_what_is_recorded_explains_every_identity(script):
    loop, data, found, _ = script
    for one in record_evidence(loop, data, found):
        run, words = one.run, one.run.words
        detections, none = run.detections, words.none
        frame = detections.frame[words.row] - 1
        took_part = detections.score > np.float32(words.settings['det_thr'])
        np.testing.assert_array_equal(words.row, np.flatnonzero(took_part))
        last_given, owner = np.full(none, -99), np.full(none, -1)
        for t in range(run.num_frames):
            here = np.flatnonzero(frame == t)
            remembered = t - last_given < words.settings['miss_tolerance']
            np.testing.assert_array_equal(words.live[t], remembered)
            np.testing.assert_array_equal(words.owner[t], owner)
            given = np.full(len(here), none)
            if len(here) and remembered.any():
                protocol = PROTOCOLS[words.settings['protocol']]
                scores = words.scores[here]
                given = protocol(scores, remembered, words.settings['id_thr'])
            else:
                assert np.isnan(words.scores[here]).all()
            np.testing.assert_array_equal(words.given[here], given)
            known = given < none
            np.testing.assert_array_equal(
                words.identity[here][known], owner[given[known]]
            )
            named = here[words.word[here] < none]
            owner[words.word[named]] = words.identity[named]
            last_given[words.word[named]] = t
        kept = words.row[words.identity >= 0]
        np.testing.assert_array_equal(run.track_row, kept)
        np.testing.assert_array_equal(run.tracks.frame, detections.frame[kept])
        np.testing.assert_allclose(run.tracks.xywh, detections.xywh[kept], atol=1e-3)


def test_matches_are_those_of_the_scores(script):
    loop, data, found, classes = script
    evidence = record_evidence(loop, data, found)
    evaluation = data.score([one.run.tracks for one in evidence])
    switches = 0
    for one in evidence:
        scores = summarise(evaluation.of_sequence(one.run.name))
        assert one.is_switch.sum() == scores['IDSW']
        assert one.found.sum() == len(one.match_truth) == scores['CLR_TP']
        assert (~one.found).sum() == scores['CLR_FN']
        assert one.counted.sum() - len(one.match_track) == scores['CLR_FP']
        switches += one.is_switch.sum()
        identity = one.run.tracks.identity[one.match_track]
        again = one.match_last >= 0
        last = one.match_last[again]
        assert (identity[again] != identity[last]).sum() == one.is_switch.sum()
        number = one.objects[one.match_truth]
        np.testing.assert_array_equal(number[again], number[last])
        if classes == 2:
            label = one.run.tracks.label[one.match_track]
            np.testing.assert_array_equal(label, one.truth.label[one.match_truth])
    assert switches > 40


def test_other_detections_get_what_is_left(script):
    loop, data, found, classes = script
    rest = 0
    for one in record_evidence(loop, data, found):
        run, truth = one.run, one.truth
        row_of_track = run.track_row[one.match_track]
        np.testing.assert_array_equal(one.object_row[row_of_track], one.match_truth)
        took_part = np.isin(np.arange(len(run.detections)), run.words.row)
        is_track = np.isin(np.arange(len(run.detections)), run.track_row)
        near = set()
        for frame in range(1, run.num_frames + 1):
            rows = np.flatnonzero(run.detections.frame == frame)
            objects = np.flatnonzero(truth.frame == frame)
            boxes = run.detections.xyxy[rows], truth.xyxy[objects]
            iou = box_iou(boxes[0][:, None], boxes[1])
            near |= {(rows[i], objects[j]) for i, j in np.argwhere(iou >= 0.5)}
            allowed = (iou >= 0.5) & ~is_track[rows, None] & ~one.found[objects]
            if classes == 2:
                label = run.detections.label[rows]
                allowed &= label[:, None] == truth.label[objects]
            value = np.where(allowed, iou + 2 * took_part[rows, None], 0)
            best = value[linear_sum_assignment(value, maximize=True)].sum()
            mine = rows[~is_track[rows] & (one.object_row[rows] >= 0)]
            pairs = np.searchsorted(rows, mine), one.object_row[mine] - objects[0]
            assert allowed[pairs].all() and len(set(pairs[1])) == len(mine)
            assert value[pairs].sum() == pytest.approx(best)
            rest += len(mine)
        assert set(map(tuple, one.near)) == near
    assert rest > 10


def test_frames_without_anything(scripted):
    loop, data, found = scripted(0)
    for known in found:
        known.frames = [frame[:0] for frame in known.frames]
    for one in record_evidence(loop, data, found):
        assert len(one.run.tracks) == len(one.match_truth) == len(one.near) == 0
        assert not one.run.words.live.any()
        assert not one.found.any() and len(one.truth) > 0


def test_a_tracker_without_words(scripted):
    """What it found is recorded; a track is the detection with its box."""
    loop, data, found = scripted(0)
    expected = record_evidence(loop, data, found)

    class Wordless:
        """The same tracker, as one of another kind."""

        def __init__(self, inner):
            self.track = inner.track

    evidence = record_evidence(loop, data, found, Wordless(loop.model.tracker))
    for one, other in zip(evidence, expected, strict=True):
        assert one.run.words is None
        np.testing.assert_array_equal(one.run.track_row, other.run.track_row)
        np.testing.assert_array_equal(one.object_row, other.object_row)
        assert format_tracks(one.run.tracks) == format_tracks(other.run.tracks)
        np.testing.assert_array_equal(one.match_truth, other.match_truth)
        np.testing.assert_array_equal(one.is_switch, other.is_switch)
