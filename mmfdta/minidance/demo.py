# Copyright (c) mmfdta authors.
"""The demo: train, compare with other trackers, and make a video of the tracks.

It continues from the weights in the package, which takes a minute; or trains from
scratch, tunes the baselines and compares the embeddings, too.
"""

import copy
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfdta.apis.analysis.diagnosis.separability import measure_similarity
from mmfdta.apis.analysis.tune_thresholds import Tuner, search_grid
from mmfdta.apis.benchmark import (
    BenchmarkOptions,
    Entry,
    EntryResult,
    run_benchmark,
)
from mmfdta.apis.config import read_config
from mmfdta.apis.detection_store import DetectionStore
from mmfdta.apis.evaluation_data import EvaluationData
from mmfdta.apis.inferencer import MOTInferencer
from mmfdta.apis.model_loading import load_tracker
from mmfdta.apis.presets import choose_config
from mmfdta.apis.sequence_loop import SequenceLoop
from mmfdta.apis.weights import find_checkpoint
from mmfdta.evaluation.hota import ALPHAS
from mmfdta.structures.mot_text import read_tracks
from mmfdta.structures.tables import csv_table, markdown_table
from mmfdta.structures.whole_files import write_text
from mmfdta.visualization import (
    SimilarityPanel,
    TrackDrawer,
    VideoWriter,
    draw_caption,
    plot_hota_curves,
    plot_scores,
    plot_similarity,
    save_figure,
)
from mmfdta.visualization.plots import new_figure

from .stages import Stage, run_stages, say
from .training import (
    DETECTOR,
    GOES_ON,
    HELD_OUT,
    TRACKER,
    DemoPlan,
    data_stage,
    detector_stage,
    goes_on_stage,
    tracker_stage,
)

FDTA, WEIGHTS, CLIP = 'FDTA', 'fdta.pth', 'clip'
COMPARISON = (
    *('scores.md', 'scores.csv', 'scores.json', 'scores.png', 'hota.png'),
    *('training.png', 'fdta_vs_bytetrack.mp4'),
)
"""What the demo's benchmark leaves."""
SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1', 'IDSW')
THRESHOLD = 0.9
"""The paper counts the similarities of different objects above it."""
# Only objects that a detector is fairly sure of are compared.
_LOWEST_SCORE = 0.3
_FRAMES_AT_ONCE = 20
_ZOOM = 3
_FRAME_RATE = 10
_GAP = 6


@dataclass(frozen=True)
class Baseline:
    """A tracker without learned association, on FDTA's detections.

    Attributes:
        name: Its name in tables.
        config: Name of its config, with the published settings.
        grid: Values of the tracker's arguments that are tried on the val split.
    """

    name: str
    config: str
    grid: dict[str, tuple]


BASELINES = (
    Baseline(
        'ByteTrack',
        'bytetrack_fdta-det_mini',
        dict(
            obj_score_thrs=(dict(high=0.6, low=0.1), dict(high=0.4, low=0.1)),
            init_track_thr=(0.7, 0.5),
            match_iou_thrs=(
                dict(high=0.1, low=0.5, tentative=0.3),
                dict(high=0.01, low=0.5, tentative=0.3),
            ),
        ),
    ),
    Baseline(
        'OC-SORT',
        'ocsort_fdta-det_mini',
        dict(
            init_track_thr=(0.7, 0.5),
            match_iou_thr=(0.3, 0.1),
            vel_consist_weight=(0.2, 0.0),
        ),
    ),
    Baseline(
        'SORT',
        'sort_fdta-det_mini',
        dict(obj_score_thr=(0.5, 0.3), match_iou_thr=(0.5, 0.3, 0.1)),
    ),
)


@dataclass(frozen=True)
class Clip:
    """A real video for the demo.

    Attributes:
        path: The video.
        config: Config of the tracker; None: what `mmfdta track` takes.
        checkpoint: Its weights; None: those that the config names, which are fetched.
    """

    path: Path
    config: str | None = None
    checkpoint: str | None = None


def run_demo(plan: DemoPlan, train: bool = False, clip: Clip | None = None) -> None:
    """Do what an earlier run has not done yet, and say where the results are.

    Args:
        plan: Folders, seed and settings.
        train: Train from scratch instead of from the weights in the package on.
        clip: A real video that is tracked, too.

    Raises:
        FileExistsError: If a folder holds something else.
        FileNotFoundError: If there is no such video or checkpoint.
        RuntimeError: If a tracker cannot be run.
    """
    init_default_scope('mmdet')
    threads = torch.get_num_threads()
    # More than two gain nothing with tensors this small.
    torch.set_num_threads(min(2, threads))
    start = time.monotonic()
    stages = list_stages(plan) if train else list_short_stages(plan)
    check_folder(plan.work_dir, stages)
    # What lacks for the video is said at once, and weights are fetched.
    last = [] if clip is None else [clip_stage(plan, clip)]
    run_stages(stages, plan.work_dir)
    say(f'\n{(plan.work_dir / "scores.md").read_text(encoding="utf-8")}')
    for stage in stages[1:]:
        for path in stage.products:
            say(str(path))
    say(f'\nThe demo took {(time.monotonic() - start) / 60:.1f} minutes.')
    torch.set_num_threads(threads)
    run_stages(last, plan.work_dir)
    for stage in last:
        for path in stage.products:
            say(str(path))


def clip_stage(plan: DemoPlan, clip: Clip) -> Stage:
    """Track a real video; leaves it with its tracks, and the tracks as text.

    Weights that are not here yet are fetched when the stage is made.

    Args:
        plan: The demo.
        clip: The video.

    Returns:
        The stage.

    Raises:
        FileNotFoundError: If there is no such video or checkpoint.
    """
    facts = clip.path.stat()
    config = clip.config or choose_config(clip.checkpoint)
    weights = find_checkpoint(clip.checkpoint, read_config(config))
    out = [plan.work_dir / f'{clip.path.stem}_tracks.{kind}' for kind in ('mp4', 'txt')]
    text = repr(
        (config, str(weights), str(clip.path), facts.st_size, facts.st_mtime_ns)
    )
    return Stage(
        CLIP,
        f'Track {clip.path} with {config}',
        1,
        text,
        lambda: track_clip(clip.path, config, weights, out),
        tuple(out),
    )


def track_clip(path: Path, config: str, weights: Path, out: Sequence[Path]) -> None:
    """Track a video, and say in a line what was found.

    Args:
        path: The video.
        config: Name of the tracker's config.
        weights: Its weights.
        out: Files to write.

    Raises:
        RuntimeError: If the video breaks off.
    """
    report = MOTInferencer(config, weights)(path, out=out, progress=True)
    say(f'      {report}; {report.describe_tracks()}')
    if not report.complete:
        raise RuntimeError(f'{path}: {report.problem}')


def check_folder(work_dir: Path, stages: Sequence[Stage]) -> None:
    """Refuse a folder of the other demo, whose results would be replaced.

    Args:
        work_dir: The folder.
        stages: Of this demo.

    Raises:
        FileExistsError: If it has records of stages that this demo has not.
    """
    known = {stage.name for stage in stages} | {CLIP}
    found = sorted(path.stem for path in (work_dir / '.stages').glob('*.json'))
    other = [name for name in found if name not in known]
    if other:
        raise FileExistsError(
            f'{work_dir}: found the stage {other[0]!r} of another demo (there is one '
            f'with --train, and one without), expected {", ".join(sorted(known))} or '
            'an empty folder. Choose another one with --work-dir, or delete it'
        )


def list_short_stages(plan: DemoPlan) -> list[Stage]:
    """List what the demo does that continues from the weights in the package."""
    folder = plan.work_dir
    tracker = plan.config(GOES_ON)
    return [
        data_stage(plan, tracker),
        goes_on_stage(plan, tracker, folder / WEIGHTS),
        Stage(
            'benchmark',
            'Compare with ByteTrack, OC-SORT and SORT on the test split',
            0.5,
            '',
            lambda: compare_trackers(plan, tracker),
            tuple(folder / name for name in COMPARISON),
        ),
    ]


def list_training_stages(plan: DemoPlan, tracker: Config) -> list[Stage]:
    """List what makes FDTA's weights from nothing.

    Args:
        plan: The demo.
        tracker: FDTA's config; its ``load_from`` is set.
    """
    folder = plan.work_dir
    return [
        data_stage(plan, tracker),
        detector_stage(plan, plan.config(DETECTOR)),
        tracker_stage(plan, 'fdta', tracker, folder / 'train_fdta', folder / WEIGHTS),
    ]


def list_stages(plan: DemoPlan) -> list[Stage]:
    """List what the demo does that trains from scratch, in its order."""
    folder = plan.work_dir
    tracker = plan.config(TRACKER)
    return [
        *list_training_stages(plan, tracker),
        Stage(
            'baselines',
            'Choose the settings of the baselines on the val split',
            0.7,
            repr(BASELINES),
            lambda: tune_baselines(plan, tracker),
            (folder / 'baselines.json',),
        ),
        Stage(
            'benchmark',
            'Compare with ByteTrack, OC-SORT and SORT on the test split',
            1.5,
            '',
            lambda: compare_trackers(plan, tracker, read_chosen(folder)),
            tuple(folder / name for name in COMPARISON),
        ),
        Stage(
            'similarity',
            'Compare the embeddings with those of the plain detector',
            0.3,
            '',
            lambda: compare_detectors(plan, tracker),
            (folder / 'similarity.json', folder / 'similarity.png'),
        ),
    ]


def tune_baselines(plan: DemoPlan, tracker: Config) -> None:
    """Search the settings with the best HOTA on the val split.

    Args:
        plan: The demo; its folder gets ``baselines.json``: by name of the baseline,
            arguments of its tracker.
        tracker: FDTA's config.
    """
    data = EvaluationData.open(tracker, 'val')
    chosen = {}
    for baseline in BASELINES:
        config = boxes_config(baseline.config, tracker)
        loop = open_loop(config, plan.work_dir / WEIGHTS, data, plan.work_dir)
        detections = [loop.detect(index) for index in range(len(data.sequences))]
        tuner = Tuner(loop, detections, data, config.model.tracker)
        best = search_grid(tuner, baseline.grid)
        chosen[baseline.name] = best.setting
        say(f'      {baseline.name}: HOTA {best.scores["HOTA"]:.1%} on val')
    write_text(plan.work_dir / 'baselines.json', json.dumps(chosen, indent=1) + '\n')


def read_chosen(folder: Path) -> dict[str, dict]:
    """Read what :func:`tune_baselines` has chosen."""
    return json.loads((folder / 'baselines.json').read_text(encoding='utf-8'))


def compare_trackers(
    plan: DemoPlan, tracker: Config, chosen: Mapping[str, dict] | None = None
) -> None:
    """Track the test split with FDTA and the baselines, and write the results.

    Args:
        plan: The demo; its folder gets :data:`COMPARISON`.
        tracker: FDTA's config.
        chosen: Tuned settings of the baselines by their names: they are compared in
            them, too. None: the table says what it rests on.
    """
    folder, weights = plan.work_dir, plan.work_dir / WEIGHTS
    entries = [Entry(FDTA, tracker, weights)]
    for baseline in BASELINES:
        config = boxes_config(baseline.config, tracker)
        entries.append(Entry(baseline.name, config, weights))
        if chosen is not None:
            config = boxes_config(baseline.config, tracker, chosen[baseline.name])
            entries.append(Entry(f'{baseline.name} (tuned)', config, weights))
    results, tracks = benchmark(entries, folder)
    data = EvaluationData.open(tracker, 'test')
    caption = '' if chosen is not None else describe_comparison(plan, tracker, data)
    write_scores(entries, results, folder, plan.seed, caption)
    names = dict(detector='train_detector') if chosen is not None else {}
    losses = {
        title: read_losses(folder / name)
        for title, name in {**names, FDTA: 'train_fdta'}.items()
    }
    save_figure(plot_training(losses), folder / 'training.png')
    write_video(folder / 'fdta_vs_bytetrack.mp4', data, results, tracks)


def describe_comparison(plan: DemoPlan, tracker: Config, data: EvaluationData) -> str:
    """Say what the numbers of the short demo rest on.

    Args:
        plan: The demo.
        tracker: FDTA's config.
        data: The test split.

    Returns:
        A paragraph.
    """
    held_out = json.loads((plan.work_dir / HELD_OUT).read_text(encoding='utf-8'))
    frames = sum(map(len, data.sequences))
    kept = ''
    if not held_out['after'] <= held_out['before']:
        kept = 'It has grown, so the table is of the weights before. '
    return (
        f'{len(data.sequences)} test sequences of MiniDance, {frames} frames in all, '
        'which no training has seen. So few sequences decide little: '
        f'{Path("benchmark", "benchmark.md")} has the intervals of the differences.\n\n'
        f'FDTA goes on from the weights `{tracker.load_from}` for '
        f'{tracker.train_cfg.max_iters} iterations; its loss on {held_out["clips"]} '
        f'held-out clips is {held_out["before"]:.3f} before and '
        f'{held_out["after"]:.3f} after. {kept}The others track its detections with '
        'their published settings.\n\n'
        '`mmfdta demo --train` trains from scratch and tests on all 10 sequences.\n'
    )


def compare_detectors(plan: DemoPlan, tracker: Config) -> None:
    """Compare the embeddings of FDTA with those of the detector that it starts from.

    Args:
        plan: The demo; its folder gets ``similarity.{json,png}``.
        tracker: FDTA's config.
    """
    plain = copy.deepcopy(tracker)
    plain.model.detector = plan.config(DETECTOR).model
    plain.model.detector.pop('data_preprocessor')
    folder = plan.work_dir
    panels = [
        compare_embeddings(plain, Path(tracker.load_from), folder, 'plain detector'),
        compare_embeddings(tracker, folder / WEIGHTS, folder, FDTA),
    ]
    shares = {
        panel.title: dict(different=panel.share_different, same=panel.share_same)
        for panel in panels
    }
    found = dict(threshold=THRESHOLD, shares_above=shares)
    write_text(folder / 'similarity.json', json.dumps(found, indent=1) + '\n')
    save_figure(plot_similarity(panels), folder / 'similarity.png')


def boxes_config(name: str, tracker: Config, setting: dict | None = None) -> Config:
    """Read the config of a tracker that takes boxes, and give it FDTA's detections.

    Args:
        name: Name of its config.
        tracker: FDTA's config, whose detector and data it gets.
        setting: Arguments of its tracker that are changed.

    Returns:
        The config; it runs with FDTA's weights.
    """
    config = read_config(name)
    config.model.detector = tracker.model.detector
    for loader in ('val_dataloader', 'test_dataloader'):
        config[loader] = tracker[loader]
    config.model.tracker.update(setting or {})
    return config


def open_loop(
    config: Config, weights: Path, data: EvaluationData, folder: Path
) -> SequenceLoop:
    """Open a tracker on data.

    Args:
        config: Its config.
        weights: Its weights.
        data: The data.
        folder: As in :func:`benchmark`, whose detections are shared.

    Returns:
        The loop.
    """
    model = load_tracker(config, weights)
    store = DetectionStore(folder / 'benchmark' / 'detections', model, data.dataset)
    return SequenceLoop(model, data.dataset, store, batch_size=_FRAMES_AT_ONCE)


def benchmark(
    entries: Sequence[Entry], folder: Path, split: str = 'test'
) -> tuple[list[EntryResult], dict[str, Path]]:
    """Track a split with each entry, and score all.

    Args:
        entries: What is compared.
        folder: Gets the runs, the detections and the benchmark's own report under
            ``benchmark/``.
        split: Split of the entries' data.

    Returns:
        What each entry gave, and folders of their tracks by name.

    Raises:
        RuntimeError: If an entry cannot be run; its process has said why.
    """
    options = BenchmarkOptions(data=split, out=folder / 'benchmark', own_process=False)
    made = run_benchmark(entries, options, lambda text: say(f'      {text}'))
    if made.report is None or made.failed:
        raise RuntimeError(f'{", ".join(made.failed)} failed, see above')
    return made.report.results, made.tracks


def compare_embeddings(
    tracker: Config, weights: Path, folder: Path, title: str
) -> SimilarityPanel:
    """Compare the embeddings of a detector's objects in the test split.

    Args:
        tracker: Config with the detector.
        weights: Checkpoint with the detector's weights under FDTA's names.
        folder: As in :func:`benchmark`, whose detections are shared.
        title: Title of the panel.

    Returns:
        Cosine similarities of different objects in a frame, and of one object in
        two frames of a sequence.
    """
    data = EvaluationData.open(tracker, 'test')
    config = boxes_config(BASELINES[0].config, tracker)
    loop = open_loop(config, weights, data, folder)
    measured = measure_similarity(
        loop,
        data,
        _LOWEST_SCORE,
        clip_length=max(map(len, data.sequences)),
        clips_per_sequence=1,
        threshold=THRESHOLD,
    )
    return measured.stages['detector'].panel(title)


def write_scores(
    entries: Sequence[Entry],
    results: Sequence[EntryResult],
    folder: Path,
    seed: int,
    caption: str = '',
) -> None:
    """Write the tables and plots of the comparison.

    Args:
        entries: What was compared.
        results: What each entry gave, in the same order.
        folder: Gets ``scores.{md,csv,json,png}`` and ``hota.png``.
        seed: Seed of the trainings.
        caption: What stands below the table.
    """
    rows = []
    for result in results:
        rates = [f'{100 * result.scores[name]:.1f}' for name in SCORES[:-1]]
        rows.append((result.name, *rates, f'{result.scores["IDSW"]:.0f}'))
    table = markdown_table(('tracker', *SCORES), rows)
    write_text(folder / 'scores.md', f'{table}\n{caption}' if caption else table)
    numbers = [(r.name, *(r.scores[name] for name in SCORES)) for r in results]
    write_text(folder / 'scores.csv', csv_table(('tracker', *SCORES), numbers))
    trackers = [
        dict(
            name=result.name,
            scores={name: float(value) for name, value in result.scores.items()},
            settings=entry.config.model.tracker.to_dict() if entry.config else {},
        )
        for entry, result in zip(entries, results, strict=True)
    ]
    document = dict(seed=seed, trackers=trackers)
    write_text(folder / 'scores.json', json.dumps(document, indent=1) + '\n')
    published = [result for result in results if '(tuned)' not in result.name]
    save_figure(
        plot_scores({r.name: r.scores for r in published}), folder / 'scores.png'
    )
    curves = {r.name: r.evaluation.of_class('all') for r in published}
    save_figure(plot_hota_curves(curves, ALPHAS), folder / 'hota.png')


def write_video(
    path: Path,
    data: EvaluationData,
    results: Sequence[EntryResult],
    folders: Mapping[str, Path],
) -> None:
    """Draw FDTA and ByteTrack side by side.

    Args:
        path: The video, of the sequence in which ByteTrack switches most identities.
        data: The test split.
        results: What the entries gave.
        folders: Folders of their tracks, by name.
    """
    (byte,) = [result for result in results if result.name == 'ByteTrack']
    sequence = max(
        data.sequences, key=lambda s: byte.evaluation.of_sequence(s.name)['IDSW']
    )
    sides = [
        (
            name,
            TrackDrawer(channel_order='bgr'),
            read_tracks(folders[name] / f'{sequence.name}.txt'),
        )
        for name in (FDTA, 'ByteTrack')
    ]
    with VideoWriter(path, _FRAME_RATE) as writer:
        for number, image_name in enumerate(sequence.image_names, start=1):
            image = cv2.imread(str(Path(sequence.image_dir, image_name)))
            image = cv2.resize(
                image, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_CUBIC
            )
            halves = []
            for name, drawer, tracks in sides:
                here = tracks.select(tracks.frame == number)
                here = replace(here, xywh=here.xywh * _ZOOM)
                half = drawer.draw(image, here)
                draw_caption(half, name)
                halves.append(np.pad(half, ((0, 0), (0, _GAP), (0, 0))))
            writer.write(np.hstack(halves)[:, :-_GAP])


def read_losses(work_dir: Path) -> dict[str, np.ndarray]:
    """Read the losses that MMEngine logged, of all runs in a folder.

    Args:
        work_dir: Work dir of a training.

    Returns:
        Loss -> (n, 2), iterations and values. Losses of
        the earlier decoder layers are left out.
    """
    points: dict[str, dict[int, float]] = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            row = json.loads(line)
            for name, value in row.items():
                if name.startswith('loss_'):
                    points.setdefault(name, {})[row['step']] = value
    return {name: np.array(sorted(line.items())) for name, line in points.items()}


def plot_training(runs: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Draw the losses over the iterations, a panel for each training.

    Args:
        runs: Title -> what :func:`read_losses` gave.

    Returns:
        The figure.
    """
    figure, axes = new_figure(5.2 * len(runs), 3.8, columns=len(runs))
    for axis, (title, losses) in zip(axes, runs.items(), strict=True):
        for name, line in losses.items():
            axis.plot(*line.T, label=name.removeprefix('loss_'), linewidth=1.4)
        axis.set(title=title, xlabel='iteration', ylabel='loss', yscale='log')
        axis.grid(True, color='0.88')
        axis.legend(frameon=False, fontsize=8)
    return figure
