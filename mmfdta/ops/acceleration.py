# Copyright (c) mmfdta authors.
"""The one call that switches the faster ways on."""

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

    The new modules hold the parameters, buffers and hooks of the old ones under the
    same names: weights load and save both ways, and optimisers and wrappers that know
    the parameters go on working. Classes and functions of PyTorch, MMCV and
    MMDetection stay as they are, and so do other models. A second call changes nothing.

    Quantise before: a replaced layer is none that PyTorch would quantise, and a
    quantised one is left alone.

    Args:
        model: Any model, in training or evaluation mode; changed in place.

    Returns:
        The model, or its replacement if it is itself one of the replaced kinds.
    """
    return replace(model, DROP_INS)


def exportable(model: nn.Module) -> nn.Module:
    """Make a form of a model of which an exporter records what it can write.

    Deformable attention stays one operator, of which `onnx_translations` has the form
    in ONNX; the convolutions of ResNets hold the norms after them. Run without an
    exporter, it computes as an accelerated model does.

    Args:
        model: In evaluation mode; it stays as it is.

    Returns:
        A copy that shares the other weights.
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
    """Replace the modules of some types by subclasses that share all they hold.

    Args:
        model: Changed in place.
        drop_ins: Exact type -> subclass, which needs no state of its own.

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
