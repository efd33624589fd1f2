# Copyright (c) mmfdta authors.
"""Turns single frames into model inputs, as the config's test pipeline does."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from mmcv.transforms import Compose, TransformBroadcaster
from mmdet.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor

from mmfdta.engine.frame_batches import join_clips

_DEFAULT_PIPELINE = [
    dict(type='OpenClip'),
    dict(type='ClipResize', short=800, max_long=1440),
    dict(type='DecodeClip', exact=True),
    dict(type='PackClipInputs'),
]
# Steps that a size can be given to.
_RESIZING = ('ClipResize', 'Resize')
_SMALLEST = 32


class FramePreprocessor:
    """Resizes and packs frames for a model.

    It runs the config's test pipeline, however deep it is wrapped, on a frame in
    memory, and leaves out the steps that load files; the data loader itself is not
    used. Pipelines of this project give RGB frames, those of MMDetection BGR, as when
    they read files themselves; the model's data preprocessor does the rest.

    Args:
        config: The model's config. Without a test pipeline, a model on
            ``ClipDataPreprocessor`` gets the usual size (short side 800, long
            side at most 1440).
        pin_memory: Put frames into memory from which a GPU fetches them while the host
            goes on.
        input_size: Long side of frames after resizing, in pixels; None takes what the
            pipeline says.

    Raises:
        ValueError: If the config does not say how to prepare a frame.
    """

    def __init__(
        self, config: Config, pin_memory: bool = False, input_size: int | None = None
    ) -> None:
        steps = [(_name(step), step) for step in _leaves(_find_pipeline(config))]
        if input_size is not None:
            steps = [(n, _with_size(n, step, input_size)) for n, step in steps]
            if not any(name in _RESIZING for name, _ in steps):
                raise ValueError(
                    'input_size: the test pipeline has no step that resizes, such as '
                    f'{" or ".join(_RESIZING)}'
                )
        packers = [name for name, _ in steps if name.startswith('Pack')]
        if len(packers) != 1:
            names = ', '.join(name for name, _ in steps)
            raise ValueError(
                f'the test pipeline ({names}) has {len(packers)} steps named Pack..., '
                'expected one, such as PackClipInputs or PackTrackInputs'
            )
        built = [TRANSFORMS.build(s) for n, s in steps if not n.startswith('Load')]
        if packers != ['PackClipInputs']:
            # MMDetection's steps take single frames, and its packing lists of them.
            built = [TransformBroadcaster(built[:-1]), built[-1]]
        self._pipeline = Compose(built)
        self._on_clips = packers == ['PackClipInputs']
        self._pin_memory = pin_memory

    def __call__(
        self, image: np.ndarray, index: int, video: str = '', num_frames: int = 0
    ) -> dict:
        """Prepare one frame.

        Args:
            image: uint8 (H, W, 3) BGR.
            index: Number in its video, from 0; 0 resets the tracker.
            video: Name of the video.
            num_frames: Length of the video, 0 if unknown.

        Returns:
            ``inputs`` and ``data_samples`` of a clip of one frame.
        """
        frame = dict(
            img=image,
            img_path=f'{video}#{index}',
            img_id=index,
            img_shape=image.shape[:2],
            ori_shape=image.shape[:2],
            scale_factor=(1.0, 1.0),
            frame_id=index,
            video_id=0,
            video_length=num_frames,
            ori_video_length=num_frames,
        )
        clip: dict[str, Any] = {key: [value] for key, value in frame.items()}
        if self._on_clips:
            of_all = dict(video_id=0, video_length=num_frames, sequence=video)
            clip |= dict(img_paths=clip['img_path'], **of_all)
        sample = self._pipeline(clip)
        if self._pin_memory:
            sample['inputs'] = _pin(sample['inputs'])
        return sample

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        """Say how large a frame is after resizing.

        Args:
            height: Of the frame, in pixels.
            width: Of the frame, in pixels.

        Returns:
            Height and width, before any padding by the model.
        """
        sample = self(np.zeros((height, width, 3), np.uint8), 0)
        return sample['data_samples'][0].img_shape


def collate_frames(samples: list[dict]) -> dict:
    """Join prepared frames of one size to a clip, in a batch of one.

    Args:
        samples: Outputs of :class:`FramePreprocessor`.

    Returns:
        ``inputs`` and ``data_samples`` as a data preprocessor takes them.
    """
    return join_clips([pseudo_collate([sample]) for sample in samples])


def _pin(inputs: Tensor | Mapping[str, Tensor]) -> Tensor | dict[str, Tensor]:
    if isinstance(inputs, Mapping):
        return {name: tensor.pin_memory() for name, tensor in inputs.items()}
    return inputs.pin_memory()


def _with_size(name: str, step: dict, size: int) -> dict:
    """Let a step resize to a long side."""
    if size < _SMALLEST:
        raise ValueError(
            f'input_size: found {size}, expected at least {_SMALLEST} pixels'
        )
    if name == 'ClipResize':
        return dict(step, short=size, max_long=size)
    if name == 'Resize':
        kept = {k: v for k, v in step.items() if k != 'scale_factor'}
        return dict(kept, scale=(size, size), keep_ratio=True)
    return step


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
