# Copyright (c) mmfdta authors.
"""A video of 10,000 frames: flat memory, identities that are never used again."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample, TrackDataSample
from small_fdta import build, small_config

from mmfdta.apis.sources import FrameSource, SourceFrame
from mmfdta.apis.track_outputs import VideoFacts, plan_outputs
from mmfdta.apis.tracking_run import TrackingRun
from mmfdta.models.mot import FDTA
from mmfdta.structures import Tracks
from mmfdta.structures.mot_text import read_tracks
from mmfdta.visualization import TrackStyle

pytestmark = pytest.mark.faults

FRAMES = 10_000
MEASURED = range(4_000, FRAMES + 1, 2_000)
# What the resident memory may grow by from 4,000 frames, when caches are full, to
# 10,000; a float64 for each of 12 queries with 32 channels would be 18 MB.
GROWTH = 12 << 20
SIZE = (32, 48)


class Noise(FrameSource):
    """Frames without a file."""

    def __init__(self) -> None:
        super().__init__('noise', 25.0, FRAMES, False)

    def __iter__(self):
        for index in range(FRAMES):
            rng = np.random.default_rng(index)
            image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
            yield SourceFrame(index + 1, image, index / 25)


def resident() -> int:
    """Resident memory of this process in bytes."""
    gc.collect()
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmRSS'):
            return int(line.split()[1]) << 10
    raise RuntimeError('no VmRSS in /proc/self/status')


@pytest.fixture
def model() -> FDTA:
    """A small tracker whose detections come and go at random."""
    config = small_config()
    config.detector.backbone.update(base_channels=8, stem_channels=8)
    config.detector.neck.in_channels = [16, 32, 64]
    config.tracker.update(det_thr=0.0, newborn_thr=0.0, id_thr=0.3)
    model = build(config).eval()
    detect = model.detector.detect

    def some(imgs, frames):
        outputs = detect(imgs, frames)
        seed = int(frames[0].frame_id)
        rng = torch.Generator().manual_seed(seed)
        shape = outputs.cls_scores[-1].shape
        outputs.cls_scores[-1] = 4 * torch.randn(shape, generator=rng)
        outputs.embeddings += 4 * torch.randn(outputs.embeddings.shape, generator=rng)
        # Sometimes nobody is there, longer than anybody is remembered.
        if seed % 500 < 20:
            outputs.cls_scores[-1] -= 1000
        return outputs

    model.detector.detect = some
    return model


def test_memory_is_flat_and_identities_are_new(model: FDTA, tmp_path: Path):
    def prepare(image, index, *_):
        frame = DetDataSample(
            metainfo=dict(
                frame_id=index,
                ori_shape=SIZE,
                img_shape=SIZE,
                batch_input_shape=SIZE,
            )
        )
        return dict(image=image, frame=frame)

    @torch.no_grad()
    def track(samples, first):
        results = []
        for number, sample in enumerate(samples, first):
            clip = TrackDataSample()
            clip.video_data_samples = [sample['frame']]
            pixels = torch.from_numpy(sample['image']).permute(2, 0, 1).float() / 255
            model.predict(dict(img=pixels[None, None]), [clip])
            tracks = clip[0].pred_track_instances
            results.append(Tracks.from_instances(tracks, number))
        return results

    out = [tmp_path / name for name in ('t.txt', 't.json', 't.avi')]
    outputs = plan_outputs(out, VideoFacts('noise', 25.0), TrackStyle(), False)
    memory = {}
    for frame in TrackingRun(Noise(), prepare, track, outputs).frames():
        if frame.index + 1 in MEASURED:
            memory[frame.index + 1] = resident()
    print({count: f'{size / 2**20:.1f} MiB' for count, size in memory.items()})
    assert max(memory.values()) - memory[MEASURED[0]] < GROWTH

    rows = read_tracks(out[0], unique=True)
    window = model.tracker.max_history
    newest, last_seen = -1, {}
    for number, identity in zip(
        rows.frame.tolist(), rows.identity.tolist(), strict=True
    ):
        if identity in last_seen:
            assert number - last_seen[identity] <= window, 'used again after its end'
        else:
            assert identity > newest, 'an old number for a new identity'
            newest = identity
        last_seen[identity] = number
    assert newest > FRAMES // 500, 'nobody ever left'
    assert len(rows) > FRAMES
