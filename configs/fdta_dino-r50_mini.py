# FDTA on MMDetection's DINO, small, on MiniDance with two CPU cores; starts from
# dino-r50_mini.py.
_base_ = [
    './_base_/models/fdta_dino_small.py',
    './_base_/datasets/minidance.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini_query_detector.py',
]

# A clip takes a sixth longer than in fdta_mini.py.
max_iters = 2000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_iters, T_max=max_iters - _base_.warmup_iters)
