# Copyright (c) mmfdta authors.
"""Training steps of FDTA with clips of 30 frames, and what they wait for."""

from unittest.mock import patch

import torch
from case_training import wrapper_of
from mmdet.registry import MODELS
from simulated_device import CUDA, DEVICE, simulated_cuda
from small_fdta import build, collate, make_clip, small_config
from torch import nn

from mmfdta.engine.message_hub import DeferredMessageHub
from mmfdta.ops import accelerate, softmax_focal_loss

FRAMES = 30
BATCHES = {
    'one clip': [dict(num_objects=5)],
    'two sizes': [dict(num_objects=5), dict(size=(64, 32), num_objects=3)],
    'a clip without objects': [dict(num_objects=5), dict(num_objects=0)],
    'no objects': [dict(num_objects=0)],
    'more objects than queries': [dict(num_objects=20)],
}


def _batch(name: str) -> dict:
    """Return clips in pinned memory, each with one frame without objects."""
    clips = [
        make_clip(FRAMES, **{'size': (32, 64), **options}, seed=seed)
        for seed, options in enumerate(BATCHES[name])
    ]
    for clip in clips:
        frame = clip['data_samples'][3]
        frame.gt_instances = frame.gt_instances[:0]
        (targets,) = clip['data_samples'].id_targets
        for side in ('trajectory', 'unknown'):
            targets.get(f'{side}_id_masks')[:, 3] = True
        clip['inputs'] = {k: v.pin_memory() for k, v in clip['inputs'].items()}
    return collate(*clips)


def _model() -> nn.Module:
    config = small_config()
    config.update(window=FRAMES)
    config.pop('clip_detection')
    config.detector.backbone.update(base_channels=8, stem_channels=8)
    config.detector.neck.in_channels = [16, 32, 64]
    config.identity_adapter.update(chunk_frames=10)
    return accelerate(build(config)).train()


def steps(
    batches: list[str], epoch: int = 1, dtype: str | None = None
) -> dict[str, dict]:
    """Count a training step with each batch.

    Args:
        batches: Keys of `BATCHES`.
        epoch: 0 is the warm-up of the contrastive loss.
        dtype: Type of mixed precision.
    """
    hub = DeferredMessageHub.get_instance('fdta step')
    hub.update_info('epoch', epoch)
    found = {}
    with simulated_cuda():
        model = _model().to(CUDA)
        wrapper = wrapper_of('fdta', model, dtype)
        # The optimiser makes its state in the first.
        for name in (batches[0], *batches):
            batch = _batch(name)
            with DEVICE.counting() as counts:
                losses = model.train_step(batch, wrapper)
            found[name] = counts.to_json()
            assert all(value.isfinite() for value in losses.values()), losses
    return found


def detector_step() -> dict:
    """Train the plain detector with annotations that are on the device already."""
    with simulated_cuda():
        model = _model().detector.to(CUDA)
        frames = [*make_clip(3, size=(32, 64))['data_samples']]
        frames[1].gt_instances = frames[1].gt_instances[:0]
        for frame in frames:
            frame.set_metainfo(dict(batch_input_shape=(32, 64)))
        frames = [frame.to(CUDA) for frame in frames]
        images = torch.randn(3, 3, 32, 64).to(CUDA)
        with DEVICE.counting() as counts:
            losses = model.loss(images, frames)
            sum(losses.values()).backward()
        assert all(value.isfinite() for value in losses.values()), losses
    return counts.to_json()


def depth_loss(frames: int) -> int:
    """Count what the depth loss starts on the device, with blocks of few frames."""
    loss = MODELS.build(dict(type='DepthBinLoss', num_bins=4))
    with simulated_cuda(), patch.object(softmax_focal_loss, '_DEVICE_ELEMENTS', 1):
        logits = torch.randn(frames, 5, 6, 8, device=CUDA, requires_grad=True)
        maps = torch.randn(frames, 1, 12, 16, device=CUDA)
        cells = torch.tensor([[1.0, 1, 3, 4]]).to(CUDA)
        frame = torch.zeros(1, dtype=torch.int64, device=CUDA)
        with DEVICE.counting() as counts:
            loss(logits, maps, cells, frame).backward()
    return counts.to_json()['launches']
