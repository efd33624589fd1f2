# Copyright (c) mmfdta authors.
"""Embeddings of boxes by a network for re-identification, as in DeepSORT."""

import contextlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.backbones import ResNet
from mmdet.models.reid.fc_module import FcModule
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList
from mmdet.utils import ConfigType
from mmengine.model import BaseModule
from torch import Tensor, nn

# Crops per forward pass of the network.
_MAX_CROPS = 64


@MODELS.register_module()
class ReIDNetwork(BaseModule):
    """MMDetection's network for re-identification, without mmpretrain.

    It computes the same as ``BaseReID`` in mode ``'tensor'``: ResNet, mean over the
    crop, fully connected layers, an embedding that is not normalised. Names of weights
    are the same, so that files of the model zoo fit; parts for training are left out.

    Args:
        depth: Layers of the ResNet.
        base_channels: Channels of its first stage.
        fc_channels: Channels of the fully connected layer.
        out_channels: Channels of the embedding.
        init_cfg: Initialisation config.
    """

    #: Prefixes of weights in files that are only for training.
    training_only = ('head.bn.', 'head.classifier.')

    def __init__(
        self,
        depth: int = 50,
        base_channels: int = 64,
        fc_channels: int = 1024,
        out_channels: int = 128,
        init_cfg: ConfigType | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = ResNet(depth, base_channels=base_channels, out_indices=(3,))
        norm = dict(type='BN1d')
        self.head = nn.Module()
        self.head.fcs = nn.ModuleList(
            [FcModule(self.backbone.feat_dim, fc_channels, norm)]
        )
        self.head.fc_out = nn.Linear(fc_channels, out_channels)
        self.out_channels = out_channels

    def forward(self, crops: Tensor) -> Tensor:
        """Embed crops.

        Args:
            crops: (n, 3, h, w), normalised.

        Returns:
            (n, C).
        """
        (features,) = self.backbone(crops)
        return self.head.fc_out(self.head.fcs[0](features.mean((2, 3))))


@MODELS.register_module()
class CropEmbeddings(nn.Module):
    """Embeds the crop of each box.

    Crops are taken from the detector's input, as in MMDetection's DeepSORT: boxes are
    rounded down to integer pixels, cut at the frame's border, and crops are resized
    without antialiasing.

    Args:
        network: Config of the network, such as ``dict(type='ReIDNetwork')``.
        size: Height and width of its input.
        mean: Mean of each channel in its training, R, G, B in 0..255.
        std: Standard deviation of each channel in its training.
    """

    def __init__(
        self,
        network: ConfigType,
        size: tuple[int, int] = (256, 128),
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
    ) -> None:
        super().__init__()
        self.network = MODELS.build(network)
        self.size = tuple(size)
        scaled = [torch.tensor(x).view(-1, 1, 1) / 255 for x in (mean, std)]
        self.register_buffer('mean', scaled[0], persistent=False)
        self.register_buffer('std', scaled[1], persistent=False)

    def watch(self, detector: nn.Module) -> contextlib.AbstractContextManager:
        """Return a context that does nothing: no feature maps are needed."""
        return contextlib.nullcontext()

    def forward(
        self, _: None, imgs: Tensor, frames: SampleList, preprocessor: nn.Module
    ) -> list[Tensor]:
        """Embed the boxes of frames, without waiting for the device.

        Args:
            _: Not used; the feature maps of :class:`PooledEmbeddings`.
            imgs: Input of the detector, (F, 3, H, W).
            frames: Each with ``pred_instances.bboxes`` (n, 4) on the CPU, xyxy in
                pixels of the original frame, and its meta information.
            preprocessor: The data preprocessor that normalised `imgs`.

        Returns:
            For each frame (n, C) float32, on the device.
        """
        crops = []
        for image, frame in zip(imgs, frames, strict=True):
            image = self._normalise(image, preprocessor)[None]
            for left, top, right, bottom in _whole_boxes(frame, image.shape[-2:]):
                crop = image[..., top:bottom, left:right]
                crops.append(F.interpolate(crop, self.size, mode='bilinear'))
        counts = [len(frame.pred_instances) for frame in frames]
        if not crops:
            found = imgs.new_zeros(0, self.network.out_channels)
        else:
            parts = torch.cat(crops).split(_MAX_CROPS)
            found = torch.cat([self.network(part) for part in parts])
        return list(found.float().split(counts))

    def _normalise(self, image: Tensor, preprocessor: nn.Module) -> Tensor:
        """Convert the detector's input (3, H, W) to the network's, in R, G, B."""
        pixels = image * preprocessor.std + preprocessor.mean
        pixels = pixels.flip(0) if preprocessor.bgr else pixels
        return (pixels - self.mean) / self.std


def _whole_boxes(frame: DetDataSample, shape: tuple[int, int]) -> list[list[int]]:
    """Return boxes in integer pixels of the detector's input, at least one pixel."""
    height, width = frame.get('img_shape', shape)[:2]
    scale_x, scale_y = frame.get('scale_factor', (1, 1))[:2]
    found = []
    for left, top, right, bottom in frame.pred_instances.bboxes.tolist():
        x = int(min(max(left * scale_x, 0), width - 1))
        y = int(min(max(top * scale_y, 0), height - 1))
        x_end = int(min(max(right * scale_x, 1), width))
        y_end = int(min(max(bottom * scale_y, 1), height))
        found.append([x, y, max(x_end, x + 1), max(y_end, y + 1)])
    return found
