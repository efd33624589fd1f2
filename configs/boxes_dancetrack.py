# FDTA's association on boxes alone, on DanceTrack. It needs only gt/gt.txt and
# seqinfo.ini of the sequences, and is tested on the boxes of the ground truth.
# boxes_fdta-det_dancetrack.py and boxes_yolox-x_dancetrack.py test it on detections.
_base_ = [
    './_base_/models/box_fdta.py',
    './_base_/datasets/dancetrack.py',
    './_base_/box_clips.py',
    './_base_/schedules/fdta_13e.py',
    './_base_/default_runtime.py',
]

model = dict(_base_.association, **_base_.oracle)

train_pipeline = _base_.box_train_pipeline
train_pipeline[3].update(num_groups=4, vocab=50, occlusion_prob=0.5, switch_prob=0.1)

train_dataloader = dict(
    batch_size=4,
    sampler=dict(max_interval=2),
    dataset=dict(text_only=True, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(text_only=True, pipeline=_base_.box_test_pipeline),
)
test_dataloader = val_dataloader

optim_wrapper = dict(
    _delete_=True,
    type='GroupClipOptimWrapper',
    constructor='GroupedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=4e-4, weight_decay=5e-4, fused=True),
    clip_grad=dict(max_norm=0.5, norm_type=2),
)
