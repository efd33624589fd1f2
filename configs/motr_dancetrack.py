# MOTR on DanceTrack, trained on the train split (published: HOTA 54.2 on test).
# Start from COCO: --cfg-options load_from=PATH, see docs/motr.md. Sizes, crops, clip
# lengths and intervals as configs/r50_motr_train_dance.sh and datasets/dance.py of the
# released code; size in inference as submit_dance.py.
_base_ = [
    './_base_/models/motr_r50.py',
    './_base_/datasets/dancetrack.py',
    './_base_/schedules/motr_20e.py',
    './_base_/default_runtime.py',
]

max_long = 1536
resize_scales = [608, 640, 672, 704, 736, 768, 800, 832, 864, 896, 928, 960, 992]
to_scale = dict(type='ClipRandomResize', short_sides=resize_scales, max_long=max_long)
train_pipeline = [
    dict(type='OpenClip'),
    dict(type='ClipRandomFlip', prob=0.5),
    dict(
        type='ClipRandomChoice',
        transforms=[
            [to_scale],
            [
                dict(type='ClipRandomResize', short_sides=[800, 1000, 1200]),
                dict(type='ClipRandomCrop', min_size=800, max_size=1200),
                to_scale,
            ],
        ],
    ),
    dict(type='DecodeClip'),
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
    sampler=dict(
        _delete_=True,
        type='ClipSampler',
        # Frames of a clip from these epochs on.
        lengths={0: 2, 5: 3, 9: 4, 15: 5},
        max_interval=11,
    ),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

default_hooks = dict(checkpoint=dict(save_best='mot/HOTA'))
