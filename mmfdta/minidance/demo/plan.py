# Copyright (c) mmfdta authors.
"""What the demo runs with, and where it leaves what."""

from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from mmfdta.apis.config import find_config


@dataclass(frozen=True)
class DemoPlan:
    """Folders, seed and settings of one demo.

    Attributes:
        work_dir (Path): Folder of everything that the demo makes but the data.
        data_root (Path): Folder of the rendered data.
        seed (int): Seed of the training.
        settings (dict): Changes to both configs, as ``--cfg-options`` has them.
        processes (int | None): Processes that render; None: one a core.
    """

    work_dir: Path
    data_root: Path
    seed: int = 0
    settings: dict = field(default_factory=dict)
    processes: int | None = None

    def config(self, name: str) -> Config:
        """Read a config and point it at this demo's folders.

        Args:
            name (str): Name of the config.

        Returns:
            Config: The config.
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
