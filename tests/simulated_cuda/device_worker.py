# Copyright (c) mmfdta authors.
"""A process with a simulated CUDA device: runs functions that tests name.

The guard has to be loaded before torch. Requests are JSON lines on stdin, answers are
JSON lines on the descriptor that the first argument names.

By hand, from the project's root: ``python tests/simulated_cuda/device_worker.py MODULE
FUNCTION [NAME=JSON ...]``.
"""

import contextlib
import ctypes
import importlib
import json
import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def load_device(guard: Path) -> Callable[..., Any]:
    """Load guard, PyTorch and the project; return what runs a function."""
    ctypes.CDLL(str(guard), mode=ctypes.RTLD_GLOBAL)
    import torch
    import torch_cuda_stubs

    torch_cuda_stubs.install()
    torch.set_num_threads(1)
    # Operators and registries first, as everywhere.
    importlib.import_module('mmfdta.registry')
    importlib.import_module('mmengine.registry').init_default_scope('mmdet')
    logging.getLogger('mmengine').setLevel(logging.WARNING)

    def run(module: str, function: str, **options: Any) -> Any:
        torch.manual_seed(0)
        return getattr(importlib.import_module(module), function)(**options)

    return run


def serve(guard: Path, answers: Any) -> None:
    """Answer requests until stdin ends."""
    run = load_device(guard)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = dict(result=run(**request))
        except BaseException:  # the answer tells of it
            answer = dict(error=traceback.format_exc())
        answers.write(json.dumps(answer, default=float) + '\n')
        answers.flush()


def main() -> None:
    if sys.argv[1].isdigit():
        with open(int(sys.argv[1]), 'w') as answers:
            serve(Path(sys.argv[2]), answers)
        return
    from device_compiler import compiled_guard

    tests = HERE.parent
    sys.path += [str(tests / name) for name in ('models', 'golden', 'docs')]
    module, function, *options = sys.argv[1:]
    pairs = (option.split('=', 1) for option in options)
    values = {name: json.loads(value) for name, value in pairs}
    with contextlib.redirect_stdout(sys.stderr):
        found = load_device(compiled_guard())(module, function, **values)
    tables = []

    def without_table(x: Any) -> Any:
        if isinstance(x, dict):
            tables.extend(x[name] for name in x if name == 'table')
            return {k: without_table(v) for k, v in x.items() if k != 'table'}
        return x

    print(json.dumps(without_table(found), default=float), *tables, sep='\n')


if __name__ == '__main__':
    main()
