# Copyright (c) mmfdta authors.
"""The operators that networks are written on.

Each has a plain PyTorch reference and, behind one function, faster ways for a device.
Networks are built of plain modules; `accelerate` puts the faster ones in their place.
"""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from .acceleration import accelerate, exportable  # noqa: E402
from .compilation import compile_detector  # noqa: E402

__all__ = ['accelerate', 'compile_detector', 'exportable']
