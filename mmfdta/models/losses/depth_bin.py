# Copyright (c) mmfdta authors.
"""Supervision of the Spatial Adapter's depth bins by pseudo depth maps."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mmfdta.utils.depth import lid_bin_size

# Added to the one-hot target, so that every bin contributes a trace of its term.
_ONE_HOT_EPS = 1e-6
# Elements worked on at a time: few enough to stay near the CPU's caches, enough to
# hide what starting an operation costs.
_BLOCK_ELEMENTS = 2**20


def depth_targets(
    depth_maps: Tensor,
    size: tuple[int, int],
    num_bins: int = 150,
    depth_min: float = 1e-3,
    depth_max: float = 256.0,
    clamp_depth: bool = False,
) -> Tensor:
    """Bin index of every pixel, by linear-increasing discretisation (LID).

    Args:
        depth_maps: (F, 1, H, W) depth in 0..255, any dtype.
        size: (h, w) of the feature map the bins are predicted on; the maps are
            resized to it bilinearly.
        num_bins: D, the number of bins within the range; index D means outside of it.
        depth_min: Lower end of the first bin.
        depth_max: Upper end of the last bin.
        clamp_depth: Depths outside of the range go to the nearest bin of it. By
            default they all get index D, which also depth 0 does.

    Returns:
        (F, h, w) int64 in 0..D.

    Raises:
        ValueError: If the maps do not have exactly one channel.
    """
    if depth_maps.dim() != 4 or depth_maps.size(1) != 1:
        raise ValueError(
            'depth_maps: expected grey maps of shape (F, 1, H, W), found '
            f'{tuple(depth_maps.shape)}; convert colour maps to one channel first'
        )
    depth = F.interpolate(
        depth_maps.float(), size, mode='bilinear', align_corners=False
    )[:, 0]
    if clamp_depth:
        depth = depth.clamp(depth_min, depth_max)
    bin_size = lid_bin_size(num_bins, depth_min, depth_max)
    index = -0.5 + 0.5 * torch.sqrt(1 + 8 * (depth - depth_min) / bin_size)
    inside = (index >= 0) & (index <= num_bins)  # False for NaN, too
    return torch.where(inside, index, num_bins).long()


def foreground_mask(
    cells: Tensor,
    frame_inds: Tensor,
    shape: tuple[int, int, int],
    clip_boxes: bool = False,
) -> Tensor:
    """Pixels that lie in at least one box of their frame.

    Left and top are rounded down, right and bottom up. A negative edge counts from
    the far side, as a negative bound of a Python slice does, which makes most boxes
    that leave the image at the left or top vanish; `clip_boxes` cuts them at the
    border instead.

    Args:
        cells: (n, 4) boxes, xyxy in cells of the feature map.
        frame_inds: (n,) int64, the frame of each box.
        shape: (F, h, w) of the mask.
        clip_boxes: Cut boxes at the border.

    Returns:
        (F, h, w) bool.
    """
    frames, height, width = shape
    edges = torch.cat([cells[:, :2].floor(), cells[:, 2:].ceil()], dim=1).long()
    limit = edges.new_tensor([width, height, width, height])
    if not clip_boxes:
        edges = torch.where(edges < 0, edges + limit, edges)
    left, top, right, bottom = edges.clamp(min=0).minimum(limit).unbind(1)

    # +1 / -1 at the corners of a box; summed up over both axes this counts the
    # boxes over every cell.
    line = width + 1
    base = frame_inds * (height + 1) * line
    corners = torch.cat(
        [
            base + top * line + left,
            base + bottom * line + right,
            base + top * line + right,
            base + bottom * line + left,
        ]
    )
    covers = ((right > left) & (bottom > top)).int()
    steps = torch.cat([covers, covers, -covers, -covers])
    count = steps.new_zeros(frames * (height + 1) * line)
    count.index_add_(0, corners, steps)
    count = count.view(frames, height + 1, line).cumsum(1).cumsum(2)
    return count[:, :-1, :-1] > 0


class _Blocks:
    """Softmax of (F, C, h, w) logits, by blocks of frames and rows of bounded size.

    Logarithms are to the base 2: PyTorch computes powers of 2 on a CPU four times as
    fast as exponentials. Three buffers of one block serve all blocks.

    Args:
        logits: (F, C, h, w), any floating dtype.
    """

    def __init__(self, logits: Tensor) -> None:
        frames, channels, height, width = logits.shape
        line = max(1, channels * width)
        self.logits = logits
        self.rows = min(max(1, _BLOCK_ELEMENTS // line), max(1, height))
        self.frames = 1
        if self.rows == height:
            self.frames = min(
                max(1, _BLOCK_ELEMENTS // (line * height)), max(1, frames)
            )
        dtype = torch.promote_types(logits.dtype, torch.float32)
        size = self.frames * channels * self.rows * width
        self._buffers = logits.new_empty((3, size), dtype=dtype)

    def __iter__(self) -> Iterator[tuple[slice, slice, Tensor, Tensor, Tensor]]:
        """Yield frames, rows, log2 p, p and 1 - p of each block, free to overwrite."""
        frames, _, height, _ = self.logits.shape
        for frame in range(0, frames, self.frames):
            for row in range(0, height, self.rows):
                here = slice(frame, frame + self.frames), slice(row, row + self.rows)
                block = self.logits[here[0], :, here[1]]
                log_p, p, q = self._buffers[:, : block.numel()].view(3, *block.shape)
                torch.mul(block.to(log_p.dtype), 1 / math.log(2), out=log_p)
                log_p -= log_p.amax(1, keepdim=True)
                total = torch.exp2(log_p, out=p).sum(1, keepdim=True)
                p /= total
                log_p -= total.log2_()
                torch.sub(1, p, out=q)
                yield *here, log_p, p, q


class _WeightedSoftmaxFocal(torch.autograd.Function):
    """Weighted sum over pixels of the focal loss over a softmax of the bins.

    With y the one-hot target plus 1e-6 and p the softmax, a pixel's loss is
    `sum_c y_c * f(p_c)` with `f(p) = -alpha (1-p)^gamma log p`; its gradient is
    `y_k u_k - p_k sum_c y_c u_c` with `u_c = p_c f'(p_c)`. Both are computed block
    by block, in float32 at least, so that next to the gradient itself no array of
    the size of the logits exists; the backward pass computes the softmax again,
    which is cheaper than keeping it.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        logits: Tensor,
        target: Tensor,
        weight: Tensor,
        alpha: float,
        gamma: float,
    ) -> Tensor:
        ctx.save_for_backward(logits, target, weight)
        ctx.alpha, ctx.gamma = alpha, gamma
        pixel_loss = torch.empty_like(weight)
        for frames, rows, log_p, _, q in _Blocks(logits):
            term = q.pow_(gamma).mul_(log_p)
            chosen = term.gather(1, target[frames, None, rows])[:, 0]
            pixel_loss[frames, rows] = chosen.add_(term.sum(1), alpha=_ONE_HOT_EPS)
        return -alpha * math.log(2) * pixel_loss.mul_(weight).sum()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_output: Tensor
    ) -> tuple[Tensor | None, ...]:
        logits, target, weight = ctx.saved_tensors
        scale = weight * (grad_output * -ctx.alpha)
        grad = torch.empty_like(logits)
        for frames, rows, log_p, p, q in _Blocks(logits):
            index = target[frames, None, rows]
            block_scale = scale[frames, None, rows]
            power = q if ctx.gamma == 2 else q.pow(ctx.gamma - 1)
            # -u / alpha = q^(gamma-1) (q - gamma p log p)
            factor = -ctx.gamma * math.log(2)
            u = torch.addcmul(q, p, log_p, value=factor, out=log_p).mul_(power)
            chosen = u.gather(1, index)
            total = u.sum(1, keepdim=True).mul_(_ONE_HOT_EPS).add_(chosen)
            total.mul_(block_scale)
            u.mul_(block_scale * _ONE_HOT_EPS)
            u.scatter_add_(1, index, chosen.mul_(block_scale))
            torch.addcmul(u, p, total, value=-1, out=grad[frames, :, rows])
        return grad, None, None, None, None


@MODELS.register_module()
class DepthBinLoss(nn.Module):
    """Focal loss over depth bins, heavier inside of objects (paper, Sec. 3.2).

    Every pixel's bin comes from a pseudo depth map; pixels in any ground-truth box
    weigh `fg_weight`, the others `bg_weight`; frames are averaged over their pixels
    and summed. The defaults are what the published weights were trained with; the
    three switches at the end turn on the clean behaviour.

    Args:
        num_bins: D; the logits have D + 1 channels, the last one is for depths
            outside of the range.
        depth_min: Smallest depth.
        depth_max: Largest depth.
        fg_weight: Weight of the pixels in ground-truth boxes.
        bg_weight: Weight of the others.
        alpha: Factor of the focal loss (of all bins).
        gamma: Exponent of the focal loss, at least 1.
        loss_weight: Factor of the loss.
        mask_padding: Leave padded pixels out of loss and average, and place the
            boxes relative to the unpadded image (released: padding is supervised
            as the largest depth, boxes are stretched over the padded map).
        clip_boxes: Cut boxes at the image border (released: boxes that leave the
            image at the left or top mostly have no foreground).
        clamp_depth: Depths below `depth_min` belong to the first bin (released:
            depth 0 belongs to the last one).

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        num_bins: int = 150,
        depth_min: float = 1e-3,
        depth_max: float = 256.0,
        fg_weight: float = 6.0,
        bg_weight: float = 1.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
        loss_weight: float = 1.0,
        mask_padding: bool = False,
        clip_boxes: bool = False,
        clamp_depth: bool = False,
    ) -> None:
        super().__init__()
        if gamma < 1:
            raise ValueError(f'gamma: found {gamma}, expected at least 1')
        if num_bins < 1 or depth_min >= depth_max:
            raise ValueError(
                f'num_bins={num_bins}, depth_min={depth_min}, depth_max={depth_max}: '
                'expected num_bins >= 1 and depth_min < depth_max'
            )
        self.num_bins = num_bins
        self.depth_min = depth_min
        self.depth_max = depth_max
        self.fg_weight = fg_weight
        self.bg_weight = bg_weight
        self.alpha = alpha
        self.gamma = gamma
        self.loss_weight = loss_weight
        self.mask_padding = mask_padding
        self.clip_boxes = clip_boxes
        self.clamp_depth = clamp_depth

    def box_cells(
        self,
        boxes: Tensor,
        frame_inds: Tensor,
        size: tuple[int, int],
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Boxes in cells of the feature map, as `forward` takes them.

        Args:
            boxes: (n, 4) boxes of all frames, normalised cxcywh.
            frame_inds: (n,) int64, the frame of each box.
            size: (h, w) of the feature map.
            padding_mask: (F, h, w) bool, True on padding; used with `mask_padding`.

        Returns:
            (n, 4) xyxy in cells.
        """
        height, width = size
        if self.mask_padding and padding_mask is not None:
            valid = ~padding_mask
            extent = torch.stack([valid.any(1).sum(1), valid.any(2).sum(1)], dim=1)
            scale = extent.to(boxes).repeat(1, 2)[frame_inds]
        else:
            scale = boxes.new_tensor([width, height, width, height])
        centre, extent = (boxes * scale).split(2, dim=1)
        return torch.cat([centre - 0.5 * extent, centre + 0.5 * extent], dim=1)

    def forward(
        self,
        depth_logits: Tensor,
        depth_maps: Tensor,
        cells: Tensor,
        frame_inds: Tensor,
        padding_mask: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            depth_logits: (F, D + 1, h, w).
            depth_maps: (F, 1, H, W) depth in 0..255.
            cells: (n, 4) ground-truth boxes of all frames, xyxy in cells of the
                feature map (see `box_cells`).
            frame_inds: (n,) int64, the frame of each box.
            padding_mask: (F, h, w) bool, True on padding; used with `mask_padding`.
            avg_factor: What the sum over frames is divided by (in training the
                number of ground-truth boxes); None for no division.

        Returns:
            Scalar.

        Raises:
            ValueError: If shapes or the number of bins do not fit.
        """
        frames, channels, height, width = depth_logits.shape
        if channels != self.num_bins + 1 or len(depth_maps) != frames:
            raise ValueError(
                f'depth logits {tuple(depth_logits.shape)} with depth maps '
                f'{tuple(depth_maps.shape)}: expected {self.num_bins + 1} channels '
                f'(num_bins={self.num_bins} and one for outside) and one map a frame; '
                'set num_bins of the loss and of the SpatialAdapter to the same number'
            )
        with torch.no_grad(), torch.autocast(depth_logits.device.type, enabled=False):
            target = depth_targets(
                depth_maps,
                (height, width),
                self.num_bins,
                self.depth_min,
                self.depth_max,
                self.clamp_depth,
            )
            weight = self._pixel_weight(depth_logits, cells, frame_inds, padding_mask)
        loss = _WeightedSoftmaxFocal.apply(
            depth_logits, target, weight, self.alpha, self.gamma
        )
        if avg_factor is not None:
            loss = loss / avg_factor
        return self.loss_weight * loss

    def _pixel_weight(
        self,
        depth_logits: Tensor,
        cells: Tensor,
        frame_inds: Tensor,
        padding_mask: Tensor | None,
    ) -> Tensor:
        """Weight of every pixel, divided by the number of pixels of its frame."""
        frames, _, height, width = depth_logits.shape
        dtype = torch.promote_types(depth_logits.dtype, torch.float32)
        foreground = foreground_mask(
            cells, frame_inds, (frames, height, width), self.clip_boxes
        )
        weight = torch.where(foreground, self.fg_weight, self.bg_weight).to(dtype)
        if self.mask_padding and padding_mask is not None:
            valid = (~padding_mask).to(dtype)
            return weight * valid / valid.sum((1, 2), keepdim=True).clamp(min=1)
        return weight / (height * width)
