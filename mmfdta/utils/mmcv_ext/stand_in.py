# Copyright (c) mmfdta authors.
"""The module that replaces MMCV's compiled extension."""

import importlib.machinery
import importlib.metadata
import types
from collections.abc import Callable

from .deformable_attention import ms_deform_attn_backward, ms_deform_attn_forward
from .focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from .roi_align import roi_align_backward, roi_align_forward
from .suppression import nms, softnms

EXTENSION = 'mmcv._ext'
COMPILE = (
    'pip install setuptools==80.9.0 wheel ninja packaging && pip install '
    '--no-build-isolation --no-deps --force-reinstall --no-cache-dir --no-binary '
)


class OperatorNotCompiledError(NotImplementedError):
    """An MMCV operator was called that needs the compiled extension."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The MMCV operator '{name}' is not compiled here and has no PyTorch "
            f'path. Compile the operators (about 15 minutes): {install_command()}'
        )


def install_command() -> str:
    """Return the command that compiles the operators of the installed family."""
    try:
        importlib.metadata.version('onedl-mmcv')
    except importlib.metadata.PackageNotFoundError:
        return f'pip uninstall -y mmcv-lite && {COMPILE}mmcv mmcv==2.1.0'
    return f'{COMPILE}onedl-mmcv onedl-mmcv==2.3.6'


class StandIn(types.ModuleType):
    """The replacement of `mmcv._ext` if that is not compiled."""

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: object, **kwargs: object) -> None:
            raise OperatorNotCompiledError(name)

        missing.__name__ = name
        return missing


def make_stand_in(reason: str) -> StandIn:
    """Return a stand-in with the operators of this file.

    Args:
        reason: Why the compiled extension is not in use, for the version strings.
    """
    module = StandIn(EXTENSION, 'Stand-in for the compiled MMCV operators.')
    # `mmcv.utils.check_ops_exist` looks for a loader, and finds no compiled operators.
    module.__spec__ = importlib.machinery.ModuleSpec(EXTENSION, None)
    for operator in (
        nms,
        softnms,
        sigmoid_focal_loss_forward,
        sigmoid_focal_loss_backward,
        softmax_focal_loss_forward,
        softmax_focal_loss_backward,
        ms_deform_attn_forward,
        ms_deform_attn_backward,
        roi_align_forward,
        roi_align_backward,
    ):
        setattr(module, operator.__name__, operator)
    for version in ('get_compiler_version', 'get_compiling_cuda_version'):
        setattr(module, version, lambda: f'none (operators {reason})')
    return module
