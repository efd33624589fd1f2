# Copyright (c) mmfdta authors.
"""Frames for exported models have the pixels that the config's pipeline gives."""

import json

import numpy as np
import pytest
from mmengine.config import Config

from mmfdta.apis.config import read_config
from mmfdta.apis.frame_preprocessing import FramePreprocessor, find_frame_input
from mmfdta.runtime.frame_input import FrameInput, ResizeRule

# Height and width; odd ones, tall ones, those that need no resizing.
SHAPES = ((97, 173), (173, 97), (64, 64), (61, 1200), (256, 456))
RGB = dict(type='ClipDataPreprocessor')


def clip_config(short, max_long, preprocessor=RGB) -> Config:
    pipeline = [
        dict(type='OpenClip'),
        dict(type='ClipResize', short=short, max_long=max_long),
        dict(type='DecodeClip', exact=True),
        dict(type='PackClipInputs'),
    ]
    return as_config(pipeline, preprocessor)


def frame_config(steps, **preprocessor) -> Config:
    preprocessor = dict(type='TrackDataPreprocessor', **preprocessor)
    steps = [dict(type='LoadImageFromFile'), *steps]
    broadcast = dict(type='TransformBroadcaster', transforms=steps)
    return as_config([broadcast, dict(type='PackTrackInputs')], preprocessor)


def as_config(pipeline, preprocessor) -> Config:
    model = dict(data_preprocessor=preprocessor)
    return Config(dict(model=model, test_pipeline=pipeline))


def frame_of(shape) -> np.ndarray:
    generator = np.random.default_rng(shape[0])
    return generator.integers(0, 256, (*shape, 3), dtype=np.uint8)


def pipeline_pixels(config, image) -> tuple[np.ndarray, tuple[int, int]]:
    """The frame (3, H, W) as the config's own pipeline makes it, and its shape."""
    sample = FramePreprocessor(config)(image, 0)
    inputs = sample['inputs']
    inputs = inputs['img'] if isinstance(inputs, dict) else inputs
    return inputs[0].numpy(), sample['data_samples'][0].img_shape


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize(('short', 'max_long'), [(64, 96), (80, None), (256, 456)])
@pytest.mark.parametrize('bgr', [False, True])
def test_clips_are_resized_to_the_byte(shape, short, max_long, bgr):
    config = clip_config(short, max_long, dict(RGB, bgr=bgr))
    found = find_frame_input(config)
    image = frame_of(shape)
    pixels, img_shape = pipeline_pixels(config, image)
    frame = found(image)
    # The data preprocessor turns the order round, the graph does not.
    np.testing.assert_array_equal(frame.pixels, pixels[::-1] if bgr else pixels)
    assert frame.shape == img_shape == found.input_shape(*shape)
    assert frame.original == shape
    assert frame.pixels.flags.c_contiguous


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize(
    'resize',
    [
        dict(scale=(96, 64), keep_ratio=True),
        dict(scale=(96, 64), keep_ratio=True, backend='pillow'),
        dict(scale=(70, 50)),
        dict(scale=90, keep_ratio=True, interpolation='area'),
        dict(scale_factor=0.7),
        dict(scale_factor=(0.5, 0.6), backend='pillow', interpolation='lanczos'),
        dict(scale_factor=1.0, keep_ratio=True),
    ],
    ids=str,
)
def test_frames_are_resized_as_mmdetection_does(shape, resize):
    config = frame_config([dict(type='Resize', **resize)], bgr_to_rgb=True)
    found = find_frame_input(config)
    pixels, img_shape = pipeline_pixels(config, frame_of(shape))
    frame = found(frame_of(shape))
    np.testing.assert_array_equal(frame.pixels, pixels[::-1])
    assert frame.shape == img_shape
    assert found.channel_order == 'rgb'


def test_padding_of_the_pipeline_is_repeated():
    steps = [
        dict(type='Resize', scale=(96, 64), keep_ratio=True),
        dict(type='Pad', size_divisor=32, pad_val=dict(img=(114.0, 114.0, 114.0))),
    ]
    config = frame_config(steps)
    pixels, _ = pipeline_pixels(config, frame_of((97, 173)))
    found = find_frame_input(config)
    np.testing.assert_array_equal(found(frame_of((97, 173))).pixels, pixels)
    assert found.channel_order == 'bgr' and pixels.shape == (3, 64, 96)


@pytest.mark.parametrize('shape', SHAPES)
def test_padding_is_that_of_the_data_preprocessor(shape):
    """What the network gets is the same after normalising."""
    from mmdet.registry import MODELS

    settings = dict(RGB, pad_size_divisor=32, pad_value=114, mean=[9, 8, 7], bgr=True)
    config = clip_config(64, 96, settings)
    sample = FramePreprocessor(config)(frame_of(shape), 0)
    batch = dict(
        inputs=dict(img=[sample['inputs']['img']]),
        data_samples=[sample['data_samples']],
    )
    expected = MODELS.build(settings)(batch)['inputs']['img'][0, 0].numpy()
    found = find_frame_input(config)
    mean, std = (
        np.array(x, np.float32)[:, None, None] for x in (found.mean, found.std)
    )
    pixels = found(frame_of(shape)).pixels.astype(np.float32)
    assert pixels.shape == expected.shape
    np.testing.assert_allclose((pixels - mean) / std, expected, atol=1e-5)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('value', [None, 114])
def test_a_fixed_size_holds_every_frame(shape, value):
    settings = dict(RGB, pad_size_divisor=32, pad_value=value)
    found = find_frame_input(clip_config(64, 96, settings), size=(90, 60))
    frame = found(frame_of(shape))
    assert frame.pixels.shape == (3, 60, 90)
    height, width = frame.shape
    assert 1 <= height <= 60 and 1 <= width <= 90
    assert (frame.pixels[:, height:] == (value or 0)).all()
    assert (frame.pixels[:, :, width:] == (value or 0)).all()
    # One side is full, or the frame is as large as the pipeline makes it.
    free = find_frame_input(clip_config(64, 96)).input_shape(*shape)
    assert height == 60 or width == 90 or frame.shape == free
    # The ratio stays, but for less than a pixel.
    factor = min(60 / free[0], 90 / free[1], 1)
    for side, was in zip(frame.shape, free, strict=True):
        assert side == 1 or abs(side - was * factor) < 1


def test_the_long_side_can_be_set():
    found = find_frame_input(clip_config(64, 96), input_size=48)
    assert found.input_shape(200, 400) == (24, 48)
    with pytest.raises(ValueError, match='input_size: found 8'):
        find_frame_input(clip_config(64, 96), input_size=8)


@pytest.mark.parametrize(
    'name', ['fdta_dancetrack', 'bytetrack_yolox-nano_coco', 'fdta_dino-r50_mini']
)
def test_configs_of_the_package_can_be_read(name):
    config = read_config(name)
    found = find_frame_input(config)
    image = frame_of((270, 480))
    pixels, img_shape = pipeline_pixels(config, image)
    frame = found(image)
    ours = frame.pixels[:, : frame.shape[0], : frame.shape[1]]
    order = -1 if config.model.data_preprocessor.get('bgr') else 1
    np.testing.assert_array_equal(ours[::order], pixels)
    assert frame.shape == img_shape


def test_json_keeps_everything():
    rules = [
        ResizeRule('short-side', short=64, max_long=96),
        ResizeRule('fit', scale=(96, 64), backend='cv2', interpolation='area'),
        ResizeRule('factor', factors=(0.5, 0.6)),
        ResizeRule(),
    ]
    for rule in rules:
        found = FrameInput('bgr', rule, 32, 114, (90, 60), (1.0, 2.0, 3.0), (4.0,) * 3)
        text = json.dumps(found.to_dict())
        assert FrameInput.from_dict(json.loads(text)) == found


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(channel_order='gbr'), "model.json: input.channel_order: found 'gbr'"),
        (dict(size=[90]), r'input.size: found \[90\], expected two numbers'),
        (dict(size=[0, 9]), 'input.size'),
        (dict(pad_value=300), 'input.pad_value: found 300, expected 0 to 255'),
        (dict(pad_divisor=0), 'input.pad_divisor: found 0'),
        (dict(extra=1), 'input: found the unknown key extra'),
        (dict(size=[90.5, 60]), 'input.size: found 90.5, expected a whole number'),
        (dict(resize={}), 'input.resize: found no rule'),
        (
            dict(resize=dict(rule='short-side', short='800')),
            "input.resize.short: found '800', expected a whole number",
        ),
        (
            dict(resize=dict(rule='exact', scale=[9.5, 9])),
            'input.resize.scale: found 9.5, expected a whole number',
        ),
        (dict(resize='x'), "input.resize: found 'x', expected keys"),
        (dict(resize=dict(rule='half')), "input.resize.rule: found 'half'"),
        (dict(resize=dict(rule='fit')), 'input.resize.scale: found nothing'),
        (dict(resize=dict(rule='none', backend='gpu')), "resize.backend: found 'gpu'"),
        (dict(resize=dict(rule='none', kernel=1)), 'the unknown key kernel'),
        (dict(mean='grey'), "input.mean: found 'grey'"),
    ],
)
def test_what_is_wrong_in_json_is_said(change, message):
    with pytest.raises(ValueError, match=message):
        FrameInput.from_dict(FrameInput().to_dict() | change, 'model.json: input')
    values = FrameInput().to_dict()
    del values['mean']
    with pytest.raises(ValueError, match='model.json: input: found no mean'):
        FrameInput.from_dict(values, 'model.json: input')


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (
            frame_config([dict(type='Resize', scale=9), dict(type='RandomFlip')]),
            'test pipeline: the step RandomFlip cannot be exported',
        ),
        (
            frame_config([dict(type='Resize', scale_factor=2.0, keep_ratio=True)]),
            'leave keep_ratio out',
        ),
        (frame_config([dict(type='Pad', size=(9, 9))]), 'which cannot be exported'),
        (frame_config([dict(type='Resize', scale=9)] * 2), 'found 2 steps that resize'),
        (
            frame_config(
                [dict(type='Pad', size_divisor=32), dict(type='Resize', scale=9)]
            ),
            'found Resize after Pad, expected Pad once',
        ),
        (
            frame_config([dict(type='Pad', size_divisor=32)], pad_size_divisor=64),
            'pads to multiples of 64 and Pad of the test pipeline to those of 32',
        ),
        (
            frame_config([], mean=[1, 1, 1], std=[1, 1, 1], pad_value=1),
            'model.data_preprocessor.pad_value: found 1',
        ),
        (clip_config(64, 96, dict(RGB, pad_value=0.5)), 'expected a whole number'),
        (
            clip_config(64, 96, dict(type='Other')),
            'data_preprocessor.type: found Other',
        ),
    ],
)
def test_what_arrays_do_not_repeat_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        find_frame_input(config)


def test_the_kernel_of_pytorch_differs_and_is_refused():
    config = clip_config(64, 96)
    found = find_frame_input(config)
    config.test_pipeline[2].exact = False
    apart = set()
    for shape in SHAPES:
        pixels, _ = pipeline_pixels(config, frame_of(shape))
        ours = found(frame_of(shape)).pixels
        apart.add(int(np.abs(ours.astype(int) - pixels.astype(int)).max()))
    assert max(apart) == 1
    with pytest.raises(ValueError, match=r'DecodeClip\(exact=False\), .* exact=True'):
        find_frame_input(config)
    # Without resizing both are the same.
    del config.test_pipeline[1]
    pixels, _ = pipeline_pixels(config, frame_of(SHAPES[0]))
    np.testing.assert_array_equal(
        find_frame_input(config)(frame_of(SHAPES[0])).pixels, pixels
    )


def test_a_rule_without_resizing_ignores_the_numbers_of_others():
    assert ResizeRule('none', scale=(9, 5), factors=(2, 2)).size_of((40, 30)) == (
        40,
        30,
    )
