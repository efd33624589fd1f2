# Copyright (c) mmfdta authors.
"""Golden cases ``spatial`` and ``detr``."""

import numpy as np
import torch
from case_models import arrays, build_model, tensors
from mmdet.structures import DetDataSample
from torch import Tensor

FEATURES = ('feature0', 'feature1', 'feature2')


def run_spatial(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """The Spatial Adapter alone, in evaluation mode."""
    adapter = build_model(settings['cfg'], seed).detector.spatial_adapter.eval()
    # The released class leaves it to its caller to cut the features off.
    adapter.feature_gradient = 1.0
    x = tensors(inputs)
    height, width = x['feature0'].shape[-2:]
    features = [x[name].requires_grad_() for name in FEATURES]
    out = adapter(features, x['mask'].flatten(1), x['pos'].flatten(2).transpose(1, 2))

    def to_map(tokens: Tensor) -> Tensor:
        return tokens.transpose(1, 2).unflatten(-1, (height, width))

    def grad_norms(value: Tensor, leaves: list[Tensor]) -> Tensor:
        grads = torch.autograd.grad(value.square().mean(), leaves, retain_graph=True)
        return torch.stack([g.norm() for g in grads])

    embed = to_map(out.embed)
    parameters = [
        adapter.depth_classifier.weight,
        adapter.depth_head[0].conv.weight,
        adapter.depth_embedding.weight,
    ]
    return arrays(
        depth_logits=out.logits,
        depth_embed=embed,
        weighted_depth=out.expected,
        depth_pos_embed_ip=adapter.embed_depth(out.expected).permute(0, 3, 1, 2),
        depth_bin_values=adapter.bin_values,
        gradnorm_of_mean_sq_depth_embed=grad_norms(embed, features + parameters),
        gradnorm_of_mean_sq_logits=grad_norms(out.logits, features),
    )


def frame_samples(mask: Tensor) -> list[DetDataSample]:
    """Meta information of frames from their padding masks (F, H, W)."""
    samples = []
    for frame in ~mask:
        shape = int(frame[:, 0].sum()), int(frame[0].sum())
        meta = dict(img_shape=shape, ori_shape=shape, batch_input_shape=mask.shape[1:])
        samples.append(DetDataSample(metainfo=meta))
    return samples


@torch.no_grad()
def run_detr(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """The whole detector, in evaluation mode."""
    detector = build_model(settings['cfg'], seed).detector.eval()
    x = tensors(inputs)
    out = detector.detect(x['images'], frame_samples(x['mask']))
    probabilities = out.depth_logits.softmax(1)
    bins = detector.spatial_adapter.bin_values
    return arrays(
        pred_logits=out.cls_scores[-1],
        pred_boxes=out.bbox_preds[-1],
        outputs=out.embeddings,
        aux0_pred_logits=out.cls_scores[0],
        aux0_pred_boxes=out.bbox_preds[0],
        aux4_pred_logits=out.cls_scores[4],
        aux4_pred_boxes=out.bbox_preds[4],
        pred_depth_map_logits=out.depth_logits,
        weighted_depth=torch.einsum('fdhw,d->fhw', probabilities, bins),
    )
