# Copyright (c) mmfdta authors.
"""Flip, resize and crop a clip: the same for every frame, boxes first."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.dataset import Compose

from .geometry import (
    BOX_KEYS,
    Crop,
    Flip,
    Resize,
    all_frames_legal,
    clip_boxes,
    has_boxes,
    inference_size,
    training_size,
)


def apply_resize(results: dict, shape: tuple[int, int]) -> None:
    """Record a resize and scale the boxes.

    Args:
        results (dict): The clip.
        shape (tuple[int, int]): New (H, W).
    """
    old_height, old_width = results['geometry'].shape
    results['geometry'].steps.append(Resize(*shape))
    if has_boxes(results):
        ratio = np.array([shape[1] / old_width, shape[0] / old_height] * 2, np.float32)
        results['gt_bboxes'] = results['gt_bboxes'] * ratio


@TRANSFORMS.register_module()
class ClipRandomFlip(BaseTransform):
    """Flip the whole clip horizontally.

    Args:
        prob (float): Probability.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Maybe flip.

        Args:
            results (dict): The clip.

        Returns:
            dict: The clip.
        """
        if results['rng'].random() >= self.prob:
            return results
        geometry = results['geometry']
        width = geometry.shape[1]
        geometry.steps.append(Flip())
        if has_boxes(results):
            sign = np.array([-1, 1, -1, 1], dtype=np.float32)
            offset = np.array([width, 0, width, 0], dtype=np.float32)
            results['gt_bboxes'] = results['gt_bboxes'][:, [2, 1, 0, 3]] * sign + offset
        return results


@TRANSFORMS.register_module()
class ClipRandomResize(BaseTransform):
    """Resize the clip to one of several short sides.

    Args:
        short_sides (Sequence[int]): Short sides, equally likely.
        max_long (int | None): Limit of the long side.
    """

    def __init__(self, short_sides: Sequence[int], max_long: int | None = None) -> None:
        self.short_sides = tuple(short_sides)
        self.max_long = max_long

    def transform(self, results: dict) -> dict:
        """Draw a size and resize.

        Args:
            results (dict): The clip.

        Returns:
            dict: The clip.
        """
        short = self.short_sides[results['rng'].integers(len(self.short_sides))]
        shape = training_size(results['geometry'].shape, short, self.max_long)
        apply_resize(results, shape)
        return results


@TRANSFORMS.register_module()
class ClipResize(BaseTransform):
    """Resize for inference: short side ``short``, long side at most ``max_long``.

    Args:
        short (int): Short side.
        max_long (int | None): Limit of the long side.
    """

    def __init__(self, short: int = 800, max_long: int | None = 1440) -> None:
        self.short = short
        self.max_long = max_long

    def transform(self, results: dict) -> dict:
        """Resize.

        Args:
            results (dict): The clip.

        Returns:
            dict: The clip.
        """
        shape = inference_size(results['geometry'].shape, self.short, self.max_long)
        apply_resize(results, shape)
        return results


@TRANSFORMS.register_module()
class ClipRandomCrop(BaseTransform):
    """Cut one random window out of all frames.

    Boxes are clipped to the window and dropped if nothing is left of them. If
    a frame becomes illegal (no object left), the clip stays as it is. A side
    smaller than ``min_size`` is kept whole.

    Args:
        min_size (int): Smallest side.
        max_size (int): Largest side.
    """

    def __init__(self, min_size: int = 384, max_size: int = 600) -> None:
        if not 1 <= min_size <= max_size:
            raise ValueError(
                f'ClipRandomCrop(min_size={min_size}, max_size={max_size}): '
                'expected 1 <= min_size <= max_size'
            )
        self.min_size = min_size
        self.max_size = max_size

    def transform(self, results: dict) -> dict:
        """Draw a window and crop if every frame stays legal.

        Args:
            results (dict): The clip.

        Returns:
            dict: The clip.
        """
        crop = self._draw(results['geometry'].shape, results['rng'])
        if has_boxes(results):
            offset = np.array([crop.left, crop.top] * 2, dtype=np.float32)
            boxes, kept = clip_boxes(
                results['gt_bboxes'] - offset, crop.height, crop.width
            )
            frames, ids = results['gt_frames'][kept], results['gt_ids'][kept]
            if not all_frames_legal(frames, ids, len(results['img_paths'])):
                return results
            results['gt_bboxes'] = boxes
            for key in BOX_KEYS:
                results[key] = results[key][kept]
        results['geometry'].steps.append(crop)
        return results

    def _draw(self, shape: tuple[int, int], rng: np.random.Generator) -> Crop:
        height, width = (
            int(rng.integers(min(self.min_size, side), min(self.max_size, side) + 1))
            for side in shape
        )
        top = int(rng.integers(shape[0] - height + 1))
        left = int(rng.integers(shape[1] - width + 1))
        return Crop(top, left, height, width)


@TRANSFORMS.register_module()
class ClipRandomChoice(BaseTransform):
    """Apply one of several pipelines to the clip.

    Args:
        transforms (Sequence[Sequence[dict]]): The pipelines.
        prob (Sequence[float] | None): Their probabilities; None: all equal.
    """

    def __init__(
        self,
        transforms: Sequence[Sequence[dict]],
        prob: Sequence[float] | None = None,
    ) -> None:
        if prob is not None and len(prob) != len(transforms):
            raise ValueError(
                f'ClipRandomChoice: found {len(prob)} probabilities for '
                f'{len(transforms)} pipelines, expected as many'
            )
        self.pipelines = [Compose(pipeline) for pipeline in transforms]
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Draw a pipeline and apply it.

        Args:
            results (dict): The clip.

        Returns:
            dict: The clip.
        """
        index = results['rng'].choice(len(self.pipelines), p=self.prob)
        return self.pipelines[index](results)
