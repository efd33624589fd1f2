# Copyright (c) mmfdta authors.
"""Prevents steps of the optimiser by losses that are not finite."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.dist import all_reduce, get_rank
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmfdta.checkpoints import CheckpointError, write_checkpoint

Losses = dict[str, Tensor | list[Tensor]]
NUM_SKIPPED = 'num_skipped_steps'
# Most frames of a clip that a message lists.
_LISTED = 40


class NonFiniteLossError(RuntimeError):
    """A loss is NaN or infinite; the weights are those of the step before."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop, or skip the step, when a loss is NaN or infinite.

    Such losses never change the weights. All processes make the same decision. With
    mixed precision the gradient scaler handles a gradient that overflows, as always;
    this hook only looks at losses.

    In both cases the host waits for a GPU once per iteration: ``stop`` between the
    backward pass and the optimiser's step, when the GPU has all its work; ``skip``
    before the backward pass, because a NaN could not be removed from accumulated
    gradients.

    Before it stops it writes ``not_finite_iter_<n>_rank<r>.pth`` into the work
    directory, a dict that ``torch.load(path, weights_only=True)`` reads:
    ``iteration``, ``epoch``, ``seed``, ``broken`` (names of the losses),
    ``losses``, ``samples`` (sequence and frames), ``data_batch`` (as it came from
    the data loader) and ``state_dict``.

    Args:
        action: ``stop`` raises :class:`NonFiniteLossError`. ``skip`` leaves the weights
            and the optimiser's state as they are, counts the iteration, and continues;
            the first such iteration is also written. Of accumulated iterations only the
            broken one is left out.
        max_in_a_row: Stop after this many skipped iterations in a row.

    Raises:
        ValueError: If ``action`` is another, or ``max_in_a_row`` is below 1.
    """

    priority = 'VERY_HIGH'

    def __init__(self, action: str = 'stop', max_in_a_row: int = 10) -> None:
        if action not in ('stop', 'skip'):
            raise ValueError(
                f"FiniteLossHook.action: found {action!r}, expected 'stop' or 'skip'"
            )
        if max_in_a_row < 1:
            raise ValueError(
                f'FiniteLossHook.max_in_a_row: found {max_in_a_row}, expected >= 1'
            )
        self.action = action
        self.max_in_a_row = max_in_a_row
        self._in_a_row = 0
        # Whether there was a backward pass since the last step.
        self._has_gradients = False
        self._data_batch: dict | None = None
        self._undecided: tuple[nn.Module, Losses, Tensor, Tensor] | None = None
        self._handles: list = []

    def before_train(self, runner: Runner) -> None:
        """Add hooks to the model's losses and the optimiser's steps."""
        self._runner = runner
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        self._handles = [
            model.register_forward_hook(self._after_forward, with_kwargs=True)
        ]
        optimizer = runner.optim_wrapper.optimizer
        self._handles.append(optimizer.register_step_pre_hook(self._before_step))

    def after_train(self, runner: Runner) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Keep the batch for a message."""
        self._data_batch = data_batch

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Decide after an iteration in which the optimiser made no step.

        Raises:
            NonFiniteLossError: If a loss was not finite.
        """
        self._stop_if_broken()
        if runner.optim_wrapper.should_update():
            # The gradients are gone, also if a loss scaler left out the step.
            self._has_gradients = False

    def _after_forward(
        self, model: nn.Module, args: tuple, kwargs: dict, losses: Losses
    ) -> Losses | None:
        """Check the losses; with `stop` the decision can wait until the step."""
        if kwargs.get('mode') != 'loss':
            return None
        self._stop_if_broken()
        parts = [v for value in _counted(losses).values() for v in _listed(value)]
        total = sum(part.detach().float().sum() for part in parts)
        is_broken = ~torch.isfinite(torch.as_tensor(total))
        anywhere = is_broken.to(torch.uint8)
        all_reduce(anywhere, op='max')
        if self.action == 'stop':
            self._undecided = model, _detached(losses), is_broken, anywhere
            return None
        if not anywhere:
            self._in_a_row = 0
            self._has_gradients = True
            return None
        error = self._report(model, losses, bool(is_broken))
        if self._in_a_row >= self.max_in_a_row:
            raise NonFiniteLossError(error)
        print_log(error, 'current', logging.WARNING)
        return _without_gradients(model, losses)

    def _stop_if_broken(self) -> None:
        """Decide about losses whose check was postponed."""
        if self._undecided is None:
            return
        model, losses, is_broken, anywhere = self._undecided
        self._undecided = None
        if anywhere:
            raise NonFiniteLossError(self._report(model, losses, bool(is_broken)))

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Stop before the step; skip a step to which no iteration contributed."""
        self._stop_if_broken()
        if self.action == 'skip' and not self._has_gradients:
            # PyTorch's optimisers do not change parameters without a gradient.
            optimizer.zero_grad(set_to_none=True)
        self._has_gradients = False

    def _report(self, model: nn.Module, losses: Losses, is_here: bool) -> str:
        """Count the iteration, write a diagnosis, and return a message."""
        hub = self._runner.message_hub
        skipped = hub.get_info(NUM_SKIPPED) or 0
        self._in_a_row += 1
        is_last = self.action == 'stop' or self._in_a_row >= self.max_in_a_row
        if not is_last:
            hub.update_info(NUM_SKIPPED, skipped + 1)
        if is_here:
            text = self._explain(model, losses, keep=is_last or not skipped)
        else:
            number = self._runner.iter + 1
            text = f'iteration {number}: the losses of another process are not finite.'
        if not is_last:
            return f'{text} The step is skipped ({skipped + 1} in this run).'
        if self.action == 'skip':
            text += f' These were {self._in_a_row} iterations in a row.'
        return text

    def _explain(self, model: nn.Module, losses: Losses, keep: bool) -> str:
        values = {name: to_plain(value) for name, value in losses.items()}
        broken = {
            name: [v for part in _listed(values[name]) for v in part.flatten().tolist()]
            for name, value in _counted(losses).items()
            if not all(part.isfinite().all() for part in _listed(value))
        }
        named = ', '.join(
            f'{name} = {next(v for v in found if not abs(v) < torch.inf)}'
            for name, found in broken.items()
        )
        samples = describe_samples((self._data_batch or {}).get('data_samples', []))
        text = (
            f'iteration {self._runner.iter + 1}: '
            f'{named or "the sum of the losses"} is not finite. '
            f'The batch: {format_samples(samples)}.'
        )
        weights = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
        sick = [name for name, value in weights.items() if not value.isfinite().all()]
        if sick:
            text += (
                f' {len(sick)} weights are not finite either, the first is {sick[0]}: '
                'the fault began in an earlier step.'
            )
        if keep:
            content = dict(broken=list(broken), losses=values, samples=samples)
            text += self._write(content, model)
        return text

    def _write(self, content: dict, model: nn.Module) -> str:
        runner = self._runner
        number = runner.iter + 1
        name = f'not_finite_iter_{number}_rank{get_rank()}.pth'
        path = Path(runner.work_dir) / name
        content |= dict(
            iteration=number,
            epoch=runner.epoch + 1,
            seed=runner.seed,
            data_batch=to_plain(self._data_batch),
            state_dict=to_plain(model.state_dict()),
        )
        try:
            write_checkpoint(content, path)
        except CheckpointError as error:
            return f' There is no diagnosis file: {error}.'
        return f' Diagnosis: {path}.'


def _counted(losses: Losses) -> Losses:
    """Return the losses that MMEngine adds up."""
    return {name: value for name, value in losses.items() if 'loss' in name}


def _listed(value: Tensor | list[Tensor]) -> list[Tensor]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _without_gradients(model: nn.Module, losses: Losses) -> Losses:
    """Keep the values for the log, and give every weight a gradient of zero.

    DistributedDataParallel waits for the gradients of all weights.
    """
    nothing = sum(p.sum() for p in model.parameters() if p.requires_grad) * 0.0
    return {
        name: value + nothing
        if isinstance(value, Tensor)
        else [part + nothing for part in value]
        for name, value in _detached(losses).items()
    }


def _detached(losses: Losses) -> Losses:
    """Detach losses from their graph."""
    return {
        name: value.detach()
        if isinstance(value, Tensor)
        else [part.detach() for part in value]
        for name, value in losses.items()
    }


def to_plain(value: object) -> object:
    """Copy a batch, losses or samples as tensors, containers, text and numbers.

    ``torch.load`` reads the result with ``weights_only=True``. Data elements become
    dicts, objects of other types their ``repr``.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, np.ndarray):
        numeric = value.dtype.kind in 'biuf'
        return torch.from_numpy(value.copy()) if numeric else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, BaseDataElement):
        return {name: to_plain(item) for name, item in value.all_items()}
    if isinstance(value, Mapping):
        return {str(name): to_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return repr(value)


def describe_samples(
    samples: Sequence[TrackDataSample | DetDataSample],
) -> list[dict[str, Any]]:
    """Return data set, sequence, frames and files of each sample; None if unknown."""
    described = []
    for sample in samples:
        frames = list(sample) if isinstance(sample, TrackDataSample) else [sample]
        described.append(
            dict(
                dataset=frames[0].get('dataset'),
                sequence=frames[0].get('sequence'),
                frame_ids=[to_plain(frame.get('frame_id')) for frame in frames],
                img_paths=[frame.get('img_path') for frame in frames],
            )
        )
    return described


def format_samples(described: list[dict[str, Any]]) -> str:
    """Format the result of :func:`describe_samples` for a message."""
    texts = []
    for sample in described:
        frames = ', '.join(map(str, sample['frame_ids'][:_LISTED]))
        if len(sample['frame_ids']) > _LISTED:
            frames += ', ...'
        texts.append(f'sequence {sample["sequence"]}, frame_id {frames}')
    return '; '.join(texts)
