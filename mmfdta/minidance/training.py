# Copyright (c) mmfdta authors.
"""The trainings of the demo, which go on where an earlier run stopped."""

import copy
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfdta.apis.config import find_config
from mmfdta.apis.progress import Progress
from mmfdta.engine import resume_from_work_dir

from .scene import SPLITS, MiniDanceOptions
from .stages import Stage, say
from .writing import MANIFEST, make_minidance

DETECTOR, TRACKER = 'deformable_detr_mini', 'fdta_mini'
"""Names of the configs that are trained."""


@dataclass(frozen=True)
class DemoPlan:
    """Folders, seed and settings of one demo.

    Attributes:
        work_dir: Folder of everything that the demo makes but the data.
        data_root: Folder of the rendered data.
        seed: Seed of the training.
        settings: Changes to both configs, as ``--cfg-options`` has them.
        processes: Processes that render; None: one per core.
    """

    work_dir: Path
    data_root: Path
    seed: int = 0
    settings: dict = field(default_factory=dict)
    processes: int | None = None

    def config(self, name: str) -> Config:
        """Read a config and point it at this demo's folders.

        Args:
            name: Name of the config.

        Returns:
            The config.
        """
        config = Config.fromfile(find_config(name))
        config.randomness = dict(seed=self.seed)
        config.launcher = 'none'
        config.merge_from_dict(self.settings)
        options = config.train_dataloader.dataset.options
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if config.get(loader):
                data = dict(data_root=str(self.data_root), options=options)
                config[loader].dataset.update(data)
        return config


class ProgressHook(Hook):
    """Print how far the training is, in place of MMEngine's long lines.

    Args:
        interval: Iterations from one line to the next.
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
        config: What to train.
        work_dir: Folder for logs and checkpoints; its last checkpoint is
            resumed.
        weights: Where to put the trained weights.
    """
    config = copy.deepcopy(config)
    config.work_dir = str(work_dir)
    config.log_level = 'WARNING'
    # MMEngine keeps one visualizer per name: another one's folder would get the curves.
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


def data_stage(plan: DemoPlan) -> Stage:
    """Render the data."""
    options = MiniDanceOptions(**plan.config(TRACKER).train_dataloader.dataset.options)

    def render() -> None:
        bar = Progress(sum(map(options.sequences, SPLITS)), unit='sequences')
        made = make_minidance(
            plan.data_root, options, plan.processes, lambda done, total: bar.update()
        )
        if made:
            bar.close()

    return Stage(
        'data',
        f'Render MiniDance into {plan.data_root}',
        0.3,
        repr(options),
        render,
        (plan.data_root / MANIFEST,),
    )


def detector_stage(plan: DemoPlan) -> Stage:
    """Train the plain detector; leaves ``<work_dir>/detector.pth``."""
    config = plan.config(DETECTOR)
    work_dir, weights = plan.work_dir / 'train_detector', plan.work_dir / 'detector.pth'
    return Stage(
        'detector',
        'Train the detector on single frames',
        7,
        config.dump(),
        lambda: train(config, work_dir, weights),
        (weights,),
        work_dir,
    )


def tracker_stage(
    plan: DemoPlan, name: str, config: Config, work_dir: Path, weights: Path
) -> Stage:
    """Train FDTA, from the weights of :func:`detector_stage` on.

    Args:
        plan: The demo.
        name: Name of the stage.
        config: What to train; its ``load_from`` is set.
        work_dir: As in :func:`train`.
        weights: As in :func:`train`.

    Returns:
        The stage.
    """
    config.load_from = str(work_dir / 'start.pth')

    def run() -> None:
        start_from_detector(plan.work_dir / 'detector.pth', Path(config.load_from))
        train(config, work_dir, weights)

    text = config.dump()
    return Stage(name, 'Train FDTA on clips', 11, text, run, (weights,), work_dir)


def start_from_detector(detector: Path, start: Path) -> None:
    """Write the weights of a plain detector under the names that FDTA gives them.

    Args:
        detector: Checkpoint of the plain detector.
        start: Checkpoint for FDTA's ``load_from``.
    """
    weights = torch.load(detector, map_location='cpu', weights_only=True)['state_dict']
    start.parent.mkdir(parents=True, exist_ok=True)
    renamed = {f'detector.{name}': value for name, value in weights.items()}
    torch.save(dict(state_dict=renamed), start)
