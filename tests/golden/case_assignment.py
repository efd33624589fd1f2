# Copyright (c) mmfdta authors.
"""Golden case ``assignment``: the tracker on scripted detector outputs."""

from collections.abc import Callable

import numpy as np
import torch
from case_models import build_model, tensors
from torch import Tensor

from mmfdta.models import FDTATracker

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
    logits, boxes = x[f'in_{scenario}_logits'], x[f'in_{scenario}_boxes']
    tracker.reset()
    for t in range(len(logits)):
        scores = logits[t, :, 0].sigmoid()
        if tracker.protocol == 'id-max' and not (scores > tracker.det_thr).any():
            continue
        tracks = tracker.track(
            boxes=boxes[t],
            scores=scores,
            labels=torch.zeros(len(scores), dtype=torch.int64),
            embeddings=x[f'in_{scenario}_outputs'][t],
            image_size=size,
            id_scorer=scorer(t),
        )
        xywh = tracks.bboxes.clone()
        xywh[:, 2:] -= xywh[:, :2]
        rows['frame'].append(torch.full((len(xywh),), t))
        rows['id'].append(tracks.ids)
        rows['xywh'].append(xywh)
        rows['score'].append(tracks.scores)
    return {k: torch.cat(v).numpy() for k, v in rows.items()}


def run_assignment(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """The ``real`` scenario with the networks, ``scripted`` with given ID logits."""
    x = tensors(inputs)
    for scenario in ('real', 'scripted'):
        for ours, theirs in (
            ('logits', 'pred_logits'),
            ('boxes', 'pred_boxes'),
            ('outputs', 'outputs'),
        ):
            if f'{scenario}_{theirs}' in x:
                x[f'in_{scenario}_{ours}'] = x[f'{scenario}_{theirs}']
    if 'in_scripted_outputs' in x:
        codes = x['in_scripted_outputs']
        x['in_scripted_outputs'] = torch.nn.functional.pad(
            codes, (0, 256 - codes.shape[-1])
        )
    size = tuple(settings['hw'])
    outputs = {}
    for protocol in PROTOCOLS:
        name = protocol.replace('-', '_')
        found = {}
        if 'in_real_logits' in x:
            model = build_model(settings['cfg'], seed).eval()
            with torch.no_grad():
                found['real'] = _replay(
                    _tracker(settings, protocol),
                    x,
                    'real',
                    size,
                    lambda t, model=model: model.score_identities,
                )
        recorded = x.get(f'scripted_{name}_id_logits')
        if 'in_scripted_logits' in x and recorded is not None:

            def scripted(t: int, recorded: Tensor = recorded) -> Callable:
                return lambda history, embeddings: recorded[t, : len(embeddings)].softmax(
                    -1
                )

            found['scripted'] = _replay(
                _tracker(settings, protocol), x, 'scripted', size, scripted
            )
        for scenario, rows in found.items():
            outputs |= {f'{scenario}_{name}_{k}': v for k, v in rows.items()}
    return outputs
