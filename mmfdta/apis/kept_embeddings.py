# Copyright (c) mmfdta authors.
"""What a config needs so that its tracks have embeddings."""

from mmengine.config import ConfigDict

from mmfdta.models.trackers.kinds import kind_of

# The models that hand their trackers embeddings.
_EXPECTED = 'FDTA, MOTIP or a TrackingByDetection with embeddings'


def add_embeddings(model: ConfigDict) -> None:
    """Let a detector that has no embeddings give some, where it can.

    Args:
        model: The model of a config, which is changed.
    """
    detector = str((model.get('detector') or {}).get('type')).rpartition('.')[2]
    if model.type == 'TrackingByDetection' and detector == 'YOLOX':
        settings = model.get('embeddings') or {}
        model.embeddings = dict(dict(type='PooledEmbeddings'), **settings)


def keep_embeddings(model: ConfigDict) -> None:
    """Let the tracks of a model have the embeddings of their detections.

    Args:
        model: The model of a config, which is changed; its tracks stay as they are.

    Raises:
        ValueError: If it has no tracker that is given embeddings.
    """
    tracker = model.get('tracker')
    kind = kind_of(tracker or {})
    if not tracker or kind == 'MOTRTracker' or model.type == 'BoxFDTA':
        raise ValueError(
            f'keep_embeddings: found model.type {model.type}, whose tracker is given '
            f'no embeddings, expected {_EXPECTED}'
        )
    add_embeddings(model)
    if kind == 'GalleryTracker':
        tracker.keep_embeddings = True
        return
    model.tracker = ConfigDict(
        type='GalleryTracker', tracker=tracker, threshold=None, keep_embeddings=True
    )
