# Copyright (c) mmfdta authors.
"""Which result is scored with which ground truth: names, seqmaps, MOT17's copies."""

import csv
import fnmatch
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mmfdta.structures.tracks import Sequence
from mmfdta.structures.whole_files import read_bytes

from .folders import SequenceFiles, TextSide, base_name, find_near, name_some
from .formats import LoadedSide, PairedSides, Side

# Titles of the column of names in a seqmap.
_TITLES = ('name', 'names', 'seq', 'sequence', 'sequences', 'seq_name')
_KITTI_ROW = re.compile(r'(\S+) empty \d+ \d+')


@dataclass(frozen=True)
class Paired:
    """Sequences with both sides.

    Attributes:
        jobs: A job for each sequence.
        extra: Results without ground truth, by name.
        remarks: What is to be said of names that differ.
        results: Names of the results that are scored.
    """

    jobs: list
    extra: list[str]
    remarks: list[str]
    results: list[str]


def match_names(name: str, names: Iterable[str]) -> list[str]:
    """Return the name itself if it is there, else those that fit it as a pattern."""
    names = list(names)
    return [name] if name in names else fnmatch.filter(names, name)


def read_seqmap(path: str | os.PathLike) -> tuple[list[str], list[str]]:
    """Read the names of sequences from a seqmap.

    That is TrackEval's text: a line ``name``, then one sequence per line, alone or as
    the first column of CSV. Blank lines are passed over, the first line may be a
    sequence, and KITTI's rows are read.

    Returns:
        The names in their order, and remarks.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it holds no names, or one twice.
    """
    try:
        text = read_bytes(path).decode('utf-8-sig')
    except UnicodeDecodeError:
        raise ValueError(
            f'{path}: found bytes that are not UTF-8 text, expected a seqmap: a line '
            '"name", then one sequence per line'
        ) from None
    rows = [row for row in csv.reader(text.splitlines()) if row and row[0].strip()]
    names = [row[0].strip() for row in rows]
    kitti = [_KITTI_ROW.fullmatch(name) for name in names]
    if names and all(kitti):
        names = [row[1] for row in kitti if row]
    remarks = []
    if names and names[0].lower() in _TITLES:
        names = names[1:]
    elif names and not all(kitti):
        remarks.append(
            f'{path}: the first line is taken as the sequence {names[0]}, as it is not '
            '"name"; TrackEval passes over the first line'
        )
    if not names:
        raise ValueError(
            f'{path}: found no sequences, expected a line "name", then one per line'
        )
    again = next((name for name in names if names.count(name) > 1), None)
    if again is not None:
        raise ValueError(f'{path}: found the sequence {again} twice')
    return names, remarks


def pair_sides(
    truth: Side,
    results: Side,
    wanted: Iterable[str] | None = None,
    asked_by: str = '--sequences',
) -> Paired:
    """Pair ground truth with results by the names of sequences.

    Names of MOT17 go together with and without the detector, ``MOT17-02-FRCNN`` and
    ``MOT17-02``, where that leaves one choice.

    Args:
        truth: The ground truth.
        results: Results of one tracker.
        wanted: Names or patterns such as ``MOT17-*-FRCNN``; None takes all of the
            ground truth, or those that the texts are of that results name one by one.
        asked_by: What named ``wanted``, for messages.

    Raises:
        FileNotFoundError: If a named sequence or a result is missing.
        ValueError: If a name fits several sequences.
    """
    chosen, remarks = _choose(truth, results, wanted, asked_by)
    used = {result for _, _, result in chosen}
    known = {base_name(name) for name in truth.names} if wanted else set()
    extra = [
        name
        for name in results.names
        if name not in used and name not in truth.names and base_name(name) not in known
    ]
    return Paired(
        jobs=[_make_job(truth, results, *names) for names in chosen],
        extra=extra,
        remarks=remarks,
        results=sorted(used),
    )


def _choose(
    truth: Side, results: Side, wanted: Iterable[str] | None, asked_by: str
) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Choose names for a sequence, its ground truth and its result; with remarks."""
    listed = isinstance(results, TextSide) and results.is_listed
    if wanted is None and isinstance(truth, TextSide) and truth.lacking:
        file = next(iter(truth.paths.values())).name
        raise FileNotFoundError(
            f'{truth.folder}: no {file} of {name_some(truth.lacking)}; name the '
            'sequences to score with --sequences if these are not meant to be'
        )
    if len(truth.names) == len(results.names) == 1 and wanted is None and listed:
        (name,), (text,) = truth.names, results.names
        if base_name(name) == base_name(text) or _is_file(truth):
            return [(name, name, text)], []
        remark = f'{text}.txt is taken for results of {name}, the only ground truth'
        return [(name, name, text)], [remark]
    chosen: list[tuple[str, str, str]] = []
    missing = []
    for name, only in _find_wanted(truth, results, wanted, asked_by):
        texts = [only] if only else _results_of(name, truth, results)
        own = len(texts) == 1 and only is None
        chosen += [(name if own else text, name, text) for text in texts]
        if not texts and not (listed and wanted is None):
            missing.append(name)
    if missing:
        raise FileNotFoundError(_say_missing(truth, results, missing, len(chosen)))
    lost = sorted(set(results.names) - {text for _, _, text in chosen})
    if listed and wanted is None and lost:
        raise FileNotFoundError(
            f'{_where(truth)}: no ground truth of {name_some(lost)}; it has '
            f'{name_some(truth.names)}'
        )
    chosen = _without_copies(truth, chosen)
    other = [(text, name) for _, name, text in chosen if text != name]
    if not other:
        return chosen, []
    more = f', and {len(other) - 1} more like this' if len(other) > 1 else ''
    remark = (
        f'results go with ground truth of another copy of the sequence: '
        f'{other[0][0]} with {other[0][1]}{more}'
    )
    return chosen, [remark]


def _find_wanted(
    truth: Side, results: Side, wanted: Iterable[str] | None, asked_by: str
) -> list[tuple[str, str | None]]:
    """List the ground truths to score, each with the only result that is meant."""
    if wanted is None:
        return [(name, None) for name in truth.names]
    found: list[tuple[str, str | None]] = []
    unknown = []
    for name in wanted:
        fitting = match_names(name, truth.names)
        found += [(other, None) for other in fitting]
        if fitting:
            continue
        copies = [other for other in truth.names if base_name(other) == base_name(name)]
        only = name if name in results.names else None
        found += [(other, only) for other in copies]
        if not copies:
            unknown.append(name)
    if unknown:
        raise FileNotFoundError(
            f'{_where(truth)}: no ground truth of {name_some(unknown)}, named by '
            f'{asked_by}; it has {name_some(truth.names)}'
        )
    return list(dict.fromkeys(found))


def _results_of(name: str, truth: Side, results: Side) -> list[str]:
    """Find the results of a ground truth: its own, else those of other copies."""
    if name in results.names:
        return [name]
    return [
        text
        for text in results.names
        if base_name(text) == base_name(name) and text not in truth.names
    ]


def _without_copies(
    truth: Side, chosen: list[tuple[str, str, str]]
) -> list[tuple[str, str, str]]:
    """Score a result once where MOT17's copies of a sequence have one ground truth.

    Raises:
        ValueError: If they have not.
    """
    by_result: dict[str, list[str]] = {}
    for _, name, text in chosen:
        by_result.setdefault(text, []).append(name)
    kept = []
    for text, names in by_result.items():
        if len(names) == 1:
            kept += [triple for triple in chosen if triple[2] == text]
            continue
        contents = {
            read_bytes(truth.paths[name]) if isinstance(truth, TextSide) else name
            for name in names
        }
        if len(contents) > 1:
            raise ValueError(
                f'{text}: fits the different ground truths of {name_some(names)}; name '
                'one of them with --sequences'
            )
        kept.append((text, names[0], text))
    return kept


def _make_job(
    truth: Side, results: Side, name: str, truth_name: str, result_name: str
) -> SequenceFiles | PairedSides | Sequence:
    if isinstance(truth, TextSide) and isinstance(results, TextSide):
        return SequenceFiles(
            name=name,
            gt_path=truth.paths[truth_name],
            pred_path=results.paths[result_name],
            frames=truth.frames(truth_name),
            gt_columns=truth.min_columns,
        )
    if isinstance(results, TextSide):
        results = replace(results, paths={name: results.paths[result_name]})
    job = PairedSides(name, truth, results)
    # What is in memory as a whole does not travel to a process for each sequence.
    return job.load() if isinstance(truth, LoadedSide) else job


def _say_missing(truth: Side, results: Side, missing: list[str], found: int) -> str:
    total = found + len(missing)
    there = [path.suffix for path in getattr(results, 'paths', {}).values()]
    suffix = '.json' if '.json' in there else '.txt'
    names = name_some([f'{name}{suffix}' for name in missing])
    message = (
        f'{_where(results)}: {len(missing)} of {total} sequences have no result, '
        f'expected {names}'
    )
    strangers = sorted(set(results.names) - set(truth.names))
    if not found and strangers:
        near = find_near(truth, strangers) if isinstance(truth, TextSide) else None
        hint = f'Did you mean --gt {near}?' if near else 'The names have to be equal'
        return f'{message}; found {name_some(strangers)}. {hint}'
    copies = {name.removeprefix(base_name(name)) for name in results.names}
    pattern = f" '*{copies.pop()}'" if len(copies) == 1 and '' not in copies else ''
    return (
        f'{message}; name the sequences to score with --sequences{pattern} if the '
        'others are not meant to be'
    )


def _where(side: Side) -> str:
    return str(side.folder) if isinstance(side, TextSide) else side.title


def _is_file(truth: Side) -> bool:
    return isinstance(truth, TextSide) and truth.is_file
