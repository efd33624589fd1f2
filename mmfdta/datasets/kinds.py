# Copyright (c) mmfdta authors.
"""The data sets that the command lines know by name."""

from pathlib import Path

from .crowdhuman import CrowdHumanClipDataset
from .mot_sequence import MOTSequenceDataset
from .named import BFTDataset, DanceTrackDataset, MOT17Dataset, SportsMOTDataset

KINDS: dict[str, type[MOTSequenceDataset]] = {
    'dancetrack': DanceTrackDataset,
    'sportsmot': SportsMOTDataset,
    'bft': BFTDataset,
    'mot17': MOT17Dataset,
    'crowdhuman': CrowdHumanClipDataset,
    'mot': MOTSequenceDataset,
}
SPLITS = ('train', 'val', 'test')


def find_splits(kind: str, data_root: str) -> list[str]:
    """Find the splits that are there.

    Args:
        kind: A key of ``KINDS``.
        data_root: The data set's folder.

    Returns:
        Names of splits; ``['']`` if the sequences lie in
        ``data_root`` itself.

    Raises:
        FileNotFoundError: If there is nothing of that kind.
    """
    root = Path(data_root)
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder')
    if kind == 'crowdhuman':
        found = [s for s in SPLITS if (root / f'annotation_{s}.odgt').is_file()]
        expected = 'annotation_train.odgt or annotation_val.odgt'
    else:
        nested = [root / 'dataset'] if kind == 'sportsmot' else []
        found = [s for s in SPLITS if any((p / s).is_dir() for p in (root, *nested))]
        expected = f'a folder {", ".join(SPLITS)}, or sequences with img1/'
    if not found and kind == 'mot' and any(root.glob('*/img1')):
        return ['']
    if not found:
        raise FileNotFoundError(
            f'{root}: found no split of {kind}, expected {expected}'
        )
    return found


def open_split(kind: str, data_root: str, split: str) -> MOTSequenceDataset:
    """Make the data set of a split without reading it.

    Args:
        kind: A key of ``KINDS``.
        data_root: The data set's folder.
        split: Name of the split.

    Returns:
        In test mode, so that hidden annotations are fine.
    """
    return KINDS[kind](data_root, split=split, test_mode=True, lazy_init=True)
