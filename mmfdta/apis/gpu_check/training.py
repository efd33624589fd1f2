# Copyright (c) mmfdta authors.
"""A training step on the GPU against the CPU, in float32."""

from typing import Any

import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import Tensor, nn

from mmfdta.engine import find_precision, keep_precision
from mmfdta.engine.precision import adapt_optim_wrapper

from .bench import Bench, collate, make_clip
from .checks import Found, check, judge

LOSSES, NORMS = 1e-3, 1e-2


class Training:
    """A model with its optimiser, and a batch of clips of different sizes.

    Args:
        bench: The workbench.
        tracker: ``FDTA`` or ``MOTR``.
        device: Where.
        precision: One of `PRECISIONS`.
        frames: Of the first clip; those of a clip unless given.
        size: Width and height of it; those of a frame unless given.
        clips: How many.
        objects: In each frame of the first clip.
        shrink: Each clip is smaller than the one before.
    """

    def __init__(
        self,
        bench: Bench,
        tracker: str,
        device: torch.device | str,
        precision: str = 'fp32',
        *,
        frames: int | None = None,
        size: tuple[int, int] | None = None,
        clips: int = 2,
        objects: int = 5,
        shrink: bool = True,
    ) -> None:
        config = bench.config(tracker)
        self.model = bench.model(tracker).to(device).train()
        words = config.model.get('num_id_vocabulary', 50)
        width, height = size or bench.frame_size
        length = frames or (bench.clip_frames if tracker == 'FDTA' else 3)
        less = int(shrink)
        self._clips = [
            make_clip(
                length,
                (width - i * less * (width // 8), height - i * less * (height // 8)),
                max(1, objects - 2 * i),
                words,
                seed=i,
            )
            for i in range(clips)
        ]
        if tracker == 'MOTR':
            for clip in self._clips:
                clip['inputs'].pop('depth')
        found = find_precision(precision)
        found.allow_tf32()
        keep_precision(self.model, found)
        settings = adapt_optim_wrapper(config.optim_wrapper, precision)
        self.wrapper = build_optim_wrapper(self.model, settings)

    def keep_clip(self, index: int) -> None:
        """Leave one clip in the batch."""
        self._clips = [self._clips[index]]

    def batch(self) -> dict[str, Any]:
        """The batch, on the CPU as a data loader gives it."""
        return collate(*self._clips)

    def train(self, seed: int = 0) -> dict[str, Tensor]:
        """Train a step, and no more; return the losses."""
        # Past the warm-up of the contrastive loss.
        MessageHub.get_current_instance().update_info('epoch', 5)
        torch.manual_seed(seed)
        return self.model.train_step(self.batch(), self.wrapper)

    def step(self, seed: int = 0) -> dict[str, float]:
        """Train a step; return losses and norms of gradients.

        Args:
            seed: Of what is drawn in it, on the CPU.
        """
        norms = GradientNorms(self.wrapper, getattr(self.model, 'module', self.model))
        with norms:
            losses = self.train(seed)
        found = {name: float(value) for name, value in losses.items()}
        return {**found, **norms.read()}


class GradientNorms:
    """Norm of the gradients of each part of a model, as they are before clipping.

    Args:
        wrapper: Whose next step is watched.
        model: Its model.
    """

    def __init__(self, wrapper: OptimWrapper, model: nn.Module) -> None:
        self._wrapper = wrapper
        self._model = model
        self._norms: dict[str, Tensor] = {}

    def __enter__(self) -> 'GradientNorms':
        self._clip = self._wrapper._clip_grad
        self._wrapper._clip_grad = self._watch
        return self

    def __exit__(self, *_: object) -> None:
        self._wrapper._clip_grad = self._clip

    def _watch(self) -> None:
        parts: dict[str, list[Tensor]] = {}
        for name, parameter in self._model.named_parameters():
            if parameter.grad is not None:
                depth = 2 if name.startswith('detector.') else 1
                part = '.'.join(name.split('.')[:depth])
                parts.setdefault(part, []).append(parameter.grad)
        self._norms = {
            part: torch.stack([g.float().norm() for g in grads]).norm()
            for part, grads in parts.items()
        }
        self._clip()

    def read(self) -> dict[str, float]:
        """By part."""
        return {f'gradient of {n}': float(v) for n, v in self._norms.items()}


def compare_steps(
    found: dict[str, float], expected: dict[str, float], losses: float, norms: float
) -> Found:
    """Judge losses and norms by those of the CPU.

    Args:
        found: See `Training.step`.
        expected: Of the CPU.
        losses: What losses may be off, of 1 plus their value.
        norms: What norms may be off, of the largest of all.
    """
    if set(found) != set(expected):
        differ = ', '.join(sorted(set(found) ^ set(expected)))
        return judge(False, f'only on one side: {differ}')
    largest = max(v for k, v in expected.items() if k.startswith('gradient'))
    off: dict[bool, dict[str, float]] = {False: {}, True: {}}
    for name, value in expected.items():
        of_gradient = name.startswith('gradient')
        size = largest if of_gradient else 1 + abs(value)
        off[of_gradient][name] = abs(found[name] - value) / size
    worst = [max(part, key=lambda n: part[n]) for part in off.values()]
    amounts = [part[name] for part, name in zip(off.values(), worst, strict=True)]
    # Not a number is not at most anything.
    passed = amounts[0] <= losses and amounts[1] <= norms
    passed = passed and all(
        value == value for part in off.values() for value in part.values()
    )
    text = ', '.join(f'{n} {x:.1e}' for n, x in zip(worst, amounts, strict=True))
    return judge(passed, f'largest: {text}', found=found, expected=expected)


def cpu_step(bench: Bench, tracker: str) -> dict[str, float]:
    """The step on the CPU, once for all checks of the process."""
    return bench.remember(
        f'step of {tracker}', lambda: Training(bench, tracker, 'cpu').step()
    )


def _register_steps() -> None:
    for tracker in ('FDTA', 'MOTR'):

        def run(bench: Bench, tracker: str = tracker) -> Found:
            found = Training(bench, tracker, bench.device).step()
            return compare_steps(found, cpu_step(bench, tracker), LOSSES, NORMS)

        check(
            'training',
            f'{tracker}, a step',
            'losses, and norms of the gradients of each part',
            f'losses {LOSSES:g}, norms {NORMS:g}',
        )(run)


_register_steps()


@check(
    'training',
    'FDTA, ten steps',
    'the loss of one batch, before and after',
    'finite, and falling',
)
def _ten_steps(bench: Bench) -> Found:
    training = Training(bench, 'FDTA', bench.device)
    losses = [training.step()['loss'] for _ in range(10)]
    passed = all(abs(x) < float('inf') for x in losses) and losses[-1] < losses[0]
    return judge(passed, f'{losses[0]:.4f} to {losses[-1]:.4f}', losses=losses)
