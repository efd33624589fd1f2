# Copyright (c) mmfdta authors.
"""Supervision of the Spatial Adapter's depth bins with pseudo depth maps."""

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmfdta.ops.softmax_focal_loss import softmax_focal_loss
from mmfdta.utils.depth import lid_bin_size


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
        num_bins: D, the number of bins within the range; the Spatial Adapter reads
            index D as ``depth_max``.
        depth_min: Lower end of the first bin.
        depth_max: Upper end of the last bin.
        clamp_depth: Depths below the range get index 0. By default they get index D,
            as those above it always do; depth 0 is among them.

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
    the far side, like a negative bound of a Python slice. This makes most boxes that
    leave the image at the left or top vanish; `clip_boxes` cuts them at the border
    instead.

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

    def within(edges: Tensor, limit: int) -> Tensor:
        if not clip_boxes:
            edges = torch.where(edges < 0, edges + limit, edges)
        return edges.clamp(0, limit)

    left, right = within(edges[:, 0::2], width).unbind(1)
    top, bottom = within(edges[:, 1::2], height).unbind(1)

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


@MODELS.register_module()
class DepthBinLoss(nn.Module):
    """Focal loss over depth bins, weighted higher inside objects (paper, Sec. 3.2).

    With d the bin probabilities and D the bin of the pseudo depth map in each of the
    N pixels, ``L_depth = 1/N sum_ij w_ij FL(d_ij, D_ij)`` in every frame: pixels in any
    ground-truth box weigh `fg_weight`, the others `bg_weight`. Frames are summed. The
    published weights were trained with the defaults; the three switches at the end
    turn off quirks of the released code.

    Args:
        num_bins: D; the logits have D + 1 channels, the last one is for ``depth_max``
            and more, and for less than ``depth_min`` without ``clamp_depth``.
        depth_min: Smallest depth.
        depth_max: Largest depth.
        fg_weight: Weight of the pixels in ground-truth boxes.
        bg_weight: Weight of the others.
        alpha: Factor of the focal loss, the same for all bins.
        gamma: Exponent of the focal loss, at least 1.
        loss_weight: Factor of the loss.
        mask_padding: Leave padded pixels out of loss and average, and place the
            boxes relative to the unpadded image (released: padding is supervised
            as the largest depth, boxes are stretched over the padded map).
        clip_boxes: Cut boxes at the image border (released: most boxes that leave the
            image at the left or top have no foreground).
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
            width, height = (
                valid.any(axis).sum(1).to(boxes)[frame_inds, None] for axis in (1, 2)
            )
        x, y = boxes[:, 0::2] * width, boxes[:, 1::2] * height
        centre, extent = torch.stack([x, y], dim=2).unbind(1)
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
            depth_maps: (F, 1, H, W) depth in 0..255. A frame of NaN alone has no map,
                and no loss.
            cells: (n, 4) ground-truth boxes of all frames, xyxy in cells of the
                feature map (see `box_cells`).
            frame_inds: (n,) int64, the frame of each box.
            padding_mask: (F, h, w) bool, True on padding; used with `mask_padding`.
            avg_factor: Divisor of the sum over frames (in training the number of
                ground-truth boxes); None divides by nothing.

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
                f'(num_bins={self.num_bins} and one for outside) and one map per '
                'frame; set num_bins of the loss and of the SpatialAdapter to the same '
                'number'
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
            without_map = depth_maps.isnan().flatten(1).all(1)
            weight = weight.masked_fill(without_map[:, None, None], 0)
        loss = softmax_focal_loss(depth_logits, target, weight, self.alpha, self.gamma)
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
