# Copyright (c) mmfdta authors.
"""Runs exported models: NumPy, SciPy, OpenCV and onnxruntime, and no PyTorch.

Each module is imported by its name.
"""

__all__: list[str] = []
