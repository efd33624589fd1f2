# Copyright (c) mmfdta authors.
"""Multi-scale deformable attention (Zhu et al. 2021).

An output is a weighted sum of the four pixels around each sampling point. MMCV's
PyTorch path stores, stacks and multiplies all samples. This package has one operator
with several implementations ("ways"):

- `module.py`: the drop-in for MMCV's module
- `operator.py`: the operator, its gradient, and the choice of the implementation
- `plain.py`: PyTorch's `grid_sample`, on any device
- `sparse.py`: sparse products, on a CPU
- `compiled.py`: MMCV's compiled operator, on CUDA
- `on_triton.py`, `kernels.py`: Triton kernels, on CUDA
- `levels.py`: sizes of levels on the host and on a device
"""

from .levels import LevelShapes, read_level_shapes
from .module import FastDeformableAttention
from .operator import deformable_sampling, sampling_ways

__all__ = [
    'FastDeformableAttention',
    'LevelShapes',
    'deformable_sampling',
    'read_level_shapes',
    'sampling_ways',
]
