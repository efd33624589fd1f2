# The small FDTA on the first half of PETS09-S2L1, trained on from the weights in the
# package, which know drawn dancers only. docs/benchmark_results.md has its scores.
_base_ = [
    './_base_/models/fdta_small.py',
    './_base_/datasets/pets_clips.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini_fdta.py',
]

load_from = 'minidance'

# Images have three times the pixels of MiniDance's; fewer frames take the gradients.
model = dict(clip_detection=dict(num_grad_frames=4))

max_iters = 400
warmup_iters = 50
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=warmup_iters)
param_scheduler[1].update(
    begin=warmup_iters, end=max_iters, T_max=max_iters - warmup_iters
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
default_hooks = dict(checkpoint=dict(interval=100))
