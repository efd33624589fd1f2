# Copyright (c) mmfdta authors.
"""FDTA: From Detection to Association (arXiv 2512.02392)."""

from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList, TrackSampleList
from mmdet.utils import ConfigType, OptConfigType, OptMultiConfig
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmfdta.utils.original_frame import frame_context
from mmfdta.utils.shared_sizes import Place, share_identities, share_number
from mmfdta.utils.transfers import to_device

from ..association import Sequences, build_sequences
from ..association.embedding_sharing import with_types
from ..detectors import (
    ClipDetector,
    ClipMatches,
    ClipTargets,
    DetectorOutputs,
    MatchedPairs,
    MergedOutputs,
)
from ..trackers.embedding_memory import TrajectoryHistory
from ..trackers.fdta_tracker import FDTATracker
from .tracking_by_detection import OnlineTracker, check_clip_length


class ClipDetection:
    """Detector outputs of all frames of B clips at bounded memory.

    Args:
        num_grad_frames: Number of random frames of each clip that carry gradients; all
            of a shorter clip do.
        grad_chunk: More frames with gradients than this run in chunks of this size,
            which the backward pass recomputes (activation checkpointing); 0 never
            recomputes.
        no_grad_chunk: Frames without gradients that run at a time; 0 runs all at once.
    """

    def __init__(
        self, num_grad_frames: int = 4, grad_chunk: int = 5, no_grad_chunk: int = 20
    ) -> None:
        self.num_grad_frames = num_grad_frames
        self.grad_chunk = grad_chunk
        self.no_grad_chunk = no_grad_chunk

    def frame_order(self, length: int) -> Tensor:
        """Random order of a clip's frames; the first ones carry gradients."""
        return torch.randperm(length)

    def __call__(
        self, detector: ClipDetector, imgs: Tensor, frames: SampleList
    ) -> DetectorOutputs:
        """Detect.

        Args:
            detector: The network.
            imgs: (B, T, 3, H, W).
            frames: The B * T frames.

        Returns:
            Outputs for all B * T frames, in their order.
        """
        batch, length = imgs.shape[:2]
        order = self.frame_order(length)
        index = torch.arange(batch)[:, None] * length + order
        num_grad = min(self.num_grad_frames, length)
        with_grad = index[:, :num_grad].flatten()
        without = index[:, num_grad:].flatten()
        imgs = imgs.flatten(0, 1)
        recompute = 0 < self.grad_chunk < len(with_grad)
        grad_chunks = _chunks(with_grad, self.grad_chunk)
        silent_chunks = _chunks(without, self.no_grad_chunk)
        on_device = to_device([*grad_chunks, *silent_chunks], imgs.device)
        chosen = iter(on_device)

        def run(chunk: Tensor, recompute: bool = False) -> DetectorOutputs:
            args = imgs[next(chosen)], [frames[i] for i in chunk.tolist()]
            return detector.detect(*args, recompute=recompute)

        parts = [run(chunk, recompute) for chunk in grad_chunks]
        with torch.no_grad():
            parts += [run(chunk) for chunk in silent_chunks]
        return MergedOutputs.of(parts, on_device)


def _chunks(index: Tensor, size: int) -> list[Tensor]:
    if not len(index):
        return []
    return [*index.split(size)] if size else [index]


@MODELS.register_module()
class FDTA(OnlineTracker):
    """End-to-end tracker: detect, adapt, associate. Figure 2 of the paper.

    Each of the three adapters is optional: the spatial one is set in the detector's
    config, the other two here. Without all three, the model is MOTIP.

    Numbers that several parts share are set once and copied into the parts: the
    detector sets the channels, or the projection between it and association does; the
    others are set here. A part may repeat one, as in configs of 0.1.

    Args:
        detector: Config of :class:`FDTADetector`, or of :class:`QueryDetector`, which
            adds association to another detector.
        trajectory_modeling: Config of :class:`TrajectoryModeling`.
        id_decoder: Config of :class:`IDDecoder`.
        tracker: Config of :class:`FDTATracker`.
        temporal_adapter: Config of :class:`TemporalAdapter`.
        identity_adapter: Config of :class:`IdentityAdapter`.
        loss_id: Config of :class:`IDLoss`.
        embedding_sharing: Config of :class:`EmbeddingSharing`, with or without its
            type: which losses of association reach the detector, and a projection
            between the two. By default all losses do, without a projection.
        freeze_detector: Keep the detector as it was loaded. It runs in evaluation mode,
            without gradients and without losses; only association learns.
        clip_detection: Arguments of :class:`ClipDetection`: which frames of a clip
            carry gradients and how many run at a time.
        match_layer: Decoder layer whose matching selects the embeddings that
            association is trained on. The published weights were trained with -2 (the
            last auxiliary layer); -1 is the last layer itself.
        num_id_vocabulary: Number K of ID words; 50 if no part sets it.
        window: Most frames that association sees together, the present one among them:
            the length of the ID decoder's table of time distances and the longest clip,
            and the tracker's ``miss_tolerance``, which must not exceed it, if the
            tracker does not set it; 30 if no part sets it.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation config.

    Raises:
        ValueError: If parts do not fit together, or the detector has no such layer.
    """

    def __init__(
        self,
        detector: ConfigType,
        trajectory_modeling: ConfigType,
        id_decoder: ConfigType,
        tracker: ConfigType,
        temporal_adapter: OptConfigType = None,
        identity_adapter: OptConfigType = None,
        loss_id: OptConfigType = None,
        clip_detection: OptConfigType = None,
        embedding_sharing: OptConfigType = None,
        freeze_detector: bool = False,
        match_layer: int = -2,
        num_id_vocabulary: int | None = None,
        window: int | None = None,
        data_preprocessor: OptConfigType = None,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        parts = dict(
            detector=detector,
            temporal_adapter=temporal_adapter,
            identity_adapter=identity_adapter,
            trajectory_modeling=trajectory_modeling,
            id_decoder=id_decoder,
            tracker=tracker,
            embedding_sharing=embedding_sharing,
            num_id_vocabulary=num_id_vocabulary,
            window=window,
        )
        self.detector: ClipDetector = MODELS.build(detector)
        layers = self.detector.num_layers
        if not -layers <= match_layer < layers:
            raise ValueError(
                f'model.match_layer: found {match_layer}, but the decoder of the '
                f'detector has layers from {-layers} to {layers - 1}; -1 is the last '
                'one'
            )
        parts = share_sizes(parts, self.detector.embed_dims)
        self.window = parts['window']
        self.temporal_adapter = _build(parts['temporal_adapter'])
        self.identity_adapter = _build(parts['identity_adapter'])
        self.trajectory_modeling = MODELS.build(parts['trajectory_modeling'])
        self.id_decoder = MODELS.build(parts['id_decoder'])
        self.tracker = MODELS.build(parts['tracker'])
        self.embedding_sharing = MODELS.build(parts['embedding_sharing'])
        self.loss_id = MODELS.build(loss_id or dict(type='IDLoss'))
        self.clip_detection = ClipDetection(**(clip_detection or {}))
        self.match_layer = match_layer
        self.freeze_detector = freeze_detector
        if freeze_detector:
            self.detector.requires_grad_(False)
            self.clip_detection.num_grad_frames = 0

    def train(self, mode: bool = True) -> 'FDTA':
        """Set the mode of all parts; a frozen detector stays in evaluation mode."""
        super().train(mode)
        if self.freeze_detector:
            self.detector.eval()  # type: ignore[attr-defined]
        return self

    # ---------------------------------------------------------------- training
    def loss(
        self, inputs: dict[str, Tensor], data_samples: TrackSampleList, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Compute all losses of a batch of clips.

        Args:
            inputs: ``img`` (B, T, 3, H, W), normalised, and optionally ``depth``
                (B, T, 1, H, W) in 0..255, NaN in clips without maps.
            data_samples: The clips' T frames with ``gt_instances``, and ``id_targets``
                (a list of one element).
            **kwargs: Unused; part of MMDetection's interface.

        Returns:
            The detector's losses of each decoder layer and ``loss_depth``, unless it is
            frozen; ``loss_contrastive`` and ``loss_id``.

        Raises:
            ValueError: If a clip is longer than the window.
        """
        imgs, depth = inputs['img'], inputs.get('depth')
        batch, length = imgs.shape[:2]
        check_clip_length(length, self.window)
        frames = [frame for clip in data_samples for frame in clip]
        outputs = self.clip_detection(self.detector, imgs, frames)
        targets = ClipTargets.from_samples(frames)
        losses, matches = self.detector.clip_losses(
            outputs,
            targets.to(imgs.device),
            None if depth is None else depth.flatten(0, 1),
        )
        if self.freeze_detector:
            losses = {}
        if self.identity_adapter is not None:
            losses['loss_contrastive'] = self._contrast(
                outputs, targets, matches, batch, length
            )
        sequences = build_sequences(
            self.embedding_sharing.for_id_loss(outputs.embeddings).unflatten(
                0, (batch, length)
            ),
            matches.on_host[self.match_layer].unflatten(0, (batch, length)),
            [clip.id_targets[0] for clip in data_samples],
        )
        id_logits = self.associate_clip(sequences)
        losses['loss_id'] = self.loss_id(
            id_logits, sequences.unknown_labels, sequences.unknown_masks
        )
        return losses

    def _contrast(
        self,
        outputs: DetectorOutputs,
        targets: ClipTargets,
        matches: ClipMatches,
        batch: int,
        length: int,
    ) -> Tensor:
        """Contrastive loss on the last layer's matches, off in the warm-up."""
        adapter: Any = self.identity_adapter
        epoch = MessageHub.get_current_instance().get_info('epoch')
        if epoch is not None and epoch < adapter.warmup_epochs:
            # DDP needs every parameter in every step; the optimiser skips those whose
            # gradient is zero (`may_rest`).
            return sum(p.sum() for p in adapter.parameters()) * 0.0
        query_idx = matches.on_host[-1]
        frame, box = (query_idx >= 0).nonzero(as_tuple=True)
        found = MatchedPairs.from_index(query_idx[None], outputs.embeddings.device)
        matched = outputs.embeddings[found.frame, found.query]
        return adapter.loss(
            self.embedding_sharing.for_contrastive_loss(matched),
            targets.identities.cpu()[frame, box],
            matches.quality[-1, found.frame, found.box],
            clip_idx=frame // length,
            frame_idx=frame % length,
            num_clips=batch,
            clip_length=length,
        )

    # ------------------------------------------------------------- association
    def refine(self, features: Tensor, masks: Tensor) -> Tensor:
        """Apply the Temporal Adapter and trajectory modelling to a history.

        Args:
            features: Association's embeddings (..., T, N, C), after the projection of
                ``embedding_sharing`` if it has one.
            masks: (..., T, N) bool, True = missing.

        Returns:
            (..., T, N, C).
        """
        if self.temporal_adapter is not None:
            features = self.temporal_adapter(features, masks)
        return self.trajectory_modeling(features)

    def associate_clip(self, sequences: Sequences) -> Tensor:
        """ID logits (B, G, T, N, K + 1) of every detection of training clips."""
        refined = self.refine(sequences.trajectory_features, sequences.trajectory_masks)
        return self.id_decoder.score_clip(refined, sequences)

    def score_identities(
        self, history: TrajectoryHistory[Tensor], embeddings: Tensor
    ) -> Tensor:
        """Scores of the ID words for the detections of one frame.

        Args:
            history: The live trajectories, with the detector's embeddings.
            embeddings: Embeddings of the detections, (n, C).

        Returns:
            Probabilities (n, K + 1); the last column is "newborn".
        """
        embeddings = self.embedding_sharing(embeddings)
        features = self.refine(self.embedding_sharing(history.features), history.masks)
        logits = self.id_decoder.score_frame(
            features, history.masks, history.id_labels, embeddings
        )
        return self.loss_id.scores(logits)

    # --------------------------------------------------------------- inference
    def detect(self, imgs: Tensor, frames: SampleList) -> SampleList:
        """Detect in frames, see :meth:`OnlineTracker.detect`.

        Args:
            imgs: Normalised frames (F, 3, H, W).
            frames: Their meta information.

        Returns:
            The frames with ``pred_instances`` of all queries, see
            :func:`host_detections`; ``embeddings`` stay on the device.
        """
        outputs = self.detector.detect(imgs, frames)
        found = outputs.on_host(frames)
        for frame, instances in zip(frames, found, strict=True):
            frame.pred_instances = instances
        return frames

    def associate(
        self, frame: DetDataSample, tracker: FDTATracker | None = None
    ) -> DetDataSample:
        """Give detections their identities, see :meth:`OnlineTracker.associate`."""
        tracker = self.tracker if tracker is None else tracker
        tracks = tracker.track(
            frame,
            score_identities=self.score_identities,
            **frame_context(tracker, frame),
        )
        frame.pred_det_instances = tracker.detections(frame.pred_instances)
        frame.pred_track_instances = tracks
        return frame

    def _forward(
        self, inputs: dict[str, Tensor], data_samples: TrackSampleList, **kwargs: Any
    ) -> DetectorOutputs:
        """Return the raw outputs of the detector for all frames."""
        frames: SampleList = [frame for clip in data_samples for frame in clip]
        return self.detector.detect(inputs['img'].flatten(0, 1), frames)


def share_sizes(model: dict, embed_dims: int | None = None) -> dict:
    """Copy the numbers that several parts of FDTA share into these parts.

    Args:
        model: The arguments of :class:`FDTA`, as in a config.
        embed_dims: Channels of the detector's embeddings; None reads them from the
            config of its head.

    Returns:
        The same arguments with the numbers in every part, and with
        ``num_id_vocabulary`` and ``window``.

    Raises:
        ValueError: If parts set different numbers, or the tracker remembers more
            frames than the ID decoder can tell apart.
    """
    of_features = 'temporal_adapter', 'identity_adapter', 'trajectory_modeling'
    names = *of_features, 'id_decoder', 'tracker'
    parts: dict[str, Any] = {
        name: model.get(name) and dict(model[name]) for name in names
    }
    around = parts['tracker']
    if around and 'tracker' in around:  # a wrapper, such as GalleryTracker
        parts['tracker'] = around['tracker'] = dict(around['tracker'])
    sharing = with_types(model.get('embedding_sharing'))
    projection = sharing.get('projection')

    def places(argument: str, *names: str) -> list[Place]:
        return [Place(f'model.{name}', parts[name], argument) for name in names]

    detector, key = model['detector'], 'model.detector'
    if 'host' in detector:
        detector, key = detector['host'], f'{key}.host'
    head = detector.get('bbox_head') or {}
    association = [
        *places('embed_dims', *of_features),
        *places('feature_dims', 'id_decoder'),
    ]
    between = 'model.embedding_sharing.projection'
    if projection is None:
        of_detector = [*association, *places('embed_dims', 'tracker')]
    else:
        of_detector = [
            *places('embed_dims', 'tracker'),
            Place(between, projection, 'embed_dims'),
        ]
    embed_dims = share_number(
        f'{key}.bbox_head.embed_dims',
        embed_dims or head.get('embed_dims', 256),
        of_detector,
        default=256,
    )
    if projection is not None:
        share_number(
            f'{between}.out_channels',
            projection.get('out_channels'),
            [*association, Place(between, projection, 'out_channels')],
            default=embed_dims,
        )
    identities = share_identities(model, parts['id_decoder'], parts['tracker'])
    return {
        **model,
        **parts,
        'tracker': around,
        'embedding_sharing': sharing,
        **identities,
    }


def _build(part: OptConfigType) -> nn.Module | None:
    return None if part is None else MODELS.build(part)
