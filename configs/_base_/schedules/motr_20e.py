# AdamW as configs/r50_motr_train_dance.sh and main.py of the released MOTR: 20 epochs,
# x0.1 after epoch 10, one learning rate except for the backbone and the sampling
# points, gradients clipped as a whole. Without a warm-up. 8 GPUs with one clip each.
_base_ = ['./fdta_13e.py']

max_epochs = 20
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(
    optimizer=dict(lr=2e-4, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys={
            'backbone': dict(lr_mult=0.1),
            'sampling_offsets': dict(lr_mult=0.1),
            'reference_points': dict(lr_mult=0.1),
        },
    ),
    clip_groups=dict(_delete_=True),
)
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, end=max_epochs, milestones=[10], gamma=0.1)
]

# Clips per step: --nproc_per_node=8 and --batch_size 1 of the same script.
auto_scale_lr = dict(base_batch_size=8)
