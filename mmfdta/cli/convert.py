# Copyright (c) mmfdta authors.
"""Convert checkpoints of other projects, or those of mmfdta for another project.

    mmfdta convert SRC DST
    mmfdta convert SRC ... --out-dir DIR

Of several the others are converted if one cannot be; --launcher shares them out.
"""

import argparse
import sys

from .arguments import add_launcher, join_job, number
from .errors import explain

# Names of `mmfdta.checkpoints`; what they stand for takes PyTorch to import.
FAMILIES = (
    *('mmfdta', 'mmdet_deformable_detr', 'fdta', 'fdta_previous', 'motip'),
    *('motip_previous', 'motr', 'deformable_detr', 'yolox', 'mmdet_yolox'),
)
TARGETS = (
    *('mmfdta', 'mmdet_deformable_detr', 'fdta', 'motip', 'deformable_detr'),
    'mmdet_yolox',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'files',
        nargs='+',
        metavar='FILE',
        help='path, address or name (mmfdta weights) of a checkpoint, which is found '
        'out, and where to write; with --out-dir any number of checkpoints, with '
        '--dry-run one',
    )
    parser.add_argument(
        '--out-dir',
        metavar='DIR',
        help='write NAME.pth of each checkpoint there; equal names are numbered',
    )
    naming = parser.add_mutually_exclusive_group()
    naming.add_argument(
        '--target',
        choices=['fdta', 'detector'],
        default='fdta',
        help='which configs are to load it: fdta_*, motip_* and motr_* (default), or '
        'the plain detector of deformable_detr_*',
    )
    naming.add_argument(
        '--to', choices=TARGETS, help='write the names of another code base'
    )
    parser.add_argument(
        '--from',
        dest='family',
        choices=FAMILIES,
        help='what the checkpoint is, instead of finding out',
    )
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument(
        '--class-index',
        type=number(0, whole=True),
        nargs='+',
        default=(),
        metavar='N',
        help='rows of the class head to keep, from 0 on, each once, in the order of '
        'the new labels',
    )
    classes.add_argument(
        '--class-name',
        nargs='+',
        default=(),
        metavar='NAME',
        help='the same by name, such as person: the names in the file, or those of '
        'COCO; person alone is the default for a head of 80 or 91 COCO classes',
    )
    classes.add_argument(
        '--keep-classes', action='store_true', help='keep all rows of the class head'
    )
    parser.add_argument(
        '--config', help='check that the model of this config takes the result'
    )
    parser.add_argument(
        '--report', metavar='FILE.json', help='write what became of every tensor'
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='report only, write no checkpoint'
    )
    add_launcher(parser)
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> int:
    """Convert, and print what became of the tensors.

    Returns:
        0, or 1 if one of several checkpoints could not be converted.
    """
    names = options.files
    if not options.out_dir and len(names) != (1 if options.dry_run else 2):
        options.usage_error(
            'give SRC and DST, SRC and --dry-run, or any number of SRC and --out-dir'
        )
    from mmfdta.apis.convert import convert, name_converted
    from mmfdta.checkpoints import ClassChoice

    pairs: list[tuple[str, str | None]]
    if options.out_dir:
        pairs = [*zip(names, name_converted(names, options.out_dir), strict=True)]
    else:
        pairs = [(names[0], names[1] if names[1:] else None)]
    if options.report and len(pairs) > 1:
        raise ValueError(f'--report: found {len(pairs)} checkpoints, expected one')
    to = options.to or 'mmfdta'
    if options.target == 'detector':
        to = 'mmdet_deformable_detr'
    failed = []
    with join_job(options) as processes:
        for source, target in processes.share(pairs):
            try:
                said = convert(
                    source,
                    None if options.dry_run else target,
                    to,
                    options.family,
                    ClassChoice(
                        tuple(options.class_index),
                        tuple(options.class_name),
                        options.keep_classes,
                    ),
                    config=options.config,
                    report_path=options.report,
                )
            except Exception as error:
                text = explain(error)
                if len(pairs) == 1 or text is None or options.traceback:
                    raise
                _say(text if source in text else f'{source}: {text}')
                failed.append(source)
                continue
            print(said if len(pairs) == 1 else f'{source}\n{said}\n', flush=True)
        failed = sum(processes.gather(failed), [])
        if failed and processes.is_first:
            _say(f'{len(failed)} of {len(pairs)} not converted: {", ".join(failed)}')
    return 1 if failed else 0


def _say(text: str) -> None:
    print(f'mmfdta convert: {text}', file=sys.stderr, flush=True)
