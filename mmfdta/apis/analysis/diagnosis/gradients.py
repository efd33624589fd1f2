# Copyright (c) mmfdta authors.
"""Who moves the detector: gradients of each loss of association and of detection."""

import copy
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor, nn

from ...model_loading import load_tracker

ASSOCIATION = dict(loss_id='ID loss', loss_contrastive='contrastive loss')
"""Losses of association, and what the page calls them."""


def measure_gradients(
    config: Config,
    checkpoint: str | None,
    device: str | None,
    clips: int,
    on_clip: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Look at gradients in clips of the config's training data, in float32.

    Nothing learns. A clip takes the memory that a step of the training takes.

    Args:
        config: Of the model; its ``train_dataloader`` gives the clips.
        checkpoint: The weights; None: as initialised.
        device: Where to compute; None takes the first GPU if there is one.
        clips: Number of batches of that loader.
        on_clip: Called after each of them.

    Returns:
        Number of ``clips`` and the ``parts`` of :func:`compare_gradients`.

    Raises:
        ValueError: If the config has no training data, or its model has no association
            that learns together with a detector.
    """
    if not config.get('train_dataloader'):
        raise ValueError(
            f'{config.filename}: train_dataloader: found none, expected one, as '
            '--gradients looks at clips of the training data'
        )
    config = copy.deepcopy(config)
    config.update(precision='fp32', compile_detector=False)
    model = load_tracker(config, checkpoint, device, checkpoint is None).train()
    if not hasattr(model, 'loss_id') or getattr(model, 'freeze_detector', True):
        raise ValueError(
            f'{config.filename}: model: found {type(model).__name__} without losses '
            'that reach its detector, expected FDTA or MOTIP with a detector that is '
            'not frozen; leave out --gradients'
        )
    loader = Runner.build_dataloader(config.train_dataloader, seed=0)
    batches = itertools.islice(loader, clips)
    parts = compare_gradients(model, batches, on_clip)
    return dict(clips=min(clips, len(loader)), parts=parts)


def compare_gradients(
    model: nn.Module, batches: Iterable[dict], on_clip: Callable[[], None]
) -> dict[str, dict[str, dict[str, float]]]:
    """Compare gradients at each part of the detector.

    Args:
        model: FDTA or MOTIP, in training mode.
        batches: Of its training data.
        on_clip: Called after each of them.

    Returns:
        ``detector`` (all of it) and its parts, such as ``backbone`` and ``decoder``, if
        detection moves them: by loss of association the mean over batches of ``share``,
        the norm of its gradient over that of all detection losses together, and of
        ``cosine`` between the two; 0 where the loss does not reach the part.
    """
    weights: dict[str, list[Tensor]] = defaultdict(list)
    for name, weight in model.detector.named_parameters():
        if weight.requires_grad:
            weights[name.removeprefix('host.').partition('.')[0]].append(weight)
    found: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    for number, batch in enumerate(batches):
        torch.manual_seed(number)
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        alone = {key: {key: losses.pop(key)} for key in ASSOCIATION if key in losses}
        detection = _gradients(model, losses, weights)
        for key, loss in alone.items():
            own = _gradients(model, loss, weights)
            products = {
                part: torch.stack(
                    [
                        _dot(own[part], own[part]),
                        _dot(detection[part], detection[part]),
                        _dot(own[part], detection[part]),
                    ]
                )
                for part in weights
            }
            whole = torch.stack([*products.values()]).sum(0)
            products = {'detector': whole, **products}
            for part, of in products.items():
                found[part][key].append(of)
        on_clip()
    return {
        part: {key: _summary(torch.stack(of)) for key, of in by_loss.items()}
        for part, by_loss in found.items()
        if all(torch.stack(of)[:, 1].all() for of in by_loss.values())
    }


def _gradients(
    model: nn.Module, losses: dict, weights: dict[str, list[Tensor]]
) -> dict[str, tuple[Tensor, ...]]:
    """Gradients of the sum of losses at the weights of each part."""
    total, _ = model.parse_losses(losses)
    flat = [weight for of in weights.values() for weight in of]
    rest = iter(
        torch.autograd.grad(
            total, flat, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    )
    return {
        part: tuple(itertools.islice(rest, len(of))) for part, of in weights.items()
    }


def _dot(first: Iterable[Tensor], second: Iterable[Tensor]) -> Tensor:
    """Inner product of two lists of tensors, float64."""
    pairs = zip(first, second, strict=True)
    return torch.stack([(a.double() * b.double()).sum() for a, b in pairs]).sum()


def _summary(products: Tensor) -> dict[str, float]:
    """Mean share and cosine of (n, 3) products: own, detection's, of both."""
    own, detection = products[:, :2].sqrt().unbind(1)
    both = products[:, 2]
    cosine = torch.where(own > 0, both / (own * detection), 0.0)
    return dict(share=float((own / detection).mean()), cosine=float(cosine.mean()))
