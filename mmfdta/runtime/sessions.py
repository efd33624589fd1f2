# Copyright (c) mmfdta authors.
"""Sessions of onnxruntime: on which processor, with how many threads."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Name -> execution providers of onnxruntime, the first is meant, the others take
#: operators that it lacks; and the package that has it.
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
_ERRORS_ONLY = 3


def open_session(
    path: str | os.PathLike, provider: str = 'cpu', threads: int | None = None
) -> 'InferenceSession':
    """Load a graph.

    Args:
        path: An ONNX file; its external data lie beside it.
        provider: One of `PROVIDERS`.
        threads: Threads of an operator on a CPU; None takes one for each core.

    Returns:
        A session that runs where it was asked to.

    Raises:
        ValueError: If there is no such provider.
        ModuleNotFoundError: If onnxruntime is not installed.
        RuntimeError: If the installed onnxruntime lacks the provider, the provider
            cannot start here, or the file is no graph that it can run.
    """
    if provider not in PROVIDERS:
        raise ValueError(
            f'provider: found {provider!r}, expected one of {", ".join(PROVIDERS)}'
        )
    import onnxruntime

    wanted, package = PROVIDERS[provider]
    available = onnxruntime.get_available_providers()
    if wanted[0] not in available:
        raise RuntimeError(
            f'provider: {provider!r} needs {wanted[0]}, which the installed '
            f'onnxruntime {onnxruntime.__version__} lacks (it has '
            f'{", ".join(available)}); uninstall it and install {package}'
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    chosen = [name for name in wanted if name in available]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=chosen)
    except Exception as error:  # onnxruntime's own kinds have no base but this one
        raise RuntimeError(
            f'{path}: onnxruntime {onnxruntime.__version__} cannot load it: '
            f'{" ".join(str(error).split())}'
        ) from None
    running = session.get_providers()
    if running[0] != wanted[0]:
        raise RuntimeError(
            f'provider: {wanted[0]} cannot start here, and onnxruntime took '
            f'{running[0]} instead; are its libraries installed (CUDA, cuDNN, '
            'TensorRT, OpenVINO)?'
        )
    return session


def describe_session(session: 'InferenceSession') -> str:
    """Say which onnxruntime runs a session, and where."""
    import onnxruntime

    name = session.get_providers()[0].removesuffix('ExecutionProvider')
    return f'onnxruntime {onnxruntime.__version__}, {name}'
