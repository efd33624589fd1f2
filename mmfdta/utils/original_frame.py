# Copyright (c) mmfdta authors.
"""The pixels of a frame as its source has them, for trackers that look at them.

A tracker with ``needs_frames = True`` is given ``frame`` in the context of ``track``:
a function without arguments that returns them. Whoever has the pixels in memory
attaches them to the data sample; where nobody did, they are read from its ``img_path``.
"""

from typing import Any

import mmcv
import numpy as np
from mmdet.structures import DetDataSample

_KEY = 'original_frame'
# Pixels as they are stored, as data sets read them.
_STORED = 'color_ignore_orientation'


class OriginalFrame:
    """Returns a frame's pixels when it is called, and decodes them once at most.

    Args:
        source: uint8 (H, W, 3) BGR, or the path of an image; None if neither is known.
    """

    def __init__(self, source: np.ndarray | str | None) -> None:
        self._source = source

    def __call__(self) -> np.ndarray:
        """Return the pixels.

        Returns:
            uint8 (H, W, 3), BGR; not to be written to.

        Raises:
            ValueError: If it is not known where they are.
            OSError: If the image is not there or cannot be read.
        """
        if isinstance(self._source, np.ndarray):
            return self._source
        if self._source is None:
            raise ValueError(
                'data_sample.img_path: found none, expected the path of the image; '
                'the tracker looks at the pixels of its frames'
            )
        image = mmcv.imread(self._source, _STORED)
        if image is None:
            raise OSError(
                f'{self._source}: cannot read the image, which the tracker looks at'
            )
        self._source = image
        return image

    def __deepcopy__(self, memo: dict) -> 'OriginalFrame':
        """Return the same: samples are copied often, pixels need not be."""
        return self


def attach_frame(sample: DetDataSample, source: np.ndarray | str) -> OriginalFrame:
    """Tell a sample where the pixels of its frame are.

    Args:
        sample: A frame.
        source: uint8 (H, W, 3) BGR, or the path of an image.

    Returns:
        What a tracker will be given.
    """
    frame = OriginalFrame(source)
    sample.set_field(frame, _KEY, field_type='metainfo')
    return frame


def needs_frames(tracker: Any) -> bool:
    """Whether a tracker looks at the pixels of its frames."""
    return bool(getattr(tracker, 'needs_frames', False))


def frame_context(tracker: Any, sample: DetDataSample) -> dict[str, OriginalFrame]:
    """Return what a tracker is given to look at a frame.

    Args:
        tracker: Any tracker.
        sample: The frame.

    Returns:
        ``frame``, or nothing for a tracker that does not look.
    """
    if not needs_frames(tracker):
        return {}
    known = sample.get(_KEY)
    return dict(frame=known or OriginalFrame(sample.get('img_path')))
