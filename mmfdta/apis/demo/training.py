# Copyright (c) mmfdta authors.
"""Train a config of the demo, and go on where an earlier run stopped."""

from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner


def train(config: Config, work_dir: Path, weights: Path) -> None:
    """Train and keep the last weights under a fixed name.

    Args:
        config (Config): What to train.
        work_dir (Path): Folder for logs and checkpoints; its last checkpoint is
            resumed.
        weights (Path): Where to put the trained weights.
    """
    config.work_dir = str(work_dir)
    config.resume = (work_dir / 'last_checkpoint').is_file()
    runner = Runner.from_cfg(config)
    runner.train()
    weights.parent.mkdir(parents=True, exist_ok=True)
    runner.save_checkpoint(
        str(weights.parent),
        weights.name,
        save_optimizer=False,
        save_param_scheduler=False,
        by_epoch=False,
    )
