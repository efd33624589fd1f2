# FDTA on MMDetection's DINO, small, on MiniDance with two CPU cores; starts from
# dino-r50_mini.py.
_base_ = [
    './_base_/models/fdta_dino_small.py',
    './_base_/datasets/minidance.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini_query_detector.py',
]
