# Copyright (c) mmfdta authors.
"""Videos of moving coloured rectangles, and a tracker that finds them by colour."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.models.mot import BaseMOTModel
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmfdta.apis import MOTInferencer

SIZE = (120, 160)
# RGB; the class of a rectangle is its place here. Far from each other and black.
COLORS = ((220, 30, 30), (30, 200, 40), (40, 60, 230))
# Rectangle -> first frame, left and top in it, step in x and y a frame.
PATHS = ((0, 10, 10, 2, 1), (3, 100, 20, -1, 1), (5, 40, 70, 1, 0))
BOX = (24, 30)


def true_boxes(index: int) -> dict[int, tuple[int, int, int, int]]:
    """Class -> left, top, right, bottom of the rectangles in a frame."""
    boxes = {}
    for label, (first, left, top, dx, dy) in enumerate(PATHS):
        if index >= first:
            x = (left + dx * (index - first)) % (SIZE[1] - BOX[0])
            y = (top + dy * (index - first)) % (SIZE[0] - BOX[1])
            boxes[label] = (x, y, x + BOX[0], y + BOX[1])
    return boxes


def render(index: int) -> np.ndarray:
    """Frame as uint8 (H, W, 3) RGB; later rectangles lie on top."""
    image = np.zeros((*SIZE, 3), np.uint8)
    for label, (left, top, right, bottom) in true_boxes(index).items():
        image[top:bottom, left:right] = COLORS[label]
    return image


@MODELS.register_module(force=True)
class ColorTracker(BaseMOTModel):
    """Finds each colour by its pixels; an identity is the order of appearance.

    The colours are weights, so that a checkpoint decides what is found.
    """

    def __init__(self, data_preprocessor: dict, **kwargs) -> None:
        super().__init__(data_preprocessor, **kwargs)
        self.colors = torch.nn.Parameter(torch.zeros(3, 3))
        self.tracker = None
        self.batch_sizes: list[int] = []
        self._identities: dict[int, int] = {}

    def init_weights(self) -> None:
        """Start from the true colours."""
        self.colors.data = torch.tensor(COLORS, dtype=torch.float32)

    def loss(self, inputs, data_samples, **kwargs):
        raise NotImplementedError

    def predict(self, inputs, data_samples, **kwargs):
        pixels = inputs['img'] if isinstance(inputs, dict) else inputs
        self.batch_sizes.append(pixels.shape[1])
        (clip,) = data_samples
        for image, frame in zip(pixels[0], clip, strict=True):
            if frame.frame_id == 0:
                self._identities = {}
            found = [self._find(image, label, frame) for label in range(3)]
            rows = [row for row in found if row is not None]
            frame.pred_track_instances = InstanceData(
                bboxes=torch.tensor([row[:4] for row in rows]).reshape(-1, 4),
                scores=torch.tensor([0.5 + 0.1 * row[4] for row in rows]),
                labels=torch.tensor([row[4] for row in rows], dtype=torch.long),
                instances_id=torch.tensor([row[5] for row in rows], dtype=torch.long),
            )
        return data_samples

    def _find(self, image, label, frame):
        color = self.colors[label].view(3, 1, 1)
        near = ((image - color).abs() < 60).all(0)
        if not near.any():
            return None
        y, x = near.nonzero(as_tuple=True)
        scale = frame.scale_factor
        box = [x.min() / scale[0], y.min() / scale[1]]
        box += [(x.max() + 1) / scale[0], (y.max() + 1) / scale[1]]
        identity = self._identities.setdefault(label, len(self._identities))
        return [float(v) for v in box] + [label, identity]


def color_config(size: int = SIZE[0]) -> Config:
    """The tracker on this project's pipeline."""
    return Config(
        dict(
            model=dict(
                type='ColorTracker',
                data_preprocessor=dict(
                    type='ClipDataPreprocessor', mean=[0, 0, 0], std=[1, 1, 1]
                ),
            ),
            test_dataloader=dict(
                dataset=dict(
                    type='MOTSequenceDataset',
                    metainfo=dict(classes=('red', 'green', 'blue')),
                    pipeline=[
                        dict(type='OpenClip'),
                        dict(type='ClipResize', short=size, max_long=1440),
                        dict(type='DecodeClip', exact=True),
                        dict(type='PackClipInputs'),
                    ],
                )
            ),
        )
    )


@dataclass
class Toys:
    """What tests of videos need."""

    folder: Path
    config: Config
    checkpoint: Path

    def video(self, name: str, num_frames: int = 20, rate: float = 10.0) -> Path:
        """Write a video, without loss of colour that would matter."""
        path = self.folder / name
        codec = 'VP80' if path.suffix == '.webm' else 'mp4v'
        writer = cv2.VideoWriter(
            str(path), cv2.VideoWriter_fourcc(*codec), rate, SIZE[::-1]
        )
        assert writer.isOpened()
        for index in range(num_frames):
            writer.write(np.ascontiguousarray(render(index)[..., ::-1]))
        writer.release()
        return path

    def images(self, name: str, num_frames: int = 12) -> Path:
        """Write frames 1.png, 2.png, ... 12.png: numbers without zeros in front."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        for index in range(num_frames):
            cv2.imwrite(str(folder / f'{index + 1}.png'), render(index)[..., ::-1])
        return folder


@pytest.fixture
def toys(tmp_path) -> Toys:
    """A config and checkpoint of the tracker, and a folder for videos."""
    checkpoint = tmp_path / 'weights.pth'
    weights = dict(colors=torch.tensor(COLORS, dtype=torch.float32))
    torch.save(dict(state_dict=weights, meta={}), checkpoint)
    return Toys(tmp_path, color_config(), checkpoint)


@pytest.fixture
def scene():
    """The functions that tell what is in a frame."""

    class Scene:
        render = staticmethod(render)
        true_boxes = staticmethod(true_boxes)
        config = staticmethod(color_config)
        size = SIZE
        colors = COLORS

    return Scene


@pytest.fixture
def inferencer(toys) -> MOTInferencer:
    """The tracker, ready for frames."""
    return MOTInferencer(toys.config, toys.checkpoint, device='cpu')


@pytest.fixture
def read_video():
    """A function: the frames of a video and its frame rate."""

    def read(path) -> tuple[list[np.ndarray], float]:
        capture = cv2.VideoCapture(str(path))
        frames = []
        while True:
            ok, image = capture.read()
            if not ok:
                return frames, capture.get(cv2.CAP_PROP_FPS)
            frames.append(image)

    return read


@pytest.fixture
def names_in():
    """A function: the names of the files in a folder."""
    return lambda folder: sorted(path.name for path in folder.iterdir())
