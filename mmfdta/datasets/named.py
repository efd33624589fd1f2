# Copyright (c) mmfdta authors.
"""The named data sets: each says where its files are and what is trained on."""

from typing import Any

from mmdet.registry import DATASETS

from .layouts import bft_layout, mot17_layout, sportsmot_layout
from .mot_sequence import MOTSequenceDataset
from .structures import Sequence, SequenceSource


@DATASETS.register_module()
class DanceTrackDataset(MOTSequenceDataset):
    """DanceTrack: ``<split>/<seq>/{img1,gt/gt.txt,seqinfo.ini}``."""

    METAINFO = dict(classes=('person',))
    NAME = 'DanceTrack'


@DATASETS.register_module()
class SportsMOTDataset(MOTSequenceDataset):
    """SportsMOT, below ``dataset/`` or not; identities count from 0."""

    METAINFO = dict(classes=('person',))
    NAME = 'SportsMOT'

    def sources(self) -> list[SequenceSource]:
        """List where the sequences are on disk."""
        return sportsmot_layout(self.data_root, self.split)


@DATASETS.register_module()
class BFTDataset(MOTSequenceDataset):
    """BFT v1.5: flat sequence folders, text in ``annotations_mot/<split>/``."""

    METAINFO = dict(classes=('bird',))
    NAME = 'BFT'

    def sources(self) -> list[SequenceSource]:
        """List where the sequences are on disk."""
        return bft_layout(self.data_root, self.split)


@DATASETS.register_module()
class MOT17Dataset(MOTSequenceDataset):
    """MOT17: each sequence once; class 1 with mark 1 is trained on.

    Args:
        detector: Which of the three copies of the images to read:
            ``DPM``, ``FRCNN`` or ``SDP``.
        half: ``'first'`` or ``'second'`` half of every sequence,
            cut as is usual for MOT17, whose test annotations are hidden; None
            takes whole sequences.
        **kwargs: See :class:`MOTSequenceDataset`; ``category_map`` is
            ``{1: 0}`` and ``use_marks`` True by default.
    """

    METAINFO = dict(classes=('pedestrian',))
    NAME = 'MOT17'

    def __init__(
        self,
        *args: Any,
        detector: str = 'FRCNN',
        half: str | None = None,
        **kwargs: Any,
    ) -> None:
        if half not in ('first', 'second', None):
            raise ValueError(
                f"MOT17Dataset(half={half!r}): expected 'first', 'second' or None"
            )
        self.detector = detector
        self.half = half
        kwargs.setdefault('category_map', {1: 0})
        kwargs.setdefault('use_marks', True)
        super().__init__(*args, **kwargs)

    @property
    def cache_name(self) -> str:
        """File name of the default annotation cache."""
        return f'{self.split}_{self.detector}_mmfdta.npz'

    def sources(self) -> list[SequenceSource]:
        """List where the sequences are on disk."""
        return mot17_layout(self.data_root, self.split, self.detector)

    def load_data_list(self) -> list[Sequence]:
        """Read the sequences and cut them in halves if asked to."""
        sequences = super().load_data_list()
        if self.half is None:
            return sequences
        middles = [len(sequence) // 2 + 1 for sequence in sequences]
        if self.half == 'first':
            return [s.cut(0, m) for s, m in zip(sequences, middles, strict=True)]
        return [s.cut(m, len(s)) for s, m in zip(sequences, middles, strict=True)]
