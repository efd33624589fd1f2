# Copyright (c) mmfdta authors.
"""What the table of trackers says of each is what it does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.models.trackers import ByteTracker, SORTTracker
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmfdta.models.trackers import DeepSORTTracker, GalleryTracker
from mmfdta.models.trackers.kinds import KINDS, TrackerKind, find_kind, kind_of

CONFIGS = Path(__file__).parents[3] / 'configs'
# A tracker of each kind that takes detections as they are.
SHOWN = ('bytetrack', 'ocsort', 'sort', 'botsort', 'cbiou')
SHOWN = *SHOWN, 'deepsort', 'strongsort', 'iou-embedding'
SIZE = dict(img_shape=(200, 200), ori_shape=(200, 200), scale_factor=(1.0, 1.0))


def follow(tracker, embeddings):
    """Identities of four objects side by side, by frame; embeddings (frames, 4, C)."""
    rng = np.random.default_rng(0)
    start = rng.uniform(60, 75, (4, 2))
    speed = rng.uniform(-1, 1, (4, 2))
    picture = rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)
    found = []
    for index, of_frame in enumerate(embeddings):
        corner = start + index * speed
        boxes = torch.from_numpy(np.hstack([corner, corner + 40])).float()
        sample = DetDataSample(metainfo=dict(frame_id=index, **SIZE))
        sample.pred_instances = InstanceData(
            bboxes=boxes,
            scores=torch.tensor([0.95, 0.93, 0.92, 0.91]),
            labels=torch.zeros(4, dtype=torch.int64),
            embeddings=torch.nn.functional.normalize(of_frame, dim=1),
        )
        tracks = tracker.track(
            model=None,
            img=None,
            data_sample=sample,
            data_preprocessor=None,
            rescale=True,
            frame=lambda: picture,
        )
        found.append((tracks.instances_id.tolist(), tracks.bboxes.tolist()))
    return found


@pytest.mark.parametrize('name', SHOWN)
def test_boxes_only_means_that_embeddings_change_nothing(name):
    init_default_scope('mmdet')
    cfg = Config.fromfile(CONFIGS / f'{name}_fdta-det_mini.py').model.tracker
    assert find_kind(MODELS.build(cfg)) is KINDS[kind_of(cfg)]
    steady = torch.eye(8)[:4].repeat(12, 1, 1)
    # From the middle on each looks like the next one.
    turned = steady.clone()
    turned[6:] = steady[6:].roll(1, 1)
    runs = [follow(MODELS.build(cfg), looks) for looks in (steady, turned)]
    assert (runs[0] == runs[1]) == KINDS[kind_of(cfg)].boxes_only


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda p: p.stem)
def test_every_tracker_of_a_config_is_known(path):
    tracker = Config.fromfile(path).model.get('tracker') or {}
    while 'tracker' in tracker:
        tracker = tracker['tracker']
    assert not tracker or kind_of(tracker) in {*KINDS, 'QuasiDenseTracker'}


def test_a_class_of_ones_own_is_of_the_kind_that_it_derives_from():
    class Mine(ByteTracker):
        pass

    class Deep(DeepSORTTracker):
        pass

    assert issubclass(DeepSORTTracker, SORTTracker)
    for kind, expected in ((Mine, 'ByteTracker'), (Deep, 'DeepSORTTracker')):
        assert find_kind(kind.__new__(kind)) is KINDS[expected]
    assert find_kind(object()) == TrackerKind()
    wrapped = GalleryTracker(Mine.__new__(Mine))
    assert not find_kind(wrapped).boxes_only  # a gallery looks
