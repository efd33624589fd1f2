# Copyright (c) mmfdta authors.
"""A whole frame and tracked videos on the GPU against the CPU, in float32."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from mmfdta.structures.tracks import Tracks

from .bench import CONFIGS, Bench
from .checks import Found, check, judge
from .comparing import difference

FRAME = 5e-4
PIXELS = 0.5


def track(
    bench: Bench, tracker: str, device: torch.device | str, **options: Any
) -> list[Tracks]:
    """Track the bench's video frame by frame.

    Args:
        bench: The workbench.
        tracker: One of `CONFIGS`.
        device: Where.
        **options: Of `Bench.inferencer`.
    """
    inferencer = bench.inferencer(tracker, bench.frame_size, device, **options)
    return [inferencer.step(frame) for frame in bench.video()]


def on_cpu(bench: Bench, tracker: str, **options: Any) -> list[Tracks]:
    """The same on the CPU in float32, once for all checks of the process."""
    name = f'{tracker} {options} on the CPU'
    return bench.remember(name, lambda: track(bench, tracker, 'cpu', **options))


@dataclass(frozen=True)
class Agreement:
    """How much two trackers of a video agree.

    Attributes:
        frames: Frames with the same identities and boxes.
        of_frames: All frames.
        boxes: Boxes that both give the same identity, at most `PIXELS` apart.
        of_boxes: All boxes: of each frame as many as the tracker gives that has more.
        kept: Share of them whose identity is in the same frame of the other.
        pixels: The largest distance of an edge of boxes of one identity.
    """

    frames: int
    of_frames: int
    boxes: int
    of_boxes: int
    kept: float
    pixels: float

    @property
    def share(self) -> float:
        """Of the boxes."""
        return self.boxes / self.of_boxes if self.of_boxes else 0.0

    @property
    def text(self) -> str:
        """For people."""
        return (
            f'{self.frames} of {self.of_frames} frames, {self.boxes} of '
            f'{self.of_boxes} boxes, {self.pixels:.2g} pixels'
        )


def agreement(found: Sequence[Tracks], expected: Sequence[Tracks]) -> Agreement:
    """Compare the tracks of a video, given frame by frame."""
    frames = boxes = kept = total = 0
    pixels = 0.0
    for one, other in zip(found, expected, strict=True):
        _, i, j = np.intersect1d(one.identity, other.identity, return_indices=True)
        far = abs(one.xyxy[i] - other.xyxy[j]).max(1) if len(i) else np.zeros(0)
        close = int((far <= PIXELS).sum())
        frames += len(one.identity) == len(other.identity) == close
        boxes += close
        kept += len(i)
        # What only one of them tracks is no agreement, whichever it is.
        total += max(len(one.identity), len(other.identity))
        pixels = max(pixels, float(far.max(initial=0.0)))
    share = kept / total if total else 0.0
    return Agreement(frames, len(expected), boxes, total, share, pixels)


def judge_tracks(
    found: Sequence[Tracks], expected: Sequence[Tracks], share: float = 1.0
) -> Found:
    """Judge tracks of which a share of the boxes has to be the same."""
    both = agreement(found, expected)
    return judge(both.share >= share, both.text, **asdict(both))


@check(
    'tracking',
    'FDTA, one frame',
    'scores, boxes, embeddings and depth of all queries',
    f'{FRAME:g} of their norm',
)
def _frame(bench: Bench) -> Found:
    outputs = []
    for device in (bench.device, torch.device('cpu')):
        inferencer = bench.inferencer('FDTA', bench.frame_size, device)
        detector = inferencer.model.detector
        detect = detector.detect

        def keep(*arguments: Any, detect: Any = detect) -> Any:
            outputs.append(detect(*arguments))
            return outputs[-1]

        detector.detect = keep
        inferencer.step(bench.video(1)[0])
    found, expected = (
        [out.cls_scores.sigmoid(), out.bbox_preds, out.embeddings, out.depth_logits]
        for out in outputs
    )
    off = [difference([a], [b]) for a, b in zip(found, expected, strict=True)]
    names = 'scores', 'boxes', 'embeddings', 'depth'
    text = ', '.join(f'{n} {x:.1e}' for n, x in zip(names, off, strict=True))
    return judge(max(off) <= FRAME, text, **dict(zip(names, off, strict=True)))


def _register_videos() -> None:
    compared = 'identities and boxes of a video, frame by frame'
    for tracker in CONFIGS:
        # Deep and random, YOLOX makes much of little; overlaps of its boxes are nearly
        # equal in places.
        share = 0.8 if tracker == 'ByteTrack' else 1.0

        def run(bench: Bench, tracker: str = tracker, share: float = share) -> Found:
            found = track(bench, tracker, bench.device)
            return judge_tracks(found, on_cpu(bench, tracker), share)

        allowed = f'{share:.0%} of the boxes the same, within {PIXELS:g} pixels'
        check('tracking', f'{tracker}, a video', compared, allowed)(run)


_register_videos()
