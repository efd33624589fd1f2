# Copyright (c) mmfdta authors.
"""Track the objects of a video, a folder of images, a camera or a stream."""

import argparse
from pathlib import Path

from .arguments import (
    add_batch_size,
    add_cfg_options,
    add_compile,
    add_precision,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'video',
        help='video file, folder of images, pattern such as "frames/*.jpg", index of '
        'a camera, or address such as rtsp://...',
    )
    parser.add_argument(
        '--config', required=True, help='path of a config, or its name in mmfdta'
    )
    parser.add_argument('--checkpoint', help='checkpoint with the weights')
    parser.add_argument(
        '--out',
        required=True,
        nargs='+',
        metavar='FILE',
        help='what to write, by suffix: annotated video (mp4, mov, mkv, avi, webm), '
        'MOTChallenge text (txt), JSON (json), CSV (csv); a video alone gets the text '
        'beside it',
    )
    parser.add_argument('--device', help='such as cuda:1 or cpu; a GPU if there is one')
    add_batch_size(parser)
    add_precision(parser, 'compute in it')
    add_compile(parser)
    parser.add_argument(
        '--classes', nargs='+', metavar='CLASS', help='keep these classes only'
    )
    parser.add_argument('--max-frames', type=int, help='stop after so many frames')
    parser.add_argument(
        '--fps', type=float, help='frame rate of the written video; that of the source'
    )
    drawing = parser.add_argument_group('drawing')
    drawing.add_argument('--show-scores', action='store_true', help='draw scores')
    drawing.add_argument('--show-classes', action='store_true', help='draw classes')
    drawing.add_argument(
        '--show-fps', action='store_true', help='draw frame number and speed'
    )
    drawing.add_argument(
        '--trail', type=int, default=30, metavar='FRAMES', help='length of the trails'
    )
    drawing.add_argument('--line-width', type=float, help='pixels; by image size')
    drawing.add_argument('--font-size', type=float, help='pixels; by image size')
    add_cfg_options(parser, 'settings to change, such as model.tracker.det_thr=0.5')
    parser.add_argument(
        '--allow-random-weights',
        action='store_true',
        help='track with the model as initialised, without a checkpoint',
    )
    parser.add_argument(
        '--no-progress', action='store_true', help='show no progress bar'
    )


def run(options: argparse.Namespace) -> int:
    """Track.

    Returns:
        0 if the whole video was tracked, 1 if it broke off.
    """
    from mmengine.logging import MMLogger

    from mmfdta.apis import MOTInferencer
    from mmfdta.engine import quiet_console
    from mmfdta.visualization import VIDEO_SUFFIXES, TrackStyle

    quiet_console(MMLogger.get_current_instance())

    out = [Path(name) for name in options.out]
    if len(out) == 1 and out[0].suffix.lower() in VIDEO_SUFFIXES:
        out.append(out[0].with_suffix('.txt'))
    inferencer = MOTInferencer(
        options.config,
        options.checkpoint,
        options.device,
        classes=options.classes,
        batch_size=options.batch_size,
        precision=options.precision,
        compile=options.compile,
        allow_random_weights=options.allow_random_weights,
        cfg_options=options.cfg_options,
    )
    report = inferencer(
        options.video,
        out=out,
        style=TrackStyle(
            show_scores=options.show_scores,
            show_classes=options.show_classes,
            trail_length=options.trail,
            line_width=options.line_width,
            font_size=options.font_size,
        ),
        caption=options.show_fps,
        frame_rate=options.fps,
        max_frames=options.max_frames,
        progress=not options.no_progress,
    )
    print(report)
    return 0 if report.complete else 1
