# Copyright (c) mmfdta authors.
"""The fixture of tests that need a simulated CUDA device."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from device_compiler import NoCompilerError, compiled_guard

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SECONDS = 300


class Worker:
    """A process with the device; it imports the project once and runs many cases."""

    def __init__(self, guard: Path) -> None:
        self.log = tempfile.TemporaryFile('w+')  # noqa: SIM115
        read, write = os.pipe()
        path = os.pathsep.join([str(HERE), str(ROOT), *filter(None, sys.path)])
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / 'device_worker.py'), str(write), str(guard)],
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            pass_fds=[write],
            env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'},
            cwd=ROOT,
            text=True,
        )
        os.close(write)
        self.answers = os.fdopen(read)

    def __call__(self, module: str, function: str, **options: Any) -> Any:
        """Run ``module.function(**options)`` there and return what it returns."""
        start = self.log.seek(0, os.SEEK_END)
        request = json.dumps(dict(module=module, function=function, **options))
        watch = threading.Timer(SECONDS, self.process.kill)
        watch.start()
        try:
            self.process.stdin.write(request + '\n')
            self.process.stdin.flush()
            line = self.answers.readline()
        except BrokenPipeError:
            line = ''
        finally:
            watch.cancel()
        answer = json.loads(line or '{"error": "the process with the device ended"}')
        if 'error' in answer:
            self.log.seek(start)
            printed = self.log.read()[-3000:]
            pytest.fail(f'{answer["error"]}\n{printed}', pytrace=False)
        return answer['result']

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.answers.close()
        self.log.close()


@pytest.fixture(scope='session')
def _workers() -> Iterator[list[Worker]]:
    workers: list[Worker] = []
    yield workers
    for worker in workers:
        worker.close()


@pytest.fixture
def simulated_cuda(_workers: list[Worker]) -> Callable[..., Any]:
    """Run a function of a module where there is a simulated CUDA device.

    ``simulated_cuda('case_prediction', 'frames', batch=2)`` returns what
    ``case_prediction.frames(batch=2)`` returns in a process in which tensors may lie on
    ``cuda:0``. It has to be JSON.
    """
    try:
        guard = compiled_guard()
    except NoCompilerError as error:
        if os.environ.get('MMFDTA_TEST_EVERYTHING'):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    if not _workers or not _workers[-1].alive:
        _workers.append(Worker(guard))
    return _workers[-1]


def assert_budget(counts: dict, **expected: dict[str, int]) -> None:
    """Compare counts by place, and print all places where they differ.

    Args:
        counts: ``Counts.to_json()``.
        **expected: Places and numbers of ``waits``, ``blocking_copies``, ...
    """
    found = {kind: counts[kind] for kind in expected}
    assert found == expected, counts['table']
