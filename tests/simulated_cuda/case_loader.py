# Copyright (c) mmfdta authors.
"""Batches of clips from a runner's loader, on their way to the simulated device."""

from mmengine.dataset import DefaultSampler, pseudo_collate
from simulated_device import CUDA, DEVICE, simulated_cuda
from small_fdta import make_clip

from mmfdta.engine import TrackingRunner
from mmfdta.models import ClipDataPreprocessor


class Clips:
    """Two training clips."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict:
        return make_clip(seed=index)


def batches(num_workers: int, **options: bool) -> dict:
    """Load, bring to the device and normalise; count."""
    with simulated_cuda():
        loader = TrackingRunner.build_dataloader(
            dict(
                batch_size=2,
                num_workers=num_workers,
                dataset=Clips(),
                sampler=dict(type=DefaultSampler, shuffle=False),
                collate_fn=pseudo_collate,
                **options,
            )
        )
        preprocess = ClipDataPreprocessor().to(CUDA)
        with DEVICE.counting() as counts:
            (batch,) = [preprocess(batch, True) for batch in loader]
        images = batch['inputs']['img']
        source = Clips()
        expected = ClipDataPreprocessor()(pseudo_collate([source[0], source[1]]))
        assert images.cpu().equal(expected['inputs']['img'])
    devices = {
        frame.gt_instances.bboxes.device.type
        for clip in batch['data_samples']
        for frame in clip
    }
    return dict(counts.to_json(), devices=sorted(devices))
