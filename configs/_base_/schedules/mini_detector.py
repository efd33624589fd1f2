# mini.py for a plain detector on single frames.
_base_ = ['./mini.py']

optim_wrapper = dict(
    optimizer=dict(lr=8e-4),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(
        custom_keys={
            'sampling_offsets': dict(lr_mult=0.1),
            'reference_points': dict(lr_mult=0.1),
        }
    ),
)
