# Copyright (c) mmfdta authors.
"""MOTR: End-to-End Multiple-Object Tracking with Transformer (arXiv 2105.03247)."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from mmdet.models.mot import BaseMOTModel
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample, SampleList, TrackSampleList
from mmdet.utils import ConfigType, OptConfigType, OptMultiConfig
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmfdta.utils.original_frame import frame_context
from mmfdta.utils.shared_sizes import Place, share_number
from mmfdta.utils.transfers import to_device

from ..association import QuerySampling
from ..detectors import (
    ClipTargets,
    DetectorOutputs,
    EncodedFrames,
    MatchedFrame,
    TrackletMatches,
    Tracklets,
    TrackQueries,
)
from ..trackers.motr_tracker import MOTRTracker

T = TypeVar('T')

# As in the released code: the last frames of a clip keep their activations.
NUM_KEPT_FRAMES = 2


@MODELS.register_module()
class MOTR(BaseMOTModel):
    """End-to-end tracker whose queries are the tracks (the paper's Sec. 3.4, Fig. 3).

    In each frame, detect queries find new objects and track queries follow the tracked
    ones. The query interaction module makes the track queries of the next frame.

    Args:
        detector: Config of :class:`MOTRDetector`.
        query_interaction: Config of :class:`QueryInteraction`; it has the channels of
            the detector.
        tracker: Config of :class:`MOTRTracker`, which starts and ends tracks in
            inference.
        matcher: Config of :class:`TrackletMatcher`, which starts and ends them in
            training.
        query_sampling: Arguments of :class:`QuerySampling`.
        encode_chunk: Frames of a clip that backbone and encoder run on at a time in
            training; 0 runs all at once.
        with_cp: Whether the backward pass recomputes all except the last two frames of
            a clip (activation checkpointing).
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation config.

    Attributes:
        frames_together: Whether the frames of one call go through backbone and encoder
            together, which takes less time on a GPU.
    """

    frames_together = True

    def __init__(
        self,
        detector: ConfigType,
        query_interaction: ConfigType,
        tracker: ConfigType,
        matcher: OptConfigType = None,
        query_sampling: OptConfigType = None,
        encode_chunk: int = 1,
        with_cp: bool = False,
        data_preprocessor: OptConfigType = None,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        query_interaction = dict(query_interaction)
        share_number(
            'model.detector.bbox_head.embed_dims',
            detector['bbox_head'].get('embed_dims', 256),
            [Place('model.query_interaction', query_interaction, 'embed_dims')],
            default=256,
        )
        self.detector = MODELS.build(detector)
        self.query_interaction = MODELS.build(query_interaction)
        self.tracker = MODELS.build(tracker)
        self.matcher = TASK_UTILS.build(matcher or dict(type='TrackletMatcher'))
        self.query_sampling = QuerySampling(**(query_sampling or {}))
        self.encode_chunk = encode_chunk
        self.with_cp = with_cp

    def _encode(
        self, imgs: Tensor, frames: SampleList, num_recomputed: int
    ) -> Iterator[EncodedFrames]:
        """Yield frames one by one; the first ``num_recomputed`` are recomputed."""
        size = self.encode_chunk or len(frames)
        for start in range(0, len(frames), size):
            chunk = slice(start, start + size)
            encoded = _run(
                self.detector.encode,
                imgs[chunk],
                frames[chunk],
                recompute=start + size <= num_recomputed,
            )
            yield from encoded.split()

    # ---------------------------------------------------------------- training
    def loss(
        self, inputs: dict[str, Tensor], data_samples: TrackSampleList, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Compute the collective average loss of a batch of clips.

        Args:
            inputs: ``img`` (B, T, 3, H, W), normalised.
            data_samples: The clips' T frames with ``gt_instances``, among them
                ``instances_ids``.
            **kwargs: Unused; part of MMDetection's interface.

        Returns:
            Detection losses of each decoder layer.
        """
        length = inputs['img'].shape[1]
        frames = [frame for clip in data_samples for frame in clip]
        targets = ClipTargets.from_samples(frames)
        on_host, targets = targets.to('cpu'), targets.to(inputs['img'].device)
        matched: list[MatchedFrame] = []
        for i, imgs in enumerate(inputs['img']):
            clip = frames[i * length : (i + 1) * length]
            matched += self._follow_clip(imgs, clip, targets, on_host, i * length)
        losses = self.detector.bbox_head.loss_clips(matched, targets)
        # DDP needs every parameter in every step, also if no track continues from one
        # frame to the next.
        losses['loss_cls'] = losses['loss_cls'] + 0.0 * sum(
            p.sum()
            for part in (
                self.query_interaction.parameters(),
                self.detector.track_parameters(),
            )
            for p in part
        )
        return losses

    def _follow_clip(
        self,
        imgs: Tensor,
        frames: SampleList,
        targets: ClipTargets,
        on_host: ClipTargets,
        first: int,
    ) -> list[MatchedFrame]:
        """Predict and assign the frames of a clip, one after the other.

        Args:
            imgs: (T, 3, H, W).
            frames: Their meta information.
            targets: Ground truth of the batch.
            on_host: The same on the host.
            first: Index of the clip's first frame in the batch.

        Returns:
            One per frame.
        """
        recomputed = max(len(frames) - NUM_KEPT_FRAMES, 0) if self.with_cp else 0
        detect = queries = self.detector.detect_queries()
        tracklets = Tracklets.unassigned(len(detect))
        matched: list[MatchedFrame] = []
        for t, encoded in enumerate(self._encode(imgs, frames, recomputed)):
            if matched:
                last = matched[-1].matches
                kept = self.query_sampling(
                    last.tracklets.identities, last.tracklets.ious, last.boxes
                )
                tracklets = last.tracklets.after_new(len(detect), kept)
                tracks = self._interact(queries, matched[-1].outputs, kept)
                queries = detect.followed_by(tracks)
            outputs = _run(
                self.detector.decode, encoded, queries, recompute=t < recomputed
            )
            matches: TrackletMatches = self.matcher(
                outputs, targets, on_host, first + t, tracklets
            )
            matched.append(MatchedFrame(outputs, matches))
        return matched

    def _interact(
        self, queries: TrackQueries, outputs: DetectorOutputs, kept: Tensor
    ) -> TrackQueries:
        """Make the track queries of the next frame from the ``kept`` of this one."""
        (kept,) = to_device([kept], queries.points.device)
        return self.query_interaction(
            queries[kept],
            outputs.embeddings[0].index_select(0, kept),
            outputs.bbox_preds[-1, 0].index_select(0, kept),
        )

    # --------------------------------------------------------------- inference
    def predict(
        self,
        inputs: dict[str, Tensor],
        data_samples: TrackSampleList,
        tracker: MOTRTracker | None = None,
        **kwargs: Any,
    ) -> TrackSampleList:
        """Track the next frames of a video.

        Args:
            inputs: ``img`` (B, T, 3, H, W); frames in their order.
            data_samples: Their meta information. A frame with ``frame_id`` 0 starts a
                new sequence.
            tracker: State of the video; None takes the model's own.
            **kwargs: Unused; part of MMDetection's interface.

        Returns:
            The samples, each frame with ``pred_det_instances`` and
            ``pred_track_instances`` (boxes xyxy in pixels of the original frame, not
            clipped to it).
        """
        tracker = self.tracker if tracker is None else tracker
        frames = [frame for clip in data_samples for frame in clip]
        encoded = self.detector.encode(inputs['img'].flatten(0, 1), frames)
        for one, frame in zip(encoded.split(), frames, strict=True):
            self.ask(one, frame, tracker)()
        return data_samples

    def ask(
        self,
        encoded: EncodedFrames,
        frame: DetDataSample,
        tracker: MOTRTracker | None = None,
    ) -> Callable[[], DetDataSample]:
        """Decode a frame with the tracker's queries; one copy from the device.

        Args:
            encoded: The frame.
            frame: Its meta information; gets ``pred_instances``, see
                :meth:`MOTRTracker.track`.
            tracker: State of the video; None takes the model's own. This call does not
                change it.

        Returns:
            A function that updates the tracker and returns the frame with
            ``pred_track_instances`` and ``pred_det_instances``.
        """
        tracker = self.tracker if tracker is None else tracker
        queries = self.detector.detect_queries()
        if tracker.queries is not None and frame.frame_id != 0:
            queries = queries.followed_by(tracker.queries)
        outputs = self.detector.decode(encoded, queries).float()
        (frame.pred_instances,) = outputs.on_host([frame], with_embeddings=False)

        def follow() -> DetDataSample:
            frame.pred_track_instances = tracker.track(
                frame,
                renew_queries=lambda kept: self._interact(queries, outputs, kept),
                **frame_context(tracker, frame),
            )
            frame.pred_det_instances = tracker.detections(frame.pred_instances)
            return frame

        return follow

    def _forward(
        self, inputs: dict[str, Tensor], data_samples: TrackSampleList, **kwargs: Any
    ) -> list[DetectorOutputs]:
        """Return the raw outputs of the detect queries for each frame."""
        frames = [frame for clip in data_samples for frame in clip]
        queries = self.detector.detect_queries()
        encoded = self.detector.encode(inputs['img'].flatten(0, 1), frames)
        return [self.detector.decode(one, queries) for one in encoded.split()]


def _run(function: Callable[..., T], *args: Any, recompute: bool) -> T:
    """Call a function; keep its activations, or recompute them in the backward pass."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(function, *args, use_reentrant=False)
    return function(*args)
