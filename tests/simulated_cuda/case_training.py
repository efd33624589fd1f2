# Copyright (c) mmfdta authors.
"""A training step on the simulated device, beside the same on the CPU."""

import contextlib
import copy
import itertools
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from mmdet.models.mot import BaseMOTModel
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from simulated_device import DEVICE, simulated_cuda
from small_fdta import build, collate, make_clip
from small_trackers import CONFIGS, config_of

from mmfdta.engine.message_hub import DeferredMessageHub
from mmfdta.ops import accelerate

NUMBERS = itertools.count()


def clips(
    seed: int, num_frames: int, objects: Sequence[int], padded: bool, with_depth: bool
) -> dict:
    """Return a batch of clips, as the loader hands it on."""
    sizes = [(64, 96), (56, 80) if padded else (64, 96)]
    return collate(
        *(
            make_clip(
                num_frames,
                sizes[i % 2],
                num_objects=count,
                seed=10 * seed + i,
                with_depth=with_depth,
            )
            for i, count in enumerate(objects)
        )
    )


@contextlib.contextmanager
def _process_group() -> Iterator[None]:
    """A job of one process."""
    with tempfile.TemporaryDirectory() as folder:
        torch.distributed.init_process_group(
            'gloo', init_method=f'file://{folder}/store', rank=0, world_size=1
        )
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()


def wrapper_of(
    name: str, model: BaseMOTModel, dtype: str | None = None
) -> OptimWrapper:
    """Build the optimiser of a tracker's schedule."""
    schedule = 'motr_20e' if name == 'motr' else 'fdta_13e'
    config = Config.fromfile(CONFIGS / f'_base_/schedules/{schedule}.py').optim_wrapper
    if name == 'motip':
        del config.clip_groups['identity_adapter']
    if dtype is not None:
        config.type = 'GroupClipAmpOptimWrapper'
        config.update(dtype=dtype)
        if dtype == 'float16':
            config.loss_scale = dict(init_scale=1024.0)
    return build_optim_wrapper(model, config)


def train(model: BaseMOTModel, wrapper: OptimWrapper, batches: list[dict]) -> tuple:
    """Take steps; return the losses of each and the counts of the last."""
    losses = []
    for number, batch in enumerate(batches):
        torch.manual_seed(number)
        with DEVICE.counting() as counts:
            losses.append(model.train_step(batch, wrapper))
    return losses, counts


def step(
    name: str,
    num_frames: int = 5,
    objects: Sequence[int] = (3, 4),
    padded: bool = True,
    dtype: str | None = None,
    num_steps: int = 2,
    distributed: bool = False,
    **changes: object,
) -> dict:
    """Train for some steps and count the last.

    Args:
        name: ``fdta``, ``motip`` or ``motr``.
        num_frames: Length of the clips.
        objects: Objects of every clip of a batch.
        padded: Whether clips have other sizes.
        dtype: Type of mixed precision.
        num_steps: Steps.
        distributed: Whether the model is wrapped, in a job of one process.
        **changes: Settings of the model.
    """
    # As the runner has it; warm-ups are over.
    hub = DeferredMessageHub.get_instance(f'step {next(NUMBERS)}')
    hub.update_info('epoch', 1)
    config = Config(dict(model=config_of(name)))
    config.merge_from_dict({f'model.{k}': v for k, v in changes.items()})
    model = build(config.model)
    reference = copy.deepcopy(model)
    options = num_frames, objects, padded, name != 'motr'
    batches = [clips(seed, *options) for seed in range(num_steps)]
    expected: list[dict] = []
    if dtype is None:
        accelerate(reference.train())
        given = copy.deepcopy(batches)
        expected, _ = train(reference, wrapper_of(name, reference), given)
    with (
        simulated_cuda(),
        _process_group() if distributed else contextlib.nullcontext(),
    ):
        model = accelerate(model.to('cuda').train())
        wrapper = wrapper_of(name, model, dtype)
        if distributed:
            model = MMDistributedDataParallel(model, device_ids=None)
        found, counts = train(model, wrapper, batches)
        found = [{k: v.item() for k, v in losses.items()} for losses in found]
    assert np.isfinite([list(losses.values()) for losses in found]).all()
    for mine, theirs in zip(found, expected, strict=dtype is None):
        for key, value in theirs.items():
            np.testing.assert_allclose(mine[key], value.item(), rtol=1e-3, err_msg=key)
    return dict(counts=counts.to_json(), losses=found)
