# Copyright (c) mmfdta authors.
"""Data set of video sequences in the MOTChallenge layout."""

import logging
import os
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from mmengine.dataset.base_dataset import force_full_init
from mmengine.logging import print_log

from .cache import load_cache
from .layouts import mot_layout
from .readers import RowRule, read_sequence
from .structures import (
    ClipIndex,
    Sequence,
    SequenceAnnotations,
    SequenceSource,
    xywh_to_xyxy,
)
from .transforms.decoding import read_image_size
from .transforms.loading import LoadClipDepth


@DATASETS.register_module()
class MOTSequenceDataset(BaseDataset):
    """Sequences of frames with boxes and identities; a sample is a clip.

    Reads ``<data_root>/<split>/<sequence>/{img1,gt/gt.txt,seqinfo.ini}``
    directly, or from the annotation cache that ``tools/prepare_dataset.py``
    writes. Samples are asked for by :class:`ClipIndex`, which the samplers
    yield; an ``int`` asks for a single frame of the whole data set.

    Args:
        data_root: The data set's folder.
        split: The split's folder.
        sequences: Names of the sequences to use; None
            uses all.
        dataset_name: Name in the meta information of a frame;
            by default that of the class.
        category_map: Column 8 of the text to label.
            None: one class, and column 8 means nothing.
        use_marks: Train only on rows whose column 7 is not 0.
        min_visibility: Train only on rows whose column 9 is at least
            this.
        ann_file: Annotation cache, relative to ``data_root``. Empty: the
            cache of ``tools/prepare_dataset.py`` if it is there and up to date,
            else the original files.
        test_mode: Deliver all rows, with marks, categories and
            visibilities for the metric, and allow missing annotations.
        single_frames: Deliver single frames as MMDetection's detection data
            sets do, for any detector, pipeline and metric of MMDetection; samples
            are asked for by ``int``.
        **kwargs: See :class:`mmengine.dataset.BaseDataset` (``metainfo``,
            ``pipeline``, ``indices``, ``lazy_init``).
    """

    METAINFO = dict(classes=('object',))
    NAME = 'MOT'

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        sequences: list[str] | None = None,
        dataset_name: str | None = None,
        category_map: dict[int, int] | None = None,
        use_marks: bool = False,
        min_visibility: float = 0.0,
        ann_file: str = '',
        test_mode: bool = False,
        single_frames: bool = False,
        pipeline: SequenceOf[dict | Callable] = (),
        **kwargs: Any,
    ) -> None:
        self.split = split
        self.single_frames = single_frames
        self.sequence_names = sequences
        self.dataset_name = dataset_name or self.NAME
        self.rule = RowRule(category_map, use_marks, min_visibility)
        self._numbered: list[Sequence] | None = None
        self._sizes: dict[int, tuple[int, int]] = {}
        kwargs.setdefault('data_prefix', {})
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            serialize_data=False,
            pipeline=list(pipeline),
            test_mode=test_mode,
            **kwargs,
        )

    @property
    def sequences(self) -> list[Sequence]:
        """The sequences; ``ClipIndex.sequence`` points here."""
        self.full_init()
        return self.data_list

    @property
    def sequence_weights(self) -> list[int]:
        """How often an epoch shows each sequence."""
        return [1] * len(self.sequences)

    def sources(self) -> list[SequenceSource]:
        """List where the sequences are on disk.

        Returns:
            Sorted by name.
        """
        return mot_layout(self.data_root, self.split)

    @property
    def cache_path(self) -> str:
        """The annotation cache, by default where the tool writes it."""
        if self.ann_file:
            return self.ann_file
        return os.path.join(self.data_root, 'annotations', self.cache_name)

    @property
    def cache_name(self) -> str:
        """File name of the default annotation cache."""
        return f'{self.split}_mmfdta.npz'

    def read_sequences(self) -> tuple[list[Sequence], list[str], list[str]]:
        """Read every sequence of the split from its original files.

        Returns:
            The sequences, sorted by
            name; remarks worth a warning; and the annotation files read.
        """
        sequences, remarks, files = [], [], []
        for source in self.sources():
            sequence, said = read_sequence(source)
            sequences.append(sequence)
            remarks.extend(said)
            if source.gt_path is not None:
                files.append(source.gt_path)
        return sequences, remarks, files

    def load_data_list(self) -> list[Sequence]:
        """Read the sequences, from the annotation cache if it is there.

        Returns:
            Sorted by name, or in the order of ``sequences``.

        Raises:
            FileNotFoundError: If a folder or, for training, an annotation is
                missing.
            ValueError: At a bad line of text or non-contiguous frames.
        """
        sequences = load_cache(self.cache_path, self.data_root)
        if sequences is None:
            if self.ann_file:
                raise FileNotFoundError(
                    f'ann_file={self.ann_file}: missing or older than the data set; '
                    'run tools/prepare_dataset.py, or leave ann_file empty'
                )
            sequences, remarks, _ = self.read_sequences()
            for remark in remarks:
                print_log(remark, 'current', logging.WARNING)
        sequences = self._select(sequences)
        for sequence in sequences:
            if sequence.annotations is None and not self.test_mode:
                raise FileNotFoundError(
                    f'{sequence.image_dir}: no annotation for sequence '
                    f'{sequence.name!r}, expected gt/gt.txt beside the images; '
                    'training needs one (hidden test splits have none)'
                )
            if sequence.annotations is not None:
                self.rule.apply(sequence.annotations)
            sequence.dataset = self.dataset_name
        self._say_depth(sequences)
        return sequences

    def _select(self, sequences: list[Sequence]) -> list[Sequence]:
        if self.sequence_names is None:
            return sequences
        by_name = {sequence.name: sequence for sequence in sequences}
        missing = [name for name in self.sequence_names if name not in by_name]
        if missing:
            raise ValueError(
                f'sequences={missing} are not in split {self.split!r} of '
                f'{self.data_root}; it has {sorted(by_name)[:10]}...'
            )
        return [by_name[name] for name in self.sequence_names]

    def _say_depth(self, sequences: list[Sequence]) -> None:
        """Say once, before the workers start, whose depth loss will be off."""
        loads_depth = any(
            isinstance(t, LoadClipDepth) for t in self.pipeline.transforms
        )
        without = [sequence.name for sequence in sequences if not sequence.depth_dir]
        if self.test_mode or not loads_depth or not without:
            return
        print_log(
            f'{self.dataset_name}: {len(without)} of {len(sequences)} sequences have '
            f'no depth folder ({", ".join(without[:3])}...): their depth loss is off. '
            'tools/generate_depth.py makes depth maps',
            'current',
            logging.WARNING,
        )

    @property
    def _first_frame(self) -> np.ndarray:
        """Int (S+1,), data set index of every sequence's frame 0."""
        if self._numbered is not self.data_list:  # a subset replaces the list
            lengths = [len(sequence) for sequence in self.data_list]
            self._offsets = np.concatenate([[0], np.cumsum(lengths, dtype=int)])
            self._numbered = self.data_list
        return self._offsets

    @force_full_init
    def __len__(self) -> int:
        return int(self._first_frame[-1])

    @force_full_init
    def get_data_info(self, idx: int | ClipIndex) -> dict:
        """Gather what the pipeline needs for a clip.

        Args:
            idx: A frame of the data set, or a clip.

        Returns:
            ``img_paths`` list[str] (T), ``depth_dir``, ``frame_ids``
            int (T,), ``img_ids`` int (T,), ``video_id``, ``video_length``,
            ``sequence``, ``dataset``, ``is_static``, ``test_mode``, ``rng`` and, where
            annotated, the boxes of all frames behind one another:
            ``gt_bboxes`` float32 (M, 4) xyxy, ``gt_labels``, ``gt_ids`` int64
            (M,), ``gt_frames`` int64 (M,) index into the clip. With
            ``single_frames``: ``img_path``, ``img_id``, ``height``, ``width``,
            ``video_id``, ``frame_id`` from 0 and ``instances``, a dict for each box
            with ``bbox`` xyxy, ``bbox_label``, ``instance_id`` and ``ignore_flag``
            (1 where training does not use the row).
        """
        if not isinstance(idx, ClipIndex):
            idx = self._frame_index(int(idx))
        if self.single_frames:
            return self._describe_frame(idx)
        sequence = self.sequences[idx.sequence]
        frames = np.asarray(idx.frames)
        info = dict(
            img_paths=[
                os.path.join(sequence.image_dir, name)
                for name in sequence.image_names[frames]
            ],
            depth_dir=sequence.depth_dir,
            frame_ids=frames,
            img_ids=self._first_frame[idx.sequence] + frames,
            video_id=idx.sequence,
            video_length=len(sequence),
            sequence=sequence.name,
            dataset=sequence.dataset,
            is_static=sequence.is_static,
            test_mode=self.test_mode,
            rng=_make_generator(idx.seed),
        )
        if sequence.annotations is not None:
            info.update(self._gather_boxes(sequence.annotations, frames))
        return info

    def _frame_index(self, idx: int) -> ClipIndex:
        if not -len(self) <= idx < len(self):
            raise IndexError(f'frame {idx} of a data set of {len(self)} frames')
        idx %= len(self)
        sequence = int(np.searchsorted(self._first_frame, idx, side='right')) - 1
        return ClipIndex(sequence, (idx - int(self._first_frame[sequence]),))

    def _describe_frame(self, idx: ClipIndex) -> dict:
        sequence, (frame,) = self.sequences[idx.sequence], idx.frames
        path = os.path.join(sequence.image_dir, str(sequence.image_names[frame]))
        if idx.sequence not in self._sizes:
            self._sizes[idx.sequence] = read_image_size(path)
        height, width = self._sizes[idx.sequence]
        info = dict(
            img_path=path,
            img_id=int(self._first_frame[idx.sequence]) + frame,
            height=height,
            width=width,
            video_id=idx.sequence,
            frame_id=frame,
            instances=[],
        )
        annotations = sequence.annotations
        if annotations is not None:
            rows = slice(*annotations.offsets[frame : frame + 2])
            info['instances'] = [
                dict(
                    bbox=box,
                    # The class of a distractor is not known; it is ignored in all.
                    bbox_label=max(label, 0),
                    instance_id=identity,
                    ignore_flag=int(not used),
                )
                for box, label, identity, used in zip(
                    xywh_to_xyxy(annotations.xywh[rows]).tolist(),
                    annotations.labels[rows].tolist(),
                    annotations.ids[rows].tolist(),
                    annotations.trainable[rows].tolist(),
                    strict=True,
                )
            ]
        return info

    def _gather_boxes(
        self, annotations: SequenceAnnotations, frames: np.ndarray
    ) -> dict:
        rows, clip_index = annotations.rows_of(frames)
        if not self.test_mode:
            keep = annotations.trainable[rows]
            rows, clip_index = rows[keep], clip_index[keep]
        xywh = annotations.xywh[rows]
        boxes = dict(
            gt_bboxes=xywh_to_xyxy(xywh),
            gt_labels=annotations.labels[rows],
            gt_ids=annotations.ids[rows],
            gt_frames=clip_index,
        )
        if self.test_mode:
            boxes.update(
                gt_xywh=xywh,
                gt_marks=annotations.marks[rows],
                gt_categories=annotations.categories[rows],
                gt_visibilities=annotations.visibilities[rows],
            )
        return boxes


def _make_generator(seed: tuple[int, ...] | None) -> np.random.Generator:
    if seed is None:
        seed = (int(np.random.randint(2**31)),)
    return np.random.default_rng(seed)
