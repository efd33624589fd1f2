# Copyright (c) mmfdta authors.
"""Every loop gives a tracker that looks at frames the pixels of the right one."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData

from mmfdta.apis import MOTInferencer
from mmfdta.apis.config import find_config
from mmfdta.apis.detection_store import DetectionStore
from mmfdta.apis.model_loading import load_tracker
from mmfdta.apis.sequence_loop import SequenceLoop
from mmfdta.datasets.sequences import ClipIndex

LENGTH = 5


@MODELS.register_module(force=True)
class LookingTracker:
    """Keeps the pixels that it is shown, and tracks nothing."""

    def __init__(self, needs_frames: bool = True) -> None:
        self.needs_frames = needs_frames
        self.shown: list = []

    def track(self, data_sample, frame=None, **_) -> InstanceData:
        assert (frame is not None) == self.needs_frames
        if frame is not None:
            assert frame() is frame()
            self.shown.append(frame())
        found = data_sample.pred_instances[:0]
        return InstanceData(
            bboxes=found.bboxes,
            scores=found.scores,
            labels=found.labels,
            instances_id=torch.zeros(0, dtype=torch.int64),
        )


@pytest.fixture
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(LENGTH)]


@pytest.fixture
def config(tmp_path, pictures) -> Config:
    """A YOLOX-nano without training, on a sequence of the pictures."""
    folder = tmp_path / 'videos/test/yard/img1'
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures, 1):
        cv2.imwrite(str(folder / f'{number:06d}.png'), picture)
    config = Config.fromfile(find_config('bytetrack_yolox-nano_coco'))
    config.model.tracker = dict(type='LookingTracker')
    config.test_dataloader.dataset.data_root = str(tmp_path / 'videos')
    for step in config.test_dataloader.dataset.pipeline[0].transforms:
        if step.type == 'ClipResize':
            step.update(short=32, max_long=32)
    return config


@pytest.fixture
def model(config):
    return load_tracker(config, None, 'cpu', allow_random_weights=True)


def check(model, pictures: list[np.ndarray]) -> None:
    shown = model.tracker.shown
    assert len(shown) == len(pictures)
    for found, expected in zip(shown, pictures, strict=True):
        np.testing.assert_array_equal(found, expected)
    shown.clear()


@torch.no_grad()
@pytest.mark.parametrize('numbers', [(0,), (0, 1, 2, 3, 4)])
def test_predict(model, config, pictures, numbers):
    dataset = DATASETS.build(config.test_dataloader.dataset)
    model.test_step(pseudo_collate([dataset[ClipIndex(0, numbers)]]))
    check(model, [pictures[number] for number in numbers])


@pytest.mark.parametrize('batch_size', [1, 3])
def test_sequence_loop_with_and_without_kept_detections(
    model, config, pictures, tmp_path, batch_size
):
    dataset = DATASETS.build(config.test_dataloader.dataset)
    store = DetectionStore(tmp_path / 'store', model, dataset)
    loop = SequenceLoop(model, dataset, store, batch_size=batch_size)
    assert loop.reads(0) is None
    assert len(list(loop.track(0))) == LENGTH
    check(model, pictures)
    known = loop.reads(0)
    assert known is not None
    other = LookingTracker()
    for tracker in (None, other):
        frames = [frame for frame, _ in loop.track(0, known, tracker)]
        assert 'pred_track_instances' in frames[0]
    check(model, pictures)
    assert len(other.shown) == LENGTH
    # One that does not look, in a model whose own tracker does.
    list(loop.track(0, known, LookingTracker(needs_frames=False)))
    assert not model.tracker.shown


@pytest.mark.parametrize('order', ['bgr', 'rgb'])
@pytest.mark.parametrize('batch_size', [1, 3])
def test_inferencer(config, pictures, tmp_path, batch_size, order):
    inferencer = MOTInferencer(
        config,
        device='cpu',
        allow_random_weights=True,
        batch_size=batch_size,
        channel_order=order,
    )
    for picture in pictures:
        inferencer.step(picture if order == 'bgr' else picture[..., ::-1])
    check(inferencer.model, pictures)
    inferencer(str(tmp_path / 'videos/test/yard/img1'))
    check(inferencer.model, pictures)
