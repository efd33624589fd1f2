# Copyright (c) mmfdta authors.
"""Stages that tell where they are and are not done twice."""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmfdta.structures.whole_files import write_text

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Stage:
    """One step of the demo.

    Attributes:
        name: Name of its record, ``<work_dir>/.stages/<name>.json``.
        title: What it does.
        minutes: About how long it takes on two cores.
        inputs: Text that changes when the stage has to be done again.
        run: Does it.
        products: Files that it leaves.
        unfinished: Folder of what it needs to continue an interrupted run.
    """

    name: str
    title: str
    minutes: float
    inputs: str
    run: Callable[[], object]
    products: tuple[Path, ...]
    unfinished: Path | None = None


def run_stages(stages: list[Stage], work_dir: Path) -> None:
    """Run what has not been run yet, with a heading, the time and the memory.

    A stage is done again if its inputs or those of a stage before it changed, and
    continues where it was interrupted if a product is missing. Its time is that of all
    its parts.

    Args:
        stages: In their order.
        work_dir: Where the records are kept.
    """
    chain = ''
    for number, stage in enumerate(stages, start=1):
        chain = hashlib.sha256((chain + stage.inputs).encode()).hexdigest()
        record = work_dir / '.stages' / f'{stage.name}.json'
        head = f'[{number}/{len(stages)}] {stage.title}'
        known = _read_record(record, chain)
        if 'seconds' in known and all(path.exists() for path in stage.products):
            say(f'{head}: reused (took {known["seconds"]:.0f} s)')
            continue
        if stage.unfinished and stage.unfinished.is_dir() and not known:
            # Left by other inputs: nothing of it may get into the new result.
            shutil.rmtree(stage.unfinished)
        left = sum(rest.minutes for rest in stages[number - 1 :])
        say(f'{head}: about {stage.minutes:.1f} min, {left:.0f} min to the end')
        spent = known.get('spent', 0.0)
        _write_record(record, dict(inputs=chain, spent=spent))
        start = time.monotonic() - spent
        try:
            stage.run()
        except BaseException:  # an interruption too: it will go on from here
            spent = time.monotonic() - start
            _write_record(record, dict(inputs=chain, spent=round(spent, 1)))
            raise
        seconds = time.monotonic() - start
        say(f'{head}: done in {seconds:.0f} s{_peak_memory()}')
        _write_record(record, dict(inputs=chain, seconds=round(seconds, 1)))


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def _read_record(path: Path, inputs: str) -> dict:
    """What is known of the stage with these inputs: nothing, begun, or done."""
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
        return record if record['inputs'] == inputs else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_record(path: Path, record: dict) -> None:
    write_text(path, json.dumps(record) + '\n')


def _peak_memory() -> str:
    """Write the largest memory of this process or one of its children so far."""
    if resource is None:
        return ''
    usage = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(who).ru_maxrss for who in usage)
    gigabytes = peak / (2**30 if sys.platform == 'darwin' else 2**20)
    return f', peak memory {gigabytes:.1f} GB'
