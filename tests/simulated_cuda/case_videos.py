# Copyright (c) mmfdta authors.
"""Videos on the simulated device, as users track them."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from case_prediction import SIZE
from mmengine.config import Config
from simulated_device import DEVICE, simulated_cuda
from small_trackers import build_pair, config_of

from mmfdta.apis import MOTInferencer

PIPELINE = [
    dict(type='OpenClip'),
    dict(type='DecodeClip', exact=True),
    dict(type='PackClipInputs'),
]


def write_images(folder: Path, number: int) -> Path:
    """Write noise as the frames of a video."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(number):
        image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
        cv2.imwrite(str(folder / f'{i:06d}.png'), image)
    return folder


def video(name: str, num_frames: int) -> dict:
    """Track a folder of images with the default number of frames at a time.

    Args:
        name: See :func:`small_trackers.config_of`.
        num_frames: How many images.
    """
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        images = write_images(folder / 'images', num_frames)
        config = Config(dict(model=config_of(name), test_pipeline=PIPELINE))
        torch.save(build_pair(config.model)[0].state_dict(), folder / 'model.pth')
        on_cpu = MOTInferencer(config, folder / 'model.pth', 'cpu')
        expected = [frame.tracks for frame in on_cpu.track(images)]
        given: list[int] = []
        with simulated_cuda():
            inferencer = MOTInferencer(config, folder / 'model.pth', 'cuda')
            inferencer.model.data_preprocessor.register_forward_pre_hook(
                lambda _, args: given.append(len(args[0]['data_samples'][0]))
            )
            with DEVICE.counting() as counts:
                found = [frame.tracks for frame in inferencer.track(images)]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine.identity, theirs.identity)
        np.testing.assert_allclose(mine.xyxy, theirs.xyxy, atol=0.01)
    tracks = sum(len(frame) for frame in found)
    return dict(counts=counts.to_json(), tracks=tracks, frames=num_frames, given=given)
