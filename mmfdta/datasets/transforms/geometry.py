# Copyright (c) mmfdta authors.
"""Geometry of a clip, decided on boxes first and applied to pixels later.

The random transforms only record steps (flip, resize, crop, shift) and move
the boxes; images and depth maps are decoded when all steps are known, so a
JPEG is decoded no larger than needed, a crop is cut out before it is resized,
and nothing but the result is kept in memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.dataset import Compose

from mmfdta.structures.frame_sizes import inference_size, training_size

from ..sequences import legal_counts


@dataclass(frozen=True)
class Flip:
    """Horizontal flip."""


@dataclass(frozen=True)
class Resize:
    """Resize to ``height`` x ``width`` pixels."""

    height: int
    width: int


@dataclass(frozen=True)
class Crop:
    """Cut out ``height`` x ``width`` pixels at (``left``, ``top``)."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows_and_columns(self) -> tuple[slice, slice]:
        """The window as an index into an image."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )


Step = Flip | Resize | Crop


@dataclass
class ClipGeometry:
    """Steps that lead from the decoded frames to the augmented clip.

    Attributes:
        source_shape: (H, W) of every file of the clip.
        steps: In the order of application, the
            same for all frames.
        shift: For static images: the window of a frame that,
            resized to full size, makes the next frame.
        reverse: The shifted frames run backwards.
    """

    source_shape: tuple[int, int]
    steps: list[Step] = field(default_factory=list)
    shift: Crop | None = None
    reverse: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) after all steps."""
        for step in reversed(self.steps):
            if not isinstance(step, Flip):
                return step.height, step.width
        return self.source_shape

    @property
    def scale_factor(self) -> tuple[float, float]:
        """(w, h) product of all resizes."""
        shape, scale = self.source_shape, (1.0, 1.0)
        for step in self.steps:
            if isinstance(step, Resize):
                scale = (
                    scale[0] * step.width / shape[1],
                    scale[1] * step.height / shape[0],
                )
            if not isinstance(step, Flip):
                shape = step.height, step.width
        return scale


BOX_KEYS = ('gt_bboxes', 'gt_labels', 'gt_ids', 'gt_frames')


def has_boxes(results: dict) -> bool:
    """Tell whether the clip is annotated."""
    return 'gt_bboxes' in results


def crop_boxes(boxes: np.ndarray, window: Crop) -> tuple[np.ndarray, np.ndarray]:
    """Move boxes into a window and find those that keep an area in it.

    Args:
        boxes: float32 (M, 4) xyxy.
        window: Where they are cut out.

    Returns:
        Clipped boxes in the window's pixels and bool (M,).
    """
    offset = np.array([window.left, window.top] * 2, dtype=np.float32)
    limit = np.array([window.width, window.height] * 2, dtype=boxes.dtype)
    moved: np.ndarray = boxes - offset
    clipped = np.clip(moved, 0, limit)
    return clipped, (clipped[:, 2:] > clipped[:, :2]).all(axis=1)


def all_frames_legal(frames: np.ndarray, ids: np.ndarray, num_frames: int) -> bool:
    """Tell whether every frame has 1..300 objects with unique identities."""
    return bool(legal_counts(frames, ids, num_frames).all())


def record(results: dict, step: Step) -> None:
    """Record a step of a clip, whose boxes are moved with it.

    Raises:
        ValueError: If images or depth maps are read already.
    """
    refuse_after_reading(results, type(step).__name__.lower())
    results['geometry'].steps.append(step)


def refuse_after_reading(results: dict, what: str) -> None:
    """Refuse to move the boxes of a clip whose pixels would stay where they are.

    Args:
        results: The clip.
        what: What is to be done, for the message.

    Raises:
        ValueError: If images or depth maps are read already.
    """
    for key, reader in (('imgs', 'DecodeClip'), ('depths', 'LoadClipDepth')):
        # OpenBoxes makes images without pixels, with which boxes may go anywhere.
        if key in results and results[key].size:
            raise ValueError(
                f'found a {what} after {reader}, expected it before: pixels are read '
                'already, and boxes would leave their objects. Change the order of '
                'the pipeline'
            )


def refuse_after_targets(results: dict, what: str) -> None:
    """Refuse to drop boxes of a clip after they were counted.

    Args:
        results: The clip.
        what: What is to be done, for the message.

    Raises:
        ValueError: If the clip has ID targets, or scores of simulated detections.
    """
    for key, step in (
        ('id_targets', 'GenerateIDTargets'),
        ('gt_scores', 'SimulateDetections'),
    ):
        if key in results:
            raise ValueError(
                f'found a {what} after {step}, expected it before: it may drop boxes, '
                'which are counted already. Change the order of the pipeline'
            )


def refuse_in_test(results: dict, what: str) -> None:
    """Refuse what cannot be undone on the results of a test.

    Args:
        results: The clip.
        what: What is to be done, for the message.

    Raises:
        ValueError: If the clip is one of a test.
    """
    if results.get('test_mode'):
        raise ValueError(
            f'found a {what} in a test, expected ClipResize alone: results would not '
            'be in pixels of the original image. Take it out of the pipeline'
        )


def apply_resize(results: dict, shape: tuple[int, int]) -> None:
    """Record a resize of a clip to (H, W) and scale the boxes."""
    old_height, old_width = results['geometry'].shape
    record(results, Resize(*shape))
    if has_boxes(results):
        ratio = np.array([shape[1] / old_width, shape[0] / old_height] * 2, np.float32)
        results['gt_bboxes'] = results['gt_bboxes'] * ratio


@TRANSFORMS.register_module()
class ClipRandomFlip(BaseTransform):
    """Flip the whole clip horizontally.

    Args:
        prob: Probability.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Maybe flip."""
        if self.prob > 0:
            refuse_in_test(results, 'flip')
        if results['rng'].random() >= self.prob:
            return results
        width = results['geometry'].shape[1]
        record(results, Flip())
        if has_boxes(results):
            sign = np.array([-1, 1, -1, 1], dtype=np.float32)
            offset = np.array([width, 0, width, 0], dtype=np.float32)
            results['gt_bboxes'] = results['gt_bboxes'][:, [2, 1, 0, 3]] * sign + offset
        return results


@TRANSFORMS.register_module()
class ClipRandomResize(BaseTransform):
    """Resize the clip to one of several short sides.

    Args:
        short_sides: Short sides, equally likely.
        max_long: Limit of the long side.
    """

    def __init__(self, short_sides: Sequence[int], max_long: int | None = None) -> None:
        self.short_sides = tuple(short_sides)
        self.max_long = max_long

    def transform(self, results: dict) -> dict:
        """Draw a size and resize."""
        short = self.short_sides[results['rng'].integers(len(self.short_sides))]
        shape = training_size(results['geometry'].shape, short, self.max_long)
        apply_resize(results, shape)
        return results


@TRANSFORMS.register_module()
class ClipResize(BaseTransform):
    """Resize for inference: short side ``short``, long side at most ``max_long``.

    Args:
        short: Short side.
        max_long: Limit of the long side.
    """

    def __init__(self, short: int = 800, max_long: int | None = 1440) -> None:
        self.short = short
        self.max_long = max_long

    def transform(self, results: dict) -> dict:
        """Resize."""
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
        min_size: Smallest side.
        max_size: Largest side.
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
        """Draw a window and crop if every frame stays legal."""
        refuse_in_test(results, 'crop')
        refuse_after_targets(results, 'crop')
        rng, shape = results['rng'], results['geometry'].shape
        height, width = (
            int(rng.integers(min(self.min_size, side), min(self.max_size, side) + 1))
            for side in shape
        )
        top = int(rng.integers(shape[0] - height + 1))
        left = int(rng.integers(shape[1] - width + 1))
        crop = Crop(top, left, height, width)
        if has_boxes(results):
            boxes, kept = crop_boxes(results['gt_bboxes'], crop)
            frames, ids = results['gt_frames'][kept], results['gt_ids'][kept]
            if not all_frames_legal(frames, ids, len(results['img_paths'])):
                return results
            results['gt_bboxes'] = boxes
            for key in BOX_KEYS:
                results[key] = results[key][kept]
        record(results, crop)
        return results


@TRANSFORMS.register_module()
class ClipRandomChoice(BaseTransform):
    """Apply one of several pipelines to the clip.

    Args:
        transforms: The pipelines.
        prob: Their probabilities; None: all equal.
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
        """Draw a pipeline and apply it."""
        index = results['rng'].choice(len(self.pipelines), p=self.prob)
        return self.pipelines[index](results)


@TRANSFORMS.register_module()
class StaticClipShift(BaseTransform):
    """Shift a static image from frame to frame, as a camera would pan.

    One shift of up to ``max_ratio`` of each side is drawn for the clip. Every
    frame is the previous one without the strip that moved out, resized to full
    size; boxes follow, are clipped, and dropped once nothing is left. If a
    frame would have no object, the image is simply repeated. Half of the
    shifted clips run backwards. Clips of real video pass unchanged.

    Args:
        max_ratio: Largest shift as a share of the side.
    """

    def __init__(self, max_ratio: float = 0.06) -> None:
        if not 0 <= max_ratio < 1:
            raise ValueError(
                f'StaticClipShift(max_ratio={max_ratio}): expected 0 <= ratio < 1'
            )
        self.max_ratio = max_ratio

    def transform(self, results: dict) -> dict:
        """Draw a shift and move the boxes.

        Raises:
            ValueError: If another step stands before it, as the shift is one of the
                file's pixels.
        """
        if not results['is_static']:
            return results
        geometry, rng = results['geometry'], results['rng']
        refuse_after_reading(results, 'shift')
        refuse_after_targets(results, 'shift')
        if geometry.steps:
            raise ValueError(
                f'found a shift after a {type(geometry.steps[0]).__name__.lower()}, '
                'expected it before; put StaticClipShift right after OpenClip'
            )
        height, width = geometry.source_shape
        limit_x = math.ceil(self.max_ratio * width)
        limit_y = math.ceil(self.max_ratio * height)
        shift_x = int(rng.integers(-limit_x, limit_x + 1))
        shift_y = int(rng.integers(-limit_y, limit_y + 1))
        window = Crop(
            top=max(0, shift_y),
            left=max(0, shift_x),
            height=height - abs(shift_y),
            width=width - abs(shift_x),
        )
        num_frames = len(results['img_paths'])
        moved = _shift_boxes(results, window, (height, width), num_frames)
        if not all_frames_legal(moved['gt_frames'], moved['gt_ids'], num_frames):
            return results
        geometry.shift = window
        geometry.reverse = bool(rng.random() < 0.5)
        if geometry.reverse:
            moved['gt_frames'] = num_frames - 1 - moved['gt_frames']
            order = np.argsort(moved['gt_frames'], kind='stable')
            moved = {key: value[order] for key, value in moved.items()}
        results.update(moved)
        return results


def _shift_boxes(
    results: dict, window: Crop, shape: tuple[int, int], num_frames: int
) -> dict[str, np.ndarray]:
    """Follow the first frame's boxes through the clip."""
    rows = np.flatnonzero(results['gt_frames'] == 0)
    boxes = results['gt_bboxes'][rows]
    ratio = np.array(
        [shape[1] / window.width, shape[0] / window.height] * 2, dtype=np.float32
    )
    frame_boxes, frame_rows = [boxes], [rows]
    for _ in range(1, num_frames):
        boxes, kept = crop_boxes(boxes, window)
        boxes, rows = boxes[kept] * ratio, rows[kept]
        frame_boxes.append(boxes)
        frame_rows.append(rows)
    rows = np.concatenate(frame_rows)
    return dict(
        gt_bboxes=np.concatenate(frame_boxes),
        gt_labels=results['gt_labels'][rows],
        gt_ids=results['gt_ids'][rows],
        gt_frames=np.repeat(np.arange(num_frames), [len(rows) for rows in frame_rows]),
    )
