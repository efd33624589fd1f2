# Copyright (c) mmfdta authors.
"""CrowdHuman: static images that become clips by a constant shift."""

import json
import os
from pathlib import Path

import numpy as np
from mmdet.registry import DATASETS

from .layouts import list_images
from .mot_sequence import MOTSequenceDataset
from .structures import Sequence, SequenceAnnotations


@DATASETS.register_module()
class CrowdHumanClipDataset(MOTSequenceDataset):
    """CrowdHuman, read from ``annotation_<split>.odgt``; an image is a sequence.

    The images lie in ``Images/``, ``<split>/images/``, ``images/<split>/`` or
    ``CrowdHuman_<split>/Images/``. Full boxes (``fbox``) of persons are used;
    masks and boxes to ignore are not. No box is the same person as another, so
    identities count through the split. EXIF orientation is ignored, as the
    annotation does.
    """

    METAINFO = dict(classes=('person',))
    NAME = 'CrowdHuman'

    def read_sequences(self) -> tuple[list[Sequence], list[str], list[str]]:
        """Read every image of the split.

        Returns:
            One static sequence an
            image in the order of the file; remarks; the annotation file.
        """
        path = os.path.join(self.data_root, f'annotation_{self.split}.odgt')
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
                    annotations=_annotate(boxes, first_id),
                    depth_place=os.path.join(os.path.dirname(folder), 'depth'),
                    is_static=True,
                )
            )
            first_id += len(boxes)
        remarks = []
        if skipped:
            remarks.append(f'{path}: skipped {skipped} boxes with width or height <= 0')
        return sequences, remarks, [path]


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
    """Read a file with one JSON record a line.

    Args:
        path: The file.

    Returns:
        Line number and record.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: At a line that is not a record; names file and line.
    """
    try:
        text = Path(path).read_text(encoding='utf-8')
    except FileNotFoundError:
        raise FileNotFoundError(
            f'{path}: no such file, expected the annotations of CrowdHuman'
        ) from None
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f'{path}:{number}: expected one JSON record a line, found: {error}'
            ) from None
        if not isinstance(record, dict) or not {'ID', 'gtboxes'} <= record.keys():
            raise ValueError(f'{path}:{number}: expected a record with ID and gtboxes')
        records.append((number, record))
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
        ValueError: If a box is not four finite numbers.
    """
    boxes = [
        box.get('fbox')
        for box in record['gtboxes']
        if box.get('tag') == 'person' and not box.get('extra', {}).get('ignore', 0)
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


def _annotate(boxes: np.ndarray, first_id: int) -> SequenceAnnotations:
    count = len(boxes)
    return SequenceAnnotations(
        offsets=np.array([0, count]),
        ids=np.arange(first_id, first_id + count),
        xywh=boxes,
        labels=np.zeros(count, dtype=np.int64),
        marks=np.ones(count, dtype=np.float32),
        categories=np.full(count, -1),
        visibilities=np.full(count, -1, dtype=np.float32),
        trainable=np.ones(count, dtype=bool),
    )
