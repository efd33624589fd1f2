# Copyright (c) mmfdta authors.
"""One setting says what is computed in: switches, hooks, wrappers, runs, resuming."""

import copy
import subprocess
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from tiny_run import command
from torch import nn

from mmfdta.cli import arguments
from mmfdta.engine import (
    PRECISIONS,
    GroupClipAmpOptimWrapper,
    GroupClipOptimWrapper,
    TrackingRunner,
    find_precision,
    keep_precision,
)
from mmfdta.engine.precision import adapt_optim_wrapper, precision_of

MATMUL, CUDNN = torch.backends.cuda.matmul, torch.backends.cudnn


@pytest.fixture(autouse=True)
def switches():
    """Leave PyTorch's switches of TF32 as they were."""
    before = MATMUL.allow_tf32, CUDNN.allow_tf32
    yield
    MATMUL.allow_tf32, CUDNN.allow_tf32 = before


class Spy(nn.Linear):
    """Notes under which switches it runs; fails where it is told to."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.seen: list = []

    def forward(self, x: torch.Tensor, fail: bool = False) -> torch.Tensor:
        out = super().forward(x)
        self.seen.append((out.dtype, MATMUL.allow_tf32, CUDNN.allow_tf32))
        if fail:
            raise KeyError('asked for')
        return out


def test_the_command_line_offers_the_precisions_there_are():
    assert list(arguments.PRECISIONS) == list(PRECISIONS)
    with pytest.raises(ValueError, match="found 'half', expected fp32, tf32, fp16"):
        find_precision('half')


@pytest.mark.parametrize(
    ('name', 'dtype', 'tf32'),
    [
        ('fp32', torch.float32, False),
        ('tf32', torch.float32, True),
        ('fp16', torch.float16, False),
        ('bf16', torch.bfloat16, False),
    ],
)
@pytest.mark.parametrize('default', [(False, True), (True, True), (False, False)])
def test_a_model_computes_in_its_precision_and_changes_no_switch(
    name, dtype, tf32, default
):
    MATMUL.allow_tf32, CUDNN.allow_tf32 = default
    model = Spy()
    keep_precision(model, PRECISIONS[name])
    assert precision_of(model) is PRECISIONS[name]
    # Copies, as of averaged weights, have their own hooks.
    for one in (model, copy.deepcopy(model)):
        one(torch.ones(1, 3))
        with pytest.raises(KeyError):
            one(torch.ones(1, 3), fail=True)
        assert one.seen[-2:] == [(dtype, tf32, tf32)] * 2
        assert (MATMUL.allow_tf32, CUDNN.allow_tf32) == default
        assert not torch.is_autocast_enabled('cpu')


def test_switches_set_by_their_newer_names_come_back():
    if not hasattr(MATMUL, 'fp32_precision'):
        pytest.skip('PyTorch has the older names only')
    MATMUL.fp32_precision = CUDNN.conv.fp32_precision = 'tf32'
    CUDNN.rnn.fp32_precision = 'ieee'
    model = Spy()
    keep_precision(model, PRECISIONS['fp32'])
    try:
        model(torch.ones(1, 3))
        assert model.seen == [(torch.float32, False, False)]
        found = (
            MATMUL.fp32_precision,
            CUDNN.conv.fp32_precision,
            CUDNN.rnn.fp32_precision,
        )
        assert found == ('tf32', 'tf32', 'ieee')
    finally:
        PRECISIONS['fp32'].allow_tf32()


def test_devices_that_lack_a_precision_say_so(monkeypatch):
    for name in ('fp32', 'bf16'):
        assert PRECISIONS[name].check('cpu') is None
    assert 'no TF32 on cpu' in PRECISIONS['tf32'].check('cpu')
    monkeypatch.setattr('mmfdta.engine.precision._computes_float16', lambda: False)
    with pytest.raises(ValueError, match="found 'fp16'.*use 'bf16' or 'fp32'"):
        PRECISIONS['fp16'].check('cpu')
    monkeypatch.setattr('mmfdta.engine.precision._capability', lambda device: 7)
    assert 'no TF32' in PRECISIONS['tf32'].check('cuda')
    assert 'fp16 is faster' in PRECISIONS['bf16'].check('cuda')
    monkeypatch.setattr('mmfdta.engine.precision._capability', lambda device: 9)
    assert [p.check('cuda:1') for p in PRECISIONS.values()] == [None] * 4


def test_boxes_of_yolox_stand_between_the_cells_of_half_precision():
    """It adds offsets to coordinates in the type of its scores."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='YOLOXHead',
            num_classes=1,
            in_channels=8,
            feat_channels=8,
            test_cfg=ConfigDict(score_thr=0.0),
        )
    ).eval()
    feats = tuple(torch.randn(1, 8, 2, 128 // 2**i) for i in range(3))
    metas = [dict(scale_factor=(1.0, 1.0))]

    @torch.no_grad()
    def boxes(precision: str) -> torch.Tensor:
        with PRECISIONS[precision].on('cpu'):
            (found,) = model.predict_by_feat(
                *model(feats), batch_img_metas=metas, rescale=False, with_nms=False
            )
        return found.bboxes

    expected = boxes('fp32')
    assert expected.max() > 1000
    assert (boxes('bf16') - expected).abs().max() > 2
    keep_precision(model, PRECISIONS['bf16'])
    torch.testing.assert_close(boxes('bf16'), expected, atol=0.5, rtol=0)


@pytest.mark.parametrize('plain', ['OptimWrapper', 'GroupClipOptimWrapper'])
def test_float16_gets_a_loss_scale_and_nothing_else_does(plain):
    scaled = dict(OptimWrapper='AmpOptimWrapper').get(plain, 'GroupClipAmpOptimWrapper')
    given = dict(type=plain, clip_grad=dict(max_norm=1.0))
    assert adapt_optim_wrapper(given, None) is given
    for name in ('fp32', 'tf32', 'bf16'):
        assert adapt_optim_wrapper(given, name) == given
    half = dict(given, type=scaled, dtype='float16', loss_scale='dynamic')
    assert adapt_optim_wrapper(given, 'fp16') == half
    # A second time it is the same, and a scale of the user's own stays.
    assert adapt_optim_wrapper(half, 'fp16') == half
    own = dict(given, loss_scale=512.0)
    assert adapt_optim_wrapper(own, 'fp16').loss_scale == 512.0
    brain = dict(given, type=scaled, dtype='bfloat16', loss_scale=1.0)
    assert adapt_optim_wrapper(brain, 'bf16') == given
    assert given == dict(type=plain, clip_grad=dict(max_norm=1.0))


@pytest.mark.parametrize(
    ('wrapper', 'name', 'words'),
    [
        (dict(type='AmpOptimWrapper'), 'fp32', "'fp32'.*'AmpOptimWrapper'"),
        (dict(type='GroupClipAmpOptimWrapper'), 'tf32', "'tf32'"),
        (dict(type='AmpOptimWrapper', dtype='bfloat16'), 'fp16', "dtype='bfloat16'"),
        (dict(type='AmpOptimWrapper', dtype='float16'), 'bf16', "dtype='float16'"),
        (dict(type='ApexOptimWrapper'), 'fp16', "'ApexOptimWrapper'.*use 'bf16'"),
    ],
)
def test_contradictions_are_refused_in_one_line(wrapper, name, words):
    with pytest.raises(ValueError, match=words) as refused:
        adapt_optim_wrapper(wrapper, name)
    assert '\n' not in str(refused.value)


def test_states_of_the_optimiser_go_from_one_precision_to_another(scaling_on_cpu):
    """Only the loss scale is lost, and begins anew."""

    def make(kind: type) -> OptimWrapper:
        torch.manual_seed(0)
        model = nn.Linear(2, 2)
        options = {} if kind is GroupClipOptimWrapper else dict(loss_scale='dynamic')
        wrapper = kind(optimizer=torch.optim.AdamW(model.parameters()), **options)
        wrapper.assign_parts(model)
        return wrapper

    for kind, other in (
        (GroupClipOptimWrapper, GroupClipAmpOptimWrapper),
        (GroupClipAmpOptimWrapper, GroupClipOptimWrapper),
    ):
        wrapper = make(kind)
        for group in wrapper.param_groups:
            for param in group['params']:
                param.grad = torch.ones_like(param)
        wrapper.optimizer.step()
        resumed = make(other)
        resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
        expected = wrapper.optimizer.state_dict()['state']
        found = resumed.optimizer.state_dict()['state']
        torch.testing.assert_close(found, expected)


def _log(folder: Path) -> str:
    return '\n'.join(p.read_text() for p in sorted(folder.rglob('*.log')))


def test_a_run_validates_in_its_precision_and_resumes_in_another(
    tiny_run, tmp_path, environment
):
    """As other tools do that build the runner themselves, and by the command."""
    config = Config.fromfile(
        tiny_run(
            precision='bf16',
            train_cfg__max_epochs=1,
            train_dataloader__num_batch_per_epoch=2,
        )
    )
    seen = {}

    def see(module: nn.Module, args: object, out: torch.Tensor) -> None:
        seen.setdefault(module.training, set()).add(out.dtype)

    runner = TrackingRunner.from_cfg(config)
    runner.model.id_decoder.layers[0].ffn.linear1.register_forward_hook(see)
    runner.train()
    assert seen == {True: {torch.bfloat16}, False: {torch.bfloat16}}
    assert type(runner.optim_wrapper) is GroupClipOptimWrapper
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}
    assert 'Precision bf16: products' in _log(tmp_path / 'work')
    assert not (MATMUL.allow_tf32 or CUDNN.allow_tf32)

    again = command(
        'train',
        *(tmp_path / 'tiny.py', '--resume', '--precision', 'fp32'),
        *('--cfg-options', 'train_cfg.max_epochs=2'),
    )
    done = subprocess.run(again, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'resumed epoch: 1' in _log(tmp_path / 'work')
    assert (tmp_path / 'work/epoch_2.pth').is_file()
