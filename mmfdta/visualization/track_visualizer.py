# Copyright (c) mmfdta authors.
"""The visualizer that MMEngine's runner and hooks draw tracks with."""

import itertools
from dataclasses import replace
from typing import Any

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

import numpy as np
from mmdet.registry import VISUALIZERS
from mmdet.visualization import DetLocalVisualizer, TrackLocalVisualizer
from mmengine.structures import InstanceData
from mmengine.utils import ManagerMixin
from mmengine.visualization import Visualizer

from mmfdta.structures.tracks import Tracks

from .drawing import TrackDrawer, TrackStyle

_numbers = itertools.count()


class _OwnName(ManagerMixin):
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
        name: Name of the instance.
        show_scores: Write scores next to identities.
        show_classes: Write classes next to identities.
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
        """Draw the ground truth or the tracks of a frame, uint8 (H, W, 3) RGB."""
        style = self.style
        if 'scores' not in instances:  # a ground truth
            style = replace(style, show_scores=False)
        drawer = TrackDrawer(style, self.dataset_meta.get('classes'))
        return drawer.draw(image, Tracks.from_instances(instances, 1))
