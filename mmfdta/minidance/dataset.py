# Copyright (c) mmfdta authors.
"""MiniDance as a data set that renders itself when it is missing."""

from typing import Any

from mmdet.registry import DATASETS
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from mmfdta.datasets.mot_sequence import MOTSequenceDataset

from .scene import MiniDanceOptions
from .writing import make_minidance


@DATASETS.register_module()
class MiniDanceDataset(MOTSequenceDataset):
    """Rendered dancers, in DanceTrack's layout; see docs/minidance.md.

    Args:
        data_root: The data set's folder; made if it is missing.
        options: Fields of :class:`MiniDanceOptions`.
        **kwargs: See :class:`MOTSequenceDataset`.
    """

    METAINFO = dict(classes=('dancer',))
    NAME = 'MiniDance'

    def __init__(
        self, data_root: str, options: dict | None = None, **kwargs: Any
    ) -> None:
        if is_main_process():
            made = make_minidance(data_root, MiniDanceOptions(**(options or {})))
            if made:
                print_log(f'Rendered MiniDance into {data_root}', 'current')
        barrier()
        super().__init__(data_root, **kwargs)
