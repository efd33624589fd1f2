# The host of fdta_dino_swin-l.py: DINO with Swin-L and five levels, of strides 4 to 64,
# as MMDetection trains it (configs/dino/dino-5scale_swin-l_8xb2-36e_coco.py), for one
# class. Blocks are not recomputed one by one (`with_cp`): `model.clip_detection`
# recomputes whole frames, and several processes take only that together with chunks.
_base_ = ['./dino_r50.py']

host = dict(
    num_feature_levels=5,
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        pretrain_img_size=384,
        embed_dims=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        mlp_ratio=4,
        qkv_bias=True,
        qk_scale=None,
        drop_rate=0.0,
        attn_drop_rate=0.0,
        drop_path_rate=0.2,
        patch_norm=True,
        out_indices=(0, 1, 2, 3),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536], num_outs=5),
    encoder=dict(layer_cfg=dict(self_attn_cfg=dict(num_levels=5))),
    decoder=dict(layer_cfg=dict(cross_attn_cfg=dict(num_levels=5))),
)
