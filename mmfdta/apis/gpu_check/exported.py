# Copyright (c) mmfdta authors.
"""Exported models by onnxruntime, on a CPU and on the GPU, against PyTorch."""

import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mmfdta.runtime.sessions import PROVIDERS
from mmfdta.structures.tracks import Tracks

from .bench import THRESHOLDS, Bench, folder
from .checks import Found, NotRunError, check, judge
from .tracking import PIXELS, agreement, on_cpu

# Of a random YOLOX little is sure, see `tracking`.
_SHARES = {'FDTA': 1.0, 'ByteTrack': 0.8}
_NAMES = {'cpu': 'CPU', 'cuda': 'CUDA', 'tensorrt': 'TensorRT'}


def _check_provider(provider: str) -> None:
    """Raise `NotRunError` if there is no onnxruntime that has a provider."""
    if find_spec('onnxruntime') is None:
        raise NotRunError(
            "onnxruntime is not installed; pip install 'mmfdta[export]' brings it"
        )
    import onnxruntime

    wanted, package = PROVIDERS[provider]
    if wanted[0] not in onnxruntime.get_available_providers():
        raise NotRunError(
            f'the installed onnxruntime {onnxruntime.__version__} has no {wanted[0]}; '
            f'{package} in its place has it'
        )


def _export(bench: Bench, tracker: str, fixed: bool) -> Path:
    """Export a tracker with the weights of the bench, once in a process."""
    try:
        from ..export import export_model
    except ImportError as error:
        raise NotRunError(str(error)) from None

    def export() -> Path:
        config = bench.config(tracker, bench.frame_size)
        config.model.tracker.update(THRESHOLDS[tracker])
        name = f'{tracker}_{"fixed" if fixed else "dynamic"}'
        place = folder(bench, 'exported') / name
        size = bench.frame_size if fixed else None
        export_model(config, bench.weights(tracker), place, size=size, check_frames=1)
        return place

    return bench.remember(f'{tracker} exported, fixed={fixed}', export)


def _track(bench: Bench, place: Path, provider: str) -> tuple[list[Tracks], float]:
    """Track the bench's video; the tracks, and the median of the seconds per frame."""
    from ..exported_tracker import ExportedTracker

    tracker = ExportedTracker(place, provider=provider)
    tracks, times = [], []
    for frame in bench.video():
        begin = time.perf_counter()
        tracks.append(tracker.step(frame))
        times.append(time.perf_counter() - begin)
    # The first frames plan memory and choose kernels.
    return tracks, float(np.median(times[2:]))


def _register() -> None:
    for provider, called in _NAMES.items():
        for tracker, share in _SHARES.items():

            def run(
                bench: Bench,
                provider: str = provider,
                tracker: str = tracker,
                share: float = share,
            ) -> Found:
                _check_provider(provider)
                # TensorRT makes a new engine for each new size.
                place = _export(bench, tracker, fixed=provider == 'tensorrt')
                found, seconds = _track(bench, place, provider)
                both = agreement(found, on_cpu(bench, tracker))
                text = f'{both.text}; {seconds * 1e3:.1f} ms per frame'
                return judge(both.share >= share, text, **asdict(both), seconds=seconds)

            check(
                'exported',
                f'{tracker}, {called}',
                f'tracks by onnxruntime on {called} with those of PyTorch on the CPU',
                f'{share:.0%} of the boxes the same, within {PIXELS:g} pixels',
                needs_gpu=provider != 'cpu',
            )(run)


_register()
