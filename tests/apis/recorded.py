# Copyright (c) mmfdta authors.
"""Graphs recorded as ONNX, run by onnxruntime on one thread."""

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from mmfdta.apis.export import to_onnx


class Recorded:
    """A graph in ONNX.

    Args:
        graph: What it was recorded from, with `example`, `dynamic` and `outputs`.
    """

    def __init__(self, graph: nn.Module) -> None:
        self.graph = graph
        self.proto = to_onnx(graph, graph.example(), graph.dynamic(), graph.outputs)
        self.session = open_proto(self.proto)

    def differences(self, inputs: dict[str, Tensor]) -> dict[str, float]:
        """Largest difference of each output from PyTorch's."""
        with torch.no_grad():
            expected = self.graph(**inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        feeds = {name: value.numpy() for name, value in inputs.items()}
        found = self.session.run(list(self.graph.outputs), feeds)
        differences = {}
        for name, ours, theirs in zip(self.graph.outputs, expected, found, strict=True):
            assert theirs.shape == tuple(ours.shape), name
            assert theirs.dtype == ours.numpy().dtype, name
            apart = np.abs(ours.numpy().astype(np.float64) - theirs)
            differences[name] = float(apart.max(initial=0))
        return differences


def open_proto(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Open a graph on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, ['CPUExecutionProvider']
    )
