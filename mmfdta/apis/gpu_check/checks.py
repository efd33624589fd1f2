# Copyright (c) mmfdta authors.
"""What a check is, what it found, and the list of all checks."""

import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

SECTIONS = {
    'environment': 'what is installed, and which ways are taken',
    'modules': 'each module on the GPU against the CPU, values and gradients',
    'tracking': 'a whole frame and a tracked video against the CPU',
    'training': 'a training step against the CPU',
    'precision': 'TF32, float16 and bfloat16 against float32',
    'compile': 'torch.compile of the detector',
    'exported': 'exported models by onnxruntime against PyTorch',
    'run': 'a run with validation, average of the weights, checkpoints and resuming',
    'ddp': 'one process for each GPU',
    'synchronisations': 'how often the CPU waits for the GPU',
    'memory': 'the peak of a training step against the estimate',
    'speed': 'frames per second and seconds per training step',
    'released': 'the released code on the same card, for comparison',
}
PASS, FAIL, NOT_RUN, SAID = 'pass', 'FAIL', 'not run', '-'
REACHED, MISSED = 'reached', 'missed'


class NotRunError(Exception):
    """A check has nothing to check here; the message says why."""


@dataclass(frozen=True)
class Found:
    """What a check found.

    Attributes:
        text: For people.
        verdict: One of the verdicts above.
        numbers: The same for programs.
    """

    text: str
    verdict: str = SAID
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A line of the report.

    Attributes:
        section: One of `SECTIONS`.
        name: Of the check, once in its section.
        compared: What was compared with what.
        found: What was found.
        allowed: What is allowed.
        verdict: ``pass``, ``FAIL``, ``not run``, ``reached`` or ``missed`` (an aim, no
            fault), or ``-`` where there is nothing to judge.
        reason: Why it was not run, or what failed.
        numbers: What was found, for programs.
    """

    section: str
    name: str
    compared: str
    found: str = ''
    allowed: str = ''
    verdict: str = SAID
    reason: str = ''
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def judged(self) -> str:
        """The verdict with its reason."""
        return f'{self.verdict}: {self.reason}' if self.reason else self.verdict

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        section: One of `SECTIONS`.
        name: Once in its section.
        compared: What is compared with what.
        allowed: What is allowed.
        run: Does it; gets the workbench.
        needs_gpu: It has nothing to say on another device.
    """

    section: str
    name: str
    compared: str
    allowed: str
    run: Callable[[Any], Found]
    needs_gpu: bool = False

    def row(self, found: Found) -> Row:
        """The row for what was found."""
        return self._row(found.verdict, found.text, numbers=found.numbers)

    def not_run(self, reason: str) -> Row:
        """The row for a check that did not run."""
        return self._row(NOT_RUN, reason=reason)

    def failed(self, reason: str) -> Row:
        """The row for a check that ended in an error."""
        return self._row(FAIL, reason=reason)

    def _row(self, verdict: str, found: str = '', **more: Any) -> Row:
        return Row(
            self.section,
            self.name,
            self.compared,
            found,
            self.allowed,
            verdict,
            **more,
        )


CHECKS: dict[str, list[Check]] = {section: [] for section in SECTIONS}


def check(
    section: str, name: str, compared: str, allowed: str = '', needs_gpu: bool = False
) -> Callable[[Callable[[Any], Found]], Callable[[Any], Found]]:
    """Make a function known as a check; it gets the workbench.

    Args:
        section: One of `SECTIONS`.
        name: Once in its section.
        compared: What is compared with what.
        allowed: What is allowed.
        needs_gpu: It has nothing to say on another device.
    """

    def register(run: Callable[[Any], Found]) -> Callable[[Any], Found]:
        CHECKS[section].append(Check(section, name, compared, allowed, run, needs_gpu))
        return run

    return register


def judge(passed: bool, text: str, **numbers: Any) -> Found:
    """Make what a check found: pass or FAIL."""
    return Found(text, PASS if passed else FAIL, numbers)


def aim(reached: bool, text: str, **numbers: Any) -> Found:
    """Make what a check found of an aim: reached or missed."""
    return Found(text, REACHED if reached else MISSED, numbers)


def run_checks(
    checks: Sequence[Check], bench: Any, report: Callable[[Row], None]
) -> bool:
    """Run checks one after the other; an error of one does not stop the others.

    Args:
        checks: What to run.
        bench: The workbench that they get.
        report: Gets each row when it is there.

    Returns:
        False if the GPU is lost for this process, so that the rest needs another.
    """
    for one in checks:
        row, error = run_check(one, bench)
        report(row)
        if error is not None:
            traceback.print_exception(error)
            if lost_device(error):
                return False
    return True


def run_check(one: Check, bench: Any) -> tuple[Row, Exception | None]:
    """Run a check; return its row and the error it ended in."""
    if one.needs_gpu and bench.device.type != 'cuda':
        return one.not_run('it needs a CUDA device'), None
    try:
        return one.row(one.run(bench)), None
    except NotRunError as error:
        return one.not_run(str(error)), None
    except Exception as error:
        text = ' '.join(str(error).split()) or type(error).__name__
        if len(text) > 200:
            text = f'{text[:200]}...'
        return one.failed(f'{type(error).__name__}: {text}'), error
    finally:
        bench.tidy()


def lost_device(error: Exception) -> bool:
    """Whether nothing runs on the GPU any more in this process after an error."""
    text = str(error)
    return 'CUDA error' in text and 'out of memory' not in text


def chosen(sections: Iterable[str]) -> list[Check]:
    """The checks of some sections, in the order of `SECTIONS`."""
    wanted = set(sections)
    return [one for name in SECTIONS if name in wanted for one in CHECKS[name]]
