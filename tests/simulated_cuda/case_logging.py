# Copyright (c) mmfdta authors.
"""A run with nothing to compute: what logging, its checks and checkpoints wait for."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from simulated_device import simulated_cuda
from torch import Tensor

import mmfdta.registry  # noqa: F401
from mmfdta.engine import NonFiniteLossError, TrackingRunner


class Line(BaseModel):
    """Three losses and a count, all of which are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
        self.other = torch.nn.Parameter(torch.ones(3))
        self.register_buffer('seen', torch.zeros(1))

    def forward(self, x: Tensor, mode: str) -> dict[str, Any]:
        x = x[0]
        self.seen += 1
        return dict(
            loss_a=(self.weight * x).square().sum(),
            loss_list=[self.weight.sum(), self.other.square().sum()],
            number=self.seen.clone(),
        )


class Values(torch.utils.data.Dataset):
    metainfo: dict = {}

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> dict:
        return dict(x=torch.tensor(self.values[index]))


def _runner(
    folder: str,
    values: list[float],
    kind: type[Runner] = TrackingRunner,
    **settings: Any,
) -> Runner:
    init_default_scope('mmdet')
    options: dict[str, Any] = dict(
        model=Line(),
        work_dir=folder,
        train_dataloader=dict(
            dataset=Values(values),
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_size=1,
            num_workers=0,
        ),
        train_cfg=dict(type='ResumableEpochTrainLoop', max_epochs=1),
        optim_wrapper=dict(
            type='GroupClipOptimWrapper',
            optimizer=dict(type='AdamW', lr=0.1, fused=True),
            clip_grad=dict(max_norm=0.5),
            clip_groups=dict(weight='weight'),
        ),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=5),
            checkpoint=dict(type='WholeCheckpointHook'),
        ),
        custom_hooks=[dict(type='FiniteLossHook')],
        log_processor=dict(type='TrackingLogProcessor', window_size=5),
        log_level='ERROR',
        default_scope='mmdet',
        cfg=Config(dict(log=folder)),
    )
    settings.setdefault('experiment_name', folder.replace('/', '_'))
    return kind(**{**options, **settings})


def _histories(runner: Runner) -> dict[str, list[float]]:
    scalars = runner.message_hub.log_scalars.items()
    return {k: v.data[0].tolist() for k, v in scalars if 'time' not in k}


def logged(folder: str, values: list[float], **settings: Any) -> dict[str, Any]:
    """Waits of a run, what it logged and what error ended it."""
    with simulated_cuda() as device:
        runner = _runner(folder, values, **settings)
        error = None
        with device.counting() as counts:
            try:
                runner.train()
            except NonFiniteLossError as found:
                error = str(found)
    weights = [p.detach().cpu().tolist() for p in runner.model.parameters()]
    return dict(
        counts.to_json(), histories=_histories(runner), error=error, weights=weights
    )


def plain(folder: str, values: list[float]) -> dict[str, list[float]]:
    """The histories of MMEngine's hub, which asks for one value after the other."""
    with simulated_cuda():
        runner = _runner(folder, values, kind=Runner)
        runner.train()
    return _histories(runner)


def _devices(value: Any) -> set[str]:
    if isinstance(value, Tensor):
        return {value.device.type}
    items = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list | tuple):
        return set().union(*map(_devices, items))
    return set()


def saved(folder: str) -> dict[str, Any]:
    """A run with averaged weights is saved, read on a CPU, and resumed."""
    hooks = [dict(type=EMAHook, momentum=0.1)]
    values = [1.0, 2.0, 3.0]
    with simulated_cuda() as device:
        runner = _runner(folder, values, custom_hooks=hooks)
        with device.counting() as counts:
            runner.train()
        states = runner.optim_wrapper.optimizer.state_dict()['state']
        path = Path(folder, 'epoch_1.pth')
        found = torch.load(path, weights_only=False)
        again = _runner(
            f'{folder}/again',
            values,
            custom_hooks=hooks,
            resume=True,
            load_from=str(path),
        )
        again.call_hook('before_run')
        again.load_or_resume()
        loaded = again.optim_wrapper.optimizer.state_dict()['state']
        same = all(
            torch.equal(loaded[i][k].cpu(), states[i][k].cpu())
            for i in states
            for k in states[i]
        )
    return dict(
        pickled=counts.to_json()['pickled'],
        keys=sorted(found),
        file=sorted(_devices(found)),
        metadata=hasattr(found['state_dict'], '_metadata'),
        moments=sorted(
            {v.device.type for s in loaded.values() for k, v in s.items() if 'exp' in k}
        ),
        same=same,
        averaged=found['state_dict']['weight'].tolist(),
        latest=found['ema_state_dict']['module.weight'].tolist(),
        weights=runner.model.weight.detach().cpu().tolist(),
    )
