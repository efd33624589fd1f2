# Copyright (c) mmfdta authors.
"""Golden case ``train_step``: losses, gradients and the optimiser's update."""

import numpy as np
import torch
from case_models import build_model, load_config, tensors
from case_set_loss import matched_pairs, released_losses, set_epoch
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.optim import build_optim_wrapper
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor
from weights import golden_weights

from mmfdta.checkpoints.families import find_family
from mmfdta.checkpoints.rules import to_source
from mmfdta.models import FDTA

ID_FIELDS = [
    f'{side}_{field}'
    for side in ('trajectory', 'unknown')
    for field in ('id_labels', 'id_masks', 'ann_idxs')
]


def _clip(x: dict[str, Tensor]) -> dict:
    """The batch of one clip as the data pipeline hands it over."""
    height, width = x['images'].shape[-2:]
    scale = torch.tensor([width, height, width, height])
    frames = []
    for t, num in enumerate(x['num_gt'].tolist()):
        centre, size = (x['gt_boxes'][t, :num] * scale).split(2, dim=1)
        frame = DetDataSample(
            metainfo=dict(img_shape=(height, width), ori_shape=(height, width))
        )
        frame.gt_instances = InstanceData(
            bboxes=torch.cat([centre - size / 2, centre + size / 2], dim=1),
            labels=x['gt_labels'][t, :num],
            instances_ids=x['gt_ids'][t, :num],
        )
        frames.append(frame)
    clip = TrackDataSample()
    clip.video_data_samples = frames
    clip.id_targets = [BaseDataElement(**{k: x[k] for k in ID_FIELDS})]
    inputs = dict(img=[x['images']], depth=[x['depthmaps']])
    return dict(inputs=inputs, data_samples=[clip])


def _model(settings: dict, seed: int, order: Tensor) -> FDTA:
    model = build_model(settings['cfg'], seed, dropout=False).train()
    model.data_preprocessor.pad_size_divisor = max(1, settings['size_divisibility'])
    clip_detection = model.clip_detection
    clip_detection.num_grad_frames = settings['detr_num_train_frames']
    clip_detection.grad_chunk = settings['detr_num_checkpoint_frames']
    clip_detection.no_grad_chunk = 4 * settings['detr_num_checkpoint_frames']
    clip_detection.frame_order = lambda length: order
    return model


def _step(x: dict[str, Tensor], settings: dict, seed: int, epoch: int) -> dict:
    """One training step, and what was seen on the way."""
    model = _model(settings, seed, x['frame_permutation'])
    seen = {}
    head, decoder = model.detector.bbox_head, model.id_decoder
    loss_by_feat, associate = head.loss_by_feat, model.associate_clip

    def watch_matches(*args):
        losses, seen['matches'] = loss_by_feat(*args)
        return losses, seen['matches']

    def watch_sequences(sequences):
        seen['sequences'] = sequences
        seen['id_logits'] = associate(sequences)
        return seen['id_logits']

    head.loss_by_feat, model.associate_clip = watch_matches, watch_sequences
    assert decoder.training
    set_epoch(epoch)
    wrapper = build_optim_wrapper(model, load_config(settings['cfg']).optim_wrapper)
    warmup = min(1.0, (epoch * settings['iters_per_epoch'] + 1) / _warmup(settings))
    for group in wrapper.optimizer.param_groups:
        group['lr'] *= warmup
    batch = model.data_preprocessor(_clip(x), training=True)
    losses = model(**batch, mode='loss')
    total = sum(losses.values())
    total.backward()
    named = {_released_name(k): p for k, p in model.named_parameters()}
    before = {k: p.detach().clone() for k, p in named.items()}
    grads = {k: None if p.grad is None else p.grad.clone() for k, p in named.items()}
    lrs = {id(p): g['lr'] for g in wrapper.optimizer.param_groups for p in g['params']}
    wrapper.step()
    hub = wrapper.message_hub
    return dict(
        **seen,
        losses=losses,
        total=float(total),
        named=named,
        grads=grads,
        updates={k: (p.detach() - before[k]).norm() for k, p in named.items()},
        lrs=lrs,
        norms={
            part: float(hub.get_scalar(f'train/grad_norm_{part}').current())
            for part in ('detector', 'other')
        },
    )


def _warmup(settings: dict) -> int:
    """Iterations of the warm-up."""
    scheduler = load_config(settings['cfg']).param_scheduler[0]
    return scheduler.end * settings['iters_per_epoch']


def _released_name(name: str) -> str:
    """Canonical released name of one of our parameters."""
    released = to_source(find_family('fdta').rules, name)
    return golden_weights().canonical_name(released)


def _metrics(step: dict) -> dict[str, float]:
    losses = dict(step['losses'])
    id_loss = float(losses.pop('loss_id'))
    return {
        'loss': step['total'],
        'detr_loss': step['total'] - id_loss,
        'id_loss': id_loss,
        **released_losses(losses),
        'detr_grad_norm': step['norms']['detector'],
        'other_grad_norm': step['norms']['other'],
        'lr': max(step['lrs'].values()),
    }


def run_train_step(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """A step in epoch 0 (no contrastive loss) and one in epoch 1."""
    x = tensors(inputs)
    results = {}
    for epoch in (0, 1):
        step = _step(x, settings, seed, epoch)
        metrics = _metrics(step)
        names = list(step['named'])
        sequences = step['sequences']
        values = dict(
            metric_names=np.array(list(metrics)),
            metric_values=np.array(list(metrics.values())),
            lr_of_parameters=np.array(
                [step['lrs'].get(id(step['named'][k]), np.nan) for k in names]
            ),
            grad_names=np.array(names),
            grad_norms=np.array(
                [np.nan if (g := step['grads'][k]) is None else g.norm() for k in names]
            ),
            requires_grad=np.array([step['named'][k].requires_grad for k in names]),
            update_norms=np.array([step['updates'][k] for k in names]),
            id_logits=step['id_logits'].detach().numpy(),
            id_gts=sequences.unknown_labels.numpy(),
            id_masks=sequences.unknown_masks.numpy(),
        )
        results |= {f'epoch{epoch}_{k}': v for k, v in values.items()}
    results['grads'] = step['grads']
    results['matched_src'], results['matched_tgt'], _ = matched_pairs(
        step['matches'], -2
    )
    for name in ('trajectory_features', 'unknown_features'):
        results[f'seq_{name}'] = getattr(sequences, name).detach().numpy()
    results['seq_trajectory_masks'] = sequences.trajectory_masks.numpy()
    results['seq_unknown_masks'] = sequences.unknown_masks.numpy()
    return results
