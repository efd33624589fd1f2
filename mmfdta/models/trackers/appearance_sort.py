# Copyright (c) mmfdta authors.
"""DeepSORT and StrongSORT of MMDetection, on the embeddings of detections.

MMDetection's trackers cut crops out of the frame and run a network on them while they
track. Here, detections come with embeddings of any source, so the tracker needs no
network and no image. The code that compares the embeddings is MMDetection's.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.models.task_modules.tracking import CameraMotionCompensation
from mmdet.models.trackers import SORTTracker, StrongSORTTracker
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from .given_embeddings import given_embeddings
from .track_history import forget_history


class _TakesEmbeddings(SORTTracker):
    """Passes embeddings to MMDetection's code in place of crops and their network."""

    _above: Tensor
    _REID_KEYS = ('num_samples', 'match_score_thr', 'motion_weight')

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        name = type(self).__name__
        if self.reid is None:
            raise ValueError(
                f'model.tracker.reid: found None, expected the settings of {name}, '
                'which compares embeddings; use SORTTracker to compare none'
            )
        unknown = self.reid.keys() - set(self._REID_KEYS)
        if unknown:
            raise ValueError(
                f'model.tracker.reid: found {", ".join(sorted(unknown))}, expected '
                f'{", ".join(self._REID_KEYS)}; set the source of the embeddings of '
                f'{name} in model.embeddings'
            )

    def _on_embeddings(self, data_sample: DetDataSample, **facts: Any) -> InstanceData:
        """Track the next frame as MMDetection does.

        Args:
            data_sample: See :meth:`DeepSORTTracker.track`.
            **facts: Attributes of the model that MMDetection's code gets, and ``img``.
        """
        found = data_sample.pred_instances
        frame = data_sample.metainfo.get('frame_id', -1)
        embeddings = given_embeddings(found, self, frame)
        self._above = embeddings[found.scores > self.obj_score_thr]
        img = facts.pop('img', torch.zeros(1))
        tracks = super().track(
            model=SimpleNamespace(reid=_Given(embeddings.shape[1]), **facts),
            img=img,
            data_sample=data_sample,
        )
        forget_history(self)
        return tracks

    def crop_imgs(self, *_: Any, **__: Any) -> Tensor:
        """Return the embeddings (n, C) of the detections that are tracked."""
        return self._above


class _Given:
    """Takes the place of the network for crops and returns what it gets."""

    def __init__(self, channels: int) -> None:
        self.head = SimpleNamespace(out_channels=channels)

    def __call__(self, crops: Tensor, mode: str) -> Tensor:
        return crops


@MODELS.register_module()
class DeepSORTTracker(_TakesEmbeddings):
    """DeepSORT (arXiv 1703.07402) as MMDetection has it, on given embeddings.

    Detections are matched first with confirmed tracks, by the distance of embeddings
    where the Kalman filter allows it, then with tracks of the frame before by IoU.
    Embeddings are compared without normalisation, by Euclidean distance;
    `match_score_thr` is in their unit.

    Args:
        *args: Arguments of MMDetection's ``SORTTracker``; ``reid`` has ``num_samples``
            (number of last frames whose embeddings make a track's mean; None is one)
            and ``match_score_thr`` (largest distance).
        **kwargs: The same.

    Raises:
        ValueError: If ``reid`` is None or has settings of crops.
    """

    def track(self, data_sample: DetDataSample, **_: Any) -> InstanceData:
        """Track the next frame.

        Args:
            data_sample: ``frame_id`` (0 starts a video) and ``pred_instances``, on the
                CPU: ``bboxes`` (n, 4) xyxy in pixels, ``scores``, ``labels`` (n,); and
                ``embeddings`` (n, C), which may be on another device.
            **_: Arguments of other trackers.

        Returns:
            On the CPU: ``bboxes``, ``scores``, ``labels`` and ``instances_id`` int64
            (m,) of all detections that are tracked.

        Raises:
            ValueError: If detections have no embeddings, or some are not finite.
        """
        return self._on_embeddings(data_sample)


@MODELS.register_module()
class OnlineStrongSORTTracker(_TakesEmbeddings, StrongSORTTracker):
    """StrongSORT (arXiv 2202.13514) as MMDetection has it, on given embeddings.

    This is the online part: cosine distance of a running mean, weighted with motion, a
    Kalman filter that trusts detections with high scores more, and compensation of
    camera motion. MMDetection's linking of tracklets and its interpolation, which the
    paper calls StrongSORT++, need the complete video and are not included.

    Args:
        *args: Arguments of MMDetection's ``StrongSORTTracker``; ``reid`` has
            ``num_samples``, ``match_score_thr`` (largest distance) and
            ``motion_weight``.
        cmc: Config of MMDetection's ``CameraMotionCompensation``; None compensates
            nothing and needs no frames.
        **kwargs: As `args`.

    Raises:
        ValueError: If ``reid`` is None or has settings of crops.
    """

    def __init__(self, *args: Any, cmc: dict | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cmc = None if cmc is None else _LastingCompensation(TASK_UTILS.build(cmc))

    @property
    def needs_frames(self) -> bool:
        """Whether `track` needs ``frame``."""
        return self.cmc is not None

    def track(
        self,
        data_sample: DetDataSample,
        frame: Callable[[], np.ndarray] | None = None,
        **_: Any,
    ) -> InstanceData:
        """Track the next frame.

        Args:
            data_sample: See :meth:`DeepSORTTracker.track`, and ``img_shape`` and
                ``scale_factor``.
            frame: Returns the frame, uint8 (H, W, 3) BGR.
            **_: Arguments of other trackers.

        Returns:
            See :meth:`DeepSORTTracker.track`.

        Raises:
            ValueError: If detections have no finite embeddings, or camera motion is
                compensated and the frame is missing.
        """
        if self.cmc is None:
            return self._on_embeddings(data_sample, with_cmc=False)
        if frame is None:
            raise ValueError(
                'model.tracker.cmc: found the settings of a compensation of camera '
                'motion, which needs the frames, but the argument frame is missing; '
                'pass it, or set model.tracker.cmc to None'
            )
        # MMDetection compares frames at the size of the detector's input.
        height, width = data_sample.img_shape[:2]
        small = cv2.resize(frame(), (width, height))
        img = torch.from_numpy(small).permute(2, 0, 1)[None]
        return self._on_embeddings(data_sample, with_cmc=True, cmc=self.cmc, img=img)


class _LastingCompensation:
    """Compensation that leaves tracks unchanged if two frames cannot be aligned."""

    def __init__(self, cmc: CameraMotionCompensation) -> None:
        self.cmc = cmc

    def track(self, img: Tensor, ref_img: Tensor, tracks: dict, *args: Any) -> dict:
        try:
            return self.cmc.track(img, ref_img, tracks, *args)
        except cv2.error:  # frames without texture, or a cut
            return tracks
