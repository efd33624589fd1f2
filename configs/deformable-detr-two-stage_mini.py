# MMDetection's two-stage Deformable DETR, small, on single frames, from scratch. Its
# weights start fdta_deformable-detr-two-stage_mini.py.
_base_ = [
    './_base_/models/deformable_detr_two_stage_small.py',
    './_base_/mini_detector.py',
]

# Reference points are the encoder's proposals.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(_delete_=True, sampling_offsets=dict(lr_mult=0.1))
    )
)
