# MOTR on MOT17, trained on its train split and CrowdHuman's val split (published: HOTA
# 57.8 on test). Settings as configs/r50_motr_train.sh and datasets/joint.py of the
# released code. Validated on the second halves of the sequences, which are trained on.
_base_ = ['./motr_dancetrack.py']

to_scale = _base_.to_scale
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
    dict(type='PackClipInputs'),
]

mot17 = dict(type='MOT17Dataset', data_root='data/MOT17', split='train')
train_dataloader = dict(
    sampler=dict(
        _delete_=True,
        type='ClipSampler',
        lengths={0: 2, 50: 3, 90: 4, 150: 5},
        max_interval=10,
    ),
    dataset=dict(
        _delete_=True,
        type='JointMOTDataset',
        datasets=[
            mot17,
            dict(
                type='CrowdHumanClipDataset', data_root='data/CrowdHuman', split='val'
            ),
        ],
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(mot17, half='second'))
test_dataloader = val_dataloader

max_epochs = 200
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, end=max_epochs, milestones=[100], gamma=0.1)
]
