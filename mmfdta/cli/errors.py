# Copyright (c) mmfdta authors.
"""The one place where errors and interruptions become a line and an exit code.

A mistake of the user ends in one line: what the system refuses (files, disks, memory,
connections), what the project raises on purpose, and what MMEngine says about a config.
Everything else is a bug and keeps its traceback.
"""

import contextlib
import dis
import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

import mmfdta

INTERRUPTED = 130  # the shell's code for a process that Ctrl-C ended
_PACKAGE = Path(mmfdta.__file__).parent
_INTERRUPTED = 'interrupted'
# What PyTorch says about the machine: the part that is shown, and what to do.
_LOST = 'another process of the job has ended before; look for what it said'
_SMALLER = 'lower the batch size or the image size'
_KNOWN = {
    r'CUDA out of memory(.*? is free)?': _SMALLER,
    r"DefaultCPUAllocator: (not enough|can't allocate) memory.*": _SMALLER,
    r'DataLoader worker \(pid.*': 'was the memory used up? lower num_workers',
    r'device string: .*': 'name a device such as cpu or cuda:0',
    r'Torch not compiled with CUDA enabled': 'take cpu, or install PyTorch for CUDA',
    r'Found no NVIDIA driver': 'take cpu, or install a driver',
    r'CUDA error: invalid device ordinal': 'there are fewer GPUs',
    r'Connection (closed|reset) by peer': _LOST,
}
_UNKNOWN = '__init__() got an unexpected keyword argument'
_FILE = re.compile(r'^  File "(.+)", line \d+, in .+\n(?:    (.*))?', re.M)
# How long a process of a job waits with its line for that of the first process.
_PATIENCE = 3.0


@dataclass
class Ending:
    """How a command ended.

    Attributes:
        code: Exit code of the process.
    """

    code: int = 0


@contextlib.contextmanager
def report_errors(verb: str, show_traceback: bool = False) -> Iterator[Ending]:
    """Turn mistakes of the user, Ctrl-C and SIGTERM into one line on standard error.

    Args:
        verb: Names the command in the line.
        show_traceback: Let every error through.

    Yields:
        The ending; 1 after an error, 130 after an interruption.
    """
    ending = Ending()
    with _terminated_like_interrupted(), _children_end_silently():
        try:
            yield ending
        except KeyboardInterrupt:
            if show_traceback:
                raise
            ending.code = INTERRUPTED
            _say(verb, _INTERRUPTED)
        except BrokenPipeError:  # whoever read the output, such as `head`, has left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ending.code = 1
        except Exception as error:
            text = None if show_traceback else explain(error)
            if text is None:
                raise
            ending.code = 1
            _say(verb, text)


def explain(error: Exception) -> str | None:
    """Say what the user can do something about.

    Args:
        error: What ended a command.

    Returns:
        A message, one line for each mistake; None for a bug.
    """
    if isinstance(error, ModuleNotFoundError):
        from mmfdta.utils.environment import MODULES, RUNTIME, explain_missing

        missing = (error.name or '').partition('.')[0]
        if missing in (*MODULES, *RUNTIME, 'torch'):
            return explain_missing([missing])
    kind = type(error)
    origin = _Origin.of(error)
    text = origin.message
    if isinstance(error, OSError):
        if text == str(error) and error.strerror and error.filename is not None:
            return f'{error.filename}: {error.strerror}'
        return text
    if isinstance(error, MemoryError):
        return f'the memory is used up {text}'.strip()
    for pattern, advice in _KNOWN.items():
        found = re.search(pattern, _one_line(text))
        if found and isinstance(error, RuntimeError | AssertionError):
            return f'{found[0].rstrip(".")}; {advice}'
    if origin.raised and Path(origin.path).is_relative_to(_PACKAGE):
        return text
    if issubclass(kind, ValueError | KeyError | TypeError | AssertionError):
        folders = ('mmengine/registry/', 'mmengine/runner/', 'mmengine/config/')
        if any(folder in origin.path for folder in folders):
            return _one_line(text)
    return text if _is_unknown_argument(error) else None


def _is_unknown_argument(error: BaseException) -> bool:
    """Whether a config names an argument that a base class of what it names refuses."""
    if not isinstance(error, TypeError) or _UNKNOWN not in str(error):
        return False
    names: list[str] = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        is_build = frame.f_code.co_filename.endswith('build_functions.py')
        names = ['build'] if is_build else [*names, frame.f_code.co_name]
    return names[:1] == ['build'] and {*names[1:]} == {'__init__'}


@dataclass(frozen=True)
class _Origin:
    """Where an error arose first, be it in another process.

    Attributes:
        path: File of the statement.
        raised: Whether it is a ``raise`` statement.
        message: What the error says.
    """

    path: str
    raised: bool
    message: str

    @classmethod
    def of(cls, error: BaseException) -> '_Origin':
        """Find the origin of an error."""
        # Of a worker of PyTorch's loader, of a pool of processes.
        for text in (str(error), str(error.__cause__ or '')):
            found = _FILE.findall(text) if 'Traceback (most recent' in text else []
            if found:
                name = re.escape(type(error).__name__)
                *_, message = re.split(rf'^(?:[\w.]+\.)?{name}: ', text, flags=re.M)
                path, statement = found[-1]
                raised = statement.startswith('raise')
                return cls(path, raised, message.strip().strip('"').strip())
        message = str(error.args[0] if isinstance(error, KeyError) else error)
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        if last is None:
            return cls('', False, message)
        # Not the text of the line: the file may have changed since the start.
        code = last.tb_frame.f_code
        raised = code.co_code[last.tb_lasti] == dis.opmap['RAISE_VARARGS']
        return cls(Path(code.co_filename).as_posix(), raised, message)


def _one_line(text: str) -> str:
    return ' '.join(text.split())


def _say(verb: str, text: str) -> None:
    """Print a message; of the processes of a job the first that fails says it."""
    rank = int(os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or 0)
    file = os.environ.get('TORCHELASTIC_ERROR_FILE')
    lost = text.endswith(_LOST)
    if lost or (rank and not file):
        # If another process has more to say, the launcher ends this one.
        try:
            time.sleep(_PATIENCE)
        except KeyboardInterrupt:
            return
    if file:
        # `mmfdta.cli.launch` prints the message of one process, at the end.
        content = dict(message=f'mmfdta {verb}: {text}', timestamp=time.time())
        Path(file).write_text(json.dumps(content), encoding='utf-8')
        if text == _INTERRUPTED or not _starts_again():
            return
    if rank:
        text = f'process {rank}: {text}'
    for line in text.splitlines() or ['']:
        print(f'mmfdta {verb}: {line}', file=sys.stderr)


def _starts_again() -> bool:
    """Whether torchrun will start all processes of the job again after an error."""
    count, most = (
        int(os.environ.get(f'TORCHELASTIC_{name}') or 0)
        for name in ('RESTART_COUNT', 'MAX_RESTARTS')
    )
    return count < most


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, in this process and not in its children."""
    process = os.getpid()

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread, where signals arrive
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _children_end_silently() -> Iterator[None]:
    """Let no child print that this process has left it.

    A loader's worker serves its batches from a thread. If Ctrl-C comes while this
    process takes one, the thread loses the connection and prints a traceback.
    """
    process = os.getpid()
    before = sys.excepthook

    def report(
        kind: type[BaseException], error: BaseException, origin: TracebackType | None
    ) -> None:
        lost = isinstance(error, ConnectionError | EOFError)
        if os.getpid() == process or not lost:
            before(kind, error, origin)

    sys.excepthook = report
    try:
        yield
    finally:
        sys.excepthook = before
