# Copyright (c) mmfdta authors.
"""YOLOX of ByteTrack's authors: converted weights, the same detections."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.config import Config
from torch import Tensor
from weights import golden_weights

from mmfdta.checkpoints import CheckpointError, convert_state_dict
from mmfdta.models.detectors.yolox import find_on_host, is_yolox
from mmfdta.models.trackers import new_tracker

FOLDER = Path(__file__).parent / 'yolox'
CONFIG = Path(__file__).parents[2] / 'configs/bytetrack_yolox-x_dancetrack.py'
GAIN = 1.4


def released_state_dict(num_classes: int = 1) -> dict[str, Tensor]:
    """Formula weights under the authors' names; see yolox/README.md."""
    state_dict = {}
    for name, shape in json.loads((FOLDER / 'names.json').read_text()).items():
        if 'cls_preds' in name:
            shape = [num_classes, *shape[1:]]
        values = golden_weights().fill(name, tuple(shape), 3)
        if values is None:
            state_dict[name] = torch.tensor(0)
        else:
            gain = GAIN if values.ndim == 4 else 1
            state_dict[name] = torch.from_numpy(values * np.float32(gain))
    return state_dict


def small_config() -> Config:
    """The config with the depth and width of the golden file."""
    config = Config.fromfile(CONFIG)
    detector = config.model.detector
    detector.backbone.update(deepen_factor=0.33, widen_factor=0.25)
    detector.neck.update(in_channels=[64, 128, 256], out_channels=64, num_csp_blocks=1)
    detector.bbox_head.update(in_channels=64, feat_channels=64)
    return config


@pytest.fixture(scope='module')
def golden() -> dict[str, np.ndarray]:
    with np.load(FOLDER / 'yolox.npz') as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope='module')
def tracker():
    model = MODELS.build(small_config().model)
    model.load_state_dict(convert_state_dict(released_state_dict()).state_dict)
    return model.eval()


def test_every_tensor_is_used_and_none_is_made():
    source = released_state_dict()
    conversion = convert_state_dict(source)
    report = conversion.report
    assert report.family == 'yolox'
    assert report.counts == dict(used=len(source), generated=0, dropped=0)
    assert not (report.absent or report.optional or report.incomplete)
    found = sorted(t.data_ptr() for t in conversion.state_dict.values())
    assert found == sorted(t.data_ptr() for t in source.values())


def test_the_full_size_has_no_other_names():
    """Every tensor of the config's YOLOX-x comes from a name that converts to it."""
    from mmfdta.checkpoints.names import YOLOX_RULES
    from mmfdta.checkpoints.rules import to_source, to_target

    with torch.device('meta'):
        names = list(MODELS.build(Config.fromfile(CONFIG).model).state_dict())
    sources = [to_source(YOLOX_RULES, name) for name in names]
    assert len(set(sources)) == len(names) > 700
    assert [to_target(YOLOX_RULES, source) for source in sources] == names


def test_a_missing_layer_is_noticed(tmp_path):
    source = released_state_dict()
    del source['backbone.C3_n4.m.0.conv2.bn.running_var']
    report = convert_state_dict(source).report
    assert report.incomplete == [
        'detector.neck.bottom_up_blocks.1.blocks.0.conv2.bn.running_var'
    ]
    source['backbone.C3_n4.m.0.conv9.bn.bias'] = torch.zeros(1)
    with pytest.raises(CheckpointError, match='conv9'):
        convert_state_dict(source)


def test_people_are_kept_of_coco():
    source = released_state_dict(num_classes=80)
    converted = convert_state_dict(source).state_dict
    for level in range(3):
        kept = converted[f'detector.bbox_head.multi_level_conv_cls.{level}.weight']
        assert torch.equal(kept, source[f'head.cls_preds.{level}.weight'][:1])


def test_mmdetection_s_names_only_lack_the_detector():
    own = convert_state_dict(released_state_dict()).state_dict
    plain = {name.removeprefix('detector.'): t for name, t in own.items()}
    conversion = convert_state_dict(plain)
    assert conversion.report.family == 'mmdet_yolox'
    assert conversion.state_dict.keys() == own.keys()


@pytest.mark.parametrize('goal', ['fdta', 'motip', 'mmdet_deformable_detr'])
def test_other_code_bases_have_no_place_for_it(goal: str):
    with pytest.raises(CheckpointError, match='no place for YOLOX'):
        convert_state_dict(released_state_dict(), to=goal)


def test_the_network_sees_the_pixels_of_the_authors(golden, tracker):
    image = torch.from_numpy(golden['in_image'].copy()).permute(2, 0, 1)[None]
    clip = TrackDataSample()
    clip.video_data_samples = [DetDataSample()]
    data = dict(inputs=dict(img=[image]), data_samples=[clip])
    found = tracker.data_preprocessor(data)['inputs']['img'][0, 0]
    np.testing.assert_allclose(found, golden['out_network_input'], atol=2e-6)


@torch.no_grad()
def test_features_and_predictions(golden, tracker):
    inputs = torch.from_numpy(golden['out_network_input'])[None]
    features = tracker.detector.extract_feat(inputs)
    # The authors count the first convolution of the head as part of the head.
    scores, boxes, objectness = tracker.detector.bbox_head(features)
    expected = golden['out_predictions'][0]
    flat = [
        torch.cat([level.flatten(2) for level in levels], 2)[0].T
        for levels in (objectness, scores)
    ]
    found = torch.cat(flat, 1).sigmoid().numpy()
    np.testing.assert_allclose(found, expected[:, 4:], atol=2e-6)
    assert np.ptp(expected[:, 4]) > 0.1
    head = tracker.detector.bbox_head
    priors = torch.cat(
        head.prior_generator.grid_priors(
            [level.shape[2:] for level in boxes], device='cpu', with_stride=True
        )
    )
    deltas = torch.cat([level.flatten(2) for level in boxes], 2)[0].T
    corners = head._bbox_decode(priors, deltas[None])[0].numpy()
    centre, size = expected[:, :2], expected[:, 2:4]
    corners_expected = np.concatenate([centre - size / 2, centre + size / 2], 1)
    np.testing.assert_allclose(corners, corners_expected, atol=1e-4)


@torch.no_grad()
def test_detections_are_in_pixels_of_the_frame(golden, tracker):
    """Through `predict`, with suppression written out here by hand."""
    inputs = torch.from_numpy(golden['out_network_input'])[None]
    frame = DetDataSample(
        metainfo=dict(img_shape=(60, 90), ori_shape=(120, 180), scale_factor=(0.5, 0.5))
    )
    found = tracker.detector.predict(inputs, [frame])[0].pred_instances
    rows = golden['out_predictions'][0]
    scores = rows[:, 4] * rows[:, 5]
    centre, size = 2 * rows[:, :2], 2 * rows[:, 2:4]
    boxes = np.concatenate([centre - size / 2, centre + size / 2], 1)
    kept = _suppress(boxes, scores, 0.7)
    np.testing.assert_allclose(found.scores, scores[kept], atol=2e-6)
    np.testing.assert_allclose(found.bboxes, boxes[kept], atol=5e-4)


@torch.no_grad()
@pytest.mark.parametrize('classes', [1, 3])
def test_choosing_on_the_host_is_mmdetection_s(golden, tracker, classes):
    model = copy.deepcopy(tracker)
    head = model.detector.bbox_head
    if classes > 1:
        head.cls_out_channels = classes
        for conv in head.multi_level_conv_cls:
            conv.weight = torch.nn.Parameter(torch.randn(classes, 64, 1, 1))
            conv.bias = torch.nn.Parameter(torch.randn(classes))
    image = torch.from_numpy(golden['out_network_input'])
    imgs = torch.stack([image, image.flip(-1)])
    shapes = [(120, 180), (60, 90)]
    frames = [
        DetDataSample(
            metainfo=dict(ori_shape=shape, scale_factor=(90 / shape[1], 60 / shape[0]))
        )
        for shape in shapes
    ]
    assert is_yolox(model.detector)
    counts = []
    for threshold in (head.test_cfg.score_thr, 1.0):  # nothing is above the second
        head.test_cfg.score_thr = threshold
        found = find_on_host(model.detector, imgs, frames)
        expected = model.detector.predict(imgs, frames)
        counts += [len(instances) for instances in found]
        for mine, sample in zip(found, expected, strict=True):
            theirs = sample.pred_instances
            assert set(mine.keys()) == set(theirs.keys())
            for name, column in theirs.items():
                assert mine[name].dtype == column.dtype
                torch.testing.assert_close(mine[name], column, rtol=0, atol=0)
    assert counts[0] > 10 and counts[1] > 10 and counts[2:] == [0, 0]


@torch.no_grad()
def test_scores_that_are_nan_are_refused_and_not_dropped(golden, tracker):
    """MMDetection finds nothing in such a frame, as if it were empty."""
    image = torch.from_numpy(golden['out_network_input'])
    meta = dict(ori_shape=(60, 90), scale_factor=(1, 1), frame_id=0)
    frame = DetDataSample(metainfo=meta)
    tracker.detect(torch.full_like(image, torch.nan)[None], [frame])
    with pytest.raises(ValueError, match='found NaN .* frame 0'):
        tracker.associate(frame, new_tracker(tracker))


def _suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores):
        if scores[i] >= 0.1 and all(
            _iou(boxes[i], boxes[j]) <= threshold for j in kept
        ):
            kept.append(int(i))
    return kept


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.clip(high - low, 0, None))
    areas = [np.prod(box[2:] - box[:2]) for box in (a, b)]
    return float(shared / (sum(areas) - shared))
