# Copyright (c) mmfdta authors.
"""Run the detector on the frames of clips, a few of them with gradients."""

import torch
from mmdet.structures import SampleList
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..detectors import DetectorOutputs, FDTADetector


class ClipDetection:
    """Detector outputs of all frames of B clips at bounded memory.

    Args:
        num_grad_frames (int): Random frames of each clip that carry gradients;
            all if there are no more than that.
        grad_chunk (int): Frames with gradients are recomputed in the backward
            pass in chunks of this size when there are more (activation
            checkpointing); 0 never does.
        no_grad_chunk (int): Frames without gradients that run at a time; 0 runs
            all at once.
    """

    def __init__(
        self, num_grad_frames: int = 4, grad_chunk: int = 5, no_grad_chunk: int = 20
    ) -> None:
        self.num_grad_frames = num_grad_frames
        self.grad_chunk = grad_chunk
        self.no_grad_chunk = no_grad_chunk

    def frame_order(self, length: int) -> Tensor:
        """Random order of a clip's frames; the first carry gradients."""
        return torch.randperm(length)

    def __call__(
        self, detector: FDTADetector, imgs: Tensor, frames: SampleList
    ) -> DetectorOutputs:
        """Detect.

        Args:
            detector (FDTADetector): The network.
            imgs (Tensor): (B, T, 3, H, W).
            frames (list[DetDataSample]): The B * T frames.

        Returns:
            DetectorOutputs: For all B * T frames, in their order.
        """
        batch, length = imgs.shape[:2]
        order = self.frame_order(length)
        index = torch.arange(batch)[:, None] * length + order
        num_grad = min(self.num_grad_frames, length)
        with_grad = index[:, :num_grad].flatten()
        without = index[:, num_grad:].flatten()
        imgs = imgs.flatten(0, 1)

        def run(chunk: Tensor, recompute: bool = False) -> DetectorOutputs:
            args = imgs[chunk.to(imgs.device)], [frames[i] for i in chunk.tolist()]
            if recompute:
                return checkpoint(detector.detect, *args, use_reentrant=False)
            return detector.detect(*args)

        recompute = 0 < self.grad_chunk < len(with_grad)
        parts = [run(chunk, recompute) for chunk in _chunks(with_grad, self.grad_chunk)]
        with torch.no_grad():
            parts += [run(chunk) for chunk in _chunks(without, self.no_grad_chunk)]
        position = torch.cat([with_grad, without]).argsort()
        return DetectorOutputs.merge(parts, position.to(imgs.device))


def _chunks(index: Tensor, size: int) -> tuple[Tensor, ...]:
    if not len(index):
        return ()
    return index.split(size) if size else (index,)
