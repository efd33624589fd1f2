# The plain detector on DanceTrack's frames; its weights start fdta_dancetrack.py.
# Start from COCO: --cfg-options load_from=PATH, see docs/training.md.
_base_ = [
    './_base_/models/deformable_detr_r50.py',
    './_base_/datasets/dancetrack.py',
    './_base_/schedules/deformable_detr_20e.py',
    './_base_/default_runtime.py',
]

clips_only = ('StaticClipShift', 'LoadClipDepth', 'GenerateIDTargets')
train_pipeline = [
    step for step in _base_.train_pipeline if step['type'] not in clips_only
] + [dict(type='UnpackFrame')]
train_dataloader = dict(
    batch_size=2,
    sampler=dict(lengths=1, max_interval=1),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
