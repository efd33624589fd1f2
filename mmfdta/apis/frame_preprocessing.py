# Copyright (c) mmfdta authors.
"""Turns single frames into model inputs, as the config's test pipeline does."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from mmcv.transforms import Compose, TransformBroadcaster
from mmdet.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor

from mmfdta.engine.frame_batches import join_clips
from mmfdta.runtime.frame_input import FrameInput, ResizeRule
from mmfdta.utils.original_frame import attach_frame

_DEFAULT_PIPELINE = [
    dict(type='OpenClip'),
    dict(type='ClipResize', short=800, max_long=1440),
    dict(type='DecodeClip', exact=True),
    dict(type='PackClipInputs'),
]
# Steps that a size can be given to.
_RESIZING = ('ClipResize', 'Resize')
_SMALLEST = 32
_CLIP_PACKER = 'PackClipInputs'


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

    Attributes:
        steps: Names and settings of the pipeline's steps.

    Raises:
        ValueError: If the config does not say how to prepare a frame.
    """

    def __init__(
        self, config: Config, pin_memory: bool = False, input_size: int | None = None
    ) -> None:
        self.steps = steps = _find_steps(config, input_size)
        built = [TRANSFORMS.build(s) for n, s in steps if not n.startswith('Load')]
        self._on_clips = _find_packer(steps) == _CLIP_PACKER
        if not self._on_clips:
            # MMDetection's steps take single frames, and its packing lists of them.
            built = [TransformBroadcaster(built[:-1]), built[-1]]
        self._pipeline = Compose(built)
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
            ``inputs`` and ``data_samples`` of a clip of one frame, which knows the
            image.
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
        attach_frame(sample['data_samples'][0], image)
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


def find_frame_input(
    config: Config, input_size: int | None = None, size: tuple[int, int] | None = None
) -> FrameInput:
    """Say what the detector of an exported model gets of a frame.

    Args:
        config: The model's config, whose test pipeline and data preprocessor are read.
        input_size: Long side of frames after resizing, in pixels; None takes what the
            pipeline says.
        size: Width and height that all frames are padded to, if they are.

    Returns:
        What prepares the same pixels as `FramePreprocessor` and the flipping of the
        data preprocessor do.

    Raises:
        ValueError: If the pipeline or the data preprocessor does what arrays alone do
            not repeat.
    """
    steps = _find_steps(config, input_size)
    packer = _find_packer(steps)
    rules: list[ResizeRule] = []
    padding: dict[str, Any] = {}
    for name, step in steps:
        if padding and name in (*_RESIZING, 'Pad'):
            raise ValueError(
                f'test pipeline: found {name} after Pad, expected Pad once, and '
                'after what resizes'
            )
        if name == 'ClipResize':
            short, max_long = step.get('short', 800), step.get('max_long', 1440)
            rules.append(ResizeRule('short-side', short, max_long))
        elif name == 'Resize':
            rules.append(_mmcv_rule(step))
        elif name == 'Pad':
            padding = _find_padding(step)
        elif name == 'DecodeClip' and rules and not step.get('exact', False):
            raise ValueError(
                'test pipeline: found DecodeClip(exact=False), which resizes with '
                'PyTorch; the exported model resizes with Pillow, and grey levels '
                'would differ by 1. Set exact=True'
            )
        elif not (name in ('OpenClip', 'DecodeClip', packer) or name[:4] == 'Load'):
            raise ValueError(
                f'test pipeline: the step {name} cannot be exported, expected '
                "OpenClip, ClipResize, DecodeClip, or MMDetection's Resize and Pad"
            )
    if len(rules) > 1:
        raise ValueError(
            f'test pipeline: found {len(rules)} steps that resize, expected one'
        )
    found = _find_normalisation(config, packer == _CLIP_PACKER)
    if padding and padding['pad_divisor'] % found['pad_divisor']:
        raise ValueError(
            f'model.data_preprocessor: it pads to multiples of {found["pad_divisor"]} '
            f'and Pad of the test pipeline to those of {padding["pad_divisor"]}, which '
            'cannot be exported; give both one divisor'
        )
    found |= padding
    rule = rules[0] if rules else ResizeRule()
    return FrameInput(resize=rule, size=size, **found)


def _find_normalisation(config: Config, is_rgb: bool) -> dict[str, Any]:
    """Read order, padding, mean and deviation off the data preprocessor."""
    settings = config.model.get('data_preprocessor') or {}
    name = _name(settings) if settings else None
    if name == 'ClipDataPreprocessor':
        built = MODELS.build(settings)
        flips = built.bgr
        mean, std = (
            tuple(round(255 * float(x), 4) for x in values.flatten())
            for values in (built.mean, built.std)
        )
        divisor, value = built.pad_size_divisor, built.pad_value
    elif name in ('DetDataPreprocessor', 'TrackDataPreprocessor'):
        flips = settings.get('bgr_to_rgb', False) or settings.get('rgb_to_bgr', False)
        mean = tuple(settings.get('mean') or ())
        divisor = settings.get('pad_size_divisor', 1)
        value = settings.get('pad_value', 0)
        if mean:
            # It pads what it has normalised.
            if value:
                raise ValueError(
                    f'model.data_preprocessor.pad_value: found {value}, a normalised '
                    'value, which cannot be exported; expected 0'
                )
            value = None
        std = tuple(settings.get('std') or (1.0,) * 3)
        mean = mean or (0.0,) * 3
    else:
        raise ValueError(
            f'model.data_preprocessor.type: found {name}, which cannot be exported; '
            'expected ClipDataPreprocessor, DetDataPreprocessor or '
            'TrackDataPreprocessor'
        )
    return dict(
        channel_order='rgb' if is_rgb != flips else 'bgr',
        pad_divisor=divisor,
        pad_value=_grey_level(value, 'model.data_preprocessor.pad_value'),
        mean=mean,
        std=std,
    )


def _mmcv_rule(step: dict) -> ResizeRule:
    """Read MMDetection's ``Resize``."""
    kernel = dict(
        backend=step.get('backend', 'cv2'),
        interpolation=step.get('interpolation', 'bilinear'),
    )
    scale, keeps = step.get('scale'), step.get('keep_ratio', False)
    if scale is not None:
        scale = (scale, scale) if isinstance(scale, int) else tuple(scale)
        return ResizeRule('fit' if keeps else 'exact', scale=scale, **kernel)
    factors = step['scale_factor']
    if not isinstance(factors, tuple):
        factors = (float(factors), float(factors))
    if factors == (1.0, 1.0):
        return ResizeRule('none', **kernel)
    if keeps:
        raise ValueError(
            'test pipeline: Resize(scale_factor=..., keep_ratio=True) cannot be '
            'exported; leave keep_ratio out'
        )
    return ResizeRule('factor', factors=factors, **kernel)


def _find_padding(step: dict) -> dict[str, Any]:
    """Read MMDetection's ``Pad``: divisor and grey level."""
    known = {'type', 'size_divisor', 'pad_val', 'padding_mode'}
    value = step.get('pad_val', 0)
    value = value.get('img', 0) if isinstance(value, Mapping) else value
    levels = {*value} if isinstance(value, list | tuple) else {value}
    constant = step.get('padding_mode', 'constant') == 'constant'
    simple = step.get('size_divisor') and set(step) <= known and constant
    if not simple or len(levels) > 1:
        raise ValueError(
            f'test pipeline: found {step}, which cannot be exported; expected '
            'Pad(size_divisor=..., pad_val=...) with one grey level'
        )
    value = _grey_level(levels.pop(), 'test pipeline: Pad.pad_val')
    return dict(pad_divisor=step['size_divisor'], pad_value=value)


def _grey_level(value: float | None, where: str) -> int | None:
    if value is None:
        return None
    if not (float(value).is_integer() and 0 <= value <= 255):
        raise ValueError(f'{where}: found {value}, expected a whole number, 0 to 255')
    return int(value)


def _find_steps(config: Config, input_size: int | None) -> list[tuple[str, dict]]:
    """List the steps of the test pipeline with their names, at a size."""
    steps = [(_name(step), step) for step in _leaves(_find_pipeline(config))]
    if input_size is not None:
        steps = [(n, _with_size(n, step, input_size)) for n, step in steps]
        if not any(name in _RESIZING for name, _ in steps):
            raise ValueError(
                'input_size: the test pipeline has no step that resizes, such as '
                f'{" or ".join(_RESIZING)}'
            )
    return steps


def _find_packer(steps: list[tuple[str, dict]]) -> str:
    packers = [name for name, _ in steps if name.startswith('Pack')]
    if len(packers) != 1:
        names = ', '.join(name for name, _ in steps)
        raise ValueError(
            f'the test pipeline ({names}) has {len(packers)} steps named Pack..., '
            'expected one, such as PackClipInputs or PackTrackInputs'
        )
    return packers[0]


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
    """Yield the steps inside wrappers such as TransformBroadcaster."""
    for step in pipeline:
        if step.get('transforms'):
            yield from _leaves(step['transforms'])
        else:
            yield step


def _name(step: dict) -> str:
    kind: str | Callable = step['type']
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__
