# Copyright (c) mmfdta authors.
"""What an export costs: HOTA of the model before and after, on its config's data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmfdta.datasets.transforms.decoding import decode_exact
from mmfdta.evaluation import Evaluation
from mmfdta.evaluation.records import as_written
from mmfdta.evaluation.table import format_trackers
from mmfdta.structures.tracks import Tracks

from ..evaluation_data import EvaluationData
from .pytorch_side import PyTorchSide

if TYPE_CHECKING:
    from ..exported_tracker import ExportedTracker


@dataclass(frozen=True)
class ScoredExport:
    """Scores and tracks of both sides on the same frames.

    Attributes:
        before: Scores of the model in PyTorch.
        after: Scores of the exported one.
        agreement: How alike their tracks are.
    """

    before: Evaluation
    after: Evaluation
    agreement: 'Agreement'

    def describe(self, precision: str) -> str:
        """Write the scores as a table, and how alike the tracks are below it.

        Args:
            precision: Of the exported model.
        """
        sides = {'PyTorch': self.before, f'exported, {precision}': self.after}
        return f'{format_trackers(sides)}\n{self.agreement.describe()}'


@dataclass(frozen=True)
class Agreement:
    """How alike two results are.

    Attributes:
        frames: Number of frames.
        same: Frames in which both sides have the same identities.
        largest: Largest difference of an edge of a box in these frames, in pixels.
    """

    frames: int = 0
    same: int = 0
    largest: float = 0.0

    @classmethod
    def of(cls, before: Tracks, after: Tracks, frames: int) -> 'Agreement':
        """Compare the tracks of a sequence.

        Args:
            before: Of one side.
            after: Of the other.
            frames: Length of the sequence.
        """
        same, largest = 0, 0.0
        for number in range(1, frames + 1):
            one, other = (t.select(t.frame == number) for t in (before, after))
            first, second = np.argsort(one.identity), np.argsort(other.identity)
            if np.array_equal(one.identity[first], other.identity[second]):
                same += 1
                apart = np.abs(one.xyxy[first] - other.xyxy[second])
                largest = max(largest, float(apart.max(initial=0)))
        return cls(frames, same, largest)

    def __add__(self, other: 'Agreement') -> 'Agreement':
        return Agreement(
            self.frames + other.frames,
            self.same + other.same,
            max(self.largest, other.largest),
        )

    def describe(self) -> str:
        """Say it in a line."""
        return (
            f'the same identities in {self.same} of {self.frames} frames, boxes there '
            f'within {self.largest:.3f} px'
        )


def score_export(
    side: PyTorchSide,
    exported: 'ExportedTracker',
    data: EvaluationData,
    on_frame: Callable[[], None] = lambda: None,
) -> ScoredExport:
    """Track and score all sequences of a data set on both sides.

    Both get the pixels that the exported model prepares, whatever the pipeline of the
    data set does.

    Args:
        side: The tracker in PyTorch, with its weights.
        exported: What was made of it.
        data: The data.
        on_frame: Called after each frame.

    Raises:
        OSError: If a frame cannot be read.
        ValueError: If there is no ground truth to score with.
    """
    mot_classes = data.classes.of_benchmark
    before, after, agreement = [], [], Agreement()
    for sequence in data.sequences:
        ours, theirs = [], []
        for index, name in enumerate(sequence.image_names):
            image = np.asarray(decode_exact(str(Path(sequence.image_dir, name))))
            prepared = exported.preprocessor(image[..., ::-1], index)
            _, tracks = side.step(prepared, index)
            ours.append(as_written(tracks, mot_classes))
            (found,) = exported.detect([prepared])
            tracks = exported.associate(found, index + 1)
            theirs.append(as_written(tracks, mot_classes))
            on_frame()
        before.append(Tracks.concatenate(ours))
        after.append(Tracks.concatenate(theirs))
        agreement += Agreement.of(before[-1], after[-1], len(sequence))
    return ScoredExport(data.score(before), data.score(after), agreement)
