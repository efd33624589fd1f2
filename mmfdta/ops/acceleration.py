# Copyright (c) mmfdta authors.
"""Replaces modules by faster ones, in one explicit call."""

import copy

from mmcv.cnn import Linear, fuse_conv_bn
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention
from mmdet.models.backbones import ResNet
from torch import nn

from .attention import FastOperators, Operators
from .deformable_attention import FastDeformableAttention
from .deformable_attention.module import RecordedDeformableAttention
from .folding import FoldedResNet
from .linear import FastLinear

# Exactly these types: a subclass may compute something else.
DROP_INS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: FastLinear,
    Linear: FastLinear,
    MultiScaleDeformableAttention: FastDeformableAttention,
    Operators: FastOperators,
    ResNet: FoldedResNet,
}


def accelerate(model: nn.Module) -> nn.Module:
    """Replace submodules by faster ones that compute the same.

    The new modules have the parameters, buffers and hooks of the old ones under the
    same names: weights load and save both ways, and optimisers and wrappers that hold
    the parameters continue to work. Classes and functions of PyTorch, MMCV and
    MMDetection stay as they are, and so do other models. A second call changes nothing.

    Quantise before this call: PyTorch does not quantise a replaced layer, and this
    function does not replace a quantised one.

    Args:
        model: Any model, in training or evaluation mode; changed in place.

    Returns:
        The model, or its replacement if its own type is one that is replaced.
    """
    return replace(model, DROP_INS)


def exportable(model: nn.Module) -> nn.Module:
    """Copy a model into a form that can be exported to ONNX.

    Deformable attention stays one operator, which `onnx_translations` writes in ONNX;
    norms of ResNets are folded into the convolutions before them. Without an exporter,
    the copy computes the same as an accelerated model.

    Args:
        model: In evaluation mode; not changed.

    Returns:
        A copy that shares all weights that are not folded.
    """
    shared = (*model.parameters(), *model.buffers())
    copied = copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
    for module in copied.modules():
        if type(module) in (ResNet, FoldedResNet):
            fuse_conv_bn(module)
    accelerated = accelerate(copied)
    return replace(accelerated, {FastDeformableAttention: RecordedDeformableAttention})


def replace(
    model: nn.Module, drop_ins: dict[type[nn.Module], type[nn.Module]]
) -> nn.Module:
    """Replace the modules of some types by subclasses that share their attributes.

    Args:
        model: Changed in place.
        drop_ins: Exact type -> subclass, which must not need more attributes.

    Returns:
        The model, or its replacement.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for module in list(model.modules()):
        kind = drop_ins.get(type(module))
        if kind is not None:
            replaced[module] = object.__new__(kind)
            replaced[module].__dict__.update(module.__dict__)
    for parent in list(model.modules()):
        # Old and new modules share this dictionary.
        for name, child in parent._modules.items():
            if child in replaced:
                parent._modules[name] = replaced[child]
    return replaced.get(model, model)
