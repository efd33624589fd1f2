# MOTIP on MMDetection's DINO, small, on MiniDance: fdta_dino-r50_mini.py without its
# adapters. Starts from the same detector, dino-r50_mini.py.
_base_ = ['./fdta_dino-r50_mini.py', './_base_/models/motip.py']

model = _base_.without_adapters_on_host
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(
            _delete_=True,
            sampling_offsets=dict(lr_mult=0.06),
            detector=dict(lr_mult=0.6),
        )
    ),
    clip_groups=dict(_delete_=True, detector='detector.'),
)

train_pipeline = [t for t in _base_.train_pipeline if t['type'] != 'LoadClipDepth']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
