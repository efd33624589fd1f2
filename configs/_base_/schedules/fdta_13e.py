# AdamW as in the released code: 13 epochs, a warm-up over the first, x0.1 at
# epochs 6 and 9, detector and the rest clipped separately. 4 GPUs with one clip each.
# A run that is resumed, also within an epoch, continues as if never interrupted.
max_epochs = 13

train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='GroupClipOptimWrapper',
    constructor='GroupedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=5e-4, fused=True),
    paramwise_cfg=dict(
        custom_keys={
            'backbone': dict(lr_mult=0.1),
            'sampling_offsets': dict(lr_mult=0.05),
            'reference_points': dict(lr_mult=0.05),
        },
    ),
    clip_grad=dict(max_norm=0.1, norm_type=2),
    clip_groups=dict(
        detector='detector.',
        # Not clipped in the released code, where it is in the criterion.
        identity_adapter=dict(prefix='identity_adapter.', max_norm=None),
    ),
)

param_scheduler = [
    dict(type='IterWarmupLR', by_epoch=True, end=1, convert_to_iter_based=True),
    dict(
        type='MultiStepLR', by_epoch=True, end=max_epochs, milestones=[6, 9], gamma=0.1
    ),
]

custom_hooks = [
    dict(type='IterationSeedHook'),
    # Next to the one of each epoch.
    dict(
        type='WholeCheckpointHook',
        by_epoch=False,
        interval=1000,
        max_keep_ckpts=2,
        save_last=False,
    ),
]
randomness = dict(seed=3407)

# Clips per step at this learning rate: the released README trains with `accelerate
# launch --num_processes=4` and BATCH_SIZE 1.
auto_scale_lr = dict(base_batch_size=4, enable=False)
