# Copyright (c) mmfdta authors.
"""Compiles the networks of a detector with PyTorch's compiler, for inference."""

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import nn


def compile_detector(model: nn.Module, **options: Any) -> nn.Module:
    """Let PyTorch compile each network of a detector, such as backbone and encoder.

    A network is compiled for the size of its first images, and for any size when others
    follow; separately for one image, for several, and for padded ones. After eight
    compilations PyTorch stops and runs new cases without compiling. Classes, weights
    and their names stay, and copies of the model are not compiled. Neither is what is
    not the call of a network (non-maximum suppression, RoI heads), nor a head that
    hooks keep in float32.

    Args:
        model: A tracker with a ``detector``, or a detector, after `accelerate`; changed
            in place. A second call changes nothing.
        **options: Arguments of ``torch.compile``.

    Returns:
        The model.

    Raises:
        ValueError: If this machine cannot compile, or the model has no such networks.
    """
    detector = getattr(model, 'detector', model)
    parts = dict(detector.named_children())
    if 'host' in parts:
        # QueryDetector calls the networks of its host and not the host itself.
        parts |= dict(parts.pop('host').named_children())
    networks = [
        part
        for part in parts.values()
        if isinstance(part, BaseModule) and any(True for _ in part.parameters())
    ]
    if not networks:
        raise ValueError(
            f'compile_detector: found {type(detector).__name__}, which has no '
            'networks of MMDetection; expected a detector, or a tracker with one'
        )
    device = next(model.parameters()).device.type
    problem = _find_problem(device, options)
    if problem is not None:
        raise ValueError(
            f"compile_detector: PyTorch's compiler fails for {device} ({problem}); it "
            'needs a C++ compiler for a CPU, Triton and a C compiler for a GPU. '
            'Install them, or do not compile'
        )
    for network in networks:
        # The compiler does not support hooks that enter and leave a context.
        if not is_compiled(network) and not network._forward_pre_hooks:
            network.compile(**options)
    return model


def is_compiled(module: nn.Module) -> bool:
    """Whether `compile_detector` has been called for a network."""
    names = '_compiled_call_impl', 'compiling'  # of a module, of `FoldedResNet`
    return any(getattr(module, name, None) is not None for name in names)


def _find_problem(device: str, options: dict) -> str | None:
    """Compile one sum; return None if that works, else the reason in one line."""
    x = torch.ones(2, device=device)
    try:
        torch.compile(lambda x: x + 1, **options)(x)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f'{type(error).__name__}: {lines[0] if lines else "no reason given"}'
    return None
