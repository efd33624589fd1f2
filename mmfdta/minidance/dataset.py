# Copyright (c) mmfdta authors.
"""MiniDance as a data set that renders itself when it is missing."""

from typing import Any

from mmdet.registry import DATASETS
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from mmfdta.datasets.mot_sequence import MOTSequenceDataset
from mmfdta.datasets.sequences import Sequence
from mmfdta.structures.benchmarks import BENCHMARKS

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

    BENCHMARK = BENCHMARKS['minidance']
    HIDDEN_SPLITS = ()

    def __init__(
        self, data_root: str, options: dict | None = None, **kwargs: Any
    ) -> None:
        self.options = MiniDanceOptions(**(options or {}))
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[Sequence]:
        """Read the sequences, rendered first where they are missing.

        With ``lazy_init``, as MMDetection's inference asks for classes, nothing is
        rendered.
        """
        if is_main_process() and make_minidance(self.data_root, self.options):
            print_log(f'Rendered MiniDance into {self.data_root}', 'current')
        barrier()
        return super().load_data_list()
