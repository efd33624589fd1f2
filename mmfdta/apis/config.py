# Copyright (c) mmfdta authors.
"""What the training and testing commands share: arguments and the config."""

import argparse
import os
from datetime import timedelta
from pathlib import Path

import torch
from mmengine.config import Config, DictAction

from .config_check import check_new_keys

PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel, and beside the package in a source tree or an editable install.
CONFIG_ROOTS = (PACKAGE / '.mim' / 'configs', PACKAGE.parent / 'configs')


def find_config(name: str) -> Path:
    """Find a config by its path or by its name among the configs of the project.

    Args:
        name: A path, or a name such as `configs/fdta_dancetrack.py` or
            `fdta_dancetrack`.

    Returns:
        Path of the config.

    Raises:
        FileNotFoundError: If there is none; the message lists the names there are.
    """
    if Path(name).is_file():
        return Path(name)
    relative = Path(name if name.endswith('.py') else f'{name}.py')
    if relative.parts[0] == 'configs':
        relative = Path(*relative.parts[1:])
    for root in CONFIG_ROOTS:
        if not relative.is_absolute() and (root / relative).is_file():
            return root / relative
    known = sorted({p.stem for root in CONFIG_ROOTS for p in root.glob('*.py')})
    raise FileNotFoundError(
        f'there is no config {name!r}: no such file from {Path.cwd()}, and not one of '
        f'the configs of mmfdta ({", ".join(known)})'
    )


def add_cfg_options(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--cfg-options``; ``cfg_options`` is empty where it is not given.

    Args:
        parser: Receives the argument.
        text: What is changed, for ``--help``.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help=text,
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every command on a config takes."""
    parser.add_argument('config', help='path of a config, or its name in mmfdta')
    parser.add_argument(
        '--work-dir', help='folder for logs and results; ./work_dirs/<config> if unset'
    )
    add_cfg_options(parser, 'settings to change, such as train_cfg.max_epochs=2')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed job',
    )
    # torch.distributed.launch passes the rank in the first spelling or the second.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS
    )


def load_config(options: argparse.Namespace) -> Config:
    """Read the config and apply the arguments of `add_common_arguments`.

    Raises:
        FileNotFoundError: If the config is not found.
        ValueError: If an option sets what nothing reads.
    """
    path = find_config(options.config)
    config = Config.fromfile(path)
    config.launcher = options.launcher
    if options.cfg_options:
        check_new_keys(config, options.cfg_options)
        config.merge_from_dict(options.cfg_options)
    if options.work_dir:
        config.work_dir = options.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs', path.stem))
    # For launchers that only pass the argument; torchrun has set it already.
    os.environ.setdefault('LOCAL_RANK', str(options.local_rank))
    return config


def join_processes(config: Config) -> None:
    """Connect the processes of a job on a machine without a GPU.

    MMEngine connects them itself where there is one, and fails elsewhere: it selects a
    CUDA device first, and hands device numbers to the wrapper of the model.

    Args:
        config: Config of the job; receives the wrapper.
    """
    if config.launcher != 'pytorch' or torch.cuda.is_available():
        return
    seconds = (config.get('env_cfg') or {}).get('dist_cfg', {}).get('timeout')
    timeout = None if seconds is None else timedelta(seconds=seconds)
    torch.distributed.init_process_group('gloo', timeout=timeout)
    config.setdefault(
        'model_wrapper_cfg',
        dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=config.get('find_unused_parameters', False),
        ),
    )
