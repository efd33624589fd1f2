# MOTIP on MiniDance: fdta_mini.py without its adapters. Starts from the same detector,
# deformable_detr_mini.py, whose names in it begin with `detector.`.
_base_ = ['./fdta_mini.py', './_base_/models/motip.py']

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
