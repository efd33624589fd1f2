# mini.py for FDTA on its own detector: learning rates and clipping by part.
_base_ = ['./mini.py']

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'sampling_offsets': dict(lr_mult=0.06),
            'reference_points': dict(lr_mult=0.06),
            'spatial_adapter': dict(lr_mult=1.0),
            'detector': dict(lr_mult=0.6),
        }
    ),
    clip_groups=dict(detector='detector.', identity_adapter='identity_adapter.'),
)
