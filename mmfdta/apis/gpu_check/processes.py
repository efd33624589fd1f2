# Copyright (c) mmfdta authors.
"""The sections, each in a process of its own, and the report of all."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from .bench import Bench, Settings
from .checks import CHECKS, FAIL, Check, Row, run_checks

# Modules that make checks known; `comparing`, `checks` and the like make none.
MODULES = (
    'environment',
    'modules',
    'tracking',
    'training',
    'operators',
    'precision',
    'exported',
    'runs',
    'speed',
    'released',
    'waits',
)
# Seconds after which a section counts as hanging.
PATIENCE = 1800.0


def load_checks() -> dict[str, list[Check]]:
    """Import what makes checks known; return them by section."""
    for name in MODULES:
        importlib.import_module(f'.{name}', __package__)
    return CHECKS


def run_sections(
    settings: Settings, sections: Sequence[str], say: Callable[[Row], None]
) -> list[Row]:
    """Run sections, each in a process of its own.

    Args:
        settings: What is checked.
        sections: In their order.
        say: Gets each row when its section, or what is left of it, has ended.

    Returns:
        A row for each check.
    """
    rows: list[Row] = []
    for section in sections:
        left = list(load_checks()[section])
        _log(settings, section).unlink(missing_ok=True)
        while left:
            made = _run_process(settings, section, [one.name for one in left])
            if len(made) < len(left) and not (made and made[-1].verdict == FAIL):
                # It ended in the middle of a check.
                made.append(left[len(made)].failed(_how_it_ended(settings, section)))
            for row in made:
                say(row)
            rows += made
            left = left[len(made) :]
    shutil.rmtree(Path(settings.out, 'files', 'weights'), ignore_errors=True)
    return rows


def _run_process(settings: Settings, section: str, names: list[str]) -> list[Row]:
    """Run some checks of a section in a new process; rows of those that ended."""
    folder = _log(settings, section).parent
    folder.mkdir(parents=True, exist_ok=True)
    request, reply = folder / f'{section}.json', folder / f'{section}.rows'
    wanted = dict(settings=settings.as_dict(), section=section, checks=names)
    request.write_text(json.dumps(wanted), encoding='utf-8')
    reply.unlink(missing_ok=True)
    command = [sys.executable, '-m', f'{__package__}.processes', str(request)]
    with open(_log(settings, section), 'ab') as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True
        )
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            log.write(f'\nno end after {PATIENCE:.0f} s\n'.encode())
        finally:
            _end(process)
    if not reply.exists():
        return []
    lines = reply.read_text('utf-8').splitlines()
    return [Row(**json.loads(line)) for line in lines]


def _log(settings: Settings, section: str) -> Path:
    return Path(settings.out, 'files', f'{section}.log')


def _end(process: subprocess.Popen) -> None:
    """End a process and those that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _how_it_ended(settings: Settings, section: str) -> str:
    log = _log(settings, section)
    lines = log.read_text('utf-8', errors='replace').split('\n')
    last = next((line.strip() for line in reversed(lines) if line.strip()), '')
    return f'its process ended: {last[:150]} (see {log})'


def main(arguments: Sequence[str]) -> int:
    """Run checks of a section; what a process of `run_sections` does.

    Args:
        arguments: Path of the request.

    Returns:
        Exit code, 0.
    """
    request = Path(arguments[0])
    wanted = json.loads(request.read_text('utf-8'))
    section = load_checks()[wanted['section']]
    chosen = [one for one in section if one.name in set(wanted['checks'])]
    begin = time.monotonic()
    with open(request.with_suffix('.rows'), 'w', encoding='utf-8') as reply:

        def report(row: Row) -> None:
            reply.write(json.dumps(row.as_dict()) + '\n')
            reply.flush()
            print(f'{time.monotonic() - begin:.1f} s: {row.name}: {row.judged}')

        settings = Settings.read(wanted['settings'])
        if settings.device.startswith('cuda'):
            torch.cuda.set_device(settings.device)
        run_checks(chosen, Bench(settings), report)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
