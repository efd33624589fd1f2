# Copyright (c) mmfdta authors.
"""Convert a checkpoint of another project, or one of mmfdta for another project."""

import argparse

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
        'src',
        help='path, address or name (mmfdta weights) of a checkpoint; what it is is '
        'found out',
    )
    parser.add_argument('dst', nargs='?', help='where to write; not with --dry-run')
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
        type=int,
        nargs='+',
        default=(),
        metavar='N',
        help='rows of the class head to keep, in the order of the new labels',
    )
    classes.add_argument(
        '--class-name',
        nargs='+',
        default=(),
        metavar='NAME',
        help='the same by COCO names, such as person; person alone is the default for '
        'a head of 80 or 91 COCO classes',
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
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Convert, and print what became of the tensors."""
    if (options.dst is None) is not options.dry_run:
        options.usage_error('give either DST or --dry-run')
    from mmfdta.apis.convert import convert
    from mmfdta.checkpoints import ClassChoice

    to = options.to or 'mmfdta'
    if options.target == 'detector':
        to = 'mmdet_deformable_detr'
    print(
        convert(
            options.src,
            options.dst,
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
    )
