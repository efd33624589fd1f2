# Copyright (c) mmfdta authors.
"""The processes of a job, which share work and gather their results.

A launcher starts a command several times, on one machine or on several. Environment
variables tell each process its number. Commands on many files need only this number to
share their work, and a connection to gather the results; PyTorch is loaded only for the
connection. Training and testing in several processes use MMEngine's connection, which
reads the same variables.
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
# Launcher -> the program, and its variables: number of the process, number of all
# processes, number of the process on its machine.
_VARIABLES = {
    'pytorch': ('torchrun', 'RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('srun', 'SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': (
        'mpirun of Open MPI',
        *('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
    ),
}
_PORT = 29500  # PyTorch's
# Longest waits of the processes for each other to start, and for each other's work.
_CONNECTING = timedelta(minutes=10)
_WORKING = timedelta(days=30)


@dataclass(frozen=True)
class Processes:
    """The processes of a job, from the view of one of them.

    Attributes:
        rank: Number of this process, from 0.
        world: Number of processes.
        local_rank: Number of this process on its machine, from 0.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    _group: Any = field(default=None, repr=False, compare=False)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes for all."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's share; the shares are disjoint and complete.

        Args:
            items: All items; equal in all processes, in the same order.
        """
        return items[self.rank :: self.world]

    def gather(self, mine: Item) -> list[Item]:
        """Exchange a value of each process; waits for all of them.

        Args:
            mine: The value of this process; it is pickled.

        Returns:
            The values of all processes, in the order of their numbers.

        Raises:
            RuntimeError: If a process has already ended.
        """
        if self.world == 1:
            return [mine]
        import torch.distributed

        found: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(found, mine, group=self._group)
        return found

    def merge(self, mine: Sequence[Item]) -> list[Item]:
        """Gather results in the order of all items.

        Args:
            mine: One result for each item of this process's :meth:`share`.

        Returns:
            One result for each of all items.

        Raises:
            RuntimeError: If a process has already ended.
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
        """Return this process's GPU; the processes of a machine use its GPUs in turn.

        Returns:
            A name such as ``cuda:1``; None if there is one process, or no GPU.
        """
        if self.world == 1:
            return None
        import torch

        count = torch.cuda.device_count()
        return f'cuda:{self.local_rank % count}' if count else None


def divide_evenly(sizes: Sequence[float], world: int) -> list[list[int]]:
    """Divide work of different sizes among processes.

    Each piece, the largest first, goes to the process with the least work. The same
    sizes give the same shares, so that no connection is needed.

    Args:
        sizes: Size of each piece of work, in any unit.
        world: Number of processes.

    Returns:
        Ascending indices of the pieces of each process; empty for some if there are
        more processes than pieces.
    """
    shares: list[list[int]] = [[] for _ in range(world)]
    loads = [(0.0, rank) for rank in range(world)]
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        load, rank = heapq.heappop(loads)
        heapq.heappush(loads, (load + sizes[index], rank))
        shares[rank].append(index)
    return [sorted(share) for share in shares]


def find_processes(launcher: str) -> Processes:
    """Find the number of this process in its job, without connecting to the others.

    Sets the environment variables that PyTorch and MMEngine read: ``RANK``,
    ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR``, ``MASTER_PORT``. The address is
    that of the first machine; under Slurm, the port depends on the number of the job.
    An address or port that is already set is kept.

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
    """Connect the processes of a job, on CPUs, during a ``with`` block.

    A process that ends before the others breaks the connection: the others then end
    when they gather.

    Args:
        launcher: One of `LAUNCHERS`.
        patience: Longest wait for the other processes to start.

    Yields:
        The processes; without a connection if there is only one.

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
        processes: The processes that :func:`find_processes` has found.
        patience: Longest wait for the others, now and later; PyTorch's if None.

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
        ValueError: If the launcher does not give it.
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
    """Choose a port by the number of a Slurm job: several may share a machine."""
    job = os.environ.get('SLURM_JOB_ID', '')
    if launcher == 'slurm' and job.isdecimal():
        return 20_000 + int(job) % 9_000
    return _PORT
