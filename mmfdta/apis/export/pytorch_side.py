# Copyright (c) mmfdta authors.
"""The model in PyTorch, on the pixels that its exported form gets."""

from typing import TypeAlias

import numpy as np
import torch
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmfdta.models.trackers import TrajectoryHistory, new_tracker
from mmfdta.runtime.detection import Detections
from mmfdta.runtime.frame_input import PreparedFrame
from mmfdta.structures.tracks import Tracks

from .detector_graph import DetectorGraph

Asked: TypeAlias = tuple[TrajectoryHistory, Tensor, np.ndarray]
"""What scores of identities were asked for, and what they were."""


class PyTorchSide:
    """The model in PyTorch, on the pixels that the exported one gets.

    Args:
        model: The tracker, in evaluation mode.
        graph: Of its detector; it normalises, and knows a fixed size.
        asked: Gets all scores of identities; None keeps none.
    """

    def __init__(
        self, model: nn.Module, graph: DetectorGraph, asked: list[Asked] | None = None
    ) -> None:
        self.model = model
        self.graph = graph
        self.tracker = new_tracker(model)
        self._asked = asked

    def inputs(self, prepared: PreparedFrame) -> tuple[Tensor, DetDataSample]:
        """Make the model's inputs of a prepared frame.

        Args:
            prepared: What the exported model gets of it.

        Returns:
            Normalised frame (1, 3, H, W), and its sample without a number.
        """
        (height, width), (rows, columns) = prepared.shape, prepared.original
        sizes = torch.tensor([prepared.shape]) if self.graph.takes_sizes else None
        frames = torch.from_numpy(prepared.pixels)[None]
        imgs, _ = self.graph.normalization(frames, sizes)
        shape = tuple(imgs.shape[-2:])
        sample = DetDataSample(
            metainfo=dict(
                img_shape=prepared.shape,
                ori_shape=prepared.original,
                scale_factor=(width / columns, height / rows),
                batch_input_shape=shape,
                pad_shape=shape,
            )
        )
        return imgs, sample

    @torch.no_grad()
    def step(self, prepared: PreparedFrame, index: int) -> tuple[Detections, Tracks]:
        """Track the next frame.

        Args:
            prepared: What the exported model gets of it.
            index: Its number, from 0, which forgets the video before.

        Returns:
            What was detected, as the tracker gets it, and what is tracked.
        """
        imgs, sample = self.inputs(prepared)
        sample.set_metainfo(dict(frame_id=index, img_id=index))
        (sample,) = self.model.detect(imgs, [sample])
        found = sample.pred_instances
        detections = Detections(
            bboxes=found.bboxes.numpy(),
            scores=found.scores.numpy(),
            labels=found.labels.numpy(),
        )
        if 'embeddings' in self.graph.outputs:
            detections.embeddings = found.embeddings.numpy()
        if hasattr(self.model, 'score_identities'):
            tracks = self.tracker.track(sample, score_identities=self._score)
        else:
            self.model.associate(sample, self.tracker)
            tracks = sample.pred_track_instances
        return detections, Tracks.from_instances(tracks, index + 1)

    def _score(self, history: TrajectoryHistory, embeddings: Tensor) -> Tensor:
        scores = self.model.score_identities(history, embeddings)
        if self._asked is not None:
            self._asked.append((history, embeddings, scores.float().numpy()))
        return scores
