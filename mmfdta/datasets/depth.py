# Copyright (c) mmfdta authors.
"""Writes a sequence's depth maps, normalised over the sequence.

Depth comes from a backend, an estimator or maps that exist already, which gives one
float map per image in which near is large. The range of a sequence is known only after
its last frame. So raw depth goes to a working folder first, one file per frame, and the
8-bit maps are written when all of it is there: memory holds one frame, and an
interrupted run of an estimator continues where it stopped. The folder ``depth`` appears
under its name when it is complete.
"""

import hashlib
import json
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from PIL import Image

from mmfdta.structures.whole_files import hash_file, open_whole, write_text

from .sequences import SequenceSource
from .transforms.decoding import (
    decode_exact,
    load_pixels,
    open_image,
    read_image_size,
)
from .transforms.loading import describe_depth_map, find_depth_map

INFO_NAME = 'depth.json'
_WORK_SUFFIX = '.partial'
_POLARITY = 'near is bright'
_LICENCES = {
    'Depth-Anything-V2-Small': 'Apache-2.0',
    'Depth-Anything-V2-Base': 'CC-BY-NC-4.0 (non-commercial)',
    'Depth-Anything-V2-Large': 'CC-BY-NC-4.0 (non-commercial)',
}
# Models of transformers that estimate metres, and have no setting that tells.
_METRIC = ('glpn', 'tipsv2_dpt', 'zoedepth')
# What to do without a model from the hub.
_ELSEWHERE = (
    'Name the folder of a depth model, --model PATH, or take maps made elsewhere, '
    '--backend folder --maps DIR'
)
# Seconds until the hub counts as out of reach.
_PATIENCE = 10.0


class DepthBackend(Protocol):
    """What gives depth: a network, or maps that exist already."""

    @property
    def dtype(self) -> type:
        """NumPy's type of the maps."""

    @property
    def resumes(self) -> bool:
        """Whether the same description means the same maps, which are kept then."""

    def describe(self) -> dict:
        """Say what makes the maps."""

    def predict(self, paths: list[str], sequence: str) -> Iterator[np.ndarray]:
        """Yield a float map (h, w) for each image of a sequence, near is large."""


def generate_depth(source: SequenceSource, backend: DepthBackend) -> int:
    """Make the depth maps of a sequence.

    Returns:
        Number of maps written; 0 if they were all there.

    Raises:
        FileNotFoundError: If there are no images.
        FileExistsError: If there are maps that this function did not make and
            that do not cover the sequence or cannot be trained on.
        ValueError: If an estimate is not finite, or the same everywhere.
    """
    frames = source.read_frames(allow_mixed=True)
    if frames is None or frames.names is None:
        raise FileNotFoundError(f'{source.image_dir}: no such folder, expected images')
    names = list(frames.names)
    target = Path(source.depth_dir)
    if target.is_symlink():  # which stays; the maps go to where it leads
        target = target.resolve()
    shape = read_image_size(os.path.join(source.image_dir, names[0]))
    if target.is_dir() and any(target.iterdir()):
        fault = _find_fault(target, names, shape)
        if not fault:
            return 0
        if not (target / INFO_NAME).is_file():
            raise FileExistsError(f'{target}: holds maps of another tool {fault}')
    work = Path(f'{target}{_WORK_SUFFIX}')
    _open_work(work, backend)
    _estimate(source, names, work, backend)
    low, high = _find_range(work, names)
    if low == high:
        raise ValueError(
            f'{source.image_dir}: depth is {low} everywhere in the sequence, expected '
            'near and far. Is the model right, and are its weights loaded?'
        )
    maps = _write_maps(work, names, shape, (low, high))
    info = dict(
        backend.describe(),
        range=[low, high],
        polarity=_POLARITY,
        normalised='(depth - low) / (high - low) * 255 over the sequence',
        maps=len(names),
        size=[shape[1], shape[0]],
    )
    write_text(maps / INFO_NAME, json.dumps(info, indent=2) + '\n')
    if target.is_dir():
        shutil.rmtree(target)
    os.rename(maps, target)
    shutil.rmtree(work)
    return len(names)


def _find_fault(target: Path, names: list[str], shape: tuple[int, int]) -> str:
    """Say why maps cannot be used, by their headers; empty if all can.

    Args:
        target: Folder of the maps.
        names: The images.
        shape: Their (H, W).
    """
    for name in names:
        try:
            path = find_depth_map(str(target), name)
        except FileNotFoundError:
            return (
                'that do not cover the sequence. Complete them, or move the folder '
                'away and run again'
            )
        try:
            with open_image(path) as image:
                problem = describe_depth_map(image, shape)
        except OSError as error:
            problem = str(error).removeprefix(f'{path}: ')
        if problem is not None:
            return (
                f'that cannot be used ({os.path.basename(path)}: {problem}). Move the '
                'folder away and run again'
            )
    return ''


def _open_work(work: Path, backend: DepthBackend) -> None:
    """Make the working folder; leftovers that may be of other maps are thrown away."""
    note = work / 'backend.json'
    text = json.dumps(backend.describe(), sort_keys=True)
    is_same = backend.resumes and note.is_file() and note.read_text() == text
    if work.is_dir() and not is_same:
        shutil.rmtree(work)
    write_text(note, text)


def _estimate(
    source: SequenceSource, names: list[str], work: Path, backend: DepthBackend
) -> None:
    todo = [name for name in names if not _raw_path(work, name).is_file()]
    paths = [os.path.join(source.image_dir, name) for name in todo]
    maps = backend.predict(paths, source.name)
    for name, path, depth in zip(todo, paths, maps, strict=True):
        if not np.isfinite(depth).all():
            raise ValueError(f'{path}: the depth estimate is not finite')
        with open_whole(_raw_path(work, name)) as file:
            np.save(file, depth.astype(backend.dtype))


def _raw_path(work: Path, name: str) -> Path:
    return work / f'{Path(name).stem}.npy'


def _find_range(work: Path, names: list[str]) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for name in names:
        depth = np.load(_raw_path(work, name))
        low, high = min(low, float(depth.min())), max(high, float(depth.max()))
    return low, high


def _write_maps(
    work: Path, names: list[str], shape: tuple[int, int], limits: tuple[float, float]
) -> Path:
    maps = work / 'maps'
    maps.mkdir(exist_ok=True)
    low, high = limits
    scale = 255 / (high - low)
    for name in names:
        depth = np.load(_raw_path(work, name)).astype(np.float32)
        if depth.shape != shape:
            # Linear, as cubic overshoots the range next to edges.
            depth = cv2.resize(depth, shape[::-1], interpolation=cv2.INTER_LINEAR)
        grey = np.rint(((depth - low) * scale).clip(0, 255)).astype(np.uint8)
        Image.fromarray(grey).save(maps / f'{Path(name).stem}.png')
    return maps


class TransformersDepth:
    """Estimates depth with a model of the ``transformers`` library.

    Args:
        model: Name on the model hub, or a folder.
        revision: Revision on the hub.
        device: ``auto``, ``cpu``, ``cuda``, ...
        batch_size: Images per forward pass.

    Raises:
        ImportError: If ``transformers`` is not installed.
        FileNotFoundError: If the model is not on this machine and cannot be fetched.
        ValueError: If it is not a depth model.
    """

    dtype = np.float16
    resumes = True

    def __init__(
        self,
        model: str,
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
        source, offline = _find_model(model, revision or 'main')
        try:
            self.processor = AutoImageProcessor.from_pretrained(**source)
            self.model = AutoModelForDepthEstimation.from_pretrained(**source)
        except Exception as error:  # whatever a wrong or damaged model provokes
            found = ' '.join(str(error).partition('\n')[0].split())
            if offline and isinstance(error, OSError):
                raise FileNotFoundError(
                    f'{model}: not in the cache of this machine, and {offline}. '
                    f'{_ELSEWHERE}'
                ) from error
            raise ValueError(
                f'{model}: no depth model that transformers can load '
                f'({type(error).__name__}: {found}). {_ELSEWHERE}'
            ) from error
        self.model.to(device).eval()
        self.name = model
        self.revision = _find_version(model, revision or 'main') or revision
        self.device = device
        self.batch_size = batch_size
        config = self.model.config
        kind = getattr(config, 'depth_estimation_type', 'relative')
        # Metric models say how far, relative ones how near.
        is_metric = kind == 'metric' or config.model_type in _METRIC
        self.sign = -1.0 if is_metric else 1.0

    def describe(self) -> dict:
        """Say what made the maps, for the JSON next to them."""
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
    def predict(self, paths: Sequence[str], sequence: str) -> Iterator[np.ndarray]:
        """Estimate depth of images of one size, at the model's resolution."""
        for start in range(0, len(paths), self.batch_size):
            images = [
                decode_exact(path) for path in paths[start : start + self.batch_size]
            ]
            inputs = self.processor(images=images, return_tensors='pt')
            depth = self.model(**inputs.to(self.device)).predicted_depth
            yield from (self.sign * depth.float()).cpu().numpy()


def _find_model(model: str, revision: str) -> tuple[dict, str]:
    """Find out where a model can be loaded from, before transformers tries for minutes.

    Args:
        model: A folder, or the name of a model on the hub.
        revision: Revision of the model on the hub.

    Returns:
        Arguments of ``from_pretrained``, and why the network is not used, '' if it is.

    Raises:
        FileNotFoundError: If a folder is meant that is not there or holds no model.
    """
    from huggingface_hub import constants

    source = dict(pretrained_model_name_or_path=model, revision=revision)
    if os.path.isdir(model):
        if not os.path.isfile(os.path.join(model, 'config.json')):
            raise FileNotFoundError(
                f'{model}: no config.json in this folder, expected a model as '
                f'transformers saves it. {_ELSEWHERE}'
            )
        return dict(source, local_files_only=True), ''
    if not re.fullmatch(r'[\w-][\w.-]*(/[\w.-]+)?', model):
        raise FileNotFoundError(
            f'{model}: no such folder, and no name of a model on the hub. {_ELSEWHERE}'
        )
    reason = ''
    if constants.HF_HUB_OFFLINE:
        reason = 'the environment asks for offline mode (HF_HUB_OFFLINE)'
    else:
        address = f'{constants.ENDPOINT}/{model}/resolve/{revision}/config.json'
        try:
            urllib.request.urlopen(
                urllib.request.Request(address, method='HEAD'), timeout=_PATIENCE
            ).close()
        except urllib.error.HTTPError:
            pass  # there is a network; transformers says what is wrong
        except OSError as error:
            why = getattr(error, 'reason', None) or error
            reason = f'{constants.ENDPOINT} cannot be reached ({why})'
    return dict(source, local_files_only=bool(reason)), reason


def _find_version(model: str, revision: str) -> str | None:
    """Find what tells a model from others of its name.

    Returns:
        The hash of the files of a folder, or the commit of a model on the hub that
        lies in the cache; None if none does.
    """
    from huggingface_hub import try_to_load_from_cache

    if os.path.isdir(model):
        known = hashlib.sha256()
        for file in sorted(path for path in Path(model).iterdir() if path.is_file()):
            known.update(f'{file.name} {hash_file(file)}\n'.encode())
        return f'sha256:{known.hexdigest()[:16]}'
    path = try_to_load_from_cache(model, 'config.json', revision=revision)
    return Path(path).parent.name if isinstance(path, str) else None


class FolderDepth:
    """Takes maps that exist: ``<folder>/<sequence>[/depth]/<stem>.{png,npy}``.

    They are read again after an interrupted run, as they may have been replaced since.

    Args:
        folder: Folder with one folder per sequence.
        near_is_dark: In these maps far is large.
    """

    dtype = np.float32
    resumes = False

    def __init__(self, folder: str, near_is_dark: bool = False) -> None:
        self.folder = Path(folder)
        self.sign = -1.0 if near_is_dark else 1.0
        if not self.folder.is_dir():
            raise FileNotFoundError(f'{folder}: no such folder, expected depth maps')

    def describe(self) -> dict:
        """Say what made the maps, for the JSON next to them."""
        return dict(
            backend='folder',
            model=self.folder.name,
            revision=None,
            licence='that of the maps given',
            inverted=self.sign < 0,
        )

    def predict(self, paths: Sequence[str], sequence: str) -> Iterator[np.ndarray]:
        """Read the map of each image.

        Args:
            paths: Images.
            sequence: The name of their sequence.

        Raises:
            FileNotFoundError: If a map is missing.
            ValueError: If a map has colour.
        """
        for path in paths:
            yield self.sign * self._read(self._find(Path(path), sequence))

    def _find(self, image: Path, sequence: str) -> Path:
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
            with open_image(str(path)) as image:
                load_pixels(image, str(path))
                depth = np.asarray(image)
                if image.mode == 'P':  # the numbers are places in the palette
                    depth = np.asarray(image.convert('RGB'))
                    if (depth == depth[..., :1]).all():
                        depth = depth[..., 0]
                elif image.mode == '1':
                    raise ValueError(f'{path}: found 1 bit, expected 8 or 16 bits')
        if depth.ndim != 2:
            raise ValueError(
                f'{path}: found an array of shape {depth.shape}, expected one grey '
                'channel; a colour map cannot be turned back into depth safely'
            )
        return depth.astype(np.float32)
