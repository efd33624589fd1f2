# Copyright (c) mmfdta authors.
"""A process of a job ends without threads of the connection, which could abort it."""

import subprocess
import sys

import pytest

CODE = """
import sys
from pathlib import Path
import torch
from mmfdta.apis.config import leave_processes

def threads():
    names = (path.read_text() for path in Path('/proc/self/task').glob('*/comm'))
    return sum('gloo' in name for name in names)

class Runner:  # as MMEngine's, part of a cycle
    def __init__(self):
        layer = torch.nn.Linear(2, 2)
        self.model = torch.nn.parallel.DistributedDataParallel(layer)
        self.itself = self

torch.distributed.init_process_group(
    'gloo', f'file://{sys.argv[1]}', rank=0, world_size=1
)
Runner().model(torch.ones(1, 2)).sum().backward()
before = threads()
leave_processes()
print(before > 0, threads())
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='counts threads in /proc')
def test_no_thread_of_the_connection_is_left(tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', CODE, str(tmp_path / 'store')],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ['True', '0']
