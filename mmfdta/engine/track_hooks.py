# Copyright (c) mmfdta authors.
"""Hooks that draw tracks during validation, and the sequences with the worst scores."""

from collections.abc import Sequence as SequenceOf
from dataclasses import replace
from pathlib import Path

import mmcv
import numpy as np
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from mmfdta.evaluation import MOTMetric, Sequence, evaluate, summarise
from mmfdta.evaluation.records import FrameRecord, assemble, make_record
from mmfdta.evaluation.scores import ALL, COUNTS
from mmfdta.structures.mot_text import write_tracks
from mmfdta.structures.tracks import Tracks
from mmfdta.visualization import (
    TrackDrawer,
    TrackStyle,
    VideoWriter,
    draw_caption,
    save_timeline,
)

from .checkpoint_hook import rule_of

# The data sets also ignore the orientation in EXIF.
_STORED = 'color_ignore_orientation'


@HOOKS.register_module()
class ValTrackVisualizationHook(Hook):
    """Draws the tracks of every n-th frame of a sequence during validation.

    Pictures go to the runner's visualizer backends, and as files to
    ``<work_dir>/<out_dir>/epoch_<n>/<sequence>/<frame>.jpg``. MMDetection's own
    hook draws every frame when a data loader yields single frames, as
    ``SequenceSampler`` does.

    Args:
        interval: Draw the frames 0, n, 2n, ... of each sequence.
        max_sequences: Largest number of sequences per process; None draws all.
        draw_gt: Draw the ground truth to the left of the tracks.
        show_scores: Write scores.
        out_dir: Folder in the work directory; None writes no files.
        to_backends: Also pass the pictures to the visualizer.

    Raises:
        ValueError: If the interval is below 1.
    """

    priority = 'LOW'

    def __init__(
        self,
        interval: int = 50,
        max_sequences: int | None = 4,
        draw_gt: bool = True,
        show_scores: bool = True,
        out_dir: str | None = 'val_tracks',
        to_backends: bool = True,
    ) -> None:
        if interval < 1:
            raise ValueError(
                f'ValTrackVisualizationHook.interval: found {interval}, expected >= 1'
            )
        self.interval = interval
        self.max_sequences = max_sequences
        self.draw_gt = draw_gt
        self.style = TrackStyle(show_scores=show_scores, trail_length=0)
        self.out_dir = out_dir
        self.to_backends = to_backends
        self._seen: list[str] = []

    def before_val_epoch(self, runner: Runner) -> None:
        """Forget the sequences of the last validation."""
        self._seen = []

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: SequenceOf[TrackDataSample] | None = None,
    ) -> None:
        """Draw every n-th frame."""
        for sample in outputs or ():
            for frame in sample:
                if self._is_wanted(frame):
                    self._show(runner, frame)

    def _is_wanted(self, frame: DetDataSample) -> bool:
        name = str(frame.sequence)
        if name not in self._seen:
            self._seen.append(name)
        place = self._seen.index(name)
        limit = self.max_sequences
        return frame.frame_id % self.interval == 0 and (limit is None or place < limit)

    def _show(self, runner: Runner, frame: DetDataSample) -> None:
        image = mmcv.imread(frame.img_path, _STORED, channel_order='rgb')
        if image is None:
            raise OSError(f'{frame.img_path}: cannot read the image to draw on')
        meta = getattr(runner.visualizer, 'dataset_meta', None) or {}
        classes = meta.get('classes')
        number = frame.frame_id + 1
        tracks = Tracks.from_instances(frame.pred_track_instances, number)
        picture = TrackDrawer(self.style, classes).draw(image, tracks)
        draw_caption(picture, f'{frame.sequence}, frame {number}: tracks')
        if self.draw_gt and 'gt_instances' in frame:
            style = replace(self.style, show_scores=False)
            truth = TrackDrawer(style, classes).draw(image, _ground_truth(frame))
            draw_caption(truth, 'ground truth')
            picture = np.concatenate([truth, picture], axis=1)
        if self.out_dir is not None:
            epoch = Path(runner.work_dir, self.out_dir, f'epoch_{runner.epoch}')
            path = epoch / str(frame.sequence) / f'{number:06d}.jpg'
            mmcv.imwrite(np.ascontiguousarray(picture[..., ::-1]), str(path))
        if self.to_backends:
            # The local backend makes no folders: no slash in the name.
            name = f'val_{frame.sequence}_{number:06d}'
            runner.visualizer.add_image(name, picture, step=runner.iter)


def _ground_truth(frame: DetDataSample) -> Tracks:
    """Return the ground truth in pixels of the original image."""
    truth = Tracks.from_instances(frame.gt_instances, frame.frame_id + 1)
    width, height = frame.scale_factor
    return replace(truth, xywh=truth.xywh / [width, height, width, height])


@HOOKS.register_module()
class WorstSequencesHook(Hook):
    """Writes the sequences with the worst score, after each evaluation.

    For each it writes the tracks as MOTChallenge text, a timeline of the identities
    (one for each class that is scored separately) and an annotated video into
    ``<work_dir>/<out_dir>/<val or test>_epoch_<n>/<place>_<sequence>_<score>/``. The
    video shows identity switches when they happen. These are the switches that the
    metric counts.

    Args:
        num: Number of sequences.
        metric: Score by which sequences are sorted, the lowest first, or the highest of
            a score such as IDSW, of which less is better; over all detections if
            classes are scored separately.
        out_dir: Folder in the work directory.
        video: Write videos.
        frame_rate: Frames per second of the videos.

    Raises:
        ValueError: If ``num`` is below 1, or later, if there is no `MOTMetric` or it
            has no such score.
    """

    priority = 'LOW'

    def __init__(
        self,
        num: int = 3,
        metric: str = 'AssA',
        out_dir: str = 'worst_sequences',
        video: bool = True,
        frame_rate: float = 20.0,
    ) -> None:
        if num < 1:
            raise ValueError(f'WorstSequencesHook.num: found {num}, expected >= 1')
        self.num = num
        self.metric = metric
        self.out_dir = out_dir
        self.video = video
        self.frame_rate = frame_rate
        self._records: list[FrameRecord] = []
        self._paths: dict[tuple[str, int], str] = {}

    def before_val_epoch(self, runner: Runner) -> None:
        """Forget the last evaluation."""
        self._records, self._paths = [], {}

    before_test_epoch = before_val_epoch

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: SequenceOf[TrackDataSample] | None = None,
    ) -> None:
        """Keep the boxes of the frames; images are read again if needed."""
        self._keep(runner.val_loop, outputs)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: SequenceOf[TrackDataSample] | None = None,
    ) -> None:
        """Keep the boxes of the frames of a test."""
        self._keep(runner.test_loop, outputs)

    def _keep(
        self, loop: BaseLoop, outputs: SequenceOf[TrackDataSample] | None
    ) -> None:
        mot_classes = self._find_metric(loop).run_classes.of_benchmark
        for sample in outputs or ():
            for frame in sample:
                record = make_record(frame, mot_classes)
                self._records.append(record)
                self._paths[record.sequence, record.frame_id] = frame.img_path

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Write the worst sequences of the validation."""
        self._write_worst(runner, runner.val_loop, 'val')

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Write the worst sequences of the test."""
        self._write_worst(runner, runner.test_loop, 'test')

    def _write_worst(self, runner: Runner, loop: BaseLoop, mode: str) -> None:
        """Write the worst sequences, as far as this process has tracked them."""
        metric = self._find_metric(loop)
        worst = [self._find_worst(metric) if is_main_process() else []]
        broadcast_object_list(worst)
        known, _ = assemble(self._records)
        mine = {sequence.name: sequence for sequence in known}
        folder = Path(runner.work_dir, self.out_dir, f'{mode}_epoch_{runner.epoch}')
        for place, (name, score) in enumerate(worst[0], start=1):
            if name in mine:
                is_count = self.metric in COUNTS
                short = f'{score:.0f}' if is_count else f'{100 * score:.1f}'
                target = folder / f'{place}_{name}_{self.metric}{short}'
                self._write(mine[name], target, metric)
                text = short if is_count else f'{score:.2%}'
                runner.logger.info(
                    f'{self.metric} {text} of {name}, number {place} from the '
                    f'bottom: {target}'
                )
        self._records, self._paths = [], {}

    def _find_metric(self, loop: BaseLoop) -> MOTMetric:
        metrics = [m for m in loop.evaluator.metrics if isinstance(m, MOTMetric)]
        if not metrics:
            raise ValueError(
                'WorstSequencesHook needs the scores of a MOTMetric, but the '
                'evaluator has none'
            )
        return metrics[0]

    def _find_worst(self, metric: MOTMetric) -> list[tuple[str, float]]:
        """Return names and scores, the worst first; only for the main process."""
        evaluation = metric.evaluation
        if evaluation is None:  # there is no ground truth
            return []
        scores = {
            name: summarise(evaluation.of_sequence(name))
            for name in evaluation.sequences
        }
        known = next(iter(scores.values()))
        if self.metric not in known:
            raise ValueError(
                f'WorstSequencesHook.metric: found {self.metric!r}, expected one of '
                f'{", ".join(known)}'
            )
        sign = -1 if rule_of(self.metric) == 'less' else 1
        found = {name: values[self.metric] for name, values in scores.items()}
        ranked = sorted(found, key=lambda name: (sign * found[name], name))
        return [(name, found[name]) for name in ranked[: self.num]]

    def _write(self, sequence: Sequence, folder: Path, metric: MOTMetric) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        classes, name = metric.run_classes, sequence.name
        tracks = folder / 'tracks.txt'
        write_tracks(tracks, sequence.pred, numbers=classes.written)
        settings = replace(
            metric.settings, families=('CLEAR',), events=True, all_classes=True
        )
        numbered = classes.number(sequence, by_class=settings.classes is not None)
        switches = []
        for label, of_class in evaluate([numbered], settings).events.items():
            suffix = '' if label == ALL else f'_{label}'
            for events in of_class.values():  # none if it has no box of the class
                path = folder / f'timeline{suffix}.png'
                switches += save_timeline(f'{name}{suffix}', events, path)
        if self.video:
            self._write_video(sequence, switches, folder / 'tracks.mp4')

    def _write_video(
        self, sequence: Sequence, switches: list[dict], path: Path
    ) -> None:
        """Draw the tracks; a switch is shown in the caption for a second."""
        drawer = TrackDrawer(TrackStyle(show_scores=True), channel_order='bgr')
        with VideoWriter(path, self.frame_rate) as writer:
            for frame in range(1, sequence.num_frames + 1):
                image = mmcv.imread(self._paths[sequence.name, frame - 1], _STORED)
                tracks = sequence.pred.select(sequence.pred.frame == frame)
                picture = drawer.draw(image, tracks)
                recent = [
                    f'{s["from"]} to {s["to"]}'
                    for s in switches
                    if 0 <= frame - s['frame'] < self.frame_rate
                ]
                text = f'frame {frame}   switches: {", ".join(recent) or "-"}'
                draw_caption(picture, text)
                writer.write(picture)
