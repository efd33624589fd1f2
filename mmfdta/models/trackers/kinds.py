# Copyright (c) mmfdta authors.
"""The properties of every kind of tracker in one table; needs no PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_LIBRARY = 'LibraryTracker'


@dataclass(frozen=True)
class TrackerKind:
    """Properties of a kind of tracker.

    Attributes:
        thresholds: Keys of its config by the common name of a threshold, see
            :data:`mmfdta.apis.thresholds.MEANINGS`.
        gap_margin: The value of the key of ``max_gap`` minus ``max_gap``.
        gap_rate: Key of the frames per second if the value of the key of ``max_gap``
            is for 30 of them and is scaled to these; None if it is not scaled.
        begins_with_all: It starts a track with every detection above ``det_thr`` that
            continues none.
        boxes_only: It never uses embeddings.
        cuts_crops: With ``reid`` it cuts crops out of the frame itself.
        package: The third package that its code comes from; None for MMDetection's
            and this project's trackers.
    """

    thresholds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gap_margin: int = 1
    gap_rate: str | None = None
    begins_with_all: bool = False
    boxes_only: bool = False
    cuts_crops: bool = False
    package: str | None = None


# MMDetection uses `init_track_thr` only while nothing is tracked. If it were higher
# than the other threshold, a lone object would be missed.
_OCSORT = dict(
    det_thr=('obj_score_thr', 'init_track_thr'),
    match_thr=('match_iou_thr',),
    max_gap=('num_frames_retain',),
)
# They start a track with every detection above their threshold.
_APPEARANCE_SORT = TrackerKind(
    dict(
        det_thr=('obj_score_thr',),
        match_thr=('match_iou_thr',),
        max_gap=('num_frames_retain',),
    ),
    begins_with_all=True,
)
_BOTSORT = dict(
    det_thr=('high_conf_det_threshold',),
    low_thr=('score_thr',),
    new_thr=('track_activation_threshold',),
    match_thr=('minimum_iou_threshold_first_assoc',),
    max_gap=('lost_track_buffer',),
)


def _of_package(
    thresholds: Mapping[str, tuple[str, ...]], begins_with_all: bool = False
) -> TrackerKind:
    return TrackerKind(
        thresholds,
        gap_margin=0,
        gap_rate='frame_rate',
        begins_with_all=begins_with_all,
        boxes_only=True,
        package='trackers',
    )


#: By the name of the class, see :func:`kind_of`.
KINDS: Mapping[str, TrackerKind] = {
    'ByteTracker': TrackerKind(
        dict(
            det_thr=('obj_score_thrs.high', 'init_track_thr'),
            low_thr=('obj_score_thrs.low',),
            match_thr=('match_iou_thrs.high',),
            max_gap=('num_frames_retain',),
        ),
        begins_with_all=True,
        boxes_only=True,
    ),
    'OCSORTTracker': TrackerKind(_OCSORT, begins_with_all=True, boxes_only=True),
    # It matches only with tracks of the frame before.
    'SORTTracker': TrackerKind(
        dict(det_thr=('obj_score_thr',), match_thr=('match_iou_thr',)),
        begins_with_all=True,
        boxes_only=True,
        cuts_crops=True,
    ),
    'DeepSORTTracker': _APPEARANCE_SORT,
    'OnlineStrongSORTTracker': _APPEARANCE_SORT,
    'FDTATracker': TrackerKind(
        dict(
            det_thr=('det_thr',),
            new_thr=('newborn_thr',),
            match_thr=('id_thr',),
            max_gap=('miss_tolerance',),
        ),
        # It remembers one frame less, and the last of these must have the object.
        gap_margin=2,
    ),
    'MOTRTracker': TrackerKind(
        dict(
            det_thr=('det_thr',),
            low_thr=('keep_thr',),
            new_thr=('newborn_thr',),
            max_gap=('miss_tolerance',),
        )
    ),
    'IoUEmbeddingTracker': TrackerKind(
        dict(
            det_thr=('score_thr',),
            new_thr=('newborn_thr',),
            match_thr=('match_thr',),
            max_gap=('miss_tolerance',),
        ),
        gap_margin=0,
    ),
    'UpdateTracker': TrackerKind(boxes_only=True),
    f'{_LIBRARY}:botsort': _of_package(_BOTSORT),
    f'{_LIBRARY}:cbiou': _of_package(_BOTSORT),
    f'{_LIBRARY}:mcbyte': _of_package(_BOTSORT),
    f'{_LIBRARY}:bytetrack': _of_package(
        {**_BOTSORT, 'match_thr': ('minimum_iou_threshold',)}
    ),
    f'{_LIBRARY}:ocsort': _of_package(
        dict(
            det_thr=('high_conf_det_threshold',),
            match_thr=('minimum_iou_threshold',),
            max_gap=('lost_track_buffer',),
        ),
        begins_with_all=True,
    ),
    f'{_LIBRARY}:sort': _of_package(
        dict(
            det_thr=('score_thr',),
            new_thr=('track_activation_threshold',),
            match_thr=('minimum_iou_threshold',),
            max_gap=('lost_track_buffer',),
        )
    ),
}


def kind_of(tracker: Mapping) -> str:
    """Name the kind of a config's tracker, as :data:`KINDS` and search spaces do.

    Args:
        tracker: Config of a tracker.

    Returns:
        The name of the class; for ``LibraryTracker`` with the name of its tracker:
        ``'LibraryTracker:botsort'``.
    """
    kind = tracker.get('type')
    kind = kind.__name__ if isinstance(kind, type) else str(kind).rpartition('.')[2]
    return f'{kind}:{tracker.get("name")}' if kind == _LIBRARY else kind


def find_kind(tracker: object) -> TrackerKind:
    """Find the kind of a tracker, or of the nearest class that it derives from.

    Args:
        tracker: Any tracker.

    Returns:
        Its properties; the defaults if the table has none of its classes.
    """
    for base in type(tracker).__mro__:
        config = dict(type=base.__name__, name=getattr(tracker, 'name', None))
        if known := KINDS.get(kind_of(config)):
            return known
    return TrackerKind()


def packages_of(text: str) -> set[str]:
    """Name the third packages that the trackers of a config come from.

    Args:
        text: The config as JSON.
    """
    return {
        known.package
        for kind, known in KINDS.items()
        if known.package and f'"type": "{kind.partition(":")[0]}"' in text
    }
