# Copyright (c) mmfdta authors.
"""Writes what speeds loading up, and CocoVID JSON for MMDetection's own trackers."""

import json
import os

import numpy as np

from mmfdta.structures.whole_files import write_text

from .cache import save_cache
from .mot_sequence import MOTSequenceDataset
from .sequences import SequenceAnnotations
from .transforms.decoding import read_image_size


def prepare_split(dataset: MOTSequenceDataset, coco: bool = False) -> list[str]:
    """Write a split's annotation cache; nothing of the user's is changed.

    Args:
        dataset: The split; need not be read.
        coco: Write CocoVID JSON too.

    Returns:
        Lines that say what was written, and remarks that begin with ``warning``.
    """
    sequences, remarks, files = dataset.read_sequences()
    lines = [f'warning {remark}' for remark in remarks]
    save_cache(
        dataset.cache_path,
        dataset.data_root,
        sequences,
        dataset.known_sources(),
        files,
        dataset.decided_numbers,
    )
    frames = sum(len(sequence) for sequence in sequences)
    title = f'{dataset.dataset_name} {dataset.split}'.strip()
    lines.append(
        f'{title}: {len(sequences)} sequences, {frames} images -> {dataset.cache_path}'
    )
    if coco:
        path = dataset.cache_path.replace('_mmfdta.npz', '_cocovid.json')
        left_out = write_coco_vid(dataset, path)
        lines.append(f'{title}: {left_out} rows not trained on -> {path}')
    return lines


def write_coco_vid(dataset: MOTSequenceDataset, path: str | os.PathLike) -> int:
    """Write a split for MMDetection's ``MOTChallengeDataset`` and the like.

    File names are relative to the data root. Rows that training does not use
    (distractors) are left out. ``instance_id`` counts the identities of the
    whole split from 1; ``mot_instance_id`` is that of the text, or stands for a pair
    of class and identity where those of the text count within each class.

    Returns:
        Number of rows left out.
    """
    classes = dataset.metainfo['classes']
    content = dict(
        categories=[{'id': i, 'name': name} for i, name in enumerate(classes, 1)],
        videos=[],
        images=[],
        annotations=[],
    )
    left_out = num_instances = 0
    for video_id, sequence in enumerate(dataset.sequences, start=1):
        first_image = len(content['images']) + 1
        paths = [os.path.join(sequence.image_dir, str(n)) for n in sequence.image_names]
        height, width = read_image_size(paths[0])
        content['videos'].append(
            dict(
                id=video_id,
                name=sequence.name,
                fps=sequence.frame_rate,
                width=width,
                height=height,
            )
        )
        content['images'].extend(
            dict(
                id=first_image + t,
                video_id=video_id,
                file_name=os.path.relpath(image, dataset.data_root),
                height=height,
                width=width,
                frame_id=t,
                mot_frame_id=t + 1,
            )
            for t, image in enumerate(paths)
        )
        if sequence.annotations is not None:
            first_ann = len(content['annotations']) + 1
            rows, count = _rows(
                sequence.annotations, first_ann, first_image, num_instances
            )
            content['annotations'].extend(rows)
            left_out += len(sequence.annotations.tracks) - len(rows)
            num_instances += count
    document = {**content, 'num_instances': num_instances}
    write_text(path, json.dumps(document))
    return left_out


def _rows(
    annotations: SequenceAnnotations,
    first_ann: int,
    first_image: int,
    first_instance: int,
) -> tuple[list[dict], int]:
    """Turn a sequence's boxes into records; also count its identities."""
    used = annotations.tracks.select(annotations.trainable)
    visibility = annotations.visibility[annotations.trainable]
    identities, instance = np.unique(used.identity, return_inverse=True)
    rows = [
        dict(
            id=first_ann + i,
            image_id=first_image + int(used.frame[i]) - 1,
            instance_id=first_instance + int(instance[i]) + 1,
            mot_instance_id=int(used.identity[i]),
            category_id=int(used.label[i]) + 1,
            bbox=used.xywh[i].tolist(),
            area=float(used.xywh[i, 2] * used.xywh[i, 3]),
            iscrowd=False,
            visibility=float(visibility[i]),
            mot_conf=float(used.score[i]),
        )
        for i in range(len(used))
    ]
    return rows, len(identities)
