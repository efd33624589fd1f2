# Copyright (c) mmfdta authors.
"""Loads checkpoints with `weights_only=True`, so that a file cannot run code.

MMEngine saves its log buffers in checkpoints. PyTorch refuses to load their class and
NumPy's unless they are declared safe. MMEngine 0.10.7 declares none (its issue 1655),
so that resuming fails. This module declares the classes of a training state.
"""

import importlib
import os

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def allow_training_state() -> None:
    """Declare the classes in MMEngine's training state safe to load.

    They are declared with their names: OneDL's MMEngine declares the same classes
    without names around each load, and PyTorch then removes those again.
    """
    # NumPy 2 renamed the package with these private functions.
    core = 'core' if np.__version__[0] == '1' else '_core'
    multiarray = importlib.import_module(f'numpy.{core}.multiarray')
    functions = {'_reconstruct': multiarray._reconstruct, 'scalar': multiarray.scalar}
    dtypes = {type(np.dtype(code)) for code in np.typecodes['AllInteger'] + '?efd'}
    classes = (HistoryBuffer, np.ndarray, np.dtype, *dtypes)
    torch.serialization.add_safe_globals(
        [
            *((c, f'{c.__module__}.{c.__qualname__}') for c in classes),
            (_buffer_method, 'builtins.getattr'),
            # For files of NumPy 1 and 2.
            *(
                (function, f'numpy.{package}.multiarray.{name}')
                for name, function in functions.items()
                for package in ('core', '_core')
            ),
        ]
    )


def require_safe_loading() -> None:
    """Make every `torch.load` of this process use `weights_only=True`.

    Otherwise OneDL's MMEngine loads a refused file again without it.
    """
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'


def _buffer_method(owner: object, name: str) -> object:
    """Replace `getattr` in a checkpoint, which refers to methods of log buffers."""
    if owner is not HistoryBuffer:
        raise TypeError(
            f'the checkpoint asks for attribute {name!r} of {owner!r}; only methods '
            'of HistoryBuffer are loaded'
        )
    return getattr(owner, name)
