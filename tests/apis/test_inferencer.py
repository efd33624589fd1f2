# Copyright (c) mmfdta authors.
"""The inferencer on frames in memory: colours, sizes, classes, weights, state."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image

from mmfdta.apis import MOTInferencer, video_tracker
from mmfdta.apis.model_loading import load_tracker
from mmfdta.apis.presets import PRESETS, choose_config
from mmfdta.checkpoints import CheckpointMismatchError

COCO = CocoDataset.METAINFO['classes']


def _check(tracks, expected, tolerance=0.01):
    """Compare tracks with the true boxes by class."""
    assert sorted(tracks.label.tolist()) == sorted(expected)
    for label, box in zip(tracks.label.tolist(), tracks.xyxy, strict=True):
        np.testing.assert_allclose(box, expected[label], atol=tolerance)


def test_step_finds_the_boxes_in_pixels_of_the_frame(inferencer, scene):
    for index in range(8):
        frame = np.ascontiguousarray(scene.render(index)[..., ::-1])
        tracks = inferencer.step(frame)
        _check(tracks, scene.true_boxes(index))
        assert tracks.frame.tolist() == [index + 1] * len(tracks)


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_channel_order_is_that_of_the_argument(toys, scene, order):
    inferencer = MOTInferencer(toys.config, toys.checkpoint, channel_order=order)
    frame = scene.render(6)
    right = frame if order == 'rgb' else frame[..., ::-1]
    wrong = frame[..., ::-1] if order == 'rgb' else frame
    assert sorted(inferencer.step(right).label.tolist()) == [0, 1, 2]
    # Red and blue change places.
    _check_swapped = inferencer.step(wrong)
    boxes = scene.true_boxes(6)
    swapped = {0: boxes[2], 2: boxes[0], 1: boxes[1]}
    for label, box in zip(
        _check_swapped.label.tolist(), _check_swapped.xyxy, strict=True
    ):
        np.testing.assert_allclose(box, swapped[label], atol=0.01)


def test_boxes_are_scaled_back_from_the_resized_frame(toys, scene):
    config = scene.config(size=300)
    inferencer = MOTInferencer(config, toys.checkpoint, channel_order='rgb')
    _check(inferencer.step(scene.render(7)), scene.true_boxes(7), tolerance=1.0)


def test_pipelines_of_mmdetection_are_followed(toys, scene):
    config = Config(
        dict(
            model=dict(
                type='ColorTracker',
                data_preprocessor=dict(
                    type='TrackDataPreprocessor', bgr_to_rgb=True, pad_size_divisor=32
                ),
            ),
            test_dataloader=dict(
                dataset=dict(
                    type='MOTChallengeDataset',
                    pipeline=[
                        dict(
                            type='TransformBroadcaster',
                            transforms=[
                                dict(type='LoadImageFromFile'),
                                dict(type='Resize', scale=(480, 240), keep_ratio=True),
                                dict(type='Pad', size_divisor=32),
                                dict(type='LoadTrackAnnotations'),
                            ],
                        ),
                        dict(type='PackTrackInputs'),
                    ],
                )
            ),
        )
    )
    inferencer = MOTInferencer(config, toys.checkpoint, channel_order='rgb')
    _check(inferencer.step(scene.render(7)), scene.true_boxes(7), tolerance=1.0)
    # The image is 240 x 320 and padded to 256.
    sample = inferencer.preprocessor(scene.render(7), 0)
    assert sample['inputs'].shape == (1, 3, 256, 320)
    assert sample['data_samples'][0].img_shape == (256, 320)
    assert inferencer.classes[0] == 'pedestrian'


@pytest.mark.parametrize('exact', [True, False])
def test_resized_pixels_are_those_of_the_test_pipeline(toys, scene, tmp_path, exact):
    """The data set's own loading of the same PNG gives the same input tensor."""
    from mmdet.registry import DATASETS

    folder = tmp_path / 'data' / 'val' / 'seq' / 'img1'
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (90, 161, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / '000001.png'), noise)
    config = scene.config(size=50)
    config.test_dataloader.dataset.pipeline[2].exact = exact
    dataset = DATASETS.build(
        dict(
            config.test_dataloader.dataset,
            data_root=str(tmp_path / 'data'),
            split='val',
            test_mode=True,
        )
    )
    inferencer = MOTInferencer(config, toys.checkpoint)
    ours = inferencer.preprocessor(noise, 0)
    theirs = dataset[0]
    assert torch.equal(ours['inputs']['img'], theirs['inputs']['img'])
    frame, expected = ours['data_samples'][0], theirs['data_samples'][0]
    for key in ('ori_shape', 'img_shape', 'scale_factor', 'frame_id'):
        assert frame.metainfo[key] == expected.metainfo[key], key


def test_config_without_pipeline_gets_the_usual_size(toys):
    config = toys.config.copy()
    config.pop('test_dataloader')
    inferencer = MOTInferencer(config, toys.checkpoint)
    sample = inferencer.preprocessor(np.zeros((1080, 1920, 3), np.uint8), 0)
    assert sample['inputs']['img'].shape == (1, 3, 800, 1422)


def test_frame_without_objects_gives_empty_tracks(inferencer):
    tracks = inferencer.step(np.zeros((120, 160, 3), np.uint8))
    assert len(tracks) == 0
    assert tracks.xywh.shape == (0, 4)


def test_reset_starts_a_new_video(inferencer, scene):
    bgr = [np.ascontiguousarray(scene.render(i)[..., ::-1]) for i in (0, 4, 6)]
    ids = [inferencer.step(frame).identity.tolist() for frame in bgr]
    assert ids == [[0], [0, 1], [0, 1, 2]]
    only_blue = bgr[2].copy()
    only_blue[:60] = 0
    assert inferencer.step(only_blue).identity.tolist() == [2]
    inferencer.reset()
    assert inferencer.step(only_blue).identity.tolist() == [0]


@pytest.mark.parametrize(
    ('classes', 'expected'), [(['blue', 'red'], [0, 2]), ([1], [1]), ('green', [1])]
)
def test_class_filter_takes_names_and_numbers(toys, scene, classes, expected):
    inferencer = MOTInferencer(
        toys.config, toys.checkpoint, channel_order='rgb', classes=classes
    )
    assert inferencer.step(scene.render(8)).label.tolist() == expected


def test_classes_of_coco_are_found_as_people_write_them():
    find, offer = video_tracker._find_label, video_tracker._offer
    assert [find(name, COCO) for name in ('Person', 'PERSON ', 0, '0')] == [0] * 4
    assert find('people', COCO) is None and find('80', COCO) is None
    offers = {
        'people': 'person?',
        'cell': '"cell phone"?',
        'trafic light': '"traffic light"?',
        'tuck': 'truck',
    }
    for wrong, text in offers.items():
        assert f'did you mean {text}' in offer(wrong, COCO)
    assert 'zebra' in offer('xxxxxxxx', COCO)  # then all are named
    for name in video_tracker._SAME.values():
        assert name in COCO


def test_commas_part_classes(toys, scene):
    inferencer = MOTInferencer(toys.config, toys.checkpoint, classes='blue, Red')
    assert inferencer.kept_classes == ('blue', 'red')


@pytest.mark.parametrize('kept', [2, '2', '0,2'])
def test_classes_without_names_are_kept_by_number(toys, scene, kept):
    toys.config.test_dataloader.dataset.pop('metainfo')
    toys.config.test_dataloader.dataset.type = 'UnnamedClasses'
    inferencer = MOTInferencer(toys.config, toys.checkpoint, classes=kept)
    assert inferencer.classes == ()
    image = np.ascontiguousarray(scene.render(8)[..., ::-1])
    expected = [int(number) for number in str(kept).split(',')]
    assert inferencer.step(image).label.tolist() == expected
    assert inferencer.settings()['classes'] == expected  # an archive tells them apart


@pytest.mark.parametrize('wrong', ['yellow', 3, -1, ',', ' , '])
def test_unknown_class_is_refused_with_the_known_ones(toys, wrong):
    with pytest.raises(ValueError, match=rf'{wrong}.*red, green, blue'):
        MOTInferencer(toys.config, toys.checkpoint, classes=[wrong])


def test_no_class_at_all_is_refused(toys):
    with pytest.raises(ValueError, match='classes: found .., expected at least one'):
        MOTInferencer(toys.config, toys.checkpoint, classes=[])


def test_steps_take_pictures_in_any_form(toys, scene):
    """The forms are tested with `to_bgr`; here that they reach the model."""
    inferencer = MOTInferencer(toys.config, toys.checkpoint, channel_order='bgr')
    frame = scene.render(6)
    expected = scene.true_boxes(6)
    for given in (Image.fromarray(frame), torch.from_numpy(frame[..., ::-1].copy())):
        _check(inferencer.step(given), expected)
    with pytest.raises(ValueError, match=r'float32.*expected uint8'):
        inferencer.step(frame.astype(np.float32))


def test_input_size_is_the_long_side_whatever_resizes(toys, scene):
    mmdet = Config(
        dict(
            toys.config.to_dict(),
            test_dataloader=dict(
                dataset=dict(
                    type='MOTChallengeDataset',
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='Resize', scale=(480, 240), keep_ratio=True),
                        dict(type='PackTrackInputs'),
                    ],
                )
            ),
        )
    )
    before = mmdet.to_dict()
    for config in (toys.config, mmdet):
        inferencer = MOTInferencer(
            config, toys.checkpoint, input_size=320, allow_random_weights=True
        )
        assert inferencer.preprocessor.input_shape(120, 160) == (240, 320)
        assert inferencer.preprocessor.input_shape(160, 120) == (320, 240)
    assert mmdet.to_dict() == before
    with pytest.raises(ValueError, match='input_size: found 8, expected at least 32'):
        MOTInferencer(toys.config, toys.checkpoint, input_size=8)


def test_published_weights_bring_their_config():
    assert choose_config('dancetrack') == 'fdta_dancetrack'
    assert choose_config('yolox-x') == PRESETS['accurate']
    assert choose_config() == choose_config('my.pth') == PRESETS['fast']


def test_missing_checkpoint_is_an_error_unless_allowed(toys, scene):
    with pytest.raises(ValueError, match='allow_random_weights'):
        MOTInferencer(toys.config)
    inferencer = MOTInferencer(
        toys.config, allow_random_weights=True, channel_order='rgb'
    )
    # init_weights() has run: the tracker knows its colours.
    assert len(inferencer.step(scene.render(6))) == 3
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        MOTInferencer(toys.config, 'nowhere.pth')


def test_checkpoint_of_another_model_is_refused(toys):
    torch.save(dict(state_dict=dict(shape=torch.zeros(2))), toys.checkpoint)
    with pytest.raises(CheckpointMismatchError, match='colors'):
        MOTInferencer(toys.config, toys.checkpoint)


class _Payload:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), 'w')


def test_hostile_and_truncated_checkpoints_are_refused(toys, tmp_path):
    whole = toys.checkpoint.read_bytes()
    trace = tmp_path / 'executed'
    torch.save(dict(state_dict={}, meta=_Payload(trace)), toys.checkpoint)
    with pytest.raises(ValueError, match='refused, because'):
        MOTInferencer(toys.config, toys.checkpoint)
    assert not trace.exists()
    toys.checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match='truncated'):
        MOTInferencer(toys.config, toys.checkpoint)


def test_pretrained_parts_are_not_downloaded(toys):
    """A checkpoint, or random weights, replace them."""
    config = toys.config.copy()
    nowhere = dict(type='Pretrained', checkpoint='https://invalid.invalid/w.pth')
    config.model.init_cfg = nowhere
    model = load_tracker(config, toys.checkpoint, 'cpu')
    assert model.init_cfg is None
    assert config.model.init_cfg == nowhere
    assert isinstance(model, MODELS.get('ColorTracker'))


def test_precision_of_the_argument_goes_before_that_of_the_config(toys, scene):
    config = toys.config.copy()
    config.precision = 'bf16'
    seen = []
    for given in (None, 'fp32'):
        inferencer = MOTInferencer(config, toys.checkpoint, 'cpu', precision=given)
        inferencer.model.register_forward_pre_hook(
            lambda *_: seen.append(torch.is_autocast_enabled('cpu'))
        )
        inferencer.step(scene.render(6))
        assert not torch.is_autocast_enabled('cpu')
    assert seen == [True, False]
    with pytest.raises(ValueError, match="precision: found 'half', expected fp32"):
        MOTInferencer(config, toys.checkpoint, 'cpu', precision='half')


def test_a_video_has_no_detections_as_text():
    with pytest.raises(ValueError, match='mmfdta test, or take a config with a detect'):
        MOTInferencer('boxes_mini', device='cpu', allow_random_weights=True)


def test_detector_is_no_tracker(toys, scene, monkeypatch):
    inferencer = MOTInferencer(toys.config, toys.checkpoint)
    monkeypatch.setattr(
        inferencer.model, 'predict', lambda inputs, data_samples: data_samples
    )
    with pytest.raises(ValueError, match='ColorTracker gives no pred_track_instances'):
        inferencer.step(scene.render(0))
