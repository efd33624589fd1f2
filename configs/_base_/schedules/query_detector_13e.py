# fdta_13e.py for the detectors of MMDetection, whose reference points are not learnt.
_base_ = ['./fdta_13e.py']

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(
            _delete_=True,
            backbone=dict(lr_mult=0.1),
            sampling_offsets=dict(lr_mult=0.05),
        )
    )
)
