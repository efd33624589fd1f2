# MOTR on MiniDance with two CPU cores; starts from deformable_detr_mini.py, see
# docs/motr.md. The data base's clips are cut to five frames, the longest of the
# released schedule.
_base_ = [
    './_base_/models/motr_small.py',
    './_base_/datasets/minidance.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini.py',
]

train_pipeline = [
    step
    for step in _base_.train_pipeline
    if step['type'] not in ('LoadClipDepth', 'GenerateIDTargets')
]
train_dataloader = dict(
    batch_size=2,
    sampler=dict(lengths=5, max_interval=2),
    dataset=dict(pipeline=train_pipeline),
)
optim_wrapper = dict(
    optimizer=dict(lr=8e-4),
    paramwise_cfg=dict(
        custom_keys={
            'sampling_offsets': dict(lr_mult=0.06),
            'reference_points': dict(lr_mult=0.06),
            'track_attn': dict(lr_mult=1.0),
            'track_norm': dict(lr_mult=1.0),
            'detector': dict(lr_mult=0.6),
        }
    ),
)
