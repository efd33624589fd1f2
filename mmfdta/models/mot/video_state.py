# Copyright (c) mmfdta authors.
"""What a model keeps of a video, apart from its networks."""

import copy
from typing import Any, TypeVar

from torch import nn

Model = TypeVar('Model', bound=nn.Module)

# What every module has: parts, weights, hooks.
_OF_MODULES = frozenset(vars(nn.Module()))


def model_for_video(model: Model) -> Model:
    """Return a model for another video, on the same networks.

    It is an object of the same class, whatever that is, which shares all modules,
    weights, buffers and hooks. Everything else that the model keeps is copied: its
    tracker, which is then reset, and plain attributes. The weights in a tracker that is
    a module are shared, and its buffers are copied.

    Args:
        model: A tracker, such as MMDetection's ``ByteTrack``. No other thread may use
            it meanwhile.

    Raises:
        ValueError: If it keeps something that cannot be copied.
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
