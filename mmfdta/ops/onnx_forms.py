# Copyright (c) mmfdta authors.
"""ONNX forms of operators that PyTorch's exporter does not know or writes badly."""

from collections.abc import Callable

import torch

from .attention_in_onnx import attention_in_blocks
from .deformable_attention.gather import gathered_sampling
from .onnx_writing import restart_names


def onnx_translations() -> dict[Callable, Callable]:
    """Return the ``custom_translation_table`` for ``torch.onnx.export``.

    All forms use ONNX's own operators: Gather instead of GridSample for deformable
    sampling, and attention that does not keep the scores of all queries and keys.

    Call it again for each graph: this restarts the names inside loops, so that the same
    network gives the same file.
    """
    restart_names()
    return {
        torch.ops.mmfdta.deformable_sampling.default: gathered_sampling,
        torch.ops.aten.scaled_dot_product_attention.default: attention_in_blocks,
    }
