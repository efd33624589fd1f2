# Copyright (c) mmfdta authors.
"""A training run of the small FDTA on sequences that are written to disk."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from small_fdta import small_config

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 96)
OBJECTS = 3


def write_sequence(folder: Path, num_frames: int, seed: int) -> None:
    """Write noise with boxes that drift, and depth maps."""
    rng = np.random.default_rng(seed)
    for name in ('img1', 'depth', 'gt'):
        (folder / name).mkdir(parents=True)
    corners = rng.uniform(5, 30, (OBJECTS, 2))
    rows = []
    for t in range(1, num_frames + 1):
        image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
        for i, (x, y) in enumerate((corners + 2 * t).astype(int)):
            cv2.rectangle(image, (x, y), (x + 20, y + 16), (80 * i, 255, 90), -1)
            rows.append(f'{t},{i + 1},{x + 1},{y + 1},20,16,1,1,1\n')
        cv2.imwrite(str(folder / f'img1/{t:08d}.jpg'), image)
        cv2.imwrite(str(folder / f'depth/{t:08d}.png'), image[..., 0])
    (folder / 'gt/gt.txt').write_text(''.join(rows))
    (folder / 'seqinfo.ini').write_text(
        f'[Sequence]\nname={folder.name}\nimDir=img1\nframeRate=20\n'
        f'seqLength={num_frames}\nimWidth={SIZE[1]}\nimHeight={SIZE[0]}\nimExt=.jpg\n'
    )


def make_config(folder: Path, **changes) -> Path:
    """Write ``fdta_dancetrack.py`` with the small model and data of this folder.

    Args:
        folder: Where ``data`` is and the config goes.
        **changes: Settings to change, with ``__`` for the dots of a key.

    Returns:
        Path of the config.
    """
    config = Config.fromfile(ROOT / 'configs/fdta_dancetrack.py')
    config.model = small_config()
    # Checkpoints are written often.
    config.model.detector.backbone.update(base_channels=8, stem_channels=8)
    config.model.detector.neck.in_channels = [16, 32, 64]
    config.model.tracker.update(det_thr=0.0, newborn_thr=0.0)
    pipeline = config.train_dataloader.dataset.pipeline
    pipeline[3] = dict(type='ClipRandomResize', short_sides=[48, 64], max_long=96)
    pipeline[-2].update(num_groups=2, vocab=6)
    config.train_dataloader.sampler.update(lengths=3, max_interval=2)
    for name in ('train', 'val', 'test'):
        loader = config[f'{name}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(folder / 'data')
    resize = config.test_dataloader.dataset.pipeline[0].transforms[1]
    resize.update(short=64, max_long=96)
    config.val_dataloader.dataset = config.test_dataloader.dataset
    config.default_hooks.logger.interval = 1
    config.log_processor.window_size = 1
    config.log_level = 'INFO'
    config.work_dir = str(folder / 'work')
    config.merge_from_dict({k.replace('__', '.'): v for k, v in changes.items()})
    path = folder / 'tiny.py'
    config.dump(path)
    return path


def logged_losses(folder: Path) -> dict[int, dict[str, float]]:
    """Every logged loss and gradient norm of every iteration, later runs last."""
    found = {}
    for path in sorted(folder.rglob('scalars.json'), key=lambda p: p.stat().st_ctime):
        for line in path.read_text().splitlines():
            if not line.endswith('}'):
                continue  # the run was killed while it wrote
            row = json.loads(line)
            if 'loss' in row:
                kept = {k: v for k, v in row.items() if 'loss' in k or 'grad' in k}
                kept['lr'] = row['lr']
                found[row['iter']] = kept
    return found


def command(name: str, *arguments: object) -> list[str]:
    """The command line ``mmfdta VERB ...``."""
    return [sys.executable, '-m', 'mmfdta', name, *map(str, arguments)]


@pytest.fixture
def tiny_run(tmp_path: Path) -> Callable[..., Path]:
    """Write data and hand on the writer of configs."""
    for seed, (split, frames) in enumerate(
        (('train', 6), ('train', 5), ('val', 4), ('val', 3), ('val', 2))
    ):
        write_sequence(tmp_path / f'data/{split}/seq{seed}', frames, seed)

    def make(**changes) -> Path:
        return make_config(tmp_path, **changes)

    return make


@pytest.fixture
def environment() -> dict[str, str]:
    """What processes need to find the package and the right Python."""
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    binaries = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    return {
        **os.environ,
        'PYTHONPATH': path,
        'PATH': binaries,
        'OMP_NUM_THREADS': '1',
    }
