# FDTA's association on boxes and embeddings of FDTA's detector, which stays frozen.
# Starts from a checkpoint of fdta_mini.py and trains on images (docs/boxes.md).
_base_ = ['./fdta_mini.py', './_base_/models/box_fdta_small.py']

load_from = 'minidance'

model = dict(
    _base_.association,
    _delete_=True,
    box_encoder=dict(_base_.association.box_encoder, looks_dims=64),
    data_preprocessor=_base_.model.data_preprocessor,
    detector=_base_.model.detector,
)

train_pipeline = [
    step for step in _base_.train_pipeline if step['type'] != 'LoadClipDepth'
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

max_iters = 800
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_iters, T_max=max_iters - _base_.warmup_iters)
optim_wrapper = dict(
    _delete_=True,
    type='GroupClipOptimWrapper',
    constructor='GroupedOptimWrapperConstructor',
    optimizer=_base_.optim_wrapper.optimizer,
    clip_grad=_base_.optim_wrapper.clip_grad,
)
