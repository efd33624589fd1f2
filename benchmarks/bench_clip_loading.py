# Copyright (c) mmfdta authors.
"""How fast a worker decodes and augments training clips, and in how much memory.

Three ways see the same clips with the same draws, taking turns in one process:

- plain: every frame decoded by PIL, then flip, resize, crop and colour jitter
  frame by frame with PIL, as the released code does;
- exact: this project's pipeline with `exact=True`, the same pixels to the bit;
- fast: this project's default pipeline.

Time is processor time of one thread, so other processes on the machine do not
disturb it; waiting for the disk is not in it.

Example:
    python benchmarks/bench_clip_loading.py --images data/DanceTrack/train/*/img1
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import torch
from measuring import use_threads
from memory import peak_growth
from PIL import Image, ImageEnhance

from mmfdta.datasets.transforms import (
    ClipColorJitter,
    ClipRandomChoice,
    ClipRandomCrop,
    ClipRandomFlip,
    ClipRandomResize,
    DecodeClip,
    OpenClip,
)
from mmfdta.datasets.transforms.geometry import Crop, Flip
from mmfdta.structures.frames import list_images

SCALES = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)


def draw_clip(paths: list[str], seed: int) -> dict:
    """Draw a clip's geometry; nothing is decoded yet."""
    results = dict(
        img_paths=paths, is_static=False, rng=np.random.default_rng(seed), seed=seed
    )
    crop = [
        ClipRandomResize((400, 500, 600)),
        ClipRandomCrop(384, 600),
        ClipRandomResize(SCALES, 1440),
    ]
    choice = ClipRandomChoice([[ClipRandomResize(SCALES, 1440)], crop])
    for step in (OpenClip(), ClipRandomFlip(), choice):
        results = step(results)
    return results


def load_plain(clip: dict) -> torch.Tensor:
    """Decode and augment frame by frame with PIL, keeping lists of images."""
    images = [Image.open(path) for path in clip['img_paths']]
    for step in clip['geometry'].steps:
        if isinstance(step, Flip):
            images = [i.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for i in images]
        elif isinstance(step, Crop):
            box = (step.left, step.top, step.left + step.width, step.top + step.height)
            images = [i.crop(box) for i in images]
        else:
            size = (step.width, step.height)
            images = [i.resize(size, Image.Resampling.BILINEAR) for i in images]
    for name, factor in ClipColorJitter().draw(np.random.default_rng(clip['seed'])):
        images = [jitter_plain(image, name, factor) for image in images]
    tensors = [torch.from_numpy(np.array(i)).permute(2, 0, 1) for i in images]
    return torch.stack([t.contiguous() for t in tensors])


def jitter_plain(image: Image.Image, name: str, factor: float) -> Image.Image:
    """Adjust one image with PIL."""
    if name == 'hue':
        hue, saturation, value = image.convert('HSV').split()
        table = np.array(hue)
        table += np.uint8(int(factor * 255) % 256)
        hsv = (Image.fromarray(table), saturation, value)
        return Image.merge('HSV', hsv).convert('RGB')
    enhancers = dict(
        brightness=ImageEnhance.Brightness,
        contrast=ImageEnhance.Contrast,
        saturation=ImageEnhance.Color,
    )
    return enhancers[name](image).enhance(factor)


def _load_ours(clip: dict, exact: bool) -> torch.Tensor:
    results = DecodeClip(exact=exact)(dict(clip))
    results['rng'] = np.random.default_rng(clip['seed'])
    results = ClipColorJitter(exact=exact)(results)
    return torch.from_numpy(results['imgs']).permute(0, 3, 1, 2)


def load_exact(clip: dict) -> torch.Tensor:
    """Use the pipeline's bit-exact way."""
    return _load_ours(clip, exact=True)


def load_fast(clip: dict) -> torch.Tensor:
    """Use the pipeline's default way."""
    return _load_ours(clip, exact=False)


WAYS: dict[str, Callable[[dict], torch.Tensor]] = {
    'plain': load_plain,
    'exact': load_exact,
    'fast': load_fast,
}


def measure_memory(way: str, clips: list[dict]) -> float:
    """Measure the peak memory of a way above that of the idle process, MiB."""
    context = multiprocessing.get_context('spawn')
    with context.Pool(1) as pool:
        return pool.apply(_peak_memory, (way, clips))


def _peak_memory(way: str, clips: list[dict]) -> float:
    use_threads(1)
    WAYS[way](dict(clips[0], img_paths=clips[0]['img_paths'][:1]))  # warm up

    def load_all() -> None:
        for clip in clips:
            WAYS[way](clip)

    return peak_growth(load_all)


def make_images(folder: Path, count: int) -> list[str]:
    """Render moving pictures of 1920x1080 with fine texture."""
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (160, 260, 3), dtype=np.uint8)
    canvas = cv2.resize(canvas, (2600, 1600), interpolation=cv2.INTER_CUBIC)
    # Photographs are far less colourful than random colours.
    canvas = 0.3 * canvas + 0.7 * canvas.mean(axis=2, keepdims=True)
    noise = rng.normal(0, 6, canvas.shape)
    canvas = (canvas + noise).clip(0, 255).astype(np.uint8)
    paths = []
    for t in range(count):
        frame = canvas[10 * t : 10 * t + 1080, 20 * t : 20 * t + 1920]
        paths.append(str(folder / f'{t + 1:06d}.jpg'))
        Image.fromarray(frame).save(paths[-1], quality=90)
    return paths


def _clips(paths: list[str], options: argparse.Namespace) -> Iterator[dict]:
    for seed in range(options.clips):
        frames = list(islice(cycle(paths), options.frames))
        yield draw_clip(frames, seed)


def run(paths: list[str], options: argparse.Namespace) -> None:
    """Time the ways in turns and print a table."""
    use_threads(1)
    clips = list(_clips(paths, options))
    seconds = dict.fromkeys(WAYS, 0.0)
    differences = dict.fromkeys(WAYS, 0.0)
    for load in WAYS.values():
        load(dict(clips[0], img_paths=clips[0]['img_paths'][:1]))
    for number, clip in enumerate(clips):
        outputs = {}
        order = list(WAYS)
        for way in order[number % 3 :] + order[: number % 3]:
            begin = time.process_time()
            outputs[way] = WAYS[way](clip)
            seconds[way] += time.process_time() - begin
        reference = outputs['plain']
        for way, output in outputs.items():
            worst = max(
                (a.short() - b.short()).abs().float().mean().item()
                for a, b in zip(output, reference, strict=True)
            )
            differences[way] = max(differences[way], worst)
    largest = sorted(clips, key=lambda c: -np.prod(c['geometry'].shape))[:1]
    memory = {way: measure_memory(way, largest) for way in WAYS}
    frames = options.clips * options.frames
    print(
        f'{options.clips} clips of {options.frames} frames, {len(paths)} files of '
        f'{clips[0]["ori_shape"][1]}x{clips[0]["ori_shape"][0]}, one thread\n'
    )
    print('| way | frames/s | speed-up | peak MiB | share | worst frame, grey levels |')
    print('| --- | ---: | ---: | ---: | ---: | ---: |')
    for way in WAYS:
        print(
            f'| {way} | {frames / seconds[way]:.1f} '
            f'| {seconds["plain"] / seconds[way]:.2f} | {memory[way]:.0f} '
            f'| {memory[way] / memory["plain"]:.2f} | {differences[way]:.2f} |'
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', help='folder of images; by default rendered ones')
    parser.add_argument('--clips', type=int, default=12)
    parser.add_argument('--frames', type=int, default=30)
    options = parser.parse_args(arguments)
    if options.images:
        folder = Path(options.images)
        run([str(folder / name) for name in list_images(folder)], options)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(make_images(Path(folder), 8), options)


if __name__ == '__main__':
    main(sys.argv[1:])
