# Copyright (c) mmfdta authors.
"""Training loops that continue exactly where they were interrupted."""

import logging
import random
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS, LOOPS
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import (
    BaseLoop,
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    Runner,
)
from torch import nn
from torch.utils.data import DataLoader, Sampler

# Key of the message hub, which checkpoints save, with the state at the epoch's start.
EPOCH_START = 'epoch_start'
# Settings that must not change after a resume within an epoch, and their names.
_OF_BATCHES = dict(
    samples_per_iter='samples per iteration in all processes',
    accumulated='accumulated iterations',
    sampler='sampler',
    clip_length='frames in a clip',
    num_samples='samples in the epoch',
)


class _ResumableOrder:
    """The part of both loops that tracks the current pass over the data."""

    runner: Runner
    dataloader: DataLoader
    _iter: int

    @property
    def _sampler(self) -> Sampler:
        """The sampler of samples, also inside a batch sampler."""
        batch_sampler = self.dataloader.batch_sampler
        return getattr(batch_sampler, 'sampler', self.dataloader.sampler)

    def _take_seed(self, seed: int | None) -> None:
        """Set the sampler to the seed of the interrupted run."""
        if seed is not None:
            self._sampler.seed = seed

    def _enter_epoch(self, epoch: int) -> int:
        """Record the state at an epoch's start, or count its finished batches.

        Raises:
            ValueError: If the batches would not be those of the interrupted run.
        """
        hub = self.runner.message_hub
        now = self._describe_batches()
        start = hub.get_info(EPOCH_START)
        if start is None or start['epoch'] != epoch:
            if start is not None:
                self._warn_of_other_steps(start, now)
            start = dict(
                now,
                epoch=epoch,
                iter=self._iter,
                sampler_seed=getattr(self._sampler, 'seed', None),
            )
            hub.update_info(EPOCH_START, start)
        done = self._iter - start['iter']
        changes = [
            f'{name} {start[key]} then, {now[key]} now'
            for key, name in _OF_BATCHES.items()
            if start.get(key, now[key]) != now[key]
        ]
        if not changes and start.get('order', now['order']) != now['order']:
            changes = ['other samples: the data set or the sampler has changed']
        if done and changes:
            raise ValueError(
                f'the checkpoint is from within an epoch and does not fit this run '
                f'({"; ".join(changes)}). Restore these settings, '
                f'{self._suggest_start(epoch)}'
            )
        return done

    def _describe_batches(self) -> dict[str, Any]:
        """Describe the batches of this epoch in plain values."""
        loader, sampler = self.dataloader, self._sampler
        clips = getattr(sampler, 'clips', None)
        order = None if clips is None else zlib.crc32(repr(clips).encode())
        return dict(
            samples_per_iter=(loader.batch_size or 1) * get_world_size(),
            accumulated=getattr(self.runner.optim_wrapper, '_accumulative_counts', 1),
            sampler=type(sampler).__name__,
            num_samples=len(sampler if clips is None else clips),
            clip_length=getattr(sampler, 'clip_length', None),
            order=order,
        )

    def _warn_of_other_steps(self, start: dict, now: dict) -> None:
        """Warn if a step of the optimiser has more or fewer samples than before."""
        then, here = (
            batch['samples_per_iter'] * batch.get('accumulated', now['accumulated'])
            for batch in (start, now)
        )
        if then != here:
            print_log(
                f'the checkpoint was trained with {then} samples per step of the '
                f'optimiser, now there are {here}; the learning rate and its schedule '
                'do not change, also with --auto-scale-lr',
                'current',
                logging.WARNING,
            )

    def _warn_of_lost_gradients(self) -> None:
        """Warn if the run starts between two steps of the optimiser."""
        accumulated = getattr(self.runner.optim_wrapper, '_accumulative_counts', 1)
        lost = self._iter % accumulated
        if lost:
            print_log(
                f'the checkpoint of iteration {self._iter} is within a step of '
                f'{accumulated} accumulated iterations. Gradients are not saved, so '
                f'the first step lacks {lost} of them; to lose none, resume from a '
                f'multiple of {accumulated}',
                'current',
                logging.WARNING,
            )

    def _suggest_start(self, epoch: int) -> str:
        """Suggest where a run can start that cannot continue within an epoch."""
        again = 'start again from its weights (load_from=PATH, without --resume)'
        path = Path(self.runner.work_dir, f'epoch_{epoch}.pth')
        if not path.is_file():
            return f'or {again}'
        return f'resume from a complete epoch (--resume {path}), or {again}'

    def _batches(self, done: int) -> Iterator[tuple[int, dict]]:
        """Number and yield the batches of an epoch after the first ``done``."""
        sampler = self._sampler
        if not done or not hasattr(sampler, 'skip'):
            yield from islice(enumerate(self.dataloader), done, None)
            return
        sampler.skip(done * self.dataloader.batch_size)
        for idx, data_batch in enumerate(self.dataloader, done):
            # Hooks need the length of the complete epoch.
            sampler.skip(0)
            yield idx, data_batch


@LOOPS.register_module()
class ResumableEpochTrainLoop(_ResumableOrder, EpochBasedTrainLoop):
    """MMEngine's loop over epochs, exact after a resume within an epoch.

    MMEngine's own loop starts the epoch from its first batch again. This one
    continues with the batch after the checkpoint's, in the order of the
    interrupted run, even if the seed was drawn at random. A sampler with ``skip``,
    such as :class:`ClipSampler`, skips finished samples without reading them; with
    other samplers the finished batches are loaded and dropped. Together with
    :class:`IterationSeedHook` the run equals one that was never interrupted.

    ``max_iters`` counts the batches of every epoch separately, because a sampler
    may draw more clips in one epoch than in another.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_iters = self._count_iters()

    def run(self) -> nn.Module:
        """Train; see MMEngine's ``EpochBasedTrainLoop``."""
        self._warn_of_lost_gradients()
        start = self.runner.message_hub.get_info(EPOCH_START)
        if self._iter and start is not None:
            self._take_seed(start['sampler_seed'])
            within = start['epoch'] == self._epoch
            done = start['iter'] if within else self._iter
            # Finished epochs may have had batches of another size.
            self._max_iters = done + self._count_iters()
            self.runner.optim_wrapper.initialize_count_status(
                self.runner.model, self._iter, self._max_iters
            )
        return super().run()

    def run_epoch(self) -> None:
        """Train on the batches of an epoch that are left."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for idx, data_batch in self._batches(self._enter_epoch(self._epoch)):
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _count_iters(self) -> int:
        """Count the iterations from the current epoch on."""
        sampler = self._sampler
        if not hasattr(sampler, 'set_epoch'):
            return len(self.dataloader) * (self._max_epochs - self._epoch)
        total = 0
        for epoch in range(self._epoch, self._max_epochs):
            sampler.set_epoch(epoch)
            total += len(self.dataloader)
        sampler.set_epoch(self._epoch)
        return total


@LOOPS.register_module()
class ResumableIterTrainLoop(_ResumableOrder, IterBasedTrainLoop):
    """MMEngine's loop over iterations, exact after a resume.

    MMEngine's own loop loads and drops everything that was trained on, or skips it
    in the first pass over the data even if that was finished long ago. This one
    knows its current pass, and continues as :class:`ResumableEpochTrainLoop` does.
    The sampler and the warm-up of the contrastive loss, which count epochs, count
    passes.
    """

    def run(self) -> nn.Module:
        """Train; see MMEngine's ``IterBasedTrainLoop``."""
        self._warn_of_lost_gradients()
        # For hooks the complete training is one epoch.
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        batches = self._endless_batches()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(batches))
            self._decide_current_val_interval()
            is_due = (
                self._iter % self.val_interval == 0 or self._iter == self._max_iters
            )
            if self.runner.val_loop and self._iter >= self.val_begin and is_due:
                self.runner.val_loop.run()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _endless_batches(self) -> Iterator[dict]:
        """Yield batches, pass after pass over the data.

        Raises:
            ValueError: If a pass has no batch.
        """
        start = self.runner.message_hub.get_info(EPOCH_START)
        number = 0
        if self._iter and start is not None:
            number = start['epoch']
            self._take_seed(start['sampler_seed'])
        while True:
            self._epoch = number
            self.runner.message_hub.update_info('epoch', number)
            if hasattr(self._sampler, 'set_epoch'):
                self._sampler.set_epoch(number)
            if not len(self.dataloader):
                raise ValueError(
                    'train_dataloader has no batch: found '
                    f'{len(self._sampler)} samples for batches of '
                    f'{self.dataloader.batch_size}, and drop_last keeps only complete '
                    'batches. Lower batch_size or add data.'
                )
            for _, data_batch in self._batches(self._enter_epoch(number)):
                yield data_batch
            number += 1


def check_warmup(loop: BaseLoop, model: nn.Module) -> str | None:
    """Find a warm-up of a part of the model that the run does not finish.

    Args:
        loop: The training loop.
        model: The trained model; modules with ``warmup_epochs`` or ``warmup_iters``
            are checked.

    Returns:
        A warning about the longest warm-up that lasts until the end; None if all end.

    Raises:
        ValueError: If a warm-up counts epochs and the loop does not, so that it would
            never end.
    """
    by_iters = isinstance(loop, IterBasedTrainLoop)
    longest, remark = 1.0, None
    for name, module in model.named_modules():
        for unit in ('epochs', 'iters'):
            duration = getattr(module, f'warmup_{unit}', 0)
            if not duration:
                continue
            key = f'model.{name}.warmup_{unit}'
            setting, total = f'{key} = {duration}', loop.max_iters
            run = f'the run has {total} iterations'
            if unit == 'epochs' and not by_iters:
                total = loop.max_epochs
                run = f'train_cfg.max_epochs = {total}'
            elif unit == 'epochs':
                if not isinstance(loop, ResumableIterTrainLoop):
                    raise ValueError(
                        f'{setting}, but train_cfg.type = {type(loop).__name__!r} '
                        'counts no epochs, and the warm-up would never end. Set '
                        "train_cfg.type='ResumableIterTrainLoop', which counts passes "
                        f'over the data, or {key}=0'
                    )
                length = len(loop.dataloader)
                duration *= length
                setting += f', and a pass over the data has {length} iterations'
            # A run without iterations needs no warning.
            if total and duration / total >= longest:
                longest = duration / total
                remark = (
                    f'{setting}, but {run}: what waits for the warm-up never begins. '
                    f'Train longer, or set {key}=0'
                )
    return remark


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seed the generators before every training iteration.

    The frames with gradients, dropout and all other random numbers of an iteration then
    depend only on the run's seed, the process and the number of the iteration, so that
    a resumed run draws the same numbers as the interrupted one would have.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seed Python's, NumPy's and PyTorch's generators."""
        entropy = np.random.SeedSequence([runner.seed, get_rank(), runner.iter])
        seed = int(entropy.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
