# Copyright (c) mmfdta authors.
"""Train a config of the demo, and go on where an earlier run stopped."""

import copy
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfdta.engine import resume_from_work_dir

from .stages import say


class ProgressHook(Hook):
    """Print how far the training is, in place of MMEngine's long lines.

    Args:
        interval (int): Iterations from one line to the next.
    """

    priority = 'LOW'

    def __init__(self, interval: int) -> None:
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self._first = runner.iter
        self._start = time.monotonic()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Maybe print a line."""
        done, total = runner.iter + 1, runner.max_iters
        if outputs is None or (done % self.interval and done != total):
            return
        pace = (time.monotonic() - self._start) / (done - self._first)
        left = pace * (total - done)
        say(
            f'      iteration {done}/{total}, loss {outputs["loss"].item():.2f}, '
            f'{left / 60:.1f} min left'
        )


def train(config: Config, work_dir: Path, weights: Path) -> None:
    """Train and keep the last weights under a fixed name.

    Args:
        config (Config): What to train.
        work_dir (Path): Folder for logs and checkpoints; its last checkpoint is
            resumed.
        weights (Path): Where to put the trained weights.
    """
    config = copy.deepcopy(config)
    config.work_dir = str(work_dir)
    config.log_level = 'WARNING'
    # MMEngine keeps one visualizer a name: another one's folder would get the curves.
    config.visualizer.name = f'{work_dir.name}-{time.time_ns()}'
    # A stage of its own tracks and scores.
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    resume_from_work_dir(config)
    runner = Runner.from_cfg(config)
    runner.register_hook(ProgressHook(2 * config.default_hooks.logger.interval))
    runner.train()
    weights.parent.mkdir(parents=True, exist_ok=True)
    runner.save_checkpoint(
        str(weights.parent),
        weights.name,
        save_optimizer=False,
        save_param_scheduler=False,
        by_epoch=False,
    )


def train_tracker(
    config: Config, detector: Path, work_dir: Path, weights: Path
) -> None:
    """Train FDTA from the weights of a plain detector.

    Args:
        config (Config): What to train; its ``load_from`` says where to write the
            renamed weights.
        detector (Path): Checkpoint of the plain detector.
        work_dir (Path): As in :func:`train`.
        weights (Path): As in :func:`train`.
    """
    start_from_detector(detector, Path(config.load_from))
    train(config, work_dir, weights)


def start_from_detector(detector: Path, start: Path) -> None:
    """Write the weights of a plain detector under the names that FDTA gives them.

    Args:
        detector (Path): Checkpoint of the plain detector.
        start (Path): Checkpoint for FDTA's ``load_from``.
    """
    weights = torch.load(detector, map_location='cpu', weights_only=True)['state_dict']
    start.parent.mkdir(parents=True, exist_ok=True)
    renamed = {f'detector.{name}': value for name, value in weights.items()}
    torch.save(dict(state_dict=renamed), start)
