# The plain detector of fdta_mini.py on single frames, from scratch. Its weights
# start fdta_mini.py.
_base_ = [
    './_base_/models/fdta_mini.py',
    './_base_/datasets/minidance.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini.py',
]

detector = _base_.detector
detector.spatial_adapter = None
detector.bbox_head.loss_depth = None
detector.backbone.norm_eval = False
detector.data_preprocessor = dict(
    type='DetDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
)
model = dict(_delete_=True, **detector)

train_pipeline = [
    dict(type='OpenClip'),
    dict(type='ClipRandomFlip', prob=0.5),
    dict(type='DecodeClip'),
    dict(type='ClipColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
    dict(type='PackClipInputs'),
    dict(type='UnpackFrame'),
]
train_dataloader = dict(
    batch_size=8,
    sampler=dict(lengths=1, max_interval=1),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = None
val_cfg = None
val_evaluator = None
test_dataloader = None
test_cfg = None
test_evaluator = None

max_iters = 3400
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_iters, T_max=max_iters - 100)

optim_wrapper = dict(
    optimizer=dict(lr=8e-4),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(
        custom_keys={
            'sampling_offsets': dict(lr_mult=0.1),
            'reference_points': dict(lr_mult=0.1),
        }
    ),
)
