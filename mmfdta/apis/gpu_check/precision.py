# Copyright (c) mmfdta authors.
"""TF32, float16 and bfloat16, and compiled networks, against float32 on the device."""

import math

import torch

from .bench import Bench
from .checks import FAIL, PASS, Found, check, judge
from .tracking import agreement, judge_tracks, on_cpu, track
from .training import Training, compare_steps, cpu_step

# Precision -> what losses of a step may be off, of 1 plus their value. The matching
# may choose other queries, and norms of gradients change with it.
STEPS = dict(tf32=0.02, fp16=0.05, bf16=0.1)
# The share of a video's boxes that keep their identity; with random weights much
# hangs on little, and half precision changes some.
SHARE = dict(tf32=0.8, fp16=0.6, bf16=0.4)


def _register() -> None:
    for name, share in SHARE.items():

        def video(bench: Bench, name: str = name, share: float = share) -> Found:
            bench.check_precision(name)
            found = track(bench, 'FDTA', bench.device, precision=name)
            both = agreement(found, on_cpu(bench, 'FDTA'))
            return judge(both.kept >= share, both.text)

        def step(bench: Bench, name: str = name) -> Found:
            bench.check_precision(name)
            training = Training(bench, 'FDTA', bench.device, name)
            found = training.step()
            scale = training.wrapper.loss_scaler if name == 'fp16' else None
            judged = compare_steps(
                found, cpu_step(bench, 'FDTA'), STEPS[name], math.inf
            )
            if scale is None:
                return judged
            # The first scales may overflow, and the steps are left out then.
            for seed in range(1, 12):
                training.step(seed)
            finite = all(p.isfinite().all() for p in training.model.parameters())
            kept = scale.get_scale()
            return Found(
                f'{judged.text}; loss scale {kept:g}, weights '
                f'{"finite" if finite else "not finite"}',
                judged.verdict if finite and kept >= 1 else FAIL,
                judged.numbers,
            )

        check(
            'precision',
            f'FDTA, a video, {name}',
            'boxes that keep their identity, against float32 on the CPU',
            f'at least {share:.0%}',
        )(video)
        check(
            'precision',
            f'FDTA, a step, {name}',
            'losses against float32 on the CPU',
            f'{STEPS[name]:g}, finite',
        )(step)


_register()


# ---------------------------------------------------------------------------- compiled
def _compiled(bench: Bench, tracker: str) -> Found:
    counters = torch._dynamo.utils.counters
    counters.clear()
    found = judge_tracks(
        track(bench, tracker, bench.device, compile=True), on_cpu(bench, tracker), 0.9
    )
    breaks = sum(counters['graph_break'].values())
    graphs = counters['stats']['unique_graphs']
    passed = found.verdict == PASS and not breaks and graphs > 0
    return judge(
        passed,
        f'{found.text}; {graphs} graphs, {breaks} breaks',
        **found.numbers,
        graphs=graphs,
        breaks=breaks,
    )


def _register_compiled() -> None:
    for tracker in ('FDTA', 'MOTR', 'ByteTrack'):

        def run(bench: Bench, tracker: str = tracker) -> Found:
            return _compiled(bench, tracker)

        check(
            'compile',
            f'{tracker}, a video',
            'identities and boxes against those of the CPU, not compiled',
            '90% of the boxes the same, no graph break',
        )(run)


_register_compiled()
