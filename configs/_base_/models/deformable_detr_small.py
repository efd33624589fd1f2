# The plain detector of fdta_mini.py, trained from scratch.
_base_ = ['./deformable_detr_r50.py', './mini_sizes.py']

model = dict(_base_.detector_sizes)
model['backbone']['norm_eval'] = False
