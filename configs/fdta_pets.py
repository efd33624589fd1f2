# The small FDTA on the first half of PETS09-S2L1, trained on from the weights in the
# package, which know drawn dancers only. To start from the detector of
# deformable_detr_pets.py and the package's association: --cfg-options load_from=PATH.
# docs/benchmark_results.md has its scores.
_base_ = [
    './_base_/models/fdta_small.py',
    './_base_/datasets/pets_clips.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini_fdta.py',
]

model = dict(
    # What load_from has replaces these weights.
    init_cfg=dict(type='Pretrained', checkpoint='minidance'),
    # Images have three times the pixels of MiniDance's; fewer frames take gradients.
    clip_detection=dict(num_grad_frames=4),
)

max_iters = 800
warmup_iters = 50
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=warmup_iters)
param_scheduler[1].update(
    begin=warmup_iters, end=max_iters, T_max=max_iters - warmup_iters
)
default_hooks = dict(checkpoint=dict(interval=200))
