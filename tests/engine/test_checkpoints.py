# Copyright (c) mmfdta authors.
"""No fault while a checkpoint is written takes the last good one."""

import os
from pathlib import Path

import pytest
import torch
from mmdet.registry import METRICS
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmfdta.apis.train import apply_training_options
from mmfdta.engine import checkpoint_hook, find_checkpoint_to_resume
from mmfdta.evaluation import Settings, evaluate, mot_metric
from mmfdta.evaluation.mot_metric import MOTMetric
from mmfdta.structures.tracks import Sequence, Tracks

SCORES = [0.2, 0.5, 0.4, 0.6]


class OneWeight(BaseModel):
    """Falls by one half each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, mode: str) -> dict | list:
        return dict(loss=self.weight.sum()) if mode == 'loss' else [self.weight]


class Number(torch.utils.data.Dataset):
    metainfo: dict = {}

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict:
        return dict(x=index)


@METRICS.register_module(force=True)
class GivenScore(BaseMetric):
    """Scores by the epoch, which the weight tells."""

    def process(self, data_batch, data_samples) -> None:
        self.results += [float(weight) for weight in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        score = SCORES[round(-2 * results[0]) - 1]
        return dict(score=score, other=1 - score)


def make_runner(
    folder: Path,
    resume: bool = False,
    evaluator: object = None,
    custom_hooks: list[dict] | None = None,
    **hook,
) -> Runner:
    init_default_scope('mmdet')
    loader = dict(
        dataset=Number(),
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=1,
        num_workers=0,
        collate_fn=dict(type='default_collate'),
    )
    return Runner(
        model=OneWeight(),
        work_dir=str(folder),
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=4),
        val_cfg={},
        val_evaluator=evaluator or dict(type='GivenScore'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.5)),
        default_hooks=dict(
            checkpoint=dict(type='WholeCheckpointHook', interval=1, **hook)
        ),
        custom_hooks=custom_hooks,
        resume=resume,
        load_from=find_checkpoint_to_resume(folder) if resume else None,
        log_level='ERROR',
        default_scope='mmdet',
        experiment_name=f'{folder}-{resume}-{hook}-{evaluator}'.replace('/', '_'),
    )


def weight_in(path: Path | str) -> float:
    return float(torch.load(path, weights_only=True)['state_dict']['weight'])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth*'))


@pytest.fixture
def disk(monkeypatch) -> dict[str, int]:
    """A disk that is full for a file's name, after some bytes."""
    full = {}
    opened = checkpoint_hook.open_whole

    class Limited:
        def __init__(self, file, limit: int) -> None:
            self.file, self.limit = file, limit

        def write(self, content: bytes) -> None:
            self.file.write(content[: self.limit])
            raise OSError(28, os.strerror(28))

    class Open:
        def __init__(self, path) -> None:
            self.inner = opened(path)
            self.limit = full.get(Path(path).name)

        def __enter__(self):
            file = self.inner.__enter__()
            return file if self.limit is None else Limited(file, self.limit)

        def __exit__(self, *error):
            return self.inner.__exit__(*error)

    monkeypatch.setattr(checkpoint_hook, 'open_whole', Open)
    return full


def test_old_checkpoints_leave_after_the_new_one_stands(tmp_path: Path):
    make_runner(tmp_path, max_keep_ckpts=2).train()
    assert names(tmp_path) == ['epoch_3.pth', 'epoch_4.pth']
    assert weight_in(tmp_path / 'epoch_4.pth') == -2


@pytest.mark.parametrize('broken', [2, 3, 4])
@pytest.mark.parametrize('keep', [1, 2, -1])
def test_a_full_disk_costs_no_checkpoint(tmp_path: Path, disk, broken: int, keep: int):
    disk[f'epoch_{broken}.pth'] = 300
    hook = dict(max_keep_ckpts=keep)
    with pytest.raises(OSError, match='the disk is full.*--resume') as caught:
        make_runner(tmp_path, **hook).train()
    assert caught.value.filename.endswith(f'epoch_{broken}.pth')
    kept = names(tmp_path)
    assert f'epoch_{broken - 1}.pth' in kept and f'epoch_{broken}.pth' not in kept
    assert not list(tmp_path.glob('.*.part'))
    last = find_checkpoint_to_resume(tmp_path)
    assert weight_in(last) == -(broken - 1) / 2
    disk.clear()
    resumed = make_runner(tmp_path, resume=True, **hook)
    resumed.train()
    assert float(resumed.model.weight) == weight_in(tmp_path / 'epoch_4.pth') == -2
    assert len(names(tmp_path)) == (keep if keep > 0 else 4)


@pytest.mark.parametrize('keep', [1, 2])
def test_two_hooks_keep_their_own_checkpoints(tmp_path: Path, disk, keep: int):
    """A resumed run leaves the files of one that was never interrupted."""
    iterations = dict(type='WholeCheckpointHook', by_epoch=False, interval=1)
    iterations.update(max_keep_ckpts=3 - keep)
    hooks = dict(max_keep_ckpts=keep, custom_hooks=[iterations])
    make_runner(tmp_path / 'whole', **hooks).train()
    disk['iter_3.pth'] = 300
    with pytest.raises(OSError, match='the disk is full'):
        make_runner(tmp_path / 'part', **hooks).train()
    disk.clear()
    make_runner(tmp_path / 'part', resume=True, **hooks).train()
    assert names(tmp_path / 'part') == names(tmp_path / 'whole')
    assert len(names(tmp_path / 'whole')) == 3


def test_a_checkpoint_of_0_2_still_says_which_ones_there_are(tmp_path: Path, disk):
    disk['epoch_4.pth'] = 300
    with pytest.raises(OSError, match='the disk is full'):
        make_runner(tmp_path, max_keep_ckpts=2).train()
    last = find_checkpoint_to_resume(tmp_path)
    checkpoint = torch.load(last, weights_only=False)
    info = checkpoint['message_hub']['runtime_info']
    assert info.pop('keep_ckpt_ids_epoch_{}.pth') == info['keep_ckpt_ids'] == [2, 3]
    torch.save(checkpoint, last)
    disk.clear()
    make_runner(tmp_path, resume=True, max_keep_ckpts=2).train()
    assert names(tmp_path) == ['epoch_3.pth', 'epoch_4.pth']


@pytest.mark.parametrize('scores', ['score', ['score', 'other']])
def test_the_best_leaves_after_a_better_one_stands(tmp_path: Path, disk, scores):
    hook = dict(save_best=scores, rule='greater')
    others = [] if scores == 'score' else ['best_other_epoch_1.pth']
    disk['best_score_epoch_4.pth'] = 100
    with pytest.raises(OSError, match='the disk is full'):
        make_runner(tmp_path, **hook).train()
    best = [name for name in names(tmp_path) if name.startswith('best')]
    assert best == [*others, 'best_score_epoch_2.pth']
    assert weight_in(tmp_path / best[-1]) == -1
    disk.clear()
    make_runner(tmp_path / 'whole', **hook).train()
    best = [name for name in names(tmp_path / 'whole') if name.startswith('best')]
    assert best == [*others, 'best_score_epoch_4.pth']
    assert weight_in(tmp_path / 'whole' / best[-1]) == -2


def test_what_killed_runs_left_is_removed(tmp_path: Path):
    left = tmp_path / '.epoch_3.pth.abc.part'
    other = tmp_path / '.notes.txt.abc.part'
    left.write_bytes(b'half')
    other.write_bytes(b'half')
    make_runner(tmp_path).train()
    assert not left.exists() and other.exists()


def test_where_a_run_goes_on(tmp_path: Path):
    assert find_checkpoint_to_resume(tmp_path / 'nowhere') is None
    assert find_checkpoint_to_resume(tmp_path) is None
    paths = [tmp_path / name for name in ('epoch_2.pth', 'iter_30.pth', 'best_x.pth')]
    for age, path in enumerate(paths):
        path.touch()
        os.utime(path, (1000 + age, 1000 + age))
    note = tmp_path / 'last_checkpoint'
    for text, expected in (
        (str(paths[0]), paths[0]),
        (f'/gone/elsewhere/{paths[0].name}', paths[0]),  # the folder was moved
        ('', paths[1]),  # killed while it was written
        (str(tmp_path / 'epoch_9.pth'), paths[1]),
        ('\udcff', paths[1]),
    ):
        note.write_bytes(text.encode('utf-8', 'surrogateescape'))
        assert find_checkpoint_to_resume(tmp_path) == str(expected), text
    note.unlink()
    assert find_checkpoint_to_resume(tmp_path) == str(paths[1])


def test_resume_keeps_the_start_weights_until_there_is_a_checkpoint(tmp_path):
    """A job that always says ``--resume`` began without its pretrained weights."""

    def options(argument=None, **changes):
        config = Config(dict(work_dir=str(tmp_path), load_from='start.pth') | changes)
        apply_training_options(config, argument)
        return config.get('resume', False), config.load_from

    assert options('auto') == (False, 'start.pth')
    assert options(resume=True, load_from=None) == (False, None)
    saved = tmp_path / 'epoch_1.pth'
    saved.write_bytes(b'')
    assert options('auto') == (True, str(saved))
    assert options(resume=True, load_from=None) == (True, str(saved))
    assert options('other.pth') == (True, 'other.pth')
    assert options(resume=True) == (True, 'start.pth')
    assert options() == (False, 'start.pth')


@METRICS.register_module(force=True)
class GivenTracks(MOTMetric):
    """Gives what it says, higher by the epoch; switches and misses fall."""

    def process(self, data_batch, data_samples) -> None:
        self.results += [float(weight) for weight in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        score = SCORES[round(-2 * results[0]) - 1]
        names = [key.partition('/')[2] for key in self.score_keys()]
        return {
            name: -score if name.endswith(('IDSW', 'FN', 'ML')) else score
            for name in names
        }


TRACKS = dict(type='GivenTracks')


@pytest.mark.parametrize(
    ('wanted', 'full'),
    [
        ('mot/HOTA', 'mot_HOTA'),
        ('HOTA', 'mot_HOTA'),
        ('auto', 'mot_HOTA'),
        ('IDSW', 'mot_IDSW'),
        ('FN', 'mot_FN'),
        ('mot/IDF1', 'mot_IDF1'),
        (['IDF1', 'mot/ML'], 'mot_IDF1'),
    ],
    ids=str,
)
def test_a_score_is_named_with_or_without_prefix(tmp_path: Path, wanted, full):
    make_runner(tmp_path, evaluator=TRACKS, save_best=wanted).train()
    best = [name for name in names(tmp_path) if name.startswith('best')]
    # The last epoch is the best by each of them, whichever direction is better.
    assert f'best_{full}_epoch_4.pth' in best
    assert len(best) == (2 if isinstance(wanted, list) else 1)


def test_the_best_is_known_after_a_resume(tmp_path: Path, disk):
    disk['epoch_3.pth'] = 100
    with pytest.raises(OSError, match='the disk is full'):
        make_runner(tmp_path, evaluator=TRACKS, save_best=['HOTA', 'IDSW']).train()
    disk.clear()
    make_runner(
        tmp_path, resume=True, evaluator=TRACKS, save_best=['HOTA', 'IDSW']
    ).train()
    best = [name for name in names(tmp_path) if name.startswith('best')]
    assert best == ['best_mot_HOTA_epoch_4.pth', 'best_mot_IDSW_epoch_4.pth']


@pytest.mark.parametrize(
    ('evaluator', 'hook', 'said'),
    [
        (TRACKS, dict(save_best='HOTTA'), "did you mean 'mot/HOTA'.*mot/IDF1"),
        (TRACKS, dict(save_best='hota'), "did you mean 'mot/HOTA'"),
        (TRACKS, dict(save_best='track/HOTA'), 'it gives mot/HOTA, mot/DetA'),
        (TRACKS, dict(save_best='person_HOTA'), 'no such score'),
        (dict(TRACKS, metric='CLEAR'), dict(save_best='HOTA'), 'it gives mot/MOTA'),
        (TRACKS, dict(save_best='PT'), "'mot/PT' needs rule='greater' or"),
        (TRACKS, dict(save_best=['HOTA', 'mot/HOTA']), 'names a score twice'),
        ([TRACKS, dict(TRACKS, prefix='b')], dict(save_best='HOTA'), 'mot/.* and b/'),
        (dict(type='GivenScore'), dict(save_best='other_score'), 'needs rule='),
    ],
)
def test_an_unknown_score_is_said_before_training(tmp_path, evaluator, hook, said):
    runner = make_runner(tmp_path, evaluator=evaluator, **hook)
    with pytest.raises(ValueError, match=said) as caught:
        runner.train()
    assert runner.iter == 0 and '\n' not in str(caught.value)


def test_scores_of_a_foreign_metric_are_known_after_its_first_validation(tmp_path):
    with pytest.raises(ValueError, match='no such score.*it gives score, other'):
        make_runner(tmp_path, save_best='HOTA').train()


def test_the_rule_of_a_known_score_cannot_be_turned_round(tmp_path: Path):
    with pytest.raises(ValueError, match="rule='greater' would keep the worst"):
        make_runner(tmp_path, save_best='mot/IDSW', rule='greater')


@pytest.mark.parametrize('metric', ['HOTA', 'CLEAR', 'Identity', ['HOTA', 'Identity']])
def test_the_metric_gives_the_scores_that_it_tells(metric):
    """Against an evaluation of one box."""
    plain, classes = (MOTMetric(metric, class_aware=aware) for aware in (False, True))
    classes.dataset_meta = dict(classes=('cat', 'dog'))
    boxes = Tracks.create([1], [1], [[0, 0, 9, 9]], label=[0])
    settings = Settings('mot_challenge', plain.families)
    scores = mot_metric._pick(
        evaluate([Sequence('s', 1, boxes, boxes)], settings).over_classes()
    )
    assert plain.score_keys() == [f'mot/{key}' for key in scores]
    assert classes.score_keys() == [
        f'mot/{name}{key}' for name in ('', 'cat_', 'dog_') for key in scores
    ]
