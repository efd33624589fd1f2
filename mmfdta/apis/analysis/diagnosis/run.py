# Copyright (c) mmfdta authors.
"""All parts of the diagnosis of one model on one data set, as plain data."""

from collections.abc import Callable, Mapping
from typing import Any

from mmfdta.structures.tracks import Tracks

from ...detection_store import SequenceDetections, detects_apart
from ...evaluation_data import EvaluationData
from ...sequence_loop import SequenceLoop
from ..tune_thresholds import Tuner
from .bounds import measure_bounds
from .causes import BY_DETECTOR, explain_births, explain_misses, explain_switches
from .recording import SequenceEvidence, record_evidence
from .separability import clip_settings, measure_similarity, shows_layers
from .thresholds import measure_thresholds, plan_thresholds
from .words import measure_competition

# Clips of each sequence whose embeddings are compared.
_CLIPS = 2


class Diagnosis:
    """Looks for what makes a tracker lose identities.

    Args:
        loop: The tracker on its data.
        data: The same data, with ground truth.
        tracker_cfg: Config of the tracker.
        steps: Values to each side that are tried of every threshold; 0 tries none.

    Raises:
        ValueError: If the model does not track, or there is no ground truth.
    """

    def __init__(
        self,
        loop: SequenceLoop,
        data: EvaluationData,
        tracker_cfg: Mapping,
        steps: int = 1,
    ) -> None:
        model = loop.model
        if not hasattr(model, 'tracker'):
            raise ValueError(
                f'model.type: found {type(model).__name__}, expected a tracker: FDTA, '
                'MOTIP, TrackingByDetection or another model with a tracker'
            )
        if not sum(map(len, data.scored)):
            raise ValueError(
                f'{data.describe()}: found no object that counts in the ground truth, '
                'expected some; choose another split or other sequences'
            )
        self.loop = loop
        self.data = data
        self.tracker_cfg = tracker_cfg
        self.apart = detects_apart(model)
        self.plan: dict[str, list[float]] = {}
        if self.apart and steps:
            window = getattr(model, 'window', None)
            # The window includes the frames before and after the gap.
            longest = None if window is None else window - 2
            self.plan = plan_thresholds(
                model.tracker, steps, loop.lowest_score, longest
            )

    @property
    def frames(self) -> int:
        """Frames that are tracked in all, each of them several times."""
        others = [len(values) - 1 for values in self.plan.values()]
        passes = 1 + self.apart + (1 + sum(others) if others else 0)
        return passes * sum(map(len, self.data.sequences))

    def detect(
        self, on_frame: Callable[[], None] | None = None
    ) -> list[SequenceDetections] | None:
        """Return the detections of all sequences; None if detection is not apart.

        Args:
            on_frame: Called after each frame that is looked at.

        Raises:
            ValueError: If there is none at all.
        """
        if not self.apart:
            return None
        detections = self.loop.detect_all(on_frame)
        if not any(len(found) for of in detections for found in of.frames):
            raise ValueError(
                f'{self.data.describe()}: found no detection with a score above '
                f'{self.loop.lowest_score:g}, so that there is nothing to diagnose; '
                'do the weights belong to the config, and were they trained?'
            )
        return detections

    def run(
        self,
        detections: list[SequenceDetections] | None,
        on_frames: Callable[[int], None] | None = None,
    ) -> dict[str, Any]:
        """Track, look for causes, and track again with parts replaced.

        Args:
            detections: What :meth:`detect` returned.
            on_frames: Called with the number of frames that were tracked since.

        Returns:
            The parts, as docs/diagnose.md lists them.
        """

        def count(frames: int = 1) -> None:
            if on_frames is not None:
                on_frames(frames)

        lengths = [len(sequence) for sequence in self.data.sequences]
        done = iter(lengths)
        evidence = record_evidence(
            self.loop, self.data, detections, on_sequence=lambda: count(next(done))
        )
        tracks = [one.run.tracks for one in evidence]
        given = [part for one in evidence if (part := _taking_part(one)) is not None]
        bounds = measure_bounds(
            self.loop,
            detections,
            given if len(given) == len(evidence) else None,
            tracks,
            self.data,
            count,
        )
        effects = None
        if self.plan and detections is not None:
            tuner = Tuner(
                self.loop,
                detections,
                self.data,
                self.tracker_cfg,
                lambda trial: count(sum(lengths)),
            )
            effects = measure_thresholds(tuner, self.loop.model.tracker, self.plan)
        separability = None
        if any('embeddings' in of.frames[0] for of in detections or ()):
            score_thr, length = clip_settings(self.loop.model)
            separability = measure_similarity(
                self.loop,
                self.data,
                score_thr,
                length,
                _CLIPS,
                by_layer=shows_layers(self.loop.model),
                detections=detections,
            )
        misses = explain_misses(evidence)
        competition = measure_competition(evidence)
        return dict(
            bounds=bounds.summary(),
            switches=explain_switches(evidence).summary(),
            competition=None if competition is None else competition.summary(),
            births=explain_births(evidence).summary(),
            misses=misses.summary()
            | dict(by_detector=sum(misses.causes[key] for key in BY_DETECTOR)),
            separability=None if separability is None else separability.summary(),
            thresholds=effects and {e.name: e.summary() for e in effects},
        )


def _taking_part(evidence: SequenceEvidence) -> Tracks | None:
    """The detections that took part in association; None where that is not known."""
    run = evidence.run
    if run.detections is None or run.words is None:
        return run.detections
    return run.detections.select(run.words.row)
