# Copyright (c) mmfdta authors.
"""Clips with far too much or nothing in them: finite losses, gradients and tracks."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from small_fdta import VOCABULARY, build, collate, make_clip, small_config
from small_motr import small_motr_config
from torch import Tensor, nn
from tracker_inputs import detected

from mmfdta.models.trackers import FDTATracker

CROWD = 1000


def _masked(clip: dict) -> dict:
    """Take every identity out of every frame."""
    (targets,) = clip['data_samples'].id_targets
    for side in ('trajectory', 'unknown'):
        targets.get(f'{side}_id_masks').fill_(True)
        targets.get(f'{side}_ann_idxs').fill_(-1)
    return clip


def _one_sided(clip: dict) -> dict:
    """Leave detections to name, but nothing that was seen before."""
    (targets,) = clip['data_samples'].id_targets
    targets.trajectory_id_masks.fill_(True)
    targets.unknown_id_labels[~targets.unknown_id_masks] = VOCABULARY
    return clip


CLIPS = {
    '1,000 objects in a frame': lambda: [make_clip(2, num_objects=CROWD)],
    'no objects': lambda: [make_clip(num_objects=0)],
    'one frame': lambda: [make_clip(1)],
    'one frame without objects': lambda: [make_clip(1, num_objects=0)],
    'every identity masked': lambda: [_masked(make_clip())],
    'no history': lambda: [_one_sided(make_clip())],
    'crowd beside nobody': lambda: [
        make_clip(2, num_objects=CROWD),
        make_clip(2, num_objects=0, seed=1),
    ],
    'masked beside usual': lambda: [_masked(make_clip()), make_clip(seed=1)],
}


# In MOTR a clip has no identities to mask.
OF_MOTR = [name for name in CLIPS if 'masked' not in name and name != 'no history']


def _motip() -> Config:
    """FDTA without its adapters."""
    config = small_config()
    config.update(temporal_adapter=None, identity_adapter=None)
    config.detector.spatial_adapter = None
    config.detector.bbox_head.loss_depth = None
    return config


def _tensors(value: object) -> Iterator[Tensor]:
    """Floating-point tensors of what a layer returns."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _watch(model: nn.Module) -> set[str]:
    """Names of the layers, attention among them, that ever return a NaN."""
    broken = set()

    def look(name: str):
        def hook(module: nn.Module, inputs: object, outputs: object) -> None:
            if any(tensor.isnan().any() for tensor in _tensors(outputs)):
                broken.add(name)

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(look(name))
    return broken


@pytest.mark.parametrize(
    ('make', 'name'),
    [
        *((small_config, name) for name in CLIPS),
        *((_motip, name) for name in CLIPS),
        *((small_motr_config, name) for name in OF_MOTR),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_losses_gradients_and_weights_stay_finite(make, name: str):
    MessageHub.get_current_instance().update_info('epoch', 1)
    model = build(make()).train()
    broken = _watch(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    clips = CLIPS[name]()
    if make is small_motr_config:
        for clip in clips:
            clip['inputs'].pop('depth')
    batch = collate(*clips)
    for _ in range(2):
        data = model.data_preprocessor(batch, True)
        losses = model(**data, mode='loss')
        for key, value in losses.items():
            assert value.isfinite().all(), key
        sum(losses.values()).backward()
        for key, weight in model.named_parameters():
            if weight.requires_grad:
                # Every weight takes part in every step, as several processes need.
                assert weight.grad is not None, key
                assert weight.grad.isfinite().all(), key
        optimizer.step()
        optimizer.zero_grad()
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert not broken
    if name == 'every identity masked':
        assert losses['loss_id'] == 0


@pytest.mark.filterwarnings('ignore:frame .* newborn objects')
@pytest.mark.parametrize('overflow', ['drop', 'keep'])
def test_a_crowd_is_tracked(overflow: str):
    """1,000 objects that stand still, 50 words, a scorer that knows everybody."""
    words, dims = 50, 8
    tracker = FDTATracker(
        num_id_vocabulary=words, embed_dims=dims, overflow=overflow, miss_tolerance=5
    )
    rng = np.random.default_rng(0)
    places = torch.tensor(rng.uniform(0.1, 0.9, (CROWD, 2)), dtype=torch.float32)
    boxes = torch.cat([places, torch.full((CROWD, 2), 0.01)], dim=1)
    embeddings = torch.tensor(rng.normal(size=(CROWD, dims)), dtype=torch.float32)

    def scorer(history, found):
        last = history.features[-1]  # (N, C), the words' embeddings
        scores = torch.zeros(len(found), words + 1)
        scores[:, -1] = 0.5
        scores[:, history.id_labels] = (found[:, None] == last).all(-1).float()
        return scores

    first = None
    for _ in range(12):
        tracks = tracker.track(
            detected(
                boxes,
                torch.full((CROWD,), 0.9),
                torch.zeros(CROWD, dtype=torch.int64),
                (1000, 1000),
                embeddings,
            ),
            score_identities=scorer,
        )
        ids = tracks.instances_id.tolist()
        assert len(set(ids)) == len(ids)
        assert tracks.bboxes.isfinite().all()
        assert len(ids) == (words if overflow == 'drop' else CROWD)
        first = first or ids
        assert ids == first, 'who stands still keeps his identity'
