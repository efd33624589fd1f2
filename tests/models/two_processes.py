# Copyright (c) mmfdta authors.
"""Two processes that run a function of a test file, apart from the state of the tests.

A process that is forked from the tests has the locks of their threads, and can wait for
one forever. These come from a server without threads.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from mmengine.registry import init_default_scope
from torch import multiprocessing as mp

import mmfdta.registry  # noqa: F401  (tests build classes by name)

# Imported once by the server, instead of by each process.
PRELOADED = ['torch', 'mmfdta.registry']


def _call(file: str, name: str, rank: int, args: tuple) -> None:
    """Set up the process as the tests do, and call a function of a test file."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    init_default_scope('mmdet')
    # The folder of the file as a package: files next to it are imported relatively.
    package = ModuleType('test_folder')
    package.__path__ = [str(Path(file).parent)]
    sys.modules[package.__name__] = package
    module = importlib.import_module(f'.{Path(file).stem}', package.__name__)
    getattr(module, name)(rank, *args)


@contextmanager
def two_processes(function: Callable, *args, seconds: float = 240) -> Iterator[None]:
    """Run ``function(rank, *args)`` in two processes while the block runs here.

    Args:
        function: At the top of a test file; gets the rank, 0 or 1.
        args: What it gets in addition; can be pickled.
        seconds: How long each process may take after the block.

    Raises:
        AssertionError: After the block, if a process failed or was not done in time.
    """
    context = mp.get_context('forkserver')
    context.set_forkserver_preload(PRELOADED)
    file = inspect.getfile(function)
    processes = [
        context.Process(target=_call, args=(file, function.__name__, rank, args))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    try:
        yield
        for process in processes:
            process.join(seconds)
            assert process.exitcode == 0, f'exit code {process.exitcode}'
    finally:
        for process in processes:
            process.kill()
