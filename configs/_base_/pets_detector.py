# A plain detector on single frames of the first half of PETS09-S2L1, at half their
# width and height: everything but the model.
_base_ = [
    './datasets/pets_clips.py',
    './datasets/single_frames.py',
    './mini_runtime.py',
    './schedules/mini_detector.py',
]

train_pipeline = [
    dict(type='OpenClip'),
    dict(type='ClipResize', short=_base_.short_side, max_long=None),
    dict(type='ClipRandomFlip', prob=0.5),
    dict(type='DecodeClip'),
    dict(type='ClipColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
    dict(type='PackClipInputs'),
    dict(type='UnpackFrame', bgr=True),
]
train_dataloader = dict(
    batch_size=4,
    sampler=dict(lengths=1, max_interval=1),
    dataset=dict(pipeline=train_pipeline),
)
frame_pipeline = _base_.frame_pipeline
tta_pipeline = _base_.tta_pipeline
frame_pipeline[1] = tta_pipeline[1] = dict(type='Resize', scale_factor=0.5)
frames = dict(_base_.half, single_frames=True, pipeline=frame_pipeline)
val_dataloader = dict(
    batch_size=4,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=False),
    dataset=frames,
)
test_dataloader = dict(val_dataloader, dataset=dict(frames, half='second'))
val_evaluator = dict(_delete_=True, type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(type='DetVisualizationHook'))
visualizer = dict(type='DetectionVisualizer')

max_iters = 2000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_iters, T_max=max_iters - _base_.warmup_iters)
