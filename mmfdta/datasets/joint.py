# Copyright (c) mmfdta authors.
"""Joint training over several data sets with integer weights."""

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf

from mmdet.registry import DATASETS
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from .structures import ClipIndex, Sequence


@DATASETS.register_module()
class JointMOTDataset(Dataset):
    """Several data sets as one; an epoch shows each as often as its weight.

    Args:
        datasets: Configs of the data sets, without
            pipelines.
        pipeline: Pipeline of all.
        weights: How often an epoch shows every clip of
            each data set; None: once.
        metainfo: Meta information; by default that of the data
            sets, whose classes must then agree.

    Raises:
        ValueError: If weights are not positive integers, one a data set, or
            classes differ.
    """

    def __init__(
        self,
        datasets: SequenceOf[dict | Dataset],
        pipeline: SequenceOf[dict | Callable] = (),
        weights: SequenceOf[int] | None = None,
        metainfo: dict | None = None,
    ) -> None:
        self.datasets = [
            DATASETS.build(item) if isinstance(item, dict) else item
            for item in datasets
        ]
        self.weights = [1] * len(self.datasets) if weights is None else list(weights)
        self.pipeline = Compose(list(pipeline))
        self._check_weights()
        self._metainfo = self._check_classes() if metainfo is None else dict(metainfo)
        self.full_init()

    @property
    def metainfo(self) -> dict:
        """Meta information, with ``classes``."""
        return dict(self._metainfo)

    def full_init(self) -> None:
        """Read the data sets and number their sequences."""
        self.sequences: list[Sequence] = []
        self.sequence_weights: list[int] = []
        self._owners: list[tuple[int, int]] = []
        self._first_frames = [0]
        for number, dataset in enumerate(self.datasets):
            dataset.full_init()
            count = len(dataset.sequences)
            self.sequences.extend(dataset.sequences)
            self.sequence_weights.extend([self.weights[number]] * count)
            self._owners.extend((number, local) for local in range(count))
            self._first_frames.append(self._first_frames[-1] + len(dataset))

    def __len__(self) -> int:
        return self._first_frames[-1]

    def __getitem__(self, idx: ClipIndex) -> dict:
        """Load a clip.

        Args:
            idx: Its ``sequence`` points into ``sequences``.

        Returns:
            What the pipeline makes of it.
        """
        number, local = self._owners[idx.sequence]
        index = ClipIndex(local, idx.frames, idx.seed)
        info = self.datasets[number].get_data_info(index)
        info['video_id'] = idx.sequence
        info['img_ids'] = info['img_ids'] + self._first_frames[number]
        return self.pipeline(info)

    def _check_weights(self) -> None:
        good = all(isinstance(w, int) and w >= 1 for w in self.weights)
        if not good or len(self.weights) != len(self.datasets):
            raise ValueError(
                f'JointMOTDataset.weights={self.weights}: expected one positive '
                f'integer for each of the {len(self.datasets)} data sets'
            )

    def _check_classes(self) -> dict:
        classes = {tuple(dataset.metainfo['classes']) for dataset in self.datasets}
        if len(classes) != 1:
            raise ValueError(
                f'JointMOTDataset: the data sets have the classes {sorted(classes)}; '
                'labels would be mixed up. Give the common ones as '
                "metainfo=dict(classes=('person',))"
            )
        return self.datasets[0].metainfo
