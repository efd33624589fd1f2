# FDTA on SportsMOT, trained on the train split (published: HOTA 74.2 on test).
# Start from a detector: --cfg-options load_from=PATH, see docs/checkpoints.md.
_base_ = [
    './_base_/models/fdta_r50.py',
    './_base_/datasets/sportsmot.py',
    './_base_/schedules/fdta_13e.py',
    './_base_/default_runtime.py',
]

model = dict(
    detector=dict(bbox_head=dict(loss_depth=dict(fg_weight=7.0))),
    id_decoder=dict(with_cp=True),
    window=60,
)

param_scheduler = [
    dict(type='IterWarmupLR', by_epoch=True, end=1, convert_to_iter_based=True),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        end=_base_.max_epochs,
        milestones=[8, 12],
        gamma=0.1,
    ),
]

default_hooks = dict(checkpoint=dict(save_best='mot/HOTA'))
