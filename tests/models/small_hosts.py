# Copyright (c) mmfdta authors.
"""Small query detectors of MMDetection, and frames for them."""

from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import mmfdta.registry  # noqa: F401

CHANNELS = 16
QUERIES = 10
CLASSES = 3
STAGES = 3
DEPTH = dict(
    spatial_adapter=dict(
        type='SpatialAdapter',
        num_bins=7,
        num_heads=2,
        feedforward_channels=24,
        dropout=0.0,
        num_groups=4,
    ),
    loss_depth=dict(type='DepthBinLoss', fg_weight=6.0),
)
"""Arguments of QueryDetector for depth."""


def host_config(name: str, classes: int = CLASSES, layers: int = 2) -> dict[str, Any]:
    """MMDetection's config of a detector, with small numbers.

    Args:
        name: A key of :data:`HOSTS`.
        classes: Number of classes.
        layers: Of the decoder.
    """
    init_default_scope('mmdet')
    return HOSTS[name](classes, layers)


def make_frames(
    counts: list[int],
    size: tuple[int, int] = (64, 96),
    shapes: list[tuple[int, int]] | None = None,
    classes: int = CLASSES,
    seed: int = 0,
) -> tuple[torch.Tensor, list[DetDataSample]]:
    """Frames with random boxes, as the data preprocessor gives them to a detector.

    Args:
        counts: Objects of each frame.
        size: Height and width with padding.
        shapes: Height and width of each frame without padding; None pads none.
        classes: Number of classes.
        seed: Of the random numbers.

    Returns:
        Normalised frames (F, 3, H, W) and their samples.
    """
    rng = torch.Generator().manual_seed(seed)
    imgs, frames = torch.zeros(len(counts), 3, *size), []
    for i, count in enumerate(counts):
        height, width = shape = shapes[i] if shapes else size
        imgs[i, :, :height, :width] = torch.randn(3, height, width, generator=rng)
        corner = torch.rand(count, 2, generator=rng) * 0.6
        extent = 0.1 + 0.3 * torch.rand(count, 2, generator=rng)
        scale = torch.tensor([width, height, width, height])
        frame = DetDataSample(
            metainfo=dict(
                img_shape=shape,
                ori_shape=(2 * height, 2 * width),
                scale_factor=(0.5, 0.5),
                batch_input_shape=size,
                frame_id=i,
            )
        )
        frame.gt_instances = InstanceData(
            bboxes=torch.cat([corner, corner + extent], dim=1) * scale,
            labels=torch.randint(0, classes, (count,), generator=rng),
            instances_ids=torch.randperm(count, generator=rng),
        )
        frames.append(frame)
    return imgs, frames


def sparse_rcnn(classes: int = CLASSES, softmax: bool = False) -> dict:
    """MMDetection's Sparse R-CNN with small numbers, for its own interface."""
    init_default_scope('mmdet')
    loss = dict(type='FocalLoss', use_sigmoid=True, loss_weight=2.0)
    if softmax:
        loss = dict(type='CrossEntropyLoss', use_sigmoid=False)
    stage = dict(
        type='DIIHead',
        num_classes=classes,
        num_heads=2,
        feedforward_channels=24,
        in_channels=CHANNELS,
        dynamic_conv_cfg=dict(
            type='DynamicConv',
            in_channels=CHANNELS,
            feat_channels=4,
            out_channels=CHANNELS,
            input_feat_shape=7,
        ),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
        loss_cls=loss,
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            clip_border=False,
            target_means=[0.0] * 4,
            target_stds=[0.5, 0.5, 1.0, 1.0],
        ),
    )
    costs = [
        dict(type='ClassificationCost' if softmax else 'FocalLossCost', weight=2.0),
        dict(type='BBoxL1Cost', weight=5.0, box_format='xyxy'),
        dict(type='IoUCost', iou_mode='giou', weight=2.0),
    ]
    training = dict(
        assigner=dict(type='HungarianAssigner', match_costs=costs),
        sampler=dict(type='PseudoSampler'),
        pos_weight=1,
    )
    pool = dict(type='RoIAlign', output_size=7, sampling_ratio=2)
    backbone = _backbone(4)['backbone']
    return dict(
        type='SparseRCNN',
        backbone=dict(backbone, out_indices=(0, 1, 2, 3)),
        neck=dict(
            type='FPN', in_channels=[8, 16, 32, 64], out_channels=CHANNELS, num_outs=4
        ),
        rpn_head=dict(
            type='EmbeddingRPNHead',
            num_proposals=QUERIES,
            proposal_feature_channel=CHANNELS,
        ),
        roi_head=dict(
            type='SparseRoIHead',
            num_stages=STAGES,
            stage_loss_weights=[1, 0.5, 2],
            proposal_feature_channel=CHANNELS,
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=pool,
                out_channels=CHANNELS,
                featmap_strides=[4, 8, 16, 32],
            ),
            bbox_head=[dict(stage) for _ in range(STAGES)],
        ),
        train_cfg=dict(rpn=None, rcnn=[dict(training) for _ in range(STAGES)]),
        test_cfg=dict(rpn=None, rcnn=dict(max_per_img=QUERIES)),
    )


def _backbone(levels: int) -> dict:
    outputs = tuple(range(4 - min(levels, 3), 4))
    return dict(
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=8,
            num_stages=4,
            out_indices=outputs,
            norm_cfg=dict(type='BN', requires_grad=False),
            norm_eval=True,
            style='pytorch',
        ),
        neck=dict(
            type='ChannelMapper',
            in_channels=[8 * 2**i for i in outputs],
            kernel_size=1,
            out_channels=CHANNELS,
            act_cfg=None,
            norm_cfg=dict(type='GN', num_groups=4),
            num_outs=levels,
        ),
        num_queries=QUERIES,
    )


def _head(kind: str, classes: int, **more) -> dict:
    focal = dict(
        type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0
    )
    costs = [
        dict(type='FocalLossCost', weight=2.0),
        dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
        dict(type='IoUCost', iou_mode='giou', weight=2.0),
    ]
    return dict(
        bbox_head=dict(
            type=kind,
            num_classes=classes,
            embed_dims=CHANNELS,
            sync_cls_avg_factor=True,
            loss_cls=focal,
            loss_bbox=dict(type='L1Loss', loss_weight=5.0),
            loss_iou=dict(type='GIoULoss', loss_weight=2.0),
        )
        | more,
        train_cfg=dict(assigner=dict(type='HungarianAssigner', match_costs=costs)),
        test_cfg=dict(max_per_img=QUERIES),
    )


def _deformable(classes: int, layers: int, **more) -> dict:
    attention = dict(embed_dims=CHANNELS, num_heads=2, dropout=0.0, batch_first=True)
    deformable = dict(attention, num_levels=4, num_points=2)
    ffn = dict(embed_dims=CHANNELS, feedforward_channels=24, ffn_drop=0.0)
    return dict(
        dict(
            type='DeformableDETR',
            num_feature_levels=4,
            with_box_refine=True,
            as_two_stage=False,
            **_backbone(4),
            **_head('DeformableDETRHead', classes),
            encoder=dict(
                num_layers=1, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=ffn)
            ),
            decoder=dict(
                num_layers=layers,
                return_intermediate=True,
                layer_cfg=dict(
                    self_attn_cfg=attention, cross_attn_cfg=deformable, ffn_cfg=ffn
                ),
                post_norm_cfg=None,
            ),
            positional_encoding=dict(num_feats=CHANNELS // 2, normalize=True),
        ),
        **more,
    )


def _without_refinement(classes: int, layers: int) -> dict:
    return _deformable(classes, layers, with_box_refine=False)


def _two_stage(classes: int, layers: int) -> dict:
    # MMDetection's positions of proposals are for 256 channels whatever it is told.
    return _widen(_deformable(classes, layers, as_two_stage=True))


def _widen(config: Any) -> Any:
    """A config with 256 channels instead of :data:`CHANNELS`."""
    if isinstance(config, dict):
        return {
            key: 256 // 2
            if key == 'num_feats'
            else 256
            if key in ('embed_dims', 'out_channels')
            else 32
            if key == 'num_groups'
            else _widen(value)
            for key, value in config.items()
        }
    return [_widen(part) for part in config] if isinstance(config, list) else config


def _dino(classes: int, layers: int, **more) -> dict:
    noise = dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=8),
    )
    return _deformable(
        classes,
        layers,
        **dict(
            dict(
                type='ZooDINO',
                as_two_stage=True,
                dn_cfg=noise,
                **_head('DINOHead', classes),
            ),
            **more,
        ),
    )


def _ddq(classes: int, layers: int) -> dict:
    more = dict(dense_topk_ratio=1.5, dqs_cfg=dict(type='nms', iou_threshold=0.8))
    head = _head('DDQDETRHead', classes)
    return _dino(classes, layers, type='DDQDETR', **more, **head)


def _detr(classes: int, layers: int) -> dict:
    attention = dict(embed_dims=CHANNELS, num_heads=2, dropout=0.0, batch_first=True)
    ffn = dict(embed_dims=CHANNELS, feedforward_channels=24, num_fcs=2, ffn_drop=0.0)
    cross_entropy = dict(
        type='CrossEntropyLoss',
        bg_cls_weight=0.1,
        use_sigmoid=False,
        loss_weight=1.0,
        class_weight=1.0,
    )
    config = dict(
        type='DETR',
        **_backbone(1),
        **_head('DETRHead', classes, loss_cls=cross_entropy),
        encoder=dict(
            num_layers=1, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)
        ),
        decoder=dict(
            num_layers=layers,
            layer_cfg=dict(
                self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn
            ),
            return_intermediate=True,
        ),
        positional_encoding=dict(num_feats=CHANNELS // 2, normalize=True),
    )
    config['train_cfg']['assigner']['match_costs'][0] = dict(type='ClassificationCost')
    return config


def _conditional(classes: int, layers: int) -> dict:
    # So are its positions of queries.
    return _widen(_modulated(classes, layers))


def _modulated(classes: int, layers: int) -> dict:
    config = dict(
        _detr(classes, layers),
        type='ConditionalDETR',
        **_head('ConditionalDETRHead', classes),
    )
    for name in ('self_attn', 'cross_attn'):
        config['decoder']['layer_cfg'][f'{name}_cfg'] = dict(
            embed_dims=CHANNELS,
            num_heads=2,
            attn_drop=0.0,
            cross_attn=name == 'cross_attn',
        )
    return config


def _dab(classes: int, layers: int) -> dict:
    config = dict(
        _modulated(classes, layers), type='DABDETR', **_head('DABDETRHead', classes)
    )
    for coder in ('encoder', 'decoder'):
        config[coder]['layer_cfg']['ffn_cfg']['act_cfg'] = dict(type='PReLU')
    for name in ('self_attn', 'cross_attn'):
        config['decoder']['layer_cfg'][f'{name}_cfg']['proj_drop'] = 0.0
    config['decoder'].update(
        query_dim=4, query_scale_type='cond_elewise', with_modulated_hw_attn=True
    )
    config['positional_encoding']['temperature'] = 20
    return config


HOSTS = dict(
    deformable=_deformable,
    without_refinement=_without_refinement,
    two_stage=_two_stage,
    dino=_dino,
    ddq=_ddq,
    dab=_dab,
    conditional=_conditional,
    detr=_detr,
)
