# DanceTrack: clips of 30 frames; tested on the val split (test has no public labels).
dataset_type = 'DanceTrackDataset'
data_root = 'data/DanceTrack'
clip_length = 30
max_long = 1440  # longest side of an image

resize_scales = [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]
to_scale = dict(type='ClipRandomResize', short_sides=resize_scales, max_long=max_long)
train_pipeline = [
    dict(type='OpenClip'),
    dict(type='StaticClipShift', max_ratio=0.06),
    dict(type='ClipRandomFlip', prob=0.5),
    dict(
        type='ClipRandomChoice',
        transforms=[
            [to_scale],
            [
                dict(type='ClipRandomResize', short_sides=[400, 500, 600]),
                dict(type='ClipRandomCrop', min_size=384, max_size=600),
                to_scale,
            ],
        ],
    ),
    dict(type='DecodeClip'),
    dict(type='LoadClipDepth', missing='skip'),
    dict(type='ClipColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
    dict(
        type='GenerateIDTargets',
        num_groups=6,
        vocab=50,
        occlusion_prob=0.5,
        switch_prob=0.5,
    ),
    dict(type='PackClipInputs'),
]
test_pipeline = [
    dict(
        type='ClipSteps',
        transforms=[
            dict(type='OpenClip'),
            dict(type='ClipResize', short=800, max_long=max_long),
            dict(type='DecodeClip', exact=True),
        ],
    ),
    dict(type='PackClipInputs'),
]

train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='ClipSampler', lengths=clip_length, max_interval=4),
    dataset=dict(
        type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='SequenceSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

# Scored by the rules of the data set.
val_evaluator = dict(type='MOTMetric', metric=['HOTA', 'CLEAR', 'Identity'])
test_evaluator = val_evaluator
