# MMDetection's two-stage Deformable DETR, small, on single frames, from scratch. Its
# weights start fdta_deformable-detr-two-stage_mini.py.
_base_ = [
    './_base_/models/deformable_detr_two_stage_small.py',
    './_base_/mini_two_stage_detector.py',
]
