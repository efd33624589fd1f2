# Copyright (c) mmfdta authors.
"""Compiles the guard of the simulated device, once for each PyTorch."""

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name('device_guard.cpp')


class NoCompilerError(RuntimeError):
    """There is no C++ compiler."""


def compiled_guard() -> Path:
    """Return the path of the compiled guard; takes seconds the first time.

    Raises:
        NoCompilerError: If neither ``$CXX`` nor g++, c++, clang++ is there.
        RuntimeError: If the compiler fails.
    """
    names = [os.environ.get('CXX'), 'g++', 'c++', 'clang++']
    compiler = next(filter(None, (shutil.which(name) for name in names if name)), None)
    if compiler is None:
        raise NoCompilerError('the simulated CUDA device needs a C++ compiler (g++)')
    spec = importlib.util.find_spec('torch')
    torch = Path(spec.submodule_search_locations[0])
    parts = [SOURCE.read_text(), importlib.metadata.version('torch'), str(torch)]
    key = hashlib.sha256('\0'.join([*parts, compiler]).encode()).hexdigest()[:16]
    # Nobody else may write what is loaded.
    folder = Path(tempfile.gettempdir()) / f'mmfdta_simulated_cuda_{os.getuid()}'
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o022:
        folder = Path(tempfile.mkdtemp(prefix='mmfdta_simulated_cuda_'))
    library = folder / f'guard_{key}.so'
    if not library.exists():
        partial = folder / f'guard_{key}.{os.getpid()}.tmp'
        command = [compiler, '-shared', '-fPIC', '-std=c++20', f'-I{torch}/include']
        command += [f'-I{torch}/include/torch/csrc/api/include']
        command += [str(SOURCE), '-o', str(partial), f'-L{torch}/lib']
        command += [f'-Wl,-rpath,{torch}/lib', '-ltorch_cpu', '-lc10']
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f'the guard does not compile:\n{done.stderr[-4000:]}')
        partial.replace(library)  # whole, whoever else compiles it now
    return library
