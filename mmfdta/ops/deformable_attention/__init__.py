# Copyright (c) mmfdta authors.
"""Multi-scale deformable attention (Zhu et al. 2021).

An output is a weighted sum of the four pixels around each sampling point. MMCV's
PyTorch path stores, stacks and multiplies all samples. Here is one operator with
several ways of computing it; `operator.py` says which one is taken.
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
