# Copyright (c) mmfdta authors.
"""The one place where errors and interruptions become a line and an exit code."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import mmfdta

INTERRUPTED = 130  # the shell's code for a process that Ctrl-C ended
_PACKAGE = Path(mmfdta.__file__).parent


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

    Bugs pass through with their traceback.

    Args:
        verb: Names the command in the line.
        show_traceback: Let every error through.

    Yields:
        The ending; 1 after an error, 130 after an interruption.
    """
    ending = Ending()
    with _terminated_like_interrupted():
        try:
            yield ending
        except KeyboardInterrupt:
            if show_traceback:
                raise
            ending.code = INTERRUPTED
            _say(verb, 'interrupted')
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

    These are errors of the system (files, disks, connections) and what the project
    raises on purpose: errors with a message for the user.

    Args:
        error: What ended a command.

    Returns:
        A message, one line for each mistake; None for a bug.
    """
    if isinstance(error, OSError):
        return str(error)
    if isinstance(error, ValueError | RuntimeError | ImportError) and _is_ours(error):
        return str(error)
    return None


def _is_ours(error: Exception) -> bool:
    """Tell whether a statement of the project raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(_PACKAGE)


def _say(verb: str, text: str) -> None:
    for line in text.splitlines() or ['']:
        print(f'mmfdta {verb}: {line}', file=sys.stderr)


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
