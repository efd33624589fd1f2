"""A small detector of pictures and tokens, and its ONNX graph."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions and what they add to, as ResNet has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.conv2(self.conv1(x).relu())).relu()


class Layer(nn.Module):
    """Attention and a feed-forward network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(channels, 2, batch_first=True)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, 2 * channels)
        self.linear2 = nn.Linear(2 * channels, channels)
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = nn.functional.linear(
            x, self.attn.in_proj_weight, self.attn.in_proj_bias
        ).chunk(3, -1)
        weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
        x = self.norm1(x + self.attn.out_proj(weights @ v))
        return self.norm2(x + self.linear2(self.linear1(x).relu()))


class SmallDetector(nn.Module):
    """Frames to boxes in pixels and scores, by a head that stays float32."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.block = Block(channels)
        self.layer = Layer(channels)
        self.bbox_head = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, 5)
        )

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool(self.stem(frames.float() / 255 - 0.5).relu())
        tokens = self.layer(self.block(x).flatten(2).transpose(1, 2))
        found = self.bbox_head(tokens)
        places = torch.arange(tokens.shape[1]) * 1000.25
        return found[..., :4] + places[:, None], found[..., 4].sigmoid()


def make_graph(network: nn.Module, *args: Tensor) -> onnx.ModelProto:
    """Export a network as `mmfdta export` does; the batch is dynamic."""
    shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in args)
    program = torch.onnx.export(
        network.eval(),
        args,
        dynamo=True,
        opset_version=18,
        dynamic_shapes=shapes,
        verbose=False,
    )
    return program.model_proto


def run_graph(model: onnx.ModelProto, *inputs: np.ndarray) -> list[np.ndarray]:
    """Run a graph with one thread."""
    session = open_graph(model)
    names = [x.name for x in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def open_graph(model: onnx.ModelProto, optimised: Path | None = None):
    """Open a session; `optimised` gets what onnxruntime makes of the graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider']
    )


def operators(model: onnx.ModelProto) -> Counter:
    """Count the operators of a graph."""
    return Counter(node.op_type for node in model.graph.node)
