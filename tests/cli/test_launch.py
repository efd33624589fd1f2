# Copyright (c) mmfdta authors.
"""What the launcher says if the machines of a job do not find each other."""

import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.dist


def launch(port, *options):
    command = [sys.executable, '-m', 'mmfdta.cli.launch', '--nproc-per-node=1']
    command += ['--master-port', str(port), *options, '-m', 'mmfdta', 'env']
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith('mmfdta: the machines of the job do not come together: ')
    return line


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(('', 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = launch(port, '--nnodes=2', '--node-rank=0')
    assert str(port) in line and 'EADDRINUSE' in line


def test_a_first_machine_that_is_not_there_is_one_line(free_port):
    options = ['--nnodes=2', '--node-rank=1', '--rdzv-conf=timeout=2']
    assert str(free_port) in launch(free_port, *options)


def test_a_number_of_machines_that_is_none_is_one_line(free_port):
    assert 'two' in launch(free_port, '--nnodes=two')
