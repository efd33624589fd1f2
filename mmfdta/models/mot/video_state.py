# Copyright (c) mmfdta authors.
"""Models for several videos on the same networks."""

import copy
from typing import Any, TypeVar

from torch import nn

Model = TypeVar('Model', bound=nn.Module)

# Attributes of every module: parts, weights, hooks.
_OF_MODULES = frozenset(vars(nn.Module()))


def model_for_video(model: Model) -> Model:
    """Return a model for another video, on the same networks.

    The returned object has the same class and shares all modules, weights, buffers and
    hooks. Everything else is copied: the tracker, which is then reset, and plain
    attributes. If the tracker is a module, its weights are shared and its buffers
    copied.

    Args:
        model: A tracking model, such as MMDetection's ``ByteTrack``. No other thread
            may use it during the call.

    Raises:
        ValueError: If the model keeps something that cannot be copied.
    """
    other = copy.copy(model)
    vars(other)['_modules'] = dict(model._modules)
    weights = {id(weight): weight for weight in model.parameters()}
    shared: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    shared |= weights | {id(module): module for module in model.modules()}
    tracker = getattr(model, 'tracker', None)
    try:
        if isinstance(tracker, nn.Module):
            for part in [*tracker.modules(), *tracker.buffers()]:
                del shared[id(part)]
            other.tracker = copy.deepcopy(tracker, shared)
        for name, value in vars(model).items():
            if name not in _OF_MODULES:
                vars(other)[name] = copy.deepcopy(value, shared)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f'{type(model).__name__} keeps something that cannot be copied for another '
            f'video: {error}'
        ) from None
    if hasattr(tracker, 'reset'):
        other.tracker.reset()
    return other
