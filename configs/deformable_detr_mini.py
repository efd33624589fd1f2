# The plain detector of fdta_mini.py on single frames, from scratch. Its weights
# start fdta_mini.py.
_base_ = ['./_base_/models/deformable_detr_small.py', './_base_/mini_detector.py']
