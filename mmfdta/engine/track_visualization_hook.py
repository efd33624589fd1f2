# Copyright (c) mmfdta authors.
"""Shows what is tracked while a model is trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mmcv
import numpy as np
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfdta.structures.tracks import Tracks
from mmfdta.visualization import TrackDrawer, TrackStyle, draw_caption


@HOOKS.register_module()
class ValTrackVisualizationHook(Hook):
    """Draws the tracks of every n-th frame of a sequence during validation.

    Pictures go to the runner's visualizer backends, and as files to
    ``<work_dir>/<out_dir>/epoch_<n>/<sequence>/<frame>.jpg``. MMDetection's own
    hook draws every frame when a data loader yields single frames, as
    ``SequenceSampler`` does.

    Args:
        interval: Draw the frames 0, n, 2n, ... of each sequence.
        max_sequences: Draw only so many sequences of a process.
        draw_gt: Put the ground truth beside the tracks, on the left.
        show_scores: Write scores.
        out_dir: Folder in the work dir; None writes no files.
        to_backends: Also hand the pictures to the visualizer.
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
        """Start counting sequences."""
        self._seen = []

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[TrackDataSample] | None = None,
    ) -> None:
        """Draw the frames whose turn it is.

        Args:
            runner: The runner.
            batch_idx: Unused; part of MMEngine's interface.
            data_batch: Unused; part of MMEngine's interface.
            outputs: The tracked frames.
        """
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
        image = mmcv.imread(
            frame.img_path, flag='color_ignore_orientation', channel_order='rgb'
        )
        if image is None:
            raise OSError(f'{frame.img_path}: cannot read the image to draw on')
        classes = (getattr(runner.visualizer, 'dataset_meta', None) or {}).get(
            'classes'
        )
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
    """Ground truth boxes are those of the resized image; undo that."""
    truth = Tracks.from_instances(frame.gt_instances, frame.frame_id + 1)
    width, height = frame.scale_factor
    return replace(truth, xywh=truth.xywh / [width, height, width, height])
