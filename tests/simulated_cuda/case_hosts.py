# Copyright (c) mmfdta authors.
"""FDTA on other detectors: a training step and tracking, and what they wait for."""

import torch
from simulated_device import CUDA, DEVICE, simulated_cuda
from small_fdta import build, collate, make_clip, small_config
from small_hosts import host_config
from torch import nn

from mmfdta.ops import accelerate


def _model(host: str) -> nn.Module:
    config = small_config()
    config.detector = dict(type='QueryDetector', host=host_config(host, classes=1))
    config.clip_detection.update(num_grad_frames=3, grad_chunk=2)
    return accelerate(build(config))


def _batch() -> dict:
    clip = make_clip(size=(64, 96), with_depth=False)
    frame = clip['data_samples'][3]
    frame.gt_instances = frame.gt_instances[:0]
    (targets,) = clip['data_samples'].id_targets
    for side in ('trajectory', 'unknown'):
        targets.get(f'{side}_id_masks')[:, 3] = True
    other = make_clip(size=(48, 96), with_depth=False, seed=1)
    for each in (clip, other):
        each['inputs'] = {k: v.pin_memory() for k, v in each['inputs'].items()}
    return collate(clip, other)


def step(host: str) -> dict:
    """Count losses and gradients of a batch with padding."""
    with simulated_cuda():
        model = _model(host).train().to(CUDA)
        batch = model.data_preprocessor(_batch(), training=True)
        with DEVICE.counting() as counts:
            losses = model(**batch, mode='loss')
            sum(losses.values()).backward()
        assert all(value.isfinite() for value in losses.values()), losses
    return counts.to_json()


def detection(host: str) -> dict:
    """Count a second detection; it finds what a CPU finds."""
    with simulated_cuda():
        model = _model(host).eval()
        batch = model.data_preprocessor(_batch())
        images, frames = batch['inputs']['img'].flatten(0, 1), []
        for clip in batch['data_samples']:
            frames += clip
        with torch.no_grad():
            expected = model.detector.detect(images, frames)
            model.to(CUDA)
            images = images.to(CUDA)
            model.detector.detect(images, frames)
            with DEVICE.counting() as counts:
                found = model.detector.detect(images, frames)
        torch.testing.assert_close(
            found.embeddings.cpu(), expected.embeddings, rtol=1e-3, atol=1e-4
        )
    return counts.to_json()
