# Copyright (c) mmfdta authors.
"""Training on two machines, for which two launchers stand, one of which is lost."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_run import ROOT, command, logged_losses

pytestmark = [pytest.mark.faults, pytest.mark.dist]

PER_EPOCH = 4  # iterations: seven clips in two processes
DEADLINE = 900


def processes_with(*variables: str) -> list[int]:
    """Processes that have these in their environment."""
    found = []
    for path in Path('/proc').glob('[0-9]*/environ'):
        try:
            has = path.read_bytes().decode(errors='replace').split('\0')
        except OSError:
            continue
        if {*variables} <= {*has}:
            found.append(int(path.parent.name))
    return found


class Node:
    """A launcher and its processes, which know it by a variable."""

    def __init__(self, environment: dict, errors: Path, *arguments: object) -> None:
        self.errors = errors
        self.sign = f'NODE_OF_TEST={errors}'
        environment = environment | dict([self.sign.split('=', 1)])
        self.process = subprocess.Popen(
            ['bash', str(ROOT / 'tools/dist_train.sh'), *map(str, arguments)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=errors.open('w'),
        )

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    def lines(self) -> list[str]:
        return self.errors.read_text().splitlines()

    def kill(self) -> None:
        """End all of its processes at once, as a machine does that loses its power."""
        for process in (self.process.pid, *processes_with(self.sign)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


@contextmanager
def two_nodes(
    environment: dict, folder: Path, port: int, *arguments: object
) -> Iterator[list[Node]]:
    nodes = []
    try:
        for rank in range(2):
            told = dict(NNODES='2', NODE_RANK=str(rank), PORT=str(port))
            errors = folder / f'errors{rank}'
            nodes.append(Node(environment | told, errors, *arguments))
        yield nodes
    finally:
        for node in nodes:
            node.kill()


def wait_for(condition: Callable[[], object], *nodes: Node) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        ended = [node.lines() for node in nodes if node.process.poll() is not None]
        assert not ended, 'ended before it was to be lost'
        time.sleep(0.02)


def weights_of(work: Path) -> dict[str, torch.Tensor]:
    return torch.load(work / 'epoch_3.pth', weights_only=False)['state_dict']


def test_a_lost_machine_is_one_line_and_the_run_goes_on_to_the_same_weights(
    tiny_run, environment, free_port, tmp_path
):
    config = tiny_run(train_cfg__max_epochs=3, train_cfg__val_begin=9)
    work = Path(Config.fromfile(config).work_dir)
    whole, again = work.with_name('whole'), work.with_name('again')
    alone = Node(environment, tmp_path / 'errors', config, 2, '--work-dir', whole)
    assert alone.wait() == 0, alone.lines()
    expected = weights_of(whole)

    def in_second_epoch(folder: Path) -> bool:
        done = max(logged_losses(folder), default=0)
        return (folder / 'epoch_1.pth').is_file() and done > PER_EPOCH

    with two_nodes(environment, tmp_path, free_port, config, 1) as nodes:
        wait_for(lambda: in_second_epoch(work), *nodes)
        nodes[1].kill()
        assert nodes[0].wait() == 1
    (line,) = nodes[0].lines()
    assert line.startswith('mmfdta train: Connection ')
    assert 'another process of the job has ended before' in line
    assert not (work / 'epoch_3.pth').exists()
    with two_nodes(environment, tmp_path, free_port, config, 1, '--resume') as nodes:
        assert [node.wait() for node in nodes] == [0, 0], [n.lines() for n in nodes]
    resumed = weights_of(work)
    torch.testing.assert_close(resumed, expected, rtol=0, atol=0)

    # torchrun starts all processes again, which go on by themselves.
    options = [config, 2, '--work-dir', again, '--resume']
    elastic = Node(environment | dict(MAX_RESTARTS='1'), tmp_path / 'errors', *options)
    try:
        wait_for(lambda: in_second_epoch(again), elastic)
        (second,) = processes_with(elastic.sign, 'RANK=1')
        os.kill(second, signal.SIGKILL)
        assert elastic.wait() == 0, elastic.lines()
    finally:
        elastic.kill()
    said = 'mmfdta train: a process has ended, and all start again (1 of 1)'
    assert said in elastic.lines()
    torch.testing.assert_close(weights_of(again), expected, rtol=0, atol=0)

    # One machine does not see the work dir of the other.
    processes = []
    for rank, folder in enumerate((whole, work.with_name('elsewhere'))):
        told = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_PORT=free_port)
        told |= dict(MASTER_ADDR='127.0.0.1')
        arguments = ['--launcher', 'pytorch', '--resume', '--work-dir', folder]
        processes.append(
            subprocess.Popen(
                command('train', config, *arguments),
                env=environment | {k: str(v) for k, v in told.items()},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    texts = [process.communicate(timeout=DEADLINE)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1]
    assert (
        f'process 0 would continue from {whole / "epoch_3.pth"}, process 1 ' in texts[0]
    )
    assert 'from the start, which differs; all machines of the job need' in texts[0]
    assert all(text.count('\n') == 1 for text in texts), texts
