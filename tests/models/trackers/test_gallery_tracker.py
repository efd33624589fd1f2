# Copyright (c) mmfdta authors.
"""A gallery around any tracker changes numbers, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmfdta.models.mot.fdta import share_sizes
from mmfdta.models.trackers import GalleryTracker, IoUEmbeddingTracker

CONFIGS = Path(__file__).parents[3] / 'configs'
LOOKS = torch.eye(3)


def frame(number, *people, **columns):
    """A frame with people at places of their own, best score first."""
    boxes = [[100.0 * i, 0, 100 * i + 20, 50] for i in people]
    sample = DetDataSample(metainfo=dict(frame_id=number))
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.linspace(0.95, 0.85, len(people)),
        labels=torch.zeros(len(people), dtype=torch.int64),
        embeddings=LOOKS[list(people)].reshape(-1, 3),
    )
    return sample


def video(tracker, *frames):
    """Person -> number, in each frame."""
    found = []
    for number, people in enumerate(frames):
        tracks = tracker.track(frame(number, *people))
        places = (tracks.bboxes[:, 0] / 100).round().int().tolist()
        found.append(dict(zip(places, tracks.instances_id.tolist(), strict=True)))
    return found


GONE = ((0, 1), (0, 1), (1,), (1,), (1,), (2, 1), (0, 1))


def test_a_tracker_that_forgets_is_reminded():
    inner = dict(type='IoUEmbeddingTracker', miss_tolerance=1)
    assert video(IoUEmbeddingTracker(miss_tolerance=1), *GONE)[-1] == {0: 3, 1: 1}
    tracker = GalleryTracker(inner, threshold=0.8)
    expected = [{0: 0, 1: 1}] * 2 + [{1: 1}] * 3 + [{1: 1, 2: 2}, {0: 0, 1: 1}]
    assert video(tracker, *GONE) == expected
    # Each video counts from 0, unless people are remembered across them.
    assert video(tracker, (2,), (0,)) == [{2: 0}, {0: 1}]
    tracker = GalleryTracker(inner, threshold=0.8, across_videos=True)
    video(tracker, *GONE)
    assert video(tracker, (2,), (0,))[0] == {2: 2}


def test_without_a_threshold_the_numbers_are_the_trackers():
    plain, settings = IoUEmbeddingTracker(), dict(type='IoUEmbeddingTracker')
    tracker = GalleryTracker(settings, threshold=None, keep_embeddings=True)
    assert video(tracker, *GONE) == video(plain, *GONE)
    tracks = tracker.track(frame(0, 2, 0))
    assert torch.equal(tracks.embeddings, LOOKS[[2, 0]])
    assert len(tracker.track(frame(1)).embeddings) == 0


def test_bytetrack_of_mmdetection_is_a_tracker():
    """It knows no embeddings; the gallery takes those of its detections."""
    settings = Config.fromfile(CONFIGS / '_base_/trackers/bytetrack.py').tracker
    settings.num_frames_retain = 1
    with DefaultScope.overwrite_default_scope('mmdet'):
        plain = MODELS.build(settings)
        tracker = MODELS.build(dict(type='GalleryTracker', tracker=settings))
    long = (*GONE, (0, 1), (0, 1), (0, 1))
    without, found = video(plain, *long), video(tracker, *long)
    assert [list(x) for x in without] == [list(x) for x in found]
    assert without[-1][0] != without[0][0]
    assert found[-1] == found[0]


def test_what_the_tracker_has_is_there():
    tracker = GalleryTracker(dict(type='FDTATracker', det_thr=0.25))
    assert tracker.det_thr == 0.25
    assert tracker.num_dropped == 0
    with pytest.raises(AttributeError, match='nothing_of_the_kind'):
        _ = tracker.nothing_of_the_kind
    inner = tracker.tracker
    assert GalleryTracker.around(tracker).tracker is inner


def test_detections_without_embeddings_are_told():
    sample = frame(0, 1)
    del sample.pred_instances.embeddings
    tracker = GalleryTracker(dict(type='IoUEmbeddingTracker'))
    with pytest.raises(ValueError, match='detections have no embeddings') as error:
        tracker.track(sample)
    assert '\n' not in str(error.value)


def test_fdta_hands_its_sizes_to_the_tracker_inside():
    model = Config.fromfile(CONFIGS / 'fdta_mini.py').model
    plain = share_sizes(model)['tracker']
    wrapped = dict(type='GalleryTracker', threshold=0.7, tracker=dict(model.tracker))
    found = share_sizes({**model, 'tracker': wrapped})['tracker']
    assert found == dict(wrapped, tracker=plain)
    assert wrapped['tracker'] == model.tracker
    bad = dict(wrapped, tracker=dict(model.tracker, num_id_vocabulary=3))
    with pytest.raises(ValueError, match='num_id_vocabulary'):
        share_sizes({**model, 'tracker': bad})


def test_numbers_do_not_depend_on_the_precision_of_embeddings():
    for dtype in (torch.float16, torch.bfloat16):
        tracker = GalleryTracker(dict(type='IoUEmbeddingTracker'), threshold=0.9)
        sample = frame(0, 0, 2)
        sample.pred_instances.embeddings = sample.pred_instances.embeddings.to(dtype)
        np.testing.assert_array_equal(tracker.track(sample).instances_id, [0, 1])
