# Copyright (c) mmfdta authors.
"""The table of a check of the GPU, to print, as Markdown and as JSON."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmfdta.structures.tables import markdown_table
from mmfdta.structures.whole_files import write_text

from .bench import Settings
from .checks import FAIL, MISSED, NOT_RUN, PASS, REACHED, SECTIONS, Row

HEAD = 'check', 'compared', 'found', 'allowed', 'verdict'


def count(rows: Sequence[Row]) -> str:
    """Say in a line how many checks ended in what way."""
    counts = Counter(row.verdict for row in rows)
    parts = [f'{counts[PASS]} passed', f'{counts[FAIL]} failed']
    if counts[NOT_RUN]:
        parts.append(f'{counts[NOT_RUN]} not run')
    aims = counts[REACHED] + counts[MISSED]
    if aims:
        parts.append(f'{counts[REACHED]} of {aims} aims reached')
    return ', '.join(parts)


def as_line(row: Row) -> str:
    """Write a row for the terminal."""
    found = row.found
    if row.allowed and found:
        found = f'{found} (allowed: {row.allowed})'
    text = f'  {row.verdict:<8} {row.name}'
    parts = [text, found, row.reason]
    return ': '.join(part for part in parts if part)


def markdown(rows: Sequence[Row]) -> str:
    """Write the whole report."""
    lines = ['# Check of a machine', '', f'{count(rows)}.', '']
    for section, title in SECTIONS.items():
        of_section = [row for row in rows if row.section == section]
        if not of_section:
            continue
        cells = [(r.name, r.compared, r.found, r.allowed, r.judged) for r in of_section]
        table = markdown_table(HEAD, [tuple(map(_cell, row)) for row in cells])
        lines += [f'## {section.capitalize()}: {title}', '', table]
    return '\n'.join(lines)


def _cell(text: str) -> str:
    return text.replace('|', '\\|').replace('\n', ' ')


def _strict(value: Any) -> Any:
    """Write numbers that JSON does not have as text: ``nan``, ``inf``."""
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def write(settings: Settings, rows: Sequence[Row]) -> list[Path]:
    """Write ``gpu_check.md`` and ``gpu_check.json``.

    Args:
        settings: What was checked.
        rows: What was found.

    Returns:
        Their paths.
    """
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    record = dict(
        settings=settings.as_dict(),
        summary=count(rows),
        failed=sum(row.verdict == FAIL for row in rows),
        rows=[_strict(row.as_dict()) for row in rows],
    )
    paths = [out / 'gpu_check.md', out / 'gpu_check.json']
    write_text(paths[0], markdown(rows))
    write_text(paths[1], json.dumps(record, indent=1, allow_nan=False) + '\n')
    return paths
