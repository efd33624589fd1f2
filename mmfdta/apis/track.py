# Copyright (c) mmfdta authors.
"""Track the objects of a video: `python -m mmfdta track VIDEO --config ...`."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from mmfdta.visualization import VIDEO_SUFFIXES, TrackStyle

from .config import add_cfg_options
from .inferencer import MOTInferencer

_INTERRUPTED = 130  # the shell's code for a process that Ctrl-C ended


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser('python -m mmfdta track', description=__doc__)
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
        'MOTChallenge text (txt), JSON (json); a video alone gets the text beside it',
    )
    parser.add_argument('--device', help='such as cuda:1 or cpu; a GPU if there is one')
    parser.add_argument(
        '--batch-size', type=int, default=1, help='frames the detector takes at a time'
    )
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
    return parser


def choose_outputs(out: list[str]) -> list[Path]:
    """Put MOTChallenge text beside a video that is asked for alone.

    Args:
        out (list[str]): What the command line names.

    Returns:
        list[Path]: What to write.
    """
    paths = [Path(name) for name in out]
    if len(paths) == 1 and paths[0].suffix.lower() in VIDEO_SUFFIXES:
        paths.append(paths[0].with_suffix('.txt'))
    return paths


def main(arguments: list[str]) -> int:
    """Track as the arguments say.

    Returns:
        int: 0 if the whole video was tracked, 1 if it broke off, 130 if it was
        interrupted.

    Raises:
        SystemExit: If the arguments are wrong or something fails.
    """
    options = build_parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        inferencer = MOTInferencer(
            options.config,
            options.checkpoint,
            options.device,
            classes=options.classes,
            batch_size=options.batch_size,
            allow_random_weights=options.allow_random_weights,
            cfg_options=options.cfg_options,
        )
        report = inferencer(
            options.video,
            out=choose_outputs(options.out),
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
    except KeyboardInterrupt:
        print('mmfdta track: interrupted', file=sys.stderr)
        return _INTERRUPTED
    except (OSError, ValueError) as error:
        sys.exit(f'mmfdta track: {error}')
    finally:
        signal.signal(signal.SIGTERM, before)
    print(report)
    return 0 if report.complete else 1


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """End on SIGTERM as on Ctrl-C: with what was tracked."""
    raise KeyboardInterrupt
