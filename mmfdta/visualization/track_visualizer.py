# Copyright (c) mmfdta authors.
"""The visualizer that MMEngine's runner and hooks draw tracks with."""

import itertools
from typing import Any

import numpy as np
from mmdet.registry import VISUALIZERS
from mmdet.visualization import DetLocalVisualizer, TrackLocalVisualizer
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer

from .drawing import DrawnTracks, TrackDrawer, TrackStyle

_numbers = itertools.count()


class _OwnName:
    """A visualizer that is built without a name gets one of its own.

    MMEngine hands out the first visualizer of a name again, with the first run's
    folder: runs of one process must not share a name. MMEngine's runner chooses one,
    MMDetection's tools do not.
    """

    @classmethod
    def get_instance(cls, name: str | None = None, **kwargs: Any) -> 'Visualizer':
        if name is None:
            name = f'visualizer-{next(_numbers)}'
        return super().get_instance(name, **kwargs)


@VISUALIZERS.register_module()
class DetectionVisualizer(_OwnName, DetLocalVisualizer):
    """MMDetection's visualizer of detections, which needs no name.

    Args:
        name: Name of the instance.
        **kwargs: Arguments of MMDetection's ``DetLocalVisualizer``.
    """

    def __init__(self, name: str = 'visualizer', **kwargs: Any) -> None:
        super().__init__(name, **kwargs)


@VISUALIZERS.register_module()
class TrackVisualizer(_OwnName, TrackLocalVisualizer):
    """MMDetection's visualizer of tracks, with this project's drawing.

    Against its parent: colours belong to identities (the parent has ten and
    seeds NumPy's global generator to choose one), the sizes follow the image,
    and a frame with 40 objects takes milliseconds instead of seconds.

    Args:
        name (str): Name of the instance.
        show_scores (bool): Write scores beside identities.
        show_classes (bool): Write classes beside identities.
        **kwargs: Arguments of MMDetection's ``TrackLocalVisualizer``;
            ``line_width`` is chosen by the image's size unless it is given.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        show_scores: bool = True,
        show_classes: bool = False,
        line_width: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, line_width=line_width, **kwargs)
        self.style = TrackStyle(
            show_scores=show_scores,
            show_classes=show_classes,
            trail_length=0,
            line_width=line_width,
        )

    def _draw_instances(self, image: np.ndarray, instances: InstanceData) -> np.ndarray:
        """Draw the ground truth or the tracks of a frame.

        Args:
            image (np.ndarray): uint8 (H, W, 3) RGB.
            instances (InstanceData): ``bboxes`` and identities.

        Returns:
            np.ndarray: uint8 (H, W, 3) RGB.
        """
        drawer = TrackDrawer(self.style, self.dataset_meta.get('classes'))
        return drawer.draw(image, drawn_tracks(instances))


def drawn_tracks(instances: InstanceData) -> DrawnTracks:
    """Take what is drawn out of ground truth or predictions.

    Args:
        instances (InstanceData): ``bboxes`` (N, 4) xyxy, identities as
            ``instances_id`` (predictions) or ``instances_ids`` (ground truth)
            and optionally ``scores`` and ``labels``.

    Returns:
        DrawnTracks: As arrays.
    """
    ids = 'instances_id' if 'instances_id' in instances else 'instances_ids'
    boxes = _to_numpy(instances.bboxes).reshape(-1, 4)
    return DrawnTracks(
        boxes=boxes.astype(np.float64),
        ids=_to_numpy(instances.get(ids)).astype(np.int64),
        scores=_to_numpy(instances.scores) if 'scores' in instances else None,
        labels=_to_numpy(instances.labels) if 'labels' in instances else None,
    )


def _to_numpy(values: Any) -> np.ndarray:
    values = getattr(values, 'tensor', values)  # MMDetection's box types
    return values.detach().cpu().numpy() if hasattr(values, 'detach') else values
