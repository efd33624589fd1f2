# Copyright (c) mmfdta authors.
"""Detectors of MMDetection with deformable attention, plain and accelerated."""

import copy
from pathlib import Path

import mmdet
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from torch import Tensor, nn

from mmfdta.ops import accelerate

CONFIGS = Path(mmdet.__file__).parent / '.mim' / 'configs'
FILES = {
    'dino': 'dino/dino-4scale_r50_8xb2-12e_coco',
    'two-stage': 'deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco',
}
SIZES = ((60, 90), (64, 72))


def small_model(name: str) -> nn.Module:
    """Build a model of two layers whose weights and points are spread."""
    model = Config.fromfile(CONFIGS / f'{FILES[name]}.py').model
    model.backbone.update(depth=18, init_cfg=None)
    model.neck.in_channels = [128, 256, 512]
    model.num_queries = 20
    model.encoder.num_layers = model.decoder.num_layers = 2
    torch.manual_seed(0)
    model = MODELS.build(model)
    model.init_weights()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model.eval()


def frames() -> tuple[Tensor, list[DetDataSample]]:
    """Two images of different sizes, padded to one."""
    height, width = (max(side) for side in zip(*SIZES, strict=True))
    images, samples = torch.zeros(2, 3, height, width), []
    for image, size in zip(images, SIZES, strict=True):
        image[:, : size[0], : size[1]] = torch.randn(3, *size)
        meta = dict(img_shape=size, ori_shape=size, batch_input_shape=(height, width))
        samples.append(DetDataSample(metainfo=meta))
    return images, samples


def difference(name: str) -> float:
    """Largest relative difference that `accelerate` makes, gradients too."""
    results = []
    plain = small_model(name)
    images, samples = frames()
    for model in (plain, accelerate(copy.deepcopy(plain))):
        found = [t for t in model(images, samples, mode='tensor') if t is not None]
        model.zero_grad()
        sum(t.sigmoid().square().mean() for t in found).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        results.append([*found, *gradients])
    return max(
        float((one - other).detach().norm() / other.detach().norm().clamp(min=1e-6))
        for one, other in zip(*results, strict=True)
    )


def waits(name: str) -> dict:
    """Count on the device, the second time that a model runs."""
    from simulated_device import CUDA, DEVICE, simulated_cuda  # before PyTorch only

    model, (images, samples) = small_model(name), frames()
    accelerate(model)
    with torch.no_grad():
        expected = model(images, samples, mode='tensor')
    with simulated_cuda(), torch.no_grad():
        model.to(CUDA)
        images = images.to(CUDA)
        model(images, samples, mode='tensor')
        with DEVICE.counting() as counts:
            found = model(images, samples, mode='tensor')
        for one, other in zip(found, expected, strict=True):
            if other is not None:
                torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-4)
    return counts.to_json()
