# Copyright (c) mmfdta authors.
"""How time and memory grow with the size of the work: data, a plot and a table.

Every curve changes one size and keeps the others: objects, window and image of a
tracked frame, clip length and objects of the association's training, objects and
sequences of the scoring.

Example:
    python benchmarks/plot_scaling.py --out docs/assets
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import torch
from bench_evaluation import write_data
from clips import ClipSize, make_clip
from measuring import Ways, describe_machine, take_turns
from networks import build_fdta, make_frames

from mmfdta.evaluation import Settings, evaluate
from mmfdta.evaluation.folders import find_sequences
from mmfdta.models import QualityAwareContrastiveLoss
from mmfdta.models.association import build_sequences
from mmfdta.models.trackers import TrajectoryHistory

matplotlib.use('Agg')

Curve = tuple[str, dict[float, Callable[[], object]]]


def association_steps() -> Iterator[Curve]:
    """Tracking steps: objects at a window of 30, window at 30 objects."""
    sizes = {
        'association: objects': [(n, 30, n) for n in (10, 50, 200)],
        'association: window': [(w, w, 30) for w in (30, 60, 120)],
    }
    for title, cases in sizes.items():
        steps = {}
        for size, window, objects in cases:
            model = build_fdta(window, max(50, objects)).eval()
            history = TrajectoryHistory(
                torch.randn(window - 1, objects, 256),
                torch.zeros(window - 1, objects, dtype=torch.bool),
                torch.arange(objects),
            )
            args = history, torch.randn(objects, 256)
            steps[size] = _without_gradient(model.score_identities, *args)
        yield title, steps


def _without_gradient(function: Callable, *args: object) -> Callable[[], object]:
    def run() -> object:
        with torch.no_grad():
            return function(*args)

    return run


def detector_frames() -> Iterator[Curve]:
    """Frames of growing size, in pixels."""
    detector = build_fdta().eval().detector
    frames = {}
    for height, width in ((192, 320), (256, 448), (384, 640), (512, 896)):
        image = torch.randn(1, 3, height, width)
        args = image, make_frames(1, height, width)
        frames[height * width] = _without_gradient(detector.detect, *args)
    yield 'detector: pixels', frames


def association_training() -> Iterator[Curve]:
    """Association of a training clip with its gradient, 10 frames or 10 objects."""
    for title, sizes in (
        ('training: clip length', [(t, t, 10) for t in (10, 30, 60)]),
        ('training: objects', [(n, 10, n) for n in (10, 50, 200)]),
    ):
        steps = {}
        for size, frames, objects in sizes:
            model = build_fdta(60, 200).train()
            clip = make_clip(ClipSize(frames, objects, groups=1), words=200)
            steps[size] = _training_step(model, clip, frames, objects)
        yield title, steps


def _training_step(
    model: torch.nn.Module, clip: object, frames: int, objects: int
) -> Callable[[], None]:
    embeddings = torch.randn(1, frames, objects, 256, requires_grad=True)
    query = torch.arange(objects).expand(1, frames, -1)

    def run() -> None:
        sequences = build_sequences(embeddings, query, clip.id_targets)
        model.associate_clip(sequences).square().mean().backward()

    return run


def contrastive_losses() -> Iterator[Curve]:
    """Contrastive loss of 10 frames, one chunk."""
    losses, loss = {}, QualityAwareContrastiveLoss()
    for objects in (10, 50, 200):
        embeddings = torch.randn(10 * objects, 256, requires_grad=True)
        labels = torch.arange(objects).repeat(10)
        quality = torch.ones(10 * objects)
        losses[objects] = lambda args=(embeddings, labels, quality): loss(
            *args
        ).backward()
    yield 'contrastive loss: objects', losses


def scoring(folder: Path) -> Iterator[Curve]:
    """Scoring of 2 to 8 sequences of 200 frames with 10 objects."""
    runs = {}
    for sequences in (2, 4, 8):
        root = folder / str(sequences)
        write_data(root, sequences, 200, 10)
        runs[sequences] = lambda root=root: evaluate(
            find_sequences(root / 'gt', root / 'results')[0],
            Settings('mot_challenge'),
            1,
        )
    yield 'scoring: sequences', runs


def measure(curves: Iterator[Curve], runs: int) -> dict[str, dict[str, list[float]]]:
    """Run every point of the curves; the fastest run counts."""
    data = {}
    for title, points in curves:
        ways: Ways = {str(size): run for size, run in points.items()}
        results = take_turns(ways, runs)
        data[title] = dict(
            size=list(points),
            ms=[1000 * min(r.cpu) for r in results.values()],
            mib=[r.memory for r in results.values()],
        )
    return data


def growth(size: list[float], values: list[float]) -> float:
    """Exponent of the growth between the last two sizes; 1 is linear."""
    return math.log(values[-1] / values[-2]) / math.log(size[-1] / size[-2])


def plot(data: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Draw time and memory over size, with the slope of linear growth."""
    from matplotlib import pyplot

    columns = 4
    rows = -(-len(data) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(14, 3.2 * rows))
    for axis, (title, curve) in zip(axes.flat, data.items(), strict=False):
        size, first = curve['size'], curve['ms'][0]
        axis.loglog(size, curve['ms'], 'o-', label='CPU ms')
        axis.loglog(size, [max(1, m) for m in curve['mib']], 's--', label='peak MiB')
        linear = [first * s / size[0] for s in size]
        axis.loglog(size, linear, ':', color='grey', label='linear')
        axis.set_title(title, fontsize=10)
        axis.set_xticks(size, [f'{s:g}' for s in size], fontsize=8)
        axis.minorticks_off()
    for axis in axes.flat[len(data) :]:
        axis.set_axis_off()
    axes.flat[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measure, plot and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark'))
    parser.add_argument('--runs', type=int, default=3)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    data = {}
    with tempfile.TemporaryDirectory() as folder:
        for curves in (
            association_steps(),
            detector_frames(),
            association_training(),
            contrastive_losses(),
            scoring(Path(folder)),
        ):
            data |= measure(curves, options.runs)
            (options.out / 'scaling.json').write_text(json.dumps(data, indent=1))
    plot(data, options.out / 'scaling.png')
    print(f'{describe_machine()}\n')
    print('| curve | sizes | CPU ms | peak MiB | exponent of time at the end |')
    print('| --- | --- | --- | --- | ---: |')
    for title, curve in data.items():
        ms, mib = (', '.join(f'{x:.0f}' for x in curve[k]) for k in ('ms', 'mib'))
        sizes = ', '.join(map(str, curve['size']))
        exponent = growth(curve['size'], curve['ms'])
        print(f'| {title} | {sizes} | {ms} | {mib} | {exponent:.2f} |')


if __name__ == '__main__':
    main()
