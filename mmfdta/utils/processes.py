# Copyright (c) mmfdta authors.
"""The processes of a job: which of them this is, what it does, what all have done.

A launcher starts a command several times, on one machine or on several, and tells each
process by variables of the environment which of them it is. Commands on many files need
no more than that to share their work, and a connection to gather what came of it;
PyTorch is loaded for the connection alone. What trains or tests in several processes
has MMEngine's connection, to which the same variables lead.
"""

import contextlib
import heapq
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

Item = TypeVar('Item')

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# Launcher -> the program, and its variables: number of the process, how many there are,
# number on its machine.
_VARIABLES = {
    'pytorch': ('torchrun', 'RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('srun', 'SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': (
        'mpirun of Open MPI',
        *('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
    ),
}
_PORT = 29500  # PyTorch's
# How long the processes wait for each other to start, and then for each other's work.
_CONNECTING = timedelta(minutes=10)
_WORKING = timedelta(days=30)


@dataclass(frozen=True)
class Processes:
    """The processes of a job, seen from one of them.

    Attributes:
        rank: Number of this process, from 0.
        world: How many there are.
        local_rank: Number of this process on its machine, from 0.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    _group: Any = field(default=None, repr=False, compare=False)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that speaks for all."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Take this process's part of the work: disjoint parts, together all of it.

        Args:
            items: The same in all processes, in the same order.
        """
        return items[self.rank :: self.world]

    def gather(self, mine: Item) -> list[Item]:
        """Hand what each process has to all of them, after waiting for the last.

        Args:
            mine: What this process has; it is pickled.

        Returns:
            What they have, by their numbers.

        Raises:
            RuntimeError: If a process has ended before.
        """
        if self.world == 1:
            return [mine]
        import torch.distributed

        found: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(found, mine, group=self._group)
        return found

    def merge(self, mine: Sequence[Item]) -> list[Item]:
        """Put what became of the shares into the order of the whole.

        Args:
            mine: One for each item of this process's :meth:`share`.

        Returns:
            One for each item of all.

        Raises:
            RuntimeError: If a process has ended before.
            ValueError: If the processes did not share the same items.
        """
        shares = self.gather(mine)
        total = sum(map(len, shares))
        counts = [len(share) for share in shares]
        if counts != [len(range(i, total, self.world)) for i in range(self.world)]:
            raise ValueError(
                f'the processes find different files ({counts} by process); all '
                'machines of the job need the same folders, on a disk that they share'
            )
        return [shares[i % self.world][i // self.world] for i in range(total)]

    def device(self) -> str | None:
        """Name this process's GPU: those of a machine are dealt out in turn.

        Returns:
            Such as ``cuda:1``; None where there is one process, or no GPU.
        """
        if self.world == 1:
            return None
        import torch

        count = torch.cuda.device_count()
        return f'cuda:{self.local_rank % count}' if count else None


def divide_evenly(sizes: Sequence[float], world: int) -> list[list[int]]:
    """Divide work of different sizes among processes.

    The largest first, each goes to the process that has least. Processes that ask with
    the same sizes find the same shares, without a connection.

    Args:
        sizes: Of each piece of work, in any unit.
        world: How many processes there are.

    Returns:
        Ascending indices of the pieces of each process; none for some of more
        processes than pieces.
    """
    shares: list[list[int]] = [[] for _ in range(world)]
    loads = [(0.0, rank) for rank in range(world)]
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        load, rank = heapq.heappop(loads)
        heapq.heappush(loads, (load + sizes[index], rank))
        shares[rank].append(index)
    return [sorted(share) for share in shares]


def find_processes(launcher: str) -> Processes:
    """Find out which process of a job this is; without a connection to the others.

    What PyTorch and MMEngine ask for is put into the environment: ``RANK``,
    ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR``, ``MASTER_PORT``. The address is
    that of the first machine, the port under Slurm one that the number of the job
    gives; what is set stays.

    Args:
        launcher: One of `LAUNCHERS`.

    Raises:
        ValueError: If there is no such launcher, it has not started this process, or
            the address of the first machine is not known.
    """
    if launcher == 'none':
        return Processes()
    if launcher not in _VARIABLES:
        raise ValueError(
            f'launcher: found {launcher!r}, expected {", ".join(LAUNCHERS)}'
        )
    program, *names = _VARIABLES[launcher]
    rank, world = (_read_number(launcher, program, name) for name in names[:2])
    local = os.environ.get(names[2], '')
    local_rank = int(local) if local.isdecimal() else rank
    if not 0 <= rank < world:
        raise ValueError(
            f'--launcher {launcher}: {names[0]} is {rank}, expected 0 to {world - 1} '
            f'with {names[1]}={world}'
        )
    address = os.environ.get('MASTER_ADDR') or _find_address(launcher, world)
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world),
        LOCAL_RANK=str(local_rank),
        MASTER_ADDR=address,
        MASTER_PORT=os.environ.get('MASTER_PORT') or str(_choose_port(launcher)),
    )
    return Processes(rank, world, local_rank)


@contextlib.contextmanager
def join_processes(
    launcher: str, patience: timedelta = _CONNECTING
) -> Iterator[Processes]:
    """Connect the processes of a job, on CPUs, while their work lasts.

    A process that ends before the others breaks the connection, at which the others
    end when they gather.

    Args:
        launcher: One of `LAUNCHERS`.
        patience: How long to wait for the other processes to start.

    Yields:
        The processes; without a connection if there is one.

    Raises:
        ValueError: See :func:`find_processes`.
        ConnectionError: See :func:`connect`.
    """
    found = find_processes(launcher)
    if found.world == 1:
        yield found
        return
    from torch import distributed

    connect(found, patience)
    # The first may have nothing to do while the others work for days.
    group = distributed.new_group(backend='gloo', timeout=_WORKING)
    try:
        yield Processes(found.rank, found.world, found.local_rank, group)
    finally:
        distributed.destroy_process_group()


def connect(processes: Processes, patience: timedelta | None = None) -> None:
    """Make PyTorch's connection of the processes of a job on CPUs.

    Args:
        processes: What :func:`find_processes` has found.
        patience: How long to wait for the others, now and later; PyTorch's if None.

    Raises:
        ConnectionError: If they cannot be reached.
    """
    from torch import distributed

    try:
        distributed.init_process_group('gloo', timeout=patience)
    except RuntimeError as error:
        reason = ' '.join(str(error).split())[:200]
        where = f'{os.environ["MASTER_ADDR"]}:{os.environ["MASTER_PORT"]}'
        raise ConnectionError(
            f'process {processes.rank} of {processes.world}: no connection to the '
            f'others at {where} ({reason}); start all of them, with the address of the '
            'first machine as MASTER_ADDR and a free port there as MASTER_PORT'
        ) from error


def _read_number(launcher: str, program: str, name: str) -> int:
    text = os.environ.get(name, '')
    if not text.isdecimal():
        raise ValueError(
            f'--launcher {launcher}: found {name}={text!r}, expected a number; start '
            f'the command with {program}, or leave --launcher out'
        )
    return int(text)


def _find_address(launcher: str, world: int) -> str:
    """Find the first machine of a job.

    Raises:
        ValueError: If the launcher does not say it.
    """
    if os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE') == str(world):
        return '127.0.0.1'
    names = os.environ.get('SLURM_STEP_NODELIST') or os.environ.get('SLURM_NODELIST')
    if launcher == 'slurm' and names:
        if re.fullmatch(r'[\w.-]+', names):  # a list of one
            return names
        with contextlib.suppress(OSError):
            listed = subprocess.run(
                ['scontrol', 'show', 'hostnames', names], capture_output=True, text=True
            )
            if listed.returncode == 0 and listed.stdout.strip():
                return listed.stdout.split()[0]
    raise ValueError(
        f'--launcher {launcher}: MASTER_ADDR is not set; set it to the address of the '
        'machine of the first process'
    )


def _choose_port(launcher: str) -> int:
    """Take another port for each job of Slurm: several may share a machine."""
    job = os.environ.get('SLURM_JOB_ID', '')
    if launcher == 'slurm' and job.isdecimal():
        return 20_000 + int(job) % 9_000
    return _PORT
