# MiniDance: rendered when it is missing; clips of 16 frames, tested on val.
dataset_type = 'MiniDanceDataset'
data_root = 'data/minidance'
clip_length = 16

# Fields of MiniDanceOptions that are not the default.
options = dict()

train_pipeline = [
    dict(type='OpenClip'),
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
            dict(type='DecodeClip', exact=True),
        ],
    ),
    dict(type='PackClipInputs'),
]

# No worker: handing small clips from process to process takes longer than loading them.
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='ClipSampler', lengths=clip_length, max_interval=2),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        options=options,
        split='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='SequenceSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        options=options,
        split='val',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], split='test')
)

# Scored by the rules of the data set.
val_evaluator = dict(type='MOTMetric', metric=['HOTA', 'CLEAR', 'Identity'])
test_evaluator = val_evaluator
