# Copyright (c) mmfdta authors.
"""Frames as the graph of a detector gets them become what its network takes."""

import torch
import torch.nn.functional as F
from mmdet.models.data_preprocessors import TrackDataPreprocessor
from torch import Tensor, nn

from mmfdta.models.data_preprocessors import ClipDataPreprocessor


class FrameNormalization(nn.Module):
    """Normalise and pad as a model's data preprocessor does, to the digit.

    Channels come in the order of the network: a graph does not change it.

    Args:
        preprocessor: The model's.

    Attributes:
        divisor: Height and width of frames become multiples of it.
        pad_value: Grey level of the padding, with which frames come; None: padding is 0
            after normalisation, which is made here.

    Raises:
        ValueError: If it is of a kind that is not known here.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessor: nn.Module) -> None:
        super().__init__()
        kind = type(preprocessor)
        self.divisor: int = getattr(preprocessor, 'pad_size_divisor', 1)
        self.pad_value: float | None = None
        if kind is ClipDataPreprocessor:
            # It scales to 0..1 first.
            self.scale: float | None = 255.0
            mean, std = preprocessor.mean, preprocessor.std
            self.pad_value = preprocessor.pad_value
        elif kind is TrackDataPreprocessor:
            self.scale = None
            mean, std = torch.zeros(3), torch.ones(3)
            if not preprocessor._enable_normalize:
                self.pad_value = preprocessor.pad_value
            elif preprocessor.pad_value == 0:
                mean, std = preprocessor.mean, preprocessor.std
            else:
                raise ValueError(
                    'model.data_preprocessor.pad_value: found '
                    f'{preprocessor.pad_value}, expected 0'
                )
        else:
            raise ValueError(
                f'model.data_preprocessor.type: found {kind.__name__}, which cannot be '
                'exported; expected ClipDataPreprocessor or TrackDataPreprocessor'
            )
        self.register_buffer('mean', mean.detach().reshape(-1, 1, 1).clone())
        self.register_buffer('std', std.detach().reshape(-1, 1, 1).clone())

    def forward(
        self, frames: Tensor, sizes: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Normalise.

        Args:
            frames: uint8 (F, 3, H, W).
            sizes: int64 (F, 2), height and width without padding; None if it has no
                padding, or one of `pad_value`.

        Returns:
            float32 (F, 3, H', W'), and ``sizes``, which are made here if frames are
            padded here.
        """
        x = frames.float()
        x = x if self.scale is None else x / self.scale
        x = (x - self.mean) / self.std
        if sizes is not None:
            rows = torch.arange(x.shape[2], device=x.device)
            columns = torch.arange(x.shape[3], device=x.device)
            below = rows < sizes[:, 0, None]
            before = columns < sizes[:, 1, None]
            inside = below[:, None, :, None] & before[:, None, None]
            return x.where(inside, 0.0), sizes
        if self.divisor == 1 or self.pad_value is not None:
            return x, None
        height, width = x.shape[2:]
        missing = -width % self.divisor, -height % self.divisor
        size = torch.stack([torch.full((), n, dtype=torch.int64) for n in x.shape[2:]])
        x = F.pad(x, (0, missing[0], 0, missing[1]))
        return x, size.to(x.device).expand(x.shape[0], 2)
