# Copyright (c) mmfdta authors.
"""The trainings of the demo, which go on where an earlier run stopped."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmfdta.apis.config import load_config
from mmfdta.apis.train import apply_training_options, train
from mmfdta.checkpoints import read_content, read_state_dict, write_checkpoint
from mmfdta.engine import find_checkpoint_to_resume

from .scene import MiniDanceOptions
from .stages import Stage
from .writing import MANIFEST, make_minidance, show_progress

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
        config = load_config(name, self.settings)
        config.randomness = dict(seed=self.seed)
        options = config.train_dataloader.dataset.options
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if config.get(loader):
                data = dict(data_root=str(self.data_root), options=options)
                config[loader].dataset.update(data)
        return config


def train_stage(config: Config, work_dir: Path, weights: Path) -> None:
    """Train and keep the last weights under a fixed name.

    Args:
        config: What to train.
        work_dir: Folder for logs and checkpoints; its last checkpoint is resumed.
        weights: Where to put the trained weights.
    """
    config = copy.deepcopy(config)
    config.work_dir = str(work_dir)
    # Stages of their own track and score.
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    apply_training_options(config, resume='auto')
    train(config)
    content: Any = read_content(str(find_checkpoint_to_resume(work_dir)))
    kept = {name: content[name] for name in ('meta', 'state_dict')}
    write_checkpoint(kept, weights)


def data_stage(plan: DemoPlan) -> Stage:
    """Render the data."""
    options = MiniDanceOptions(**plan.config(TRACKER).train_dataloader.dataset.options)
    return Stage(
        'data',
        f'Render MiniDance into {plan.data_root}',
        0.3,
        repr(options),
        lambda: make_minidance(
            plan.data_root, options, plan.processes, show_progress()
        ),
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
        lambda: train_stage(config, work_dir, weights),
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
        work_dir: As in :func:`train_stage`.
        weights: As in :func:`train_stage`.

    Returns:
        The stage.
    """
    config.load_from = str(work_dir / 'start.pth')

    def run() -> None:
        start_from_detector(plan.work_dir / 'detector.pth', Path(config.load_from))
        train_stage(config, work_dir, weights)

    text = config.dump()
    return Stage(name, 'Train FDTA on clips', 11, text, run, (weights,), work_dir)


def start_from_detector(detector: Path, start: Path) -> None:
    """Write the weights of a plain detector under the names that FDTA gives them.

    Args:
        detector: Checkpoint of the plain detector.
        start: Checkpoint for FDTA's ``load_from``.
    """
    weights = read_state_dict(detector)
    renamed = {f'detector.{name}': value for name, value in weights.items()}
    write_checkpoint(dict(state_dict=renamed), start)
