# Copyright (c) mmfdta authors.
"""A host in a graph, and in ONNX, detects what it detects in its QueryDetector."""

import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from recorded import Recorded
from small_hosts import (
    CLASSES,
    DEPTH,
    HOSTS,
    host_config,
    make_frames,
    sparse_rcnn,
)
from torch import Tensor, nn

from mmfdta.apis.export import detector_graph, operators
from mmfdta.models.detectors import DetrInterface
from mmfdta.ops import accelerate

NAMES = [*(name for name in HOSTS if name != 'ddq'), 'sparse_rcnn']
SHAPES = [(64, 96), (48, 80), (64, 64)]


def build(name: str, **more) -> nn.Module:
    """A box tracker on a host with random weights."""
    torch.manual_seed(0)
    detector = dict(type='QueryDetector', **more)
    divisor = 1
    if name == 'sparse_rcnn':
        detector |= dict(host=sparse_rcnn(), interface=dict(type='SparseRCNNInterface'))
        divisor = 32
    else:
        detector['host'] = host_config(name)
    model = MODELS.build(
        dict(
            type='TrackingByDetection',
            detector=detector,
            tracker=dict(type='ByteTracker', motion=dict(type='KalmanFilter')),
            data_preprocessor=dict(
                type='ClipDataPreprocessor', pad_size_divisor=divisor
            ),
        )
    )
    model.init_weights()
    host = model.detector.host
    head = host.roi_head if name == 'sparse_rcnn' else host.bbox_head
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.5 / module.in_features**0.5)
    if name == 'sparse_rcnn':
        # Boxes of all sizes pool from several levels.
        proposals = host.rpn_head.init_proposal_bboxes.weight
        nn.init.uniform_(proposals, 0.2, 0.7)
    return accelerate(model).eval()


def pixels(*shape: int, seed: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=rng).to(torch.uint8)


def detected(model: nn.Module, frames: Tensor, shapes: list[tuple[int, int]]) -> list:
    """Boxes, scores, labels and embeddings of PyTorch, for frames of several sizes."""
    _, samples = make_frames([0] * len(shapes))
    clips = [
        frame[None, :, :height, :width]
        for frame, (height, width) in zip(frames, shapes, strict=True)
    ]
    for sample, shape in zip(samples, shapes, strict=True):
        sample.set_metainfo(dict(img_shape=shape))
    imgs = model.data_preprocessor(dict(inputs=dict(img=clips)))['inputs']['img'][:, 0]
    for sample in samples:
        sample.set_metainfo(dict(batch_input_shape=tuple(imgs.shape[-2:])))
    with torch.no_grad():
        outputs = model.detector.detect(imgs, samples)
    scores, labels = outputs.cls_scores[-1].sigmoid().max(-1)
    return [outputs.bbox_preds[-1], scores, labels, outputs.embeddings]


def assert_same(found, expected, tolerance: float = 1e-5) -> None:
    for mine, theirs in zip(found, expected, strict=False):
        mine, theirs = np.asarray(mine), np.asarray(theirs)
        if theirs.dtype == np.int64:
            np.testing.assert_array_equal(mine, theirs, strict=True)
        else:
            np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


@torch.no_grad()
@pytest.mark.parametrize('name', NAMES)
def test_a_host_in_a_graph_is_the_host(name: str):
    """Frames of one size, without and with a divisor, and padded ones."""
    model = build(name)
    graph = detector_graph(model)
    frames = pixels(2, 3, 72, 104)
    assert_same(graph(frames), detected(model, frames, [(72, 104)] * 2))
    # What stands in the padding is not seen.
    frames = pixels(3, 3, 64, 96)
    graph = detector_graph(model, size=(64, 96))
    found = graph(frames, torch.tensor(SHAPES))
    assert_same(found, detected(model, frames, SHAPES))
    assert found[2].max() < CLASSES


def slow(names: list[str]) -> list:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize('name', ['dino', *slow(sorted({*NAMES} - {'dino'}))])
def test_a_host_in_onnx_is_the_host(name: str):
    """Of any size, and any number of frames; DINO with depth."""
    more = {}
    if name == 'dino':
        more = copy.deepcopy(DEPTH)
    model = build(name, **more)
    recorded = Recorded(detector_graph(model))
    counts = operators(recorded.proto)
    assert not [n for n in counts if '.' in n or n == 'GridSample']
    for frames in (pixels(1, 3, 64, 96), pixels(3, 3, 107, 69)):
        apart = recorded.differences(dict(frames=frames))
        assert apart.pop('labels') == 0
        assert max(apart.values()) < 1e-4


@pytest.mark.parametrize('name', ['detr', *slow(sorted({*NAMES} - {'detr'}))])
def test_a_host_of_a_fixed_size_has_no_loops(name: str):
    """Padded frames of any number."""
    recorded = Recorded(detector_graph(build(name), size=(64, 96)))
    assert not {'Scan', 'Loop', 'If', 'GridSample'} & {*operators(recorded.proto)}
    for sizes in (SHAPES, SHAPES[:1]):
        frames = pixels(len(sizes), 3, 64, 96)
        apart = recorded.differences(dict(frames=frames, sizes=torch.tensor(sizes)))
        assert apart.pop('labels') == 0
        assert max(apart.values()) < 1e-4


@pytest.mark.parametrize('name', ['ddq', 'own'])
def test_what_is_not_known_is_refused(name: str):
    if name == 'ddq':
        with pytest.raises(ValueError, match='found DDQDETR, which cannot be') as error:
            detector_graph(build('ddq'))
    else:
        model = build('detr')
        model.detector.interface = OwnInterface()
        with pytest.raises(ValueError, match='DETR read by OwnInterface') as error:
            detector_graph(model)
    assert '\n' not in str(error.value)


class OwnInterface(DetrInterface):
    """Of a user."""
