# Copyright (c) mmfdta authors.
"""Applies an image transform of MMCV or MMDetection alike to all frames of a clip."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from mmfdta.structures.tracks import as_array

from .geometry import BOX_KEYS, all_frames_legal, has_boxes

_LOADS = 'the clip is loaded already'
_PACKS = 'PackClipInputs packs a clip'
_MIXES = 'it mixes in other images, which have no place in a video'
_DRAWS = 'what it draws depends on the boxes of a frame, so that frames would differ'
# Transforms that are refused, and why. docs/data.md lists those that fit.
UNFIT = {
    'Normalize': 'the data preprocessor of the model normalises, on the device',
    'LoadImageFromFile': _LOADS,
    'LoadImageFromNDArray': _LOADS,
    'LoadAnnotations': _LOADS,
    'LoadTrackAnnotations': _LOADS,
    'PackDetInputs': _PACKS,
    'PackTrackInputs': _PACKS,
    'ToTensor': _PACKS,
    'ImageToTensor': _PACKS,
    'Mosaic': _MIXES,
    'CachedMosaic': _MIXES,
    'MixUp': _MIXES,
    'CachedMixUp': _MIXES,
    'CopyPaste': _MIXES,
    'InstaBoost': _MIXES,
    'MinIoURandomCrop': f'{_DRAWS}; use ClipRandomCrop',
    'RandomCenterCropPad': f'{_DRAWS}; use ClipRandomCrop',
    'RandomShift': _DRAWS,
}
# These change colours and geometry in one step; depth must only follow the geometry.
UNFIT_WITH_DEPTH = ('AutoAugment', 'RandAugment', 'RandomOrder', 'Albu')


@TRANSFORMS.register_module()
class ClipTransform(BaseTransform):
    """Apply one image transform with the same random draw to all frames.

    Stands after ``DecodeClip`` and ``LoadClipDepth``, where pixels exist, and
    before ``GenerateIDTargets``. The transform sees each frame as MMDetection's
    pipelines hand it over: a BGR image with boxes and labels. The generators of
    Python, NumPy and PyTorch start from the same state for every frame, which is
    drawn from the clip's own generator.

    Boxes follow, and those that the transform drops are dropped. If a frame is
    left without objects, or the transform gives one up, the clip stays as it is.
    Depth maps follow a change of the geometry and are left alone by a change of
    the colours.

    Args:
        transform: Config of the transform, or the transform itself.

    Raises:
        ValueError: If the transform does not make sense for a clip.
    """

    def __init__(self, transform: dict | BaseTransform) -> None:
        if isinstance(transform, dict):
            transform = TRANSFORMS.build(transform)
        self.inner = transform
        self.name = type(transform).__name__
        if self.name in UNFIT:
            self._refuse(f'not for clips: {UNFIT[self.name]}')

    def transform(self, results: dict) -> dict:
        """Transform ``imgs`` uint8 (T, H, W, 3) RGB and ``depths`` uint8 (T, H, W, 1).

        Raises:
            ValueError: If the step stands in the wrong place of the pipeline, or
                the transform treats the frames of a clip differently.
        """
        if 'imgs' not in results:
            self._refuse('found no images yet; put it after DecodeClip')
        if 'id_targets' in results:
            self._refuse(
                'found ID targets, which count the boxes; put it before '
                'GenerateIDTargets'
            )
        if 'depths' in results and self.name in UNFIT_WITH_DEPTH:
            self._refuse(
                'it may change colours and geometry in one step, of which depth maps '
                'follow only the second; use single transforms'
            )
        seed = int(results['rng'].integers(2**32))
        images = results['imgs']
        before = [make_frame(results, t, image) for t, image in enumerate(images)]
        after: list[dict] = []
        for frame in before:
            changed = self._apply(frame, seed)
            if changed is None:
                return results
            after.append(changed)
        if any(geometry_of(frame) != geometry_of(after[0]) for frame in after):
            self._refuse(
                f'it moves the frames of a clip of sequence {results["sequence"]!r} '
                'differently, which no camera does'
            )
        boxes, rows = _gather_boxes(results, after)
        moved = geometry_of(after[0]) != (images.shape[1:3], None) or (
            has_boxes(results) and not np.array_equal(boxes, results['gt_bboxes'][rows])
        )
        if has_boxes(results) and not self._update_boxes(results, boxes, rows):
            return results
        if moved:
            self._refuse_test(results)
            results['moved_by'] = self.name
            if 'depths' in results:
                results['depths'] = self._move_depth(results, seed)
        results['imgs'] = np.stack([image_of(frame) for frame in after])
        results['img_shape'] = results['imgs'].shape[1:3]
        return results

    def __repr__(self) -> str:
        return f'ClipTransform(transform={self.inner!r})'

    def _refuse(self, problem: str) -> NoReturn:
        raise ValueError(f'ClipTransform(transform={self.name}): {problem}')

    def _apply(self, frame: dict, seed: int) -> dict | None:
        with seeded(seed):
            return self.inner(frame)

    def _update_boxes(self, results: dict, boxes: np.ndarray, rows: np.ndarray) -> bool:
        """Write the boxes that are left; False if a frame has lost all of its own."""
        kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, rows = boxes[kept], rows[kept]
        if len(rows) < len(results['gt_bboxes']):
            self._refuse_test(results)
            frames, ids = results['gt_frames'][rows], results['gt_ids'][rows]
            if not all_frames_legal(frames, ids, len(results['imgs'])):
                return False
        for key in BOX_KEYS:
            results[key] = results[key][rows]
        results['gt_bboxes'] = boxes
        return True

    def _refuse_test(self, results: dict) -> None:
        if results.get('test_mode'):
            self._refuse(
                'it moves or hides objects of a test, whose boxes would not be those '
                'of the original image; resize with ClipResize, or take it out of the '
                'pipeline'
            )

    def _move_depth(self, results: dict, seed: int) -> np.ndarray:
        """Move depth maps as if they were grey images: uint8 (T, H, W, 1)."""
        grey = np.repeat(results['depths'], 3, axis=3)
        frames = [make_frame(results, t, image) for t, image in enumerate(grey)]
        # The transform has given up no image with this seed.
        moved = [cast(dict, self._apply(frame, seed)) for frame in frames]
        return np.stack([image_of(frame) for frame in moved])[..., :1]


def make_frame(results: dict, t: int, image: np.ndarray) -> dict:
    """Describe a frame as MMDetection's image transforms expect it.

    Args:
        results: The clip.
        t: Index of the frame.
        image: uint8 (H, W, 3) RGB.

    Returns:
        ``img`` BGR, shapes and, where the clip has boxes, ``gt_bboxes``. In place
        of class labels stand the rows of the boxes in the clip, so that it is known
        which are left afterwards.
    """
    frame: dict[str, Any] = dict(
        img=np.ascontiguousarray(image[..., ::-1]),
        img_path=results['img_paths'][t],
        img_id=int(results['img_ids'][t]),
        img_shape=image.shape[:2],
        ori_shape=results['ori_shape'],
    )
    if has_boxes(results):
        rows = np.flatnonzero(results['gt_frames'] == t)
        frame.update(
            gt_bboxes=results['gt_bboxes'][rows],
            gt_bboxes_labels=rows,
            gt_ignore_flags=np.zeros(len(rows), dtype=bool),
        )
    return frame


def image_of(frame: dict) -> np.ndarray:
    """Return a frame's image as uint8 (H, W, 3) RGB."""
    image = frame['img']
    if image.dtype != np.uint8:
        image = np.rint(image).clip(0, 255).astype(np.uint8)
    return image[..., ::-1]


def geometry_of(frame: dict) -> tuple[tuple[int, int], tuple | None]:
    """Return (H, W), and what a transform says of where it moved the pixels.

    None means that they stayed, as far as the transform tells.
    """
    matrix = frame.get('homography_matrix')
    if matrix is not None and np.allclose(matrix, np.eye(3)):
        matrix = None
    flip = frame.get('flip_direction') if frame.get('flip') else None
    if matrix is None and flip is None:
        return frame['img'].shape[:2], None
    entries = None if matrix is None else tuple(np.asarray(matrix).ravel().tolist())
    return frame['img'].shape[:2], (flip, entries)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Start the generators of Python, NumPy and PyTorch from a seed for a while.

    Args:
        seed: At most 32 bits. The generators go on afterwards as if nothing had
            been drawn.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # the devices' generators stay
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _gather_boxes(results: dict, frames: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes left, float32 (M, 4) xyxy, and their rows, int64 (M,)."""
    if not has_boxes(results):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    # MMCV's transforms leave arrays, MMDetection's make boxes of its own of them.
    boxes = np.concatenate([as_array(frame['gt_bboxes']) for frame in frames])
    rows = np.concatenate([as_array(frame['gt_bboxes_labels']) for frame in frames])
    return boxes.astype(np.float32), rows.astype(np.int64)
