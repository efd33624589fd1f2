# Copyright (c) mmfdta authors.
"""The original pixels of a frame, for trackers that need them.

A tracker with ``needs_frames = True`` gets ``frame`` in the context of ``track``: a
function without arguments that returns the pixels. Code that has the pixels in memory
attaches them to the data sample; otherwise they are read from its ``img_path``.
"""

from typing import Any

import mmcv
import numpy as np
from mmdet.structures import DetDataSample

_KEY = 'original_frame'
# The data sets also ignore the orientation in EXIF.
_STORED = 'color_ignore_orientation'


class OriginalFrame:
    """A function that returns the pixels of a frame, and decodes them at most once.

    Args:
        source: uint8 (H, W, 3) BGR, or the path of an image; None if there is neither.
    """

    def __init__(self, source: np.ndarray | str | None) -> None:
        self._source = source

    def __call__(self) -> np.ndarray:
        """Return the pixels.

        Returns:
            uint8 (H, W, 3), BGR; shared, do not write to it.

        Raises:
            ValueError: If there are neither pixels nor a path.
            OSError: If the image does not exist or cannot be read.
        """
        if isinstance(self._source, np.ndarray):
            return self._source
        if self._source is None:
            raise ValueError(
                'data_sample.img_path: found none, expected the path of the image; '
                'the tracker needs the pixels of its frames'
            )
        image = mmcv.imread(self._source, _STORED)
        if image is None:
            raise OSError(
                f'{self._source}: cannot read the image, which the tracker needs'
            )
        self._source = image
        return image

    def __deepcopy__(self, memo: dict) -> 'OriginalFrame':
        """Return the object itself: samples are copied often, pixels need not be."""
        return self


def attach_frame(sample: DetDataSample, source: np.ndarray | str) -> OriginalFrame:
    """Attach the pixels of a frame, or their path, to its sample.

    Args:
        sample: The sample of a frame; changed in place.
        source: uint8 (H, W, 3) BGR, or the path of an image.

    Returns:
        The function that a tracker will get.
    """
    frame = OriginalFrame(source)
    sample.set_field(frame, _KEY, field_type='metainfo')
    return frame


def needs_frames(tracker: Any) -> bool:
    """Return whether a tracker needs the pixels of its frames."""
    return bool(getattr(tracker, 'needs_frames', False))


def frame_context(tracker: Any, sample: DetDataSample) -> dict[str, OriginalFrame]:
    """Return the context that gives a tracker the pixels of a frame.

    Args:
        tracker: Any tracker.
        sample: The sample of the frame.

    Returns:
        ``frame``; empty for a tracker that does not need it.
    """
    if not needs_frames(tracker):
        return {}
    known = sample.get(_KEY)
    return dict(frame=known or OriginalFrame(sample.get('img_path')))
