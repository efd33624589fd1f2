# Copyright (c) mmfdta authors.
"""Which process of a job this is, by each launcher's variables, and what they share."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest

from mmfdta.cli.errors import explain
from mmfdta.utils.processes import (
    Processes,
    divide_evenly,
    find_processes,
    join_processes,
)

ROOT = Path(__file__).resolve().parents[2]
# Process 2 of 4, on the second of two machines.
JOBS = {
    'pytorch': dict(
        RANK='2', WORLD_SIZE='4', LOCAL_RANK='0', MASTER_ADDR='one', MASTER_PORT='7'
    ),
    'slurm': dict(
        SLURM_PROCID='2', SLURM_NTASKS='4', SLURM_LOCALID='0', SLURM_JOB_ID='9123456',
        SLURM_NODELIST='one', LOCAL_RANK='3',
    ),
    'mpi': dict(
        OMPI_COMM_WORLD_RANK='2', OMPI_COMM_WORLD_SIZE='4', MASTER_ADDR='one',
        OMPI_COMM_WORLD_LOCAL_RANK='0', OMPI_COMM_WORLD_LOCAL_SIZE='2',
    ),
}  # fmt: skip
PORTS = dict(pytorch='7', slurm=str(20_000 + 9123456 % 9_000), mpi='29500')


def environment(variables):
    return mock.patch.dict(os.environ, variables, clear=True)


@pytest.mark.parametrize('launcher', JOBS)
def test_each_launcher_says_which_process_this_is(launcher):
    with environment(JOBS[launcher]):
        assert find_processes(launcher) == Processes(2, 4, 0)
        told = {name: os.environ[name] for name in JOBS['pytorch']}
    assert told == JOBS['pytorch'] | dict(MASTER_PORT=PORTS[launcher])


def test_without_a_launcher_there_is_one_process_whatever_the_variables_say():
    with environment(JOBS['pytorch']), join_processes('none') as processes:
        assert processes == Processes()
        assert processes.gather('all') == ['all'] and processes.is_first


def test_slurm_s_list_of_machines_is_read_by_scontrol(tmp_path):
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\n[ "$3" = "n[07-08]" ] && printf "n07\\nn08\\n"\n')
    scontrol.chmod(0o755)
    path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
    for nodes, address in (('n[07-08]', 'n07'), ('host-3.site', 'host-3.site')):
        job = JOBS['slurm'] | dict(SLURM_NODELIST=nodes, PATH=path)
        with environment(job):
            find_processes('slurm')
            assert os.environ['MASTER_ADDR'] == address


def test_processes_of_open_mpi_on_one_machine_need_no_address():
    job = JOBS['mpi'] | dict(OMPI_COMM_WORLD_LOCAL_SIZE='4')
    del job['MASTER_ADDR']
    with environment(job):
        find_processes('mpi')
        assert os.environ['MASTER_ADDR'] == '127.0.0.1'


@pytest.mark.parametrize(
    ('launcher', 'change', 'said'),
    [
        ('pytorch', dict(RANK=''), "found RANK='', expected a number; start the comm"),
        ('slurm', dict(SLURM_PROCID='x'), "found SLURM_PROCID='x', expected a number"),
        ('slurm', dict(SLURM_NODELIST='n[1-2]', PATH=''), 'MASTER_ADDR is not set'),
        ('mpi', dict(OMPI_COMM_WORLD_SIZE=''), 'with mpirun of Open MPI, or leave'),
        ('mpi', dict(MASTER_ADDR=''), 'MASTER_ADDR is not set'),
        ('pytorch', dict(WORLD_SIZE='2'), 'RANK is 2, expected 0 to 1'),
        ('lsf', {}, "found 'lsf', expected none, pytorch, slurm, mpi"),
    ],
)
def test_what_a_launcher_does_not_say_is_named(launcher, change, said):
    job = JOBS.get(launcher, {}) | change
    with environment(job), pytest.raises(ValueError) as caught:
        find_processes(launcher)
    text = explain(caught.value)
    assert said in text and '\n' not in text


@pytest.mark.parametrize('world', [1, 2, 3, 5])
def test_shares_are_disjoint_complete_and_even(world):
    for total in range(12):
        items = list(range(total))
        shares = [Processes(rank, world).share(items) for rank in range(world)]
        assert sorted(sum(shares, [])) == items
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= 1


# Two processes merge what they made of five items, then one is killed.
WORK = """
import os, signal, sys
from mmfdta.cli.errors import report_errors
from mmfdta.utils.processes import join_processes
with report_errors('work') as ending, join_processes('pytorch') as processes:
    mine = [text.upper() for text in processes.share(list('abcde'))]
    print(''.join(processes.merge(mine)), *processes.gather(len(mine)), flush=True)
    odd = ['one', 'two'] if processes.rank else []
    try:
        processes.merge(mine + odd)
    except ValueError as error:
        print(error, flush=True)
    if sys.argv[1] == 'lost' and processes.rank:
        os.kill(os.getpid(), signal.SIGKILL)
    processes.gather(None)
raise SystemExit(ending.code)
"""


@pytest.mark.dist
@pytest.mark.parametrize('fate', ['whole', 'lost'])
def test_two_processes_merge_and_a_lost_one_is_one_line(fate, free_port):
    variables = dict(
        WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port)
    )
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', WORK, fate],
            env={**os.environ, **variables, 'RANK': str(rank), 'PYTHONPATH': path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ended = [
        (*process.communicate(timeout=120), process.wait()) for process in processes
    ]
    said = (
        'ABCDE 3 2\nthe processes find different files ([3, 4] by process); all '
        'machines of the job need the same folders, on a disk that they share\n'
    )
    assert [out for out, _, _ in ended] == [said, said]
    codes = [code for _, _, code in ended]
    if fate == 'whole':
        assert codes == [0, 0], ended
        return
    assert codes == [1, -signal.SIGKILL]
    (line,) = ended[0][1].splitlines()
    assert line.startswith('mmfdta work: Connection ')
    assert 'another process of the job has ended before' in line


def test_work_is_divided_evenly():
    sizes = [100, 90, 50, 40, 10]
    shares = divide_evenly(sizes, 2)
    assert sorted(sum(shares, [])) == [0, 1, 2, 3, 4]
    loads = [sum(sizes[i] for i in share) for share in shares]
    assert max(loads) - min(loads) <= 10
    assert divide_evenly([7], 3) == [[0], [], []]


def test_a_process_alone_does_not_wait_for_ever(free_port):
    job = dict(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1')
    with (
        environment(os.environ | job | dict(MASTER_PORT=str(free_port))),
        pytest.raises(ConnectionError) as caught,
        join_processes('pytorch', timedelta(seconds=1)),
    ):
        pass
    text = explain(caught.value)
    assert (
        f'process 0 of 2: no connection to the others at 127.0.0.1:{free_port}' in text
    )
    assert '\n' not in text
