# Copyright (c) mmfdta authors.
"""Single frames for a plain detector of MMDetection."""

from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class UnpackFrame(BaseTransform):
    """Take the frame out of a packed clip of one frame.

    What comes out is what MMDetection's detectors and ``DetDataPreprocessor``
    take. Stands after ``PackClipInputs``; the sampler's clips have one frame.
    """

    def transform(self, results: dict) -> dict:
        """Unpack.

        Args:
            results (dict): ``inputs`` and ``data_samples`` of a clip.

        Returns:
            dict: ``inputs`` uint8 (3, H, W) RGB and ``data_samples``, a
            DetDataSample.

        Raises:
            ValueError: If the clip has more than one frame.
        """
        clip, sample = results['inputs']['img'], results['data_samples']
        if len(clip) != 1:
            raise ValueError(
                f'UnpackFrame: found a clip of {len(clip)} frames, expected one; '
                'set the length of the sampler to 1'
            )
        return dict(inputs=clip[0], data_samples=sample[0])
