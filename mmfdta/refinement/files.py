# Copyright (c) mmfdta authors.
"""Results of trackers, refined from file to file."""

import dataclasses
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmfdta.evaluation.folders import TextSide, name_some
from mmfdta.evaluation.formats import Side, as_results, open_results
from mmfdta.evaluation.formats.coco_vid import CocoVidTruth, format_results
from mmfdta.evaluation.formats.kitti import KittiSide
from mmfdta.evaluation.formats.reading import read_rows
from mmfdta.evaluation.formats.text_results import TextResults
from mmfdta.evaluation.pairing import match_names
from mmfdta.structures.mot_text import scan_mot_text, write_tracks
from mmfdta.structures.track_embeddings import SUFFIX, TrackEmbeddings
from mmfdta.structures.tracks import Tracks
from mmfdta.structures.whole_files import write_text

from .steps import Change, Refined, Refinement, refine_tracks

_TEXT_SUFFIXES = ('.txt', '.csv')
# Frames at even distances that are no accident.
_MANY_FRAMES = 10


@dataclass(frozen=True)
class RefinedFiles:
    """The results of a tracker, refined.

    Attributes:
        name: Name of the tracker.
        sequences: By name.
        remarks: What the user should know, a line each.
    """

    name: str
    sequences: dict[str, Refined]
    remarks: list[str] = field(default_factory=list)

    @property
    def changes(self) -> list[Change]:
        """What each step did, summed over the sequences."""
        by_step = zip(*(of.changes for of in self.sequences.values()), strict=True)
        return [
            Change(
                step=of[0].step,
                tracks=(sum(c.tracks[0] for c in of), sum(c.tracks[1] for c in of)),
                boxes=(sum(c.boxes[0] for c in of), sum(c.boxes[1] for c in of)),
                added=sum(c.added for c in of),
                removed=sum(c.removed for c in of),
                moved=sum(c.moved for c in of),
                renamed=sum(c.renamed for c in of),
                joins=tuple(join for c in of for join in c.joins),
                removed_tracks=tuple(track for c in of for track in c.removed_tracks),
            )
            for of in by_step
        ]

    def report(self) -> dict[str, list[dict[str, Any]]]:
        """Return what each step did to each sequence, for JSON."""
        return {
            name: [dataclasses.asdict(change) for change in refined.changes]
            for name, refined in self.sequences.items()
        }


def refine_side(
    name: str,
    side: Side,
    settings: Mapping[str, Any],
    wanted: Iterable[str] | None = None,
    embeddings: Path | None = None,
    pairs: bool | None = None,
) -> RefinedFiles:
    """Refine the results of a tracker.

    Identities that count within each class become numbers that are unique across
    classes: what proves it may be removed or joined, and the tracks would then be read
    in another way.

    Args:
        name: Name of the tracker.
        side: Its results.
        settings: Those of :func:`~mmfdta.refinement.refine_tracks`.
        wanted: Names or patterns of sequences; None takes all.
        embeddings: ``<sequence>.npz`` of the only sequence, a folder of such, or an
            empty path where they stand next to the texts; None joins by motion alone.
        pairs: Whether identities count within each class; None: if a frame has one of
            them in two classes.

    Raises:
        OSError: If a file or a named sequence is missing.
        ValueError: If a file has a fault.
    """
    Refinement.of(**settings)  # before any file is read
    names = side.names
    if wanted is not None:
        fitting = {w: match_names(w, names) for w in wanted}
        lacking = [w for w, found in fitting.items() if not found]
        names = sorted({n for found in fitting.values() for n in found})
        if lacking:
            raise FileNotFoundError(
                f'{name}: no results of {name_some(lacking)}; there are those of '
                f'{name_some(side.names)}'
            )
    if embeddings is not None and _is_file(embeddings) and len(names) > 1:
        raise ValueError(
            f'--embeddings: found the file {embeddings} for {len(names)} sequences, '
            f'whose embeddings differ; name the folder of <sequence>{SUFFIX}, or one '
            'sequence with --sequences'
        )
    remarks = []
    if side.remarks:  # those of the reader say how many
        remarks.append(f'{name}: results that are not scored are left out')
    read = {}
    for sequence in names:
        tracks, where, said = _read(side, sequence)
        read[sequence] = tracks, where
        remarks += said
        remarks += _check_frames(tracks, settings.get('frame_step', 1), where)
    if pairs is None:  # of all sequences
        pairs = any(tracks.find_repeats() for tracks, _ in read.values())
    sequences = {}
    for sequence, (tracks, where) in read.items():
        known = None
        if embeddings is not None:
            known, said = _read_embeddings(side, sequence, tracks, embeddings)
            remarks += said
        try:
            refined = refine_tracks(tracks, known, pairs, **settings)
        except ValueError as error:
            raise ValueError(f'{where}: {error}') from None
        if pairs:
            unique = refined.tracks.with_paired_identities()
            refined = replace(refined, tracks=unique)
        sequences[sequence] = refined
    if pairs:
        remarks.append(
            f'{name}: identities count within each class; those of all but the lowest '
            'class are written as other numbers, so that each is unique'
        )
    return RefinedFiles(name, sequences, remarks)


def _read(side: Side, name: str) -> tuple[Tracks, str, list[str]]:
    """Read a sequence as its file numbers frames; also where it is from, and remarks.

    Raises:
        OSError: If the file is missing.
        ValueError: At a fault in it.
    """
    if isinstance(side, TextSide):
        text = scan_mot_text(side.paths[name], side.min_columns, first_frame=0)
        text.require(unique=True, by_class=True)
        said = [f'{text.no_class}'] if text.no_class is not None else []
        return text.tracks, text.path, said
    tracks = side.read(name).tracks
    if isinstance(side, TextResults):  # which is read with frames from 1
        tracks = replace(tracks, frame=tracks.frame + side.first_frame - 1)
    paths = getattr(side, 'paths', {})
    where, said = str(paths.get(name, name)), []
    if isinstance(side, KittiSide):
        left = sum(1 for _ in read_rows(paths[name])) - len(tracks)
        if left:
            said.append(
                f'{where}: {left} rows of a negative identity are no tracks, and are '
                'left out'
            )
    return tracks, where, said


def _check_frames(tracks: Tracks, step: int, where: str) -> list[str]:
    """Look whether frames lie as far apart as they are said to.

    Raises:
        ValueError: If they lie at other distances.
    """
    frames = np.unique(tracks.frame)
    apart = np.diff(frames)
    odd = np.flatnonzero(apart % step)
    if len(odd):
        one, other = frames[odd[0]], frames[odd[0] + 1]
        raise ValueError(
            f'{where}: found frames {one} and {other}, expected multiples of '
            f'--frame-step {step} between frames'
        )
    common = int(np.gcd.reduce(apart)) if len(apart) else step
    if common > step and len(frames) >= _MANY_FRAMES:
        return [
            f'{where}: all frames are {common} apart; if the video has none between '
            f'them, say --frame-step {common}'
        ]
    return []


def _is_file(embeddings: Path) -> bool:
    """Tell whether the embeddings of one sequence are named."""
    return embeddings.suffix == SUFFIX and not embeddings.is_dir()


def _read_embeddings(
    side: Side, name: str, tracks: Tracks, place: Path
) -> tuple[TrackEmbeddings, list[str]]:
    if not isinstance(side, TextSide | TextResults):
        raise ValueError(
            f'--embeddings: found results as {side.title}, expected MOTChallenge text, '
            'whose frames and identities the embeddings have'
        )
    path = place / f'{name}{SUFFIX}'
    if place == Path():
        path = side.paths[name].with_suffix(SUFFIX)
    elif _is_file(place):
        path = place
    known = TrackEmbeddings.load(path)
    share = float((known.of_rows(tracks) >= 0).mean()) if len(tracks) else 1.0
    if share == 0:
        raise ValueError(
            f'{path}: found embeddings of no box of the tracks of {name}; are they of '
            'another run?'
        )
    if share < 0.5:
        return known, [f'{path}: {share:.0%} of the boxes have an embedding']
    return known, []


def plan_outputs(
    out: Path,
    found: SequenceOf[tuple[RefinedFiles, Side]],
    truth: Side | None,
    sources: Iterable[Path],
) -> list[dict[str, Path]]:
    """Say where each sequence of each tracker is written.

    Args:
        out: What is named: a folder, or a file for a single one.
        found: The trackers.
        truth: The ground truth, if there is one.
        sources: What was read.

    Returns:
        Files by sequence, for each tracker; results in one JSON have the same file.

    Raises:
        ValueError: If what was read would be overwritten, or several results have one
            file.
    """
    files = []
    for refined, side in found:
        folder = out
        if len(found) > 1:
            parts = Path(refined.name).parts
            folder = out.joinpath(*(part for part in parts if part.strip('./\\')))
        in_one = isinstance(truth, CocoVidTruth) and not isinstance(side, TextResults)
        suffixes = ('.json',) if in_one else _TEXT_SUFFIXES
        single = len(found) == 1 and (in_one or len(refined.sequences) == 1)
        if (
            out.suffix.lower() in (*_TEXT_SUFFIXES, '.json', '.zip')
            and not out.is_dir()
        ):
            if not single or out.suffix.lower() not in suffixes:
                what = 'a .json' if in_one else 'a .txt of one sequence'
                raise ValueError(f'--out: found {out}, expected a folder, or {what}')
            files.append(dict.fromkeys(refined.sequences, out))
        elif in_one:
            path = folder / f'{Path(refined.name).name}.json'
            files.append(dict.fromkeys(refined.sequences, path))
        else:
            files.append({name: folder / f'{name}.txt' for name in refined.sequences})
    written = [path for of in files for path in dict.fromkeys(of.values())]
    read = {path.resolve() for path in sources}
    for _, side in found:
        read |= {path.resolve() for path in getattr(side, 'paths', {}).values()}
    for path in written:
        if path.resolve() in read:
            raise ValueError(f'--out: {path} is what is refined; name another folder')
        if written.count(path) > 1:
            raise ValueError(f'--out: {path} would be that of two trackers')
    return files


def open_refined(side: Side, files: Mapping[str, Path], truth: Side) -> Side:
    """Open what :func:`write_refined` has written, under the names it was read by.

    Args:
        side: What was refined.
        files: Files by sequence.
        truth: The ground truth.

    Raises:
        OSError: If a file cannot be read.
    """
    if isinstance(side, TextSide | TextResults):
        return replace(side, paths=dict(files))
    path = next(iter(files.values()))
    written = open_results(path, truth) if path.suffix.lower() == '.json' else None
    return written or as_results(TextSide(path.parent, dict(files)), truth)


def write_refined(
    refined: RefinedFiles, files: Mapping[str, Path], truth: Side | None
) -> None:
    """Write the results of a tracker: text, or one JSON.

    Raises:
        OSError: If a file cannot be written.
    """
    tracks = {name: of.tracks for name, of in refined.sequences.items()}
    for path in dict.fromkeys(files.values()):
        if path.suffix.lower() == '.json' and isinstance(truth, CocoVidTruth):
            write_text(path, format_results(truth, tracks))
    for name, path in files.items():
        if path.suffix.lower() != '.json':
            of_sequence = tracks[name]
            numbers, rank = np.unique(of_sequence.label, return_inverse=True)
            known = numbers[numbers >= 0]
            label = rank.reshape(-1) - (len(numbers) - len(known))
            write_tracks(
                path, replace(of_sequence, label=label), numbers=known.tolist()
            )
