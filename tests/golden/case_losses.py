# Copyright (c) mmfdta authors.
"""Golden cases ``loss_contrastive``, ``loss_depth`` and ``loss_id``."""

import numpy as np
import torch
import torch.nn.functional as F
from case_models import arrays, tensors
from torch import Tensor

from mmfdta.models import DepthBinLoss, IDLoss, QualityAwareContrastiveLoss
from mmfdta.models.losses import depth_targets, foreground_mask


def _value_and_grad(loss: Tensor, leaf: Tensor) -> tuple[Tensor, Tensor]:
    return loss, torch.autograd.grad(loss, leaf)[0]


def run_loss_contrastive(
    inputs: dict, settings: dict, seed: int
) -> dict[str, np.ndarray]:
    """The contrastive loss, and its value when no pair is positive."""
    x = tensors(inputs)
    # The released function has no gate of its own; the criterion applies it.
    criterion = QualityAwareContrastiveLoss(settings['tau'], quality_thr=0.0)
    embeddings = x['embeddings'].requires_grad_()
    loss, grad = _value_and_grad(
        criterion(embeddings, x['labels'], x['iou_weight']), embeddings
    )
    alone, alone_grad = _value_and_grad(
        criterion(embeddings, torch.arange(len(embeddings)), x['iou_weight']),
        embeddings,
    )
    return arrays(
        loss=loss,
        grad_embeddings=grad,
        no_positive_loss=alone,
        no_positive_grad_absmax=alone_grad.abs().max(),
    )


def run_loss_depth(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """The depth loss with its targets and foreground."""
    x = tensors(inputs)
    criterion = DepthBinLoss(settings['num_bins'], fg_weight=settings['fg_weight'])
    logits = x['depth_logits'].requires_grad_()
    frames, _, height, width = logits.shape
    frame_idx = torch.arange(frames).repeat_interleave(x['num_gt_per_img'])
    cells = x['gt_boxes2d']
    loss, grad = _value_and_grad(
        criterion(logits, x['depthmaps'], cells, frame_idx), logits
    )
    resized = F.interpolate(x['depthmaps'], (height, width), mode='bilinear')[:, 0]
    return arrays(
        loss=loss,
        grad_depth_logits=grad,
        resized_depth=resized,
        target_bins=depth_targets(
            x['depthmaps'], (height, width), settings['num_bins']
        ),
        fg_mask=foreground_mask(cells, frame_idx, (frames, height, width)),
    )


def run_loss_id(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """The ID loss, cross entropy and focal."""
    x = tensors(inputs)
    logits = x['id_logits'].requires_grad_()
    outputs = {}
    for name, focal in (('ce', False), ('focal', True)):
        criterion = IDLoss(settings['weight'], use_focal=focal)
        outputs[name], outputs[f'{name}_grad'] = _value_and_grad(
            criterion(logits, x['id_labels'], x['id_masks']), logits
        )
    missing = torch.ones_like(x['id_masks'])
    outputs['ce_all_masked'] = IDLoss()(logits, x['id_labels'], missing)
    return arrays(**outputs)
