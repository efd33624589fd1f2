# Sizes of the mini models, for a CPU: what they have less of than those with ResNet-50.
# A mini model takes the full one as its base and these sizes.
width = 64
heads = dict(embed_dims=width, num_heads=4)
samples = dict(heads, num_levels=3, num_points=2)
ffn_size = dict(embed_dims=width, feedforward_channels=128)

detector_sizes = dict(
    num_queries=30,
    num_feature_levels=3,
    backbone=dict(
        depth=18,
        # Trained from scratch.
        frozen_stages=-1,
        stem_channels=16,
        base_channels=16,
        norm_cfg=dict(requires_grad=True),
        zero_init_residual=True,
    ),
    neck=dict(
        in_channels=[32, 64, 128],
        out_channels=width,
        norm_cfg=dict(num_groups=16),
        num_outs=3,
    ),
    encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=samples, ffn_cfg=ffn_size)),
    decoder=dict(
        num_layers=3,
        layer_cfg=dict(self_attn_cfg=heads, cross_attn_cfg=samples, ffn_cfg=ffn_size),
    ),
    positional_encoding=dict(num_feats=width // 2),
    bbox_head=dict(embed_dims=width),
)

# Of MMDetection's DINO: few queries for denoising, too.
dino_sizes = dict(
    detector_sizes,
    dn_cfg=dict(group_cfg=dict(num_dn_queries=20)),
    test_cfg=dict(max_per_img=detector_sizes['num_queries']),
)

spatial_sizes = dict(
    num_bins=40, num_heads=4, feedforward_channels=64, dropout=0.0, num_groups=16
)
# Of FDTA, besides the detector.
fdta_sizes = dict(
    num_id_vocabulary=16,
    window=16,  # frames of a clip; a track is remembered one less
    temporal_adapter=dict(
        num_layers=2, num_heads=4, feedforward_channels=128, dropout=0.0
    ),
    identity_adapter=dict(warmup_epochs=0, loss=dict(loss_weight=10.0)),
    id_decoder=dict(id_dims=64, num_layers=3),
    clip_detection=dict(num_grad_frames=6, grad_chunk=0, no_grad_chunk=0),
    tracker=dict(newborn_thr=0.5),
)
