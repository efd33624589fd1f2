# Copyright (c) mmfdta authors.
"""Operators in ONNX that the exporter of PyTorch does not know, or writes slowly."""

from collections.abc import Callable

import torch

from .attention_in_onnx import attention_in_blocks
from .deformable_attention.gather import gathered_sampling
from .onnx_writing import restart_names


def onnx_translations() -> dict[Callable, Callable]:
    """Return what ``torch.onnx.export`` takes as ``custom_translation_table``.

    All forms are of ONNX's own operators: deformable sampling by Gather and not by
    GridSample, and attention that does not hold the scores of all queries and keys.

    Call it for each graph: names inside of loops begin anew, so that the same network
    gives the same file.
    """
    restart_names()
    return {
        torch.ops.mmfdta.deformable_sampling.default: gathered_sampling,
        torch.ops.aten.scaled_dot_product_attention.default: attention_in_blocks,
    }
