# Copyright (c) mmfdta authors.
"""Deformable attention in each of its ways, and the kernels that attention takes."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from mmfdta.ops.deformable_attention import deformable_sampling, sampling_ways

from .bench import Bench
from .checks import SAID, Found, check, judge
from .comparing import Pass, difference, moved
from .training import Training

# Type -> what values and gradients may be off: some roundings of the type.
TYPES = {
    'float32': (torch.float32, 1e-5),
    'float16': (torch.float16, 2e-3),
    'bfloat16': (torch.bfloat16, 2e-2),
}
# Levels (h, w), and batch, queries, heads, points and channels of a head.
CASES = {
    'usual sizes': ([(25, 45), (13, 23), (7, 12), (4, 6)], (2, 77, 8, 4, 32)),
    'odd sizes': ([(7, 5), (3, 11), (1, 2)], (3, 13, 3, 2, 7)),
    '65 pictures': ([(5, 9), (3, 4)], (65, 5, 4, 4, 16)),
}
# Operators of PyTorch that compute attention -> short name.
KERNELS = {
    'aten::_scaled_dot_product_flash_attention': 'flash',
    'aten::_scaled_dot_product_efficient_attention': 'efficient',
    'aten::_scaled_dot_product_cudnn_attention': 'cuDNN',
    'aten::_scaled_dot_product_flash_attention_for_cpu': 'flash of the CPU',
    'aten::_scaled_dot_product_fused_attention_overrideable': 'fused',
    'aten::_scaled_dot_product_attention_math': 'math',
}


def sampling_inputs(case: str, dtype: torch.dtype) -> tuple[list, list[Tensor]]:
    """Levels, and value, x, y and weights as leaves on the CPU.

    Points lie up to two pixels outside, and away from the middles of pixels, where
    the gradient jumps.
    """
    levels, (batch, queries, heads, points, channels) = CASES[case]
    draw = torch.Generator().manual_seed(0)
    shape = batch, queries, heads, len(levels), points
    keys = sum(height * width for height, width in levels)
    value = torch.randn(batch, keys, heads, channels, generator=draw).to(dtype)
    weights = torch.rand(shape, generator=draw).to(dtype)
    sides = []
    for side in (1, 0):
        size = torch.tensor([level[side] for level in levels])[:, None]
        cell = (torch.rand(shape, generator=draw) * (size + 4)).floor() - 3
        sides.append(cell + 0.1 + 0.8 * torch.rand(shape, generator=draw))
    return levels, [t.requires_grad_() for t in (value, *sides, weights)]


def _check_sampling(bench: Bench, case: str, kind: str) -> Found:
    dtype, allowed = TYPES[kind]
    levels, inputs = sampling_inputs(case, dtype)

    def run(way: str, *inputs: Tensor) -> Tensor:
        value, x, y, weights = inputs
        return deformable_sampling(value, levels, x, y, weights, way)

    exact = [t.detach().double().requires_grad_() for t in inputs]
    expected = Pass(lambda *x: run('plain', *x), exact)
    off = {}
    for way in sampling_ways(bench.device):
        found = Pass(lambda *x, way=way: run(way, *x), moved(inputs, bench.device))
        off[way] = max(
            difference(found.values, expected.values),
            # Of points and weights one by one: their sizes differ.
            *(
                difference([a], [b])
                for a, b in zip(found.gradients, expected.gradients, strict=True)
            ),
        )
    text = ', '.join(f'{way} {x:.1e}' for way, x in off.items())
    return judge(max(off.values()) <= allowed, text, **off)


def _register_sampling() -> None:
    for case in CASES:
        for kind, (_, allowed) in TYPES.items():

            def run(bench: Bench, case: str = case, kind: str = kind) -> Found:
                return _check_sampling(bench, case, kind)

            check(
                'modules',
                f'deformable sampling, {kind}, {case}',
                'each way with its gradients, against float64 on the CPU',
                f'{allowed:g} of their norm',
            )(run)


_register_sampling()


# -------------------------------------------------------------------------- attention
def attention_kernels(run: Callable[[], object]) -> Counter[str]:
    """Count what a function computes attention by."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as p:
        run()
    counts: Counter[str] = Counter()
    for event in p.events():
        if event.name in KERNELS:
            counts[KERNELS[event.name]] += 1
    return counts


def _judge_kernels(bench: Bench, counts: Counter[str]) -> Found:
    text = ', '.join(f'{name} {n}' for name, n in counts.most_common()) or 'none'
    if bench.device.type != 'cuda':
        return Found(text, SAID, dict(counts))
    return judge(not counts['math'], text, **counts)


def _register_attention() -> None:
    for name in ('fp32', 'fp16', 'bf16'):

        def frame(bench: Bench, name: str = name) -> Found:
            bench.check_precision(name)
            made = bench.inferencer('FDTA', bench.frame_size, precision=name)
            frames = bench.video(3)
            for picture in frames[:-1]:
                made.step(picture)
            return _judge_kernels(
                bench, attention_kernels(lambda: made.step(frames[-1]))
            )

        def step(bench: Bench, name: str = name) -> Found:
            bench.check_precision(name)
            training = Training(bench, 'FDTA', bench.device, name)
            return _judge_kernels(bench, attention_kernels(training.step))

        compared, allowed = 'kernels by count', 'none of them math'
        check('modules', f'attention in a frame, {name}', compared, allowed)(frame)
        check('modules', f'attention in a step, {name}', compared, allowed)(step)


_register_attention()
