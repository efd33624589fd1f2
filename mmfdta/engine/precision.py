# Copyright (c) mmfdta authors.
"""Precisions of a model; the only module that sets TF32 and mixed precision.

Losses, matching, boxes, depth lookup and ID scores are computed in float32 in every
precision; their modules ensure this themselves.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmdet.models.backbones import ResNet
from mmdet.models.dense_heads import DETRHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmengine.config import ConfigDict
from torch import nn

from mmfdta.utils.transfers import to_float32

# Optimiser wrapper -> the one with a loss scale, which float16 needs.
SCALED_WRAPPERS = dict(
    OptimWrapper='AmpOptimWrapper', GroupClipOptimWrapper='GroupClipAmpOptimWrapper'
)
_PLAIN_WRAPPERS = {scaled: plain for plain, scaled in SCALED_WRAPPERS.items()}


@dataclass(frozen=True)
class Precision:
    """A precision in which a model computes.

    Attributes:
        name: Its name in the config key ``precision`` and the option ``--precision``.
        meaning: Its description in the log.
        dtype: Type of products and convolutions under ``torch.autocast``; with None
            they have the type of the weights.
        tf32: Whether float32 products and convolutions may use TF32, with 10 instead of
            23 bits of mantissa. PyTorch's default is True for convolutions.
    """

    name: str
    meaning: str
    dtype: torch.dtype | None = None
    tf32: bool = False

    def check(self, device: str | torch.device) -> str | None:
        """Check whether a device can compute in this precision.

        Args:
            device: Device of the model.

        Returns:
            A remark for the user; None if there is none.

        Raises:
            ValueError: If it cannot, or only very slowly.
        """
        device = torch.device(device)
        on_gpu = device.type == 'cuda'
        if self.dtype == torch.float16 and not (on_gpu or _computes_float16()):
            raise ValueError(
                "precision: found 'fp16', but this processor has no float16 "
                'arithmetic, and a convolution would take 100 times as long; use '
                "'bf16' or 'fp32', or a GPU"
            )
        if self.dtype == torch.bfloat16 and on_gpu and _capability(device) < 8:
            return f'{self.name}: this GPU has no bfloat16 arithmetic; fp16 is faster'
        if self.tf32 and not (on_gpu and _capability(device) >= 8):
            return f'tf32: there is no TF32 on {device.type}; computes as fp32'
        return None

    def allow_tf32(self) -> None:
        """Set PyTorch's switches of TF32, for the complete process."""
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        torch.backends.cudnn.allow_tf32 = self.tf32

    @contextlib.contextmanager
    def on(self, device_type: str) -> Iterator[None]:
        """Compute in this precision within the context, then restore the switches.

        The switches of TF32 belong to the process: threads that compute at the same
        time share them.

        Args:
            device_type: Type of the device, such as ``cuda``.
        """
        restore = _remember_tf32()
        self.allow_tf32()
        try:
            if self.dtype is None:
                yield
            else:
                with torch.autocast(device_type, self.dtype):
                    yield
        finally:
            restore()


_ALL = (
    Precision('fp32', 'float32 without TF32, as the released code trains'),
    Precision('tf32', 'float32, products and convolutions in TF32', tf32=True),
    Precision(
        'fp16', 'products and convolutions in float16, the rest float32', torch.float16
    ),
    Precision(
        'bf16',
        'products and convolutions in bfloat16, the rest float32',
        torch.bfloat16,
    ),
)
PRECISIONS = {precision.name: precision for precision in _ALL}
FP32 = PRECISIONS['fp32']


def find_precision(name: str | None) -> Precision:
    """Find a precision by its name.

    Args:
        name: Name in a config or a command; None means ``fp32``.

    Raises:
        ValueError: If there is no such precision.
    """
    if name is None:
        return FP32
    if name not in PRECISIONS:
        raise ValueError(f'precision: found {name!r}, expected {", ".join(PRECISIONS)}')
    return PRECISIONS[name]


def adapt_optim_wrapper(settings: Any, name: str | None) -> Any:
    """Adapt the config of an optimiser wrapper to a precision.

    float16 needs a loss scale, which MMEngine's wrappers for mixed precision have; the
    other precisions need none.

    Args:
        settings: ``optim_wrapper`` of a config; anything except a dict is not changed.
        name: ``precision`` of the config; None changes nothing.

    Returns:
        A changed copy, or ``settings`` itself if nothing is to be changed.

    Raises:
        ValueError: If the wrapper computes in another precision, or has no variant for
            float16.
    """
    if name is None or not isinstance(settings, Mapping):
        return settings
    precision = find_precision(name)
    made = ConfigDict(settings)
    kind = made.get('type', 'OptimWrapper')
    if not isinstance(kind, str):
        kind = kind.__name__
    dtype = made.get('dtype')
    wanted = None if precision.dtype is None else str(precision.dtype).split('.')[1]
    if kind in _PLAIN_WRAPPERS and (wanted is None or dtype not in (None, wanted)):
        named = f' with dtype={dtype!r}' if dtype else ''
        raise ValueError(
            f'precision: found {name!r}, but optim_wrapper.type is {kind!r}{named}, '
            "which trains in another; remove the wrapper's type and dtype from the "
            'config, or the precision'
        )
    if precision.dtype == torch.float16:
        if kind not in (*SCALED_WRAPPERS, *_PLAIN_WRAPPERS):
            raise ValueError(
                f'precision: found {name!r}, which needs a loss scale, but '
                f'optim_wrapper.type is {kind!r}, expected {", ".join(SCALED_WRAPPERS)}'
                "; use 'bf16', which needs none"
            )
        made.type = SCALED_WRAPPERS.get(kind, kind)
        made.setdefault('loss_scale', 'dynamic')
        made.dtype = wanted
    elif kind in _PLAIN_WRAPPERS:
        made.type = _PLAIN_WRAPPERS[kind]
        made.pop('dtype', None)
        made.pop('loss_scale', None)
    return made


def precision_of(model: nn.Module) -> Precision:
    """Return what `keep_precision` set; ``fp32`` if it was not called."""
    return find_precision(getattr(model, 'precision', None))


def keep_precision(model: nn.Module, precision: Precision) -> None:
    """Make every forward pass of a model run in a precision.

    Outputs of MMDetection's detection heads are float32 in every precision: the heads
    add offsets to the coordinates of cells in the type of their scores, and in bfloat16
    coordinates near 1000 pixels are multiples of 4. The heads of its DETRs compute in
    float32: they add offsets to points in 0..1, and in half precision numbers near 0.7
    are multiples of 1 / 256.

    Args:
        model: Changed in place: gets hooks and an attribute ``precision``, the name.
        precision: The precision.
    """
    model.precision = precision.name
    if precision.dtype is not None:
        for module in model.modules():
            if isinstance(module, BaseDenseHead):
                module.register_forward_hook(_as_float32)
            elif _is_detr_head(module):
                module.register_forward_pre_hook(_take_float32, with_kwargs=True)
                _run_inside(module, partial(torch.autocast, enabled=False))
    _run_inside(model, precision.on)


def hold_half_weights(model: nn.Module, precision: Precision) -> None:
    """Convert weights of products and convolutions to half precision, for inference.

    Autocast converts every weight in every forward pass, which is a sixth of the
    operations that FDTA starts on a GPU per frame. The results are equal to the last
    bit. Modules that a parent lists in ``float32_modules``, the heads of MMDetection's
    DETRs, and ResNets, which run a folded copy at inference, are not converted.

    Args:
        model: Changed in place; afterwards it can compute in this precision only.
        precision: Its precision; float32 changes nothing.
    """
    if precision.dtype is None:
        return
    kept = {
        module
        for parent in model.modules()
        for name in getattr(parent, 'float32_modules', ())
        for module in parent.get_submodule(name).modules()
    }
    for part in model.modules():
        if isinstance(part, ResNet) or _is_detr_head(part):
            kept.update(part.modules())
    for module in set(model.modules()) - kept:
        if isinstance(module, nn.Linear | nn.Conv2d | nn.MultiheadAttention):
            for weight in module.parameters(recurse=False):
                weight.data = weight.data.to(precision.dtype)


def _is_detr_head(module: nn.Module) -> bool:
    """Whether it is MMDetection's own head; this project's heads use float32 anyway."""
    return isinstance(module, DETRHead) and type(module).__module__.startswith('mmdet.')


def _run_inside(
    module: nn.Module, context: Callable[[str], contextlib.AbstractContextManager]
) -> None:
    """Make a forward pass run inside a context, made for the type of its device."""
    hooks = _ForwardHooks(context)
    module.register_forward_pre_hook(hooks.enter)
    module.register_forward_hook(hooks.leave, always_call=True)


class _ForwardHooks:
    """Enter a context before a forward pass and leave it after."""

    def __init__(
        self, context: Callable[[str], contextlib.AbstractContextManager]
    ) -> None:
        self.context = context
        self._open: list[contextlib.AbstractContextManager] = []

    def enter(self, model: nn.Module, args: object) -> None:
        device = next(model.parameters(), torch.empty(0)).device
        context = self.context(device.type)
        context.__enter__()
        self._open.append(context)

    def leave(self, model: nn.Module, args: object, output: object) -> None:
        self._open.pop().__exit__(None, None, None)


def _as_float32(module: nn.Module, args: object, output: Any) -> Any:
    """Convert the tensors of a head's output to float32."""
    return to_float32(output)


def _take_float32(module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Convert the tensors of a head's input to float32."""
    return to_float32(args), to_float32(kwargs)


def _computes_float16() -> bool:
    return torch.ops.mkldnn._is_mkldnn_fp16_supported()


def _capability(device: torch.device) -> int:
    return torch.cuda.get_device_capability(device)[0]


def _remember_tf32() -> Callable[[], None]:
    """Return a function that restores PyTorch's switches of TF32."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    try:
        switches = [(matmul, 'allow_tf32'), (cudnn, 'allow_tf32')]
        before = [getattr(*switch) for switch in switches]
    except RuntimeError:
        # Switches that were set by PyTorch 2.9's names cannot be read by the old ones.
        switches = [
            (part, 'fp32_precision') for part in (matmul, cudnn.conv, cudnn.rnn)
        ]
        before = [getattr(*switch) for switch in switches]

    def restore() -> None:
        for (part, name), value in zip(switches, before, strict=True):
            setattr(part, name, value)

    return restore
