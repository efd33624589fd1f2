# Copyright (c) mmfdta authors.
"""How alike the embeddings of objects are (figure 1 of the paper)."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmfdta.datasets import MOTSequenceDataset
from mmfdta.models import FDTA
from mmfdta.models.detectors import DetectorOutputs
from mmfdta.structures.mot_text import write_text_atomic
from mmfdta.visualization import SimilarityPanel, plot_similarity, save_figure

from ..progress import Progress
from .detection import add_model_arguments, detect_clip, open_model

_BINS = 200
_MIN_IOU = 0.5


@dataclass
class Similarities:
    """Cosine similarities, counted.

    Attributes:
        threshold (float): Similarities above it are counted exactly.
        different (np.ndarray): int64 (200,), pairs of different objects in one
            frame, in equal bins from -1 to 1.
        same (np.ndarray): int64 (200,), pairs of one object in two frames.
        above_different (int): Of the first, those above the threshold.
        above_same (int): Of the second.
        sum_different (float): Their sum.
        sum_same (float): Their sum.
    """

    threshold: float = 0.9
    different: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    same: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    above_different: int = 0
    above_same: int = 0
    sum_different: float = 0.0
    sum_same: float = 0.0

    def add(self, features: Tensor, frames: Tensor, identities: Tensor) -> None:
        """Count the pairs of a clip.

        Args:
            features (Tensor): (M, C), one for each object and frame.
            frames (Tensor): int64 (M,).
            identities (Tensor): int64 (M,).
        """
        unit = F.normalize(features.double(), dim=-1)
        similarity = (unit @ unit.T).clamp(-1, 1)
        same_frame = frames[:, None] == frames
        same_object = identities[:, None] == identities
        once = torch.ones_like(same_frame).triu(1)
        for name, pairs in (
            ('different', same_frame & ~same_object & once),
            ('same', same_object & ~same_frame & once),
        ):
            values = similarity[pairs]
            counts = torch.histc(values.cpu(), _BINS, -1, 1).long().numpy()
            setattr(self, name, getattr(self, name) + counts)
            above = int((values > self.threshold).sum())
            total = float(values.sum())
            setattr(self, f'above_{name}', getattr(self, f'above_{name}') + above)
            setattr(self, f'sum_{name}', getattr(self, f'sum_{name}') + total)

    def panel(self, title: str) -> SimilarityPanel:
        """Return what is plotted."""
        return SimilarityPanel(
            title=title,
            edges=np.linspace(-1, 1, _BINS + 1),
            different=self.different,
            same=self.same,
            threshold=self.threshold,
            share_different=self.above_different / max(1, self.different.sum()),
            share_same=self.above_same / max(1, self.same.sum()),
        )

    def summary(self) -> dict:
        """Return what is kept as JSON."""
        sides = {}
        for name in ('different', 'same'):
            counts = getattr(self, name)
            pairs = int(counts.sum())
            sides[name] = dict(
                pairs=pairs,
                mean=getattr(self, f'sum_{name}') / max(1, pairs),
                share_above=getattr(self, f'above_{name}') / max(1, pairs),
                histogram=counts.tolist(),
            )
        return sides


@dataclass(frozen=True)
class MatchedClip:
    """Embeddings of the annotated objects of a clip.

    Attributes:
        embeddings (Tensor): (M, C) of the matched queries.
        frames (Tensor): int64 (M,), 0 to T - 1.
        identities (Tensor): int64 (M,), 0 to N - 1.
        num_frames (int): T.
        num_annotated (int): Annotated boxes, found or not.
    """

    embeddings: Tensor
    frames: Tensor
    identities: Tensor
    num_frames: int
    num_annotated: int


def match_clip(
    outputs: DetectorOutputs, frames: list[DetDataSample], score_thr: float
) -> MatchedClip:
    """Find the detection of every annotated object.

    Args:
        outputs (DetectorOutputs): Of the T frames.
        frames (list[DetDataSample]): The frames with ground truth.
        score_thr (float): Only detections with a higher score count.

    Returns:
        MatchedClip: One row for each object with an IoU of at least 0.5.
    """
    scores = outputs.cls_scores[-1].sigmoid().amax(-1)
    rows, times, names, annotated = [], [], [], 0
    for t, frame in enumerate(frames):
        height, width = frame.img_shape
        scale = scores.new_tensor([width, height, width, height])
        query = (scores[t] > score_thr).nonzero()[:, 0]
        boxes = bbox_cxcywh_to_xyxy(outputs.bbox_preds[-1, t, query]) * scale
        truth = frame.gt_instances
        annotated += len(truth)
        iou = bbox_overlaps(boxes, truth.bboxes.to(boxes)).cpu()
        found, target = linear_sum_assignment(iou.numpy(), maximize=True)
        good = iou[found, target] >= _MIN_IOU
        rows.append(outputs.embeddings[t, query[torch.from_numpy(found)[good]]])
        names.append(truth.instances_ids.cpu()[torch.from_numpy(target)[good]])
        times += [t] * int(good.sum())
    identities = torch.cat(names).unique(return_inverse=True)[1]
    embeddings = torch.cat(rows)
    device = embeddings.device
    return MatchedClip(
        embeddings,
        torch.tensor(times, dtype=torch.long, device=device),
        identities.to(device),
        len(frames),
        annotated,
    )


def list_stages(model: FDTA) -> list[str]:
    """Name the places at which embeddings are compared, in order."""
    stages = ['detector']
    if model.identity_adapter is not None:
        stages.append('identity adapter')
    if model.temporal_adapter is not None:
        stages.append('temporal adapter')
    return [*stages, 'trajectory modelling']


@torch.no_grad()
def features_by_stage(model: FDTA, clip: MatchedClip) -> dict[str, Tensor]:
    """Follow the embeddings of a clip through the adapters.

    Args:
        model (FDTA): In evaluation mode.
        clip (MatchedClip): The objects.

    Returns:
        dict[str, Tensor]: (M, C) for each of :func:`list_stages`. The identity
        adapter projects single embeddings, the temporal adapter and trajectory
        modelling refine trajectories over the clip.
    """
    embeddings = clip.embeddings
    features = {'detector': embeddings}
    if model.identity_adapter is not None:
        features['identity adapter'] = model.identity_adapter(embeddings)
    if not len(embeddings):
        return dict.fromkeys(list_stages(model), embeddings)
    num_ids = int(clip.identities.max()) + 1
    at = clip.frames, clip.identities
    trajectories = embeddings.new_zeros(clip.num_frames, num_ids, embeddings.shape[-1])
    missing = torch.ones(
        clip.num_frames, num_ids, dtype=torch.bool, device=embeddings.device
    )
    trajectories[at] = embeddings
    missing[at] = False
    if model.temporal_adapter is not None:
        features['temporal adapter'] = model.temporal_adapter(trajectories, missing)[at]
    features['trajectory modelling'] = model.refine(trajectories, missing)[at]
    return features


def cut_clips(
    dataset: MOTSequenceDataset, clip_length: int, clips_per_sequence: int
) -> Iterator[tuple[int, list[int]]]:
    """Choose clips spread evenly over every sequence.

    Args:
        dataset (MOTSequenceDataset): The data.
        clip_length (int): Frames T of a clip; shorter sequences give all.
        clips_per_sequence (int): At most so many clips, which do not overlap.

    Yields:
        tuple[int, list[int]]: Sequence and frames.
    """
    for index, sequence in enumerate(dataset.sequences):
        if sequence.annotations is None:
            raise ValueError(
                f'sequence {sequence.name!r} has no ground truth, which similarities '
                'are measured by; choose another split'
            )
        length = min(clip_length, len(sequence))
        count = min(clips_per_sequence, len(sequence) // length)
        starts = np.linspace(0, len(sequence) - length, count).astype(int)
        for start in starts:
            yield index, list(range(start, start + length))


def measure_similarity(
    model: FDTA,
    dataset: MOTSequenceDataset,
    clip_length: int = 30,
    clips_per_sequence: int = 4,
    threshold: float = 0.9,
    batch_size: int = 8,
    progress: bool = False,
) -> tuple[dict[str, Similarities], float]:
    """Compare the embeddings of the objects of a data set at every stage.

    Args:
        model (FDTA): In evaluation mode.
        dataset (MOTSequenceDataset): The data, with ground truth.
        clip_length (int): Frames that are looked at together; at most what the
            model was trained with.
        clips_per_sequence (int): Clips of each sequence.
        threshold (float): Whose excess is counted.
        batch_size (int): Frames the detector takes at a time.
        progress (bool): Show a progress bar.

    Returns:
        tuple[dict[str, Similarities], float]: By stage, and the share of the
        annotated boxes that were found.
    """
    stages = {name: Similarities(threshold) for name in list_stages(model)}
    clips = list(cut_clips(dataset, clip_length, clips_per_sequence))
    bar = Progress(len(clips), unit='clips') if progress else None
    matched = annotated = 0
    for sequence, frames in clips:
        parts, samples = [], []
        for start in range(0, len(frames), batch_size):
            chunk = frames[start : start + batch_size]
            outputs, found = detect_clip(model, dataset, sequence, chunk)
            parts.append(outputs)
            samples += found
        order = torch.arange(len(frames), device=parts[0].embeddings.device)
        outputs = DetectorOutputs.merge(parts, order)
        clip = match_clip(outputs, samples, model.tracker.det_thr)
        for name, features in features_by_stage(model, clip).items():
            stages[name].add(features, clip.frames, clip.identities)
        matched += len(clip.embeddings)
        annotated += clip.num_annotated
        if bar is not None:
            bar.update()
    if bar is not None:
        bar.close()
    return stages, matched / max(1, annotated)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser('python -m mmfdta similarity', description=__doc__)
    add_model_arguments(parser)
    parser.add_argument(
        '--out', required=True, help='folder for similarity.png and similarity.json'
    )
    parser.add_argument(
        '--clip-length',
        type=int,
        help='frames compared with each other; the history the model knows',
    )
    parser.add_argument(
        '--clips', type=int, default=4, help='clips of each sequence (default: 4)'
    )
    parser.add_argument(
        '--threshold',
        type=float,
        default=0.9,
        help='similarity above which pairs are counted (default: 0.9)',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=8,
        help='frames the detector takes at a time (default: 8)',
    )
    return parser


def main(arguments: list[str]) -> None:
    """Measure and plot as the arguments say.

    Raises:
        SystemExit: If the arguments are wrong.
    """
    options = build_parser().parse_args(arguments)
    try:
        model, dataset, config = open_model(options)
        longest = model.id_decoder.max_relative_time
        stages, found = measure_similarity(
            model,
            dataset,
            min(options.clip_length or longest, longest),
            options.clips,
            options.threshold,
            options.batch_size,
            progress=True,
        )
        report = dict(
            config=options.config,
            checkpoint=options.checkpoint,
            data=options.data,
            threshold=options.threshold,
            found=found,
            bins=[-1, 1, _BINS],
            stages={name: stage.summary() for name, stage in stages.items()},
        )
        out = Path(options.out)
        write_text_atomic(out / 'similarity.json', json.dumps(report, indent=1) + '\n')
        panels = [stage.panel(name) for name, stage in stages.items()]
        figure = plot_similarity(panels, Path(options.config).stem)
        save_figure(figure, out / 'similarity.png')
    except (OSError, ValueError) as error:
        sys.exit(f'mmfdta similarity: {error}')
    print(f'{found:.1%} of the annotated boxes were found. Similarity above', end=' ')
    print(
        f'{options.threshold:g} (different objects of a frame | one object over time):'
    )
    for name, stage in stages.items():
        panel = stage.panel(name)
        print(f'  {name:<22}{panel.share_different:7.1%} | {panel.share_same:.1%}')
    print(f'Wrote {out / "similarity.png"} and {out / "similarity.json"}')
