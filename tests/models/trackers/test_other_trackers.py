# Copyright (c) mmfdta authors.
"""What no tracker of the configs may do, on random detections.

An identity twice in a frame, one that returns after its end, an old number for
somebody new, a memory that grows with the video.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from tracker_inputs import detected

from mmfdta.models.trackers import IoUEmbeddingTracker, LibraryTracker, MOTRTracker

# A long run sets this to 10,000.
EXAMPLES = int(os.environ.get('MMFDTA_FUZZ_EXAMPLES', '25'))
CONFIGS = Path(__file__).parents[3] / 'configs/_base_/trackers'
RETAIN = 4
MOST = 6  # detections in a frame
SIZE = 100

# Identities of the next frame's detections, and how many tracks are remembered.
Step = Callable[[int, InstanceData], tuple[list[int], int]]


def detections(seed: int) -> InstanceData:
    """Up to six boxes that lie on each other often."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, MOST + 1))
    places = rng.integers(0, 4, (count, 2)) * 12 + rng.normal(0, 1, (count, 2))
    boxes = np.concatenate([places, places + rng.uniform(12, 20, (count, 2))], 1)
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(rng.choice([0.2, 0.55, 0.65, 0.9], count)).float(),
        labels=torch.tensor(rng.integers(0, 2, count)),
        embeddings=torch.tensor(rng.normal(size=(count, 3))).float(),
    )


def of_mmdetection(name: str) -> Step:
    """A tracker as a config has it, with a short memory."""
    options = dict(Config.fromfile(CONFIGS / f'{name}.py').tracker)
    options.update(num_frames_retain=RETAIN)
    with DefaultScope.overwrite_default_scope('mmdet'):
        tracker = MODELS.build(options)
        motion = TASK_UTILS.build(dict(type='KalmanFilter'))

    class Model:
        """All that SORT asks of a model."""

        with_reid = False

    Model.motion = motion

    def step(frame: int, found: InstanceData) -> tuple[list[int], int]:
        sample = DetDataSample(metainfo=dict(frame_id=frame, ori_shape=(SIZE, SIZE)))
        names = ('bboxes', 'scores', 'labels')
        sample.pred_instances = InstanceData(**{n: found.get(n) for n in names})
        tracks = tracker.track(model=Model(), img=None, data_sample=sample)
        return tracks.instances_id.tolist(), len(tracker.tracks)

    return step


def iou_embedding() -> Step:
    tracker = IoUEmbeddingTracker(miss_tolerance=RETAIN)

    def step(frame: int, found: InstanceData) -> tuple[list[int], int]:
        sample = DetDataSample(metainfo=dict(frame_id=frame))
        sample.pred_instances = found
        return tracker.track(sample).instances_id.tolist(), len(tracker._tracks)

    return step


def of_library(name: str) -> Step:
    tracker = LibraryTracker(name, lost_track_buffer=RETAIN)
    grey = np.full((SIZE, SIZE, 3), 128, np.uint8)

    def step(frame: int, found: InstanceData) -> tuple[list[int], int]:
        sample = DetDataSample(metainfo=dict(frame_id=frame))
        sample.pred_instances = found
        tracks = tracker.track(sample, frame=lambda: grey)
        return tracks.instances_id.tolist(), len(tracker._identities)

    return step


def motr() -> Step:
    """Detect queries find the detections; tracks are found or missed at random."""
    tracker = MOTRTracker(miss_tolerance=RETAIN, area_thr=0.0)

    def step(frame: int, found: InstanceData) -> tuple[list[int], int]:
        known = len(tracker.ids) if frame else 0
        tracked = torch.tensor([0.3, 0.65, 0.9])[
            torch.randint(3, (known,), generator=draws)
        ]
        scores = torch.cat([found.scores, tracked])
        boxes = torch.full((len(scores), 4), 0.5)
        labels = torch.zeros(len(scores), dtype=torch.int64)
        sample = detected(boxes, scores, labels, (SIZE, SIZE), frame_id=frame)
        tracks = tracker.track(sample, renew_queries=lambda kept: kept)
        return tracks.instances_id.tolist(), len(tracker.ids)

    draws = torch.Generator().manual_seed(0)
    return step


TRACKERS: dict[str, Callable[[], Step]] = {
    **{
        name: lambda name=name: of_mmdetection(name)
        for name in ('bytetrack', 'ocsort', 'sort')
    },
    'iou-embedding': iou_embedding,
    'motr': motr,
    **{
        f'library-{name}': lambda name=name: of_library(name)
        for name in ('botsort', 'bytetrack', 'cbiou', 'mcbyte', 'ocsort', 'sort')
    },
}


@pytest.mark.parametrize('name', TRACKERS)
@settings(max_examples=EXAMPLES)
@given(
    videos=st.lists(
        st.lists(st.integers(0, 2**32), min_size=1, max_size=20), min_size=1, max_size=2
    )
)
def test_identities_are_given_once(name: str, videos: list[list[int]]):
    step = TRACKERS[name]()
    for seeds in videos:
        last_seen, newest = {}, -1
        for frame, seed in enumerate(seeds):
            ids, remembered = step(frame, detections(seed))
            assert len(set(ids)) == len(ids), 'an identity twice in a frame'
            born = [identity for identity in ids if identity not in last_seen]
            assert min(born, default=newest + 1) > newest, 'an old number'
            newest = max([newest, *born])
            for identity in set(ids) - set(born):
                gap = frame - last_seen[identity]
                # MOTR's tracks end by misses, which scores in between do not count.
                assert name == 'motr' or gap <= RETAIN + 1, 'returned after its end'
            last_seen.update(dict.fromkeys(ids, frame))
            # Everybody of the frames that are remembered.
            assert name == 'motr' or remembered <= MOST * (RETAIN + 2)
