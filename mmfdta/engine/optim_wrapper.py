# Copyright (c) mmfdta authors.
"""Optimiser wrappers that clip parts of the model separately, and a warm-up."""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, PARAM_SCHEDULERS
from mmengine.logging import print_log
from mmengine.optim import (
    AmpOptimWrapper,
    DefaultOptimWrapperConstructor,
    LinearLR,
    OptimWrapper,
)
from torch import Tensor, nn
from torch.optim import Optimizer

REST = 'other'
_MULTIPLIERS = ('lr_mult', 'decay_mult')
# Settings of PyTorch's optimisers that choose the implementation, not the result.
_IMPLEMENTATION = ('fused', 'foreach', 'capturable')


class _GroupClip(OptimWrapper):
    """Clip the gradient norm of each part of the model separately.

    A module with ``may_rest = True``, such as :class:`IdentityAdapter`, gets no step
    while all its gradients are zero. DistributedDataParallel needs a gradient for every
    parameter, but a step without any loss of the module would decay its weights and
    count in the optimiser's state. Instead the module is treated as PyTorch's
    optimisers treat parameters without a gradient: weights and state stay as they are.
    Gradients are examined when all processes and all accumulated iterations have added
    theirs, so that one of them with a loss is enough, and all processes make the same
    decision. For this the host waits for a GPU once per step, during the backward pass.

    Args:
        clip_groups: For the name of each part, the prefix of its parameters' names, or
            a dict of ``prefix`` and ``max_norm``. If ``max_norm`` is None, the norm is
            only logged. If several prefixes fit a name, the longest is used; parameters
            that fit none are the part ``other``.
        **kwargs: Arguments of MMEngine's wrapper; ``clip_grad`` applies to every part.
            Without it nothing is clipped or logged.

    Raises:
        ValueError: If a part is neither a prefix nor such a dict, or has a ``max_norm``
            although ``clip_grad`` clips no norms.
    """

    def __init__(
        self,
        *args: Any,
        clip_groups: dict[str, str | dict] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.clip_groups = {
            part: dict(prefix=value) if isinstance(value, str) else dict(value)
            for part, value in (clip_groups or {}).items()
        }
        for part, value in self.clip_groups.items():
            if 'prefix' not in value or value.keys() - {'prefix', 'max_norm'}:
                raise ValueError(
                    f"optim_wrapper.clip_groups['{part}']: found {value}, expected the "
                    'prefix of parameters, or dict(prefix=..., max_norm=...)'
                )
            if value.get('max_norm') is not None and not self._clips_norms:
                raise ValueError(
                    f"optim_wrapper.clip_groups['{part}']: found max_norm = "
                    f'{value["max_norm"]}, but optim_wrapper.clip_grad clips no norms; '
                    'set clip_grad=dict(max_norm=...) for the other parts, inf to '
                    'leave them as they are'
                )
        self._parts: dict[str, list[nn.Parameter]] = {}
        self._resting: list[list[nn.Parameter]] = []

    @property
    def _clips_norms(self) -> bool:
        return 'max_norm' in (self.clip_grad_kwargs or {})

    def assign_parts(self, model: nn.Module) -> None:
        """Assign the model's parameters to the parts, and find modules that may rest.

        Raises:
            ValueError: If a prefix fits no parameter.
        """
        prefixes = {part: value['prefix'] for part, value in self.clip_groups.items()}
        self._parts = {name: [] for name in (*prefixes, REST)}
        # The order of the config must not matter: a dumped config has sorted keys.
        by_length = sorted(prefixes, key=lambda part: -len(prefixes[part]))
        for name, param in model.named_parameters():
            fits = (part for part in by_length if name.startswith(prefixes[part]))
            self._parts[next(fits, REST)].append(param)
        for part, prefix in prefixes.items():
            if not self._parts[part]:
                raise ValueError(
                    f"optim_wrapper.clip_groups['{part}'] = '{prefix}' fits no "
                    'parameter of the model. Remove it or correct the prefix.'
                )
        self._resting = [
            list(module.parameters())
            for module in model.modules()
            if getattr(module, 'may_rest', False)
        ]

    def initialize_count_status(
        self, model: nn.Module, init_counts: int, max_counts: int
    ) -> None:
        """Start a training, also with a wrapper that another constructor has built."""
        if not self._parts:
            self.assign_parts(getattr(model, 'module', model))
        super().initialize_count_status(model, init_counts, max_counts)

    def step(self, **kwargs: Any) -> None:
        """Clip and update, except the modules that rest."""
        for params in self._resting:
            if not _any_nonzero(p.grad for p in params if p.grad is not None):
                for param in params:
                    param.grad = None
        super().step(**kwargs)

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a state, without the steps that version 0.1 counted for resting modules.

        The optimiser keeps the implementation that this run's config chooses, not that
        of the run which saved the state.
        """
        own = self.optimizer.param_groups
        saved = [
            group | {name: mine[name] for name in _IMPLEMENTATION if name in mine}
            for group, mine in zip(state_dict['param_groups'], own, strict=False)
        ]
        saved += state_dict['param_groups'][len(saved) :]
        super().load_state_dict({**state_dict, 'param_groups': saved})
        self._lay_out_states()
        for params in self._resting:
            states = [self.optimizer.state.get(p, {}) for p in params]
            moments = (
                value
                for state in states
                for name, value in state.items()
                if name != 'step' and isinstance(value, Tensor)
            )
            if not _any_nonzero(moments):
                for param in params:
                    self.optimizer.state.pop(param, None)

    def _lay_out_states(self) -> None:
        """Move loaded states to the device and memory layout that a step needs.

        A fused step reads elements in the order of memory and ignores strides; any
        other step would wait for the device to read the number of steps.
        """
        for group in self.optimizer.param_groups:
            on_device = group.get('fused') or group.get('capturable')
            for param in group['params']:
                state = self.optimizer.state.get(param, {})
                for name, value in state.items():
                    if not isinstance(value, Tensor):
                        continue
                    if name == 'step':
                        state[name] = value if on_device else value.cpu()
                    elif (
                        value.shape == param.shape and value.stride() != param.stride()
                    ):
                        state[name] = torch.empty_like(param).copy_(value)

    def get_lr(self) -> dict[str, list[float]]:
        """Return MMEngine's learning rates, and ``<group>_lr`` for each named group."""
        rates = super().get_lr()
        for group in self.optimizer.param_groups:
            if 'name' in group:
                rates[f'{group["name"]}_lr'] = [group['lr']]
        return rates

    def _clip_grad(self) -> None:
        for part, members in self._parts.items():
            if not any(p.requires_grad for p in members):
                continue
            params = [p for p in members if p.grad is not None]
            settings = dict(self.clip_grad_kwargs)
            if 'max_norm' in self.clip_groups.get(part, {}):
                if not self._clips_norms:
                    continue
                limit = self.clip_groups[part]['max_norm']
                settings['max_norm'] = torch.inf if limit is None else limit
            norm = self.clip_func(params, **settings)
            if norm is not None:
                self.message_hub.update_scalar(f'train/grad_norm_{part}', norm)


def _any_nonzero(tensors: Iterable[Tensor]) -> bool:
    """Return whether any element is not zero, with one wait for the device."""
    found = [tensor.any() for tensor in tensors]
    return bool(found) and bool(torch.stack(found).any())


@OPTIM_WRAPPERS.register_module()
class GroupClipOptimWrapper(_GroupClip):
    """MMEngine's wrapper with :class:`_GroupClip`'s separate clipping."""


@OPTIM_WRAPPERS.register_module()
class GroupClipAmpOptimWrapper(_GroupClip, AmpOptimWrapper):
    """MMEngine's AMP wrapper with separate clipping of unscaled gradients."""


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """One optimiser group per learning rate.

    MMEngine's own constructor makes one group per parameter if ``paramwise_cfg`` is
    given, some hundred here. The optimiser then cannot update many parameters at a
    time, and three lines are logged for each. This one supports
    ``paramwise_cfg.custom_keys`` with ``lr_mult`` and ``decay_mult``. The keys are
    parts of parameter names; if several fit a name, the longest is used, as in
    MMEngine. Frozen parameters are left out; norms and biases decay like all others. A
    group has the name of its keys, that of all other parameters is ``other``, and its
    learning rate is logged under that name. ``optimizer.fused`` is ignored, with a
    warning, if the optimiser has no fused step.

    Raises:
        ValueError: If ``paramwise_cfg`` has any other key, or a key fits no parameter.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the wrapper and assign the parts to clip."""
        model = getattr(model, 'module', model)
        try:
            wrapper = super().__call__(model)
        except TypeError as error:
            if not self.optimizer_cfg.get('fused') or 'fused' not in str(error):
                raise
            del self.optimizer_cfg['fused']
            wrapper = super().__call__(model)
            kind = type(wrapper.optimizer).__name__
            print_log(
                f'optim_wrapper.optimizer.fused = True is ignored: {kind} has no '
                'fused step',
                'current',
                logging.WARNING,
            )
        if isinstance(wrapper, _GroupClip):
            wrapper.assign_parts(model)
        return wrapper

    def add_params(self, params: list[dict], module: nn.Module, **_: Any) -> None:
        """Add the groups to ``params``; the base rate, which is logged, comes first."""
        keys = dict(self.paramwise_cfg.get('custom_keys', {}))
        unknown = {*self.paramwise_cfg} - {'custom_keys'}
        unknown |= {k for mults in keys.values() for k in mults} - {*_MULTIPLIERS}
        if unknown:
            raise ValueError(
                f'optim_wrapper.paramwise_cfg: {sorted(unknown)} is not supported by '
                f'{type(self).__name__}, which takes custom_keys with lr_mult and '
                "decay_mult. Use MMEngine's DefaultOptimWrapperConstructor for others."
            )
        # The order of the config must not matter: a dumped config has sorted keys.
        by_length = sorted(keys, key=lambda key: (-len(key), key))
        groups: dict[tuple[float, float], list[nn.Parameter]] = {(1.0, 1.0): []}
        titles: dict[tuple[float, float], list[str]] = {(1.0, 1.0): [REST]}
        fits = dict.fromkeys(keys, 0)
        for name, param in module.named_parameters():
            key = next((key for key in by_length if key in name), None)
            if key is not None:
                fits[key] += 1
            if not param.requires_grad:
                continue
            mults = keys.get(key, {})
            setting = mults.get('lr_mult', 1.0), mults.get('decay_mult', 1.0)
            groups.setdefault(setting, []).append(param)
            if key is not None and key not in titles.setdefault(setting, []):
                titles[setting].append(key)
        for key, count in fits.items():
            if not count:
                raise ValueError(
                    f"optim_wrapper.paramwise_cfg.custom_keys['{key}'] fits no "
                    'parameter of the model. Remove it or correct it.'
                )
        for (lr_mult, decay_mult), members in groups.items():
            if members:
                title = '-'.join(titles[lr_mult, decay_mult])
                group = dict(params=members, lr=self.base_lr * lr_mult, name=title)
                if self.base_wd is not None:
                    group['weight_decay'] = self.base_wd * decay_mult
                params.append(group)


@PARAM_SCHEDULERS.register_module()
class IterWarmupLR(LinearLR):
    """Raise the learning rate linearly, iteration i of n runs at (i + 1) / n.

    ``end`` counts epochs with ``by_epoch=True, convert_to_iter_based=True`` and
    iterations otherwise.

    Args:
        optimizer: The optimiser or its wrapper.
        begin: First step of the warm-up.
        end: Step after the last one.
        **kwargs: Arguments of MMEngine's ``LinearLR``.

    Raises:
        ValueError: If it would end before it begins.
    """

    def __init__(
        self,
        optimizer: Optimizer | OptimWrapper,
        begin: int = 0,
        *,
        end: int,
        **kwargs: Any,
    ) -> None:
        if end <= begin:
            raise ValueError(
                f'IterWarmupLR: found begin={begin} and end={end}, expected a later '
                'end; leave it out of param_scheduler to train without a warm-up'
            )
        super().__init__(
            optimizer, start_factor=1 / (end - begin), begin=begin, end=end, **kwargs
        )
