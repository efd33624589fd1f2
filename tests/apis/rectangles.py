# Copyright (c) mmfdta authors.
"""Videos of rectangles that cross and vanish, and a detector that finds them."""

import cv2
import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

# RGB; far from each other, from grey and from the poison.
COLORS = ((230, 20, 20), (20, 210, 30), (30, 50, 240), (230, 220, 20), (20, 220, 230))
# A detector that sees it says that a box is not finite.
POISON = (240, 20, 240)
SIZE = (72, 96)


def draw(
    seed: int, length: int, size: tuple[int, int] = SIZE, poisoned: tuple[int, ...] = ()
) -> list[np.ndarray]:
    """Draw a video of five rectangles, each of which is absent for a while.

    Args:
        seed: Of another video.
        length: Its frames.
        size: Height and width.
        poisoned: Frames that a detector cannot look at.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    start = rng.uniform((0, 0), (width - 20, height - 24), (5, 2))
    speed = rng.uniform(-4, 4, (5, 2))
    absent = rng.integers(1, max(length, 2), 5)
    frames = []
    for t in range(length):
        image = rng.integers(0, 25, (height, width, 3), dtype=np.uint8)
        for number in rng.permutation(5):
            if t in (absent[number], absent[number] + 1):
                continue
            x, y = np.clip(
                start[number] + t * speed[number], 0, (width - 20, height - 24)
            ).astype(int)
            cv2.rectangle(image, (x, y), (x + 14, y + 20), COLORS[number], -1)
        if t in poisoned:
            image[:4, :4] = POISON
        frames.append(np.ascontiguousarray(image[..., ::-1]))
    return frames


@MODELS.register_module(force=True)
class RectangleDetector(nn.Module):
    """Finds each colour once, with an embedding that tells it.

    Args:
        embed_dims: Numbers in an embedding.

    Attributes:
        batches: How many frames it was given at a time.
    """

    def __init__(self, embed_dims: int = 8) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.looks = nn.Parameter(torch.randn(5, embed_dims, generator=rng))
        self.batches: list[int] = []

    def predict(self, imgs: Tensor, frames: list, rescale: bool = True) -> list:
        self.batches.append(len(imgs))
        for image, frame in zip(imgs, frames, strict=True):
            found = [self._find(image, color) for color in COLORS]
            seen = [number for number, box in enumerate(found) if box is not None]
            boxes = torch.tensor([found[i] for i in seen]).reshape(-1, 4)
            if self._find(image, POISON) is not None:
                boxes[0, 0] = torch.nan
            boxes /= torch.tensor(frame.scale_factor).repeat(2)
            frame.pred_instances = InstanceData(
                bboxes=boxes,
                scores=torch.tensor([0.96 - 0.02 * number for number in seen]),
                labels=torch.zeros(len(seen), dtype=torch.int64),
                embeddings=self.looks.detach()[seen],
            )
        return frames

    def _find(self, image: Tensor, color: tuple[int, int, int]) -> list[float] | None:
        away = (image - torch.tensor(color, dtype=torch.float32).view(3, 1, 1)).abs()
        rows, columns = (away < 60).all(0).nonzero(as_tuple=True)
        if not len(rows):
            return None
        low = float(columns.min()), float(rows.min())
        return [*low, float(columns.max() + 1), float(rows.max() + 1)]


def rectangle_config(model: dict, size: int = SIZE[0]) -> Config:
    """A tracker on the detector, with frames as they are.

    Args:
        model: The tracker, without what is common to all.
        size: Short side of the frames for the model.
    """
    common = dict(
        detector=dict(type='RectangleDetector'),
        data_preprocessor=dict(
            type='ClipDataPreprocessor', mean=[0, 0, 0], std=[1, 1, 1]
        ),
    )
    pipeline = [
        dict(type='OpenClip'),
        dict(type='ClipResize', short=size, max_long=1440),
        dict(type='DecodeClip', exact=True),
        dict(type='PackClipInputs'),
    ]
    return Config(dict(model={**common, **model}, test_pipeline=pipeline))
