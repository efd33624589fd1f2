# Copyright (c) mmfdta authors.
"""Check that all works on a machine's GPU, and measure how fast.

    mmfdta gpu-check
    mmfdta gpu-check --quick --sections environment modules
    mmfdta gpu-check --released ../FDTA

Modules, trackers and training steps are compared with the CPU, waits for the GPU and
memory are counted, times are taken. Weights and pictures are random: no data set, no
checkpoint and no network is needed. The exit code is 0 if nothing failed, 1 if
something did, 3 if there is no CUDA device.
"""

import argparse
import sys
from pathlib import Path

from .arguments import frame_size

NO_GPU = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    from mmfdta.apis.gpu_check.checks import SECTIONS

    parser.add_argument(
        '--device',
        help='such as cuda:1 or cpu; a GPU if there is one',
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='small models, small pictures and few runs: two minutes',
    )
    parser.add_argument(
        '--sections',
        nargs='+',
        choices=SECTIONS,
        default=list(SECTIONS),
        metavar='SECTION',
        help=f'of {", ".join(SECTIONS)} (default: all)',
    )
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=frame_size,
        default=[],
        metavar='WIDTHxHEIGHT',
        help='one or two sizes of the frames whose speed is measured (default: '
        '1440x800 864x480)',
    )
    parser.add_argument(
        '--released',
        type=Path,
        help='checkout of the released code, to compare with on the same card',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/gpu_check'),
        help='folder for gpu_check.md and gpu_check.json (default: %(default)s)',
    )


def run(options: argparse.Namespace) -> int:
    """Run the checks, print the table and write it."""
    import torch

    from mmfdta.apis.gpu_check.bench import Bench, Settings
    from mmfdta.apis.gpu_check.checks import FAIL, SECTIONS, Row, chosen, run_check
    from mmfdta.apis.gpu_check.processes import load_checks, run_sections
    from mmfdta.apis.gpu_check.report import as_line, count, write
    from mmfdta.apis.gpu_check.speed import PLACES

    if options.released is not None and not options.released.is_dir():
        raise FileNotFoundError(f'--released: there is no folder {options.released}')
    if len(options.sizes) > len(PLACES):
        raise ValueError(
            f'--sizes: found {len(options.sizes)} sizes, expected at most '
            f'{len(PLACES)}; run the command once more for others'
        )
    there = torch.cuda.is_available()
    if options.device:
        _check_device(options.device)
    settings = Settings(
        device=options.device or ('cuda:0' if there else 'cpu'),
        out=str(options.out),
        quick=options.quick,
        sizes=tuple(options.sizes),
        released=options.released and str(options.released.resolve()),
    )
    sections = [name for name in SECTIONS if name in options.sections]
    shown: set[str] = set()

    def say(row: Row) -> None:
        if row.section not in shown:
            shown.add(row.section)
            print(f'{row.section}: {SECTIONS[row.section]}', flush=True)
        print(as_line(row), flush=True)

    load_checks()
    rows: list[Row] = []
    if there or options.device:
        rows = run_sections(settings, sections, say)
    for one in [] if rows else chosen(sections):
        row = one.not_run('no CUDA device')
        if one.section == 'environment':
            row, _ = run_check(one, Bench(settings))
        rows.append(row)
        say(row)
    paths = write(settings, rows)
    print(f'\n{count(rows)}; {" and ".join(map(str, paths))}', flush=True)
    if not there and not options.device:
        print(
            'mmfdta gpu-check: PyTorch finds no CUDA device, so that nothing was '
            'checked on one; --device cpu runs the checks on the CPU',
            file=sys.stderr,
        )
        return NO_GPU
    return int(any(row.verdict == FAIL for row in rows))


def _check_device(name: str) -> None:
    """Refuse a device that is not there, before every check fails on it."""
    import torch

    device, count = torch.device(name), torch.cuda.device_count()
    if device.type not in ('cpu', 'cuda'):
        raise ValueError(
            f'--device: found {name}, expected cpu, or cuda:0 and the like'
        )
    if device.type == 'cuda' and not torch.cuda.is_available():
        raise ValueError(
            f'--device {name}: PyTorch {torch.__version__} finds no CUDA device; '
            'without --device the command says what it would check'
        )
    if device.type == 'cuda' and (device.index or 0) >= count:
        raise ValueError(
            f'--device: found {name}, expected cuda:0 to cuda:{count - 1}, the GPUs '
            'that PyTorch finds'
        )
