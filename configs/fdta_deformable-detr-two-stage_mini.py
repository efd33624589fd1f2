# FDTA on MMDetection's two-stage Deformable DETR, small, on MiniDance with two CPU
# cores; starts from deformable-detr-two-stage_mini.py.
_base_ = [
    './_base_/models/fdta_deformable_detr_two_stage_small.py',
    './_base_/datasets/minidance.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini_query_detector.py',
]
