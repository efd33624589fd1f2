# Copyright (c) mmfdta authors.
"""Embeddings for a detector that has none: means of its feature maps in each box."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from mmfdta.utils.transfers import to_device

Maps = list[Tensor]
"""Outputs of layers for F frames, (F, C, h, w) each."""


@MODELS.register_module()
class PooledEmbeddings(nn.Module):
    """Embeds a box by the means of feature maps in its horizontal stripes.

    This is RoI align (He et al. 2017) with one cell per stripe, of maps that the
    detector computes anyway. Channels are first normalised over the frame: a detector's
    maps mostly represent what all people have in common, so that otherwise all pairs of
    boxes would be similar. Early layers of a backbone still distinguish clothes; the
    levels of a neck hardly do (docs/add_a_tracker.md has figures). Nothing is trained.

    Args:
        layers: Names of modules in the detector whose maps are read, such as
            ``'backbone.stage1'`` of YOLOX or ``'backbone.layer1'`` of a ResNet.
            Embeddings of several modules are concatenated.
        stripes: Number of stripes of a box, from top to bottom.

    Raises:
        ValueError: If there is no layer or no stripe.
    """

    # Number of samples in a stripe along y and x.
    samples = (2, 6)

    def __init__(
        self, layers: Sequence[str] = ('backbone.stage1',), stripes: int = 6
    ) -> None:
        super().__init__()
        self.layers = [layers] if isinstance(layers, str) else list(layers)
        self.stripes = stripes
        if not self.layers:
            raise ValueError(
                "embeddings.layers: found none, expected such as ['backbone.stage1']"
            )
        if stripes < 1:
            raise ValueError(f'embeddings.stripes: found {stripes}, expected 1 or more')

    @contextmanager
    def watch(self, detector: nn.Module) -> Iterator[Maps]:
        """Record the outputs of the layers while the detector runs in a ``with`` block.

        Args:
            detector: The detector.

        Yields:
            A list, to which the maps are added at the end, in the order of `layers`.

        Raises:
            ValueError: If it has no such layer, or the output of one is not a map.
        """
        found: dict[str, Any] = {}
        with ExitStack() as stack:
            for name in self.layers:
                layer = _find_layer(detector, name)

                def keep(_: Any, __: Any, output: Any, name: str = name) -> None:
                    found[name] = output

                stack.callback(layer.register_forward_hook(keep).remove)
            maps: Maps = []
            yield maps
        for name in self.layers:
            output = found.get(name)
            if not isinstance(output, Tensor) or output.ndim != 4:
                kind = type(output).__name__
                shape = tuple(output.shape) if isinstance(output, Tensor) else ''
                raise ValueError(
                    f'embeddings.layers: {name} gave {kind}{shape}, expected a tensor '
                    '(F, C, h, w); name a layer of the backbone'
                )
            maps.append(output)

    def forward(
        self, maps: Maps, imgs: Tensor, frames: SampleList, preprocessor: Any = None
    ) -> list[Tensor]:
        """Embed the boxes of frames, without waiting for the device.

        Args:
            maps: Maps of the layers, see :meth:`watch`.
            imgs: Input of the detector, (F, 3, H, W).
            frames: Each with ``pred_instances.bboxes`` (n, 4) on the CPU, xyxy in
                pixels of the original frame, and its meta information.
            preprocessor: Not used; for :class:`CropEmbeddings`.

        Returns:
            For each frame (n, C) float32 of length 1, on the device of the maps. C is
            the sum of the channels of all maps, times `stripes`.
        """
        shape = tuple(imgs.shape[-2:])
        grids = to_device(
            [self._sample_points(frame, shape) for frame in frames], maps[0].device
        )
        found = []
        with torch.autocast(imgs.device.type, enabled=False):
            for number, (frame, grid) in enumerate(zip(frames, grids, strict=True)):
                size = _size(frame, shape)
                inside = size[0] / shape[0], size[1] / shape[1]
                parts = [self._pool(m[number].float(), inside, grid) for m in maps]
                found.append(F.normalize(torch.cat(parts, dim=1), dim=1))
        return found

    def _sample_points(self, frame: DetDataSample, shape: tuple[int, int]) -> Tensor:
        """Return sample points, x and y in -1..1 of the padded frame.

        They are (n x rows, columns, 2). Boxes are cut at the border of the frame.
        """
        boxes = frame.pred_instances.bboxes.float()
        scale_x, scale_y = frame.get('scale_factor', (1, 1))[:2]
        bottom, right = _size(frame, shape)
        x1, x2 = (boxes[:, [0, 2]] * scale_x).clamp(0, right).unbind(1)
        y1, y2 = (boxes[:, [1, 3]] * scale_y).clamp(0, bottom).unbind(1)
        rows, columns = self.stripes * self.samples[0], self.samples[1]
        y = y1[:, None] + (y2 - y1)[:, None] * ((torch.arange(rows) + 0.5) / rows)
        x = x1[:, None] + (x2 - x1)[:, None] * ((torch.arange(columns) + 0.5) / columns)
        size = len(boxes), rows, columns
        x, y = x[:, None].expand(size), y[:, :, None].expand(size)
        grid = torch.stack([2 * x / shape[1] - 1, 2 * y / shape[0] - 1], dim=-1)
        return grid.flatten(0, 1)

    def _pool(self, level: Tensor, inside: tuple[float, float], grid: Tensor) -> Tensor:
        """Return the means of the stripes of n boxes, (n, C x stripes) of length 1.

        Args:
            level: Map of a frame, (C, h, w).
            inside: Height and width of the frame, as shares of the padded one.
            grid: Result of `_sample_points`.
        """
        channels, height, width = level.shape
        if not len(grid):
            return level.new_zeros(0, channels * self.stripes)
        rows, columns = math.ceil(inside[0] * height), math.ceil(inside[1] * width)
        seen = level[:, :rows, :columns].flatten(1)
        deviation, mean = torch.std_mean(seen, dim=1, correction=0)
        values = F.grid_sample(
            level[None], grid[None], padding_mode='border', align_corners=False
        )
        stripes = values.view(channels, -1, self.stripes, math.prod(self.samples))
        means = stripes.mean(-1) - mean[:, None, None]
        means = means / deviation.clamp(min=1e-6)[:, None, None]
        return F.normalize(means.permute(1, 2, 0).flatten(1), dim=1)


def _size(frame: DetDataSample, padded: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of a frame in the detector's input, without padding."""
    return tuple(frame.get('img_shape', padded)[:2])


def _find_layer(detector: nn.Module, name: str) -> nn.Module:
    try:
        return detector.get_submodule(name)
    except AttributeError:
        parent, _, _ = name.rpartition('.')
        known = dict(detector.named_modules())
        near = known.get(parent, detector)
        names = ', '.join(
            f'{parent}.{child}' if parent in known and parent else child
            for child, _ in near.named_children()
        )
        raise ValueError(
            f'embeddings.layers: found {name}, which {type(detector).__name__} does '
            f'not have; it has {names}'
        ) from None
