# Copyright (c) mmfdta authors.
"""Runs exported models with NumPy, SciPy, OpenCV and onnxruntime, without PyTorch.

Import its modules by their names.
"""

__all__: list[str] = []
