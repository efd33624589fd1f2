# The second halves of MOT17 for models that others trained on the first ones, as large
# as MMDetection's Faster R-CNN takes them: 1088 pixels at most.
_base_ = ['./mot17.py']

train_dataloader = None
test_pipeline = [
    dict(
        type='ClipSteps',
        transforms=[
            dict(type='OpenClip'),
            dict(type='ClipResize', short=1088, max_long=1088),
            dict(type='DecodeClip', exact=True),
        ],
    ),
    dict(type='PackClipInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
