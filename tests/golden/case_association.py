# Copyright (c) mmfdta authors.
"""Golden cases ``temporal``, ``trajectory_modeling`` and ``id_decoder``."""

import numpy as np
import torch
from case_models import arrays, build_model, tensors
from torch import Tensor

from mmfdta.models import IDDecoder, IDLoss
from mmfdta.models.layers import frame_position_encoding


@torch.no_grad()
def run_temporal(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """The Temporal Adapter, in evaluation mode."""
    adapter = build_model(settings['cfg'], seed).temporal_adapter.eval()
    x = tensors(inputs)
    outputs = {}
    if 'trajectory_features' in x:
        features, masks = x['trajectory_features'], x['trajectory_masks']
        refined = adapter(features, masks)
        outputs['trajectory_features'] = refined
        outputs['num_nan'] = refined.isnan().sum()
        outputs['masks_after'] = masks
        outputs['pos_embed'] = frame_position_encoding(*features.shape[2::2])
    if 'lone_features' in x:
        outputs['lone_intended'] = adapter(x['lone_features'], x['lone_masks'])
    return arrays(**outputs)


@torch.no_grad()
def run_trajectory_modeling(
    inputs: dict, settings: dict, seed: int
) -> dict[str, np.ndarray]:
    """Trajectory modelling."""
    model = build_model(settings['cfg'], seed)
    features = tensors(inputs)['trajectory_features']
    return arrays(trajectory_features=model.trajectory_modeling(features))


def _decode(decoder: IDDecoder, x: dict[str, Tensor], mode: str) -> Tensor:
    def get(name: str) -> Tensor:
        return x[f'{mode}_{name}']

    def times(name: str) -> Tensor:
        values = get(name)
        assert (values == values[:1, :1, :, :1]).all(), 'one time per frame'
        return values[0, 0, :, 0]

    return decoder(
        get('trajectory_features'),
        get('trajectory_id_labels'),
        get('trajectory_masks'),
        times('trajectory_times'),
        get('unknown_features'),
        get('unknown_masks'),
        times('unknown_times'),
    )


def run_id_decoder(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """The ID decoder in both modes, with the gradients of the ID loss."""
    decoder = build_model(settings['cfg'], seed).id_decoder
    x = tensors(inputs)
    leaves = [x['train_trajectory_features'], x['train_unknown_features']]
    for leaf in leaves:
        leaf.requires_grad_()
    with torch.no_grad():
        eval_logits = _decode(decoder.eval(), x, 'eval')
        decoder.train().aux_loss = True
        aux_logits = _decode(decoder, x, 'train')
        decoder.aux_loss = False
    train_logits = _decode(decoder, x, 'train')
    loss = IDLoss()(
        train_logits, x['train_unknown_id_labels'], x['train_unknown_masks']
    )
    loss.backward()
    parameters = [
        decoder.word_to_embed.weight,
        decoder.embed_to_word.weight,
        decoder.rel_pos_embeds,
        decoder.layers[0].cross_attn.in_proj_weight,
        decoder.layers[5].self_attn.out_proj.weight,
    ]
    return arrays(
        eval_id_logits=eval_logits,
        eval_id_masks=x['eval_unknown_masks'],
        train_id_logits=train_logits,
        train_id_labels=x['train_unknown_id_labels'],
        train_id_masks=x['train_unknown_masks'],
        train_aux_id_logits_layers_0_3=aux_logits[[0, 3]].flatten(0, 1),
        train_id_loss=loss,
        train_gradnorm=torch.stack([p.grad.norm() for p in leaves + parameters]),
        train_grad_rel_pos_embeds=decoder.rel_pos_embeds.grad,
    )
