# Copyright (c) mmfdta authors.
"""What is installed, and which ways are taken."""

import importlib.metadata
import os
import platform
import shutil
import subprocess

import torch

from mmfdta.ops.deformable_attention import sampling_ways
from mmfdta.utils.environment import find_environment, processor
from mmfdta.utils.mmcv_ext import has_compiled_operators
from mmfdta.version import __version__

from .bench import Bench
from .checks import Found, check

GIB = 2**30


def _said(text: str) -> Found:
    return Found(text, numbers=dict(value=text))


@check('environment', 'mmfdta', 'version and family of packages')
def _family(bench: Bench) -> Found:
    found = find_environment()
    versions = ', '.join(f'{n} {v}' for n, v in found.versions.items())
    return _said(f'{__version__}, {versions or "source trees"}')


@check('environment', 'PyTorch', 'version, CUDA and cuDNN it is built for')
def _torch(bench: Bench) -> Found:
    cuda = torch.version.cuda or 'no CUDA'
    cudnn = torch.backends.cudnn.version() if torch.version.cuda else None
    parts = [torch.__version__, f'CUDA {cuda}' if torch.version.cuda else cuda]
    return _said(', '.join(parts + ([f'cuDNN {cudnn}'] if cudnn else [])))


@check('environment', 'Triton', 'version')
def _triton(bench: Bench) -> Found:
    for name in ('triton', 'pytorch-triton', 'triton-windows'):
        try:
            return _said(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            continue
    return _said('not installed')


@check('environment', 'machine', 'processor, threads, Python')
def _machine(bench: Bench) -> Found:
    threads = f'{torch.get_num_threads()} of {os.cpu_count()} threads'
    return _said(f'{processor()}, {threads}, Python {platform.python_version()}')


@check('environment', 'cards', 'name, memory, compute capability')
def _cards(bench: Bench) -> Found:
    if not torch.cuda.is_available():
        return _said('none')
    cards = []
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        memory = f'{card.total_memory / GIB:.0f} GiB'
        cards.append(f'{card.name}, {memory}, {card.major}.{card.minor}')
    return _said('; '.join(cards))


@check('environment', 'driver', 'version')
def _driver(bench: Bench) -> Found:
    if shutil.which('nvidia-smi') is None:
        return _said('no nvidia-smi')
    command = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    lines = done.stdout.split()
    return _said(lines[0] if lines else done.stderr.strip() or 'not known')


@check('environment', 'compiler', 'nvcc, which only compiled operators need')
def _compiler(bench: Bench) -> Found:
    from torch.utils.cpp_extension import CUDA_HOME

    return _said(f'{CUDA_HOME}' if CUDA_HOME else 'none')


@check('environment', "MMCV's operators", 'compiled or not')
def _operators(bench: Bench) -> Found:
    return _said('compiled' if has_compiled_operators() else 'not compiled')


@check('environment', 'deformable attention', 'the way taken, and the others')
def _sampling(bench: Bench) -> Found:
    first, *others = sampling_ways(bench.device)
    return _said(f'{first} (also {", ".join(others)})' if others else first)
