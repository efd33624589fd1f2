# Copyright (c) mmfdta authors.
"""Sequences: where their parts lie on disk, how they are read, what they hold."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from mmfdta.structures.frames import (
    FrameNumbers,
    SequenceFrames,
    complete_frames,
    decide_frame_numbers,
    find_image_dir,
    read_seqinfo,
)
from mmfdta.structures.mot_text import ScannedText, scan_mot_text
from mmfdta.structures.plausibility import describe_boxes
from mmfdta.structures.tracks import Tracks

# Objects of a frame in training: as many as the released detector has queries.
MAX_OBJECTS = 300
# Far beyond any image; float32 boxes still hold a sixteenth of a pixel there.
LARGEST_PIXEL = 1e6


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
        without_images: The images are not there; ``seqinfo.ini`` or the last frame of
            the text says how many there were.
    """

    name: str
    image_dir: str
    gt_path: str | None
    seqinfo_path: str | None
    depth_dir: str
    without_images: bool = False

    def read_frames(self, allow_mixed: bool = False) -> SequenceFrames | None:
        """List the images and number them as ``seqinfo.ini`` and their names say.

        Args:
            allow_mixed: Names of several kinds carry no numbers, instead of being
                refused.

        Returns:
            None if there are no images and only the text says how many there were.

        Raises:
            FileNotFoundError: If there are no images.
            ValueError: If ``seqinfo.ini`` cannot be read, or the images not be
                numbered.
        """
        info = read_seqinfo(self.seqinfo_path)
        if self.without_images:
            if not info.length:
                return None
            return SequenceFrames.of_length(self.seqinfo_path or '', info.length)
        if self.seqinfo_path is not None and not os.path.isdir(self.image_dir):
            find_image_dir(Path(self.seqinfo_path).parent, info)  # names a wrong imDir
        return SequenceFrames.of_images(self.image_dir, info, allow_mixed)


@dataclass
class SequenceAnnotations:
    """The ground truth of a sequence, and what only training needs of it.

    Attributes:
        tracks: M rows, sorted by frame, in file order within a frame. Frames count
            from 1; labels are those of training, from 0, -1 for a class that is not
            trained on; column 7 is the score.
        offsets: int64 (L+1,); the rows of the frame ``t``, from 0, are
            ``offsets[t]:offsets[t+1]``.
        category: int64 (M,), column 8, -1 where absent.
        visibility: float64 (M,), column 9, -1 where absent.
        trainable: bool (M,), rows that training may use; the others (distractors,
            rows with a 0 in column 7) only serve the evaluation.
    """

    tracks: Tracks
    offsets: np.ndarray
    category: np.ndarray
    visibility: np.ndarray
    trainable: np.ndarray

    @classmethod
    def create(
        cls,
        tracks: Tracks,
        length: int,
        category: np.ndarray | None = None,
        visibility: np.ndarray | None = None,
    ) -> 'SequenceAnnotations':
        """Sort rows by frame; all may be trained on.

        Args:
            tracks: M rows, with frames from 1 to ``length``.
            length: Number of frames L.
            category: int (M,), column 8; None: absent.
            visibility: float (M,), column 9; None: absent.
        """
        if category is None:
            category = np.full(len(tracks), -1)
        if visibility is None:
            visibility = np.full(len(tracks), -1.0)
        order = np.argsort(tracks.frame, kind='stable')
        tracks = tracks.select(order)
        return cls(
            tracks=tracks,
            offsets=np.searchsorted(tracks.frame, np.arange(1, length + 2)),
            category=category[order],
            visibility=visibility[order],
            trainable=np.ones(len(tracks), dtype=bool),
        )

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
            tracks = annotations.tracks.select(rows)
            annotations = SequenceAnnotations(
                tracks=replace(tracks, frame=tracks.frame - start),
                offsets=offsets - offsets[0],
                category=annotations.category[rows],
                visibility=annotations.visibility[rows],
                trainable=annotations.trainable[rows],
            )
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
        used = annotations.tracks.select(annotations.trainable)
        return legal_counts(used.frame - 1, used.identity, len(self))


def legal_counts(frames: np.ndarray, ids: np.ndarray, length: int) -> np.ndarray:
    """Apply the released rule: 1..300 objects per frame, unique identities.

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


def list_folders(path: str | os.PathLike) -> list[str]:
    """List sub-folder names, sorted, without hidden ones.

    Args:
        path: The folder.

    Returns:
        Names.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    path = Path(path)
    if not path.is_dir():
        above = path.parent
        there = list_folders(above) if above.is_dir() else []
        hint = f'; {above} holds {", ".join(there[:8])}' if there else ''
        raise FileNotFoundError(
            f'{path}: no such folder, expected one folder per sequence in it'
            f'{hint}. Check data_root and split.'
        )
    return sorted(
        entry.name
        for entry in os.scandir(path)
        if entry.is_dir() and not entry.name.startswith('.')
    )


@dataclass(frozen=True)
class RowRule:
    """Which rows training uses, and their labels.

    Attributes:
        category_map: Column 8 to label; rows of other
            categories are not trained on. None: one class, column 8 unused.
        use_consider_flag: Train only on rows whose column 7 is not 0.
        min_visibility: Train only on rows at least this visible.
    """

    category_map: dict[int, int] | None = None
    use_consider_flag: bool = False
    min_visibility: float = 0.0

    def choose(
        self, category: np.ndarray, score: np.ndarray, visibility: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose rows by columns 8, 7 and 9, (N,) each.

        Returns:
            int64 (N,), labels, -1 for a class that is not mapped; and bool (N,), the
            rows that training uses.
        """
        if self.category_map is None:
            label = np.zeros(len(category), dtype=np.int64)
        else:
            label = np.full(len(category), -1, dtype=np.int64)
            for number, mapped in self.category_map.items():
                label[category == number] = mapped
        keep = label >= 0
        if self.use_consider_flag:
            keep &= score != 0
        if self.min_visibility > 0:
            keep &= visibility >= self.min_visibility
        return label, keep

    def apply(self, annotations: SequenceAnnotations) -> None:
        """Set the labels and ``trainable`` by what the text says.

        Args:
            annotations: Changed in place; categories that
                are not mapped get label -1.
        """
        tracks = annotations.tracks
        label, keep = self.choose(
            annotations.category, tracks.score, annotations.visibility
        )
        annotations.tracks = replace(tracks, label=label)
        annotations.trainable = keep


def read_sequences(
    sources: list[SequenceSource], frame_numbers: str = 'auto', by_class: bool = False
) -> tuple[list[Sequence], list[str], FrameNumbers]:
    """Read sequences whose texts count their frames in the same way.

    Args:
        sources: Where their parts are.
        frame_numbers: How frames are read, see
            :func:`~mmfdta.structures.frames.decide_frame_numbers`.
        by_class: Classes of column 8 play a part.

    Returns:
        The sequences; remarks worth a warning (how frames are read, a length that
        differs from ``seqinfo.ini``, skipped rows); and how frames are read.

    Raises:
        FileNotFoundError: If there are no images.
        ValueError: At bad text, at a class that is a fraction where classes play a
            part, or if a row has no image or could have two.
    """
    remarks: list[str] = []
    any_names = frame_numbers.startswith('count')
    found = [source.read_frames(any_names) for source in sources]
    texts = [_read_text(source, remarks) for source in sources]
    frames = complete_frames(list(zip(found, texts, strict=True)), frame_numbers)
    odd = [str(text.no_class) for text in texts if text and text.no_class]
    if odd and by_class:
        raise ValueError(f'{odd[0]}, but category_map or the benchmark needs one')
    if odd:
        remarks.append(f'{odd[0]} ({len(odd)} such texts)')
    pairs = zip(frames, texts, strict=True)
    decided = decide_frame_numbers(
        [(known, text) for known, text in pairs if text is not None], frame_numbers
    )
    if decided.remark:
        remarks.insert(0, decided.remark)
    sequences = []
    for source, known, text in zip(sources, frames, texts, strict=True):
        remarks.extend(known.remarks)
        annotations = None
        if text is not None:
            annotations = SequenceAnnotations.create(
                replace(
                    text.tracks,
                    frame=decided.place(known, text),
                    label=np.zeros(len(text), dtype=np.int64),
                ),
                length=known.length,
                category=text.tracks.label,
                visibility=text.visibility,
            )
        sequence = Sequence(
            name=source.name,
            image_dir=source.image_dir,
            image_names=np.array(known.names or _names_of(known.length)),
            annotations=annotations,
            depth_place=source.depth_dir,
            frame_rate=read_seqinfo(source.seqinfo_path).frame_rate,
        )
        sequences.append(sequence)
    return sequences, remarks, decided


def _names_of(length: int) -> list[str]:
    """Name images that are not there by their numbers, which `TextDetections` reads."""
    return [f'{number:08d}.jpg' for number in range(1, length + 1)]


def _read_text(source: SequenceSource, remarks: list[str]) -> ScannedText | None:
    """Read the rows of a ground truth that can be used; None if there is none."""
    if source.gt_path is None:
        return None
    rows = scan_mot_text(source.gt_path, first_frame=0)
    rows.require()
    if len(rows) and rows.degenerate.all():
        raise ValueError(f'{rows.path}:{rows.line[0]}: {describe_flat(rows)}')
    if rows.degenerate.any():
        remarks.append(
            f'{source.gt_path}:{rows.line[rows.degenerate][0]}: skipped '
            f'{rows.degenerate.sum()} rows with width or height <= 0'
        )
        rows = rows.select(~rows.degenerate)
    huge = huge_boxes(rows)
    if len(huge):
        box = rows.tracks.xywh[huge[0]].tolist()
        raise ValueError(
            f'{rows.path}:{rows.line[huge[0]]}: found box {box} (x,y,w,h), '
            f'expected pixels, less than {LARGEST_PIXEL:.0e}'
        )
    looks = describe_boxes(rows.tracks)
    if looks is not None:
        remarks.append(f'{rows.path}: {looks}')
    remarks.extend(_doubtful_identities(rows))
    return rows


def describe_flat(rows: ScannedText) -> str:
    """Say that no box of a text has an extent."""
    return (
        f'width or height is 0 or less in all {len(rows)} rows, expected columns 3 to '
        '6 to be left, top, width and height'
    )


def huge_boxes(rows: ScannedText) -> np.ndarray:
    """Find the rows whose numbers are no pixels of any image.

    Args:
        rows: Rows of a text.

    Returns:
        int64, their indices.
    """
    return np.flatnonzero((np.abs(rows.tracks.xywh) >= LARGEST_PIXEL).any(axis=1))


def _doubtful_identities(rows: ScannedText) -> list[str]:
    """Reject negative identities, and mention those that repeat in a frame."""
    identities = rows.tracks.identity
    negative = np.flatnonzero(identities < 0)
    if len(negative):
        line, identity = rows.line[negative[0]], identities[negative[0]]
        raise ValueError(
            f'{rows.path}:{line}: found identity {identity}, expected identities '
            'from 0; is this a detection file?'
        )
    repeated = rows.duplicates(by_class=True)
    if not repeated:
        return []
    return [f'{repeated[0]} ({len(repeated)} such rows; training skips these frames)']
