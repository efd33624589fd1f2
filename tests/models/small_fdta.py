# Copyright (c) mmfdta authors.
"""A small FDTA with every part of the full one, and clips for it."""

import copy
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement, InstanceData

import mmfdta.registry  # noqa: F401
from mmfdta.datasets import make_id_targets

BASE = Path(__file__).parents[2] / 'configs/_base_/models/fdta_r50.py'
VOCABULARY = 6
CHANNELS = 32


def small_config() -> Config:
    """The full model's config with small numbers."""
    init_default_scope('mmdet')
    model = Config.fromfile(BASE).model
    detector = model.detector
    attention = dict(embed_dims=CHANNELS, num_heads=4, dropout=0.0, batch_first=True)
    deformable = dict(attention, num_levels=4, num_points=2)
    ffn = dict(embed_dims=CHANNELS, feedforward_channels=48, ffn_drop=0.0)
    detector.update(num_queries=12)
    detector.backbone.update(depth=18)
    detector.neck.update(
        in_channels=[128, 256, 512],
        out_channels=CHANNELS,
        norm_cfg=dict(type='GN', num_groups=4),
    )
    detector.spatial_adapter.update(num_bins=10, num_groups=4, num_heads=4)
    detector.encoder = dict(
        num_layers=1, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=ffn)
    )
    detector.decoder.update(
        num_layers=3,
        layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=deformable, ffn_cfg=ffn),
    )
    detector.positional_encoding.num_feats = CHANNELS // 2
    detector.bbox_head.update(embed_dims=CHANNELS)
    model.temporal_adapter.update(num_layers=2, num_heads=4, feedforward_channels=48)
    model.identity_adapter.update(hidden_channels=CHANNELS, chunk_frames=2)
    model.identity_adapter.loss.quality_thr = 0.0
    model.id_decoder.update(id_dims=CHANNELS, head_dims=16, num_layers=2)
    model.update(num_id_vocabulary=VOCABULARY, window=8)
    model.clip_detection = dict(num_grad_frames=2, grad_chunk=5, no_grad_chunk=20)
    return model


def build(config: Config, seed: int = 0):
    """Build and initialise a model in the same way each time."""
    torch.manual_seed(seed)
    # MMDetection writes into the config it builds from.
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    return model


def make_clip(
    num_frames: int = 4,
    size: tuple[int, int] = (64, 96),
    num_objects: int = 3,
    seed: int = 0,
    with_depth: bool = True,
) -> dict:
    """One training sample, as the data pipeline packs it."""
    rng = torch.Generator().manual_seed(seed)
    height, width = size
    scale = torch.tensor([width, height, width, height])
    frames, ids_per_frame = [], []
    for t in range(num_frames):
        corner = torch.rand(num_objects, 2, generator=rng) * 0.6
        extent = 0.1 + 0.3 * torch.rand(num_objects, 2, generator=rng)
        ids = torch.randperm(num_objects, generator=rng)
        shape = dict(img_shape=size, ori_shape=size, frame_id=t)
        frame = DetDataSample(metainfo=shape)
        frame.gt_instances = InstanceData(
            bboxes=torch.cat([corner, corner + extent], dim=1) * scale,
            labels=torch.zeros(num_objects, dtype=torch.int64),
            instances_ids=ids,
        )
        frames.append(frame)
        ids_per_frame.append(ids.numpy())
    targets = make_id_targets(
        ids_per_frame, 2, VOCABULARY, VOCABULARY, 0.5, 0.5, np.random.default_rng(seed)
    )
    sample = TrackDataSample()
    sample.video_data_samples = frames
    fields = {
        k: torch.from_numpy(v) for k, v in vars(targets).items() if k != 'column_ids'
    }
    sample.id_targets = [BaseDataElement(**fields)]

    def pixels(channels: int) -> torch.Tensor:
        shape = (num_frames, channels, height, width)
        return torch.randint(0, 256, shape, generator=rng).to(torch.uint8)

    inputs = dict(img=pixels(3))
    if with_depth:
        inputs['depth'] = pixels(1)
    return dict(inputs=inputs, data_samples=sample)


def collate(*clips: dict) -> dict:
    """Batch clips as MMEngine's ``pseudo_collate`` does."""
    keys = clips[0]['inputs']
    return dict(
        inputs={k: [clip['inputs'][k] for clip in clips] for k in keys},
        data_samples=[clip['data_samples'] for clip in clips],
    )
