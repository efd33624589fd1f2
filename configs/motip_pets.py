# MOTIP on the first half of PETS09-S2L1: fdta_pets.py without its adapters, from the
# same weights, of which it takes what it has.
_base_ = ['./fdta_pets.py', './_base_/models/motip.py']

model = _base_.without_adapters
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(
            _delete_=True,
            sampling_offsets=dict(lr_mult=0.06),
            reference_points=dict(lr_mult=0.06),
            detector=dict(lr_mult=0.6),
        )
    ),
    clip_groups=dict(_delete_=True, detector='detector.'),
)

train_pipeline = [t for t in _base_.train_pipeline if t['type'] != 'LoadClipDepth']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
