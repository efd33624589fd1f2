# Copyright (c) mmfdta authors.
"""Makes a clip out of a static image by a constant shift."""

import math

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from .geometry import Crop, all_frames_legal, clip_boxes


@TRANSFORMS.register_module()
class StaticClipShift(BaseTransform):
    """Shift a static image from frame to frame, as a camera would pan.

    One shift of up to ``max_ratio`` of each side is drawn for the clip. Every
    frame is the previous one without the strip that moved out, resized to full
    size; boxes follow, are clipped, and dropped once nothing is left. If a
    frame would have no object, the image is simply repeated. Half of the
    shifted clips run backwards. Clips of real video pass unchanged.

    Args:
        max_ratio (float): Largest shift as a share of the side.
    """

    def __init__(self, max_ratio: float = 0.06) -> None:
        if not 0 <= max_ratio < 1:
            raise ValueError(
                f'StaticClipShift(max_ratio={max_ratio}): expected 0 <= ratio < 1'
            )
        self.max_ratio = max_ratio

    def transform(self, results: dict) -> dict:
        """Draw a shift and move the boxes.

        Args:
            results (dict): The clip.

        Returns:
            dict: The clip.
        """
        if not results['is_static']:
            return results
        geometry, rng = results['geometry'], results['rng']
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
        moved = self._move_boxes(results, window, (height, width), num_frames)
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

    def _move_boxes(
        self, results: dict, window: Crop, shape: tuple[int, int], num_frames: int
    ) -> dict[str, np.ndarray]:
        """Follow the first frame's boxes through the clip."""
        first = results['gt_frames'] == 0
        boxes = results['gt_bboxes'][first]
        rows = np.flatnonzero(first)
        offset = np.array([window.left, window.top] * 2, dtype=np.float32)
        ratio = np.array(
            [shape[1] / window.width, shape[0] / window.height] * 2, dtype=np.float32
        )
        frame_boxes, frame_rows = [boxes], [rows]
        for _ in range(1, num_frames):
            boxes, kept = clip_boxes(boxes - offset, window.height, window.width)
            boxes, rows = boxes[kept] * ratio, rows[kept]
            frame_boxes.append(boxes)
            frame_rows.append(rows)
        rows = np.concatenate(frame_rows)
        counts = [len(rows) for rows in frame_rows]
        return dict(
            gt_bboxes=np.concatenate(frame_boxes),
            gt_labels=results['gt_labels'][rows],
            gt_ids=results['gt_ids'][rows],
            gt_frames=np.repeat(np.arange(num_frames), counts),
        )
