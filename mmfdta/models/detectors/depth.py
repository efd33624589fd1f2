# Copyright (c) mmfdta authors.
"""Spatial Adapter and depth loss of a detector: shared settings and computation."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import OptConfigType
from mmengine.dist import is_distributed
from torch import Tensor, nn

from mmfdta.utils.depth import stack_depth_maps
from mmfdta.utils.shared_sizes import Place, share_number

from .matcher import ClipTargets

ADAPTER = 'model.detector.spatial_adapter'
WITHOUT_ADAPTER = f'is set, but there is no {ADAPTER} to train; set both or neither'
"""Message about a depth loss without the adapter, after its key."""


def share_depth_bins(
    adapter: OptConfigType,
    loss: OptConfigType,
    loss_key: str = 'model.detector.bbox_head.loss_depth',
) -> tuple[dict | None, dict | None]:
    """Set the same depth bins in the configs of the Spatial Adapter and its loss.

    Args:
        adapter: Config of the adapter.
        loss: Config of the depth loss.
        loss_key: Key of that loss in a config.

    Returns:
        The two configs with ``num_bins``, ``depth_min`` and ``depth_max``.

    Raises:
        ValueError: If they have different numbers.
    """
    adapter, loss = (None if part is None else dict(part) for part in (adapter, loss))
    for name, default in (('num_bins', 150), ('depth_min', 1e-3), ('depth_max', 256.0)):
        share_number(
            f'{ADAPTER}.{name}',
            None,
            [Place(ADAPTER, adapter, name), Place(loss_key, loss, name)],
            default=default,
        )
    return adapter, loss


def build_spatial_adapter(
    adapter: dict, embed_dims: int, embed_dims_key: str, num_levels: int
) -> nn.Module:
    """Build the Spatial Adapter of a detector.

    Args:
        adapter: Config of the adapter.
        embed_dims: Channels of the detector's features.
        embed_dims_key: Their key in a config.
        num_levels: Number of levels of the detector's neck; by default the adapter uses
            three of them, or all if there are fewer.

    Returns:
        The adapter.

    Raises:
        ValueError: If it has other channels, or needs levels that the detector does not
            have.
    """
    adapter = dict(adapter)
    first, count = adapter.get('first_level', 0), adapter.get('num_levels')
    if not 0 <= first <= num_levels - (count or 1):
        levels = f' and num_levels={count}' if count else ''
        raise ValueError(
            f'{ADAPTER}: found first_level={first}{levels}, but the detector has '
            f'{num_levels} level(s) of features, 0 to {num_levels - 1}; lower it'
        )
    share_number(
        embed_dims_key,
        embed_dims,
        [Place(ADAPTER, adapter, 'embed_dims')],
        default=embed_dims,
    )
    share_number(
        f'{ADAPTER}.num_levels',
        None,
        [Place(ADAPTER, adapter, 'num_levels')],
        default=min(3, num_levels - first),
    )
    return MODELS.build(adapter)


def stack_depth(frames: SampleList) -> Tensor | None:
    """Stack the depth maps of single frames.

    Args:
        frames: F frames with ``batch_input_shape`` and, as PixelData (1, H, W),
            ``gt_depth``.

    Returns:
        (F, 1, H, W) float, padded with zeros at the right and bottom, NaN in frames
        without a depth map; None if no frame has one.
    """
    maps = [frame.gt_depth.data if 'gt_depth' in frame else None for frame in frames]
    return stack_depth_maps(maps, frames[0].batch_input_shape)


def depth_losses(
    loss: Any,
    parts: Sequence[tuple[Tensor, Tensor | slice]],
    depth_maps: Tensor | None,
    targets: ClipTargets,
    num_boxes: Tensor,
) -> dict[str, Tensor]:
    """Compute the depth loss of F frames, with their boxes as foreground.

    Frames without a map add nothing to the sum over the frames, and their boxes count
    in its divisor, whichever process has them.

    Args:
        loss: A :class:`DepthBinLoss`.
        parts: Depth logits (f, D + 1, h, w), and the indices of their frames.
        depth_maps: (F, 1, H, W) pseudo depth in 0..255, NaN in frames without a map;
            None if no frame has one.
        targets: Ground truth of the F frames.
        num_boxes: Divisor of the sum over the frames, a scalar.

    Returns:
        ``loss_depth``, a scalar. Without maps there is none in a single process, and
        one of several has 0: DistributedDataParallel needs a gradient for every
        parameter, and the other processes may have maps.
    """
    if not parts or (depth_maps is None and not is_distributed()):
        return {}
    if depth_maps is None:
        # In float32 the sum cannot overflow, which would make it NaN.
        zeros = [logits.sum(dtype=torch.float32) * 0 for logits, _ in parts]
        return dict(loss_depth=sum(zeros))
    # Padding becomes empty boxes, which cover nothing.
    boxes = targets.boxes.masked_fill(~targets.valid[..., None], 0)
    losses = []
    for logits, frames in parts:
        size = logits.shape[-2:]
        padding = targets.padding_mask(size)[frames]
        found = boxes[frames]
        frame = torch.arange(len(found), device=boxes.device)
        frame = frame[:, None].expand(found.shape[:2]).flatten()
        cells = loss.box_cells(found.flatten(0, 1), frame, size, padding)
        losses.append(
            loss(logits, depth_maps[frames], cells, frame, padding, num_boxes)
        )
    return dict(loss_depth=sum(losses))
