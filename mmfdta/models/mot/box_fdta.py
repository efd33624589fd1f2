# Copyright (c) mmfdta authors.
"""FDTA's association on the boxes of any detector, with or without appearance."""

from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList, TrackSampleList
from mmdet.utils import ConfigType, OptConfigType, OptMultiConfig
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from mmfdta.utils.original_frame import frame_context
from mmfdta.utils.shared_sizes import Place, share_identities, share_number
from mmfdta.utils.transfers import to_device

from ..association import Sequences, box_rows, build_sequences
from ..association.box_encoder import BOX_COLUMNS
from ..trackers.assignment import box_ious
from ..trackers.embedding_memory import TrajectoryHistory
from .tracking_by_detection import (
    TrackingByDetection,
    best_first,
    check_clip_length,
)

# Lowest IoU of a detection and the object that it is matched with.
_MATCH_IOU = 0.5


@MODELS.register_module()
class BoxFDTA(TrackingByDetection):
    """Trajectory modelling, ID decoder and tracker of FDTA on an encoding of boxes.

    Section 3.1 of the paper, with :class:`BoxEncoder` instead of the detector's
    embeddings, or together with them. Any detector gives the detections, the same ones
    as for every other tracker. The detector and what embeds its boxes are frozen; only
    association learns:

    - from clips without pixels, on the annotated boxes that ``SimulateDetections`` has
      changed: this needs only ground-truth text;
    - from clips with images, on the detections in them. Appearance needs this.

    Args:
        detector: Config of a detector; :class:`TextDetections` reads text.
        box_encoder: Config of :class:`BoxEncoder`. With ``looks_dims``, the
            ``embeddings`` of the detections are encoded, too.
        trajectory_modeling: Config of :class:`TrajectoryModeling`.
        id_decoder: Config of :class:`IDDecoder`.
        tracker: Config of :class:`FDTATracker`.
        temporal_adapter: Config of :class:`TemporalAdapter`; None uses none.
        loss_id: Config of :class:`IDLoss`.
        embed_dims: Channels of association; 256 if no part sets it.
        num_id_vocabulary: Number K of ID words; 50 if no part sets it.
        window: See :class:`FDTA`.
        data_preprocessor: Config of the data preprocessor.
        embeddings: See :class:`TrackingByDetection`; embeddings for a detector that
            gives none.
        init_cfg: Initialisation config.

    Raises:
        ValueError: If parts set different numbers.
    """

    def __init__(
        self,
        detector: ConfigType,
        box_encoder: ConfigType,
        trajectory_modeling: ConfigType,
        id_decoder: ConfigType,
        tracker: ConfigType,
        temporal_adapter: OptConfigType = None,
        loss_id: OptConfigType = None,
        embed_dims: int | None = None,
        num_id_vocabulary: int | None = None,
        window: int | None = None,
        data_preprocessor: OptConfigType = None,
        embeddings: OptConfigType = None,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        parts = share_box_sizes(
            dict(
                box_encoder=box_encoder,
                temporal_adapter=temporal_adapter,
                trajectory_modeling=trajectory_modeling,
                id_decoder=id_decoder,
                tracker=tracker,
                embed_dims=embed_dims,
                num_id_vocabulary=num_id_vocabulary,
                window=window,
            )
        )
        super().__init__(
            detector, parts['tracker'], data_preprocessor, init_cfg, embeddings
        )
        self.window = parts['window']
        self.box_encoder = MODELS.build(parts['box_encoder'])
        adapter = parts['temporal_adapter']
        self.temporal_adapter = None if adapter is None else MODELS.build(adapter)
        self.trajectory_modeling = MODELS.build(parts['trajectory_modeling'])
        self.id_decoder = MODELS.build(parts['id_decoder'])
        self.loss_id = MODELS.build(loss_id or dict(type='IDLoss'))
        for part in self._frozen_parts():
            part.requires_grad_(False)

    def _frozen_parts(self) -> list[nn.Module]:
        parts = self.detector, self.embeddings
        return [part for part in parts if part is not None]

    def train(self, mode: bool = True) -> 'BoxFDTA':
        """Set the mode of all parts; frozen ones stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen_parts():
            part.eval()
        return self

    # ---------------------------------------------------------------- training
    def loss(
        self, inputs: dict[str, Tensor], data_samples: TrackSampleList, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Compute the ID loss of a batch of clips.

        Args:
            inputs: ``img`` (B, T, 3, H, W); H = W = 0 for clips without pixels.
            data_samples: The clips' T frames with ``gt_instances``, which have
                ``scores`` if detections were simulated, and ``id_targets`` (a list of
                one element).
            **kwargs: Unused; part of MMDetection's interface.

        Returns:
            ``loss_id``.

        Raises:
            ValueError: If a clip is longer than the window, ``looks_dims`` is set and
                clips have no pixels, or clips have images and the detector reads text.
        """
        imgs = inputs['img']
        batch, length = imgs.shape[:2]
        check_clip_length(length, self.window)
        frames = [frame for clip in data_samples for frame in clip]
        if imgs.numel():
            tables, matches = self._detected(imgs.flatten(0, 1), frames)
        else:
            tables, matches = self._annotated(frames)
        rows = torch.nn.utils.rnn.pad_sequence(tables, batch_first=True)
        query_idx = torch.nn.utils.rnn.pad_sequence(
            matches, batch_first=True, padding_value=-1
        )
        device = self.id_decoder.embed_to_word.weight.device
        (rows,) = to_device([rows], device)
        sequences = build_sequences(
            # At least one query, so that there is a row to look up.
            torch.nn.functional.pad(rows, (0, 0, 0, 1)).unflatten(0, (batch, length)),
            query_idx.unflatten(0, (batch, length)),
            [clip.id_targets[0] for clip in data_samples],
        )
        logits = self.associate_clip(sequences)
        loss = self.loss_id(logits, sequences.unknown_labels, sequences.unknown_masks)
        return dict(loss_id=loss)

    def _annotated(self, frames: SampleList) -> tuple[list[Tensor], list[Tensor]]:
        """Rows (M, 5) of each frame's annotated boxes, each matched with itself."""
        if self.box_encoder.looks_dims:
            raise ValueError(
                'model.box_encoder.looks_dims: found clips without pixels, whose boxes '
                'have no embeddings; load images in the training pipeline '
                '(DecodeClip), or set it to 0'
            )
        tables = []
        for frame in frames:
            gt = frame.gt_instances
            scores = gt.scores if 'scores' in gt else torch.ones(len(gt))
            tables.append(box_rows(gt.bboxes, scores, frame.img_shape[:2]))
        return tables, [torch.arange(len(table)) for table in tables]

    @torch.no_grad()
    def _detected(
        self, imgs: Tensor, frames: SampleList
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Rows (n, D) of the detections, and the one of each annotated object (M,)."""
        if getattr(self.detector, 'reads_text', False):
            raise ValueError(
                f'model.detector: found {type(self.detector).__name__} and clips with '
                'images, whose crops and flips are not in the text; train without '
                'images (OpenBoxes, as in boxes_mini.py)'
            )
        for frame in frames:
            # What augmentation has left of a frame is the frame: detections are in
            # pixels of the input, as the annotated boxes are.
            frame.set_metainfo(dict(ori_shape=frame.img_shape, scale_factor=(1.0, 1.0)))
        tables, matches = [], []
        for frame in self.detect(imgs, frames):
            found, gt = frame.pred_instances, frame.gt_instances
            overlap = box_ious(gt.bboxes.numpy(), found.bboxes.numpy())
            overlap *= found.scores.numpy() > self.tracker.det_thr
            match = np.full(len(gt), -1)
            objects, chosen = linear_sum_assignment(overlap, maximize=True)
            good = overlap[objects, chosen] >= _MATCH_IOU
            match[objects[good]] = chosen[good]
            tables.append(self._rows(frame))
            matches.append(torch.from_numpy(match))
        return tables, matches

    # ------------------------------------------------------------- association
    def refine(self, rows: Tensor, masks: Tensor) -> Tensor:
        """Encode a history, and model its trajectories.

        Args:
            rows: (..., T, N, D), see :func:`box_rows`.
            masks: (..., T, N) bool, True = missing.

        Returns:
            (..., T, N, C).
        """
        features = self.box_encoder.encode_trajectories(rows, masks)
        if self.temporal_adapter is not None:
            features = self.temporal_adapter(features, masks)
        return self.trajectory_modeling(features)

    def associate_clip(self, sequences: Sequences) -> Tensor:
        """ID logits (B, G, T, N, K + 1) of every detection of training clips."""
        refined = self.refine(sequences.trajectory_features, sequences.trajectory_masks)
        sequences.unknown_features = self.box_encoder.encode_detections(
            sequences.unknown_features
        )
        return self.id_decoder.score_clip(refined, sequences)

    def score_identities(
        self, history: TrajectoryHistory[Tensor], rows: Tensor
    ) -> Tensor:
        """Scores of the ID words for the detections of one frame.

        Args:
            history: The live trajectories; their features are rows.
            rows: Rows of the detections, (n, D), see :func:`box_rows`.

        Returns:
            Probabilities (n, K + 1); the last column is "newborn".
        """
        logits = self.id_decoder.score_frame(
            self.refine(history.features, history.masks),
            history.masks,
            history.id_labels,
            self.box_encoder.encode_detections(rows),
        )
        return self.loss_id.scores(logits)

    # --------------------------------------------------------------- inference
    def associate(self, frame: DetDataSample, tracker: Any = None) -> DetDataSample:
        """Give detections their identities, see :meth:`OnlineTracker.associate`.

        The tracker gets them sorted by score, the best first.

        Args:
            frame: As for :meth:`OnlineTracker.associate`, with ``ori_shape``, the size
                of the image.
            tracker: State of the video; None takes the model's own.

        Raises:
            ValueError: If ``looks_dims`` is set and the detections have no embeddings,
                or embeddings of another size.
        """
        tracker = self.tracker if tracker is None else tracker
        found = best_first(frame)
        names = [n for n in ('bboxes', 'scores', 'labels', 'areas') if n in found]
        seen = DetDataSample(metainfo=frame.metainfo)
        seen.pred_instances = InstanceData(
            **{name: found.get(name) for name in names}, embeddings=self._rows(frame)
        )
        tracks = tracker.track(
            seen,
            score_identities=self.score_identities,
            **frame_context(tracker, frame),
        )
        frame.pred_det_instances = tracker.detections(seen.pred_instances)
        frame.pred_track_instances = tracks
        return frame

    def _rows(self, frame: DetDataSample) -> Tensor:
        """Rows (n, D) of a frame's detections, on the device of the networks."""
        found, looks = frame.pred_instances, None
        device = self.id_decoder.embed_to_word.weight.device
        if self.box_encoder.looks_dims:
            looks = found.get('embeddings')
            dims = None if looks is None else looks.shape[1]
            if dims != self.box_encoder.looks_dims:
                raise ValueError(
                    f'model.box_encoder.looks_dims = {self.box_encoder.looks_dims}, '
                    f'but detections of {type(self.detector).__name__} have '
                    f'{"no embeddings" if dims is None else f"embeddings of {dims}"}; '
                    f'set it to {dims or 0}'
                )
        rows = box_rows(found.bboxes, found.scores, frame.ori_shape[:2], looks)
        (rows,) = to_device([rows], device)
        return rows


def share_box_sizes(model: dict) -> dict:
    """Copy the numbers that several parts of BoxFDTA share into these parts.

    Args:
        model: The arguments of :class:`BoxFDTA`, as in a config.

    Returns:
        The same arguments with the numbers in every part, and with ``embed_dims``,
        ``num_id_vocabulary`` and ``window``.

    Raises:
        ValueError: If parts set different numbers, the tracker remembers more frames
            than the ID decoder can tell apart, or the tracker wraps another one.
    """
    of_features = 'box_encoder', 'temporal_adapter', 'trajectory_modeling'
    names = *of_features, 'id_decoder', 'tracker'
    parts: dict[str, Any] = {
        name: model.get(name) and dict(model[name]) for name in names
    }
    if 'tracker' in parts['tracker']:
        raise ValueError(
            f'model.tracker.type: found {parts["tracker"].get("type")}, expected a '
            'tracker like FDTATracker: BoxFDTA passes boxes to its tracker, which '
            'do not tell who returns'
        )

    embed_dims = share_number(
        'model.embed_dims',
        model.get('embed_dims'),
        [
            *(
                Place(f'model.{name}', parts[name], 'embed_dims')
                for name in of_features
            ),
            Place('model.id_decoder', parts['id_decoder'], 'feature_dims'),
        ],
        default=256,
    )
    tracker = parts['tracker']
    identities = share_identities(model, parts['id_decoder'], tracker)
    # The tracker remembers rows, not embeddings.
    looks_dims = parts['box_encoder'].get('looks_dims') or 0
    tracker['embed_dims'] = BOX_COLUMNS + looks_dims
    return {**model, **parts, 'embed_dims': embed_dims, **identities}
