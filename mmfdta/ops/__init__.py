# Copyright (c) mmfdta authors.
"""Operators that the networks use.

Each has a plain PyTorch reference and, behind one function, faster implementations for
some devices. Networks are built from plain modules; `accelerate` replaces these by the
faster ones.
"""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from .acceleration import accelerate, exportable  # noqa: E402
from .compilation import compile_detector  # noqa: E402

__all__ = ['accelerate', 'compile_detector', 'exportable']
