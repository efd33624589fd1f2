# Copyright (c) mmfdta authors.
"""MMCV operators with or without their compiled extension.

MMCV's wheels hold no compiled operators, and `import mmdet.models` asks for the
extension `mmcv._ext` that holds them. `install_operators` leaves a compiled extension
alone. Where there is none, it puts a stand-in in its place: operators that PyTorch can
express take that path, on any device, and every other operator raises
`OperatorNotCompiledError` when it is called.
"""

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

EXTENSION = 'mmcv._ext'
COMPILE = (
    'pip install setuptools==80.9.0 wheel ninja packaging && pip install '
    '--no-build-isolation --no-deps --force-reinstall --no-cache-dir --no-binary '
)
# CUDA code clamps probabilities at FLT_MIN before a logarithm, in every precision.
FLOAT32_TINY = torch.finfo(torch.float32).tiny
# Pairs of boxes that `nms` compares at once; bounds its memory at tens of megabytes.
MAX_PAIRS = 1 << 21


class OperatorNotCompiledError(NotImplementedError):
    """An MMCV operator was called that needs the compiled extension."""

    def __init__(self, name: str):
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


def install_operators() -> bool:
    """Make `mmcv._ext` importable; call it before anything imports `mmcv.ops`.

    Returns:
        Whether the compiled operators are in use.
    """
    if EXTENSION not in sys.modules:
        reason = 'not found'
        if importlib.util.find_spec(EXTENSION) is not None:
            try:
                importlib.import_module(EXTENSION)
            except ImportError as error:
                # Built for another PyTorch: unusable, but no reason to stop.
                reason = str(error)
                warnings.warn(
                    f'The compiled MMCV operators do not load ({error}); PyTorch '
                    f'paths take their place. Compile them again: {install_command()}',
                    stacklevel=2,
                )
        if EXTENSION not in sys.modules:
            sys.modules[EXTENSION] = make_stand_in(reason)
    return has_compiled_operators()


def has_compiled_operators() -> bool:
    """Tell whether the extension in use is the compiled one."""
    return not isinstance(sys.modules.get(EXTENSION), StandIn)


class StandIn(types.ModuleType):
    """The module that answers for `mmcv._ext` where that is not compiled."""

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
    # `mmcv.utils.check_ops_exist` reads the specification: no loader, no operators.
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
    ):
        setattr(module, operator.__name__, operator)
    module.get_compiler_version = lambda: f'none (operators {reason})'
    module.get_compiling_cuda_version = lambda: f'none (operators {reason})'
    return module


def _overlaps(boxes: Tensor, others: Tensor, offset: int) -> Tensor:
    """Intersection over union of xyxy boxes (N, 4) and (M, 4) as (N, M)."""
    top_left = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    width, height = (bottom_right - top_left + offset).clamp_(min=0).unbind(-1)
    intersection = width * height
    area, other_area = (
        (b[:, 2] - b[:, 0] + offset) * (b[:, 3] - b[:, 1] + offset)
        for b in (boxes, others)
    )
    return intersection / (area[:, None] + other_area[None] - intersection)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression.

    Boxes are taken in blocks of falling score. In a block, "kept if no kept box of
    higher score overlaps" has one solution, which iteration reaches after as many
    rounds as the longest chain of overlaps; then the block suppresses later boxes.

    Args:
        boxes: xyxy (N, 4).
        scores: (N,).
        iou_threshold: A box that overlaps a kept one by more is dropped.
        offset: 1 where widths count pixels inclusively, else 0.

    Returns:
        Indices of the kept boxes by falling score, int64 (K,).
    """
    order = scores.sort(0, descending=True)[1]
    kept = []
    while order.numel():
        size = max(1, min(order.numel(), MAX_PAIRS // order.numel()))
        overlaps = _overlaps(boxes[order[:size]], boxes[order], offset)
        suppresses = overlaps > iou_threshold
        within = suppresses[:, :size].triu(diagonal=1)
        keep = torch.ones_like(within[0])
        while True:
            settled = ~(within & keep[:, None]).any(0)
            if torch.equal(settled, keep):
                break
            keep = settled
        kept.append(order[:size][keep])
        order = order[size:][~suppresses[keep, size:].any(0)]
    return torch.cat(kept) if kept else order


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft non-maximum suppression (Bodla et al. 2017), on the CPU as in MMCV.

    Args:
        boxes: xyxy (N, 4).
        scores: (N,).
        dets: (N, 5); its first rows receive the kept boxes and their new scores.
        iou_threshold: Overlap from which methods 0 and 1 lower a score.
        sigma: Width of the Gaussian of method 2.
        min_score: Boxes whose score falls below are dropped.
        method: 0 drops, 1 lowers linearly, 2 lowers by a Gaussian.
        offset: 1 where widths count pixels inclusively, else 0.

    Returns:
        Indices of the boxes in the rows of `dets`, int64 (K,).
    """
    rows = torch.cat([boxes, scores[:, None]], dim=1)
    index = torch.arange(len(rows))
    done = 0
    while done < len(rows):
        # The first of equal scores wins and trades places with the row in turn. NaN,
        # from two empty boxes, is never greater and never less.
        left, unordered = rows[done:, 4], rows[done:, 4].isnan()
        best = done
        if not unordered[0]:
            best += int(left.masked_fill(unordered, -torch.inf).argmax())
        swap = torch.tensor([best, done])
        rows[[done, best]], index[[done, best]] = rows[swap], index[swap]
        overlaps = _overlaps(rows[done : done + 1, :4], rows[done + 1 :, :4], offset)[0]
        if method == 2:
            weights = torch.exp(-(overlaps * overlaps) / sigma)
        else:
            lowered = 1 - overlaps if method == 1 else torch.zeros_like(overlaps)
            weights = torch.where(overlaps >= iou_threshold, lowered, 1)
        rows[done + 1 :, 4] *= weights
        done += 1
        order = _close_gaps(~(rows[:, 4] < min_score), done)
        rows, index = rows[order], index[order]
    dets[: len(rows)] = rows
    return index


def _close_gaps(survives: Tensor, done: int) -> Tensor:
    """Order of the rows left when each dropped one is replaced from the end.

    Args:
        survives: bool (N,); rows before `done` are settled and always stay.
        done: Number of settled rows.

    Returns:
        Positions of the remaining rows in their new order, int64 (M,).
    """
    survives = survives.clone()
    survives[:done] = True
    count = int(survives.sum())
    order = torch.arange(count)
    holes = ~survives[:count]
    order[holes] = (survives[count:].nonzero()[:, 0] + count).flip(0)
    return order


def _focal_terms(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities p and 1 - p and the mask (N, C) of each row's target class."""
    p = logits.sigmoid()
    is_target = target[:, None] == torch.arange(logits.shape[1], device=logits.device)
    return p, 1 - p, is_target


def _log(probability: Tensor) -> Tensor:
    return probability.clamp(min=FLOAT32_TINY).log()


def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the sigmoid focal loss (Lin et al. 2017) of each logit to `output`.

    Args:
        input: Logits (N, C).
        target: Class of each row, int64 (N,); C or more is background.
        weight: Weight of each class (C,), or empty for none.
        output: Receives the losses (N, C).
        gamma: Focusing exponent.
        alpha: Weight of positives; negatives weigh 1 - alpha.
    """
    p, q, is_target = _focal_terms(input, target)
    positive = -alpha * q.pow(gamma) * _log(p)
    negative = -(1 - alpha) * p.pow(gamma) * _log(q)
    output.copy_(torch.where(is_target, positive, negative))
    if weight.numel():
        output.mul_(weight[target][:, None])


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the derivative of `sigmoid_focal_loss_forward` to `grad_input` (N, C)."""
    p, q, is_target = _focal_terms(input, target)
    positive = -alpha * q.pow(gamma) * (q - gamma * p * _log(p))
    negative = -(1 - alpha) * p.pow(gamma) * (gamma * q * _log(q) - p)
    grad_input.copy_(torch.where(is_target, positive, negative))
    if weight.numel():
        grad_input.mul_(weight[target][:, None])


def _softmax_scale(
    target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Column to read for each row, and what its loss is multiplied by (0: ignored)."""
    column = target.clamp(min=0)
    scale = (target >= 0) * alpha
    return column, scale * weight[column] if weight.numel() else scale


def softmax_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the softmax focal loss of each row to `output`.

    Args:
        input: Probabilities (N, C), already through the softmax.
        target: Class of each row, int64 (N,); a negative one is ignored.
        weight: As in the sigmoid loss; so is `gamma`.
        output: Receives the losses (N,).
        gamma: Focusing exponent.
        alpha: Weight of every row.
    """
    column, scale = _softmax_scale(target, weight, alpha)
    p = input.gather(1, column[:, None])[:, 0]
    output.copy_(-scale * (1 - p).pow(gamma) * _log(p))


def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the derivative with respect to the logits to `grad_input` (N, C).

    `buff` (N,) receives the factor that the classes of a row share.
    """
    column, scale = _softmax_scale(target, weight, alpha)
    p = input.gather(1, column[:, None])[:, 0]
    q = 1 - p
    buff.copy_(scale * (gamma * q.pow(gamma - 1) * p * _log(p) - q.pow(gamma)))
    one_hot = torch.zeros_like(input).scatter_(1, column[:, None], 1)
    grad_input.copy_(buff[:, None] * (one_hot - input))


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention (Zhu et al. 2021), through `grid_sample`.

    Args:
        value: (B, sum of H x W over the levels, heads, channels per head).
        value_spatial_shapes: (H, W) of each level, int64 (levels, 2).
        value_level_start_index: Offset of each level; follows from the shapes.
        sampling_locations: x, y in 0..1, (B, queries, heads, levels, points, 2).
        attention_weights: (B, queries, heads, levels, points).
        im2col_step: Batch that the compiled operator takes at once; not needed here.

    Returns:
        (B, queries, heads x channels per head).
    """
    # Not at the top: this module has to be there before `mmcv.ops` can be imported.
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    # As numbers, so that the levels cost one copy from the device and not one each.
    shapes = value_spatial_shapes.tolist()
    return multi_scale_deformable_attn_pytorch(
        value, shapes, sampling_locations, attention_weights
    )


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of `ms_deform_attn_forward` to the three `grad_` tensors."""
    leaves = [
        tensor.detach().requires_grad_()
        for tensor in (value, sampling_locations, attention_weights)
    ]
    with torch.enable_grad():
        output = ms_deform_attn_forward(
            leaves[0],
            value_spatial_shapes,
            value_level_start_index,
            *leaves[1:],
            im2col_step,
        )
    gradients = torch.autograd.grad(output, leaves, grad_output)
    targets = (grad_value, grad_sampling_loc, grad_attn_weight)
    for target, gradient in zip(targets, gradients, strict=True):
        target.copy_(gradient)
