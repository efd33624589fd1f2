# Copyright (c) mmfdta authors.
"""What graphs are fed while a model tracks: the ranges of int8 come from it."""

import os
from collections.abc import Iterator

import numpy as np

from mmfdta.runtime.association import AssociationScorer
from mmfdta.runtime.sessions import open_session
from mmfdta.runtime.trackers import build_tracker

from ..exported_tracker import ExportedTracker
from ..sources import FrameSource, open_source
from .integers import Feeds

NUM_FRAMES = 32
"""Frames that ranges are found on."""


def calibration_inputs(
    folder: str | os.PathLike, source: str | os.PathLike, count: int = NUM_FRAMES
) -> tuple[list[Feeds], list[Feeds]]:
    """Track frames with a float32 model, and keep what its graphs are fed.

    The frames are spread over the source where it says how many it has, so that more
    than its beginning counts.

    Args:
        folder: The exported model.
        source: Video, folder or pattern; see `open_source`.
        count: At most so many frames.

    Returns:
        Inputs of the detector, for each frame, and of association, for each frame that
        has detections and a past; none where nothing is associated.

    Raises:
        FileNotFoundError: If there is no such source.
        OSError: If it cannot be read, or has no frames.
        ValueError: If it is no source that ends, or nothing is tracked in it.
    """
    exported = ExportedTracker(folder)
    model = exported.model
    detector: list[Feeds] = []
    association: list[Feeds] = []
    if model.association_path is not None:
        score = AssociationScorer(open_session(model.association_path))

        def record(
            features: np.ndarray,
            missing: np.ndarray,
            words: np.ndarray,
            embeddings: np.ndarray,
        ) -> np.ndarray:
            inputs = dict(
                features=np.array(features, np.float32),
                missing=np.array(missing, bool),
                words=np.array(words, np.int64),
                embeddings=np.array(embeddings, np.float32),
            )
            association.append(inputs)
            return score(**inputs)

        exported.state = build_tracker(model.tracker, record)
    for number, image in enumerate(_spread_frames(source, count), start=1):
        sample = exported.preprocessor(image, number - 1)
        detector.append(exported.inputs([sample]))
        (found,) = exported.detect([sample])
        exported.associate(found, number)
    if not detector:
        raise OSError(f'{source}: found no frames to calibrate on')
    if model.association_path is not None and not association:
        raise ValueError(
            f'{source}: nothing is tracked from one to another of {len(detector)} '
            'frames, so that association cannot be calibrated; name a source with '
            'objects like those that will be tracked'
        )
    return detector, association


def check_source(source: str | os.PathLike) -> None:
    """Refuse what no frames can be taken of, before there is a model to track them.

    Args:
        source: See `calibration_inputs`; standard input is not touched.

    Raises:
        FileNotFoundError: If there is no such source.
        OSError: If it cannot be read.
        ValueError: If it is no source that ends.
    """
    if str(source) != '-':
        _open_ending(source).close()


def _open_ending(source: str | os.PathLike) -> FrameSource:
    frames = open_source(source)
    if frames.live:
        frames.close()
        raise ValueError(
            f'calibrate: found {frames.name}, which never ends; name a video or a '
            'folder of frames'
        )
    return frames


def _spread_frames(source: str | os.PathLike, count: int) -> Iterator[np.ndarray]:
    """Yield images at equal distances; the first ones of a source of unknown length."""
    frames = _open_ending(source)
    try:
        total = max(frames.num_frames or 0, count)
        taken = 0
        for index, frame in enumerate(frames):
            if taken == count:
                break
            if index * count >= taken * total:
                taken += 1
                yield frame.image
    finally:
        frames.close()
