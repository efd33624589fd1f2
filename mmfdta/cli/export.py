# Copyright (c) mmfdta authors.
"""Export a tracker to ONNX files that track the same without PyTorch.

FDTA, MOTIP, and ByteTrack, OC-SORT or SORT on any detector that can be exported.
FOLDER holds all that mmfdta track SOURCE --model FOLDER needs. Both sides are run on
the same frames before it is written. If a float32 model does not track the same, the
command stops with an error and writes nothing.
"""

import argparse
import shlex
import sys

from .arguments import (
    add_cfg_options,
    add_checkpoint,
    frame_size,
    named_checkpoint,
    number,
)

# Those of `mmfdta.runtime.exported_model`.
EXPORT_PRECISIONS = ('fp32', 'fp16', 'int8')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('config', help='path of a config, or its name in mmfdta')
    add_checkpoint(parser)
    parser.add_argument(
        '--out',
        metavar='FOLDER',
        required=True,
        help='folder to write; it takes the place of an older export',
    )
    parser.add_argument(
        '--precision',
        choices=EXPORT_PRECISIONS,
        default='fp32',
        help='compute in float32 (default), float16 or integers of 8 bits; the last '
        'two track almost the same; how close is measured and printed',
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        '--size',
        type=frame_size,
        metavar='WxH',
        help='pad all frames to this size, in pixels; for devices that plan for one',
    )
    sizes.add_argument(
        '--dynamic', action='store_true', help='take frames of any size (default)'
    )
    parser.add_argument(
        '--input-size',
        type=number(32, whole=True),
        metavar='PIXELS',
        help='long side to which frames are resized for the model; smaller is faster, '
        "larger finds smaller objects; the config's",
    )
    parser.add_argument(
        '--check-on',
        metavar='SOURCE',
        help="video or folder of frames to compare both sides on; the config's data "
        'where it is there, or made-up frames',
    )
    parser.add_argument(
        '--check-frames',
        type=number(1, whole=True),
        default=10,
        metavar='FRAMES',
        help='compare both sides on at most so many (default: 10)',
    )
    parser.add_argument(
        '--calibrate',
        metavar='SOURCE',
        help='video or folder of frames that ranges of int8 are read off',
    )
    parser.add_argument(
        '--score',
        choices=['val', 'test'],
        help='track these data of the config on both sides, on the same pixels, and '
        'compare the scores',
    )
    add_cfg_options(parser, 'settings to change, such as model.tracker.det_thr=0.5')
    parser.add_argument(
        '--allow-random-weights',
        action='store_true',
        help='export the model as initialised, without a checkpoint',
    )


def run(options: argparse.Namespace) -> None:
    """Export, and say what was made."""
    from mmengine.logging import MMLogger

    from mmfdta.apis.export import export_model
    from mmfdta.engine import quiet_console

    quiet_console(MMLogger.get_current_instance())
    report = export_model(
        options.config,
        named_checkpoint(options),
        options.out,
        precision=options.precision,
        size=options.size,
        input_size=options.input_size,
        check=options.check_on,
        check_frames=options.check_frames,
        calibrate=options.calibrate,
        score=options.score,
        cfg_options=options.cfg_options,
        allow_random_weights=options.allow_random_weights,
        say=_say,
    )
    print(report)
    folder = shlex.quote(options.out)
    print(f'wrote {options.out}; mmfdta track SOURCE --model {folder} runs it')


def _say(text: str) -> None:
    for line in text.splitlines():
        print(f'mmfdta export: {line}', file=sys.stderr, flush=True)
