# Copyright (c) mmfdta authors.
"""Clips as MMDetection's trackers take them."""

from mmdet.registry import MODELS
from torch import Tensor

from .clip_data_preprocessor import ClipDataPreprocessor


@MODELS.register_module()
class TrackerDataPreprocessor(ClipDataPreprocessor):
    """Turns this project's clips into one tensor.

    MMDetection's ``ByteTrack``, ``OCSORT`` and ``DeepSORT`` take a tensor where
    FDTA takes ``inputs['img']``. The pixels are the same, bit for bit.

    Args:
        bgr (bool): Whether the network wants blue first; ``mean`` and ``std``
            are then those of B, G, R.
        pad_value (float, optional): What the padding is before normalisation,
            in 0..255 (YOLOX: 114). None: it is 0 after normalisation.
        **kwargs: See :class:`ClipDataPreprocessor`.
    """

    def __init__(
        self, bgr: bool = False, pad_value: float | None = None, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.bgr = bgr
        self.pad_value = pad_value

    def forward(self, data: dict, training: bool = False) -> dict:
        """Collate and normalise.

        Args:
            data (dict): See :meth:`ClipDataPreprocessor.forward`.
            training (bool): Unused; part of MMEngine's interface.

        Returns:
            dict: ``inputs`` as a tensor (B, T, 3, H, W), and ``data_samples``.
        """
        clips = data['inputs']['img']
        if self.bgr:
            clips = [clip.flip(1) for clip in clips]
        batch = super().forward(dict(data, inputs=dict(img=clips)), training)
        images = batch['inputs']['img']
        if self.pad_value is not None:
            self._fill_padding(images, [clip.shape[-2:] for clip in clips])
        return dict(batch, inputs=images)

    def _fill_padding(self, images: Tensor, sizes: list[tuple[int, int]]) -> None:
        padding = (self.pad_value / 255 - self.mean) / self.std
        for image, (height, width) in zip(images, sizes, strict=True):
            image[..., height:, :] = padding
            image[..., width:] = padding
