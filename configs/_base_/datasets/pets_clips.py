# PETS09-S2L1 for training: clips of the first half, at half their width and height,
# with the depth maps that `mmfdta prepare-dataset pets --ground-depth` draws.
_base_ = ['./pets.py']

short_side = 288
clip_length = 10

to_scale = dict(type='ClipResize', short=short_side, max_long=None)
train_pipeline = [
    dict(type='OpenClip'),
    # Few people walk in the first half. Without crops the places where they do, and
    # their one size, are learned.
    dict(
        type='ClipRandomChoice',
        transforms=[
            [to_scale],
            [
                dict(type='ClipRandomCrop', min_size=288, max_size=768),
                dict(type='ClipResize', short=short_side, max_long=512),
            ],
        ],
    ),
    dict(type='ClipRandomFlip', prob=0.5),
    dict(type='DecodeClip'),
    dict(type='LoadClipDepth', missing='error'),
    dict(
        type='ClipColorJitter', brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02
    ),
    dict(
        type='GenerateIDTargets',
        num_groups=8,
        vocab=16,
        occlusion_prob=0.3,
        switch_prob=0.1,
    ),
    dict(type='PackClipInputs'),
]
test_pipeline = [
    dict(
        type='ClipSteps',
        transforms=[
            dict(type='OpenClip'),
            to_scale,
            dict(type='DecodeClip', exact=True),
        ],
    ),
    dict(type='PackClipInputs'),
]

half = dict(_base_.val_dataloader['dataset'], pipeline=test_pipeline)
val_dataloader = dict(dataset=half)
test_dataloader = dict(dataset=dict(half, half='second'))
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='ClipSampler', lengths=clip_length, max_interval=2),
    dataset=dict(half, test_mode=False, pipeline=train_pipeline),
)
