# Copyright (c) mmfdta authors.
"""Numbers of two devices side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested containers and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_of(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_of(getattr(value, field.name))


def moved(value: Any, device: torch.device) -> Any:
    """Copy nested containers with their tensors on a device, as leaves.

    Tensors that carry gradients get their own there.
    """
    if isinstance(value, Tensor):
        copy = value.detach().to(device, copy=True)
        return copy.requires_grad_(value.requires_grad)
    if isinstance(value, Mapping):
        return {key: moved(item, device) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*(moved(item, device) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(moved(item, device) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        held = {f.name: moved(getattr(value, f.name), device) for f in fields(value)}
        return replace(value, **held)
    return value


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Norm of the difference of some tensors, of the norm of what is expected.

    Args:
        found: Tensors on any device.
        expected: As many of the same shapes.

    Returns:
        0 where all are equal; infinite where a value is not finite.

    Raises:
        ValueError: If numbers or shapes differ.
    """
    shapes = [[tuple(t.shape) for t in side] for side in (found, expected)]
    if shapes[0] != shapes[1]:
        raise ValueError(f'shapes: found {shapes[0]}, expected {shapes[1]}')
    off = size = 0.0
    for one, other in zip(found, expected, strict=True):
        one, other = (t.detach().cpu().double() for t in (one, other))
        if not (one.isfinite().all() and other.isfinite().all()):
            # Masked scores are minus infinity on both sides.
            if not torch.equal(one.isfinite(), other.isfinite()):
                return float('inf')
            one, other = (t.nan_to_num(0.0, 0.0, 0.0) for t in (one, other))
        off += float((one - other).square().sum())
        size += float(other.square().sum())
    return (off / size) ** 0.5 if size else float(off > 0)


class Pass:
    """Forward and backward pass of a function: what came out, and the gradients.

    Args:
        run: The function.
        arguments: Its arguments; of tensors that require it the gradient is taken.
        parameters: Of which gradients are taken, too.

    Attributes:
        values: Floating tensors that came out.
        gradients: Of the arguments, then of the parameters; zero where there is none.
    """

    def __init__(
        self,
        run: Callable[..., Any],
        arguments: Sequence[Any],
        parameters: Sequence[Tensor] = (),
    ) -> None:
        out = [t for t in tensors_of(run(*arguments)) if t.is_floating_point()]
        leaves = [t for t in tensors_of(list(arguments)) if t.requires_grad]
        leaves += parameters
        self.values = [t.detach() for t in out]
        self.gradients: list[Tensor] = []
        graded = [t for t in out if t.requires_grad]
        if leaves and graded:
            total = sum((t.float() * _probe(t)).sum() for t in graded)
            grads = torch.autograd.grad(total, leaves, allow_unused=True)
            self.gradients = [
                torch.zeros_like(leaf) if grad is None else grad
                for leaf, grad in zip(leaves, grads, strict=True)
            ]


def _probe(like: Tensor) -> Tensor:
    """Weights that tell the elements apart, the same on every device."""
    steps = torch.arange(like.numel(), dtype=torch.float64)
    return (steps * 0.7).sin().float().view(like.shape).to(like.device)


def on_both(
    module: nn.Module,
    on_cpu: Sequence[Any],
    device: torch.device,
    call: Callable[..., Any] | None = None,
) -> tuple[Pass, Pass]:
    """Run a module on the CPU, then on a device.

    Args:
        module: On the CPU; it is moved there and back.
        on_cpu: Arguments on the CPU.
        device: The other device.
        call: What to call instead of the module.

    Returns:
        What came out on the device and on the CPU.
    """
    run = call or module
    parameters = [p for p in module.parameters() if p.requires_grad]
    expected = Pass(run, moved(list(on_cpu), torch.device('cpu')), parameters)
    arguments = moved(list(on_cpu), device)
    try:
        module.to(device)
        parameters = [p for p in module.parameters() if p.requires_grad]
        found = Pass(run, arguments, parameters)
    finally:
        module.to('cpu')
    return found, expected
