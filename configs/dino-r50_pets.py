# MMDetection's DINO, small, on single frames of the first half of PETS09-S2L1. Trained
# on from weights of dino-r50_mini.py: --cfg-options load_from=PATH. Its weights start
# fdta_dino-r50_pets.py. Its own score is not known.
_base_ = ['./_base_/models/dino_small.py', './_base_/pets_detector.py']

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(_delete_=True, sampling_offsets=dict(lr_mult=0.1))
    )
)
