# Copyright (c) mmfdta authors.
"""One of two processes is lost: the other ends with an error, not never."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from mmengine.config import Config
from tiny_run import command, logged_losses, write_sequence

pytestmark = [pytest.mark.faults, pytest.mark.dist]

TIMEOUT = 30  # seconds that a process waits for the other
SLACK = 90  # for a busy machine to notice and to end


def start_two(
    arguments: list[str], environment: dict, port: int, folder: Path
) -> list[subprocess.Popen]:
    """Start both processes without an agent that would end one with the other."""
    processes = []
    for rank in range(2):
        variables = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_PORT=port)
        variables['MASTER_ADDR'] = '127.0.0.1'
        processes.append(
            subprocess.Popen(
                arguments,
                env=environment | {k: str(v) for k, v in variables.items()},
                stdout=subprocess.DEVNULL,
                stderr=(folder / f'stderr{rank}').open('w'),
            )
        )
    return processes


@pytest.mark.parametrize('loss', [signal.SIGKILL, signal.SIGSTOP], ids=['dead', 'hung'])
@pytest.mark.parametrize('name', ['train', 'test'])
def test_the_other_process_ends_in_time(
    tiny_run, environment, free_port, tmp_path: Path, name: str, loss: signal.Signals
):
    config = tiny_run(env_cfg__dist_cfg__timeout=TIMEOUT, train_cfg__max_epochs=999)
    for number in (5, 6):
        write_sequence(tmp_path / f'data/val/seq{number}', 60, number)
    out, work = tmp_path / 'tracks', Path(Config.fromfile(config).work_dir)
    options = ['--launcher', 'pytorch']
    if name == 'test':
        options += ['--allow-random-weights', '--out', out]

    def has_begun() -> bool:
        if name == 'test':
            return any(tmp_path.glob('tracks.partial/*.txt'))
        return len(logged_losses(work)) >= 2

    arguments = command(name, config, *options)
    processes = start_two(arguments, environment, free_port, tmp_path)
    left, lost = processes
    try:
        end = time.monotonic() + 600
        while not has_begun():
            assert time.monotonic() < end
            assert all(process.poll() is None for process in processes)
            time.sleep(0.02)
        lost.send_signal(loss)
        code = left.wait(TIMEOUT + SLACK)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    said = (tmp_path / 'stderr0').read_text()
    assert code != 0
    expected = ['Connection closed by peer', 'Connection reset by peer']
    if loss == signal.SIGSTOP:
        expected = ['Timed out', 'timed out', 'timeout']
    assert any(text in said for text in expected), said[-2000:]
    assert not out.exists(), 'results without those of the other process'
