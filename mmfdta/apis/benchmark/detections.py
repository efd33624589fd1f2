# Copyright (c) mmfdta authors.
"""What a detector found in a sequence, and how long it took, as a file."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmfdta.structures.whole_files import open_whole

TIMED = ('decode', 'preprocess', 'detector')
"""Stages that trackers with one detector share."""
_COLUMN = 'column_'


@dataclass(frozen=True)
class SequenceDetections:
    """Outputs of a detector for the L frames of a sequence.

    Attributes:
        frames (list[dict[str, Tensor]]): For each frame, columns of n rows each.
        seconds (np.ndarray): float64 (L, 3), the times of :data:`TIMED`.
        shapes (dict): ``ori_shape``, ``img_shape`` and ``scale_factor``.
    """

    frames: list[dict[str, Tensor]]
    seconds: np.ndarray
    shapes: dict

    def save(self, path: Path) -> None:
        """Write a file that is whole or not there.

        Args:
            path (Path): Where to.
        """
        counts = [len(next(iter(frame.values()))) for frame in self.frames]
        columns = {
            _COLUMN + name: torch.cat([frame[name] for frame in self.frames]).numpy()
            for name in self.frames[0]
        }
        with open_whole(path) as file:
            np.savez(
                file,
                counts=counts,
                seconds=self.seconds,
                shapes=json.dumps(self.shapes),
                **columns,
            )

    @classmethod
    def load(cls, path: Path) -> 'SequenceDetections':
        """Read a file.

        Args:
            path (Path): What :meth:`save` wrote.

        Returns:
            SequenceDetections: Its content.
        """
        with np.load(path, allow_pickle=False) as file:
            counts = file['counts'].tolist()
            parts = {
                name.removeprefix(_COLUMN): torch.from_numpy(file[name]).split(counts)
                for name in file.files
                if name.startswith(_COLUMN)
            }
            shapes = {k: tuple(v) for k, v in json.loads(str(file['shapes'])).items()}
            seconds = file['seconds']
        frames = [
            {name: part[i] for name, part in parts.items()} for i in range(len(counts))
        ]
        return cls(frames, seconds, shapes)
