# FDTA's association on boxes alone, on MiniDance. It learns from ground-truth text, not
# from images, and is tested on the boxes of the ground truth;
# boxes_fdta-det_mini.py tests it on what FDTA's detector finds.
_base_ = [
    './_base_/models/box_fdta_small.py',
    './_base_/datasets/minidance.py',
    './_base_/box_clips.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini.py',
]

model = dict(_base_.association, **_base_.oracle)

train_pipeline = _base_.box_train_pipeline
train_pipeline[3].update(num_groups=2, vocab=16, occlusion_prob=0.3, switch_prob=0.05)

train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(pipeline=_base_.box_test_pipeline),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], split='test')
)

# Minutes on one thread.
max_iters = 800
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_iters, T_max=max_iters - _base_.warmup_iters)

randomness = dict(seed=0)
