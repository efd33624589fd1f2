# Copyright (c) mmfdta authors.
"""A detector that reads its detections from text."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from mmfdta.structures.frames import (
    SequenceFrames,
    complete_frames,
    decide_frame_numbers,
    find_frames,
)
from mmfdta.structures.mot_text import scan_mot_text
from mmfdta.structures.tracks import Tracks


@MODELS.register_module()
class TextDetections(BaseDetector):
    """MOTChallenge text as a detector, for any tracker on boxes.

    It reads public detections (``det/det.txt``), those of another program, or the
    ground truth, to test association on perfect boxes. It uses no image and cannot be
    trained. Identities in the text are ignored.

    Args:
        text: The file; ``{folder}`` is replaced by the sequence's folder, which
            contains that of the images, and ``{sequence}`` by its name.
        category_map: Column 8 to label; other rows are left out. None uses all rows,
            with label 0.
        min_score: Only rows with a higher score in column 7 are used; a ground truth
            has 0 there in rows that are not scored.
        frame_numbers: How frames are read, as in :class:`MOTSequenceDataset`.
    """

    reads_text = True

    def __init__(
        self,
        text: str = '{folder}/det/det.txt',
        category_map: dict[int, int] | None = None,
        min_score: float = 0.0,
        frame_numbers: str = 'auto',
    ) -> None:
        super().__init__()
        self.text = text
        self.category_map = category_map
        self.min_score = min_score
        self.frame_numbers = frame_numbers
        self._known: tuple[str, Path, SequenceFrames, Tracks] | None = None

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True
    ) -> SampleList:
        """Look up detections.

        Args:
            batch_inputs: Not used.
            batch_data_samples: Frames with ``img_path``, ``sequence``, ``frame_id``.
            rescale: Boxes in pixels of the original frame instead of the resized one.

        Returns:
            The frames with ``pred_instances``, best score first.

        Raises:
            FileNotFoundError: If there is no such text.
            ValueError: If the text cannot be read, a row has no frame, a frame is not
                in its sequence, or one text is read for two sequences.
        """
        found = []
        for frame in batch_data_samples:
            instances = self._look_up(frame.metainfo)
            if not rescale:
                scale = instances.bboxes.new_tensor(frame.scale_factor)
                instances.bboxes *= scale.repeat(2)
            found.append(instances)
        return self.add_pred_to_datasample(batch_data_samples, found)

    def _look_up(self, meta: dict) -> InstanceData:
        frames, tracks = self._open(meta)
        # In a part of a sequence, `frame_id` starts at 0; the image identifies the
        # frame.
        place, image = int(meta['frame_id']), Path(meta['img_path'])
        if frames.names is not None:
            if image.name not in frames.names:
                raise ValueError(
                    f'{image}: found a frame of this name, expected one of the '
                    f'{frames.length} images in {frames.path}, {frames.names[0]} to '
                    f'{frames.names[-1]}; if images were renamed or moved, make '
                    'annotation caches again (mmfdta prepare-dataset)'
                )
            place = frames.names.index(image.name)
        elif not image.parent.is_dir():  # names in data sets without images are numbers
            if not image.stem.isdecimal():
                raise ValueError(
                    f'{image}: found a frame of this name, expected a number as its '
                    'name, because the sequence has no images'
                )
            place = int(image.stem) - 1
        rows = tracks.select(tracks.frame == place + 1)
        rows = rows.select(np.argsort(-rows.score, kind='stable'))
        corners = np.concatenate(
            [rows.xywh[:, :2], rows.xywh[:, :2] + rows.xywh[:, 2:]], axis=1
        )
        return InstanceData(
            bboxes=torch.from_numpy(corners.astype(np.float32)),
            scores=torch.from_numpy(rows.score.astype(np.float32)),
            labels=torch.from_numpy(rows.label.astype(np.int64)),
        )

    def path_of(self, folder: Path, sequence: str | None = None) -> str:
        """Return the path of a sequence's text.

        Args:
            folder: The sequence's folder, which contains that of the images.
            sequence: Its name; None uses that of the folder.
        """
        path = self.text.replace('{folder}', str(folder))
        return path.replace('{sequence}', sequence or folder.name)

    def _open(self, meta: dict) -> tuple[SequenceFrames, Tracks]:
        """Return frames and detections of a frame's sequence, with frames from 1."""
        folder = Path(meta['img_path']).parent.parent
        path = self.path_of(folder, meta.get('sequence'))
        if self._known is not None and self._known[0] == path:
            if self._known[1] != folder:
                raise ValueError(
                    f'model.detector.text: found {path} for the sequences in '
                    f'{self._known[1]} and {folder}, expected a text for each; write '
                    '{folder} or {sequence} in the path'
                )
        else:
            if not Path(path).is_file():
                raise FileNotFoundError(
                    f'{path}: no such file, expected the detections of a sequence as '
                    'MOTChallenge text; set model.detector.text, or use a config '
                    'with a detector that reads images'
                )
            text = scan_mot_text(path, first_frame=0)
            text.require()
            known = find_frames(folder, allow_mixed=True)
            (frames,) = complete_frames([(known, text)], self.frame_numbers)
            decided = decide_frame_numbers([(frames, text)], self.frame_numbers)
            tracks, keep = text.tracks, ~text.degenerate
            label = np.zeros(len(tracks), dtype=np.int64)
            if self.category_map is not None:
                label = np.full(len(tracks), -1)
                for number, mapped in self.category_map.items():
                    label[tracks.label == number] = mapped
            keep &= (label >= 0) & (tracks.score > self.min_score)
            if len(tracks):
                tracks.frame[:] = decided.place(frames, text)
            tracks.label[:] = label
            self._known = path, folder, frames, tracks.select(keep)
        return self._known[2:]

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Return no features: text has none."""
        return ()

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Raise an error, because text cannot be trained.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            'model.detector.type: found TextDetections, which cannot be trained; train '
            'a BoxFDTA on it, or use a detector'
        )

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> tuple:
        return ()


def text_detector(model: Mapping) -> TextDetections | None:
    """Build the detector of a config's ``model`` if it reads text."""
    settings = model.get('detector') or {}
    if str(settings.get('type')).rpartition('.')[2] != TextDetections.__name__:
        return None
    return MODELS.build(settings)
