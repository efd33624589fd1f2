# FDTA on Deformable DETR with ResNet-50, hyper-parameters of the released code
# (DanceTrack). The initial weights of a training run are named in the schedule.
embed_dims = 256

attention = dict(embed_dims=embed_dims, num_heads=8, dropout=0.0, batch_first=True)
deformable_attention = dict(
    embed_dims=embed_dims,
    num_levels=4,
    num_heads=8,
    num_points=4,
    dropout=0.0,
    batch_first=True,
)
ffn = dict(embed_dims=embed_dims, feedforward_channels=1024, ffn_drop=0.0)

detector = dict(
    type='FDTADetector',
    num_queries=300,
    num_feature_levels=4,
    with_box_refine=True,
    as_two_stage=False,
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='pytorch',
        # Frozen norms that start at zero would never let go of it.
        zero_init_residual=False,
    ),
    neck=dict(
        type='ChannelMapper',
        in_channels=[512, 1024, 2048],
        kernel_size=1,
        out_channels=embed_dims,
        bias=True,
        act_cfg=None,
        norm_cfg=dict(type='GN', num_groups=32),
        num_outs=4,
    ),
    spatial_adapter=dict(type='SpatialAdapter', num_bins=150, dropout=0.1),
    encoder=dict(
        num_layers=6,
        layer_cfg=dict(self_attn_cfg=deformable_attention, ffn_cfg=ffn),
    ),
    decoder=dict(
        num_layers=6,
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
    num_id_vocabulary=50,
    window=30,  # frames that association looks back, at least the clip length
    data_preprocessor=dict(
        type='ClipDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
    ),
    detector=detector,
    temporal_adapter=dict(type='TemporalAdapter', dropout=0.1),
    identity_adapter=dict(
        type='IdentityAdapter',
        chunk_frames=10,
        warmup_epochs=1,
        loss=dict(
            type='QualityAwareContrastiveLoss',
            temperature=0.1,
            quality_thr=0.5,
            loss_weight=1.0,
        ),
    ),
    trajectory_modeling=dict(type='TrajectoryModeling'),
    id_decoder=dict(type='IDDecoder', id_dims=256),
    loss_id=dict(type='IDLoss', loss_weight=1.0),
    clip_detection=dict(num_grad_frames=4, grad_chunk=5, no_grad_chunk=20),
    tracker=dict(
        type='FDTATracker',
        det_thr=0.3,
        newborn_thr=0.6,
        id_thr=0.2,
        protocol='object-max',
    ),
)
