# Copyright (c) mmfdta authors.
"""Losses that are NaN or infinite: stop with a diagnosis, or skip the step."""

import math
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import Tensor
from torch import distributed as dist
from two_processes import two_processes

from mmfdta.engine import NonFiniteLossError

NAN, INF = math.nan, math.inf


class Line(BaseModel):
    """Losses of a line through given points; one is a list, as MMDetection's may be."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
        self.resting = torch.nn.Parameter(torch.ones(3))

    def forward(self, inputs: dict[str, Tensor], data_samples: list, mode: str) -> dict:
        x = inputs['x'][0]
        rest = self.resting.sum() * 0
        return dict(
            loss_a=(self.weight * 2).square().sum() + rest,
            loss_list=[self.weight.sum() * x, self.weight[0] * 3],
            accuracy=torch.tensor(NAN),
        )


class Points(torch.utils.data.Dataset):
    """A clip of two frames each; its number of pixels is the value."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> dict:
        clip = TrackDataSample()
        clip.video_data_samples = [
            DetDataSample(
                metainfo=dict(sequence=f'seq{index}', frame_id=t, img_path=f'{t}.jpg'),
                gt_instances=InstanceData(bboxes=torch.full((2, 4), float(t))),
            )
            for t in (3, 7)
        ]
        return dict(inputs=dict(x=torch.tensor(self.values[index])), data_samples=clip)


def run(
    folder: Path, values: list[float], action: str = 'skip', max_in_a_row=10, **optim
) -> Runner:
    init_default_scope('mmdet')
    return Runner(
        model=Line(),
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=Points(values),
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_size=1,
            num_workers=0,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.1), **optim
        ),
        custom_hooks=[
            dict(type='FiniteLossHook', action=action, max_in_a_row=max_in_a_row)
        ],
        log_level='ERROR',
        default_scope='mmdet',
        experiment_name=f'{folder}-{values}-{action}-{optim}'.replace('/', '_'),
    )


def weights(runner: Runner) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in runner.model.state_dict().items()}


def trained(folder: Path, values: list[float], **kwargs) -> Runner:
    runner = run(folder, values, **kwargs)
    runner.train()
    return runner


@pytest.mark.parametrize('value', [NAN, INF, -INF])
def test_training_stops_before_the_step_and_says_why(tmp_path: Path, value: float):
    runner = run(tmp_path / 'broken', [1.0, 2.0, value, 4.0], 'stop')
    with pytest.raises(NonFiniteLossError) as caught:
        runner.train()
    message = str(caught.value)
    assert 'iteration 3: loss_list = ' in message
    assert 'loss_a' not in message and 'accuracy' not in message
    assert 'sequence seq2, frame_id 3, 7' in message
    (path,) = (tmp_path / 'broken').glob('not_finite_*')
    assert path.name == 'not_finite_iter_3_rank0.pth' and str(path) in message
    before = trained(tmp_path / 'before', [1.0, 2.0])
    torch.testing.assert_close(weights(runner), weights(before), rtol=0, atol=0)

    found = torch.load(path, weights_only=True)
    assert found['iteration'] == 3 and found['seed'] == runner.seed
    assert found['broken'] == ['loss_list']
    assert found['samples'] == [
        dict(
            dataset=None,
            sequence='seq2',
            frame_ids=[3, 7],
            img_paths=['3.jpg', '7.jpg'],
        )
    ]
    torch.testing.assert_close(found['state_dict'], weights(before), rtol=0, atol=0)
    batch = found['data_batch']
    assert torch.equal(batch['inputs']['x'][0].isfinite(), torch.tensor(False))
    (sample,) = batch['data_samples']
    boxes = [f['gt_instances']['bboxes'][0, 0] for f in sample['video_data_samples']]
    assert boxes == [3, 7]
    assert found['losses']['loss_list'][1] == pytest.approx(
        3 * float(before.model.weight[0])
    )


def test_broken_weights_are_told_from_a_broken_batch(tmp_path: Path):
    runner = run(tmp_path, [1.0], 'stop')
    with torch.no_grad():
        runner.model.weight[0] = NAN
    with pytest.raises(NonFiniteLossError, match='the first is weight: the fault beg'):
        runner.train()


def test_a_full_disk_does_not_hide_the_fault(tmp_path: Path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('mmfdta.checkpoints.files.torch.save', full)
    with pytest.raises(NonFiniteLossError, match='loss_list = nan.*No space left'):
        run(tmp_path, [NAN], 'stop').train()


def test_a_skipped_step_leaves_no_trace_in_the_weights(tmp_path: Path):
    runner = trained(tmp_path / 'skip', [1.0, NAN, 2.0, INF, 3.0])
    expected = trained(tmp_path / 'without', [1.0, 2.0, 3.0])
    torch.testing.assert_close(weights(runner), weights(expected), rtol=0, atol=0)
    states = [r.optim_wrapper.optimizer.state_dict() for r in (runner, expected)]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert runner.message_hub.get_info('num_skipped_steps') == 2
    assert expected.message_hub.get_info('num_skipped_steps') is None
    # The first one is kept.
    names = [p.name for p in (tmp_path / 'skip').glob('not_finite_*')]
    assert names == ['not_finite_iter_2_rank0.pth']
    logged = runner.message_hub.log_scalars['train/loss'].data[0]
    assert [math.isfinite(v) for v in logged] == [True, False, True, False, True]


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ([1.0, NAN, 2.0, 3.0], [1.0, None, 2.0, 3.0]),
        ([NAN, 1.0, 2.0, 3.0], [None, 1.0, 2.0, 3.0]),
        ([NAN, NAN, 2.0, 3.0], [2.0, 3.0]),
    ],
)
def test_of_accumulated_iterations_only_the_broken_one_is_left_out(
    tmp_path: Path, values: list, expected: list
):
    settings = dict(accumulative_counts=2)
    runner = trained(tmp_path / 'skip', values, **settings)
    model = Line()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    for pair in (expected[i : i + 2] for i in range(0, len(expected), 2)):
        for x in pair:
            if x is not None:
                losses = model(dict(x=[torch.tensor(x)]), [], 'loss')
                total = losses['loss_a'] + sum(losses['loss_list'])
                (total / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.testing.assert_close(weights(runner), dict(model.state_dict()))


def test_skipping_ends_after_some_iterations_in_a_row(tmp_path: Path):
    values = [NAN, NAN, 1.0, NAN, NAN, NAN, 1.0]
    runner = run(tmp_path, values, max_in_a_row=3)
    with pytest.raises(NonFiniteLossError, match='iteration 6.*3 iterations in a row'):
        runner.train()


def test_mixed_precision(tmp_path: Path, scaling_on_cpu):
    """A gradient that overflows is the scaler's; a loss that does is ours."""
    amp = dict(type='AmpOptimWrapper', loss_scale=dict(init_scale=2.0**127))
    # The scale times the gradient is infinite: the scaler leaves the step out.
    for action in ('stop', 'skip'):
        runner = trained(tmp_path / action, [8.0], action=action, **amp)
        assert torch.equal(runner.model.weight, torch.tensor([1.0, -1.0]))
        assert runner.optim_wrapper.loss_scaler.get_scale() == 2.0**126
        assert runner.message_hub.get_info('num_skipped_steps') is None
    amp['loss_scale'] = dict(init_scale=256.0)
    with pytest.raises(NonFiniteLossError):
        trained(tmp_path / 'inf', [INF], action='stop', **amp)
    runner = trained(tmp_path / 'some', [1.0, INF, 2.0], **amp)
    expected = trained(tmp_path / 'all', [1.0, 2.0], **amp)
    torch.testing.assert_close(weights(runner), weights(expected), rtol=0, atol=0)
    assert runner.optim_wrapper.loss_scaler.get_scale() == 256.0


@pytest.mark.parametrize('counts', [1, 2])
def test_a_step_after_one_that_the_scaler_left_out_is_skipped(
    tmp_path: Path, scaling_on_cpu, counts: int
):
    """Decay and momentum would move the weights, without any gradient."""
    amp = dict(type='AmpOptimWrapper', loss_scale=dict(init_scale=2.0**127))
    amp['accumulative_counts'] = counts
    runner = trained(tmp_path, [8.0] * counts + [NAN] * counts, **amp)
    torch.testing.assert_close(weights(runner), dict(Line().state_dict()))
    assert not runner.optim_wrapper.optimizer.state
    assert runner.message_hub.get_info('num_skipped_steps') == counts


def test_wrong_arguments(tmp_path: Path):
    with pytest.raises(ValueError, match="action: found 'ignore'"):
        run(tmp_path, [1.0], 'ignore')
    with pytest.raises(ValueError, match='max_in_a_row: found 0'):
        run(tmp_path, [1.0], max_in_a_row=0)


def test_a_tracker_names_the_clip(tiny_run, monkeypatch):
    """The hook is in every config; the third clip breaks the ID loss."""
    config = Config.fromfile(
        tiny_run(train_cfg__max_epochs=1, train_dataloader__sampler__seed=0)
    )
    runner = Runner.from_cfg(config)
    loss_id, calls = runner.model.loss_id.forward, []

    def broken(*args, **kwargs):
        calls.append(None)
        return loss_id(*args, **kwargs) * (NAN if len(calls) == 3 else 1)

    monkeypatch.setattr(runner.model.loss_id, 'forward', broken)
    with pytest.raises(NonFiniteLossError) as caught:
        runner.train()
    sampler = runner.train_dataloader.sampler
    sequence, frames = sampler.clips[2]
    name = runner.train_dataloader.dataset.sequences[sequence].name
    assert 'iteration 3: loss_id = nan is not finite' in str(caught.value)
    expected = f'sequence {name}, frame_id {", ".join(map(str, frames))}.'
    assert expected in str(caught.value)
    (path,) = Path(config.work_dir).glob('not_finite_*')
    found = torch.load(path, weights_only=True)
    assert found['samples'][0]['frame_ids'] == list(frames)
    assert found['data_batch']['inputs']['img'][0].shape[:2] == (3, 3)
    assert found['data_batch']['inputs']['img'][0].dtype == torch.uint8


@pytest.mark.parametrize('action', ['stop', 'skip'])
def test_predictions_that_are_not_finite_make_such_losses(tiny_run, action: str):
    """Matching needs finite costs; the third and fourth iteration have none."""
    config = Config.fromfile(
        tiny_run(train_cfg__max_epochs=1, train_dataloader__sampler__seed=0)
    )
    config.default_hooks.finite_loss.action = action
    runner = Runner.from_cfg(config)

    def break_some(module, args, output):
        return output * NAN if module.training and runner.iter in (2, 3) else None

    runner.model.detector.encoder.register_forward_hook(break_some)
    if action == 'skip':
        runner.train()
        assert runner.message_hub.get_info('num_skipped_steps') == 2
        assert all(p.isfinite().all() for p in runner.model.parameters())
    else:
        with pytest.raises(NonFiniteLossError, match='iteration 3: .*loss_cls = nan'):
            runner.train()
    assert [p.name for p in Path(config.work_dir).glob('not_finite_*')] == [
        'not_finite_iter_3_rank0.pth'
    ]


def _process(rank: int, folder: str, action: str) -> None:
    """Only the second process meets a broken sample, in its second iteration."""
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    MessageHub.get_instance('mmengine')
    runner = run(Path(folder), [1.0, 1.0, 2.0, NAN, 3.0, 3.0], action)
    runner.model = MMDistributedDataParallel(
        Line(), device_ids=None, broadcast_buffers=False, find_unused_parameters=False
    )
    found = dict(error=None)
    try:
        runner.train()
    except NonFiniteLossError as error:
        found['error'] = str(error)
    found['weights'] = runner.model.module.state_dict()
    found['skipped'] = runner.message_hub.get_info('num_skipped_steps')
    torch.save(found, f'{folder}/{rank}.pth')
    dist.destroy_process_group()


@pytest.mark.dist
@pytest.mark.parametrize('action', ['stop', 'skip'])
def test_processes_decide_alike(tmp_path: Path, action: str):
    with two_processes(_process, str(tmp_path), action):
        pass
    ranks = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    alone = [1.0] if action == 'stop' else [1.0, 3.0]
    expected = weights(trained(tmp_path / 'alone', alone, action=action))
    for rank in ranks:
        torch.testing.assert_close(rank['weights'], expected)
        assert rank['skipped'] == (None if action == 'stop' else 1)
    if action == 'stop':
        assert 'iteration 2: the losses of another process' in ranks[0]['error']
        assert 'iteration 2: loss_list = nan' in ranks[1]['error']
    names = [path.name for path in tmp_path.glob('not_finite_*')]
    assert names == ['not_finite_iter_2_rank1.pth']
