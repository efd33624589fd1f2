# Copyright (c) mmfdta authors.
"""Data sets of video sequences: the MOTChallenge layout, and several sets as one.

What is special about a data set stands in its class and nowhere else: what it is
called, where its files lie, which splits it has, what is trained on and scored. The
commands that check, prepare and complete data sets ask the class.
"""

import fnmatch
import itertools
import logging
import os
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset, Compose
from mmengine.dataset.base_dataset import force_full_init
from mmengine.logging import print_log
from torch.utils.data import Dataset

from mmfdta.structures.benchmarks import BENCHMARKS, Benchmark
from mmfdta.structures.classes import labels_beside, numbers_of_labels
from mmfdta.structures.frames import (
    COUNTED,
    FRAME_NUMBERS,
    IMAGE_DIR,
    find_image_dir,
    read_seqinfo,
)

from .cache import load_cache
from .checking import SequenceReport, check_numbers, check_sequence, check_strays, lack
from .classes import ClassRows, describe_rule, map_by_names, pair_identities
from .sequences import (
    ClipIndex,
    RowRule,
    Sequence,
    SequenceAnnotations,
    SequenceSource,
    list_folders,
    read_sequences,
    xywh_to_xyxy,
)
from .transforms.decoding import read_image_size
from .transforms.loading import LoadClipDepth


@DATASETS.register_module()
class MOTSequenceDataset(BaseDataset):
    """Sequences of frames with boxes and identities; a sample is a clip.

    Reads ``<data_root>/<split>/<sequence>/{img1,gt/gt.txt,seqinfo.ini}``
    directly, or from the annotation cache that ``mmfdta prepare-dataset``
    writes. Samples are asked for by :class:`ClipIndex`, which the samplers
    yield; an ``int`` asks for a single frame of the whole data set.

    A data set of your own in another layout is a subclass. It sets the facts
    below and, where needed, overrides :meth:`split_folder`, :meth:`find_source`
    or :meth:`read_sequences`; training, testing and the commands on data sets
    then work with it.

    Args:
        data_root: The data set's folder.
        split: The split's folder.
        sequences: Names or patterns (``dancetrack00*``) of the sequences to use;
            None uses all.
        dataset_name: Name in the meta information of a frame;
            by default that of the class.
        category_map: Column 8 of the text to label. None: the class or the numbers
            that the benchmark scores; where it has none, the numbers that a
            ``labels.txt`` next to the texts gives the classes of ``metainfo``; else
            one class, and column 8 means nothing.
        use_consider_flag: Train only on rows whose column 7 is not 0. None: if the
            benchmark scores one class of several.
        min_visibility: Train only on rows whose column 9 is at least
            this.
        ann_file: Annotation cache, relative to ``data_root``. Empty: the
            cache of ``mmfdta prepare-dataset`` if it is there and up to date,
            else the original files.
        test_mode: Deliver all rows, with their columns 7 to 9 for the metric, and
            allow missing annotations.
        single_frames: Deliver single frames as MMDetection's detection data
            sets do, for any detector, pipeline and metric of MMDetection; samples
            are asked for by ``int``.
        frame_numbers: How the frames of all texts are read: ``names``, as the number
            in the name of the image; ``count``, as the n-th image (``count0``: from 0);
            ``auto``, as what fits, refusing texts that fit both in different ways.
        text_only: Ground-truth text is enough: folders that hold ``gt/gt.txt`` and no
            images are sequences too, for trackers that learn of boxes alone.
        **kwargs: See :class:`mmengine.dataset.BaseDataset` (``metainfo``,
            ``pipeline``, ``indices``, ``lazy_init``).

    Attributes:
        BENCHMARK: Title, classes, which rows are trained on and scored. The
            metric follows these rules where its config names no others.
        SPLITS: Names of the splits that may be there.
        HIDDEN_SPLITS: Splits whose annotations are not published.
        LAYOUT: What a sequence looks like below its split, for messages.
    """

    BENCHMARK: Benchmark = BENCHMARKS['mot_challenge']
    METAINFO = dict(classes=BENCHMARK.classes, benchmark=BENCHMARK.name)
    SPLITS: tuple[str, ...] = ('train', 'val', 'test')
    HIDDEN_SPLITS: tuple[str, ...] = ('test',)
    LAYOUT = '<sequence>/img1/'

    def __init_subclass__(cls) -> None:
        """Take the meta information from the benchmark, and make it known by name."""
        super().__init_subclass__()
        benchmark = cls.BENCHMARK
        if 'BENCHMARK' in vars(cls):
            BENCHMARKS.setdefault(benchmark.name, benchmark)
            cls.METAINFO = dict(classes=benchmark.classes, benchmark=benchmark.name)

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        sequences: list[str] | None = None,
        dataset_name: str | None = None,
        category_map: dict[int, int] | None = None,
        use_consider_flag: bool | None = None,
        min_visibility: float = 0.0,
        ann_file: str = '',
        test_mode: bool = False,
        single_frames: bool = False,
        frame_numbers: str = 'auto',
        text_only: bool = False,
        pipeline: SequenceOf[dict | Callable] = (),
        **kwargs: Any,
    ) -> None:
        self.split = split
        self.single_frames = single_frames
        self.sequence_names = sequences
        self.dataset_name = dataset_name or self.BENCHMARK.title
        scored = self.BENCHMARK.scored_class
        if category_map is None and scored is not None:
            category_map = {scored: 0}
        elif category_map is None and self.BENCHMARK.numbers:
            category_map = {n: i for i, n in enumerate(self.BENCHMARK.numbers)}
        if 'use_marks' in kwargs:
            raise ValueError(
                f'{type(self).__name__}: use_marks is now use_consider_flag; rename it'
            )
        if frame_numbers not in FRAME_NUMBERS:
            raise ValueError(
                f'{type(self).__name__}(frame_numbers={frame_numbers!r}): expected '
                f'one of {", ".join(FRAME_NUMBERS)}'
            )
        self.frame_numbers = frame_numbers
        self.text_only = text_only
        self.decided_numbers = COUNTED
        if use_consider_flag is None:
            use_consider_flag = scored is not None
        self.rule = RowRule(category_map, use_consider_flag, min_visibility)
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

    @classmethod
    def recognises(cls, data_root: str) -> bool:
        """Tell whether a folder can only be this data set, by what is special there."""
        return False

    @classmethod
    def split_folder(cls, data_root: str, split: str) -> Path:
        """Return the folder that holds the folders of a split's sequences."""
        return Path(data_root, split)

    @classmethod
    def find_splits(cls, data_root: str) -> list[str]:
        """Find the splits that are there.

        Args:
            data_root: The data set's folder.

        Returns:
            Names of splits; ``['']`` if the sequences lie in ``data_root`` itself.

        Raises:
            FileNotFoundError: If there is nothing of the data set.
        """
        if not os.path.isdir(data_root):
            raise FileNotFoundError(f'{data_root}: no such folder')
        found = [s for s in cls.SPLITS if cls.split_folder(data_root, s).is_dir()]
        if not found and any(map(mot_source, Path(data_root).iterdir())):
            return ['']
        if not found:
            raise FileNotFoundError(
                f'{data_root}: found no split of {cls.BENCHMARK.title}, expected a '
                f'folder {", ".join(cls.SPLITS)}, or sequences with img1/'
            )
        return found

    def find_source(self, folder: Path) -> SequenceSource | None:
        """Find the parts of a sequence.

        Args:
            folder: A folder in that of the split.

        Returns:
            Where they are, None if the folder is not a sequence of the split.
        """
        return mot_source(folder)

    def find_text(self, folder: Path) -> SequenceSource | None:
        """Find the parts of a sequence without images, for ``text_only``.

        Args:
            folder: A folder in that of the split, in which :meth:`find_source` finds
                no sequence.

        Returns:
            Where they are, None if the folder is not a sequence.
        """
        return text_source(folder, folder / 'gt' / 'gt.txt')

    def is_used(self, folder: Path) -> bool:
        """Tell whether a sequence is of use here, by its name; by default all are."""
        return True

    def is_sequence(self, folder: Path) -> bool:
        """Tell whether a folder is a sequence, be it of use here or not."""
        return self._find_parts(folder) is not None

    def _find_parts(self, folder: Path) -> SequenceSource | None:
        source = self.find_source(folder)
        return self.find_text(folder) if source is None and self.text_only else source

    def _find_lacking(self, folders: list[Path]) -> list[str]:
        """Say which folders are no sequences because they have no images."""
        unknown = [folder for folder in folders if not self.is_sequence(folder)]
        return [why for folder in unknown if (why := lack(folder))]

    def sources(self) -> list[SequenceSource]:
        """List where the sequences of the split are on disk.

        Returns:
            Sorted by name.

        Raises:
            FileNotFoundError: If the folder of the split is missing or holds none.
        """
        base = self.split_folder(self.data_root, self.split)
        folders = [base / name for name in list_folders(base)]
        found = [self._find_parts(folder) for folder in folders if self.is_used(folder)]
        sources = [source for source in found if source is not None]
        if not sources:
            lacking = self._find_lacking(folders)
            why = f'; {lacking[0]}' if lacking else ''
            raise FileNotFoundError(
                f'{base}: found no sequence, expected {self.LAYOUT}{why}. Check '
                'data_root and split.'
            )
        return sources

    def known_sources(self) -> list[SequenceSource] | None:
        """List where the sequences are, None if there is no such list.

        That is so for static images, and for a split that is not there.
        """
        try:
            return self.sources()
        except (FileNotFoundError, ValueError):
            return None

    def checks(
        self, depth_only: bool = False, decode: bool = False
    ) -> list[Callable[[], SequenceReport]]:
        """List the checks of the split; they may run at the same time.

        Args:
            depth_only: Check depth maps only, and require them.
            decode: Decode every image completely.

        Returns:
            One check per sequence, one of how their texts count frames, and one of
            what lies next to the sequences.

        Raises:
            ValueError: If names of classes do not fit.
        """
        sources = self.sources()
        base = self.split_folder(self.data_root, self.split)
        rule, _ = self.find_class_rule()
        numbers, report = COUNTED, SequenceReport('(frame numbers)')
        if not depth_only:
            numbers = check_numbers(sources, self.frame_numbers, report)
        return [
            partial(check_strays, str(base), self.is_sequence, self.LAYOUT),
            lambda: report,
            *(
                partial(
                    check_sequence,
                    source,
                    needs_text=self.split not in self.HIDDEN_SPLITS,
                    depth_only=depth_only,
                    decode=decode,
                    numbers=numbers,
                    any_names=self.frame_numbers.startswith('count'),
                    rule=rule,
                )
                for source in sources
            ),
        ]

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
            The sequences, sorted by name; remarks worth a warning; and the files
            read, annotations and ``seqinfo.ini``.
        """
        sources = self.sources()
        rule, _ = self.find_class_rule()
        sequences, remarks, self.decided_numbers = read_sequences(
            sources, self.frame_numbers, rule.category_map is not None
        )
        base = self.split_folder(self.data_root, self.split)
        lacking = self._find_lacking([base / name for name in list_folders(base)])
        if lacking:
            remarks.append(
                f'{lacking[0]} and is left out ({len(lacking)} such folders)'
            )
        parts = [path for s in sources for path in (s.gt_path, s.seqinfo_path)]
        return sequences, remarks, [path for path in parts if path is not None]

    def load_data_list(self) -> list[Sequence]:
        """Read the sequences, from the annotation cache if it is there.

        Returns:
            Sorted by name, or in the order of ``sequences``.

        Raises:
            FileNotFoundError: If a folder or, for training, an annotation is
                missing.
            ValueError: At a bad line of text, or if a row has no image or could have
                two.
        """
        sequences = load_cache(
            self.cache_path, self.data_root, self.known_sources(), self.frame_numbers
        )
        if sequences is None:
            if self.ann_file:
                raise FileNotFoundError(
                    f'ann_file={self.ann_file}: missing or older than the data set; '
                    'run mmfdta prepare-dataset, or leave ann_file empty'
                )
            sequences, remarks, _ = self.read_sequences()
            for remark in remarks:
                print_log(remark, 'current', logging.WARNING)
        sequences = self._select(sequences)
        annotated: list[SequenceAnnotations] = []
        for sequence in sequences:
            if sequence.annotations is None and not self.test_mode:
                raise FileNotFoundError(
                    f'{sequence.image_dir}: no annotation for sequence '
                    f'{sequence.name!r}, expected gt/gt.txt beside the images; '
                    'training needs one (hidden test splits have none)'
                )
            if sequence.annotations is not None:
                annotated.append(sequence.annotations)
            sequence.dataset = self.dataset_name
        for remark in self._find_classes(annotated) + self._pair(sequences):
            print_log(f'{self.dataset_name}: {remark}', 'current', logging.WARNING)
        for annotations in annotated:
            self.rule.apply(annotations)
        self._say_depth(sequences)
        return sequences

    @property
    def has_own_rules(self) -> bool:
        """Whether the benchmark scores one class of several, by its own rules."""
        return self.BENCHMARK.scored_class is not None

    def find_class_rule(self) -> tuple[RowRule, dict[int, str]]:
        """Find what column 8 means, before any text is read.

        Returns:
            Which rows are trained on, with the numbers that ``labels.txt`` next to the
            texts gives the classes of ``metainfo`` where no ``category_map`` is set;
            and names by number, as far as they are known.

        Raises:
            ValueError: If sequences number their classes differently, or names do
                not fit.
        """
        classes = self.metainfo['classes']
        mapped = dict(self.rule.category_map or {})
        known = {n: str(classes[i]) for n, i in mapped.items() if i < len(classes)}
        if self.has_own_rules:
            return self.rule, known
        sources = self.known_sources()
        if sources is None:
            return self.rule, known
        chosen = self._choose_names([source.name for source in sources])
        labels = labels_beside(
            source.gt_path
            for source in sources
            if source.gt_path and source.name in chosen
        )
        rule = self.rule
        if tuple(classes) != MOTSequenceDataset.BENCHMARK.classes:  # some are named
            rule = map_by_names(rule, classes, labels)
        return rule, labels or known

    def describe_classes(self, rows: ClassRows) -> tuple[str, list[str]]:
        """Describe the classes of the split, as a check found them.

        Args:
            rows: Of all sequences.

        Returns:
            A table to print, empty without rows; and what training makes of them.

        Raises:
            ValueError: If several classes are named and nothing says their numbers.
        """
        rule, labels = self.find_class_rule()
        table = rows.table(labels) if rows.boxes else ''
        if self.has_own_rules:
            return table, []
        return table, describe_rule(rule, self.metainfo['classes'], labels, rows)

    def _find_classes(self, annotated: SequenceOf[SequenceAnnotations]) -> list[str]:
        """Decide on labels, and tell the metric their numbers; remarks for the log."""
        self.rule, labels = self.find_class_rule()
        if self.has_own_rules:
            return []
        rows = ClassRows.total(
            ClassRows.of(replace(a.tracks, label=a.category), a.visibility, self.rule)
            for a in annotated
        )
        classes = self.metainfo['classes']
        if self.rule.category_map is not None:
            strange = {*self.rule.category_map.values()} - {*range(len(classes))}
            if strange:
                raise ValueError(
                    f'{self.dataset_name}: category_map={self.rule.category_map} gives '
                    f'label {sorted(strange)[-1]}, but metainfo.classes has '
                    f'{len(classes)} ({", ".join(classes)}), whose labels are 0 to '
                    f'{len(classes) - 1}; name as many classes'
                )
            numbers = numbers_of_labels(self.rule.category_map, len(classes))
            self._metainfo['class_numbers'] = numbers
        return describe_rule(self.rule, classes, labels, rows, not self.test_mode)

    def _pair(self, sequences: list[Sequence]) -> list[str]:
        return [] if self.has_own_rules else pair_identities(sequences)

    def _select(self, sequences: list[Sequence]) -> list[Sequence]:
        if self.sequence_names is None:
            return sequences
        by_name = {sequence.name: sequence for sequence in sequences}
        missing = [name for name in self.sequence_names if not _matching(name, by_name)]
        if missing:
            raise ValueError(
                f'sequences={missing} are not in split {self.split!r} of '
                f'{self.data_root}; it has {sorted(by_name)[:10]}...'
            )
        return [by_name[name] for name in self._choose_names(list(by_name))]

    def _choose_names(self, known: list[str]) -> list[str]:
        """Choose of the names of sequences those that are used, in their order."""
        if self.sequence_names is None:
            return known
        found = [_matching(name, known) for name in self.sequence_names]
        return [*dict.fromkeys(itertools.chain.from_iterable(found))]

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
            'mmfdta generate-depth makes depth maps',
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
            tracks = annotations.tracks.select(rows)
            info['instances'] = [
                dict(
                    bbox=box,
                    # The class of a distractor is not known; it is ignored in all.
                    bbox_label=max(label, 0),
                    instance_id=identity,
                    ignore_flag=int(not used),
                )
                for box, label, identity, used in zip(
                    xywh_to_xyxy(tracks.xywh).tolist(),
                    tracks.label.tolist(),
                    tracks.identity.tolist(),
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
        tracks = annotations.tracks.select(rows)
        boxes = dict(
            gt_bboxes=xywh_to_xyxy(tracks.xywh),
            gt_labels=tracks.label,
            gt_ids=tracks.identity,
            gt_frames=clip_index,
        )
        if self.test_mode:
            boxes.update(
                gt_xywh=tracks.xywh,
                gt_consider=tracks.score,
                gt_categories=annotations.category[rows],
                gt_visibilities=annotations.visibility[rows],
            )
        return boxes


def _make_generator(seed: tuple[int, ...] | None) -> np.random.Generator:
    if seed is None:
        seed = (int(np.random.randint(2**31)),)
    return np.random.default_rng(seed)


def mot_source(folder: Path) -> SequenceSource | None:
    """Point to the parts of a sequence in the MOTChallenge layout.

    Args:
        folder: The sequence's folder, which holds ``img1``, or the ``imDir`` of
            ``seqinfo.ini``, and, where there are any, ``gt/gt.txt``,
            ``seqinfo.ini`` and ``depth``.

    Returns:
        None if there are no images. If ``seqinfo.ini`` is wrong, reading the images
        tells.
    """
    text = folder / 'gt' / 'gt.txt'
    seqinfo = folder / 'seqinfo.ini'
    try:
        info = read_seqinfo(seqinfo if seqinfo.is_file() else None)
        image_dir = find_image_dir(folder, info)
    except FileNotFoundError:
        image_dir = folder / str(info.image_dir)
    except ValueError:
        image_dir = folder / IMAGE_DIR
    if image_dir is None:
        return None
    return SequenceSource(
        name=folder.name,
        image_dir=str(image_dir),
        gt_path=str(text) if text.is_file() else None,
        seqinfo_path=str(seqinfo) if seqinfo.is_file() else None,
        depth_dir=str(folder / 'depth'),
    )


def text_source(folder: Path, text: Path) -> SequenceSource | None:
    """Point to the ground truth of a sequence whose images are not there.

    Args:
        folder: The sequence's folder, which holds ``seqinfo.ini`` where there is one.
        text: The ground truth.

    Returns:
        None if there is no text, or there is a folder ``img1``.
    """
    seqinfo = folder / 'seqinfo.ini'
    if not text.is_file() or (folder / IMAGE_DIR).is_dir():
        return None
    return SequenceSource(
        name=folder.name,
        image_dir=str(folder / IMAGE_DIR),
        gt_path=str(text),
        seqinfo_path=str(seqinfo) if seqinfo.is_file() else None,
        depth_dir=str(folder / 'depth'),
        without_images=True,
    )


def _matching(name: str, known: Iterable[str]) -> list[str]:
    """List the names that are this one or, without it, that fit it as a pattern."""
    known = list(known)
    return [name] if name in known else fnmatch.filter(known, name)


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
        ValueError: If weights are not positive integers, one for each data set, or
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
        numbers = {tuple(d.metainfo.get('class_numbers', ())) for d in self.datasets}
        if metainfo is None:
            self._metainfo.pop('class_numbers', None)
        if len(numbers) == 1 and numbers != {()}:
            self._metainfo.setdefault('class_numbers', numbers.pop())

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
