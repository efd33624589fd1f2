# The plain detector on DanceTrack's frames; its weights start fdta_dancetrack.py.
# Start from COCO: --cfg-options load_from=PATH, see docs/training.md.
_base_ = [
    './_base_/models/deformable_detr_r50.py',
    './_base_/datasets/dancetrack.py',
    './_base_/datasets/single_frames.py',
    './_base_/schedules/deformable_detr_20e.py',
    './_base_/default_runtime.py',
]

clips_only = ('StaticClipShift', 'LoadClipDepth', 'GenerateIDTargets')
train_pipeline = [
    step for step in _base_.train_pipeline if step['type'] not in clips_only
] + [dict(type='UnpackFrame', bgr=True)]
train_dataloader = dict(
    batch_size=2,
    sampler=dict(lengths=1, max_interval=1),
    dataset=dict(pipeline=train_pipeline),
)

val_dataloader = dict(
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=False),
    dataset=dict(single_frames=True, pipeline=_base_.frame_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(type='DetVisualizationHook'))
visualizer = dict(type='DetectionVisualizer')
