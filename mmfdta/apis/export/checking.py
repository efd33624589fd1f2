# Copyright (c) mmfdta authors.
"""Compare an exported model with the one in PyTorch, on the same frames."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from mmfdta.models.trackers import TrajectoryHistory
from mmfdta.runtime.association import AssociationScorer
from mmfdta.runtime.detection import Detections
from mmfdta.runtime.sessions import open_session
from mmfdta.structures.tracks import Tracks

from ..exported_tracker import ExportedTracker
from ..frame_preprocessing import FramePreprocessor, collate_frames
from .check_frames import CheckFrames
from .detector_graph import DetectorGraph
from .graphs import AssociationGraph
from .pytorch_side import Asked, PyTorchSide
from .scoring import Agreement

BOX_TOLERANCE = 0.05
"""Pixels that a box may differ by in float32."""
SCORE_TOLERANCE = 1e-3
"""What a score or an identity's score may differ by in float32."""
# The best detections of a frame, which are compared whatever their scores are.
_BEST = 100


@dataclass(frozen=True)
class Differences:
    """The largest differences between both sides.

    Attributes:
        frames: How many frames were compared.
        origin: What frames these were.
        detections: How many detections were compared.
        boxes: Of an edge of a detected box, in pixels of the original frame.
        scores: Of the score of a detection.
        embeddings: Of a channel of an embedding; None without association.
        id_scores: Of the score of an identity; None without association.
        tracked: How many boxes PyTorch tracked.
        same_identities: In how many frames both sides have the same identities.
        tracks: Of an edge of a tracked box in these frames, in pixels.
    """

    frames: int
    origin: str
    detections: int
    boxes: float
    scores: float
    embeddings: float | None
    id_scores: float | None
    tracked: int
    same_identities: int
    tracks: float

    def to_dict(self) -> dict[str, Any]:
        """Return what ``model.json`` keeps."""
        return {
            name: float(f'{value:.3g}') if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    def describe(self) -> str:
        """Write them in a few lines."""
        parts = [f'boxes {self.boxes:.2g} px', f'scores {self.scores:.2g}']
        if self.embeddings is not None:
            parts.append(f'embeddings {self.embeddings:.2g}')
        if self.id_scores is not None:
            parts.append(f'scores of identities {self.id_scores:.2g}')
        tracks = (
            f'the same identities in {self.same_identities} of {self.frames} frames '
            f'({self.tracked} boxes), boxes within {self.tracks:.2g} px'
            if self.tracked
            else 'nothing was tracked'
        )
        return (
            f'checked on {self.origin}\n'
            f'  largest differences of {self.detections} detections: '
            f'{", ".join(parts)}\n'
            f'  tracks: {tracks}'
        )

    def mismatch(self) -> str | None:
        """Say in a line what is not equal; None if all is."""
        for what, found, tolerance in (
            ('boxes of detections (px)', self.boxes, BOX_TOLERANCE),
            ('scores of detections', self.scores, SCORE_TOLERANCE),
            ('scores of identities', self.id_scores or 0.0, SCORE_TOLERANCE),
            ('boxes of tracks (px)', self.tracks, BOX_TOLERANCE),
        ):
            if not found <= tolerance:
                return (
                    f'{what} differ by {found:.3g} from PyTorch on {self.origin}, '
                    f'expected at most {tolerance:g}'
                )
        if self.same_identities < self.frames:
            return (
                f'only {self.same_identities} of {self.frames} frames have the '
                f'identities that PyTorch gives on {self.origin}'
            )
        return None


@dataclass
class _Largest:
    """Largest differences so far."""

    values: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, name: str, one: np.ndarray, other: np.ndarray) -> None:
        """Look at two arrays of one shape."""
        apart = np.abs(one.astype(np.float64) - other)
        # What is no number differs.
        largest = np.nan_to_num(apart, nan=np.inf).max(initial=0.0)
        self.values[name] = max(self.values.get(name, 0.0), float(largest))

    def compare(self, ours: Detections, theirs: Detections) -> None:
        """Compare the best detections of PyTorch with those of the other side."""
        best = np.argsort(-ours.scores, kind='stable')[:_BEST]
        pairs = best, best
        if len(ours.scores) != len(theirs.scores) or not _alike(ours, theirs, best):
            # Equal scores may come in another order.
            apart = _distances(ours, theirs, best)
            rows, columns = linear_sum_assignment(apart)
            pairs = best[rows], columns
            # What only one side has is nothing, with score 0, on the other.
            lost = np.setdiff1d(np.arange(len(best)), rows)
            self.add('scores', ours.scores[best[lost]], np.zeros(1))
            if len(best) == len(ours.scores):
                added = np.setdiff1d(np.arange(len(theirs.scores)), columns)
                self.add('scores', theirs.scores[added], np.zeros(1))
        one, other = pairs
        self.add('boxes', ours.bboxes[one], theirs.bboxes[other])
        self.add('scores', ours.scores[one], theirs.scores[other])
        if ours.embeddings is not None and theirs.embeddings is not None:
            self.add('embeddings', ours.embeddings[one], theirs.embeddings[other])
        self.count += len(best)


def _alike(ours: Detections, theirs: Detections, rows: np.ndarray) -> bool:
    close = np.abs(ours.bboxes[rows] - theirs.bboxes[rows]).max(initial=0)
    return bool(
        close <= BOX_TOLERANCE
        and np.array_equal(ours.labels[rows], theirs.labels[rows])
    )


def _distances(ours: Detections, theirs: Detections, rows: np.ndarray) -> np.ndarray:
    """How far detections (n,) of one side are from all (m,) of the other: (n, m)."""
    boxes = np.abs(ours.bboxes[rows][:, None] - theirs.bboxes).max(-1)
    scores = np.abs(ours.scores[rows][:, None] - theirs.scores)
    labels = ours.labels[rows][:, None] != theirs.labels
    return np.nan_to_num(boxes + 100 * scores + 1e4 * labels, nan=1e6, posinf=1e6)


def compare_sides(
    model: nn.Module,
    graph: DetectorGraph,
    folder: Path,
    frames: CheckFrames,
    preprocessor: FramePreprocessor,
    on_frame: Callable[[], None] = lambda: None,
) -> Differences:
    """Run both sides on frames.

    Args:
        model: The tracker in PyTorch, in evaluation mode.
        graph: Of its detector.
        folder: The exported model.
        frames: What on; tracked as one video.
        preprocessor: What prepares frames for PyTorch.
        on_frame: Called after each frame.

    Raises:
        ValueError: If both sides do not get the same pixels.
    """
    exported = ExportedTracker(folder)
    asked: list[Asked] = []
    side = PyTorchSide(model, graph, asked)
    largest = _Largest()
    ours_all, theirs_all = [], []
    for index, image in enumerate(frames.images):
        prepared = exported.model.input(image)
        _check_pixels(side, prepared, preprocessor(image, index))
        ours, our_tracks = side.step(prepared, index)
        (theirs,) = exported.detect([prepared])
        largest.compare(ours, theirs)
        ours_all.append(our_tracks)
        theirs_all.append(exported.associate(theirs, index + 1))
        on_frame()
    path = exported.model.association_path
    if path is not None:
        _compare_scores(side, asked, path, largest)
    before = Tracks.concatenate(ours_all)
    count = len(frames.images)
    agreement = Agreement.of(before, Tracks.concatenate(theirs_all), count)
    values = largest.values
    return Differences(
        frames=count,
        origin=frames.origin,
        detections=largest.count,
        boxes=values.get('boxes', 0.0),
        scores=values.get('scores', 0.0),
        embeddings=values.get('embeddings'),
        id_scores=values.get('id_scores'),
        tracked=len(before),
        same_identities=agreement.same,
        tracks=agreement.largest,
    )


def _compare_scores(
    side: PyTorchSide, asked: list[Asked], path: Path, largest: _Largest
) -> None:
    """Compare scores of identities: those that were asked for, and made-up ones."""
    scorer = AssociationScorer(open_session(path))
    model = side.model
    tracker = side.tracker
    words = tracker.num_id_vocabulary
    made_up = AssociationGraph(model)
    asked = list(asked)
    for sizes in ((1, 1, 1), (tracker.max_history, words, words + 3)):
        example = made_up.example(*sizes)
        embeddings = example.pop('embeddings')
        history = TrajectoryHistory(
            example['features'], example['missing'], example['words']
        )
        with torch.no_grad():
            scores = model.score_identities(history, embeddings)
        asked.append((history, embeddings, scores.float().numpy()))
    for history, embeddings, scores in asked:
        arrays = history.features, history.masks, history.id_labels, embeddings
        largest.add('id_scores', scores, scorer(*(x.numpy() for x in arrays)))


def _check_pixels(side: PyTorchSide, prepared: Any, sample: dict) -> None:
    """Compare normalised pixels with what the config's own pipeline gives.

    A frame that is shrunk for a fixed size has others.
    """
    height, width = sample['data_samples'][0].img_shape[:2]
    if (height, width) != tuple(prepared.shape):
        if side.graph.size is not None:
            return
        raise ValueError(
            'test pipeline: the exported model resizes frames to '
            f'{prepared.shape[1]}x{prepared.shape[0]}, and PyTorch to {width}x{height}'
        )
    data = side.model.data_preprocessor(collate_frames([sample]))
    theirs = data['inputs']
    theirs = theirs['img'] if isinstance(theirs, dict) else theirs
    ours, _ = side.inputs(prepared)
    ours, theirs = (x[..., :height, :width] for x in (ours, theirs.flatten(0, 1)))
    if not torch.equal(ours, theirs):
        apart = float((ours - theirs).abs().max())
        raise ValueError(
            'test pipeline: the exported model prepares other pixels than PyTorch; '
            f'after normalisation they differ by {apart:.3g}'
        )
