# FDTA on MiniDance with two CPU cores; starts from deformable_detr_mini.py.
# `make demo-train` trains both and compares the result with other trackers.
_base_ = [
    './_base_/models/fdta_small.py',
    './_base_/datasets/minidance.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini_fdta.py',
]
