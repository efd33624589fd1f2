# Copyright (c) mmfdta authors.
"""How well reading, the model, and drawing and writing overlap in a tracked video.

A 1080p video is tracked twice with the small FDTA (random weights, every query a
track, so there is much to draw): step after step, with the time of each step, and
the way `mmfdta track` does it. A model that is busy all the time cannot be
fed faster.

Example:
    python benchmarks/bench_video.py --video dance.mp4 --frames 100
"""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from measuring import add_threads, use_threads

from mmfdta.apis import MOTInferencer
from mmfdta.apis.config import read_config
from mmfdta.apis.sources import open_source
from mmfdta.apis.track_outputs import VideoFacts, plan_outputs
from mmfdta.apis.tracked_frame import TrackedFrame
from mmfdta.visualization import TrackStyle


def render_video(path: Path, frames: int) -> None:
    """Render a moving 1920x1080 picture with texture, which costs to decode."""
    rng = np.random.default_rng(0)
    picture = cv2.resize(
        rng.integers(0, 256, (270, 600, 3), dtype=np.uint8), (2400, 1080)
    )
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'mp4v'), 25, (1920, 1080)
    )
    for frame in range(frames):
        left = 4 * frame % 480
        writer.write(np.ascontiguousarray(picture[:, left : left + 1920]))
    writer.release()


def build_inferencer(short: int) -> MOTInferencer:
    """Build the small FDTA for frames of this short side."""
    config = read_config('fdta_mini')
    resize = dict(type='ClipResize', short=short, max_long=2 * short)
    config.test_dataloader.dataset.pipeline[0].transforms.insert(1, resize)
    config.model.tracker.update(det_thr=0.0, newborn_thr=0.0)
    return MOTInferencer(config, allow_random_weights=True)


def track_in_steps(
    inferencer: MOTInferencer, video: str, frames: int, out: Path
) -> dict[str, float]:
    """Do everything one after the other; seconds of each step."""
    source = open_source(video)
    facts = VideoFacts(video, 25.0)
    (output,) = plan_outputs(out, facts, TrackStyle(), caption=True)
    seconds = dict.fromkeys(('read', 'resize', 'model', 'draw and write'), 0.0)
    images = iter(source)
    for index in range(frames):
        times = [time.perf_counter()]
        frame = next(images, None)
        if frame is None:
            break
        image = frame.image
        times.append(time.perf_counter())
        sample = inferencer.preprocessor(image, index, video)
        times.append(time.perf_counter())
        (tracks,) = inferencer.predict_prepared([sample], index + 1)
        times.append(time.perf_counter())
        output.write(TrackedFrame(index, image, tracks))
        times.append(time.perf_counter())
        for name, spent in zip(seconds, np.diff(times), strict=True):
            seconds[name] += float(spent)
    output.finish(complete=True)
    source.close()
    return seconds


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--video', help='a video; a rendered one if unset')
    parser.add_argument('--frames', type=int, default=60)
    parser.add_argument('--short', type=int, default=256, help="the model's short side")
    add_threads(parser)
    options = parser.parse_args(arguments)
    use_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        video = options.video
        if video is None:
            video = str(Path(folder, 'rendered.mp4'))
            render_video(Path(video), options.frames)
        out = Path(folder, 'tracks.mp4')
        # The report gets the figures, not how the weights were initialised.
        with contextlib.redirect_stdout(sys.stderr):
            inferencer = build_inferencer(options.short)
        inferencer(video, max_frames=3)  # warm up
        steps = track_in_steps(inferencer, video, options.frames, out)
        report = inferencer(video, out=out, max_frames=options.frames)
    total = sum(steps.values())
    count = report.num_frames
    print(f'{count} frames, short side {options.short}, {options.threads} threads\n')
    print('| way | ms per frame | model busy |\n| --- | --- | --- |')
    print(f'| one after the other | {1000 * total / count:.1f} | ', end='')
    print(f'{steps["model"] / total:.0%} |')
    print(f'| at once | {1000 * report.seconds / count:.1f} | {report.busy:.0%} |\n')
    for name, seconds in steps.items():
        print(f'{name}: {1000 * seconds / count:.1f} ms per frame')


if __name__ == '__main__':
    main(sys.argv[1:])
