# FDTA on MiniDance with two CPU cores; starts from deformable_detr_mini.py.
# `make demo-train` trains both and compares the result with other trackers.
_base_ = [
    './_base_/models/fdta_small.py',
    './_base_/datasets/minidance.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini.py',
]

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'sampling_offsets': dict(lr_mult=0.06),
            'reference_points': dict(lr_mult=0.06),
            'spatial_adapter': dict(lr_mult=1.0),
            'depth_attn': dict(lr_mult=1.0),
            'depth_norm': dict(lr_mult=1.0),
            'detector': dict(lr_mult=0.6),
        }
    ),
    clip_groups=dict(detector='detector.', identity_adapter='identity_adapter.'),
)
