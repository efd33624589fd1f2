# Copyright (c) mmfdta authors.
"""Convert a checkpoint: `python -m mmfdta convert SRC DST`."""

import argparse
import json
import sys
from pathlib import Path

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import Tensor

from mmfdta.apis.config import find_config
from mmfdta.checkpoints import (
    FAMILIES,
    TARGETS,
    CheckpointError,
    ClassChoice,
    ConversionReport,
    compare_weights,
    convert_checkpoint,
)

# What `--target` means as a naming.
PLAIN_DETECTOR = 'mmdet_deformable_detr'


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser('python -m mmfdta convert', description=__doc__)
    parser.add_argument('src', help='checkpoint; what it is is found out')
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
        choices=[family.key for family in FAMILIES],
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
    return parser


def check_fit(
    state_dict: dict[str, Tensor], report: ConversionReport, config: str
) -> str:
    """Compare a converted state dict with the model of a config.

    Args:
        state_dict: The result of a conversion.
        report: The account of it; parts that the source does not have may be
            missing.
        config: Path or name of a config.

    Returns:
        One line that says how the model takes it.

    Raises:
        CheckpointError: A tensor has no place in the model or another shape.
    """
    settings = Config.fromfile(find_config(config))
    if settings.get('custom_imports'):
        import_modules_from_strings(**settings.custom_imports)
    init_default_scope(settings.get('default_scope', 'mmdet'))
    model = MODELS.build(settings.model)
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in state_dict.items()}
    missing = [name for name in expected if name not in found]
    problems = compare_weights(
        found, {name: expected[name] for name in expected if name in found}
    )
    if problems or (missing and not report.absent + report.optional):
        problems = compare_weights(found, expected)
        raise CheckpointError(f'it does not fit {config}: {"; ".join(problems)}.')
    if missing:
        return (
            f'fits {config}, of which {len(missing)} tensors start from scratch; load '
            'it with load_from'
        )
    return f'fits {config} exactly'


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Command line without the program's name.

    Returns:
        Exit code: 0, or 1 after an error, which is printed.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if (options.dst is None) is not options.dry_run:
        parser.error('give either DST or --dry-run')
    try:
        print(_run(options))
    except (CheckpointError, OSError) as error:
        print(f'mmfdta convert: {error}', file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> str:
    to = PLAIN_DETECTOR if options.target == 'detector' else options.to or 'mmfdta'
    choice = ClassChoice(
        tuple(options.class_index), tuple(options.class_name), options.keep_classes
    )
    fit: list[str] = []

    def check(state_dict: dict[str, Tensor], report: ConversionReport) -> None:
        if options.config:
            fit.append(check_fit(state_dict, report, options.config))

    report = convert_checkpoint(
        options.src, options.dst, to, options.family, choice, check
    ).report
    if options.report:
        content = json.dumps(report.to_dict(), indent=1)
        Path(options.report).write_text(content + '\n', encoding='utf-8')
    lines = [report.summary(), *fit]
    lines.append(f'wrote:     {options.dst}' if options.dst else 'nothing written')
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
