# mini.py for FDTA on a detector of MMDetection, whose reference points are not learnt:
# learning rates and clipping by part. Fewer iterations take as long.
_base_ = ['./mini.py']

max_iters = 2300
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_iters, T_max=max_iters - _base_.warmup_iters)

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'sampling_offsets': dict(lr_mult=0.06),
            'spatial_adapter': dict(lr_mult=1.0),
            'depth_layers': dict(lr_mult=1.0),
            'detector': dict(lr_mult=0.6),
        }
    ),
    clip_groups=dict(detector='detector.', identity_adapter='identity_adapter.'),
)
