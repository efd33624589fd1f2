"""A small detector of pictures and tokens, and its ONNX graph."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from mmfdta.ops.deformable_attention import deformable_sampling
from mmfdta.ops.onnx_forms import onnx_translations


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


class WideSampling(nn.Module):
    """Sampling of a level of 3000 pixels, between products; sizes are known."""

    width = 3000

    def __init__(self, heads: int = 2, points: int = 2, channels: int = 8) -> None:
        super().__init__()
        self.size = heads, 1, points
        self.value_proj = nn.Linear(channels, channels)
        self.offsets = nn.Linear(channels, 2 * heads * points)
        self.output_proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, centre: Tensor) -> Tensor:
        """Sample for tokens (B, Q, C) at centres (B, Q, 1, 2) in pixels."""
        x, y = self.offsets(tokens).unflatten(-1, (2, *self.size)).unbind(2)
        # Each pixel has another value, in a row of its own.
        value = tokens.repeat(1, self.width // tokens.shape[1], 1)
        value = value * torch.linspace(0, 60, self.width).sin()[:, None]
        value = self.value_proj(value).unflatten(-1, (self.size[0], -1))
        weights = torch.full_like(x, 0.5)
        level = ((1, self.width),)
        sums = deformable_sampling(value, level, x, y * 0.1, weights, centre=centre)
        return self.output_proj(sums)


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
        custom_translation_table=onnx_translations(),
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
