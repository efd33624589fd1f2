# FDTA for a CPU: fdta_r50.py, small, and trained from scratch.
_base_ = ['./fdta_r50.py', './mini_sizes.py']

model = dict(
    _base_.fdta_sizes,
    detector=dict(_base_.detector_sizes, spatial_adapter=_base_.spatial_sizes),
)
