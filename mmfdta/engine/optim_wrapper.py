# Copyright (c) mmfdta authors.
"""Optimiser wrappers that clip parts of the model separately."""

from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from mmengine.optim import (
    AmpOptimWrapper,
    DefaultOptimWrapperConstructor,
    OptimWrapper,
)
from torch import nn

REST = 'other'


class _GroupClip:
    """Clip the gradient norm of each part of the model on its own.

    Args:
        clip_groups (dict[str, str]): Name of a part and the prefix of its
            parameters' names. What no prefix fits is the part ``other``.
        **kwargs: Arguments of MMEngine's wrapper; ``clip_grad`` holds for every
            part.
    """

    def __init__(
        self, *args, clip_groups: dict[str, str] | None = None, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        self.clip_groups = dict(clip_groups or {})
        self._parts: dict[str, list[nn.Parameter]] = {}

    def assign_parts(self, model: nn.Module) -> None:
        """Sort the model's parameters into the parts to clip.

        Raises:
            ValueError: If a prefix fits no parameter.
        """
        self._parts = {name: [] for name in (*self.clip_groups, REST)}
        for name, param in model.named_parameters():
            for part, prefix in self.clip_groups.items():
                if name.startswith(prefix):
                    break
            else:
                part = REST
            self._parts[part].append(param)
        for part, prefix in self.clip_groups.items():
            if not self._parts[part]:
                raise ValueError(
                    f"optim_wrapper.clip_groups['{part}'] = '{prefix}' fits no "
                    'parameter of the model. Remove it or correct the prefix.'
                )

    def _clip_grad(self) -> None:
        for part, params in self._parts.items():
            params = [p for p in params if p.grad is not None]
            if params:
                norm = self.clip_func(params, **self.clip_grad_kwargs)
                if norm is not None:
                    self.message_hub.update_scalar(f'train/grad_norm_{part}', norm)


@OPTIM_WRAPPERS.register_module()
class GroupClipOptimWrapper(_GroupClip, OptimWrapper):
    """MMEngine's wrapper with :class:`_GroupClip`'s separate clipping."""


@OPTIM_WRAPPERS.register_module()
class GroupClipAmpOptimWrapper(_GroupClip, AmpOptimWrapper):
    """MMEngine's AMP wrapper with separate clipping of unscaled gradients."""


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor with one group per learning rate and decay.

    MMEngine makes one group per parameter as soon as ``paramwise_cfg`` is
    given, some hundred here, which keeps the optimiser from updating many
    parameters at a time. Frozen parameters are left out.
    """

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        """Collect MMEngine's groups and merge those with equal settings."""
        single: list[dict] = []
        super().add_params(single, module, **kwargs)
        if kwargs.get('prefix'):
            params.extend(single)
            return
        merged: dict[tuple[float, float], dict] = {}
        for group in single:
            trainable = [p for p in group['params'] if p.requires_grad]
            if not trainable:
                continue
            lr = group.get('lr', self.base_lr)
            decay = group.get('weight_decay', self.base_wd)
            key = (lr, decay)
            merged.setdefault(key, dict(params=[], lr=lr, weight_decay=decay))
            merged[key]['params'] += trainable
        # The base learning rate first: that is the one MMEngine logs.
        params.extend(sorted(merged.values(), key=lambda g: g['lr'] != self.base_lr))

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the wrapper and tell it the parts to clip."""
        model = getattr(model, 'module', model)
        wrapper = super().__call__(model)
        if isinstance(wrapper, _GroupClip):
            wrapper.assign_parts(model)
        return wrapper


__all__ = [
    'GroupClipAmpOptimWrapper',
    'GroupClipOptimWrapper',
    'GroupedOptimWrapperConstructor',
]
