# Copyright (c) mmfdta authors.
"""What the data sets hold in memory: sequences, their boxes, and clip indices."""

import os
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

MAX_OBJECTS = 300


@dataclass(frozen=True)
class ClipIndex:
    """One sample: which frames of which sequence, and the seed of its draws.

    The seed makes a sample's augmentation depend on (run seed, epoch, place
    in the epoch) only, not on the number of workers or on what was loaded
    before, so that a resumed run sees the samples it would have seen.

    Attributes:
        sequence: Index into the data set's ``sequences``.
        frames: 0-based frames, ascending.
        seed: Entropy of the sample's generator; None
            draws it from NumPy's global state.
    """

    sequence: int
    frames: tuple[int, ...]
    seed: tuple[int, ...] | None = None


@dataclass(frozen=True)
class SequenceSource:
    """Where the parts of a sequence are on disk.

    Attributes:
        name: The sequence's name in results.
        image_dir: Folder of the images.
        gt_path: MOTChallenge text, None where it is hidden.
        seqinfo_path: ``seqinfo.ini``, None if there is none.
        depth_dir: Folder where depth maps are looked for.
    """

    name: str
    image_dir: str
    gt_path: str | None
    seqinfo_path: str | None
    depth_dir: str


@dataclass
class SequenceAnnotations:
    """All boxes of a sequence, sorted by frame, in file order within a frame.

    Attributes:
        offsets: int64 (L+1,); frame ``t`` owns the rows
            ``offsets[t]:offsets[t+1]``.
        ids: int64 (M,) identities.
        xywh: float64 (M, 4), pixels of the original image.
        labels: int64 (M,) class labels from 0.
        marks: float32 (M,), column 7.
        categories: int64 (M,), column 8, -1 where absent.
        visibilities: float32 (M,), column 9, -1 where absent.
        trainable: bool (M,), rows that training may use; the
            others (distractors, unmarked rows) only serve the evaluation.
    """

    offsets: np.ndarray
    ids: np.ndarray
    xywh: np.ndarray
    labels: np.ndarray
    marks: np.ndarray
    categories: np.ndarray
    visibilities: np.ndarray
    trainable: np.ndarray

    def rows_of(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the rows of some frames.

        Args:
            frames: int (T,), 0-based.

        Returns:
            Rows int64 (M,) in the order of
            ``frames``, and for each the index int64 (M,) into ``frames``.
        """
        counts = self.offsets[frames + 1] - self.offsets[frames]
        clip_index = np.repeat(np.arange(len(frames)), counts)
        ends = np.cumsum(counts)
        within = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
        return np.repeat(self.offsets[frames], counts) + within, clip_index


@dataclass
class Sequence:
    """A sequence of frames, or a static image that clips are made of.

    Attributes:
        name: Name in results.
        image_dir: Folder of the images.
        image_names: str (L,), file names in frame order.
        annotations: None where there are none.
        depth_place: Folder where depth maps are looked for.
        is_static: True for a single image.
        frame_rate: Frames per second, 0 if unknown.
        dataset: Name of the data set.
    """

    name: str
    image_dir: str
    image_names: np.ndarray
    annotations: SequenceAnnotations | None
    depth_place: str = ''
    is_static: bool = False
    frame_rate: float = 0.0
    dataset: str = ''

    def __len__(self) -> int:
        return len(self.image_names)

    def cut(self, start: int, stop: int) -> 'Sequence':
        """Return the frames ``start`` to ``stop - 1`` as a sequence.

        Args:
            start: First frame.
            stop: Frame after the last one.

        Returns:
            Counts its frames from 0 again.
        """
        annotations = self.annotations
        if annotations is not None:
            offsets = annotations.offsets[start : stop + 1]
            rows = slice(int(offsets[0]), int(offsets[-1]))
            parts = {
                item.name: getattr(annotations, item.name)[rows]
                for item in fields(annotations)
                if item.name != 'offsets'
            }
            annotations = SequenceAnnotations(offsets=offsets - offsets[0], **parts)
        return replace(
            self, image_names=self.image_names[start:stop], annotations=annotations
        )

    @cached_property
    def depth_dir(self) -> str | None:
        """Folder of the depth maps, None if there is none."""
        return self.depth_place if os.path.isdir(self.depth_place) else None

    @cached_property
    def legal_frames(self) -> np.ndarray:
        """Bool (L,), True where a frame may be trained on.

        A frame is legal with 1 to 300 objects (the detector's queries) whose
        identities are unique, as in the released sampler.
        """
        annotations = self.annotations
        if annotations is None:
            return np.zeros(len(self), dtype=bool)
        frames = np.repeat(np.arange(len(self)), np.diff(annotations.offsets))
        used = annotations.trainable
        return legal_counts(frames[used], annotations.ids[used], len(self))


def legal_counts(frames: np.ndarray, ids: np.ndarray, length: int) -> np.ndarray:
    """Apply the released rule: 1..300 objects a frame, unique identities.

    Args:
        frames: int (M,), the frame of every box.
        ids: int (M,), the identity of every box.
        length: Number of frames T.

    Returns:
        bool (T,).
    """
    counts = np.bincount(frames, minlength=length)
    legal = (counts >= 1) & (counts <= MAX_OBJECTS)
    order = np.lexsort((ids, frames))
    frames, ids = frames[order], ids[order]
    repeated = (frames[1:] == frames[:-1]) & (ids[1:] == ids[:-1])
    legal[frames[1:][repeated]] = False
    return legal


def xywh_to_xyxy(xywh: np.ndarray) -> np.ndarray:
    """Turn boxes into corners, summed in float32 as the released reader does.

    Args:
        xywh: float (M, 4), left, top, width, height.

    Returns:
        float32 (M, 4), left, top, right, bottom.
    """
    xyxy = xywh.astype(np.float32)
    xyxy[:, 2:] += xyxy[:, :2]
    return xyxy
