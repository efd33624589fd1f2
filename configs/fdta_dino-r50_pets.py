# FDTA on MMDetection's DINO, small, on the first half of PETS09-S2L1. Its detector
# starts from weights of dino-r50_pets.py (--cfg-options load_from=PATH), the rest from
# those of fdta_dino-r50_mini.py, which model.init_cfg names.
_base_ = [
    './_base_/models/fdta_dino_small.py',
    './_base_/datasets/pets_clips.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini_query_detector.py',
]

model = dict(
    # What load_from has replaces these weights.
    init_cfg=dict(
        type='Pretrained', checkpoint='work_dirs/fdta_dino-r50_mini/iter_2000.pth'
    ),
    clip_detection=dict(num_grad_frames=4),
)

# As in fdta_pets.py.
max_iters = 800
warmup_iters = 50
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=warmup_iters)
param_scheduler[1].update(
    begin=warmup_iters, end=max_iters, T_max=max_iters - warmup_iters
)
default_hooks = dict(checkpoint=dict(interval=200))
