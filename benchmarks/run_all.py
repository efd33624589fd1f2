# Copyright (c) mmfdta authors.
"""Run every benchmark and write one report, as Markdown and as JSON.

Example:
    python benchmarks/run_all.py --released ../FDTA --out work_dirs/benchmark
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
# Benchmarks with a side of the released code; the others bring their own rival.
BESIDE_RELEASED = (
    'detector',
    'association',
    'contrastive_loss',
    'depth_loss',
    'training_sequences',
    'training_step',
)
ALONE = {
    'clip_loading': (),
    'evaluation': ('--runs', '3'),
    'export': (),
    'video': (),
}


def run(name: str, arguments: list[str], threads: int) -> str:
    """Run a benchmark in a process of its own and return what it prints.

    Args:
        name: Of the script, without `bench_`.
        arguments: For it.
        threads: That PyTorch and BLAS may use.

    Raises:
        RuntimeError: If it fails.
    """
    script = HERE / f'bench_{name}.py'
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', str(script), *arguments],
        env=os.environ | {'OMP_NUM_THREADS': str(threads)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f'{script} failed:\n{done.stderr[-2000:]}')
    return done.stdout.strip()


def read_tables(text: str) -> list[dict[str, str]]:
    """Return the rows of all Markdown tables in a text by their columns' heads."""
    rows, head = [], None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip('|').split('|')]
        if not line.startswith('|'):
            head = None
        elif head is None:
            head = cells
        elif not set(''.join(cells)) <= set('-: '):
            rows.append(dict(zip(head, cells, strict=True)))
    return rows


def main() -> None:
    """Run and write."""
    names = [*BESIDE_RELEASED, *ALONE]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--released', type=Path, help='checkout of the released code')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark'))
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--only', nargs='+', choices=names, default=names)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    note = ''
    if options.released is None:
        note = 'The released code was not measured: no `--released`.\n\n'
    report, records = f'# Benchmarks\n\n{note}', {}
    for name in options.only:
        arguments = list(ALONE.get(name, ()))
        if name in BESIDE_RELEASED:
            arguments += ['--threads', str(options.threads)]
            if options.released:
                arguments += ['--released', str(options.released.resolve())]
        begin = time.monotonic()
        text = run(name, arguments, options.threads)
        print(f'{text}\n\n({name}: {time.monotonic() - begin:.0f} s)\n', flush=True)
        report += f'## {name.replace("_", " ").capitalize()}\n\n{text}\n\n'
        records[name] = read_tables(text)
        (options.out / 'benchmark.md').write_text(report)
        (options.out / 'benchmark.json').write_text(json.dumps(records, indent=1))


if __name__ == '__main__':
    main()
