# Copyright (c) mmfdta authors.
"""Turns single frames into model inputs, as the config's test pipeline does."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.registry import TRANSFORMS
from mmdet.structures import TrackDataSample
from mmengine.config import Config
from PIL import Image
from torch import Tensor

from mmfdta.datasets.transforms.decoding import apply_exact, apply_fast
from mmfdta.datasets.transforms.geometry import ClipGeometry

_DEFAULT_PIPELINE = [
    dict(type='OpenClip'),
    dict(type='ClipResize', short=800, max_long=1440),
    dict(type='DecodeClip', exact=True),
    dict(type='PackClipInputs'),
]
# Reading from files is what a frame in memory does not need.
_READING = ('Load', 'OpenClip', 'DecodeClip')


@dataclass(frozen=True)
class FrameContext:
    """What a model is told about a frame besides its pixels.

    Attributes:
        index: Number in its video, from 0; 0 resets the tracker.
        video: Name of the video.
        num_frames: Length of the video, 0 if unknown.
    """

    index: int
    video: str
    num_frames: int = 0


class FramePreprocessor:
    """Resizes and packs frames for a model.

    It follows the settings of the config's test pipeline, however deep they are
    wrapped, and leaves out what reads files; the data loader itself is not used.
    Pipelines of this project get RGB frames, those of MMDetection BGR, as when
    they read files themselves; the model's data preprocessor does the rest.

    Args:
        config: The model's config. Without a test pipeline, a model on
            ``ClipDataPreprocessor`` gets the usual size (short side 800, long
            side at most 1440).

    Raises:
        ValueError: If the config does not say how to prepare a frame.
    """

    def __init__(self, config: Config) -> None:
        steps = list(_leaves(_find_pipeline(config)))
        names = [_name(step) for step in steps]
        packers = [s for s, n in zip(steps, names, strict=True) if n.startswith('Pack')]
        if len(packers) != 1:
            raise ValueError(
                f'the test pipeline ({", ".join(names)}) has {len(packers)} steps '
                'named Pack..., expected one, such as PackClipInputs or '
                'PackTrackInputs'
            )
        self._pack = TRANSFORMS.build(packers[0])
        self._steps = [
            TRANSFORMS.build(step)
            for step, name in zip(steps, names, strict=True)
            if not name.startswith((*_READING, 'Pack'))
        ]
        self._on_clips = _name(packers[0]) == 'PackClipInputs'
        self._exact = any(step.get('exact', False) for step in steps)

    def __call__(self, image: np.ndarray, context: FrameContext) -> dict:
        """Prepare one frame.

        Args:
            image: uint8 (H, W, 3) BGR.
            context: What else there is to know.

        Returns:
            ``inputs`` and ``data_samples`` of a clip of one frame.
        """
        prepare = self._prepare_clip if self._on_clips else self._prepare_image
        return self._pack(prepare(image, context))

    def _prepare_clip(self, image: np.ndarray, context: FrameContext) -> dict:
        """Record the geometry and apply it, as this project's pipelines do."""
        shape = image.shape[:2]
        clip: dict[str, Any] = dict(
            img_paths=[f'{context.video}#{context.index}'],
            frame_ids=np.array([context.index]),
            img_ids=np.array([context.index]),
            video_id=0,
            video_length=context.num_frames,
            sequence=context.video,
            dataset='',
            is_static=False,
            rng=np.random.default_rng(0),
            ori_shape=shape,
            geometry=ClipGeometry(shape),
        )
        for step in self._steps:
            clip = step(clip)
        geometry = clip['geometry']
        frames = np.empty((1, *geometry.shape, 3), dtype=np.uint8)
        pixels = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        if self._exact:
            frames[0] = np.asarray(apply_exact(Image.fromarray(pixels), geometry.steps))
        else:
            apply_fast(pixels, geometry.steps, out=frames[0])
        return clip | dict(imgs=frames, img_shape=geometry.shape)

    def _prepare_image(self, image: np.ndarray, context: FrameContext) -> dict:
        """Apply MMDetection's transforms; its packing wants lists over frames."""
        frame = dict(
            img=image,
            img_path=f'{context.video}#{context.index}',
            img_id=context.index,
            img_shape=image.shape[:2],
            ori_shape=image.shape[:2],
            scale_factor=(1.0, 1.0),
            frame_id=context.index,
            video_id=0,
            video_length=context.num_frames,
            ori_video_length=context.num_frames,
        )
        for step in self._steps:
            frame = step(frame)
        return {key: [value] for key, value in frame.items()}


def collate_frames(samples: list[dict]) -> dict:
    """Join prepared frames of one size to a clip, in a batch of one.

    Args:
        samples: Outputs of :class:`FramePreprocessor`.

    Returns:
        ``inputs`` and ``data_samples`` as a data preprocessor takes them.
    """
    inputs = [sample['inputs'] for sample in samples]
    joined: dict[str, list[Tensor]] | list[Tensor]
    if isinstance(inputs[0], Mapping):
        joined = {k: [torch.cat([part[k] for part in inputs])] for k in inputs[0]}
    else:
        joined = [torch.cat(inputs)]
    clip = TrackDataSample()
    clip.video_data_samples = [
        frame for sample in samples for frame in sample['data_samples']
    ]
    return dict(inputs=joined, data_samples=[clip])


def _find_pipeline(config: Config) -> list:
    for loader in ('test_dataloader', 'val_dataloader'):
        dataset = (config.get(loader) or {}).get('dataset')
        while dataset is not None:
            if dataset.get('pipeline'):
                return dataset['pipeline']
            # Wrappers hold one data set, or several that are read alike.
            inner = dataset.get('dataset') or (dataset.get('datasets') or [None])[0]
            dataset = inner
    if config.get('test_pipeline'):
        return config['test_pipeline']
    if 'ClipDataPreprocessor' in str(
        (config.model.get('data_preprocessor') or {}).get('type')
    ):
        return _DEFAULT_PIPELINE
    raise ValueError(
        'the config has no test pipeline (test_dataloader.dataset.pipeline or '
        'test_pipeline), so the size of a frame is not known'
    )


def _leaves(pipeline: list) -> Iterator[dict]:
    """Yield the steps inside of wrappers such as TransformBroadcaster."""
    for step in pipeline:
        if step.get('transforms'):
            yield from _leaves(step['transforms'])
        else:
            yield step


def _name(step: dict) -> str:
    kind: str | Callable = step['type']
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__
