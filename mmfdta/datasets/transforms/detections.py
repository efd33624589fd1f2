# Copyright (c) mmfdta authors.
"""Clips of boxes alone, and detections as a detector might have found them."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from mmfdta.structures.boxes import covered_shares
from mmfdta.structures.frames import read_seqinfo

from .decoding import read_image_size
from .geometry import BOX_KEYS, ClipGeometry, has_boxes

# How much of a box others cover from where on it is missed more often.
_COVERED = 0.5


@TRANSFORMS.register_module()
class OpenBoxes(BaseTransform):
    """Take the place of ``OpenClip`` where no pixel is wanted.

    The size of a frame is that of the first image. Where there is none, or it cannot be
    read, ``seqinfo.ini`` says it.
    The clip has images of no pixels, so that everything after it takes it.
    """

    def transform(self, results: dict) -> dict:
        """Add ``ori_shape`` (H, W), ``geometry`` and ``imgs`` uint8 (T, 0, 0, 3).

        Raises:
            FileNotFoundError: If nothing says how large a frame is.
            OSError: If only an image could say it, and cannot be read.
        """
        shape = _frame_size(results['img_paths'][0])
        results['ori_shape'] = results['img_shape'] = shape
        results['geometry'] = ClipGeometry(shape)
        results['imgs'] = np.zeros((len(results['img_paths']), 0, 0, 3), np.uint8)
        return results


@lru_cache(maxsize=4096)
def _frame_size(path: str) -> tuple[int, int]:
    """Find (H, W) of the frames of a sequence, given the path of one."""
    try:
        return read_image_size(path)
    except OSError as error:
        ini = Path(path).parent.parent / 'seqinfo.ini'
        info = read_seqinfo(ini if ini.is_file() else None)
        if info.height and info.width:
            return info.height, info.width
        if not isinstance(error, FileNotFoundError):
            raise
    raise FileNotFoundError(
        f'{ini}: found neither imWidth and imHeight there nor the image {path}, '
        'but the size of a frame is needed; write a seqinfo.ini'
    )


@TRANSFORMS.register_module()
class SimulateDetections(BaseTransform):
    """Turn annotated boxes into what a detector might have found.

    Stands after the geometry and before ``GenerateIDTargets``. Boxes are missed, more
    often where a nearer box (one whose lower edge is lower) covers them; places and
    sizes are disturbed, those of covered boxes twice as much; false boxes live for some
    frames under identities of their own, half of them next to an object and the others
    anywhere. All get scores. The identities of true boxes stay.

    Args:
        miss_prob: Chance that a box is missed.
        covered_miss_prob: Chance that a box is missed that is covered all over; it
            grows from a cover of one half on.
        false_rate: False boxes per frame on average.
        jitter: Standard deviation of the centre in sizes of the box, and of the
            logarithm of its size; or four: of x, y, width and height.
        score: Mean score of true boxes; that of covered boxes is lower.
        false_score: Mean score of false boxes.
        score_noise: Standard deviation of scores; they stay within 0.05 and 1.

    Raises:
        ValueError: If a chance is not in 0..1, or a number is negative.
    """

    def __init__(
        self,
        miss_prob: float = 0.05,
        covered_miss_prob: float = 0.8,
        false_rate: float = 0.2,
        jitter: float | Sequence[float] = 0.03,
        score: float = 0.9,
        false_score: float = 0.5,
        score_noise: float = 0.1,
    ) -> None:
        chances = dict(
            miss_prob=miss_prob,
            covered_miss_prob=covered_miss_prob,
            score=score,
            false_score=false_score,
        )
        if np.size(jitter) not in (1, 4):
            raise ValueError(
                f'SimulateDetections(jitter={jitter}): expected one number, or four: '
                'of x, y, width and height'
            )
        self.jitter = np.broadcast_to(jitter, (4,))
        numbers = dict(
            false_rate=false_rate, jitter=self.jitter.min(), score_noise=score_noise
        )
        for name, value in {**chances, **numbers}.items():
            if value < 0 or name in chances and value > 1:
                expected = '0..1' if name in chances else 'at least 0'
                raise ValueError(
                    f'SimulateDetections({name}={value}): expected {expected}'
                )
        self.miss_prob = miss_prob
        self.covered_miss_prob = covered_miss_prob
        self.false_rate = false_rate
        self.score = score
        self.false_score = false_score
        self.score_noise = score_noise

    def transform(self, results: dict) -> dict:
        """Change the boxes, and add ``gt_scores`` float32 (M,).

        Raises:
            ValueError: If the clip has no boxes, or ID targets, which count them.
        """
        if not has_boxes(results) or 'id_targets' in results:
            found = 'no boxes'
            if has_boxes(results):
                found = 'ID targets, which count the boxes'
            raise ValueError(
                f'SimulateDetections: found {found}; put it before GenerateIDTargets, '
                'on annotated clips'
            )
        rng = results['rng']
        boxes, frames = results['gt_bboxes'], results['gt_frames']
        ends = np.flatnonzero(np.diff(frames)) + 1
        cover = np.concatenate(
            [covered_shares(part, by_nearer=True) for part in np.split(boxes, ends)]
        )
        more = self.covered_miss_prob * (cover - _COVERED).clip(0) / (1 - _COVERED)
        seen = rng.random(len(boxes)) >= np.maximum(self.miss_prob, more)
        noise = self.jitter * (1 + cover[:, None]) * rng.normal(size=(len(boxes), 4))
        mean = self.score * (1 - 0.5 * cover)
        true = dict(
            gt_bboxes=_disturb(boxes, noise)[seen],
            gt_scores=self._scores(mean, rng)[seen],
            **{key: results[key][seen] for key in BOX_KEYS[1:]},
        )
        false = self._draw_false(results)
        order = np.argsort(
            np.concatenate([true['gt_frames'], false['gt_frames']]), kind='stable'
        )
        for key, value in true.items():
            results[key] = np.concatenate([value, false[key]])[order]
        return results

    def _draw_false(self, results: dict) -> dict[str, np.ndarray]:
        """Draw boxes that are no objects, each for some frames behind one another."""
        rng = results['rng']
        boxes, frames = results['gt_bboxes'], results['gt_frames']
        length = len(results['img_paths'])
        # One lives for two frames on average.
        number = rng.poisson(self.false_rate * length / 2) if len(boxes) else 0
        models = rng.integers(0, max(len(boxes), 1), number)
        kept: dict[str, list] = {key: [] for key in BOX_KEYS}
        height, width = results['geometry'].shape
        last = results['gt_ids'].max(initial=0)
        for n, row in enumerate(models):
            box, start = boxes[row].copy(), int(frames[row])
            size = box[2:] - box[:2]
            if rng.random() < 0.5:  # next to an object, or around a part of it
                move = rng.uniform(-0.6, 0.6, 2) * size
            else:
                centre = (box[:2] + box[2:]) / 2
                move = rng.uniform(0, 1, 2) * (width, height) - centre
            box += np.tile(move, 2).astype(np.float32)
            grow = np.exp(rng.normal(0, 0.2, 2)) - 1
            box += np.concatenate([-grow, grow]) * np.tile(size, 2) / 2
            life = np.arange(start, min(start + rng.geometric(0.5), length))
            noise = self.jitter * rng.normal(size=(len(life), 4))
            kept['gt_bboxes'].append(_disturb(np.tile(box, (len(life), 1)), noise))
            kept['gt_frames'].append(life)
            kept['gt_ids'].append(np.full(len(life), last + 1 + n))
            kept['gt_labels'].append(np.full(len(life), results['gt_labels'][row]))
        false = {
            key: np.concatenate([results[key][:0], *parts]).astype(results[key].dtype)
            for key, parts in kept.items()
        }
        mean = np.full(len(false['gt_ids']), self.false_score)
        return {**false, 'gt_scores': self._scores(mean, rng)}

    def _scores(self, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = self.score_noise * rng.normal(size=len(mean))
        return (mean + noise).clip(0.05, 1.0).astype(np.float32)


def _disturb(boxes: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Move centres by noise (M, :2) of the size, and grow sizes by e^(M, 2:)."""
    size = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + noise[:, :2] * size
    half = size * np.exp(noise[:, 2:]) / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
