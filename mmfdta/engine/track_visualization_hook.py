# Copyright (c) mmfdta authors.
"""Shows what is tracked while a model is trained."""

from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmfdta.visualization import TrackDrawer, TrackStyle, draw_caption, drawn_tracks


@HOOKS.register_module()
class ValTrackVisualizationHook(Hook):
    """Draws the tracks of every n-th frame of a sequence during validation.

    Pictures go to the runner's visualizer backends, and as files to
    ``<work_dir>/<out_dir>/epoch_<n>/<sequence>/<frame>.jpg``. MMDetection's own
    hook draws every frame when a data loader yields single frames, as
    ``SequenceSampler`` does.

    Args:
        interval (int): Draw the frames 0, n, 2n, ... of each sequence.
        max_sequences (int | None): Draw only so many sequences of a process.
        draw_gt (bool): Put the ground truth beside the tracks, on the left.
        show_scores (bool): Write scores.
        out_dir (str | None): Folder in the work dir; None writes no files.
        to_backends (bool): Also hand the pictures to the visualizer.
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
            runner (Runner): The runner.
            batch_idx (int): Unused; part of MMEngine's interface.
            data_batch (dict | None): Unused; part of MMEngine's interface.
            outputs (Sequence[TrackDataSample] | None): The tracked frames.
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
        picture = TrackDrawer(self.style, classes).draw(
            image, drawn_tracks(frame.pred_track_instances)
        )
        draw_caption(picture, f'{frame.sequence}, frame {frame.frame_id + 1}: tracks')
        if self.draw_gt and 'gt_instances' in frame:
            truth = TrackDrawer(self.style, classes).draw(
                image, drawn_tracks(_in_original_pixels(frame))
            )
            draw_caption(truth, 'ground truth')
            picture = np.concatenate([truth, picture], axis=1)
        number = f'{frame.frame_id + 1:06d}'
        if self.out_dir is not None:
            epoch = Path(runner.work_dir, self.out_dir, f'epoch_{runner.epoch}')
            path = epoch / str(frame.sequence) / f'{number}.jpg'
            mmcv.imwrite(np.ascontiguousarray(picture[..., ::-1]), str(path))
        if self.to_backends:
            # The local backend makes no folders: no slash in the name.
            name = f'val_{frame.sequence}_{number}'
            runner.visualizer.add_image(name, picture, step=runner.iter)


def _in_original_pixels(frame: DetDataSample) -> InstanceData:
    """Ground truth boxes are those of the resized image; undo that."""
    truth = frame.gt_instances.clone()
    width, height = frame.scale_factor
    truth.bboxes = truth.bboxes / truth.bboxes.new_tensor(
        [width, height, width, height]
    )
    return truth
