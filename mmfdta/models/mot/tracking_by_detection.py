# Copyright (c) mmfdta authors.
"""Models that detect, then associate; any detector with any tracker."""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from mmdet.models.mot import BaseMOTModel
from mmdet.models.trackers import ByteTracker, OCSORTTracker, SORTTracker
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList, TrackSampleList
from mmdet.utils import ConfigType, OptConfigType, OptMultiConfig
from mmengine.structures import InstanceData
from torch import Tensor

from mmfdta.utils.instances import take_rows
from mmfdta.utils.original_frame import frame_context

from ..detectors.yolox import find_on_host, is_yolox
from ..trackers.assignment import check_finite
from ..trackers.gallery_tracker import GalleryTracker
from ..trackers.kinds import find_kind
from ..trackers.track_history import forget_history

_HOST_COLUMNS = ('bboxes', 'scores', 'labels')


class OnlineTracker(BaseMOTModel):
    """A model that detects in several frames, then associates frame by frame.

    Attributes:
        tracker: State of the video that :meth:`predict` tracks by default;
            :func:`mmfdta.models.trackers.new_tracker` makes one for another video.
        frames_together: Whether the frames of one call go through the network
            together, which takes less time on a GPU.
    """

    tracker: Any
    frames_together = True

    @abstractmethod
    def detect(self, imgs: Tensor, frames: SampleList) -> SampleList:
        """Detect in frames, each independent of the others.

        Args:
            imgs: Normalised frames (F, 3, H, W).
            frames: Their meta information.

        Returns:
            The same frames with ``pred_instances``, on the CPU: ``bboxes`` (n, 4)
            float32 xyxy in pixels of the original frame, ``scores``, ``labels`` (n,).
            Other fields, such as ``embeddings``, may stay on the device.
        """

    @abstractmethod
    def associate(self, frame: DetDataSample, tracker: Any = None) -> DetDataSample:
        """Give the detections of the next frame of a video their identities.

        Args:
            frame: As :meth:`detect` returns it, with ``frame_id``.
            tracker: State of the video; None takes the model's own.

        Returns:
            The same frame with ``pred_det_instances``, the detections that took part,
            and ``pred_track_instances``, the tracks, on the CPU.
        """

    def predict(
        self,
        inputs: Any,
        data_samples: TrackSampleList,
        tracker: Any = None,
        **kwargs: Any,
    ) -> TrackSampleList:
        """Track the next frames of a video.

        Args:
            inputs: ``img`` (B, T, 3, H, W), or that tensor itself; frames in their
                order.
            data_samples: Their meta information. A frame with ``frame_id`` 0 starts a
                new sequence.
            tracker: State of the video; None takes the model's own.
            **kwargs: Unused; part of MMDetection's interface.

        Returns:
            The samples, each frame with ``pred_det_instances`` and
            ``pred_track_instances`` (boxes xyxy in pixels of the original frame, not
            clipped to it).
        """
        imgs = inputs['img'] if isinstance(inputs, dict) else inputs
        frames = [frame for clip in data_samples for frame in clip]
        for frame in self.detect(imgs.flatten(0, 1), frames):
            self.associate(frame, tracker)
        return data_samples


@MODELS.register_module()
class TrackingByDetection(OnlineTracker):
    """Any detector of MMDetection with any tracker that takes its boxes.

    The tracker is MMDetection's ``ByteTracker``, ``OCSORTTracker`` or
    ``SORTTracker``, one of this project or your own (docs/add_a_tracker.md). It runs
    on the CPU: it computes little, and on a GPU it would wait for every number. Its
    input for all frames of a call is copied from the device at once. The detectors of
    this project and MMDetection's YOLOX wait for a GPU only for this copy. Other
    detectors select their boxes on the GPU and wait there as often as in MMDetection.

    Args:
        detector: Config of a detector.
        tracker: Config of a tracker.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation config.
        embeddings: Config of a module that gives detections ``embeddings``, which stay
            on the device: ``dict(type='PooledEmbeddings')`` pools the detector's maps,
            ``dict(type='CropEmbeddings', network=dict(type='ReIDNetwork'))`` embeds
            crops; None keeps the embeddings of the detector, if it gives any.

    Raises:
        ValueError: If the tracker has a network of its own for crops (``reid``).
    """

    def __init__(
        self,
        detector: ConfigType,
        tracker: ConfigType,
        data_preprocessor: OptConfigType = None,
        init_cfg: OptMultiConfig = None,
        embeddings: OptConfigType = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.detector = MODELS.build(detector)
        self.embeddings = None if embeddings is None else MODELS.build(embeddings)
        self.tracker = MODELS.build(tracker)
        if find_kind(self.tracker).cuts_crops and self.tracker.with_reid:
            raise ValueError(
                f'model.tracker.reid: {type(self.tracker).__name__} cuts crops out of '
                'the frame itself, which TrackingByDetection does not give it; set it '
                'to None, or use DeepSORTTracker or OnlineStrongSORTTracker, which '
                'compare the embeddings of detections (docs/baselines.md)'
            )

    def detect(self, imgs: Tensor, frames: SampleList) -> SampleList:
        """Detect in frames, see :meth:`OnlineTracker.detect`.

        Raises:
            ValueError: If boxes or scores are not finite and are to be embedded.
        """
        if self.embeddings is None:
            return self._find_boxes(imgs, frames)
        with self.embeddings.watch(self.detector) as maps:
            self._find_boxes(imgs, frames)
        for frame in frames:
            _refuse_broken(frame)
        embedded = self.embeddings(maps, imgs, frames, self.data_preprocessor)
        for frame, embeddings in zip(frames, embedded, strict=True):
            frame.pred_instances.embeddings = embeddings
        return frames

    def _find_boxes(self, imgs: Tensor, frames: SampleList) -> SampleList:
        """Run the detector and set ``pred_instances`` of the frames."""
        if is_yolox(self.detector):
            found = find_on_host(self.detector, imgs, frames)
        else:
            predicted = self.detector.predict(imgs, frames)
            found = _to_host([frame.pred_instances for frame in predicted])
        for frame, instances in zip(frames, found, strict=True):
            frame.pred_instances = instances
        return frames

    def associate(self, frame: DetDataSample, tracker: Any = None) -> DetDataSample:
        """Give detections their identities, see :meth:`OnlineTracker.associate`.

        The tracker gets them sorted by score, the best first, and the frame itself if
        it ``needs_frames``, see :mod:`mmfdta.utils.original_frame`.

        Raises:
            ValueError: If boxes or scores are not finite, of which MMDetection's
                trackers make other tracks without an error.
        """
        tracker = self.tracker if tracker is None else tracker
        found = best_first(frame)
        _refuse_broken(frame)
        frame.pred_det_instances = InstanceData(
            **{name: found.get(name) for name in _HOST_COLUMNS}
        )
        # MMDetection's model classes pass these arguments; its SORT requires them.
        frame.pred_track_instances = tracker.track(
            model=self,
            img=None,
            feats=None,
            data_sample=frame,
            data_preprocessor=None,
            rescale=True,
            **frame_context(tracker, frame),
        )
        inner = tracker.tracker if isinstance(tracker, GalleryTracker) else tracker
        # Exactly these types: a subclass may read more of its tracks.
        if type(inner) in (ByteTracker, OCSORTTracker, SORTTracker):
            forget_history(inner)
        return frame

    def loss(self, inputs: Tensor, data_samples: SampleList, **kwargs: Any) -> dict:
        """Return the detector's losses of its own inputs; only it is trained."""
        return self.detector.loss(inputs, data_samples, **kwargs)


def check_clip_length(length: int, window: int) -> None:
    """Refuse a training clip that is longer than the window of association.

    Args:
        length: Frames of the clip.
        window: ``window`` of the model.

    Raises:
        ValueError: If the clip is longer.
    """
    if length > window:
        raise ValueError(
            f'a clip has {length} frames, but model.window = {window}; '
            'shorten the clips of the training sampler or raise model.window'
        )


def best_first(frame: DetDataSample) -> InstanceData:
    """Sort a frame's detections by score, the best first; return them."""
    scores = frame.pred_instances.scores
    if (scores[1:] > scores[:-1]).any():
        order = scores.argsort(descending=True, stable=True)
        frame.pred_instances = take_rows(frame.pred_instances, order)
    return frame.pred_instances


def _refuse_broken(frame: DetDataSample) -> None:
    """Refuse detections whose boxes or scores are not finite."""
    found = frame.pred_instances
    check_finite(
        np.column_stack([found.bboxes.numpy(), found.scores.numpy()]),
        'boxes or scores',
        frame.metainfo.get('frame_id', -1),
    )


def _to_host(frames: list[InstanceData]) -> list[InstanceData]:
    """Copy boxes and the numbers per box of F frames to the CPU, all at once."""
    numbers = [n for n, x in frames[0].items() if isinstance(x, Tensor) and x.ndim == 1]
    names = ['bboxes', *numbers]
    tables = [
        torch.cat([found.bboxes, *(found.get(n)[:, None] for n in numbers)], dim=1)
        for found in frames
    ]
    table = torch.cat(tables).detach().float().cpu()
    hosts = []
    for rows, found in zip(table.split([len(i) for i in frames]), frames, strict=True):
        host = InstanceData(metainfo=found.metainfo, bboxes=rows[:, :4].clone())
        for column, name in zip(rows[:, 4:].T, numbers, strict=True):
            is_float = found.get(name).is_floating_point()
            host.set_field(column.clone() if is_float else column.long(), name)
        for name, column in found.items():
            if name not in names:
                host.set_field(column, name)
        hosts.append(host)
    return hosts
