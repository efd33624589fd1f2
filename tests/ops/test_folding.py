# Copyright (c) mmfdta authors.
"""Normalisation folded into convolutions, and when it has to be folded again."""

import copy
import pickle

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from small_fdta import small_config
from torch import nn

from mmfdta.ops import accelerate
from mmfdta.ops.folding import FoldedResNet


@pytest.fixture
def detector():
    detector = MODELS.build(small_config().detector)
    randomise(detector)
    return accelerate(detector.eval())


def randomise(detector):
    """Norms that do something, as after training."""
    for module in detector.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor, 0.5, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)


def features(detector, images):
    with torch.no_grad():
        return detector.extract_feat(images)


def check(detector, images):
    """The folded features are those of backbone and neck."""
    found = features(detector, images)
    # With gradients the backbone is the plain one, and the folded copy is discarded.
    expected = [level.detach() for level in detector.extract_feat(images)]
    torch.testing.assert_close(found, tuple(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('size', [(64, 64), (37, 91)])
@pytest.mark.parametrize('frames', [1, 3])
def test_folded_features_are_the_plain_ones(detector, frames, size):
    images = torch.randn(frames, 3, *size)
    features(detector, images)
    assert isinstance(detector.backbone, FoldedResNet)
    assert len(detector.backbone._folded) == 1
    check(detector, images)


def replace_parameters(detector):
    for parameter in detector.backbone.parameters():
        parameter.data = torch.randn_like(parameter) * 0.1


def load_other_weights(detector):
    other = MODELS.build(small_config().detector)
    randomise(other)
    detector.load_state_dict(other.state_dict())


def step(detector):
    with torch.no_grad():
        for parameter in detector.backbone.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)


def average_statistics(detector):
    detector.backbone.train()
    for module in detector.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
            module(torch.randn(2, module.num_features, 4, 4))
    detector.backbone.eval()


def train_without_counting(detector):
    # A fused optimiser does not raise the versions of what it writes to.
    optimizer = torch.optim.AdamW(detector.backbone.parameters(), 0.05, fused=True)
    images = torch.randn(1, 3, 64, 64)
    sum(level.sum() for level in detector.extract_feat(images)).backward()
    optimizer.step()


def swap_and_evaluate(detector):
    # MMEngine's EMAHook writes to the data before the validation loop calls `eval`.
    for parameter in detector.backbone.parameters():
        parameter.data.copy_(torch.randn_like(parameter) * 0.1)
    detector.eval()


@pytest.mark.parametrize(
    'change',
    [
        replace_parameters,
        load_other_weights,
        step,
        train_without_counting,
        average_statistics,
        swap_and_evaluate,
        lambda detector: detector.double().float(),
    ],
)
def test_changed_weights_are_folded_again(detector, change):
    images = torch.randn(1, 3, 64, 64)
    features(detector, images)
    change(detector)
    check(detector, images)


@torch.inference_mode()
def test_a_network_of_inference_tensors_follows_its_weights():
    torch.manual_seed(0)
    detector = MODELS.build(small_config().detector).eval()
    plain = copy.deepcopy(detector)
    accelerate(detector)
    images = torch.randn(2, 3, 64, 64)
    for _ in range(2):
        found, expected = (d.extract_feat(images) for d in (detector, plain))
        torch.testing.assert_close(found, expected)
        randomise(plain)
        detector.load_state_dict(plain.state_dict())


def test_the_detector_itself_stays_as_it_is(detector):
    before = copy.deepcopy(detector.state_dict())
    features(detector, torch.randn(1, 3, 64, 64))
    after = detector.state_dict()
    assert list(before) == list(after)
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]), name
    assert sum(isinstance(m, nn.BatchNorm2d) for m in detector.modules()) > 0


def test_training_reaches_every_weight_of_the_backbone(detector):
    images = torch.randn(1, 3, 64, 64)
    features(detector, images)
    detector.train()
    sum(level.sum() for level in detector.extract_feat(images)).backward()
    trained = [p for p in detector.backbone.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None for p in trained)


@pytest.mark.parametrize(
    'duplicate', [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_copies_fold_their_own_weights(detector, duplicate):
    images = torch.randn(1, 3, 64, 64)
    features(detector, images)
    other = duplicate(detector)
    step(other)
    check(other, images)
    check(detector, images)


def test_weights_are_converted_once_under_autocast(detector):
    images = torch.randn(1, 3, 64, 96)
    expected = features(detector, images)
    with torch.autocast('cpu', torch.bfloat16):
        found = features(detector, images)
        folded = detector.backbone._folded[0]
        features(detector, images)
    assert detector.backbone._folded[0] is folded
    assert {p.dtype for p in folded.parameters()} == {torch.bfloat16}
    for level, wanted in zip(found, expected, strict=True):
        error = (level.float() - wanted).norm() / wanted.norm()
        assert error < 0.02
    for level, wanted in zip(features(detector, images), expected, strict=True):
        assert level.equal(wanted)


def test_activations_stay_channels_last(detector):
    """Through backbone and neck: nothing is copied between two convolutions."""
    seen = []
    images = torch.randn(1, 3, 64, 96)
    features(detector, images)
    modules = [*detector.backbone._folded[0].modules(), *detector.neck.modules()]
    for module in modules:
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, x, y: seen.append((x[0], y)))
    features(detector, images)
    assert len(seen) == 20 + 4
    for x, y in seen:
        for tensor in (x, y):
            assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_bfloat16_autocast_and_a_whole_prediction(detector):
    images = torch.randn(1, 3, 64, 96)
    meta = dict(img_shape=(64, 96), ori_shape=(64, 96), batch_input_shape=(64, 96))
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        outputs = detector.detect(images, [DetDataSample(metainfo=meta)])
    assert outputs.embeddings.isfinite().all()
