# Copyright (c) mmfdta authors.
"""Image files as the frames of a video."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mmfdta.datasets.transforms.decoding import decode_exact

from .base import FrameSource, SourceFrame, SourceOptions


class ImageSource(FrameSource):
    """Image files, one frame each.

    Args:
        paths: In the order of time.
        name: What messages call it.
        options: How they are read.
        frame_rate: What a file beside them says.
    """

    def __init__(
        self,
        paths: list[Path],
        name: str,
        options: SourceOptions,
        frame_rate: float | None = None,
    ) -> None:
        super().__init__(name, options.frame_rate or frame_rate, len(paths))
        self._paths = paths
        self._options = options

    def __iter__(self) -> Iterator[SourceFrame]:
        """Yield the frames.

        Raises:
            OSError: If not even the first image can be decoded.
        """
        read = 0
        for number, path in enumerate(self._paths, start=1):
            try:
                image = decode_exact(str(path))
            except OSError as error:
                if self._options.skip_broken:
                    self.skipped += 1
                    continue
                if not read:
                    raise
                self.problem = f'frame {number} of {len(self._paths)}: {error}'
                return
            read += 1
            time = (number - 1) / self.frame_rate if self.frame_rate else None
            pixels = cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR)
            yield SourceFrame(number, pixels, time)
