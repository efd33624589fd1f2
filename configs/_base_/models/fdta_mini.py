# FDTA for a CPU: the classes of fdta_r50.py, small, and trained from scratch.
embed_dims = 64

attention = dict(embed_dims=embed_dims, num_heads=4, dropout=0.0, batch_first=True)
deformable_attention = dict(
    embed_dims=embed_dims,
    num_levels=3,
    num_heads=4,
    num_points=2,
    dropout=0.0,
    batch_first=True,
)
ffn = dict(embed_dims=embed_dims, feedforward_channels=128, ffn_drop=0.0)

detector = dict(
    type='FDTADetector',
    num_queries=30,
    num_feature_levels=3,
    with_box_refine=True,
    as_two_stage=False,
    backbone=dict(
        type='ResNet',
        depth=18,
        num_stages=4,
        out_indices=(1, 2, 3),
        frozen_stages=-1,
        stem_channels=16,
        base_channels=16,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
    ),
    neck=dict(
        type='ChannelMapper',
        in_channels=[32, 64, 128],
        kernel_size=1,
        out_channels=embed_dims,
        bias=True,
        act_cfg=None,
        norm_cfg=dict(type='GN', num_groups=16),
        num_outs=3,
    ),
    spatial_adapter=dict(
        type='SpatialAdapter',
        num_bins=40,
        num_heads=4,
        feedforward_channels=64,
        dropout=0.0,
        num_groups=16,
    ),
    encoder=dict(
        num_layers=1, layer_cfg=dict(self_attn_cfg=deformable_attention, ffn_cfg=ffn)
    ),
    decoder=dict(
        num_layers=3,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=attention, cross_attn_cfg=deformable_attention, ffn_cfg=ffn
        ),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=embed_dims // 2, normalize=True, offset=-0.5),
    bbox_head=dict(
        type='FDTAHead',
        num_classes=1,
        embed_dims=embed_dims,
        sync_cls_avg_factor=True,
        matcher=dict(
            type='ClipMatcher', cls_weight=2.0, bbox_weight=5.0, iou_weight=2.0
        ),
        loss_cls=dict(
            type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0
        ),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
        loss_depth=dict(type='DepthBinLoss', fg_weight=6.0, loss_weight=1.0),
    ),
)

model = dict(
    type='FDTA',
    num_id_vocabulary=16,
    window=16,  # frames of a clip; a track is remembered one less
    data_preprocessor=dict(
        type='ClipDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
    ),
    detector=detector,
    temporal_adapter=dict(
        type='TemporalAdapter',
        num_layers=2,
        num_heads=4,
        feedforward_channels=128,
        dropout=0.0,
    ),
    identity_adapter=dict(
        type='IdentityAdapter',
        chunk_frames=10,
        warmup_epochs=0,
        loss=dict(
            type='QualityAwareContrastiveLoss',
            temperature=0.1,
            quality_thr=0.5,
            loss_weight=10.0,
        ),
    ),
    trajectory_modeling=dict(type='TrajectoryModeling'),
    id_decoder=dict(
        type='IDDecoder',
        id_dims=64,
        num_layers=3,
    ),
    loss_id=dict(type='IDLoss', loss_weight=1.0),
    clip_detection=dict(num_grad_frames=6, grad_chunk=0, no_grad_chunk=0),
    tracker=dict(
        type='FDTATracker',
        det_thr=0.3,
        newborn_thr=0.5,
        id_thr=0.2,
        protocol='object-max',
    ),
)
