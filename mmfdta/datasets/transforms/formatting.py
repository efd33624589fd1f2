# Copyright (c) mmfdta authors.
"""Packs a clip for a tracker, or its only frame for a detector."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.structures import BaseDataElement, InstanceData, PixelData

_TARGETS = tuple(
    f'{side}_{kind}'
    for side in ('trajectory', 'unknown')
    for kind in ('id_labels', 'id_masks', 'ann_idxs')
)
_INSTANCE_FIELDS = {
    'gt_bboxes': 'bboxes',
    'gt_labels': 'labels',
    'gt_ids': 'instances_ids',
    'gt_scores': 'scores',
    'gt_xywh': 'xywh',
    'gt_consider': 'consider',
    'gt_categories': 'categories',
    'gt_visibilities': 'visibilities',
}


@TRANSFORMS.register_module()
class PackClipInputs(BaseTransform):
    """Pack a clip.

    ``inputs`` holds ``img`` uint8 (T, 3, H, W) RGB and, if loaded, ``depth``
    uint8 (T, 1, H, W). They stay uint8 and are views of channels-last arrays:
    the data preprocessor converts them on the device. In clips with ID targets,
    ``depth`` is None if there are no maps, so that clips with and without maps fit
    into one batch.

    ``data_samples`` is a TrackDataSample with T DetDataSamples. Each has
    ``gt_instances`` (where annotated): ``bboxes`` float32 (M, 4) xyxy pixels of
    the augmented image, ``labels``, ``instances_ids`` int64 (M,); ``scores`` float32
    (M,) if detections were simulated; in test mode also, as in the text file, ``xywh``
    float64 (M, 4), ``consider`` (column 7), ``visibilities`` float64 (M,) and
    ``categories`` int64 (M,). Training clips have
    ``id_targets``, a list of one element with the tensors (G, T, N) of
    :class:`IDTargets`.
    """

    def transform(self, results: dict) -> dict:
        """Return ``inputs`` and ``data_samples``."""
        inputs: dict[str, torch.Tensor | None] = dict(
            img=torch.from_numpy(results['imgs']).permute(0, 3, 1, 2)
        )
        if 'depths' in results:
            inputs['depth'] = torch.from_numpy(results['depths']).permute(0, 3, 1, 2)
        sample = TrackDataSample()
        sample.video_data_samples = self._pack_frames(results)
        if 'id_targets' in results:
            targets = results['id_targets']
            element = BaseDataElement(
                **{name: torch.from_numpy(getattr(targets, name)) for name in _TARGETS}
            )
            # A list, as TrackDataSample moves nothing else to a device.
            sample.id_targets = [element]
            inputs.setdefault('depth', None)
        return dict(inputs=inputs, data_samples=sample)

    def _pack_frames(self, results: dict) -> list[DetDataSample]:
        shared = dict(
            ori_shape=results['ori_shape'],
            img_shape=results['img_shape'],
            scale_factor=results['geometry'].scale_factor,
            video_id=results['video_id'],
            video_length=results['video_length'],
            sequence=results['sequence'],
            dataset=results['dataset'],
        )
        frames = [
            DetDataSample(
                metainfo=dict(
                    shared, img_path=path, img_id=int(img_id), frame_id=int(frame_id)
                )
            )
            for path, img_id, frame_id in zip(
                results['img_paths'],
                results['img_ids'],
                results['frame_ids'],
                strict=True,
            )
        ]
        if 'gt_bboxes' in results:
            cuts = np.searchsorted(results['gt_frames'], np.arange(1, len(frames)))
            parts = {
                field: [torch.from_numpy(p) for p in np.split(results[key], cuts)]
                for key, field in _INSTANCE_FIELDS.items()
                if key in results
            }
            for t, frame in enumerate(frames):
                frame.gt_instances = InstanceData(
                    **{field: part[t] for field, part in parts.items()}
                )
        return frames


@TRANSFORMS.register_module()
class UnpackFrame(BaseTransform):
    """Take the frame out of a packed clip of one frame.

    What comes out is what MMDetection's detectors and ``DetDataPreprocessor``
    take. Stands after ``PackClipInputs``; the sampler's clips have one frame. A depth
    map, if it was loaded, is the sample's ``gt_depth``, a PixelData with uint8
    (1, H, W), on which a :class:`FDTADetector` trains its Spatial Adapter.

    Args:
        bgr: Give B, G, R, as MMDetection's own loading does, for a
            ``DetDataPreprocessor`` with ``bgr_to_rgb=True``.
    """

    def __init__(self, bgr: bool = False) -> None:
        self.bgr = bgr

    def transform(self, results: dict) -> dict:
        """Return ``inputs`` uint8 (3, H, W) and ``data_samples``, a DetDataSample.

        Raises:
            ValueError: If the clip has more than one frame.
        """
        inputs, sample = results['inputs'], results['data_samples']
        clip = inputs['img']
        if len(clip) != 1:
            raise ValueError(
                f'UnpackFrame: found a clip of {len(clip)} frames, expected one; '
                'set the length of the sampler to 1'
            )
        image = clip[0].flip(0) if self.bgr else clip[0]
        frame = sample[0]
        if inputs.get('depth') is not None:
            frame.gt_depth = PixelData(data=inputs['depth'][0])
        return dict(inputs=image, data_samples=frame)
