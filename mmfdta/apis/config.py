# Copyright (c) mmfdta authors.
"""From the name of a config to its runner: finding, reading, checking, building."""

import copy
import difflib
import gc
import importlib
import os
import traceback
import warnings
from datetime import timedelta
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

import mmfdta.engine  # noqa: F401  (registers TrackingRunner)
from mmfdta.ops import accelerate
from mmfdta.utils.processes import connect, find_processes
from mmfdta.utils.safe_loading import require_safe_loading

from .config_check import ConfigError, check_config, check_new_keys

PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel, and next to the package in a source tree or an editable install.
CONFIG_ROOTS = (PACKAGE / '.mim' / 'configs', PACKAGE.parent / 'configs')
# Of files that MMEngine reads.
_SUFFIXES = ('.py', '.json', '.yaml', '.yml')
# What registered the classes in 0.1.
_REGISTERED_ONCE = ('mmfdta', 'mmfdta.datasets.minidance')


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
        if Path(name).suffix not in _SUFFIXES:
            raise ConfigError(f'{name}: found a file that is no config, expected a .py')
        return Path(name)
    relative = Path(name if name.endswith('.py') else f'{name}.py')
    if relative.parts[0] == 'configs':
        relative = Path(*relative.parts[1:])
    for root in CONFIG_ROOTS:
        if not relative.is_absolute() and (root / relative).is_file():
            return root / relative
    known = sorted({p.stem for root in CONFIG_ROOTS for p in root.glob('*.py')})
    close = difflib.get_close_matches(relative.stem, known, 1)
    hint = f'did you mean {close[0]}? ' if close else ''
    raise FileNotFoundError(
        f'there is no config {name!r}: {hint}No such file from {Path.cwd()}, and not '
        f'one of the configs of mmfdta ({", ".join(known)})'
    )


def read_config(
    config: str | os.PathLike | Config, cfg_options: dict | None = None
) -> Config:
    """Read a config and import what its ``custom_imports`` name.

    Args:
        config: Path, a name such as ``fdta_dancetrack``, or the config itself, which
            stays as it is.
        cfg_options: Settings to change, by keys with dots.

    Returns:
        The config with the settings.

    Raises:
        FileNotFoundError: If there is no such config.
        ConfigError: If it cannot be parsed, an import or a setting fails, or an option
            sets what nothing reads.
    """
    if isinstance(config, Config):
        config = copy.deepcopy(config)  # its own copy shares all but the top
    else:
        config = _parse(find_config(str(config)))
    _import_modules(config)
    if cfg_options:
        check_new_keys(config, cfg_options)
        try:
            config.merge_from_dict(cfg_options)
        except (KeyError, TypeError) as error:
            raise ConfigError(f'--cfg-options: {error}') from error
    return config


def load_config(
    name: str,
    cfg_options: dict | None = None,
    work_dir: str | None = None,
    launcher: str = 'none',
) -> Config:
    """Read a config that a runner is to be made of.

    Args:
        name: Path or name.
        cfg_options: Settings to change, by keys with dots.
        work_dir: Folder for logs and results; None takes the config's, or
            ``work_dirs/<name>``.
        launcher: What started the processes of the job.

    Raises:
        FileNotFoundError: If there is no such config.
        ConfigError: If it cannot be read, or an option sets what nothing reads.
    """
    config = read_config(name, cfg_options)
    config.launcher = launcher
    if work_dir or config.get('work_dir') is None:
        config.work_dir = work_dir or str(Path('work_dirs', find_config(name).stem))
    return config


def build_runner(config: Config) -> Runner:
    """Check a config and make its runner.

    Every ``torch.load`` of the process loads safely from then on.

    Args:
        config: It gets a ``runner_type`` if it has none: the quiet console of
            `TrackingRunner`.

    Raises:
        ConfigError: If the config cannot work.
        ValueError: If the launcher did not start this process.
        ConnectionError: If the other processes of the job cannot be reached.
    """
    require_safe_loading()
    check_config(config)
    _join_processes(config)
    config.setdefault('runner_type', 'TrackingRunner')
    runner = RUNNERS.build(config)
    accelerate(runner.model)
    return runner


def _parse(path: Path) -> Config:
    try:
        return Config.fromfile(path, import_custom_modules=False)
    except FileNotFoundError as error:  # of a base
        name = Path(str(error.filename or '')).name
        known = [root / name for root in CONFIG_ROOTS if (root / name).is_file()]
        hint = f"; the project's own is {known[0]}" if known and name else ''
        raise ConfigError(f'{path}: {error}{hint}') from error
    except SyntaxError as error:
        # MMEngine's own names the file, which may be a base, and the line.
        own = f'{path}, line {error.lineno}: {error.msg}'
        raise ConfigError(own if error.lineno else str(error)) from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f'{path}'
        if 'mmengine' not in Path(last.filename).parts:  # a line of the config itself
            place = f'{last.filename}, line {last.lineno}'
        reason = str(error.args[0] if isinstance(error, KeyError) else error)
        raise ConfigError(
            f'{place}: {type(error).__name__}: {" ".join(reason.split())}'
        ) from error


def _import_modules(config: Config) -> None:
    settings = config.get('custom_imports') or {}
    imports = settings.get('imports') or []
    for name in [imports] if isinstance(imports, str) else imports:
        if name in _REGISTERED_ONCE:
            raise ConfigError(
                f'custom_imports: {name!r} registers nothing any more; write '
                "custom_imports = dict(imports=['mmfdta.registry'])"
            )
        try:
            importlib.import_module(name)
        except ImportError as error:
            if settings.get('allow_failed_imports'):
                warnings.warn(f'custom_imports: {name} fails: {error}', stacklevel=2)
            elif f'{name}.'.startswith(f'{error.name}.'):
                raise ConfigError(
                    f'custom_imports: there is no module {error.name!r}; run the '
                    'command in the folder that holds it, or add that to PYTHONPATH'
                ) from error
            else:
                raise


def _join_processes(config: Config) -> None:
    """Connect the processes of a job on a machine without a GPU.

    MMEngine connects them itself where there is one, and fails elsewhere: it selects a
    CUDA device first, and hands device numbers to the wrapper of the model.

    Raises:
        ValueError: If the launcher did not start this process.
        ConnectionError: If the other processes cannot be reached.
    """
    launcher = config.get('launcher', 'none')
    processes = find_processes(launcher)
    if launcher == 'none' or torch.cuda.is_available():
        return
    seconds = (config.get('env_cfg') or {}).get('dist_cfg', {}).get('timeout')
    connect(processes, None if seconds is None else timedelta(seconds=seconds))
    config.setdefault(
        'model_wrapper_cfg',
        dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=config.get('find_unused_parameters', False),
        ),
    )


def leave_processes() -> None:
    """End the connection of the processes of a job, if this is one.

    A process that ends with the connection's threads running may be aborted. They run
    as long as the model's wrapper is there, and a runner, which is full of cycles,
    keeps it until it is collected.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()
