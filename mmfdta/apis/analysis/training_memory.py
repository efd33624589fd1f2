# Copyright (c) mmfdta authors.
"""Peak memory of training a config, computed without a GPU.

The parts of a training step run on the CPU at small sizes, where the memory of their
tensors is counted. From there the parts are carried over to the full size: the
detector's memory is linear in the pixels and frames, the association's quadratic in the
objects. The result is that of a GPU, whose operators keep less than those of a CPU.
"""

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttention,
    multi_scale_deformable_attn_pytorch,
)
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, init_default_scope
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from mmfdta.datasets import make_id_targets
from mmfdta.engine import find_precision
from mmfdta.models import FDTA
from mmfdta.models.detectors import DetectorOutputs, MergedOutputs
from mmfdta.ops.acceleration import replace as replace_modules
from mmfdta.ops.deformable_attention import FastDeformableAttention

# The coarsest feature map has a pixel for 64 of the image; images of whole multiples
# make every map proportional to the pixels.
STRIDE = 64
SIZES = ((3 * STRIDE, 3 * STRIDE), (4 * STRIDE, 5 * STRIDE))
OBJECTS = (1, 2, 3)
MIB = 2**20
WRAPPERS_WITH_AMP = ('AmpOptimWrapper', 'GroupClipAmpOptimWrapper')


@dataclass(frozen=True)
class Workload:
    """What a training step works on.

    Attributes:
        height: Height of the images after resizing, in pixels.
        width: Width of the images.
        clip_length: Frames T of a clip.
        num_objects: Objects in each frame.
        batch_size: Clips B in a batch.
        num_groups: Groups G of ID targets.
        amp: Use automatic mixed precision; both kinds take as much.
        compiled_operators: MMCV's operators are compiled there.
    """

    height: int
    width: int
    clip_length: int
    num_objects: int = 20
    batch_size: int = 1
    num_groups: int = 6
    amp: bool = False
    compiled_operators: bool = True


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of a training step.

    Attributes:
        fixed: What is there all the time.
        phases: What comes on top, phase by phase; the phases follow each other.
    """

    fixed: dict[str, float]
    phases: dict[str, float]

    @property
    def peak(self) -> float:
        """Peak memory in bytes."""
        return sum(self.fixed.values()) + max(self.phases.values())

    def table(self) -> str:
        """Lay the figures out in MiB."""
        parts = {'all the time': self.fixed, 'on top, one after the other': self.phases}
        lines = []
        for title, sizes in parts.items():
            lines.append(f'{title}:')
            lines += [f'  {n:<38}{size / MIB:>10,.0f} MiB' for n, size in sizes.items()]
        return '\n'.join([*lines, f'{"peak":<40}{self.peak / MIB:>10,.0f} MiB'])


def read_workload(
    config: Config,
    size: tuple[int, int] | None = None,
    clip_length: int | None = None,
    num_objects: int = 20,
    amp: bool = False,
    compiled_operators: bool = True,
) -> Workload:
    """Find out what a training step works on.

    Args:
        config: The config.
        size: Height and width of the images in pixels; None takes the largest of the
            config.
        clip_length: Frames of a clip; None takes those of the config.
        num_objects: Objects per frame.
        amp: Train with mixed precision, even if the config does not say so.
        compiled_operators: MMCV's operators are compiled there.

    Raises:
        ValueError: If the config does not tell the size of the images.
    """
    loader = config.train_dataloader
    steps = list(_steps(loader.dataset.get('pipeline', ())))
    if size is None:
        resizes = [step for step in steps if step['type'] == 'ClipRandomResize']
        sizes = [
            (max(r['short_sides']), r['max_long']) for r in resizes if 'max_long' in r
        ]
        if not sizes:
            raise ValueError('the config does not limit the image size; give --size')
        size = max(sizes, key=lambda s: s[0] * s[1])
    if clip_length is None:
        lengths = loader.sampler.get('lengths', 30)
        clip_length = lengths if isinstance(lengths, int) else max(lengths.values())
    groups = [step.get('num_groups') for step in steps]
    height, width = size
    return Workload(
        height=height,
        width=width,
        clip_length=clip_length,
        num_objects=num_objects,
        batch_size=loader.batch_size,
        num_groups=max(filter(None, groups), default=Workload.num_groups),
        amp=amp
        or config.optim_wrapper.get('type') in WRAPPERS_WITH_AMP
        or find_precision(config.get('precision')).dtype is not None,
        compiled_operators=compiled_operators,
    )


def _steps(pipeline: list) -> Iterator[dict]:
    """Walk through a pipeline and the alternatives in it."""
    for step in pipeline:
        if isinstance(step, dict):
            yield step
            yield from _steps(step.get('transforms', ()))
        else:
            yield from _steps(step)


def estimate_memory(config: Config, work: Workload) -> MemoryEstimate:
    """Estimate the peak memory of a training step.

    Args:
        config: A config whose model is FDTA.
        work: What the step works on.

    Returns:
        Its parts.

    Raises:
        ValueError: If the model is not FDTA.
    """
    init_default_scope(config.get('default_scope') or 'mmdet')
    model = MODELS.build(config.model.to_dict())
    if not isinstance(model, FDTA):
        raise ValueError(
            f'model.type = {config.model.type!r}: the memory of FDTA is estimated only'
        )
    gradients = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    fixed = _fixed(model, config, work)
    for parameter in model.parameters():
        # In place of an initialisation, which may download: finite is enough.
        nn.init.uniform_(parameter, -0.01, 0.01)
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    as_on_a_gpu(model, work.compiled_operators)
    phases = _phases(model, work)
    # The optimiser's intermediate results are as large as the gradients.
    phases['optimiser'] = gradients
    if config.optim_wrapper.get('accumulative_counts', 1) > 1:
        fixed['gradients'] = gradients
    else:
        phases['backward through the detector'] += gradients
        phases['optimiser'] += gradients
    return MemoryEstimate(fixed, phases)


def _fixed(model: FDTA, config: Config, work: Workload) -> dict[str, float]:
    """Bytes of the weights, the optimiser and the batch."""
    tensors = [*model.parameters(), *model.buffers()]
    trained = [p for p in model.parameters() if p.requires_grad]
    copies = [nn.Parameter(torch.empty_like(p, device='meta')) for p in trained]
    for copy in copies:
        copy.grad = torch.empty_like(copy)
    optimizer = dict(config.optim_wrapper.optimizer, params=copies)
    optimizer = OPTIMIZERS.build(optimizer)
    optimizer.step()
    state = [v for s in optimizer.state.values() for v in s.values()]
    pixels = work.batch_size * work.clip_length * work.height * work.width
    channels = 3 + (model.detector.bbox_head.loss_depth is not None)
    return {
        'weights': sum(t.nbytes for t in tensors),
        'optimiser state': sum(t.nbytes for t in state if torch.is_tensor(t)),
        'images and depth maps': 4 * channels * pixels,
    }


class _CompiledSampling(torch.autograd.Function):
    """Deformable attention with the memory of the compiled operator, without values."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        value: Tensor,
        shapes: list[list[int]],
        x: Tensor,
        y: Tensor,
        weights: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(value, x, y, weights)
        return value.new_zeros(len(value), x.shape[1], value[0, 0].numel())

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_output: Tensor
    ) -> tuple[Tensor | None, ...]:
        value, x, y, weights = map(torch.zeros_like, ctx.saved_tensors)
        return value, None, x, y, weights


class _CompiledAttention(FastDeformableAttention):
    sample = staticmethod(_CompiledSampling.apply)


class _RecomputedAttention(FastDeformableAttention):
    """Computes its samples again in the backward pass."""

    @staticmethod
    def sample(
        value: Tensor,
        shapes: Sequence[Sequence[int]],
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        way: str = '',
    ) -> Tensor:
        def run(value: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
            size = x.new_tensor([(width, height) for height, width in shapes])
            locations = (torch.stack([x, y], dim=-1) + 0.5) / size[:, None]
            return multi_scale_deformable_attn_pytorch(
                value, shapes, locations, weights
            )

        return checkpoint(run, value, x, y, weights, use_reentrant=False)


def as_on_a_gpu(model: FDTA, compiled_operators: bool = True) -> None:
    """Make a model's operators keep what those of a GPU keep.

    There deformable attention computes its samples again in the backward pass,
    and attention stores neither weights nor what dropout left of them.

    Args:
        model: The model; its attention loses its dropout.
        compiled_operators: Deformable attention is that of MMCV's compiled
            operators; its values are all zero here.
    """
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    kind = _CompiledAttention if compiled_operators else _RecomputedAttention
    replace_modules(model, {MultiScaleDeformableAttention: kind})


def _phases(model: FDTA, work: Workload) -> dict[str, float]:
    """Bytes on top of the fixed ones in each phase of a step."""
    model.train()
    pixels = work.height * work.width
    small, large = (_frame(model, size, work.amp) for size in SIZES)
    areas = [height * width for height, width in SIZES]
    share = (pixels - areas[0]) / (areas[1] - areas[0])
    held, peak, silent, outputs = small + share * (large - small)
    clip = model.clip_detection
    frames = work.batch_size * work.clip_length
    with_grad = work.batch_size * min(clip.num_grad_frames, work.clip_length)
    without = frames - with_grad
    recompute = 0 < clip.grad_chunk < with_grad
    chunk = clip.grad_chunk if recompute else with_grad
    kept = 0 if recompute else with_grad * (held - outputs)
    at_once = min(clip.no_grad_chunk or without, without)
    everything = kept + frames * outputs
    backward = chunk * (peak if recompute else peak - held)
    return {
        'frames with gradients': with_grad * outputs
        + (chunk * silent if recompute else with_grad * held),
        'frames without gradients': everything + at_once * silent,
        'losses and association': everything + _rest(model, work, pixels),
        'backward through the detector': everything + with_grad * outputs + backward,
    }


def _measure(run: Callable[[], object], backward: bool = True) -> tuple[int, int]:
    """Run something and its backward pass; bytes held between them, and the most."""
    gc.collect()
    with LiveMemory() as memory:
        out = run()
        held = memory.live
        if backward:
            leaves = [t for t in _tensors(out) if t.requires_grad]
            sum(t.float().sum() for t in leaves).backward()
        return held, memory.peak


def _tensors(out: object) -> list[Tensor]:
    values = out.values() if isinstance(out, dict) else vars(out).values()
    return [v for v in values if isinstance(v, Tensor)]


def _frame(model: FDTA, size: tuple[int, int], amp: bool) -> np.ndarray:
    """Bytes of the detector on one frame.

    Returns:
        What it holds for the backward pass, its peak, its peak without gradients, and
        what it returns.
    """
    image = torch.randn(1, 3, *size)
    meta = dict(img_shape=size, ori_shape=size, batch_input_shape=size)
    sample = DetDataSample(metainfo=meta)

    def run() -> DetectorOutputs:
        with _autocast(amp):
            return model.detector.detect(image, [sample])

    held, peak = _measure(run)
    with torch.no_grad():
        _, silent = _measure(run, backward=False)
        outputs = sum(t.nbytes for t in _tensors(run()))
    return np.array([held, peak, silent, outputs])


def _rest(model: FDTA, work: Workload, pixels: int) -> float:
    """Peak of losses and association behind the detector's outputs, in bytes."""
    tiny = (STRIDE, STRIDE)
    peaks = [_behind(model, replace(work, num_objects=n), tiny) for n in OBJECTS]
    # Identities beyond the words take no part in association.
    identities = min(work.num_objects, model.id_decoder.num_id_vocabulary)
    by_objects = float(np.polyval(np.polyfit(OBJECTS, peaks, 2), identities))
    fewest = replace(work, num_objects=OBJECTS[0])
    wider = _behind(model, fewest, (STRIDE, 5 * STRIDE))
    steps = (pixels - STRIDE**2) / (4 * STRIDE**2)
    return max(by_objects, 0) + steps * max(wider - peaks[0], 0)


def _behind(model: FDTA, work: Workload, size: tuple[int, int]) -> int:
    """Peak of the losses of random outputs of the detector, and their gradients."""
    batch = [_clip(model, work, size) for _ in range(work.batch_size)]
    image = torch.randn(1, 3, *size)
    frames = [frame for clip in batch for frame in clip]
    with torch.no_grad(), _autocast(work.amp):
        single = model.detector.detect(image, frames[:1])
    places = torch.arange(len(frames))
    outputs = MergedOutputs.of([single] * len(frames), [*places[:, None]])
    for tensor in _tensors(outputs):
        tensor.requires_grad_()
    if single.depth_logits is not None:
        with_grad = work.batch_size * model.clip_detection.num_grad_frames
        outputs.merged_depth = [
            (single.depth_logits.repeat(len(chosen), 1, 1, 1), chosen)
            for chosen in (places[:with_grad], places[with_grad:])
        ]
        outputs.merged_depth[0][0].requires_grad_()
    shape = work.batch_size, work.clip_length
    inputs = dict(img=image.expand(*shape, -1, -1, -1))
    inputs['depth'] = torch.full((*shape, 1, *size), 100.0)

    def run() -> dict[str, Tensor]:
        with _autocast(work.amp):
            return model.loss(inputs, batch)

    clip_detection = model.clip_detection
    model.clip_detection = lambda *_: outputs
    try:
        return _measure(run)[1]
    finally:
        model.clip_detection = clip_detection


def _clip(model: FDTA, work: Workload, size: tuple[int, int]) -> TrackDataSample:
    """A clip whose frames all show the same objects."""
    count, length = work.num_objects, work.clip_length
    height, width = size
    left = torch.arange(count) * width / (count + 1)
    box = torch.stack([left, left, left + width / 4, left + height / 4], dim=1)
    meta = dict(img_shape=size, ori_shape=size, batch_input_shape=size)
    frames = []
    for _ in range(length):
        frame = DetDataSample(metainfo=meta)
        frame.gt_instances = InstanceData(
            bboxes=box.float().clamp(max=min(size)),
            labels=torch.zeros(count, dtype=torch.int64),
            instances_ids=torch.arange(count),
        )
        frames.append(frame)
    words = model.id_decoder.num_id_vocabulary
    ids, rng = [np.arange(count)] * length, np.random.default_rng(0)
    targets = make_id_targets(ids, work.num_groups, words, words, 0.5, 0.5, rng)
    fields = {k: v for k, v in vars(targets).items() if k != 'column_ids'}
    clip = TrackDataSample()
    clip.video_data_samples = frames
    clip.id_targets = [
        BaseDataElement(**{k: torch.from_numpy(v) for k, v in fields.items()})
    ]
    return clip


def _autocast(amp: bool) -> torch.autocast:
    return torch.autocast('cpu', torch.bfloat16, enabled=amp)


class LiveMemory(TorchDispatchMode):
    """Follows the memory that operations allocate, in the backward pass too.

    Tensors from before, such as parameters, are not counted; neither is what an
    operation allocates and frees within itself.

    Attributes:
        live: Bytes that are alive.
        peak: Most bytes that were alive at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known: dict[int, weakref.finalize] = {}

    def __torch_dispatch__(
        self,
        func: Callable,
        types: tuple[type, ...],
        args: tuple = (),
        kwargs: dict | None = None,
    ) -> object:
        """Run an operation and count what it makes."""
        before = {storage._cdata for storage in _storages((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        for storage in _storages(out):
            key, size = storage._cdata, storage.nbytes()
            if key not in before and key not in self._known:
                self.live += size
                self._known[key] = weakref.finalize(storage, self._remove, key, size)
        self.peak = max(self.peak, self.live)
        return out

    def _remove(self, key: int, size: int) -> None:
        self.live -= size
        del self._known[key]


def _storages(values: object) -> list[torch.UntypedStorage]:
    leaves = tree_leaves(values)
    return [leaf.untyped_storage() for leaf in leaves if isinstance(leaf, Tensor)]
