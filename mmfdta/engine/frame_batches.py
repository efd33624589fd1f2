# Copyright (c) mmfdta authors.
"""Chooses how many frames a model gets at a time, and batches them.

Detectors of this project process each frame independently: a batch changes only the
last digits of boxes.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from mmdet.structures import DetDataSample, TrackDataSample
from torch import Tensor, nn
from torch.utils.data import DataLoader

MOST_FRAMES = 8
BYTES_PER_PIXEL = 1024
"""Memory reserved for a frame at inference; the largest models use a third of it."""


def frames_at_a_time(model: nn.Module, pixels: int) -> int:
    """Choose how many frames a model gets at a time.

    On a GPU as many as fit into half of the free memory, at 1 KiB per pixel of a frame,
    but at most 8: eight of 1440x800 need 18 GiB free. One on a CPU, where more gain
    nothing, and one for models without ``frames_together``, which process their frames
    one by one.

    Args:
        model: The model, on its device.
        pixels: Height times width of a frame as the model gets it.

    Returns:
        1 to 8.
    """
    model = getattr(model, 'module', model)
    device = next((p.device for p in model.parameters()), None)
    together = getattr(model, 'frames_together', False)
    if device is None or device.type != 'cuda' or not together:
        return 1
    free = torch.cuda.mem_get_info(device)[0]
    # Memory that PyTorch has reserved but does not use is also free.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    fitting = free // 2 // (pixels * BYTES_PER_PIXEL)
    return min(max(fitting, 1), MOST_FRAMES)


def pixels_of(batch: dict) -> int:
    """Count the pixels, height times width, of the frames of a batch or sample."""
    inputs = batch['inputs']
    images = inputs['img'] if isinstance(inputs, Mapping) else inputs
    images = images if isinstance(images, Tensor) else images[0]
    return math.prod(images.shape[-2:])


def frames_of(batch: dict) -> tuple[Tensor, list[DetDataSample]]:
    """Return the frames of a batch of clips.

    Args:
        batch: ``inputs`` and ``data_samples``, as a data preprocessor returns them.

    Returns:
        Frames (F, 3, H, W), and the sample of each.
    """
    imgs = batch['inputs']
    imgs = (imgs['img'] if isinstance(imgs, Mapping) else imgs).flatten(0, 1)
    return imgs, [frame for clip in batch['data_samples'] for frame in clip]


class FrameBatches:
    """A data loader that gives a model several frames of a sequence at a time.

    Frames that a loader yields one by one are joined as long as they are of one
    sequence and size. Other batches are yielded unchanged. All other attributes are the
    loader's.

    Args:
        loader: MMEngine's or PyTorch's data loader.
        choose: Returns how many frames of a number of pixels go together.
    """

    def __init__(self, loader: DataLoader, choose: Callable[[int], int]) -> None:
        self._loader = loader
        self._choose = choose
        self._frames = 1
        self._done = self._seen = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __len__(self) -> int:
        """Count the batches: exact after the last one, estimated before."""
        return self._done + math.ceil((len(self._loader) - self._seen) / self._frames)

    def __iter__(self) -> Iterator[dict]:
        """Yield the batches."""
        self._done = self._seen = 0
        waiting: list[dict] = []
        kind: tuple | None = None
        for batch in self._loader:
            found = _kind_of(batch)
            if waiting and found != kind:
                yield self._join(waiting)
                waiting = []
            if found is None:
                yield self._join([batch])
                continue
            if found != kind:
                self._frames = self._choose(pixels_of(batch))
            kind = found
            waiting.append(batch)
            if len(waiting) >= self._frames:
                yield self._join(waiting)
                waiting = []
        if waiting:
            yield self._join(waiting)

    def _join(self, batches: list[dict]) -> dict:
        self._done += 1
        self._seen += len(batches)
        return join_clips(batches)


def _kind_of(batch: Any) -> tuple | None:
    """Return a key that frames must share to be joined; None if it is no frame."""
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if not isinstance(samples, list) or len(samples) != 1:
        return None
    clip = samples[0]
    if not isinstance(clip, TrackDataSample) or len(clip) != 1:
        return None
    shapes = [(name, part.shape) for name, part in _parts_of(batch)]
    return clip[0].get('video_id'), clip[0].get('sequence'), shapes


def _parts_of(batch: dict) -> list[tuple[str, Tensor]]:
    """Return the inputs of the only clip in a batch, with their names."""
    inputs = batch['inputs']
    if isinstance(inputs, Mapping):
        return [(name, clips[0]) for name, clips in inputs.items()]
    return [('', inputs[0])]


def join_clips(batches: list[dict]) -> dict:
    """Join batches of one clip each to one batch of one clip.

    Args:
        batches: ``inputs``, a list of a tensor (T, ...) or a dict of such lists, and
            ``data_samples``, as a collate function returns them; all of one size.

    Returns:
        A batch with all frames; tensors are in pinned memory if all were.
    """
    if len(batches) == 1:
        return batches[0]
    first = batches[0]['inputs']
    parts = zip(*(_parts_of(batch) for batch in batches), strict=True)
    joined = {part[0][0]: [_concatenate([t for _, t in part])] for part in parts}
    clip = TrackDataSample()
    clip.video_data_samples = [
        frame for batch in batches for frame in batch['data_samples'][0]
    ]
    inputs = joined if isinstance(first, Mapping) else joined['']
    return dict(inputs=inputs, data_samples=[clip])


def _concatenate(tensors: list[Tensor]) -> Tensor:
    if not all(tensor.is_pinned() for tensor in tensors):
        return torch.cat(tensors)
    length = sum(len(tensor) for tensor in tensors)
    shape = length, *tensors[0].shape[1:]
    pinned = torch.empty(shape, dtype=tensors[0].dtype, pin_memory=True)
    return torch.cat(tensors, out=pinned)
