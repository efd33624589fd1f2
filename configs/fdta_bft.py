# FDTA on BFT (birds), trained on the train split (published: HOTA 72.2 on test).
# Start from a detector: --cfg-options load_from=PATH, see docs/checkpoints.md.
_base_ = [
    './_base_/models/fdta_r50.py',
    './_base_/datasets/bft.py',
    './_base_/schedules/fdta_13e.py',
    './_base_/default_runtime.py',
]

model = dict(
    detector=dict(
        spatial_adapter=dict(num_bins=120),
        bbox_head=dict(loss_depth=dict(fg_weight=10.0)),
    ),
    window=20,
)

max_epochs = 22
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='IterWarmupLR', by_epoch=True, end=2, convert_to_iter_based=True),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        end=max_epochs,
        milestones=[16, 20],
        gamma=0.1,
    ),
]

default_hooks = dict(checkpoint=dict(save_best='mot/HOTA'))
