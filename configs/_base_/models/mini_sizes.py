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
