# Copyright (c) mmfdta authors.
"""The trainings of the demo, which continue where an earlier run stopped."""

import copy
import itertools
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmfdta.apis.config import load_config
from mmfdta.apis.fingerprints import file_digest
from mmfdta.apis.model_loading import load_tracker
from mmfdta.apis.train import apply_training_options, train
from mmfdta.apis.weights import find_checkpoint
from mmfdta.checkpoints import read_content, read_state_dict, write_checkpoint
from mmfdta.engine import find_checkpoint_to_resume
from mmfdta.structures.whole_files import write_text

from .scene import SPLITS, MiniDanceOptions
from .stages import Stage, say
from .writing import MANIFEST, make_minidance, show_progress

DETECTOR, TRACKER = 'deformable_detr_mini', 'fdta_mini'
"""Names of the configs that the demo trains."""
ALONE = 'detector'
"""Name of the stage that trains the plain detector."""
GOES_ON = 'fdta_mini_demo'
"""Name of the config that continues from the weights in the package."""
HELD_OUT = 'held_out.json'
_CLIPS = 16


@dataclass(frozen=True)
class DemoPlan:
    """Folders, seed and settings of one demo.

    Attributes:
        work_dir: Folder of everything that the demo makes but the data.
        data_root: Folder of the rendered data; None: that of the configs.
        seed: Seed of the training.
        settings: Changes to both configs, as ``--cfg-options`` has them.
        processes: Processes that render; None: one per core.
    """

    work_dir: Path
    data_root: Path | None = None
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
        dataset = config.train_dataloader.dataset
        root = str(self.data_root or dataset.data_root)
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if config.get(loader):
                data = dict(data_root=root, options=dataset.options)
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


def data_stage(plan: DemoPlan, tracker: Config) -> Stage:
    """Render the data of a config."""
    dataset = tracker.train_dataloader.dataset
    options, root = MiniDanceOptions(**dataset.options), Path(dataset.data_root)
    count = sum(options.sequences(split) for split in SPLITS)
    return Stage(
        'data',
        f'Render {count} sequences of MiniDance into {root}',
        0.005 * count,
        repr(options),
        lambda: make_minidance(root, options, plan.processes, show_progress()),
        (root / MANIFEST,),
    )


def detector_stage(plan: DemoPlan, config: Config, name: str = ALONE) -> Stage:
    """Train a detector; leaves ``<work_dir>/<name>.pth``.

    Args:
        plan: The demo.
        config: What to train.
        name: Name of the stage.
    """
    work_dir, weights = plan.work_dir / f'train_{name}', plan.work_dir / f'{name}.pth'
    return Stage(
        name,
        'Train the detector on single frames',
        7,
        config.dump(),
        lambda: train_stage(config, work_dir, weights),
        (weights,),
        work_dir,
    )


def tracker_stage(
    plan: DemoPlan,
    name: str,
    config: Config,
    work_dir: Path,
    weights: Path,
    detector: str = ALONE,
) -> Stage:
    """Train FDTA, from the weights of :func:`detector_stage` on.

    Args:
        plan: The demo.
        name: Name of the stage.
        config: What to train; its ``load_from`` is set.
        work_dir: As in :func:`train_stage`.
        weights: As in :func:`train_stage`.
        detector: Name of the stage of the detector.

    Returns:
        The stage.
    """
    config.load_from = str(work_dir / 'start.pth')

    def run() -> None:
        start = plan.work_dir / f'{detector}.pth'
        prefix = 'detector.host.' if 'host' in config.model.detector else 'detector.'
        start_from_detector(start, Path(config.load_from), prefix)
        train_stage(config, work_dir, weights)

    text = config.dump()
    return Stage(name, 'Train FDTA on clips', 11, text, run, (weights,), work_dir)


def goes_on_stage(plan: DemoPlan, config: Config, weights: Path) -> Stage:
    """Train FDTA on, from the weights in the package or others that it starts from.

    Args:
        plan: The demo; its folder gets :data:`HELD_OUT`.
        config: What to train.
        weights: As in :func:`train_stage`.

    Returns:
        The stage.
    """
    start = find_checkpoint(config.load_from)
    work_dir = plan.work_dir / 'train_fdta'
    return Stage(
        'go_on',
        f'Train FDTA {config.train_cfg.max_iters} iterations more',
        1.1,
        config.dump() + file_digest(start),
        lambda: train_on(config, work_dir, weights, plan.work_dir / HELD_OUT),
        (weights, plan.work_dir / HELD_OUT),
        work_dir,
    )


def train_on(config: Config, work_dir: Path, weights: Path, report: Path) -> None:
    """Train from a config's ``load_from`` on, and compare losses on held-out clips.

    Weights with a higher loss than before are not kept.

    Args:
        config: What to train.
        work_dir: As in :func:`train_stage`.
        weights: As in :func:`train_stage`.
        report: Gets the number of ``clips`` and their loss ``before`` and ``after``.
    """
    start = find_checkpoint(config.load_from)
    before = held_out_loss(config, start)
    say(f'      loss on {_CLIPS} held-out clips before: {before:.3f}')
    train_stage(config, work_dir, weights)
    after = held_out_loss(config, weights)
    say(f'      loss on {_CLIPS} held-out clips after: {after:.3f}')
    if not after <= before:
        say('      it has grown: the demo keeps the weights that it started from')
        shutil.copyfile(start, weights)
    found = dict(clips=_CLIPS, before=before, after=after)
    write_text(report, json.dumps(found) + '\n')


@torch.no_grad()
def held_out_loss(config: Config, weights: Path) -> float:
    """Measure FDTA's loss on clips of the val split, which no training sees.

    Args:
        config: Of the training.
        weights: Checkpoint of its model.

    Returns:
        Mean over :data:`_CLIPS` clips of the sum that the training makes smaller. The
        clips and what is drawn in them depend on neither weights nor seed.
    """
    settings = copy.deepcopy(config.train_dataloader)
    settings.dataset.split = 'val'
    changed = ('ClipRandomFlip', 'ClipColorJitter')
    settings.dataset.pipeline = [
        step for step in settings.dataset.pipeline if step.type not in changed
    ]
    settings.sampler.seed = 0
    loader = Runner.build_dataloader(settings)
    model = load_tracker(config, weights)
    losses = []
    for number, clip in enumerate(itertools.islice(loader, _CLIPS)):
        torch.manual_seed(number)
        found = model(**model.data_preprocessor(clip, True), mode='loss')
        losses.append(float(model.parse_losses(found)[0]))
    return sum(losses) / len(losses)


def start_from_detector(detector: Path, start: Path, prefix: str) -> None:
    """Write the weights of a detector alone under the names that FDTA gives them.

    Args:
        detector: Checkpoint of the detector.
        start: Checkpoint for FDTA's ``load_from``.
        prefix: What names in FDTA begin with.
    """
    weights = read_state_dict(detector)
    renamed = {f'{prefix}{name}': value for name, value in weights.items()}
    write_checkpoint(dict(state_dict=renamed), start)
