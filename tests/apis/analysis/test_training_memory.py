# Copyright (c) mmfdta authors.
"""The estimate of the training memory, beside what PyTorch's allocator counts."""

from dataclasses import replace

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from small_fdta import build, collate, make_clip, small_config
from small_hosts import host_config, sparse_rcnn
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mmfdta.apis.analysis import training_memory
from mmfdta.apis.analysis.training_memory import (
    LiveMemory,
    Workload,
    as_on_a_gpu,
    block_of_plain,
    estimate_memory,
    read_workload,
)
from mmfdta.ops.deformable_attention import FastDeformableAttention, plain

# Large images, with and without recomputation; more objects than words.
CASES = {
    'images': (dict(grad_chunk=0, no_grad_chunk=0), Workload(256, 320, 4, 3, 1, 2)),
    'recomputed': (dict(grad_chunk=1, no_grad_chunk=1), Workload(256, 320, 4, 3, 1, 2)),
    'objects': (dict(grad_chunk=1, no_grad_chunk=1), Workload(64, 64, 8, 12, 2, 8)),
}


def light_config(**clip_detection) -> Config:
    """A model of few weights, so that the activations decide."""
    model = small_config()
    model.detector.backbone.update(base_channels=8, stem_channels=8)
    model.detector.neck.in_channels = [16, 32, 64]
    model.clip_detection = dict(num_grad_frames=3, **clip_detection)
    wrapper = dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, foreach=True)
    )
    return Config(dict(model=model, optim_wrapper=wrapper))


def on_host(config: Config, name: str) -> Config:
    """The same on a detector of MMDetection."""
    is_sparse = name == 'sparse_rcnn'
    host = sparse_rcnn(1) if is_sparse else host_config(name, 1)
    host['backbone']['stem_channels'] = 8
    adapter = dict(config.model.detector.spatial_adapter, num_heads=2)
    config.model.detector = dict(
        type='QueryDetector',
        host=host,
        interface=dict(type='SparseRCNNInterface' if is_sparse else 'DetrInterface'),
        spatial_adapter=dict(adapter, first_level=int(is_sparse)),
        loss_depth=dict(type='DepthBinLoss'),
    )
    return config


def measured_peak(config: Config, work: Workload) -> int:
    """Bytes that the allocator handed out at most during a training step."""
    model = build(config.model).train()
    for module in model.modules():  # as on a GPU, where it leaves no weights behind
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    clips = [
        make_clip(work.clip_length, (work.height, work.width), work.num_objects, seed)
        for seed in range(work.batch_size)
    ]
    for clip in clips:
        targets = clip['data_samples'].id_targets[0]
        for name, value in targets.items():
            groups = work.num_groups // len(value)
            targets.set_data({name: value.repeat(groups, 1, 1)})
    as_on_a_gpu(model, work.deformable)
    model.train_step(collate(*clips), wrapper)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        model.train_step(collate(*clips), wrapper)
    events = [
        (event.start_ns(), event.nbytes())
        for event in seen.profiler.kineto_results.events()
        if event.name() == '[memory]'
    ]
    live = torch.tensor([size for _, size in sorted(events)]).cumsum(0)
    state = [v for s in wrapper.optimizer.state.values() for v in s.values()]
    kept = [*model.parameters(), *model.buffers(), *filter(torch.is_tensor, state)]
    return int(live.max()) + sum(t.nbytes for t in kept)


@pytest.mark.parametrize(
    ('case', 'way'),
    [
        *((case, 'triton') for case in CASES),
        ('images', 'compiled'),
        ('images', 'plain'),
    ],
)
def test_the_estimate_is_near_what_a_step_takes(case: str, way: str):
    MessageHub.get_current_instance().update_info('epoch', 1)
    clip_detection, work = CASES[case]
    work = replace(work, deformable=way)
    config = light_config(**clip_detection)
    estimate = estimate_memory(config, work)
    measured = measured_peak(config, work)
    assert 0.85 < estimate.peak / measured < 1.25


@pytest.mark.parametrize(
    ('host', 'case'),
    [
        ('dino', 'images'),
        ('dino', 'recomputed'),
        ('dino', 'objects'),
        ('detr', 'images'),
        ('sparse_rcnn', 'images'),
        ('sparse_rcnn', 'recomputed'),
    ],
)
def test_the_estimate_of_a_host_is_near_what_a_step_takes(host: str, case: str):
    MessageHub.get_current_instance().update_info('epoch', 1)
    clip_detection, work = CASES[case]
    config = on_host(light_config(**clip_detection), host)
    estimate = estimate_memory(config, work)
    measured = measured_peak(config, work)
    assert 0.8 < estimate.peak / measured < 1.25


def saved_bytes(attention: FastDeformableAttention, dtype: torch.dtype) -> int:
    """Bytes that a layer's backward pass keeps, counted by PyTorch's own hooks."""
    shapes = ((5, 7), (3, 4))
    keys = sum(height * width for height, width in shapes)
    query = torch.randn(2, keys, 32, requires_grad=True)
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    parameters = {p.untyped_storage().data_ptr() for p in attention.parameters()}
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x),
        torch.autocast('cpu', dtype, enabled=dtype != torch.float32),
    ):
        attention(
            query,
            reference_points=torch.rand(2, keys, 2, 2),
            spatial_shapes=torch.tensor(shapes),
            level_start_index=torch.tensor([0, 35]),
            level_shapes=shapes,
        ).sum()
    return sum(size for key, size in kept.items() if key not in parameters)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('way', ['triton', 'compiled', 'plain'])
def test_every_way_keeps_what_the_operator_keeps(way: str, dtype: torch.dtype):
    settings = dict(embed_dims=32, num_heads=4, num_levels=2, num_points=2)
    own = FastDeformableAttention(**settings, batch_first=True)
    counted = nn.ModuleList([FastDeformableAttention(**settings, batch_first=True)])
    as_on_a_gpu(counted, way)
    assert saved_bytes(counted[0], dtype) == saved_bytes(own, dtype)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_plain_sampling_keeps_no_samples(dtype: torch.dtype):
    """MMCV's PyTorch path keeps every sample: points x channels."""
    settings = dict(embed_dims=32, num_heads=4, num_levels=2, num_points=2)
    own = FastDeformableAttention(**settings, batch_first=True)
    mmcv = MultiScaleDeformableAttention(**settings, batch_first=True)
    samples = 2 * 47 * 2 * 2 * 32  # images, queries, levels, points, channels
    more = saved_bytes(mmcv, dtype) - saved_bytes(own, dtype)
    assert more > samples * dtype.itemsize


@pytest.mark.parametrize('images', [2, 6])
def test_a_block_of_plain_sampling(images: int, monkeypatch: pytest.MonkeyPatch):
    """What it takes at a time does not grow with the frames."""
    levels = ((32, 40), (16, 20), (8, 10), (4, 5))
    tokens = sum(height * width for height, width in levels)
    for module in (plain, training_memory):
        monkeypatch.setattr(module, 'BLOCK_SAMPLES', 2 * tokens * 32 * 2)
    points = torch.rand(images, tokens, 4, 4, 2)
    value, out = torch.rand(images, tokens, 4, 8), torch.rand(images, tokens, 32)
    inputs = value, points, points, points, levels
    counted = []
    for run in (
        lambda: plain.plain_forward(*inputs),
        lambda: plain.plain_backward(out, *inputs),
    ):
        with LiveMemory() as memory:
            kept = run()
        counted.append(memory.peak - memory.live)
        del kept
    model = build(light_config().model)
    expected = block_of_plain(model, 256 * 320)
    assert counted == pytest.approx(expected, rel=0.15)


def test_half_precision_saves_memory():
    config = light_config(grad_chunk=0, no_grad_chunk=0)
    work = Workload(512, 640, 4, 2, 1, 2)
    plain, half = (
        estimate_memory(config, replace(work, amp=amp)).peak for amp in (False, True)
    )
    assert 0.5 * plain < half < 0.75 * plain


def test_live_memory_sees_what_lives_and_dies():
    with LiveMemory() as memory:
        kept = torch.zeros(256)
        view = kept[:10]
        (torch.ones(512) * 2).sum()
        assert memory.live == kept.nbytes
        assert memory.peak == kept.nbytes + 2 * 2048
        del kept
        assert memory.live == 1024
        del view
        assert memory.live == 0


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        ({}, Workload(800, 1440, 30, 20, 1, 6)),
        (
            dict(size=(64, 96), clip_length=5, num_objects=7, precision='bf16'),
            Workload(64, 96, 5, 7, 1, 6, True),
        ),
        (
            dict(deformable='plain'),
            Workload(800, 1440, 30, 20, 1, 6, False, 'plain'),
        ),
    ],
)
def test_what_is_read_from_a_config(arguments: dict, expected: Workload):
    config = Config.fromfile('configs/fdta_dancetrack.py')
    assert read_workload(config, **arguments) == expected


@pytest.mark.parametrize('missing', ['train_dataloader', 'optim_wrapper'])
def test_a_config_that_trains_nothing_is_refused(missing: str):
    settings = Config.fromfile('configs/fdta_dancetrack.py').to_dict()
    del settings[missing]
    with pytest.raises(ValueError, match=f'{missing}: found none, expected a config'):
        read_workload(Config(settings))
