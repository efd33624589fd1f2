# Copyright (c) mmfdta authors.
"""The graph of a detector: pixels in, boxes out; what its kinds share."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from .normalization import FrameNormalization


class DetectorGraph(nn.Module):
    """A detector as one function of pixels, ready for `to_onnx`.

    ``forward(frames)``, with a fixed size of query detectors ``forward(frames,
    sizes)``: ``frames`` uint8 (F, 3, H, W) in the channel order of the network,
    ``sizes`` int64 (F, 2), height and width without padding. It returns a tuple in the
    order of `outputs`:

    - kind ``'queries'``: ``boxes`` float32 (F, Q, 4), cxcywh in 0..1 of the unpadded
      frame; ``scores`` float32 and ``labels`` int64 (F, Q); ``embeddings`` float32
      (F, Q, C) where the model associates by them;
    - kind ``'yolox'``: ``boxes`` float32 (F, N, 4), xyxy in pixels of the frame;
      ``scores`` float32 and ``labels`` int64 (F, N), before thresholds and suppression.

    Args:
        model: A tracker with a detector.
        size: Height and width of all frames, with padding; None takes any.

    Attributes:
        kind: What the outputs are.
        outputs: Their names.
        test_cfg: What those who choose among the boxes need to know.
    """

    kind = 'queries'
    outputs: tuple[str, ...] = ('boxes', 'scores', 'labels')

    def __init__(self, model: nn.Module, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.normalization = FrameNormalization(model.data_preprocessor)
        self.size = size
        self.test_cfg: dict[str, Any] = {}
        if hasattr(model, 'score_identities'):
            self.outputs = (*self.outputs, 'embeddings')

    @classmethod
    def fits(cls, model: nn.Module) -> bool:
        """Whether this is the graph of the model's detector."""
        raise NotImplementedError

    @property
    def takes_sizes(self) -> bool:
        """Whether ``forward`` is told sizes without padding."""
        return self.size is not None and self.normalization.pad_value is None

    def example(self) -> dict[str, Tensor]:
        """Inputs that it is recorded with: two frames of random pixels."""
        height, width = self.size or (160, 224)
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (2, 3, height, width), generator=generator)
        inputs = dict(frames=pixels.to(torch.uint8))
        if self.takes_sizes:
            inputs['sizes'] = torch.tensor([[height, width], [height - 5, width - 9]])
        return inputs

    def dynamic(self) -> dict[str, dict[int, Any]]:
        """Axes of the inputs that have any length: input -> axis -> its name."""
        axes: dict[int, Any] = {0: Dim('frames')}
        if self.size is None:
            # Frames that come padded have sides that are multiples.
            divides = self.normalization.pad_value is not None
            step = self.normalization.divisor if divides else 1
            for axis, name in ((2, 'height'), (3, 'width')):
                axes[axis] = Dim(name) if step == 1 else step * Dim(f'{name}_in_steps')
        shapes = dict(frames=axes)
        if self.takes_sizes:
            shapes['sizes'] = {0: axes[0]}
        return shapes
