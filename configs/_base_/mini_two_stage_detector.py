# mini_detector.py for MMDetection's detectors with two stages: their reference points
# are boxes of the encoder and not learnt. An iteration takes longer; fewer are enough.
_base_ = ['./mini_detector.py']

max_iters = 2400
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_iters, T_max=max_iters - _base_.warmup_iters)

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(_delete_=True, sampling_offsets=dict(lr_mult=0.1))
    )
)
