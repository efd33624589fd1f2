# Copyright (c) mmfdta authors.
"""Tracking on the simulated device, beside the same on the CPU."""

import contextlib
import importlib
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from mmdet.models.mot import BaseMOTModel
from mmengine.config import Config
from mmengine.structures import InstanceData
from simulated_device import DEVICE, simulated_cuda
from small_fdta import collate, make_clip
from small_trackers import OF_MMDETECTION, build_pair, config_of

from mmfdta.apis.new_tracker import write_tracker
from mmfdta.ops import accelerate

SIZE = (64, 96)
WARM_UP = 3


def batches(num_frames: int, batch: int, seed: int = 7) -> list[dict]:
    """Return the frames of a video, as the loader hands them on."""
    clip = make_clip(num_frames, SIZE, with_depth=False, seed=seed)
    frames = clip['data_samples'].video_data_samples
    for frame in frames:
        frame.set_metainfo(dict(scale_factor=(1.0, 1.0)))
    found = []
    for first in range(0, num_frames, batch):
        part = make_clip(1, SIZE, with_depth=False)
        part['inputs'] = {
            k: v[first : first + batch] for k, v in clip['inputs'].items()
        }
        part['data_samples'].video_data_samples = frames[first : first + batch]
        found.append(collate(part))
    return found


def follow(model: BaseMOTModel, data: list[dict], uncounted: int) -> tuple:
    """Track; return the tracks of all frames and the counts after some batches."""
    tracks: list[InstanceData] = []
    with contextlib.ExitStack() as stack, torch.no_grad():
        counts = None
        for number, batch in enumerate(data):
            if number == uncounted:
                counts = stack.enter_context(DEVICE.counting())
            for clip in model.test_step(batch):
                tracks += [frame.pred_track_instances for frame in clip]
    return tracks, counts


def compare(
    found: list[InstanceData], expected: list[InstanceData], on_host: bool = True
) -> int:
    """Assert that tracks are the same and on the CPU; return how many there are."""
    for mine, theirs in zip(found, expected, strict=True):
        for name, value in mine.items():
            if on_host:
                assert type(value) is torch.Tensor, f'{name} is on the device'
        mine = mine.cpu()
        identities = mine.instances_id.tolist()
        assert identities == theirs.instances_id.tolist()
        assert mine.labels.tolist() == theirs.labels.tolist()
        for name in ('bboxes', 'scores'):
            np.testing.assert_allclose(
                mine.get(name), theirs.get(name), rtol=1e-4, atol=1e-3
            )
    return sum(len(frame) for frame in found)


def frames(
    name: str,
    num_frames: int = 6,
    batch: int = 1,
    dtype: str | None = None,
    num_classes: int = 1,
    **tracker: object,
) -> dict:
    """Track a video; count the frames after the first three.

    Args:
        name: See :func:`small_trackers.config_of`.
        num_frames: Length of the video.
        batch: Frames that are given at once.
        dtype: Type of autocast; tracks are then not compared.
        num_classes: Classes of the detector.
        **tracker: Arguments of the tracker to change.
    """
    config = config_of(name, num_classes, **tracker)
    return _frames(config, num_frames, batch, dtype, name not in OF_MMDETECTION)


def _frames(
    config: Config,
    num_frames: int,
    batch: int = 1,
    dtype: str | None = None,
    on_host: bool = True,
) -> dict:
    model, reference = build_pair(config)
    expected, _ = follow(accelerate(reference.eval()), batches(num_frames, batch), -1)
    with simulated_cuda():
        model = accelerate(model.to('cuda').eval())
        kind = dtype and getattr(torch, dtype)
        with torch.autocast('cuda', dtype=kind, enabled=dtype is not None):
            found, counts = follow(
                model, batches(num_frames, batch), -(-WARM_UP // batch)
            )
    return dict(
        counts=counts.to_json(),
        tracks=compare(found, found if dtype else expected, on_host),
        frames=num_frames - -(-WARM_UP // batch) * batch,
    )


def scaffolded(num_frames: int = 5) -> dict:
    """Track with the tracker that ``mmfdta new-tracker`` writes."""
    with tempfile.TemporaryDirectory() as folder:
        write_tracker('GlueTracker', Path(folder))
        sys.path.insert(0, folder)
        try:
            importlib.import_module('glue_tracker')
        finally:
            sys.path.remove(folder)
    config = config_of('iou-embedding')
    config.tracker = dict(type='GlueTracker')
    return _frames(config, num_frames)
