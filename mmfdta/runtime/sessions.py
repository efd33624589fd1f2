# Copyright (c) mmfdta authors.
"""Sessions of onnxruntime on a processor, with a number of threads."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Name -> execution providers of onnxruntime, and the package that has the first one;
#: the others run operators that the first does not support.
PROVIDERS = {
    'cpu': (('CPUExecutionProvider',), 'onnxruntime'),
    'cuda': (('CUDAExecutionProvider', 'CPUExecutionProvider'), 'onnxruntime-gpu'),
    'tensorrt': (
        (
            *('TensorrtExecutionProvider', 'CUDAExecutionProvider'),
            'CPUExecutionProvider',
        ),
        'onnxruntime-gpu',
    ),
    'openvino': (
        ('OpenVINOExecutionProvider', 'CPUExecutionProvider'),
        'onnxruntime-openvino',
    ),
}
# OpenVINO's message for a loop that reads values of the graph around it.
_LOOP = 'node not found in graph cache'
# Levels of onnxruntime's log.
_ERRORS_ONLY, _NOTHING = 3, 4


def open_session(
    path: str | os.PathLike,
    provider: str = 'cpu',
    threads: int | None = None,
    key: str | None = None,
) -> 'InferenceSession':
    """Load a graph.

    Args:
        path: An ONNX file; its external data are in the same folder.
        provider: One of `PROVIDERS`.
        threads: Threads of an operator on a CPU; None uses one per core.
        key: Identifies the graph with its weights, such as a hash. TensorRT stores the
            engine that it builds under this key in the user's cache. None builds it
            each time.

    Returns:
        A session that runs on this provider.

    Raises:
        ValueError: If there is no such provider, or the number of threads is below 1.
        OSError: If the folder for engines of TensorRT cannot be made.
        ModuleNotFoundError: If onnxruntime is not installed.
        RuntimeError: If the installed onnxruntime does not have the provider, the
            provider cannot start here, or the file is not a graph that it can run.
    """
    if provider not in PROVIDERS:
        raise ValueError(
            f'provider: found {provider!r}, expected one of {", ".join(PROVIDERS)}'
        )
    if threads is not None and threads < 1:
        raise ValueError(f'threads: found {threads}, expected at least 1')
    import onnxruntime

    wanted, package = PROVIDERS[provider]
    available = onnxruntime.get_available_providers()
    if wanted[0] not in available:
        raise RuntimeError(
            f'provider: {provider!r} needs {wanted[0]}, but the installed '
            f'onnxruntime {onnxruntime.__version__} only has {", ".join(available)}; '
            f'uninstall it and install {package}'
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    if provider in ('cuda', 'tensorrt') and hasattr(onnxruntime, 'preload_dlls'):
        onnxruntime.preload_dlls()  # those of NVIDIA's packages on PyPI
    chosen = [(name, _options_of(name, key)) for name in wanted if name in available]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=chosen)
    except Exception as error:  # onnxruntime's errors have no other common base
        reason = ' '.join(str(error).split())
        advice = ''
        if provider == 'openvino' and _LOOP in reason:
            advice = (
                '; OpenVINO does not support its loops: export the model with --size '
                'WxH, which writes none'
            )
        raise RuntimeError(
            f'{path}: onnxruntime {onnxruntime.__version__} cannot load it: '
            f'{reason}{advice}'
        ) from None
    running = session.get_providers()
    if running[0] != wanted[0]:
        raise RuntimeError(
            f'provider: {wanted[0]} cannot start here, and onnxruntime uses '
            f'{running[0]} instead; are its libraries installed (CUDA, cuDNN, '
            'TensorRT, OpenVINO)?'
        )
    return session


def run_session(
    session: 'InferenceSession', inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Compute all outputs of a graph, by their names.

    Args:
        session: A session with the graph.
        inputs: Inputs by name.

    Raises:
        RuntimeError: If it cannot be computed, for example without enough memory.
    """
    from onnxruntime import RunOptions

    names = [item.name for item in session.get_outputs()]
    options = RunOptions()
    options.log_severity_level = _NOTHING  # the error has the same text
    try:
        values = session.run(names, dict(inputs), options)
    except Exception as error:  # onnxruntime's errors have no other common base
        shapes = ', '.join(f'{name} {value.shape}' for name, value in inputs.items())
        raise RuntimeError(
            f'onnxruntime cannot compute the graph for {shapes}: '
            f'{" ".join(str(error).split())}'
        ) from None
    return dict(zip(names, values, strict=True))


def _options_of(provider: str, key: str | None) -> dict[str, str]:
    """Return settings of an execution provider."""
    if provider == 'CUDAExecutionProvider':
        return dict(use_tf32='0')  # as in PyTorch
    if provider == 'TensorrtExecutionProvider' and key is not None:
        # onnxruntime identifies engines by the names in a graph, not by its weights.
        folder = cache_folder() / key
        folder.mkdir(parents=True, exist_ok=True)
        return dict(
            trt_engine_cache_enable='1',
            trt_engine_cache_path=str(folder),
            trt_timing_cache_enable='1',
            trt_timing_cache_path=str(folder),
        )
    return {}


def cache_folder() -> Path:
    """Return the folder in which engines of TensorRT are stored."""
    cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(cache).expanduser() / 'mmfdta' / 'tensorrt'


def describe_session(session: 'InferenceSession') -> str:
    """Return the version of onnxruntime and the provider of a session, as text."""
    import onnxruntime

    name = session.get_providers()[0].removesuffix('ExecutionProvider')
    return f'onnxruntime {onnxruntime.__version__}, {name}'
