# Copyright (c) mmfdta authors.
"""Frames that a model is given together: which, how many, and with the same tracks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from tiny_run import make_config, write_sequence

from mmfdta.apis.config import build_runner
from mmfdta.apis.test import write_tracks_to
from mmfdta.engine import TrackingRunner
from mmfdta.engine.frame_batches import FrameBatches, frames_at_a_time
from mmfdta.models.mot import OnlineTracker

GIB = 1 << 30


def frame(sequence: str, number: int, size: tuple[int, int] = (4, 6)) -> dict:
    """One frame, as a loader yields it."""
    clip = TrackDataSample()
    meta = dict(sequence=sequence, video_id=ord(sequence[0]), frame_id=number)
    clip.video_data_samples = [DetDataSample(metainfo=meta)]
    images = torch.full((1, 3, *size), number)
    return pseudo_collate([dict(inputs=dict(img=images), data_samples=clip)])


def told(batch: dict) -> list[tuple[str, int]]:
    frames = [(f.sequence, f.frame_id) for f in batch['data_samples'][0]]
    images = batch['inputs']['img'][0]
    assert images[:, 0, 0, 0].tolist() == [number for _, number in frames]
    return frames


def test_frames_of_a_sequence_and_size_go_together():
    loader = [
        *(frame('a', n) for n in range(5)),
        *(frame('b', n) for n in range(2)),
        *(frame('b', n, (4, 8)) for n in range(2, 6)),
        frame('c', 0),
    ]
    asked = []
    batches = FrameBatches(loader, lambda pixels: asked.append(pixels) or 3)
    for _ in range(2):
        found = [told(batch) for batch in batches]
        assert [len(batch) for batch in found] == [3, 2, 2, 3, 1, 1]
        assert len(batches) == 6
        expected = [told(batch)[0] for batch in loader]
        assert [one for batch in found for one in batch] == expected
    assert set(asked) == {24, 32}


def test_what_is_no_single_frame_is_handed_on():
    several = frame('a', 0)
    several['data_samples'][0].video_data_samples *= 2
    others = [several, dict(inputs=[torch.zeros(3, 4, 4)], data_samples=[]), [1]]
    loader = [frame('a', 0), *others, frame('a', 1), frame('a', 2)]
    found = list(FrameBatches(loader, lambda pixels: 8))
    assert [f is o for f, o in zip(found[1:4], others, strict=True)] == [True] * 3
    assert [told(found[0]), told(found[4])] == [[('a', 0)], [('a', 1), ('a', 2)]]


def test_a_loader_s_attributes_are_its_own():
    loader = torch.utils.data.DataLoader([1, 2, 3])
    batches = FrameBatches(loader, lambda pixels: 2)
    assert batches.dataset is loader.dataset and len(batches) == 3
    with pytest.raises(AttributeError):
        batches.nothing  # noqa: B018


@pytest.mark.parametrize(
    ('free', 'size', 'frames'),
    [
        (23 * GIB, (800, 1440), 8),
        (18 * GIB, (800, 1440), 8),
        (11 * GIB, (800, 1440), 5),
        (5 * GIB, (800, 1440), 2),
        (GIB // 2, (800, 1440), 1),
        (5 * GIB, (256, 456), 8),
    ],
)
def test_memory_bounds_the_frames_at_a_time(monkeypatch, free, size, frames):
    used = dict(mem_get_info=(free - GIB, 80 * GIB), memory_allocated=3 * GIB)
    for name, value in dict(used, memory_reserved=4 * GIB).items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)

    def model(device: str, **kind) -> SimpleNamespace:
        weight = SimpleNamespace(device=torch.device(device))
        return SimpleNamespace(parameters=lambda: iter([weight]), **kind)

    pixels = size[0] * size[1]
    together = dict(frames_together=OnlineTracker.frames_together)
    assert frames_at_a_time(model('cuda', **together), pixels) == frames
    wrapped = SimpleNamespace(module=model('cuda', **together))
    assert frames_at_a_time(wrapped, pixels) == frames
    assert frames_at_a_time(model('cpu', **together), pixels) == 1
    assert frames_at_a_time(model('cuda'), pixels) == 1


def test_tracks_and_scores_of_a_test_are_the_same(tmp_path):
    for name, length in dict(a=5, b=4).items():
        write_sequence(tmp_path / 'data/val' / name, length, seed=length)
    path = make_config(tmp_path, randomness=dict(seed=0))
    written, scores, steps = [], [], []
    for size in (None, 3):
        config = Config.fromfile(path)
        config.test_dataloader.dataset.split = 'val'
        config.inference_batch_size = size
        write_tracks_to(config, str(tmp_path / f'tracks_{size}'))
        runner = build_runner(config)
        given = []
        runner.model.register_forward_pre_hook(
            lambda _, args, kwargs, given=given: given.append(
                tuple(kwargs['inputs']['img'].shape[:2])
            ),
            with_kwargs=True,
        )
        scores.append(runner.test())
        steps.append(given)
        files = sorted((tmp_path / f'tracks_{size}').rglob('*.txt'))
        written.append([np.loadtxt(file, delimiter=',') for file in files])
    assert steps == [[(1, 1)] * 9, [(1, 3), (1, 2), (1, 3), (1, 1)]]
    assert len(written[0]) == 2 and scores[0] == pytest.approx(scores[1])
    for one, other in zip(*written, strict=True):
        np.testing.assert_array_equal(one[:, :2], other[:, :2])
        # Sums of several frames are taken in another order.
        np.testing.assert_allclose(one[:, 2:], other[:, 2:], atol=0.002)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('options', [{}, dict(pin_memory=True)])
def test_without_a_gpu_loaders_pin_nothing_and_say_nothing(options):
    loader = TrackingRunner.build_dataloader(
        dict(
            batch_size=2,
            num_workers=0,
            dataset=[1, 2],
            sampler=dict(type='DefaultSampler', shuffle=False),
            **options,
        )
    )
    assert next(iter(loader)) == [1, 2]
    assert not loader.pin_memory
