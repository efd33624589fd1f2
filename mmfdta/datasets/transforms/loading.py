# Copyright (c) mmfdta authors.
"""Opens a clip and, once its geometry is known, decodes images and depth maps."""

import os

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmdet.registry import TRANSFORMS
from PIL import Image

from .decoding import (
    apply_exact,
    apply_fast,
    decode_exact,
    decode_fast,
    first_shrink,
    load_pixels,
    open_image,
    read_image_size,
    shift_image,
)
from .geometry import ClipGeometry


@TRANSFORMS.register_module()
class ClipSteps(BaseTransform):
    """Several steps as one.

    MMDetection's ``inference_mot`` takes the first step of a test pipeline, with
    the ``transforms`` inside it, and the last one, which packs.

    Args:
        transforms: The steps, from ``OpenClip`` to ``DecodeClip``.
    """

    def __init__(self, transforms: list[dict]) -> None:
        self.transforms = Compose(transforms)

    def transform(self, results: dict) -> dict | None:
        """Run the steps; None if one drops the clip."""
        return self.transforms(results)


@TRANSFORMS.register_module()
class OpenClip(BaseTransform):
    """Read the size of the clip's first frame; nothing is decoded yet.

    A clip whose frames are in memory, as MMDetection's ``inference_mot`` makes it,
    has ``img``, a list of (H, W, 3) BGR in 0..255, ``frame_id`` and ``img_id``, lists
    of int, and ``ori_video_length``, a list too. It gets what a data set would say.
    """

    def transform(self, results: dict) -> dict:
        """Add ``ori_shape`` (H, W) and ``geometry``."""
        if 'img' in results:
            results = self._describe(results)
            shape = results['img'][0].shape[:2]
        else:
            shape = read_image_size(results['img_paths'][0])
        results['ori_shape'] = shape
        results['geometry'] = ClipGeometry(shape)
        return results

    @staticmethod
    def _describe(results: dict) -> dict:
        frame_ids = np.asarray(results['frame_id'])
        defaults = dict(
            img_paths=[f'frame {number + 1}' for number in frame_ids],
            depth_dir=None,
            frame_ids=frame_ids,
            img_ids=np.asarray(results['img_id']),
            video_id=0,
            video_length=results['ori_video_length'][0],
            sequence='',
            dataset='',
            is_static=False,
            rng=np.random.default_rng(0),
        )
        return defaults | results


@TRANSFORMS.register_module()
class DecodeClip(BaseTransform):
    """Decode the frames and apply the recorded geometry.

    Frames in memory (see :class:`OpenClip`) are not decoded.

    Args:
        exact: Decode and resize with PIL as the released code does, to
            the bit. Otherwise decode no larger than needed and resize with a
            faster kernel of the same filter; the difference is below one grey
            level on average unless the image is decoded at reduced size.
    """

    def __init__(self, exact: bool = False) -> None:
        self.exact = exact

    def transform(self, results: dict) -> dict:
        """Add ``imgs`` uint8 (T, H, W, 3) RGB and ``img_shape`` (H, W).

        Raises:
            OSError: If an image is missing or broken.
            ValueError: If a frame's size differs from the first one's.
        """
        geometry = results['geometry']
        paths = results['img_paths']
        clip = np.empty((len(paths), *geometry.shape, 3), dtype=np.uint8)
        if 'img' in results:
            self._fill_from_memory(clip, results['img'], geometry)
        elif results['is_static']:
            self._fill_static(clip, paths[0], geometry)
        elif self.exact:
            for frame, path in zip(clip, paths, strict=True):
                image = decode_exact(path)
                _check_size(path, (image.height, image.width), geometry.source_shape)
                frame[:] = np.asarray(apply_exact(image, geometry.steps))
        else:
            shrink = first_shrink(geometry)
            for frame, path in zip(clip, paths, strict=True):
                pixels, factor = decode_fast(path, shrink)
                height, width = geometry.source_shape
                if pixels.shape[:2] != (-(-height // factor), -(-width // factor)):
                    _check_size(path, read_image_size(path), geometry.source_shape)
                apply_fast(pixels, geometry.steps, out=frame)
                cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=frame)
        results['imgs'] = clip
        results['img_shape'] = geometry.shape
        return results

    def _fill_from_memory(
        self, clip: np.ndarray, images: list[np.ndarray], geometry: ClipGeometry
    ) -> None:
        """Convert BGR frames to RGB and apply the geometry."""
        for number, (frame, image) in enumerate(zip(clip, images, strict=True)):
            _check_size(
                f'frame {number} of the clip', image.shape[:2], geometry.source_shape
            )
            # MMDetection 3.3 hands grey levels over as float32.
            pixels = cv2.cvtColor(image.astype(np.uint8), cv2.COLOR_BGR2RGB)
            if self.exact:
                exact = apply_exact(Image.fromarray(pixels), geometry.steps)
                frame[:] = np.asarray(exact)
            else:
                apply_fast(pixels, geometry.steps, out=frame)

    def _fill_static(self, clip: np.ndarray, path: str, geometry: ClipGeometry) -> None:
        """Decode a static image once and make every frame from it."""
        image = decode_exact(path)
        if geometry.shift is None:
            clip[:] = np.asarray(apply_exact(image, geometry.steps))
        elif self.exact:
            images = shift_image(image, geometry, len(clip), apply_exact)
            for place, shifted in zip(clip, images, strict=True):
                place[:] = np.asarray(apply_exact(shifted, geometry.steps))
        else:
            frames = shift_image(np.array(image), geometry, len(clip), apply_fast)
            for place, frame in zip(clip, frames, strict=True):
                apply_fast(frame, geometry.steps, out=place)


@TRANSFORMS.register_module()
class LoadClipDepth(BaseTransform):
    """Load the depth maps of a clip and apply the recorded geometry.

    A map is ``<sequence>/depth/<stem of the image>.png``, 8 bit, one channel,
    of the image's size, bright where near. Names of eight digits are accepted
    for images of fewer digits, as the released tool writes them. Maps are
    resized with PIL's filter or PyTorch's, like the images, and never touched
    by colour jitter.

    Args:
        missing: ``'skip'``: a sequence without a ``depth`` folder gives
            clips without depth, whose depth loss is off. ``'error'``: raise.
            A missing file in an existing folder is always an error.
        exact: Resize with PIL, to the bit as the released code.
    """

    def __init__(self, missing: str = 'skip', exact: bool = False) -> None:
        if missing not in ('skip', 'error'):
            raise ValueError(
                f"LoadClipDepth(missing={missing!r}): expected 'skip' or 'error'"
            )
        self.missing = missing
        self.exact = exact

    def transform(self, results: dict) -> dict:
        """Add ``depths`` uint8 (T, H, W, 1), if there are any.

        Raises:
            OSError: If a map is missing or broken.
            ValueError: If a map has colour, 16 bits or another size, or the step
                stands after one that moves pixels.
        """
        if 'moved_by' in results:
            raise ValueError(
                f'LoadClipDepth: found frames that {results["moved_by"]} has moved '
                'already; put it before ClipTransform'
            )
        if results['depth_dir'] is None:
            if self.missing == 'error':
                raise FileNotFoundError(
                    f'sequence {results["sequence"]!r} of {results["dataset"]} has '
                    'no depth folder, expected 8-bit maps in <sequence>/depth/. '
                    'Make them with mmfdta generate-depth, or load depth with '
                    "missing='skip'"
                )
            return results
        geometry = results['geometry']
        clip = np.empty((len(results['img_paths']), *geometry.shape, 1), np.uint8)
        maps = self._read_maps(results, geometry)
        for place, image in zip(clip, maps, strict=True):
            if self.exact:
                place[..., 0] = np.asarray(apply_exact(image, geometry.steps))
            else:
                apply_fast(np.array(image)[..., None], geometry.steps, out=place)
        results['depths'] = clip
        return results

    def _read_maps(self, results: dict, geometry: ClipGeometry) -> list[Image.Image]:
        paths = [
            find_depth_map(results['depth_dir'], os.path.basename(path))
            for path in results['img_paths']
        ]
        if geometry.shift is None:
            return [read_depth_map(path, geometry.source_shape) for path in paths]
        first = read_depth_map(paths[0], geometry.source_shape)
        return shift_image(first, geometry, len(paths), apply_exact)


def find_depth_map(depth_dir: str, image_name: str) -> str:
    """Find the depth map of an image in its sequence's depth folder.

    Raises:
        FileNotFoundError: If there is none.
    """
    stem = os.path.splitext(image_name)[0]
    path = os.path.join(depth_dir, f'{stem}.png')
    if os.path.isfile(path):
        return path
    if stem.isdecimal() and len(stem) < 8:
        padded = os.path.join(depth_dir, f'{int(stem):08d}.png')
        if os.path.isfile(padded):
            return padded
    raise FileNotFoundError(
        f'{path}: no depth map for {image_name}, expected an 8-bit one-channel '
        'PNG under the stem of the image. Run mmfdta generate-depth again: it '
        'makes what is missing'
    )


def read_depth_map(path: str, shape: tuple[int, int]) -> Image.Image:
    """Read the depth map, of mode L, of an image of the shape (H, W).

    Raises:
        OSError: If the map is no image, or cut off.
        ValueError: If the map has colour, 16 bits or another size.
    """
    with open_image(path) as image:
        problem = describe_depth_map(image, shape)
        if problem is not None:
            raise ValueError(f'{path}: {problem}')
        load_pixels(image, path)
        return image


def describe_depth_map(image: Image.Image, shape: tuple[int, int]) -> str | None:
    """Say what is wrong with the map of an image of (H, W), by the map's header."""
    if image.mode.startswith('I'):
        return (
            'found 16-bit depth, expected 8 bit normalised to 0..255 over the '
            'sequence; make it with mmfdta generate-depth'
        )
    if image.mode != 'L':
        return (
            f'found a colour image (mode {image.mode}), expected one grey channel; '
            'a colour map cannot be turned back into depth safely. Write depth '
            'with --grayscale, or with mmfdta generate-depth'
        )
    if (image.height, image.width) != shape:
        return (
            f'found {image.width}x{image.height}, expected the size of the image, '
            f'{shape[1]}x{shape[0]}'
        )
    return None


def _check_size(path: str, found: tuple[int, int], expected: tuple[int, int]) -> None:
    if found != expected:
        raise ValueError(
            f'{path}: found {found[1]}x{found[0]} pixels, expected '
            f'{expected[1]}x{expected[0]} as in the first frame of the clip; all '
            'frames of a sequence must have one size'
        )
