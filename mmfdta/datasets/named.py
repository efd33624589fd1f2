# Copyright (c) mmfdta authors.
"""The named data sets: each says what it is, where its files are, what is trained on.

Every class reads the data set as it unpacks; nothing has to be moved, renamed or
converted.
"""

import codecs
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import DATASETS

from mmfdta.structures.benchmarks import BENCHMARKS, Benchmark
from mmfdta.structures.frames import half_length, is_image, list_images
from mmfdta.structures.tracks import Tracks

from .checking import SequenceReport, check_static_images
from .mot_sequence import MOTSequenceDataset, text_source
from .pets import SEQUENCE
from .sequences import RowRule, Sequence, SequenceAnnotations, SequenceSource


@DATASETS.register_module()
class DanceTrackDataset(MOTSequenceDataset):
    """DanceTrack: ``<split>/<seq>/{img1,gt/gt.txt,seqinfo.ini}``."""

    BENCHMARK = BENCHMARKS['dancetrack']


@DATASETS.register_module()
class SportsMOTDataset(MOTSequenceDataset):
    """SportsMOT, below ``dataset/`` or not; identities count from 0."""

    BENCHMARK = BENCHMARKS['sportsmot']

    @classmethod
    def recognises(cls, data_root: str) -> bool:
        """Tell whether there is the archive's folder ``dataset``."""
        return Path(data_root, 'dataset').is_dir()

    @classmethod
    def split_folder(cls, data_root: str, split: str) -> Path:
        """Return the split's folder, below ``dataset/`` if it is there."""
        nested = Path(data_root, 'dataset', split)
        return nested if nested.is_dir() else Path(data_root, split)


@DATASETS.register_module()
class BFTDataset(MOTSequenceDataset):
    """BFT v1.5: images in ``<split>/<seq>/``, text in ``annotations_mot/<split>/``.

    A converted tree (``img1`` and ``gt/gt.txt`` in the sequence) is read too.
    """

    BENCHMARK = BENCHMARKS['bft']
    HIDDEN_SPLITS = ()
    LAYOUT = '<sequence>/*.jpg'

    @classmethod
    def recognises(cls, data_root: str) -> bool:
        """Tell whether there is the archive's folder ``annotations_mot``."""
        return Path(data_root, 'annotations_mot').is_dir()

    def find_source(self, folder: Path) -> SequenceSource | None:
        """Find the parts of a sequence in either layout."""
        converted = super().find_source(folder)
        if converted is not None or (self.text_only and self.find_text(folder)):
            return converted
        text = self._text_of(folder)
        return SequenceSource(
            name=folder.name,
            image_dir=str(folder),
            gt_path=str(text) if text.is_file() else None,
            seqinfo_path=None,
            depth_dir=str(folder / 'depth'),
        )

    def find_text(self, folder: Path) -> SequenceSource | None:
        """Find the parts of a sequence without images in either layout."""
        if any(map(is_image, os.listdir(folder))):
            return None
        return super().find_text(folder) or text_source(folder, self._text_of(folder))

    def _text_of(self, folder: Path) -> Path:
        """Return where the archive has the text of a sequence."""
        return Path(self.data_root, 'annotations_mot', self.split, f'{folder.name}.txt')


class HalvedDataset(MOTSequenceDataset):
    """A data set of MOTChallenge, whose sequences may be cut in halves.

    Args:
        half: ``'first'`` or ``'second'`` half of every sequence,
            cut as is usual for data whose test annotations are hidden; None
            takes whole sequences.
        **kwargs: See :class:`MOTSequenceDataset`.
    """

    SPLITS: tuple[str, ...] = ('train', 'test')

    def __init__(self, *args: Any, half: str | None = None, **kwargs: Any) -> None:
        if half not in ('first', 'second', None):
            raise ValueError(
                f"{type(self).__name__}(half={half!r}): expected 'first', 'second' or "
                'None'
            )
        self.half = half
        super().__init__(*args, **kwargs)

    @classmethod
    def recognises(cls, data_root: str) -> bool:
        """Tell whether sequences are named as those of the benchmark."""
        return any(
            cls.BENCHMARK.has_sequence(folder.name)
            for split in cls.SPLITS
            for folder in cls.split_folder(data_root, split).glob('MOT*')
        )

    def load_data_list(self) -> list[Sequence]:
        """Read the sequences and cut them in halves if asked to."""
        sequences = super().load_data_list()
        if self.half is None:
            return sequences
        middles = [half_length(len(sequence)) for sequence in sequences]
        if self.half == 'first':
            return [s.cut(0, m) for s, m in zip(sequences, middles, strict=True)]
        return [s.cut(m, len(s)) for s, m in zip(sequences, middles, strict=True)]


@DATASETS.register_module()
class MOT15Dataset(HalvedDataset):
    """MOT15: ``<split>/<sequence>/{img1,gt/gt.txt,seqinfo.ini}``; all rows count."""

    BENCHMARK = BENCHMARKS['mot15']

    @classmethod
    def recognises(cls, data_root: str) -> bool:
        """Tell whether sequences are named as those of the benchmark."""
        return any(
            cls.BENCHMARK.has_sequence(folder.name)
            for split in cls.SPLITS
            for folder in cls.split_folder(data_root, split).glob('*')
        )


@DATASETS.register_module()
class PETSDataset(HalvedDataset):
    """PETS09-S2L1 alone, in MOT15's layout; all rows count.

    ``mmfdta prepare-dataset pets`` makes it of the public video and its annotation.
    """

    BENCHMARK = BENCHMARKS['pets']
    SPLITS = ('train',)

    def is_used(self, folder: Path) -> bool:
        """Tell whether it is the sequence; others, as MOT15 has them, are left out."""
        return folder.name == SEQUENCE


@DATASETS.register_module()
class MOT16Dataset(HalvedDataset):
    """MOT16: ``<split>/MOT16-<number>/{img1,gt/gt.txt,seqinfo.ini}``.

    Rows of class 1 with a 1 in column 7 are trained on.
    """

    BENCHMARK = BENCHMARKS['mot16']


@DATASETS.register_module()
class MOT20Dataset(HalvedDataset):
    """MOT20: ``<split>/MOT20-<number>/{img1,gt/gt.txt,seqinfo.ini}``.

    Rows of class 1 with a 1 in column 7 are trained on.
    """

    BENCHMARK = BENCHMARKS['mot20']


@DATASETS.register_module()
class MOT17Dataset(HalvedDataset):
    """MOT17: each sequence once; rows of class 1 with a 1 in column 7 are trained on.

    Args:
        detector: Which of the three copies of the images to read:
            ``DPM``, ``FRCNN`` or ``SDP``.
        half: ``'first'`` or ``'second'`` half of every sequence,
            cut as is usual for MOT17, whose test annotations are hidden; None
            takes whole sequences.
        **kwargs: See :class:`MOTSequenceDataset`.
    """

    BENCHMARK = BENCHMARKS['mot17']

    def __init__(
        self,
        *args: Any,
        detector: str = 'FRCNN',
        half: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.detector = detector
        self.LAYOUT = f'<sequence>-{detector}/img1/'
        super().__init__(*args, half=half, **kwargs)

    @property
    def cache_name(self) -> str:
        """File name of the default annotation cache."""
        return f'{self.split}_{self.detector}_mmfdta.npz'

    def is_used(self, folder: Path) -> bool:
        """Tell whether a sequence is the copy to read."""
        return folder.name.endswith(f'-{self.detector}')


@DATASETS.register_module()
class CrowdHumanClipDataset(MOTSequenceDataset):
    """CrowdHuman, read from ``annotation_<split>.odgt``; an image is a sequence.

    The images lie in ``Images/``, ``<split>/images/``, ``images/<split>/`` or
    ``CrowdHuman_<split>/Images/``. Full boxes (``fbox``) of persons are used;
    masks and boxes to ignore are not. No box is the same person as another, so
    identities count through the split. EXIF orientation is ignored, as the
    annotation does. There is no column 8, and so no ``category_map``.
    """

    BENCHMARK = Benchmark('crowdhuman', 'CrowdHuman', ('person',))

    @classmethod
    def recognises(cls, data_root: str) -> bool:
        """Tell whether there are annotations in the data set's own format."""
        return any(Path(data_root).glob('*.odgt'))

    @classmethod
    def find_splits(cls, data_root: str) -> list[str]:
        """Find the splits whose annotations are there."""
        found = [s for s in cls.SPLITS if cls.annotation_file(data_root, s).is_file()]
        if not found:
            raise FileNotFoundError(
                f'{data_root}: found no split of CrowdHuman, expected '
                'annotation_train.odgt or annotation_val.odgt'
            )
        return found

    @classmethod
    def annotation_file(cls, data_root: str, split: str) -> Path:
        """Return the path of a split's annotation."""
        return Path(data_root, f'annotation_{split}.odgt')

    def sources(self) -> list[SequenceSource]:
        """Refuse: there are images and no sequences.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f'{self.data_root}: CrowdHuman holds static images; depth maps are made '
            'for sequences, and CrowdHuman trains without depth'
        )

    def find_class_rule(self) -> tuple[RowRule, dict[int, str]]:
        """Return the rule of one class.

        Raises:
            ValueError: If a ``category_map`` is given.
        """
        if self.rule.category_map is not None:
            raise ValueError(
                f'{self.data_root}: found category_map (--classes) for CrowdHuman, '
                'which has persons only and no column 8; leave it out'
            )
        return super().find_class_rule()

    def read_sequences(self) -> tuple[list[Sequence], list[str], list[str]]:
        """Read every image of the split.

        Returns:
            One static sequence an
            image in the order of the file; remarks; the annotation file.
        """
        self.find_class_rule()
        path = str(self.annotation_file(self.data_root, self.split))
        folder = find_image_folder(self.data_root, self.split)
        names = {os.path.splitext(name)[0]: name for name in list_images(folder)}
        sequences, skipped, first_id = [], 0, 1
        for number, record in read_odgt(path):
            if record['ID'] not in names:
                raise FileNotFoundError(
                    f'{path}:{number}: no image {record["ID"]}.jpg in {folder}; '
                    'were all archives of the split unpacked?'
                )
            boxes, dropped = person_boxes(record, f'{path}:{number}')
            skipped += dropped
            sequences.append(
                Sequence(
                    name=record['ID'],
                    image_dir=folder,
                    image_names=np.array([names[record['ID']]]),
                    annotations=SequenceAnnotations.create(
                        Tracks.create(
                            frame=np.ones(len(boxes)),
                            identity=np.arange(first_id, first_id + len(boxes)),
                            xywh=boxes,
                            label=np.zeros(len(boxes)),
                        ),
                        length=1,
                    ),
                    depth_place=os.path.join(os.path.dirname(folder), 'depth'),
                    is_static=True,
                )
            )
            first_id += len(boxes)
        remarks = []
        if skipped:
            remarks.append(f'{path}: skipped {skipped} boxes with width or height <= 0')
        return sequences, remarks, [path]

    def checks(
        self, depth_only: bool = False, decode: bool = False
    ) -> list[Callable[[], SequenceReport]]:
        """List one check: the split as if it were one sequence."""
        if depth_only:
            self.sources()
        self.find_class_rule()
        name = f'{self.BENCHMARK.title} {self.split}'
        return [partial(check_static_images, name, self.read_sequences, decode)]


def find_image_folder(data_root: str, split: str) -> str:
    """Find the images of a split.

    Args:
        data_root: The data set's folder.
        split: ``train`` or ``val``.

    Returns:
        The first folder that exists.

    Raises:
        FileNotFoundError: If none does.
    """
    places = [
        Path(data_root, split, 'images'),
        Path(data_root, 'images', split),
        Path(data_root, f'CrowdHuman_{split}', 'Images'),
        Path(data_root, 'Images'),
    ]
    for place in places:
        if place.is_dir():
            return str(place)
    raise FileNotFoundError(
        f'{data_root}: no image folder of split {split!r}, expected one of '
        f'{", ".join(str(place.relative_to(data_root)) for place in places)}'
    )


def read_odgt(path: str) -> list[tuple[int, dict]]:
    """Read a file with one JSON record per line.

    Args:
        path: The file.

    Returns:
        Line number and record, whose ``gtboxes`` is a list of dicts; IDs differ.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file holds no record, at a line that is not a record, or
            if two are of one image; names file and line.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f'{path}: no such file, expected the annotations of CrowdHuman'
        ) from None
    records = []
    first: dict[str, int] = {}
    # Not splitlines: text in a record may hold other ends of lines.
    lines = data.removeprefix(codecs.BOM_UTF8).split(b'\n')
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode('utf-8'))
        except ValueError as error:
            raise ValueError(
                f'{path}:{number}: expected one JSON record per line, found: {error}'
            ) from None
        if not isinstance(record, dict) or not {'ID', 'gtboxes'} <= record.keys():
            raise ValueError(f'{path}:{number}: expected a record with ID and gtboxes')
        name, boxes = record['ID'], record['gtboxes']
        if not isinstance(name, str):
            raise ValueError(f'{path}:{number}: found ID {name!r}, expected text')
        if not isinstance(boxes, list) or not all(isinstance(b, dict) for b in boxes):
            raise ValueError(
                f'{path}:{number}: found gtboxes of {name} that are no list of boxes '
                'such as {"tag": "person", "fbox": [x, y, w, h]}'
            )
        if first.setdefault(name, number) != number:
            raise ValueError(
                f'{path}:{number}: found ID {name} again (first on line '
                f'{first[name]}), expected one record for each image'
            )
        records.append((number, record))
    if not records:
        raise ValueError(f'{path}: holds no record, expected one per line')
    return records


def person_boxes(record: dict, place: str) -> tuple[np.ndarray, int]:
    """Take the boxes of persons out of a record.

    Args:
        record: One line of the annotation.
        place: File and line, for messages.

    Returns:
        float64 (M, 4) xywh, and how many boxes were
        skipped because their width or height is not positive.

    Raises:
        ValueError: If a box is not four finite numbers, or ``extra`` no dict.
    """
    boxes = [
        box.get('fbox')
        for box in record['gtboxes']
        if box.get('tag') == 'person' and not _is_ignored(box, place)
    ]
    try:
        table = np.array(boxes, dtype=np.float64).reshape(len(boxes), 4)
    except (TypeError, ValueError):
        table = np.full((1, 4), np.nan)
    if not np.isfinite(table).all():
        raise ValueError(
            f'{place}: found a person whose fbox is not four numbers [x, y, w, h]'
        )
    positive = (table[:, 2:] > 0).all(axis=1)
    return table[positive], int((~positive).sum())


def _is_ignored(box: dict, place: str) -> bool:
    extra = box.get('extra') or {}
    if not isinstance(extra, dict):
        raise ValueError(
            f'{place}: found a person whose extra is {extra!r}, expected such as '
            '{"ignore": 0}'
        )
    return bool(extra.get('ignore', 0))
