# Copyright (c) mmfdta authors.
"""The log of a sequence: every match, switch, miss and false positive by frame.

The events are those that the CLEAR scores count. They have the columns of
``motmetrics``, whose metrics can be computed from them.
"""

import csv
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import compress

import numpy as np

from mmfdta.structures.tracks import Sequence
from mmfdta.structures.whole_files import open_whole

from .clear import last_of_same, match_clear
from .identity import THRESHOLD
from .matching import find_overlaps

# Names of the columns, those of motmetrics.
COLUMNS = ('FrameId', 'Event', 'Type', 'OId', 'HId', 'D')
# motmetrics holds identities as float64, which tells larger numbers apart no more.
_LARGEST_IDENTITY = 2**53


@dataclass(frozen=True)
class Events:
    """The events of one sequence, in the order of time.

    ===========  ===================================================================
    type         what happened
    ===========  ===================================================================
    ``MATCH``    a result box is matched with a ground truth box
    ``SWITCH``   the same, and the ground truth identity's last match, however long
                 ago, was with another result identity
    ``MISS``     a ground truth box has no match
    ``FP``       a result box has no match
    ``RAW``      no event, but what there was to match: one row without identities
                 for every frame, one for every pair with an IoU of 0.5, one for
                 every box without such a pair
    ===========  ===================================================================

    Every ground truth box has one ``MATCH``, ``SWITCH`` or ``MISS``, every result box
    one ``MATCH``, ``SWITCH`` or ``FP``. Three more types stand next to a match that
    does not continue with the ground truth identity's last one: ``TRANSFER`` if the
    result identity came by the last match of this kind to another ground truth
    identity, ``MIGRATE`` if the ground truth identity of a ``TRANSFER`` was never
    matched before, and ``ASCEND`` if the result identity of a ``SWITCH`` was not.

    Attributes:
        frame: int64 (E,), frame numbers from 1, ascending.
        event: int64 (E,), place in the frame, from 0.
        type: str (E,), see above.
        gt_id: float64 (E,), ground truth identity, NaN where there is none.
        pred_id: float64 (E,), result identity, NaN where there is none.
        distance: float64 (E,), 1 - IoU of the two boxes, NaN where one is missing.
    """

    frame: np.ndarray
    event: np.ndarray
    type: np.ndarray
    gt_id: np.ndarray
    pred_id: np.ndarray
    distance: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, *types: str) -> 'Events':
        """Return the events of some types."""
        return self.select_rows(np.isin(self.type, types))

    def select_rows(self, keep: np.ndarray) -> 'Events':
        """Return the events chosen by a mask, bool (E,)."""
        return Events(*(column[keep] for column in self.columns().values()))

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns under the names of ``motmetrics``.

        A ``pandas.DataFrame`` of them with the index ``FrameId``, ``Event`` is what
        its metrics are computed from.
        """
        values = [getattr(self, name) for name in self.__dataclass_fields__]
        return dict(zip(COLUMNS, values, strict=True))


def find_events(sequence: Sequence) -> Events:
    """Find the events of a sequence, of all its rows (`select_scored`).

    Raises:
        ValueError: If an identity is too large for the columns of ``motmetrics``.
    """
    gt, pred = sequence.gt.in_frame_order(), sequence.pred.in_frame_order()
    for side, tracks in (('ground truth', gt), ('result', pred)):
        large = np.abs(tracks.identity) > _LARGEST_IDENTITY
        if large.any():
            raise ValueError(
                f'{sequence.name}: {side}: found identity '
                f'{tracks.identity[large][0]}, expected at most 2**53, above which '
                'the float columns of an event log confuse identities; renumber them'
            )
    overlaps = find_overlaps(sequence)
    matches = match_clear(overlaps)
    is_switch = matches.is_switch
    first_found = last_of_same(matches.pred_id) < 0
    # Matches that do not continue with the ground truth identity's last one.
    new = np.flatnonzero((matches.last < 0) | is_switch)
    last = last_of_same(matches.pred_id[new])
    is_moved = matches.gt_id[new] != matches.gt_id[new[last]]
    transfer = new[(last >= 0) & is_moved]
    alike = np.flatnonzero(overlaps.iou >= THRESHOLD)

    def of_pairs(kind: str | np.ndarray, pair: np.ndarray) -> tuple:
        gt_row, pred_row = overlaps.gt_row[pair], overlaps.pred_row[pair]
        distance = 1 - overlaps.iou[pair]
        return (
            kind,
            gt.frame[gt_row],
            gt.identity[gt_row],
            pred.identity[pred_row],
            distance,
        )

    def of_gt(kind: str, pairs: np.ndarray) -> tuple:
        row = np.setdiff1d(np.arange(len(gt)), overlaps.gt_row[pairs])
        return kind, gt.frame[row], gt.identity[row], np.nan, np.nan

    def of_pred(kind: str, pairs: np.ndarray) -> tuple:
        row = np.setdiff1d(np.arange(len(pred)), overlaps.pred_row[pairs])
        return kind, pred.frame[row], np.nan, pred.identity[row], np.nan

    pair = matches.pair
    parts = [
        ('RAW', np.arange(1, sequence.num_frames + 1), np.nan, np.nan, np.nan),
        of_pairs('RAW', alike),
        of_gt('RAW', alike),
        of_pred('RAW', alike),
        of_pairs('ASCEND', pair[is_switch & first_found]),
        of_pairs('MIGRATE', pair[transfer[matches.last[transfer] < 0]]),
        of_pairs('TRANSFER', pair[transfer]),
        of_pairs(np.where(is_switch, 'SWITCH', 'MATCH'), pair),
        of_gt('MISS', pair),
        of_pred('FP', pair),
    ]
    columns = zip(*(np.broadcast_arrays(*part) for part in parts), strict=True)
    kind, frame, gt_id, pred_id, distance = map(np.concatenate, columns)
    order = np.argsort(frame, kind='stable')
    frame = frame[order]
    event = np.arange(len(frame)) - np.searchsorted(frame, frame)
    return Events(
        frame, event, kind[order], gt_id[order], pred_id[order], distance[order]
    )


def write_events(
    path: str | os.PathLike,
    events: Mapping[str, Mapping[str, Mapping[str, Events]]],
) -> None:
    """Write events as CSV that ``motmetrics`` can continue with.

    The columns are ``FrameId``, ``Event``, ``Type``, ``OId``, ``HId``, ``D``. Before
    them stand ``Tracker`` if there are several trackers, ``Class`` if classes are told
    apart, and ``Sequence`` if there are several sequences or one of the others.

    Args:
        path: The file.
        events: :attr:`Evaluation.events` by tracker: by class name, then by sequence.
            The one class ``all`` says that no classes are told apart.

    Raises:
        OSError: If it cannot be written.
    """
    by_place = {
        (tracker, name, sequence): log
        for tracker, of_tracker in events.items()
        for name, of_class in of_tracker.items()
        for sequence, log in of_class.items()
    }
    several = len(events) > 1
    by_class = any({*of_tracker} != {'all'} for of_tracker in events.values())
    sequences = {sequence for *_, sequence in by_place}
    is_shown = several, by_class, several or by_class or len(sequences) > 1
    head = compress(('Tracker', 'Class', 'Sequence'), is_shown)
    with open_whole(path) as file:
        text = io.TextIOWrapper(file, 'utf-8', newline='')
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow([*head, *COLUMNS])
        for place, log in by_place.items():
            shown = [*compress(place, is_shown)]
            writer.writerows([*shown, *row] for row in _list_rows(log))
        text.detach()


def _list_rows(events: Events) -> Iterable[tuple]:
    """Turn columns into rows; None where there is no identity or distance."""
    return zip(
        *(events.frame.tolist(), events.event.tolist(), events.type.tolist()),
        *(
            [None if value != value else int(value) for value in identity.tolist()]
            for identity in (events.gt_id, events.pred_id)
        ),
        [None if value != value else value for value in events.distance.tolist()],
        strict=True,
    )
