# MMDetection's DINO, small, on single frames, from scratch. Its weights start
# fdta_dino-r50_mini.py.
_base_ = ['./_base_/models/dino_small.py', './_base_/mini_detector.py']

# Reference points are the encoder's proposals.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(_delete_=True, sampling_offsets=dict(lr_mult=0.1))
    )
)
