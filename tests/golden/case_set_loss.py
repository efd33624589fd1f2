# Copyright (c) mmfdta authors.
"""Golden case ``loss_set``: matching and all detection losses."""

import numpy as np
import torch
from case_models import arrays, build_model, tensors
from mmengine.logging import MessageHub
from torch import Tensor

from mmfdta.models import FDTA
from mmfdta.models.detectors import ClipMatches, ClipTargets, DetectorOutputs

# Released name of a loss and ours.
LAYER_LOSSES = dict(loss_ce='loss_cls', loss_bbox='loss_bbox', loss_giou='loss_iou')
# This project's losses carry their weight, the released ones do not.
WEIGHTS = dict(loss_ce=2.0, loss_bbox=5.0, loss_giou=2.0)


def set_epoch(epoch: int) -> None:
    """Tell the model which epoch it is in, as the runner does."""
    MessageHub.get_current_instance().update_info('epoch', epoch)


def released_losses(losses: dict[str, Tensor], num_layers: int = 6) -> dict[str, float]:
    """Unweighted losses under their released names."""
    named = {
        'loss_depth_map': float(losses['loss_depth']),
        'loss_contrastive': float(losses['loss_contrastive']),
    }
    for layer in range(num_layers):
        last = layer == num_layers - 1
        prefix, suffix = ('', '') if last else (f'd{layer}.', f'_{layer}')
        for theirs, ours in LAYER_LOSSES.items():
            named[theirs + suffix] = float(losses[prefix + ours]) / WEIGHTS[theirs]
    return named


def matched_pairs(matches: ClipMatches, layer: int) -> tuple[np.ndarray, ...]:
    """Queries, targets and GIoU of a layer, each frame's sorted by query."""
    query, quality = matches.query_idx[layer], matches.quality[layer]
    order = query.where(query >= 0, query.max() + 1).argsort(stable=True)
    src, giou = query.gather(1, order), quality.gather(1, order)
    return (
        src.numpy(),
        order.where(src >= 0, -1).numpy(),
        giou.detach().where(src >= 0, torch.nan).numpy(),
    )


def _targets(x: dict[str, Tensor]) -> ClipTargets:
    frames, boxes = x['target_labels'].shape
    size = tuple(x['depthmaps'].shape[-2:])
    return ClipTargets(
        boxes=x['target_boxes'],
        labels=x['target_labels'],
        identities=x['target_ids'],
        valid=torch.arange(boxes) < x['target_num'][:, None],
        image_sizes=torch.tensor(size).float().expand(frames, 2),
        num_valid=x['target_num'].tolist(),
        batch_shape=size,
    )


def _losses(
    model: FDTA, outputs: DetectorOutputs, targets: ClipTargets, depth: Tensor
) -> tuple[dict[str, Tensor], ClipMatches]:
    losses, matches = model.detector.bbox_head.loss_by_feat(
        outputs, targets, depth.float()
    )
    losses['loss_contrastive'] = model._contrast(
        outputs, targets, matches, 1, len(targets.labels)
    )
    return losses, matches


def _epoch_outputs(prefix: str, losses: dict[str, Tensor]) -> dict[str, np.ndarray]:
    named = released_losses(losses)
    return {
        f'{prefix}_loss_names': np.array(list(named)),
        f'{prefix}_loss_values': np.array(list(named.values())),
        f'{prefix}_total': np.asarray(float(sum(losses.values()))),
    }


def run_loss_set(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """Losses at epochs 0 and 1, gradients at 1, and the matching."""
    model = build_model(settings['cfg'], seed).train()
    model.identity_adapter.chunk_frames = settings['batch_len']
    x = tensors(inputs)
    targets = _targets(x)
    leaves = {
        'pred_logits': x['pred_logits'],
        'pred_boxes': x['pred_boxes'],
        'outputs': x['outputs'],
        'depth': x['pred_depth_map_logits'],
        'aux_logits': x['aux_pred_logits'],
        'aux_boxes': x['aux_pred_boxes'],
    }
    for leaf in leaves.values():
        leaf.requires_grad_()
    outputs = DetectorOutputs(
        torch.cat([leaves['aux_logits'], leaves['pred_logits'][None]]),
        torch.cat([leaves['aux_boxes'], leaves['pred_boxes'][None]]),
        leaves['outputs'],
        leaves['depth'],
    )
    results = {}
    mlp = list(model.identity_adapter.parameters())
    for epoch in (0, 1):
        set_epoch(epoch)
        losses, matches = _losses(model, outputs, targets, x['depthmaps'])
        results |= _epoch_outputs(f'epoch{epoch}', losses)
    sum(losses.values()).backward()
    results['epoch1_track_embed_gradnorm'] = np.array([p.grad.norm() for p in mlp])
    for name in ('pred_logits', 'pred_boxes', 'outputs'):
        results[f'grad_{name}'] = leaves[name].grad.numpy()
    results |= arrays(
        grad_pred_depth_map_logits_norm=leaves['depth'].grad.norm(),
        grad_aux_norms=torch.stack(
            [
                leaves[k].grad.flatten(1).norm(dim=1)
                for k in ('aux_logits', 'aux_boxes')
            ],
            dim=1,
        ),
    )
    names = [f'aux{i}' for i in range(5)] + ['final']
    for layer, name in enumerate(names):
        pairs = matched_pairs(matches, layer)
        for part, value in zip(('src', 'tgt', 'giou'), pairs, strict=True):
            results[f'match_{name}_{part}'] = value
    results['returned_src'], results['returned_tgt'], _ = matched_pairs(
        matches, model.match_layer
    )
    model.identity_adapter.chunk_frames = 100
    losses, _ = _losses(model, outputs, targets, x['depthmaps'])
    results['one_chunk_loss_values'] = np.array(list(released_losses(losses).values()))
    return results
