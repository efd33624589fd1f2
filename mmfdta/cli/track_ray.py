# Copyright (c) mmfdta authors.
"""``track --ray``: an archive on the devices of a Ray cluster."""

import argparse
import copy
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from .arguments import number
from .errors import explain

if TYPE_CHECKING:
    from mmfdta.apis.ray_archive import RayWorkers
    from mmfdta.apis.video_tracker import VideoTracker

    Opener = Callable[[argparse.Namespace], VideoTracker]

_HERE = ''
# Option -> why it says nothing to workers on other machines.
_OF_ONE_PROCESS = {
    'show': 'workers have no window',
    'counts': 'it is a file of one video',
    'gallery': 'it follows people from one video to the next',
}
# What onnxruntime computes with on a GPU.
_ON_GPU = ('cuda', 'tensorrt')


def add_ray_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--ray`` and ``--ray-workers``.

    Args:
        parser: Receives them.
    """
    group = parser.add_argument_group('cluster')
    group.add_argument(
        '--ray',
        nargs='?',
        const=_HERE,
        metavar='ADDRESS',
        help='track the videos of --out-dir on a Ray cluster, a worker on each device: '
        'HOST:PORT of its head, auto for that of this machine, local for one that '
        'ends with the command; by default what RAY_ADDRESS says, else auto, else '
        'local',
    )
    group.add_argument(
        '--ray-workers',
        type=number(1, whole=True),
        metavar='N',
        help='how many; by default one for each GPU, without GPUs one for each machine',
    )


def check_ray_options(options: argparse.Namespace, is_archive: bool) -> None:
    """Refuse what cannot be tracked on other machines.

    Args:
        options: The parsed arguments of ``track``.
        is_archive: A ledger is kept of the sources.

    Raises:
        ValueError: If something is refused.
    """
    if options.ray is None:
        if options.ray_workers is not None:
            raise ValueError('--ray-workers: are those of a cluster; add --ray')
        return
    if not is_archive:
        raise ValueError(
            '--ray: is for video files that are tracked into a folder, both where all '
            'machines see them; add --out-dir, and leave out cameras, streams and '
            'standard input, which one machine alone reads'
        )
    for name, reason in _OF_ONE_PROCESS.items():
        if getattr(options, name):
            raise ValueError(f'--{name}: cannot be had with --ray: {reason}')
    if options.device not in (None, 'cpu', 'cuda'):
        raise ValueError(
            f'--device: found {options.device}, expected cpu or cuda with --ray, which '
            'gives each worker a device'
        )


def open_workers(
    options: argparse.Namespace, open_tracker: 'Opener', num_videos: int
) -> 'RayWorkers':
    """Make the workers that the arguments name.

    Args:
        options: The parsed arguments of ``track``.
        open_tracker: Opens the tracker that they name; a function of a module.
        num_videos: How many videos there are.
    """
    from mmfdta.apis.ray_archive import RayWorkers
    from mmfdta.utils.logs import show_log

    show_log('mmfdta track: ')
    gpu = None if options.device is None else options.device == 'cuda'
    if options.model:
        gpu = options.provider in _ON_GPU
    return RayWorkers(
        functools.partial(_open_in_worker, open_tracker, options),
        options.out_dir,
        address=options.ray or None,
        workers=options.ray_workers,
        gpu=gpu,
        most=num_videos,
        explain=explain,
    )


def _open_in_worker(
    open_tracker: 'Opener', options: argparse.Namespace, threads: int
) -> 'VideoTracker':
    """Open the tracker in a worker."""
    if options.model and options.threads is None:
        options = copy.copy(options)
        options.threads = threads  # PyTorch's are set by Ray
    return open_tracker(options)
