# Copyright (c) mmfdta authors.
"""Where depth comes from: an estimator, or maps that exist already.

A backend gives one float map an image in which near is large.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

DEFAULT_MODEL = 'depth-anything/Depth-Anything-V2-Small-hf'
_LICENCES = {
    'Depth-Anything-V2-Small': 'Apache-2.0',
    'Depth-Anything-V2-Base': 'CC-BY-NC-4.0 (non-commercial)',
    'Depth-Anything-V2-Large': 'CC-BY-NC-4.0 (non-commercial)',
}


class TransformersDepth:
    """Estimates depth with a model of the ``transformers`` library.

    Args:
        model: Name on the model hub, or a folder.
        revision: Revision on the hub.
        device: ``auto``, ``cpu``, ``cuda``, ...
        batch_size: Images a forward pass.

    Raises:
        ImportError: If ``transformers`` is not installed.
        OSError: If the model cannot be found.
    """

    dtype = np.float16

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        revision: str | None = None,
        device: str = 'auto',
        batch_size: int = 1,
    ) -> None:
        try:
            from transformers import AutoImageProcessor, AutoModelForDepthEstimation
        except ImportError:
            raise ImportError(
                'estimating depth needs transformers: pip install '
                '"transformers>=4.45". Without it, use maps made '
                'elsewhere: --backend folder --maps DIR'
            ) from None
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        source = dict(pretrained_model_name_or_path=model, revision=revision or 'main')
        self.processor = AutoImageProcessor.from_pretrained(**source)
        self.model = AutoModelForDepthEstimation.from_pretrained(**source)
        self.model.to(device).eval()
        self.name = model
        self.revision = getattr(self.model.config, '_commit_hash', None) or revision
        self.device = device
        self.batch_size = batch_size
        kind = getattr(self.model.config, 'depth_estimation_type', 'relative')
        # Metric models say how far, relative ones how near.
        self.sign = -1.0 if kind == 'metric' else 1.0

    def describe(self) -> dict:
        """Say what made the maps.

        Returns:
            For the JSON beside the maps.
        """
        licence = next(
            (text for part, text in _LICENCES.items() if part in self.name),
            'unknown, see the model card',
        )
        return dict(
            backend='transformers',
            model=os.path.basename(self.name)
            if os.path.isdir(self.name)
            else self.name,
            revision=self.revision,
            licence=licence,
            inverted=self.sign < 0,
        )

    @torch.inference_mode()
    def predict(self, paths: Sequence[str]) -> Iterator[np.ndarray]:
        """Estimate depth at the model's resolution.

        Args:
            paths: Images of one size.

        Yields:
            float (h, w), near is large.
        """
        for start in range(0, len(paths), self.batch_size):
            images = [
                Image.open(path).convert('RGB')
                for path in paths[start : start + self.batch_size]
            ]
            inputs = self.processor(images=images, return_tensors='pt')
            depth = self.model(**inputs.to(self.device)).predicted_depth
            yield from (self.sign * depth.float()).cpu().numpy()


class FolderDepth:
    """Takes maps that exist: ``<folder>/<sequence>[/depth]/<stem>.{png,npy}``.

    Args:
        folder: Folder with a folder a sequence.
        near_is_dark: In these maps far is large.
    """

    dtype = np.float32

    def __init__(self, folder: str, near_is_dark: bool = False) -> None:
        self.folder = Path(folder)
        self.sign = -1.0 if near_is_dark else 1.0
        if not self.folder.is_dir():
            raise FileNotFoundError(f'{folder}: no such folder, expected depth maps')

    def describe(self) -> dict:
        """Say what made the maps.

        Returns:
            For the JSON beside the maps.
        """
        return dict(
            backend='folder',
            model=self.folder.name,
            revision=None,
            licence='that of the maps given',
            inverted=self.sign < 0,
        )

    def predict(self, paths: Sequence[str]) -> Iterator[np.ndarray]:
        """Read the map of each image.

        Args:
            paths: Images, in ``<sequence>/img1`` or
                ``<sequence>``.

        Yields:
            float32 (h, w), near is large.

        Raises:
            FileNotFoundError: If a map is missing.
            ValueError: If a map has colour.
        """
        for path in paths:
            yield self.sign * self._read(self._find(Path(path)))

    def _find(self, image: Path) -> Path:
        folder = image.parent
        sequence = folder.parent.name if folder.name == 'img1' else folder.name
        stems = [image.stem]
        if image.stem.isdecimal():
            stems.append(f'{int(image.stem):08d}')
        places = (self.folder / sequence, self.folder / sequence / 'depth')
        for place in places:
            for stem in stems:
                for suffix in ('.png', '.npy'):
                    candidate = place / f'{stem}{suffix}'
                    if candidate.is_file():
                        return candidate
        raise FileNotFoundError(
            f'{places[0]}: no depth map for {image.name}, expected {image.stem}.png or '
            '.npy there or in depth/'
        )

    @staticmethod
    def _read(path: Path) -> np.ndarray:
        if path.suffix == '.npy':
            depth = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as image:
                depth = np.asarray(image)
        if depth.ndim != 2:
            raise ValueError(
                f'{path}: found an array of shape {depth.shape}, expected one grey '
                'channel; a colour map cannot be turned back into depth safely'
            )
        return depth.astype(np.float32)
