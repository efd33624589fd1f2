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
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, init_default_scope
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmfdta.datasets import make_id_targets
from mmfdta.engine import find_precision
from mmfdta.models import FDTA
from mmfdta.models.detectors import DetectorOutputs, MergedOutputs, QueryDetector
from mmfdta.ops.acceleration import replace as replace_modules
from mmfdta.ops.deformable_attention import (
    FastDeformableAttention,
    LevelShapes,
    sampling_ways,
)
from mmfdta.ops.deformable_attention.plain import (
    BLOCK_SAMPLES,
    plain_backward,
    plain_forward,
)

# The coarsest feature map has a pixel for 64 of the image; images of whole multiples
# make every map proportional to the pixels.
STRIDE = 64
TINY = ((STRIDE, STRIDE), (STRIDE, 5 * STRIDE))
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
        deformable: How deformable attention is computed: by the Triton kernels, MMCV's
            compiled operator, or plain PyTorch (`triton`, `compiled`, `plain`).
    """

    height: int
    width: int
    clip_length: int
    num_objects: int = 20
    batch_size: int = 1
    num_groups: int = 6
    amp: bool = False
    deformable: str = 'triton'


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
    precision: str | None = None,
    deformable: str | None = None,
) -> Workload:
    """Find out what a training step works on.

    Args:
        config: The config.
        size: Height and width of the images in pixels; None takes the largest of the
            config.
        clip_length: Frames of a clip; None takes those of the config.
        num_objects: Objects per frame.
        precision: One of ``fp32``, ``tf32``, ``fp16`` and ``bf16``; None takes that of
            the config.
        deformable: How deformable attention is computed, see `Workload`; None takes
            what this machine's GPU takes, and without one the Triton kernels.

    Raises:
        ValueError: If the config trains nothing, or does not tell the size of the
            images.
    """
    for key in ('train_dataloader', 'optim_wrapper'):
        if not config.get(key):
            raise ValueError(
                f'{key}: found none, expected a config that trains FDTA; the memory of '
                'training is estimated'
            )
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
    if precision is None:
        with_amp = config.optim_wrapper.get('type') in WRAPPERS_WITH_AMP
        precision = 'fp16' if with_amp else config.get('precision')
    if deformable is None:
        has_gpu = torch.cuda.is_available()
        deformable = sampling_ways(torch.device('cuda'))[0] if has_gpu else 'triton'
    height, width = size
    return Workload(
        height=height,
        width=width,
        clip_length=clip_length,
        num_objects=num_objects,
        batch_size=loader.batch_size,
        num_groups=max(filter(None, groups), default=Workload.num_groups),
        amp=find_precision(precision).dtype is not None,
        deformable=deformable,
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
    as_on_a_gpu(model, work.deformable)
    phases = _phases(model, work)
    # Intermediate results are as large as the gradients, except for a fused step.
    phases['optimiser'] = (
        0 if config.optim_wrapper.optimizer.get('fused') else gradients
    )
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
    # A fused step keeps as much, but takes no parameters without values.
    optimizer.pop('fused', None)
    optimizer = OPTIMIZERS.build(optimizer)
    optimizer.step()
    state = [v for s in optimizer.state.values() for v in s.values()]
    pixels = work.batch_size * work.clip_length * work.height * work.width
    is_host = isinstance(model.detector, QueryDetector)
    holder = model.detector if is_host else model.detector.bbox_head
    channels = 3 + (getattr(holder, 'loss_depth', None) is not None)
    return {
        'weights': sum(t.nbytes for t in tensors),
        'optimiser state': sum(t.nbytes for t in state if torch.is_tensor(t)),
        'images and depth maps': 4 * channels * pixels,
    }


class _Way(NamedTuple):
    """Deformable sampling with the memory that one of the operator's ways takes.

    Attributes:
        forward: Of value, x, y, weights and shapes.
        backward: Of the output's gradient and the same.
        mixed: It takes tensors of several types, and positions as x and y from a
            centre; otherwise all get one type, and x and y are positions.
    """

    forward: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor, ...]]
    mixed: bool = False


def _triton_forward(value: Tensor, x: Tensor, *_: object) -> Tensor:
    return value.new_zeros(*x.shape[:2], value[0, 0].numel())


def _triton_backward(
    grad_output: Tensor,
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    *_: object,
) -> tuple[Tensor, ...]:
    dtype = torch.promote_types(value.dtype, torch.float32)
    grads = (t.new_zeros(t.shape) for t in (x, y, weights))
    return value.new_zeros(value.shape, dtype=dtype), *grads


def _compiled_forward(value: Tensor, x: Tensor, y: Tensor, *_: object) -> Tensor:
    points = torch.stack([x, y], dim=-1) + 0.5
    return _triton_forward(value, points[..., 0])


def _compiled_backward(
    grad_output: Tensor, value: Tensor, x: Tensor, y: Tensor, *_: object
) -> tuple[Tensor, ...]:
    points = torch.stack([x, y], dim=-1) + 0.5
    grad_points = torch.zeros_like(points)
    x = grad_points[..., 0].contiguous()
    return _triton_backward(grad_output, value, x, x, x)


_TRITON = _Way(_triton_forward, _triton_backward, mixed=True)
DEFORMABLE = dict(
    triton=_TRITON,
    compiled=_Way(_compiled_forward, _compiled_backward),
    plain=_Way(plain_forward, plain_backward),
)


class _Sampling(torch.autograd.Function):
    """The operator, whose work the counter of memory sees."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        way: _Way,
        value: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        centre: Tensor,
        shapes: LevelShapes,
    ) -> Tensor:
        ctx.save_for_backward(value, x, y, weights, centre)
        ctx.way, ctx.shapes = way, shapes
        inputs = _as_taken(way, value, x, y, weights, centre)
        return way.forward(*inputs, shapes).to(value.dtype)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_output: Tensor
    ) -> tuple[Tensor | None, ...]:
        value, x, y, weights, centre = ctx.saved_tensors
        tensors = value, x, y, weights
        inputs = _as_taken(ctx.way, value, x, y, weights, centre)
        if not ctx.way.mixed:
            grad_output = grad_output.to(centre.dtype)
        grads = ctx.way.backward(grad_output, *inputs, ctx.shapes)
        grads = [g.to(t.dtype) for g, t in zip(grads, tensors, strict=True)]
        grad_centre = None
        if ctx.needs_input_grad[5]:
            sums = [grad.sum((2, 4), dtype=centre.dtype) for grad in grads[1:3]]
            grad_centre = torch.stack(sums, dim=-1)
        return None, *grads, grad_centre, None


def _as_taken(
    way: _Way, value: Tensor, x: Tensor, y: Tensor, weights: Tensor, centre: Tensor
) -> Sequence[Tensor]:
    if way.mixed:
        return value, x, y, weights, centre
    x, y = (
        offset + centre[:, :, None, :, None, side] for side, offset in enumerate((x, y))
    )
    return value.to(centre.dtype), x, y, weights.to(centre.dtype)


def _attention_by(name: str) -> type[FastDeformableAttention]:
    """Make deformable attention that takes a way."""

    def sample(
        value: Tensor,
        shapes: LevelShapes,
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        way: str = '',
        centre: Tensor | None = None,
    ) -> Tensor:
        # MMCV's operator takes float32.
        is_half = value.dtype in (torch.float16, torch.bfloat16)
        taken = _TRITON if name == 'compiled' and is_half else DEFORMABLE[name]
        return _Sampling.apply(taken, value, x, y, weights, centre, shapes)

    members = dict(sample=staticmethod(sample))
    return type('Attention', (FastDeformableAttention,), members)


_ATTENTION = {name: _attention_by(name) for name in DEFORMABLE}


def as_on_a_gpu(model: FDTA, way: str = 'triton') -> None:
    """Make a model's operators keep what those of a GPU keep.

    There attention stores neither weights nor what dropout left of them.

    Args:
        model: The model; its attention loses its dropout.
        way: How deformable attention is computed, see `Workload`; its values are all
            zero here, except for `plain`.
    """
    # Not before `mmfdta.ops`, which makes it importable where nothing is compiled.
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention

    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    kinds = (MultiScaleDeformableAttention, *_ATTENTION.values())
    replace_modules(model, dict.fromkeys(kinds, _ATTENTION[way]))


def _phases(model: FDTA, work: Workload) -> dict[str, float]:
    """Bytes on top of the fixed ones in each phase of a step."""
    model.train()
    pixels = work.height * work.width
    held, peak, silent, outputs, light = _full_frame(model, work)
    clip = model.clip_detection
    frames = work.batch_size * work.clip_length
    with_grad = work.batch_size * min(clip.num_grad_frames, work.clip_length)
    without = frames - with_grad
    recompute = 0 < clip.grad_chunk < with_grad
    chunk = clip.grad_chunk if recompute else with_grad
    at_once = min(clip.no_grad_chunk or without, without)
    in_forward, in_backward = at_once * silent, chunk * (peak - held)
    if work.deformable == 'plain':
        # It works in blocks, so that this part does not grow with the frames.
        as_on_a_gpu(model, 'triton')
        bare = _full_frame(model, work)
        forward, backward = block_of_plain(model, pixels)
        in_forward = min(in_forward, at_once * bare.silent + forward)
        in_backward = min(in_backward, chunk * (bare.peak - bare.held) + backward)
    kept = with_grad * ((light if recompute else held) - outputs)
    everything = kept + frames * outputs
    backward = in_backward + (chunk * held if recompute else 0)
    return {
        'frames with gradients': with_grad * (light if recompute else held)
        + (chunk * silent if recompute else with_grad * outputs),
        'frames without gradients': everything + in_forward,
        'losses and association': everything + _rest(model, work, pixels),
        'backward through the detector': everything + with_grad * outputs + backward,
    }


class _Frame(NamedTuple):
    """Bytes of the detector on one frame.

    Attributes:
        held: What it holds for the backward pass.
        peak: Its peak.
        silent: Its peak without gradients.
        outputs: What it returns.
        light: What it holds if all but its heads and losses is computed again.
    """

    held: float
    peak: float
    silent: float
    outputs: float
    light: float


def _full_frame(model: FDTA, work: Workload) -> _Frame:
    """Carry small frames over to one of full size."""
    sizes, _ = _sizes(model)
    measured = np.array([_frame(model, size, work) for size in sizes])
    areas = [height * width for height, width in sizes]
    fits = np.polyfit(areas, measured, len(sizes) - 1)
    return _Frame(*(np.poly1d(fit)(work.height * work.width) for fit in fits.T))


def _sizes(model: FDTA) -> tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]]:
    """Choose the sizes of images at which a detector is measured.

    Returns:
        Those to carry frames over from, and two for what comes behind the detector.
    """
    detector = model.detector
    if not isinstance(detector, QueryDetector):
        return SIZES, TINY
    host = detector.host
    # Queries are chosen among the pixels of the maps, unless they are learnt: there
    # have to be enough.
    with torch.no_grad():
        maps = detector.extract_feat(torch.zeros(1, 3, STRIDE, STRIDE))
    wanted = getattr(host, 'num_queries', 1)
    wanted *= max(1, getattr(host, 'dense_topk_ratio', 1))
    blocks = -(-wanted // sum(m[0, 0].numel() for m in maps))
    # Swin pads maps to whole windows, of the coarsest one half of the height here.
    windows = [getattr(m, 'window_size', 0) for m in host.backbone.modules()]
    unit = max((w for w in windows if isinstance(w, int)), default=0) // 2
    rows, columns = int(np.ceil(np.sqrt(blocks))), 1
    if unit:
        rows, columns = -(-rows // (unit // 2)) * (unit // 2), unit
    columns *= int(np.ceil(blocks / rows / columns))
    # Attention among all pixels takes memory by their square.
    encoder = getattr(host, 'encoder', nn.Identity())  # Sparse R-CNN has none
    dense = any(isinstance(m, nn.MultiheadAttention) for m in encoder.modules())
    times = (1, 2, 3) if dense else (1, 2)
    sizes = [(rows * STRIDE, columns * STRIDE * n) for n in times]
    return sizes, sizes[:2]


def block_of_plain(model: FDTA, pixels: int) -> tuple[float, float]:
    """Most bytes that plain sampling works on at a time, forward and backward."""
    detector = getattr(model.detector, 'host', model.detector)
    encoder = getattr(detector, 'encoder', None)
    layer: Any = None if encoder is None else encoder.layers[0].self_attn
    if not hasattr(layer, 'num_levels'):  # attention that samples nothing
        return 0, 0
    tokens = pixels * sum(1 / (8 << level) ** 2 for level in range(layer.num_levels))
    image = tokens * layer.embed_dims * layer.num_points
    channels, side, images = layer.embed_dims // layer.num_heads, 8, 2
    keys = images, side**2, layer.num_heads
    points = torch.zeros(*keys, 1, layer.num_points)
    value, gradient = torch.zeros(*keys, channels), torch.zeros(*keys, channels)
    inputs = value, points, points, points, ((side, side),)
    share = max(image, BLOCK_SAMPLES) / (points.numel() * channels)
    forward = _passing(lambda: plain_forward(*inputs))
    backward = _passing(lambda: plain_backward(gradient.flatten(2), *inputs))
    return share * forward, share * backward


def _passing(run: Callable[[], object]) -> int:
    """Most bytes that something takes besides its results."""
    with LiveMemory() as memory:
        results = run()
        size = memory.peak - memory.live
        del results
    return size


def _measure(run: Callable[[], object], backward: bool = True) -> tuple[int, int]:
    """Run something and its backward pass; bytes held between them, and the most."""
    gc.collect()
    with LiveMemory() as memory:
        out = run()
        held = memory.live
        if backward:
            # A frozen detector has none.
            leaves = [t for t in _tensors(out) if t.requires_grad]
            leaves += (getattr(out, 'losses', None) or {}).values()
            torch.autograd.backward([t.float().sum() for t in leaves])
        return held, memory.peak


def _tensors(out: object) -> list[Tensor]:
    values = out.values() if isinstance(out, dict) else vars(out).values()
    return [v for v in values if isinstance(v, Tensor)]


def _frame(model: FDTA, size: tuple[int, int], work: Workload) -> _Frame:
    """Measure a frame of a small size."""
    image = torch.randn(1, 3, *size)
    sample = _sample(size, work.num_objects)

    def run(recompute: bool = False) -> DetectorOutputs:
        with _autocast(work.amp):
            return model.detector.detect(image, [sample], recompute=recompute)

    held, peak = _measure(run)
    with torch.no_grad():
        _, silent = _measure(run, backward=False)
        outputs = light = sum(t.nbytes for t in _tensors(run()))
    if isinstance(model.detector, QueryDetector):
        light, _ = _measure(lambda: run(recompute=True))
    return _Frame(held, peak, silent, outputs, light)


def _rest(model: FDTA, work: Workload, pixels: int) -> float:
    """Peak of losses and association behind the detector's outputs, in bytes."""
    _, (tiny, wide) = _sizes(model)
    peaks = [_behind(model, replace(work, num_objects=n), tiny) for n in OBJECTS]
    # Identities beyond the words take no part in association.
    identities = min(work.num_objects, model.id_decoder.num_id_vocabulary)
    by_objects = float(np.polyval(np.polyfit(OBJECTS, peaks, 2), identities))
    fewest = replace(work, num_objects=OBJECTS[0])
    wider = _behind(model, fewest, wide)
    areas = [height * width for height, width in (tiny, wide)]
    steps = (pixels - areas[0]) / (areas[1] - areas[0])
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
    frames = [_sample(size, count) for _ in range(length)]
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


def _sample(size: tuple[int, int], count: int) -> DetDataSample:
    """A frame with some objects."""
    height, width = size
    left = torch.arange(count) * width / (count + 1)
    box = torch.stack([left, left, left + width / 4, left + height / 4], dim=1)
    meta = dict(img_shape=size, ori_shape=size, batch_input_shape=size)
    frame = DetDataSample(metainfo=meta)
    frame.gt_instances = InstanceData(
        bboxes=box.float().clamp(max=min(size)),
        labels=torch.zeros(count, dtype=torch.int64),
        instances_ids=torch.arange(count),
    )
    return frame


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
