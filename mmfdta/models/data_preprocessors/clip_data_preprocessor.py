# Copyright (c) mmfdta authors.
"""Pads and normalises clips of images and depth maps on the device."""

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmfdta.utils.depth import stack_depth_maps


@MODELS.register_module()
class ClipDataPreprocessor(BaseDataPreprocessor):
    """Make one batch of clips of different sizes.

    Images are uint8. They are padded at the right and bottom to the largest clip of the
    batch and normalised on the device. Without ``pad_value`` padding is exactly 0 after
    normalisation. Depth maps become float without scaling (0..255); those of a clip
    without maps, next to others with maps, are NaN.

    Args:
        mean: Mean of each channel, R, G, B in 0..255.
        std: Standard deviation of each channel.
        pad_size_divisor: Height and width of the batch become multiples of it.
        bgr: Whether the channel order of the network is B, G, R; ``mean`` and ``std``
            then have this order, too.
        pad_value: Padding before normalisation, in 0..255 (YOLOX: 114). None: padding
            is 0 after normalisation.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        pad_size_divisor: int = 1,
        bgr: bool = False,
        pad_value: float | None = None,
    ) -> None:
        super().__init__(non_blocking=True)
        # As in the released code: scale to 0..1 first, then normalise.
        scaled = [torch.tensor(x).view(-1, 1, 1) / 255 for x in (mean, std)]
        self.register_buffer('mean', scaled[0], persistent=False)
        self.register_buffer('std', scaled[1], persistent=False)
        self.pad_size_divisor = pad_size_divisor
        self.bgr = bgr
        self.pad_value = pad_value

    def forward(self, data: dict, training: bool = False) -> dict:
        """Collate and normalise.

        Args:
            data: ``inputs`` with lists ``img`` of (T, 3, H, W) and, optionally,
                ``depth`` of (T, 1, H, W) uint8 tensors, or None where a clip has none,
                and ``data_samples``, a list of :obj:`TrackDataSample`.
            training: Unused; part of MMEngine's interface.

        Returns:
            ``inputs`` with float tensors (B, T, C, H, W), without ``depth`` if no clip
            has any, and ``data_samples``, still on the host, whose frames have
            ``batch_input_shape``.

        Raises:
            ValueError: If clips have different numbers of frames.
        """
        inputs = self.cast_data(data['inputs'])
        lengths = [len(clip) for clip in inputs['img']]
        if len(set(lengths)) > 1:
            raise ValueError(
                f'data_preprocessor: found clips of {lengths} frames in a batch, '
                'expected one length; set batch_size of the data loader to 1, or one '
                'clip_length for all clips'
            )
        # Annotations stay on the host, in copies of the samples: the losses copy all
        # that they need to the device at once.
        samples = data.get('data_samples')
        if samples is not None:
            samples = [sample.to('cpu') for sample in samples]
        height = max(clip.shape[-2] for clip in inputs['img'])
        width = max(clip.shape[-1] for clip in inputs['img'])
        divisor = self.pad_size_divisor
        size = -(-height // divisor) * divisor, -(-width // divisor) * divisor
        batch = {'img': self._stack_images(inputs['img'], size)}
        depth = stack_depth_maps(inputs.get('depth', []), size)
        if depth is not None:
            batch['depth'] = depth
        for clip in samples or ():
            for frame in clip:
                frame.set_metainfo(dict(batch_input_shape=size, pad_shape=size))
        return dict(inputs=batch, data_samples=samples)

    def _stack_images(self, clips: list[Tensor], size: tuple[int, int]) -> Tensor:
        batch = self.mean.new_zeros(len(clips), *clips[0].shape[:2], *size)
        for out, clip in zip(batch, clips, strict=True):
            clip = clip.to(torch.float32, copy=True)
            clip = clip.flip(1) if self.bgr else clip
            clip = clip.div_(255).sub_(self.mean).div_(self.std)
            if self.pad_value is not None:
                out[...] = (self.pad_value / 255 - self.mean) / self.std
            out[..., : clip.shape[-2], : clip.shape[-1]] = clip
        return batch


@MODELS.register_module()
class TrackerDataPreprocessor(ClipDataPreprocessor):
    """A :class:`ClipDataPreprocessor` for MMDetection's own tracker models.

    Their classes (``model.type='ByteTrack'``, ``'OCSORT'``, ``'DeepSORT'``) take a
    tensor, where the models of this project take ``inputs['img']``.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Collate and normalise.

        Args:
            data: See :meth:`ClipDataPreprocessor.forward`.
            training: Unused; part of MMEngine's interface.

        Returns:
            ``inputs`` as a tensor (B, T, 3, H, W), and ``data_samples``.
        """
        batch = super().forward(data, training)
        return dict(batch, inputs=batch['inputs']['img'])
