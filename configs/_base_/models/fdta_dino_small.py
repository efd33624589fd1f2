# FDTA on MMDetection's DINO for a CPU: fdta_dino_r50.py, small, and trained from
# scratch.
_base_ = ['./fdta_dino_r50.py', './mini_sizes.py']

model = dict(
    _base_.fdta_sizes,
    detector=dict(host=_base_.dino_sizes, spatial_adapter=_base_.spatial_sizes),
)
