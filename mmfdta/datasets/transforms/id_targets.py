# Copyright (c) mmfdta authors.
"""ID targets of a clip: which ID word every object has in every group.

A clip's identities become columns. Every group gives each column its own
random ID word; the trajectory side says what the tracker will remember (after
occlusions and identity switches), the unknown side what it has to answer
(arXiv 2512.02392, Sec. 3.4, following MOTIP).
"""

from dataclasses import dataclass

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS


@dataclass
class IDTargets:
    """Targets of a clip of T frames, G groups and N identities.

    Masks are True where an identity is absent. Annotation indices point into
    the boxes of the frame, -1 where the identity has none. A column whose
    identity was not seen in an earlier frame of its group is labelled
    ``vocab`` ("newborn") on the unknown side.

    Attributes:
        column_ids: int64 (N,), identity of every column.
        trajectory_id_labels: int64 (G, T, N).
        trajectory_id_masks: bool (G, T, N).
        trajectory_ann_idxs: int64 (G, T, N).
        unknown_id_labels: int64 (G, T, N).
        unknown_id_masks: bool (G, T, N).
        unknown_ann_idxs: int64 (G, T, N).
    """

    column_ids: np.ndarray
    trajectory_id_labels: np.ndarray
    trajectory_id_masks: np.ndarray
    trajectory_ann_idxs: np.ndarray
    unknown_id_labels: np.ndarray
    unknown_id_masks: np.ndarray
    unknown_ann_idxs: np.ndarray


def make_id_targets(
    ids_per_frame: list[np.ndarray],
    num_groups: int,
    vocab: int,
    num_training_ids: int,
    occlusion_prob: float,
    switch_prob: float,
    rng: np.random.Generator,
    labels_per_frame: list[np.ndarray] | None = None,
) -> IDTargets:
    """Make the ID targets of a clip.

    Args:
        ids_per_frame: T arrays int (M_t,), the identities
            of a frame's boxes; unique within a frame.
        num_groups: Number of groups G.
        vocab: Number of ID words K.
        num_training_ids: Most identities that take part, at most K.
        occlusion_prob: Chance that an identity of a group is occluded
            for an interval.
        switch_prob: Chance that a column takes part in the identity
            switch of a frame of a group.
        rng: Source of every draw.
        labels_per_frame: T arrays int (M_t,), class
            labels. Given, an identity is a (class, identity) pair, and only
            objects of one class change places. None: classes are ignored.

    Returns:
        The targets; columns ascend by (class and) identity.
    """
    columns, classes, table = _index_table(ids_per_frame, labels_per_frame)
    limit = min(num_training_ids, vocab)
    if len(columns) > limit:
        chosen = np.sort(rng.permutation(len(columns))[:limit])
        columns, classes, table = columns[chosen], classes[chosen], table[:, chosen]
    num_frames, num_ids = table.shape
    shape = (num_groups, num_frames, num_ids)

    words = rng.random((num_groups, vocab)).argsort(axis=1)[:, :num_ids]
    labels = np.broadcast_to(words[:, None], shape)
    ann_idxs = np.broadcast_to(table, shape)
    masks = (ann_idxs < 0) | _draw_occlusion(shape, occlusion_prob, rng)

    moves = _draw_switches(shape, switch_prob, classes, rng)
    trajectory_masks = np.take_along_axis(masks, moves, axis=2)
    seen = np.zeros(shape, dtype=bool)
    np.logical_or.accumulate(~trajectory_masks[:, :-1], axis=1, out=seen[:, 1:])
    return IDTargets(
        column_ids=columns,
        trajectory_id_labels=labels.copy(),
        trajectory_id_masks=trajectory_masks,
        trajectory_ann_idxs=np.take_along_axis(ann_idxs, moves, axis=2),
        unknown_id_labels=np.where(seen, labels, vocab),
        unknown_id_masks=masks,
        unknown_ann_idxs=ann_idxs.copy(),
    )


def _index_table(
    ids_per_frame: list[np.ndarray], labels_per_frame: list[np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return identities (N,), classes (N,) and box indices (T, N), -1 absent."""
    counts = [len(ids) for ids in ids_per_frame]
    ids = np.concatenate([*ids_per_frame, []]).astype(np.int64)
    if labels_per_frame is None:
        classes = np.zeros_like(ids)
    else:
        classes = np.concatenate([*labels_per_frame, []]).astype(np.int64)
    pairs = np.stack([classes, ids], axis=1)
    unique, column = np.unique(pairs, axis=0, return_inverse=True)
    column = column.reshape(-1)
    frame = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    table = np.full((len(counts), len(unique)), -1, dtype=np.int64)
    table[frame, column] = np.arange(len(ids)) - np.repeat(starts, counts)
    return unique[:, 1], unique[:, 0], table


def _draw_occlusion(
    shape: tuple[int, int, int], prob: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw bool (G, T, N): True in the occluded interval of an identity.

    The interval begins anywhere and ends before the last frame, which is thus
    never occluded.
    """
    num_groups, num_frames, num_ids = shape
    occluded = rng.random((num_groups, 1, num_ids)) < prob
    begin = rng.integers(0, num_frames, (num_groups, 1, num_ids))
    rest = num_frames - 1 - begin
    end = begin + np.ceil(rest * rng.random(begin.shape)).astype(np.int64)
    frame = np.arange(num_frames)[:, None]
    return occluded & (frame >= begin) & (frame < end)


def _draw_switches(
    shape: tuple[int, int, int],
    prob: float,
    classes: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw int64 (G, T, N): the column whose box each column remembers.

    The columns that take part in a frame are permuted among themselves, within
    their class; the others stay.
    """
    num_ids = shape[2]
    columns = np.broadcast_to(np.arange(num_ids), shape)
    if prob <= 0:
        return columns
    joined = rng.random(shape) < prob
    # Sort keys: those that take part come first, class by class, once in column
    # order and once in random order; those that stay keep their places after.
    last = classes.max(initial=0) + 1
    group = np.where(joined, classes, last)
    fixed = group + columns / (num_ids + 1)
    mixed = np.where(joined, group + rng.random(shape), fixed)
    moves = np.empty(shape, dtype=np.int64)
    np.put_along_axis(moves, fixed.argsort(axis=2), mixed.argsort(axis=2), axis=2)
    return moves


@TRANSFORMS.register_module()
class GenerateIDTargets(BaseTransform):
    """Make the ID targets of a clip; see :func:`make_id_targets`.

    Args:
        num_groups: Groups G, each with its own random ID words.
        vocab: Number of ID words K.
        num_training_ids: Most identities of a clip that take
            part; by default K.
        occlusion_prob: Chance that an identity is occluded for an
            interval.
        switch_prob: Chance that an identity takes part in a frame's
            identity switch.
        class_aware: An identity is a (class, identity) pair and
            switches stay within a class.
    """

    def __init__(
        self,
        num_groups: int = 6,
        vocab: int = 50,
        num_training_ids: int | None = None,
        occlusion_prob: float = 0.5,
        switch_prob: float = 0.5,
        class_aware: bool = False,
    ) -> None:
        num_training_ids = vocab if num_training_ids is None else num_training_ids
        if not 1 <= num_training_ids <= vocab:
            raise ValueError(
                f'GenerateIDTargets(num_training_ids={num_training_ids}): expected 1 '
                f'to {vocab}, the number of ID words (vocab)'
            )
        for name, prob in (('occlusion', occlusion_prob), ('switch', switch_prob)):
            if not 0 <= prob <= 1:
                raise ValueError(
                    f'GenerateIDTargets({name}_prob={prob}): expected 0..1'
                )
        self.num_groups = num_groups
        self.vocab = vocab
        self.num_training_ids = num_training_ids
        self.occlusion_prob = occlusion_prob
        self.switch_prob = switch_prob
        self.class_aware = class_aware

    def transform(self, results: dict) -> dict:
        """Add ``id_targets``."""
        num_frames = len(results['img_paths'])
        cuts = np.searchsorted(results['gt_frames'], np.arange(1, num_frames))
        labels = np.split(results['gt_labels'], cuts) if self.class_aware else None
        results['id_targets'] = make_id_targets(
            np.split(results['gt_ids'], cuts),
            self.num_groups,
            self.vocab,
            self.num_training_ids,
            self.occlusion_prob,
            self.switch_prob,
            results['rng'],
            labels,
        )
        return results
