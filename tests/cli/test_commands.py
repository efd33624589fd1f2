# Copyright (c) mmfdta authors.
"""The train and test commands on a one-weight model: results, refusals, resuming."""

import functools
import io
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from loopback import FileServer
from mmengine.config import Config
from mmengine.runner import Runner

from mmfdta.apis import test as test_command
from mmfdta.apis import train as train_command
from mmfdta.apis.config import find_config, load_config
from mmfdta.cli import main as command_line
from mmfdta.engine.console import ConsoleHandler

MODEL = '''
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DATASETS, METRICS
from mmengine.evaluator import BaseMetric

@MODELS.register_module(force=True)
class OneWeight(BaseModel):
    """Its weight falls by lr times one each step."""
    def __init__(self, size=1, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.weight = torch.nn.Parameter(torch.full((size,), 7.0))
    def forward(self, x, mode):
        return dict(loss=self.weight.sum()) if mode == 'loss' else [self.weight.sum()]

@DATASETS.register_module(force=True)
class Four(torch.utils.data.Dataset):
    metainfo = {}
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return dict(x=float(index))

@METRICS.register_module(force=True)
class Seen(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(sample) for sample in data_samples]
    def compute_metrics(self, results):
        return dict(weight=results[0], count=len(results))
'''
CONFIG = """
default_scope = 'mmdet'
custom_imports = dict(imports=['one_weight'])
model = dict(type='OneWeight')
train_dataloader = dict(
    dataset=dict(type='Four'), batch_size=2, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'))
test_dataloader = dict(
    dataset=dict(type='Four'), batch_size=1, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.5))
train_cfg = dict(by_epoch=True, max_epochs=1)
test_cfg = dict()
test_evaluator = dict(type='Seen')
auto_scale_lr = dict(base_batch_size=4)
log_level = 'WARNING'
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the config `tiny.py`, as the current one."""
    (tmp_path / 'one_weight.py').write_text(MODEL)
    (tmp_path / 'tiny.py').write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    # The commands set both for their process.
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    monkeypatch.setenv('LOCAL_RANK', '0')
    return tmp_path


RUN_TEST = Runner.test


def saved_weight(path):
    return torch.load(path, weights_only=True)['state_dict']['weight'].item()


@pytest.fixture
def error_of(capsys):
    """What a command that cannot do its work says, in one line."""

    def call(*arguments):
        capsys.readouterr()
        assert command_line.main(arguments) == 1
        *progress, line = capsys.readouterr().err.splitlines()
        assert all(' MB' in text or ' kB' in text for text in progress)
        assert line.startswith(f'mmfdta {arguments[0]}: ')
        return line

    return call


def seen(project, monkeypatch, *arguments):
    """What the metric reports for `test` with these arguments."""
    results = {}
    monkeypatch.setattr(Runner, 'test', lambda self: results.update(RUN_TEST(self)))
    command_line.main(['test', 'tiny.py', *arguments])
    return results


def test_training_saves_resumes_and_tests(project, monkeypatch):
    command_line.main(['train', 'tiny.py'])
    work_dir = project / 'work_dirs' / 'tiny'
    # Two steps of 0.5 an epoch, down from 7.
    assert saved_weight(work_dir / 'epoch_1.pth') == 6
    command_line.main(
        ['train', 'tiny.py', '--resume', '--cfg-options', 'train_cfg.max_epochs=2']
    )
    assert saved_weight(work_dir / 'epoch_2.pth') == 5
    first = str(work_dir / 'epoch_1.pth')
    options = ['--work-dir', 'other', '--resume', first]
    command_line.main(
        ['train', 'tiny.py', *options, '--cfg-options', 'train_cfg.max_epochs=2']
    )
    assert saved_weight(project / 'other' / 'epoch_2.pth') == 5
    assert not (project / 'other' / 'epoch_1.pth').exists()

    results = seen(project, monkeypatch, str(work_dir / 'epoch_2.pth'))
    assert results == dict(weight=5.0, count=4)
    assert seen(project, monkeypatch, '--checkpoint', first)['weight'] == 6.0


def test_auto_scale_lr_scales_by_the_batch(project):
    command_line.main(['train', 'tiny.py', '--auto-scale-lr'])
    # Half of the base batch: two steps of 0.25.
    assert saved_weight(project / 'work_dirs/tiny/epoch_1.pth') == 6.5


def test_auto_scale_lr_without_a_base_is_refused(project, error_of):
    (project / 'tiny.py').write_text(CONFIG.replace('auto_scale_lr', 'other'))
    message = error_of('train', 'tiny.py', '--auto-scale-lr')
    assert 'auto_scale_lr.base_batch_size' in message


def test_amp_is_another_name_of_a_precision(project, error_of):
    config = load_config('tiny.py')
    train_command.apply_training_options(config, amp=True)
    assert config.precision == 'fp16'
    assert 'type' not in config.optim_wrapper
    config.optim_wrapper.dtype = 'bfloat16'  # as 0.2 said it
    train_command.apply_training_options(config, amp=True)
    assert config.precision == 'bf16'
    message = error_of('train', 'tiny.py', '--amp', '--precision', 'bf16')
    assert '--precision fp16' in message and '--precision bf16' in message


def test_testing_without_weights_has_to_be_asked_for(project, monkeypatch, error_of):
    assert '--allow-random-weights' in error_of('test', 'tiny.py')
    assert seen(project, monkeypatch, '--allow-random-weights')['weight'] == 7.0


def test_a_checkpoint_that_is_not_there_is_an_error(project, error_of):
    assert 'there is no checkpoint no.pth' in error_of('test', 'tiny.py', 'no.pth')


def test_two_checkpoints_are_an_error(project, error_of):
    message = error_of('test', 'tiny.py', 'a.pth', '--checkpoint', 'b.pth')
    assert 'a.pth, b.pth' in message


@pytest.mark.parametrize(
    'weights, problem',
    [
        ({}, 'there is no state dict in it'),
        (dict(bias=torch.ones(1)), '1 missing: weight; 1 unknown: bias'),
        (
            dict(weight=torch.ones(2)),
            'another shape, first weight (2,) instead of (1,)',
        ),
        (dict(weight=torch.ones(1), bias=torch.ones(1)), '1 unknown: bias'),
    ],
)
def test_weights_that_do_not_fit_are_an_error(project, weights, problem, error_of):
    torch.save(dict(state_dict=weights), 'odd.pth')
    message = error_of('test', 'tiny.py', 'odd.pth')
    assert problem in message and 'odd.pth' in message


def test_weights_of_a_wrapped_model_fit(project, monkeypatch):
    torch.save(dict(state_dict={'module.weight': torch.full((1,), 3.0)}), 'ddp.pth')
    assert seen(project, monkeypatch, 'ddp.pth')['weight'] == 3.0


def test_code_in_a_checkpoint_is_not_run(project, error_of):
    class Evil:
        def __reduce__(self):
            return os.mkdir, ('ran',)

    weights = dict(weight=torch.ones(1))
    torch.save(dict(state_dict=weights, meta=Evil()), 'evil.pth')
    message = error_of('test', 'tiny.py', 'evil.pth')
    assert 'evil.pth: refused' in message
    assert not (project / 'ran').exists()


def test_out_needs_a_metric_that_writes(project, error_of):
    message = error_of('test', 'tiny.py', '--allow-random-weights', '--out', 'tracks')
    assert 'MOTMetric' in message


def test_out_reaches_the_metric(project):
    config = load_config('tiny.py')
    config.test_evaluator = [dict(type='Seen'), dict(type='MOTMetric')]
    test_command.write_tracks_to(config, 'tracks')
    assert config.test_evaluator[1].out_dir == 'tracks'
    assert 'out_dir' not in config.test_evaluator[0]


def test_tracks_go_to_the_work_dir_by_default() -> None:
    evaluators = [dict(type='MOTMetric'), dict(type='MOTMetric', out_dir='mine')]
    config = Config(dict(test_evaluator=evaluators, work_dir='work'))
    test_command.write_tracks_to(config, None)
    found = [evaluator.out_dir for evaluator in config.test_evaluator]
    assert found == [str(Path('work') / 'tracks'), 'mine']


def test_configs_are_found_by_path_or_name(project, monkeypatch):
    shipped = project / '.mim' / 'configs'
    shipped.mkdir(parents=True)
    (shipped / 'fdta_mini.py').touch()
    monkeypatch.setattr('mmfdta.apis.config.CONFIG_ROOTS', (shipped,))
    for name in ('configs/fdta_mini.py', 'fdta_mini.py', 'fdta_mini'):
        assert find_config(name) == shipped / 'fdta_mini.py'
    assert find_config('tiny.py').resolve() == project / 'tiny.py'
    with pytest.raises(FileNotFoundError, match=r"'fdta_maxi'.*\(fdta_mini\)"):
        find_config('fdta_maxi')


def test_a_config_may_name_its_weights(project, monkeypatch):
    for name, weight in (('own', 3.0), ('other', 4.0)):
        state_dict = dict(weight=torch.full((1,), weight))
        torch.save(dict(state_dict=state_dict), f'{name}.pth')
    with open('tiny.py', 'a') as config:
        config.write("checkpoint = 'own.pth'\n")
    found = [
        seen(project, monkeypatch, *arguments)['weight']
        for arguments in ([], ['other.pth'], ['--allow-random-weights'])
    ]
    assert found == [3.0, 4.0, 7.0]


def test_weights_are_fetched_by_address_and_by_name(project, monkeypatch, error_of):
    content = io.BytesIO()
    torch.save(dict(state_dict=dict(weight=torch.full((1,), 3.0))), content)
    monkeypatch.setattr(torch.hub, '_hub_dir', str(project / 'hub'))
    with FileServer(content.getvalue()) as server:
        monkeypatch.setenv('MMFDTA_MIRROR', server.root)
        assert seen(project, monkeypatch, f'{server.root}/w.pth')['weight'] == 3.0
        start = ['--cfg-options', 'load_from=motip-bft', 'work_dir=run']
        assert command_line.main(['train', 'tiny.py', *start]) == 0
        assert saved_weight('run/epoch_1.pth') == 2.0
        said = error_of('test', 'tiny.py', 'yolox-tiny')
        assert 'its SHA-256 begins with' in said
    assert seen(project, monkeypatch, 'motip-bft')['weight'] == 3.0
    said = error_of('train', 'tiny.py', '--cfg-options', 'load_from=motip-dancetrack')
    assert 'cannot fetch http://127.0.0.1' in said


def test_a_training_starts_with_published_weights_that_fit(project, error_of):
    names = ['model.init_cfg.type=Pretrained', 'model.init_cfg.checkpoint=minidance']
    message = error_of('train', 'tiny.py', '--cfg-options', *names)
    assert re.search(
        r'init_cfg\.checkpoint=.*fdta_mini\.pth: none of its \d+ weights', message
    )
    names.append('model.init_cfg.prefix=detector.')
    message = error_of('train', 'tiny.py', '--cfg-options', *names)
    assert "model.init_cfg: found prefix='detector.'" in message


def test_an_unknown_verb_lists_the_known_ones(capsys):
    with pytest.raises(SystemExit) as caught:
        command_line.main(['fly'])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "'fly'" in error
    for name in command_line.VERBS:
        assert name in error


def test_no_verb_is_an_error_and_help_is_not(capsys):
    assert command_line.main([]) == 2
    with pytest.raises(SystemExit) as caught:
        command_line.main(['--help'])
    assert caught.value.code == 0
    listed = capsys.readouterr().out
    for name in command_line.VERBS:
        assert f'\n  {name} ' in listed, name


def test_env_reports_the_operators(capsys):
    command_line.main(['env'])
    assert textwrap.shorten(capsys.readouterr().out, 20).startswith('mmfdta')


@pytest.mark.parametrize('name', sorted(command_line.VERBS))
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as caught:
        command_line.main([name, '--help'])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith('usage: ')


@pytest.mark.parametrize(
    ('words', 'found', 'expected'),
    [
        ('ablation --seeds 0 -1', "'-1'", 'from 0 to 4294967295'),
        ('ablation --iterations 1', "'1'", 'from 2 on'),
        ('ablation --iterations nan', "'nan'", 'from 2 on'),
        ('demo --seed 4294967296', "'4294967296'", 'from 0 to 4294967295'),
        ('convert a.pth b.pth --class-index -1', "'-1'", 'from 0 on'),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_runs(
    words, found, expected, capsys
):
    with pytest.raises(SystemExit) as caught:
        command_line.main(words.split())
    assert caught.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f'found {found}, expected a whole number {expected}' in said


def test_a_console_that_nobody_reads_ends_no_run(capsys):
    read, write = os.pipe()
    os.close(read)
    logger = logging.Logger('run')
    with open(write, 'w', buffering=1) as console:
        logger.addHandler(ConsoleHandler(console))
        logger.info('first')
        logger.info('second')
    assert capsys.readouterr().err == ''


def test_what_the_console_of_a_test_shows(project, capfd):
    torch.save(dict(state_dict=dict(weight=torch.ones(1))), 'one.pth')
    # A logger of its own: MMEngine names them by the second they were made in.
    options = ['--cfg-options', 'log_level=INFO', 'experiment_name=console']
    assert command_line.main(['test', 'tiny.py', 'one.pth', *options]) == 0
    shown = capfd.readouterr().out.splitlines()
    assert re.search('  The log is .*[.]log$', shown[0])
    assert sum('one.pth' in line for line in shown) == 1
    assert 'weight: 1.0000  count: 4' in shown[-1]
    assert len(shown) <= 4
    (log,) = project.rglob('*.log')
    for text in ('System environment', 'Config:', 'Load checkpoint from one.pth'):
        assert text in log.read_text()


def test_ctrl_c_ends_training_in_a_line(project):
    """It goes to the whole group, as from a terminal: to the loader's workers too."""
    options = ['train_cfg.max_epochs=99999', 'train_dataloader.num_workers=1']
    # Python drops what is raised while a loader's iterator is deleted.
    options += ['train_dataloader.persistent_workers=True']
    command = [sys.executable, '-m', 'mmfdta', 'train', 'tiny.py']
    path = os.pathsep.join([str(project), *filter(None, sys.path)])
    with subprocess.Popen(
        [*command, '--cfg-options', *options, 'default_hooks.checkpoint=None'],
        env={**os.environ, 'PYTHONPATH': path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A suite in the background of a shell is started with SIGINT ignored.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            end = time.monotonic() + 300
            while not list(project.rglob('scalars.json')):
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(120) == 130
        finally:
            process.kill()
        assert process.stderr.read() == 'mmfdta train: interrupted\n'


@pytest.mark.dist
def test_two_processes_train_and_test_without_a_gpu(project, free_port):
    tools = Path(__file__).resolve().parents[2] / 'tools'
    path = os.pathsep.join([str(project), str(tools.parent), *sys.path])
    binaries = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    environment = {**os.environ, 'PYTHONPATH': path, 'PATH': binaries}
    environment['PORT'] = str(free_port)
    environment.pop('LOCAL_RANK')

    def run(script, *arguments, code=0):
        command = ['bash', str(tools / script), 'tiny.py', *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stderr[-3000:]
        return done.stderr if code else done.stdout

    option = 'optim_wrapper.optimizer.type=AdamX'
    (said,) = run('dist_train.sh', '2', '--cfg-options', option, code=1).splitlines()
    assert said.startswith(f'mmfdta train: {option.partition("=")[0]}: ')

    run('dist_train.sh', '2')
    # Two images each: one step of 0.5.
    assert saved_weight('work_dirs/tiny/epoch_1.pth') == 6.5

    # What srun starts: as many processes as tasks, with numbers of their own.
    srun = project / 'bin/srun'
    srun.parent.mkdir()
    srun.write_text(
        textwrap.dedent("""\
        #!/usr/bin/env bash
        echo "$@" > srun_arguments
        while [[ "$1" == --* ]]; do
            [[ "$1" == --ntasks=* ]] && export SLURM_NTASKS="${1#*=}"
            shift
        done
        export SLURM_NODELIST=localhost SLURM_JOB_ID=77
        for ((i = 1; i < SLURM_NTASKS; i++)); do
            SLURM_PROCID=$i SLURM_LOCALID=$i "$@" &
        done
        SLURM_PROCID=0 SLURM_LOCALID=0 "$@"
        wait
    """)
    )
    srun.chmod(0o755)
    environment['PATH'] = os.pathsep.join([str(srun.parent), environment['PATH']])
    environment |= dict(GPUS='2', GPUS_PER_NODE='0', MASTER_PORT=str(free_port))
    command = ['bash', str(tools / 'slurm_test.sh'), 'part', 'job', 'tiny.py']
    command += ['work_dirs/tiny/epoch_1.pth', '--cfg-options', 'log_level=INFO']
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r'weight: 6\.5000\s+count: 4', done.stdout)
    asked = Path('srun_arguments').read_text()
    assert '--partition=part --job-name=job --ntasks=2' in asked
    assert '--gres' not in asked
