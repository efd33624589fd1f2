# Copyright (c) mmfdta authors.
"""The loops with samplers of other kinds, on a one-weight model."""

from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Sampler

from mmfdta.engine import TrackingRunner, loops
from mmfdta.engine.loops import _ResumableOrder
from mmfdta.models import EmbeddingSharing

EPOCHS = dict(type='ResumableEpochTrainLoop', max_epochs=3)
ITERATIONS = dict(type='ResumableIterTrainLoop', max_iters=12)
BOTH = pytest.mark.parametrize('loop', [EPOCHS, ITERATIONS], ids=['epoch', 'iteration'])


class OneWeight(BaseModel):
    """Notes what it sees, what it draws, which epoch it is told and what it shares."""

    def __init__(self, **sharing) -> None:
        super().__init__()
        self.adapter = EmbeddingSharing(**sharing)
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []
        self.epochs = []
        self.detached = []

    def forward(self, x: torch.Tensor, mode: str) -> dict:
        self.epochs.append(MessageHub.get_current_instance().get_info('epoch'))
        self.seen.append((x.tolist(), float(torch.rand(()))))
        self.detached.append(not self.adapter.for_id_loss(self.weight).requires_grad)
        return dict(loss=self.weight.sum())


class Growing(Sampler):
    """One sample more in every epoch, as an epoch may draw more legal clips."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        generator = torch.Generator().manual_seed(self.seed + epoch)
        self.order = torch.randperm(3 + epoch, generator=generator).tolist()

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self):
        return iter(self.order)


class Numbers(torch.utils.data.Dataset):
    """The numbers below 8."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        return dict(x=index)


def _runner(
    folder: Path,
    sampler: object,
    batch_size: int = 1,
    seed: int | None = 0,
    resume: Path | None = None,
    accumulate: int = 1,
    loop: dict = EPOCHS,
    runner_type: type[Runner] = Runner,
    **sharing,
) -> Runner:
    init_default_scope('mmdet')
    return runner_type(
        model=OneWeight(**sharing),
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=Numbers(),
            sampler=sampler,
            batch_size=batch_size,
            num_workers=0,
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(loop),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.1), accumulative_counts=accumulate
        ),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)
        ),
        custom_hooks=[
            dict(type='IterationSeedHook'),
            dict(type='CheckpointHook', interval=1),
        ],
        randomness=dict(seed=seed),
        log_level='ERROR',
        load_from=resume and str(resume),
        resume=resume is not None,
        default_scope='mmdet',
        experiment_name=f'{folder}-{seed}-{batch_size}-{resume}'.replace('/', '_'),
    )


@BOTH
@pytest.mark.parametrize('done', [2, 3, 5, 7, 8, 11])
def test_an_epoch_goes_on_with_any_sampler(tmp_path: Path, done: int, loop: dict):
    """Epochs of 3, 4 and 5: in the middle and at the end of each."""
    whole = _runner(tmp_path / 'whole', Growing(5), accumulate=2, loop=loop)
    whole.train()
    assert whole.max_iters == whole.iter == 3 + 4 + 5
    # Accumulated in pairs: all six steps of 0.1.
    assert float(whole.model.weight) == pytest.approx(-0.6)
    # Another seed is drawn for the resumed run; the checkpoint's counts.
    part = _runner(
        tmp_path / 'part',
        Growing(6),
        seed=None,
        resume=tmp_path / f'whole/iter_{done}.pth',
        accumulate=2,
        loop=loop,
    )
    part.train()
    assert part.iter == part.max_iters == 12
    assert part.model.seen == whole.model.seen[done:]
    # Passes over the data are epochs to what is off for some epochs.
    assert whole.model.epochs == [0] * 3 + [1] * 4 + [2] * 5
    assert part.model.epochs == whole.model.epochs[done:]


@BOTH
def test_iterations_are_accumulated_across_epochs(tmp_path: Path, loop: dict):
    """Twelve iterations in steps of five; the last takes the mean of two."""
    runner = _runner(tmp_path / 'run', Growing(5), accumulate=5, loop=loop)
    runner.train()
    assert float(runner.model.weight) == pytest.approx(-0.3)
    weights = [
        float(torch.load(tmp_path / f'run/iter_{i}.pth')['state_dict']['weight'])
        for i in range(1, 13)
    ]
    assert weights == pytest.approx([0] * 4 + [-0.1] * 5 + [-0.2] * 2 + [-0.3])


@BOTH
@pytest.mark.parametrize('name', ['epoch_1', 'iter_4', 'iter_5', 'iter_6'])
def test_a_start_between_two_steps_is_said(
    tmp_path: Path, loop: dict, name: str, monkeypatch
):
    """If the final weight is not that of the whole run, of 6 steps of 0.1."""
    messages = []
    monkeypatch.setattr(loops, 'print_log', lambda text, *_: messages.append(text))
    _runner(tmp_path / 'whole', Growing(5), accumulate=2).train()
    assert not messages
    resume = tmp_path / f'whole/{name}.pth'
    part = _runner(
        tmp_path / 'part', Growing(5), resume=resume, accumulate=2, loop=loop
    )
    part.train()
    same = float(part.model.weight) == pytest.approx(-0.6)
    assert [('lacks 1 of them' in text) for text in messages] == [True] * (not same)
    assert same == (name in ('iter_4', 'iter_6'))


@BOTH
@pytest.mark.parametrize(
    ('warmup', 'length'), [(dict(warmup_iters=5), 5), (dict(warmup_epochs=2), 7)]
)
@pytest.mark.parametrize('done', [2, 6, 9])
def test_a_detached_warm_up_ends_where_it_would_have(
    tmp_path: Path, loop: dict, warmup: dict, length: int, done: int
):
    whole = _runner(tmp_path / 'whole', Growing(5), loop=loop, **warmup)
    whole.train()
    assert whole.model.detached == [True] * length + [False] * (12 - length)
    resume = tmp_path / f'whole/iter_{done}.pth'
    part = _runner(
        tmp_path / 'part', Growing(6), seed=None, resume=resume, loop=loop, **warmup
    )
    part.train()
    assert part.model.detached == whole.model.detached[done:]


def _warm_up(folder: Path, loop: dict, epochs: int = 0, iters: int = 0) -> Runner:
    settings = dict(warmup_epochs=epochs, warmup_iters=iters)
    return _runner(
        folder, Growing(5), loop=loop, runner_type=TrackingRunner, **settings
    )


def test_a_loop_that_never_ends_the_warm_up_is_refused(tmp_path: Path):
    loop = dict(type='IterBasedTrainLoop', max_iters=4)
    with pytest.raises(ValueError, match='would never end') as refused:
        _warm_up(tmp_path / 'counts-iterations', loop, 1).train()
    (message,) = str(refused.value).splitlines()
    assert message.startswith('model.adapter.warmup_epochs = 1, but train_cfg.type')
    assert "train_cfg.type='ResumableIterTrainLoop'" in message
    assert message.endswith('or model.adapter.warmup_epochs=0')
    _warm_up(tmp_path / 'without', loop, 0).train()


@pytest.mark.parametrize(
    ('loop', 'warmup', 'said'),
    [
        (ITERATIONS, {}, ''),
        (ITERATIONS, dict(epochs=1), ''),
        (
            ITERATIONS,
            dict(epochs=4),
            'warmup_epochs = 4, and a pass over the data has 3',
        ),
        (ITERATIONS, dict(epochs=1, iters=11), ''),
        (ITERATIONS, dict(epochs=1, iters=12), 'warmup_iters = 12, but the run has 12'),
        (EPOCHS, dict(epochs=2, iters=11), ''),
        (EPOCHS, dict(epochs=3), 'warmup_epochs = 3, but train_cfg.max_epochs = 3'),
        (EPOCHS, dict(iters=12), 'warmup_iters = 12, but the run has 12 iterations'),
    ],
)
def test_a_warm_up_as_long_as_the_run_is_said(
    tmp_path: Path, loop: dict, warmup: dict, said: str
):
    """A pass is three batches at first, the run twelve."""
    name = '-'.join(f'{k}{v}' for k, v in warmup.items()) or 'none'
    runner = _warm_up(tmp_path / f'warm-{loop["type"]}-{name}', loop, **warmup)
    lines: list[str] = []
    runner.logger.warning = lines.append
    runner.train()
    found = [line for line in lines if 'never begins' in line]
    assert len(found) == bool(said)
    assert not said or f'model.adapter.{said}' in found[0]


@BOTH
def test_mmengines_sampler_goes_on_too(tmp_path: Path, loop: dict):
    sampler = dict(type='DefaultSampler', shuffle=True)
    settings = dict(batch_size=2, loop=loop)
    whole = _runner(tmp_path / 'whole', sampler, **settings)
    whole.train()
    resumed = dict(seed=None, resume=tmp_path / 'whole/iter_6.pth')
    part = _runner(tmp_path / 'part', dict(sampler), **settings, **resumed)
    part.train()
    assert part.model.seen == whole.model.seen[6:]


class Clips(Growing):
    """A sampler that tells its clips, as ClipSampler does."""

    clip_length = 2

    @property
    def clips(self) -> list[int]:
        return self.order


class Other(Clips):
    """The same under another name."""


class Longer(Clips):
    clip_length = 3


class Fewer(Clips):
    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.order.pop()


class Reversed(Clips):
    """As many other samples, as of other data."""

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.order.reverse()


Reversed.__name__ = 'Clips'
CHANGES = pytest.mark.parametrize(
    ('settings', 'said'),
    [
        (dict(batch_size=2), r'samples per iteration in all processes 1 then, 2 now'),
        (dict(accumulate=2), 'accumulated iterations 1 then, 2 now'),
        (dict(sampler=Other(5)), 'sampler Clips then, Other now'),
        (dict(sampler=Longer(5)), 'frames in a clip 2 then, 3 now'),
        (dict(sampler=Fewer(5)), r'samples in the epoch \d then, \d now'),
        (dict(sampler=Reversed(5)), 'the data set or the sampler has changed'),
    ],
    ids=['batch', 'accumulation', 'sampler', 'length', 'data', 'order'],
)


@BOTH
@CHANGES
def test_what_does_not_fit_within_an_epoch_is_said(
    tmp_path: Path, loop: dict, settings: dict, said: str
):
    _runner(tmp_path / 'whole', Clips(5), loop=loop).train()
    settings = dict(sampler=Clips(5)) | settings
    resume = tmp_path / 'whole/iter_5.pth'
    within = _runner(tmp_path / 'in', **settings, resume=resume, loop=loop)
    with pytest.raises(ValueError, match=said) as caught:
        within.train()
    text = str(caught.value)
    assert '\n' not in text and 'Restore these settings, or start again' in text
    assert 'load_from=PATH, without --resume' in text
    assert within.model.seen == []


def test_a_whole_epoch_to_go_on_from_is_named(tmp_path: Path):
    _runner(tmp_path, Clips(5)).train()
    within = _runner(tmp_path, Clips(5), 2, resume=tmp_path / 'iter_5.pth')
    with pytest.raises(ValueError, match=r'--resume \S*/epoch_1\.pth\)'):
        within.train()


@pytest.mark.parametrize('batch_size', [1, 2, 4])
@pytest.mark.parametrize('accumulate', [1, 2])
def test_a_whole_epoch_goes_on_with_another_batch(
    tmp_path: Path, batch_size: int, accumulate: int, monkeypatch
):
    """After epochs of 3 and 4 samples, 5 in batches: all are trained on, in time."""
    _runner(tmp_path / 'whole', Clips(5)).train()
    part = _runner(
        tmp_path / 'part',
        Clips(6),
        batch_size,
        seed=None,
        resume=tmp_path / 'whole/epoch_2.pth',
        accumulate=accumulate,
    )
    messages = []
    monkeypatch.setattr(loops, 'print_log', lambda text, *_: messages.append(text))
    part.train()
    assert sum(len(samples) for samples, _ in part.model.seen) == 5
    assert part.iter == part.max_iters == 7 + -(-5 // batch_size)
    steps = batch_size * accumulate
    said = [m for m in messages if 'samples per step of the optimiser' in m]
    assert len(said) == (steps != 1)
    if steps != 1:
        assert 'trained with 1 samples' in said[0] and f'there are {steps};' in said[0]


def test_a_pass_without_a_batch_is_an_error(tmp_path: Path):
    runner = _runner(tmp_path, Growing(5), batch_size=9, loop=ITERATIONS)
    runner._train_dataloader['drop_last'] = True
    with pytest.raises(ValueError, match='3 samples for batches of 9'):
        runner.train()


class Skipping(Sampler):
    """A sampler that skips samples, as ClipSampler does."""

    def __init__(self) -> None:
        self.skipped = 0

    def skip(self, number: int) -> None:
        self.skipped = number

    def __iter__(self):
        yield from range(self.skipped, 7)

    def __len__(self) -> int:
        return 7 - self.skipped


@pytest.mark.parametrize('batch_size', [1, 2, 3])
def test_finished_batches_are_skipped_and_not_loaded(batch_size: int):
    loaded = []

    class Numbers(list):
        def __getitem__(self, index: int) -> int:
            loaded.append(index)
            return index

    loop = _ResumableOrder()
    loop.dataloader = DataLoader(Numbers(range(7)), batch_size, sampler=Skipping())
    whole = [(number, batch.tolist()) for number, batch in loop._batches(0)]
    loaded.clear()
    rest = [(number, batch.tolist()) for number, batch in loop._batches(2)]
    assert rest == whole[2:]
    assert loaded == list(range(2 * batch_size, 7))
