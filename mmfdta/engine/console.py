# Copyright (c) mmfdta authors.
"""A console that shows the progress of a run; everything else goes to the log file.

A config enables it with ``runner_type = 'TrackingRunner'`` and
``log_processor = dict(type='TrackingLogProcessor')``.
"""

import contextlib
import io
import logging
import os
import re
import sys
import time
from typing import Any, TextIO

import torch
from mmengine.device import get_device
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import LOG_PROCESSORS, RUNNERS
from mmengine.runner import BaseLoop, LogProcessor, Runner, load_state_dict
from torch import nn
from torch.utils.data import DataLoader

from mmfdta.checkpoints import read_content

from .frame_batches import FrameBatches, frames_at_a_time
from .loops import check_warmup
from .message_hub import DeferredMessageHub
from .precision import FP32, adapt_optim_wrapper, find_precision, keep_precision
from .weights import adapt_to_config

# Separates the part of a progress line that is shown in the log file only.
DETAILS = '  | '
# Beginnings of MMEngine's and MMDetection's messages for the log file only: what a run
# consists of, and warnings about MMEngine's own code.
FILE_ONLY = (
    *('\n' + '-' * 60 + '\nSystem environment', 'Config:\n', 'Hooks will be executed'),
    *('Exp name: ', 'Distributed training is not used, all SyncBatchNorm'),
    *('Checkpoints will be saved to', 'paramwise_options -- '),
    *('"FileClient" will be deprecated', '"HardDiskBackend" is the alias'),
    *('Because batch augmentation', 'Use the initialized weights'),
)
# MMEngine's message for a checkpoint of a part of the model.
_MISSING = re.compile(r'^missing keys in source state_dict: (.*)$', re.MULTILINE)
_PROGRESS = re.compile(r'(?:Epoch|Iter)\((train|val|test)\)')
# Seconds between two progress lines of a validation or test.
_SECONDS = 10.0
# Items at the beginning of a line, in this order.
_FIRST = ('loss', 'eta', 'memory', 'time', 'data_time', 'lr')
_SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1', 'IDSW', 'bbox_mAP', 'bbox_mAP_50')


class ConsoleFilter(logging.Filter):
    """Hides records for the log file, and too frequent progress, from the console."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is shown."""
        text = record.getMessage()
        if getattr(record, 'file_only', False) or text.startswith(FILE_ONLY):
            return False
        if record.funcName == '_dump_init_info':
            return False
        progress = _PROGRESS.match(text)
        if progress and progress[1] != 'train' and '  eta: ' in text:
            if record.created - self._shown < _SECONDS:
                return False
            self._shown = record.created
        return True


class ConsoleFormatter(logging.Formatter):
    """The time and the message; lines of progress without their details."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        now = time.strftime('%m/%d %H:%M:%S', time.localtime(record.created))
        text = record.getMessage()
        if _PROGRESS.match(text):
            text = text.partition(DETAILS)[0]
        level = f'{record.levelname} ' if record.levelno > logging.INFO else ''
        return f'{now}  {level}{text.strip()}'


class ConsoleHandler(logging.StreamHandler):
    """Shows the progress of a run; silent once its reader has left."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.addFilter(ConsoleFilter())
        self.setFormatter(ConsoleFormatter())

    def handleError(self, record: logging.LogRecord) -> None:
        """Continue without a reader that has left, such as `head`."""
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
        else:
            super().handleError(record)


def quiet_console(logger: MMLogger) -> None:
    """Replace the console of a logger of MMEngine by `ConsoleHandler`."""
    for handler in list(logger.handlers):
        if type(handler) is logging.StreamHandler:
            logger.removeHandler(handler)
            console = ConsoleHandler(handler.stream)
            console.setLevel(handler.level)
            console.filters[:0] = handler.filters
            logger.addHandler(console)


@RUNNERS.register_module()
class TrackingRunner(Runner):
    """MMEngine's runner with a quiet console, see `quiet_console`, and a precision.

    The config key ``precision``, one of `PRECISIONS`, applies to training, validation
    and test; the switches of TF32 are set for the complete process. Logged values wait
    for the device once per interval, see `DeferredMessageHub`. In validation and test
    the model gets several frames at a time: ``inference_batch_size``, or the number
    that `frames_at_a_time` chooses. Loaders pin memory for a GPU. The runner refuses a
    warm-up that the training loop would never end, and logs if the batch size does not
    fit the learning rate.
    """

    def build_logger(self, *args: object, **kwargs: object) -> MMLogger:
        """Build MMEngine's logger and log where its file is."""
        logger = super().build_logger(*args, **kwargs)
        quiet_console(logger)
        logger.info(f'The log is {logger.log_file}')
        return logger

    def build_message_hub(self, message_hub: dict | None = None) -> MessageHub:
        """Build the hub, which MMEngine then returns as the current one."""
        settings = message_hub or {}
        return DeferredMessageHub.get_instance(
            **{'name': self.experiment_name, **settings}
        )

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model and set it to the config's precision.

        Raises:
            ValueError: If there is no such precision, or this device does not have it.
        """
        precision = find_precision(self.cfg.get('precision'))
        remark = precision.check(get_device())
        if precision is not FP32 or torch.cuda.is_available():
            self.logger.info(f'Precision {precision.name}: {precision.meaning}')
        if remark is not None:
            self.logger.warning(remark)
        precision.allow_tf32()
        built = super().build_model(model)
        keep_precision(built, precision)
        return built

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build MMEngine's wrapper, with a loss scale if the precision needs one.

        Raises:
            ValueError: If the wrapper has another precision, or this device cannot
                train in it.
        """
        if self.cfg.get('precision') == 'fp16' and get_device() == 'cpu':
            raise ValueError(
                "precision: found 'fp16', which needs a GPU to train; use 'bf16' or "
                "'fp32'"
            )
        return super().build_optim_wrapper(
            adapt_optim_wrapper(optim_wrapper, self.cfg.get('precision'))
        )

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict,
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> DataLoader:
        """Build MMEngine's loader, with batches in pinned memory if there is a GPU.

        They are copied to the GPU while the host continues. ``pin_memory=False`` in a
        loader's config turns this off.
        """
        if isinstance(dataloader, dict):
            pin = dataloader.get('pin_memory', True) and torch.cuda.is_available()
            dataloader = dict(dataloader, pin_memory=pin)
        return Runner.build_dataloader(dataloader, seed, diff_rank_seed)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build MMEngine's loop and compare it with the model's warm-up.

        Raises:
            ValueError: If the loop would never end the warm-up.
        """
        built = super().build_train_loop(loop)
        remark = check_warmup(built, getattr(self.model, 'module', self.model))
        if remark is not None:
            self.logger.warning(remark)
        return built

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build MMEngine's loop, which gets several frames at a time."""
        return self._join_frames(super().build_val_loop(loop))

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build MMEngine's loop, which gets several frames at a time."""
        return self._join_frames(super().build_test_loop(loop))

    def _join_frames(self, loop: BaseLoop) -> BaseLoop:
        fixed = self.cfg.get('inference_batch_size')
        loop.dataloader = FrameBatches(
            loop.dataloader,
            lambda pixels: fixed or frames_at_a_time(self.model, pixels),
        )
        return loop

    def scale_lr(
        self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None
    ) -> None:
        """Scale the learning rate as MMEngine does, or log that it should be scaled."""
        super().scale_lr(optim_wrapper, auto_scale_lr)
        settings = auto_scale_lr or {}
        base = settings.get('base_batch_size')
        if base is None or settings.get('enable') or self._train_dataloader is None:
            return
        loader = self._train_dataloader
        batch = loader['batch_size'] if isinstance(loader, dict) else loader.batch_size
        accumulated = getattr(optim_wrapper, '_accumulative_counts', 1)
        samples = batch * self.world_size * accumulated
        if samples != base:
            self.logger.info(
                f'The learning rate is for {base} samples per step '
                f'(auto_scale_lr.base_batch_size), this run has {samples}: scale it '
                'with --auto-scale-lr, or change optim_wrapper.accumulative_counts = '
                f'{accumulated}'
            )

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = 'cpu',
        strict: bool = False,
        revise_keys: Any = ((r'^module.', ''),),
    ) -> dict:
        """Load a checkpoint; what MMEngine prints meanwhile goes to the log file.

        A resumed run has its own weights. Others may have the names of any supported
        code base, see `adapt_weights`. If weights of the model are missing, the console
        shows how many, and the log file which.
        """
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if self._resume or '://' in str(filename):
                checkpoint = super().load_checkpoint(
                    filename, map_location, strict, list(revise_keys)
                )
            else:
                checkpoint = self._load_weights(filename, strict)
        for line in filter(str.strip, printed.getvalue().splitlines()):
            self.logger.info(line, extra=dict(file_only=True))
        missing = _MISSING.search(printed.getvalue())
        if missing:
            self.logger.info(
                f'{missing[1].count(",") + 1} weights of the model are not in the '
                'checkpoint and stay as initialised; the log names them'
            )
        return checkpoint

    def _load_weights(self, filename: str, strict: bool) -> dict:
        """Load weights as MMEngine does, with the names of any supported code base."""
        model = getattr(self.model, 'module', self.model)
        read: Any = read_content(filename)
        checkpoint, remark = adapt_to_config(read, model, self.cfg, complete=False)
        if remark:
            self.logger.info(f'{filename}: {remark}')
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        load_state_dict(model, checkpoint.get('state_dict', checkpoint), strict)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint


@LOG_PROCESSORS.register_module()
class TrackingLogProcessor(LogProcessor):
    """MMEngine's log processor with loss, ETA and memory first.

    The part of a line after ``DETAILS`` is for the log file.
    """

    def get_log_after_iter(
        self, runner: Runner, batch_idx: int, mode: str
    ) -> tuple[dict, str]:
        """Format a line of progress; see MMEngine's ``LogProcessor``."""
        tag, text = super().get_log_after_iter(runner, batch_idx, mode)
        return tag, _sort_items(text, _FIRST)

    def get_log_after_epoch(
        self, runner: Runner, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict, str]:
        """Format the scores of a validation or test, the usual ones first."""
        tag, text = super().get_log_after_epoch(
            runner, batch_idx, mode, with_non_scalar
        )
        return tag, _sort_items(text, _SCORES)


def _sort_items(text: str, first: tuple[str, ...]) -> str:
    """Put some ``name: value`` of a line first and the others after ``DETAILS``."""
    head, *items = re.split(r'\s+(?=[^\s:]+: )', text.strip())
    named = [(item.partition(': ')[0].rpartition('/')[2], item) for item in items]
    shown = [item for name in first for key, item in named if key == name]
    rest = [item for key, item in named if key not in first]
    if not shown:
        shown, rest = rest, []
    return '  '.join([head, *shown]) + (DETAILS + '  '.join(rest) if rest else '')
