# Copyright (c) mmfdta authors.
"""What a command imports before it works, and how it ends when it cannot."""

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mmfdta.cli.errors import explain, report_errors
from mmfdta.cli.main import VERBS, build_parser

LIGHT = """
import contextlib, io, sys
from mmfdta.cli.main import VERBS, main
for verb in (None, *VERBS):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            main(['--help'] if verb is None else [verb, '--help'])
        except SystemExit as stop:
            assert stop.code == 0
    assert said.getvalue().startswith('usage: mmfdta'), verb
    heavy = {'torch', 'mmengine', 'mmcv', 'mmdet'} & set(sys.modules)
    assert not heavy, (verb, heavy)
"""


def test_help_of_every_verb_loads_no_torch():
    subprocess.run([sys.executable, '-c', LIGHT], check=True)


def test_the_command_starts_at_once():
    begin = os.times()
    command = [sys.executable, '-m', 'mmfdta', '--help']
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    end = os.times()
    spent = end.children_user + end.children_system
    assert spent - begin.children_user - begin.children_system < 0.5


def ending_of(work, capsys, show_traceback=False):
    with report_errors('train', show_traceback) as ending:
        work()
    return ending.code, capsys.readouterr().err


def missing():
    Path('no/such/file').read_text()


def own():
    from mmfdta import config_paths

    config_paths('nothing.py')


def interrupted():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ('work', 'code', 'line'),
    [
        (missing, 1, 'mmfdta train: no/such/file: No such file or directory\n'),
        (own, 1, 'mmfdta train: nothing.py: mmfdta has no such config\n'),
        (interrupted, 130, 'mmfdta train: interrupted\n'),
    ],
)
def test_a_mistake_ends_in_one_line(work, code, line, capsys):
    assert ending_of(work, capsys) == (code, line)
    with pytest.raises((OSError, KeyboardInterrupt)):
        ending_of(work, capsys, show_traceback=True)


@pytest.mark.parametrize('error', [ValueError, KeyError, TypeError, ZeroDivisionError])
def test_a_bug_keeps_its_traceback(error, capsys):
    def work():
        raise error('outside of the package')

    with pytest.raises(error):
        ending_of(work, capsys)


def test_a_file_that_has_changed_since_the_start_is_no_bug():
    path = Path(explain.__code__.co_filename).with_name('edited.py')
    scope = {}
    exec(compile('def own(): raise ValueError("said")', path, 'exec'), scope)
    exec(compile('def bug(): return int("said")', path, 'exec'), scope)
    for name, said in (('own', 'said'), ('bug', None)):
        with pytest.raises(ValueError) as caught:
            scope[name]()
        assert explain(caught.value) == said


def test_an_error_of_a_loader_s_worker_is_its_last_line():
    path = explain.__code__.co_filename
    text = textwrap.dedent(f"""\
        Caught ValueError in DataLoader worker process 0.
        Original Traceback (most recent call last):
          File "/somewhere/worker.py", line 1, in fetch
            data = fetcher.fetch(index)
          File "{path}", line 2, in read
            raise ValueError(
        ValueError: seq1/gt.txt, line 3: found 5 columns
    """)
    assert explain(ValueError(text)) == 'seq1/gt.txt, line 3: found 5 columns'
    foreign = text.replace(path, '/somewhere/else.py')
    assert explain(ValueError(foreign)) is None
    lost = text.replace('ValueError', 'FileNotFoundError')
    assert explain(FileNotFoundError(lost)).startswith('seq1/gt.txt')


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (
            'CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total '
            'capacity of 79.11 GiB of which 1.22 GiB is free. Including non-PyTorch '
            'memory, this process has 77 GiB memory in use. See documentation',
            'CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total '
            'capacity of 79.11 GiB of which 1.22 GiB is free; lower the batch size or '
            'the image size',
        ),
        (
            '[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: '
            "can't allocate memory: you tried to allocate 8 bytes.",
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 "
            'bytes; lower the batch size or the image size',
        ),
        (
            '[/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]: '
            '1. This is typically caused by a remote worker crashing.',
            'Connection closed by peer; another process of the job has ended '
            'before; look for what it said',
        ),
        (
            'Expected one of cpu, cuda, xpu device type at start of device string: gpu',
            'device string: gpu; name a device such as cpu or cuda:0',
        ),
    ],
)
def test_what_pytorch_says_about_the_machine_is_no_bug(text, said):
    assert explain(RuntimeError(text)) == said


def test_processes_of_torchrun_leave_their_line_to_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(tmp_path / 'error.json'))
    assert ending_of(missing, capsys) == (1, '')
    assert 'mmfdta train: no/such/file' in (tmp_path / 'error.json').read_text()


def test_sigterm_ends_like_an_interruption():
    code = (
        'import time; from mmfdta.cli.errors import report_errors\n'
        'with report_errors("train") as ending:\n'
        '    print("ready", flush=True); time.sleep(600)\n'
        'raise SystemExit(ending.code)'
    )
    command = [sys.executable, '-c', code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == 'ready\n'
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 130
        assert process.stderr.read() == 'mmfdta train: interrupted\n'


_LEFT_ALONE = """
import multiprocessing, socket, sys
from multiprocessing.connection import Client
from multiprocessing.resource_sharer import DupFd, _resource_sharer
from mmfdta.cli.errors import report_errors

def serve(pipe):
    with socket.socket() as served:
        pipe.send([DupFd(served.fileno()) for _ in range(COUNT)])
        pipe.recv()
    error = ValueError('a fault of its own')
    sys.excepthook(ValueError, error, None)

COUNT = 50
context = multiprocessing.get_context('fork')
with report_errors('train'):
    pipe, other = context.Pipe()
    child = context.Process(target=serve, args=(other,))
    child.start()
    for shared in pipe.recv():
        # As Ctrl-C does it: the descriptor was asked for and is not received.
        _resource_sharer.get_connection(shared._id).close()
        # Or it was not even asked for.
        key = multiprocessing.current_process().authkey
        Client(shared._id[0], authkey=key).close()
    pipe.send('end')
    child.join()
"""


def test_a_worker_that_loses_this_process_is_silent_about_it():
    command = [sys.executable, '-c', _LEFT_ALONE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert done.stderr == 'ValueError: a fault of its own\n'


def test_every_verb_says_what_it_does():
    for module, text in VERBS.values():
        assert module.startswith('mmfdta.') and text and not text.endswith('.')


@pytest.mark.parametrize(
    'arguments',
    [
        'benchmark a.py --threads 0',
        'benchmark a.py --warmup -1',
        'benchmark a.py --resamples 0',
        'check-data mot --max-findings -1',
        'estimate-memory a.py --size 0 100',
        'estimate-memory a.py --objects 0',
        'evaluate gt pred --processes 0',
        'generate-depth folder --batch-size 0',
        'similarity a.py --clips 0',
        'similarity a.py --threshold 90',
        'tune a.py --batch-size 0',
        'minidance root --processes -2',
        'export a.py --size 0x360',
        'gpu-check --sizes 10x',
    ],
)
def test_an_impossible_number_is_named_with_its_range(arguments, capsys):
    verb, option, found = re.match(r'(\S+) .*(--\S+) (\S+)', arguments).groups()
    with pytest.raises(SystemExit) as stop:
        build_parser(verb).parse_args(arguments.split())
    assert stop.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {option}: found '{found}', expected " in line
