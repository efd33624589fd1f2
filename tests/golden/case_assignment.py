# Copyright (c) mmfdta authors.
"""Golden case ``assignment``: the tracker on scripted detector outputs."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from case_models import build_model, tensors
from mmdet.structures import DetDataSample
from torch import Tensor

from mmfdta.models import FDTATracker
from mmfdta.models.detectors import host_detections

PROTOCOLS = ('object-max', 'hungarian', 'id-max')


def _tracker(settings: dict, protocol: str) -> FDTATracker:
    options = settings['tracker']
    return FDTATracker(
        miss_tolerance=options['miss_tolerance'],
        det_thr=options['det_thresh'],
        newborn_thr=options['newborn_thresh'],
        id_thr=options['id_thresh'],
        area_thr=options['area_thresh'],
        protocol=protocol,
    )


def _detected(
    boxes: Tensor, scores: Tensor, embeddings: Tensor, size: tuple[int, int]
) -> DetDataSample:
    frame = DetDataSample()
    labels = torch.zeros(len(scores), dtype=torch.int64)
    columns = (x[None] for x in (boxes, scores, labels))
    (frame.pred_instances,) = host_detections(*columns, [size], embeddings[None])
    return frame


def _replay(
    tracker: FDTATracker,
    x: dict[str, Tensor],
    scenario: str,
    size: tuple[int, int],
    scorer: Callable[[int], Callable],
) -> dict[str, np.ndarray]:
    """Feed all frames; rows as in the golden file.

    The released `id-max` fails on a frame without detections, which leaves its
    state as it was; such a frame is skipped there to see the rest.
    """
    rows = {'frame': [], 'id': [], 'xywh': [], 'score': []}
    logits, boxes = x[f'{scenario}_pred_logits'], x[f'{scenario}_pred_boxes']
    tracker.reset()
    for t in range(len(logits)):
        scores = logits[t, :, 0].sigmoid()
        if tracker.protocol == 'id-max' and not (scores > tracker.det_thr).any():
            continue
        tracks = tracker.track(
            _detected(boxes[t], scores, x[f'{scenario}_outputs'][t], size),
            score_identities=scorer(t),
        )
        xywh = tracks.bboxes.clone()
        xywh[:, 2:] -= xywh[:, :2]
        rows['frame'].append(torch.full((len(xywh),), t))
        rows['id'].append(tracks.instances_id)
        rows['xywh'].append(xywh)
        rows['score'].append(tracks.scores)
    return {k: torch.cat(v).numpy() for k, v in rows.items()}


def _inputs(inputs: dict) -> dict[str, Tensor]:
    """Detector outputs of both scenarios, embeddings padded to 256 channels."""
    x = tensors(inputs)
    for scenario in ('real', 'scripted'):
        if f'{scenario}_outputs' in x:
            embeddings = x[f'{scenario}_outputs']
            x[f'{scenario}_outputs'] = F.pad(
                embeddings, (0, 256 - embeddings.shape[-1])
            )
    return x


def _recorded(logits: Tensor) -> Callable[[int], Callable]:
    """Scorers that answer with recorded ID logits (frames, M, K + 1)."""

    def scorer(t: int) -> Callable:
        return lambda history, embeddings: logits[t, : len(embeddings)].softmax(-1)

    return scorer


@torch.no_grad()
def run_assignment(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """The ``real`` scenario with the networks, ``scripted`` with given ID logits."""
    x = _inputs(inputs)
    scorers: dict[str, dict[str, Callable]] = {p: {} for p in PROTOCOLS}
    if 'real_pred_logits' in x:
        model = build_model(settings['cfg'], seed).eval()
        for protocol in PROTOCOLS:
            scorers[protocol]['real'] = lambda t: model.score_identities
    for protocol in PROTOCOLS:
        recorded = x.get(f'scripted_{protocol.replace("-", "_")}_id_logits')
        if 'scripted_pred_logits' in x and recorded is not None:
            scorers[protocol]['scripted'] = _recorded(recorded)
    outputs = {}
    for protocol, by_scenario in scorers.items():
        for scenario, scorer in by_scenario.items():
            tracker = _tracker(settings, protocol)
            rows = _replay(tracker, x, scenario, tuple(settings['hw']), scorer)
            prefix = f'{scenario}_{protocol.replace("-", "_")}'
            outputs |= {f'{prefix}_{k}': v for k, v in rows.items()}
    return outputs
