# MMDetection's DINO, small, trained from scratch: the sizes of the plain detector of
# fdta_mini.py, and few denoising queries.
_base_ = ['./deformable_detr_two_stage_small.py']

model = dict(
    type='DINO',
    positional_encoding=dict(offset=0.0, temperature=20),
    bbox_head=dict(type='DINOHead', loss_cls=dict(loss_weight=1.0)),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=20),
    ),
)
