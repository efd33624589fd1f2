# Copyright (c) mmfdta authors.
"""What a stretch of code asked of the simulated device, and where; needs no PyTorch."""

import sys
from collections import Counter
from types import FrameType
from typing import NamedTuple

PACKAGES = ('mmfdta', 'mmdet', 'mmcv', 'mmengine', 'torchvision')
OWN_FILES = (
    'attention_kernels.py',
    'device_counts.py',
    'simulated_device.py',
    'torch_cuda_stubs.py',
)
# Who calls these decides that a copy is made.
HELPERS = ('mmfdta/utils/transfers.py',)
BACKWARD = '_engine_run_backward'
KINDS = {
    'waits': 'waits for the device',
    'blocking_copies': 'blocking copies host -> device',
    'pageable_copies': 'non-blocking copies from memory that is not pinned',
    'float64': 'operators that make float64 on the device',
    'pickled': 'tensors of the device that were pickled',
    'attention': 'attention kernels',
}


class Event(NamedTuple):
    """One thing that happened on the device."""

    kind: str  # one of KINDS
    place: str  # file:function, and the caller in mmfdta of a library's function
    what: str  # operator, kernel, shape
    line: int


def place_of_caller() -> tuple[str, int]:
    """Name the function that runs: ``models/mot/fdta.py:loss`` and its line.

    A function of a library is followed by the function of mmfdta that led to it, and
    what a backward pass does by ``[backward]``.
    """
    found: list[tuple[str, str, int]] = []
    backward = False
    fallback: tuple[str, int] | None = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        path = code.co_filename.replace('\\', '/')
        name = path.rsplit('/', 1)[-1]
        # The engine calls Python functions of a backward pass below this frame.
        backward = backward or (code.co_name == BACKWARD and not found)
        package = next((p for p in PACKAGES if f'/{p}/' in path), None)
        if (
            code.co_name.startswith('<')  # comprehensions belong to their function
            or name in OWN_FILES
            or path.endswith(HELPERS)
        ):
            pass
        elif package is not None:
            short = path[path.rindex(f'/{package}/') + 1 :].removeprefix('mmfdta/')
            found.append((package, f'{short}:{code.co_name}', frame.f_lineno))
            if package == 'mmfdta':
                break
        elif fallback is None and '/torch/' not in path:
            fallback = f'{name}:{code.co_name}', frame.f_lineno
        frame = frame.f_back
    if not found:
        place, line = fallback or ('unknown', 0)
    else:
        _, place, line = found[0]
        if len(found) > 1 and found[-1][0] == 'mmfdta':
            place = f'{place} < {found[-1][1]}'
    return (f'{place} [backward]' if backward else place), line


class Counts:
    """Counters of a stretch of code, by place."""

    def __init__(self) -> None:
        self.events: Counter[Event] = Counter()
        self.launches: Counter[str] = Counter()

    def add(self, kind: str, what: str) -> None:
        place, line = place_of_caller()
        self.events[Event(kind, place, what, line)] += 1

    def by_place(self, kind: str) -> dict[str, int]:
        """Return how many events of a kind every place had."""
        places: Counter[str] = Counter()
        for event, count in self.events.items():
            if event.kind == kind:
                places[event.place] += count
        return dict(sorted(places.items()))

    def kernels(self) -> dict[str, int]:
        """Return how many calls of attention each kernel took: ``flash``, ``math``."""
        kernels: Counter[str] = Counter()
        for event, count in self.events.items():
            if event.kind == 'attention':
                kernels[event.what.split()[0]] += count
        return dict(sorted(kernels.items()))

    def table(self) -> str:
        """Return every event with its line, the most frequent first."""
        lines = [f'launches: {sum(self.launches.values())}']
        for kind, title in KINDS.items():
            events = [(e, n) for e, n in self.events.most_common() if e.kind == kind]
            if events:
                lines.append(f'{title}: {sum(n for _, n in events)}')
            for e, n in events:
                lines.append(f'  {n:5d}  {e.place} (line {e.line}: {e.what})')
        return '\n'.join(lines)

    def to_json(self) -> dict:
        """Return what tests compare: places and numbers, and the table to print."""
        places = {kind: self.by_place(kind) for kind in KINDS if kind != 'attention'}
        return dict(
            places,
            attention=self.kernels(),
            launches=sum(self.launches.values()),
            operators=dict(self.launches.most_common()),
            table=self.table(),
        )
