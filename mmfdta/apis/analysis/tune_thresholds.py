# Copyright (c) mmfdta authors.
"""Search FDTA's thresholds and assignment protocol; the detector runs once."""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample

from mmfdta.datasets import MOTSequenceDataset
from mmfdta.evaluation import (
    BENCHMARKS,
    Sequence,
    Settings,
    TrackBoxes,
    evaluate,
    get_benchmark,
    summarise,
)
from mmfdta.models import FDTA
from mmfdta.models.detectors import host_detections
from mmfdta.models.trackers.assignment import PROTOCOLS
from mmfdta.structures.mot_text import write_text_atomic

from ..ground_truth import ground_truth
from .detection import add_model_arguments, open_model
from .detection_cache import CachedSequence, cache_detections, fingerprint

_SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1')


@dataclass(frozen=True)
class TrackerSetting:
    """What is tried; names and meaning as in :class:`FDTATracker`."""

    det_thr: float
    newborn_thr: float
    id_thr: float
    protocol: str


@dataclass(frozen=True)
class Trial:
    """A setting and what it gave.

    Attributes:
        setting (TrackerSetting): The setting.
        scores (dict[str, float]): Fractions of 1.
        seconds (float): Time that tracking and scoring took.
    """

    setting: TrackerSetting
    scores: dict[str, float]
    seconds: float

    def as_dict(self) -> dict:
        """Return what is kept as JSON."""
        return asdict(self.setting) | self.scores | dict(seconds=self.seconds)


class ThresholdTuner:
    """Tracks cached detections again and again.

    Args:
        model (FDTA): In evaluation mode; its detector is not used.
        tracker_cfg (dict): Config of the tracker.
        sequences (list[CachedSequence]): The detections.
        dataset (MOTSequenceDataset): The ground truth.
        benchmark (str): Whose rules the scores follow.

    Raises:
        ValueError: If a sequence has no ground truth.
    """

    def __init__(
        self,
        model: FDTA,
        tracker_cfg: dict,
        sequences: list[CachedSequence],
        dataset: MOTSequenceDataset,
        benchmark: str = 'mot_challenge',
    ) -> None:
        self._model = model
        self._tracker_cfg = dict(tracker_cfg)
        self._sequences = sequences
        self._settings = Settings(benchmark, ('HOTA', 'CLEAR', 'Identity'))
        mot_classes = bool(get_benchmark(benchmark).distractors)
        self._truths = [
            ground_truth(sequence, mot_classes) for sequence in dataset.sequences
        ]
        self.trials: dict[TrackerSetting, Trial] = {}

    def try_setting(self, setting: TrackerSetting) -> Trial:
        """Track and score everything with a setting; the same one only once.

        Args:
            setting (TrackerSetting): What to try.

        Returns:
            Trial: What it gave.
        """
        if setting not in self.trials:
            start = time.perf_counter()
            jobs = [
                Sequence(cached.name, len(cached), truth, self.track(cached, setting))
                for cached, truth in zip(self._sequences, self._truths, strict=True)
            ]
            scores = summarise(evaluate(jobs, self._settings).over_detections())
            chosen = {name: scores[name] for name in _SCORES}
            seconds = time.perf_counter() - start
            self.trials[setting] = Trial(setting, chosen, seconds)
        return self.trials[setting]

    @torch.no_grad()
    def track(self, cached: CachedSequence, setting: TrackerSetting) -> TrackBoxes:
        """Track a sequence.

        Args:
            cached (CachedSequence): Its detections.
            setting (TrackerSetting): The setting.

        Returns:
            TrackBoxes: As they stand in result text.
        """
        tracker = MODELS.build(self._tracker_cfg | asdict(setting))
        cached = cached.to(next(self._model.parameters()).device)
        frames, ids, boxes, scores = [], [], [], []
        for frame in range(len(cached)):
            rows = slice(cached.offsets[frame], cached.offsets[frame + 1])
            sample = DetDataSample(metainfo=dict(frame_id=frame))
            (sample.pred_instances,) = host_detections(
                cached.boxes[None, rows],
                cached.scores[None, rows],
                cached.labels[None, rows],
                [cached.image_size],
                cached.embeddings[None, rows],
            )
            tracks = tracker.track(
                sample, score_identities=self._model.score_identities
            )
            frames.append(np.full(len(tracks), frame + 1))
            ids.append(tracks.instances_id.numpy())
            boxes.append(tracks.bboxes.numpy())
            scores.append(tracks.scores.numpy())
        xywh = np.concatenate(boxes).astype(np.float64)
        xywh[:, 2:] -= xywh[:, :2]
        return TrackBoxes.create(
            np.concatenate(frames),
            np.concatenate(ids),
            xywh.round(3),
            np.concatenate(scores),
        )


def search_grid(
    tuner: ThresholdTuner,
    choices: dict[str, list],
    report: Callable[[Trial], None],
) -> None:
    """Try every combination.

    Args:
        tuner (ThresholdTuner): Tries settings.
        choices (dict[str, list]): Values of each field of a setting.
        report (Callable): Called after each trial.
    """
    for values in itertools.product(*choices.values()):
        setting = TrackerSetting(**dict(zip(choices, values, strict=True)))
        report(tuner.try_setting(setting))


def search_coordinates(
    tuner: ThresholdTuner,
    choices: dict[str, list],
    start: TrackerSetting,
    report: Callable[[Trial], None],
) -> None:
    """Change one thing at a time, keep the best HOTA, until nothing helps.

    Args:
        tuner (ThresholdTuner): Tries settings.
        choices (dict[str, list]): Values of each field of a setting.
        start (TrackerSetting): Where to start.
        report (Callable): Called after each new trial.
    """
    best = tuner.try_setting(start)
    report(best)
    improved = True
    while improved:
        improved = False
        for name, values in choices.items():
            for value in values:
                setting = TrackerSetting(**(asdict(best.setting) | {name: value}))
                known = setting in tuner.trials
                trial = tuner.try_setting(setting)
                if not known:
                    report(trial)
                if trial.scores['HOTA'] > best.scores['HOTA']:
                    best, improved = trial, True


def format_trials(trials: Iterable[Trial]) -> str:
    """Write trials as a Markdown table, the best HOTA first.

    Args:
        trials (Iterable[Trial]): What was tried.

    Returns:
        str: The table; scores in percent.
    """
    head = ('det_thr', 'newborn_thr', 'id_thr', 'protocol', *_SCORES, 'seconds')
    lines = [f'| {" | ".join(head)} |', f'|{" --- |" * len(head)}']
    for trial in sorted(trials, key=lambda t: -t.scores['HOTA']):
        s = trial.setting
        cells = [f'{s.det_thr:g}', f'{s.newborn_thr:g}', f'{s.id_thr:g}', s.protocol]
        cells += [f'{100 * trial.scores[name]:.2f}' for name in _SCORES]
        lines.append(f'| {" | ".join(cells)} | {trial.seconds:.1f} |')
    return '\n'.join(lines)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser('python -m mmfdta tune', description=__doc__)
    add_model_arguments(parser)
    parser.add_argument(
        '--out',
        required=True,
        help='folder for thresholds.json, thresholds.md and the cached detections',
    )
    for name in ('det-thr', 'newborn-thr', 'id-thr'):
        parser.add_argument(
            f'--{name}', nargs='+', type=float, help="values to try; the config's"
        )
    parser.add_argument(
        '--protocol', nargs='+', choices=list(PROTOCOLS), help="the config's if unset"
    )
    parser.add_argument(
        '--search',
        choices=['grid', 'coordinate'],
        default='grid',
        help='all combinations, or one value at a time from the best on',
    )
    parser.add_argument(
        '--benchmark',
        default='mot_challenge',
        choices=list(BENCHMARKS),
        help='whose rules to score by (default: mot_challenge, all boxes count alike)',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=1,
        help='frames the detector takes at a time (default: 1)',
    )
    return parser


def main(arguments: list[str]) -> None:
    """Search as the arguments say.

    Raises:
        SystemExit: If the arguments are wrong.
    """
    options = build_parser().parse_args(arguments)
    try:
        trials = _search(options)
    except (OSError, ValueError) as error:
        sys.exit(f'mmfdta tune: {error}')
    print(format_trials(trials))
    best = max(trials, key=lambda trial: trial.scores['HOTA'])
    changes = [
        f'model.tracker.{name}={value}' for name, value in asdict(best.setting).items()
    ]
    print(f'\nBest: --cfg-options {" ".join(changes)}')


def _search(options: argparse.Namespace) -> list[Trial]:
    model, dataset, config = open_model(options)
    cfg = config.model.tracker.to_dict()
    dataset_cfg = config[f'{options.data}_dataloader'].dataset
    start = TrackerSetting(
        **{
            name: getattr(model.tracker, name)
            for name in TrackerSetting.__annotations__
        }
    )
    choices = {
        name: getattr(options, name) or [value] for name, value in asdict(start).items()
    }
    out = Path(options.out)
    lowest = min(*choices['det_thr'], start.det_thr)
    name = fingerprint(model, config, dataset_cfg, lowest)
    folder = out / f'detections-{name}'
    cached = cache_detections(model, dataset, folder, lowest, options.batch_size)
    tuner = ThresholdTuner(model, cfg, cached, dataset, options.benchmark)

    def report(trial: Trial) -> None:
        print(f'{trial.setting}: HOTA {trial.scores["HOTA"]:.2%}', file=sys.stderr)
        _keep(out, list(tuner.trials.values()))

    if options.search == 'grid':
        search_grid(tuner, choices, report)
    else:
        search_coordinates(tuner, choices, start, report)
    return list(tuner.trials.values())


def _keep(out: Path, trials: list[Trial]) -> None:
    """Write what there is so far: an interrupted search loses nothing."""
    rows = [trial.as_dict() for trial in trials]
    write_text_atomic(out / 'thresholds.json', json.dumps(rows, indent=1) + '\n')
    write_text_atomic(out / 'thresholds.md', format_trials(trials) + '\n')
