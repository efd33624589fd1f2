# Copyright (c) mmfdta authors.
"""A part of a model has a file of its own: DeepSORT's network for re-identification."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet.models.trackers import QuasiDenseTracker
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfdta.apis.config import find_config, load_config
from mmfdta.apis.model_loading import build_tracker, part_checkpoints, read_parts
from mmfdta.checkpoints import CheckpointMismatchError
from mmfdta.engine import ExactWeightsHook

SHAPE = (64, 96)


def small(name: str) -> Config:
    """The config with a small Faster R-CNN."""
    init_default_scope('mmdet')
    config = Config.fromfile(find_config(name))
    detector = config.model.detector
    detector.backbone.update(depth=18, base_channels=8, style='pytorch')
    detector.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    detector.rpn_head.update(in_channels=16, feat_channels=16)
    detector.rpn_head.anchor_generator.scales = [2]
    detector.roi_head.bbox_roi_extractor.out_channels = 16
    detector.roi_head.bbox_head.update(in_channels=16, fc_out_channels=16)
    detector.test_cfg.rpn.update(nms_pre=60, max_per_img=40)
    detector.test_cfg.rcnn.score_thr = 0.0
    return config


@pytest.fixture
def files(tmp_path: Path):
    """Config, a detector alone, and a network with the identities it was taught."""
    config = small('deepsort_faster-rcnn_mot17')
    network = config.model.embeddings.network
    network.update(depth=18, base_channels=8, fc_channels=16, out_channels=12)
    torch.manual_seed(1)
    whole = MODELS.build(config.model)
    torch.save(whole.detector.state_dict(), tmp_path / 'detector.pth')
    reid = whole.embeddings.network.state_dict() | {
        'head.bn.weight': torch.ones(12),
        'head.classifier.weight': torch.ones(380, 12),
    }
    torch.save(dict(state_dict=reid), tmp_path / 'reid.pth')
    torch.save(dict(state_dict=whole.state_dict()), tmp_path / 'whole.pth')
    config.part_checkpoints = {'embeddings.network': str(tmp_path / 'reid.pth')}
    return config, whole, tmp_path


def test_both_files_fill_the_model(files):
    config, whole, folder = files
    for name in ('detector.pth', 'whole.pth'):
        model = build_tracker(config, folder / name, 'cpu')
        found, expected = model.state_dict(), whole.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[n], expected[n]) for n in expected)
    # A file of all parts is taken before the part's own.
    torch.save(
        {n: torch.zeros_like(w) for n, w in whole.state_dict().items()},
        folder / 'zeros.pth',
    )
    model = build_tracker(config, folder / 'zeros.pth', 'cpu')
    assert not model.embeddings.network.head.fc_out.weight.any()


def test_the_runner_takes_both(files):
    """As `mmfdta test` does."""
    config, whole, folder = files
    hook = ExactWeightsHook(parts=read_parts(config, whole))
    inner = {f'detector.{n}': w for n, w in whole.detector.state_dict().items()}
    checkpoint = dict(state_dict=inner)
    hook.after_load_checkpoint(SimpleNamespace(model=whole), checkpoint)
    assert checkpoint['state_dict'].keys() == whole.state_dict().keys()


def test_a_setting_of_the_command_line_names_another_file():
    settings = {
        'part_checkpoints.embeddings.network': 'mine.pth',
        'detector_checkpoint': 'detector.pth',
    }
    config = load_config('deepsort_faster-rcnn_mot17', settings)
    assert part_checkpoints(config) == {
        'embeddings.network': 'mine.pth',
        'detector': 'detector.pth',
    }


def test_what_does_not_fit_is_named(files):
    config, whole, folder = files
    with pytest.raises(CheckpointMismatchError, match=r'missing: embeddings\.network'):
        plain = Config(config.to_dict())
        plain.pop('part_checkpoints')
        build_tracker(plain, folder / 'detector.pth', 'cpu')
    config.part_checkpoints = {'embeddings.network': str(folder / 'detector.pth')}
    with pytest.raises(
        CheckpointMismatchError,
        match=r'detector\.pth does not fit model\.embeddings\.network',
    ):
        read_parts(config, whole)
    config.part_checkpoints = {'reid': str(folder / 'reid.pth')}
    with pytest.raises(ValueError, match='found reid, .* it has .*embeddings'):
        read_parts(config, whole)


def clip(number: int) -> TrackDataSample:
    sample = TrackDataSample()
    meta = dict(frame_id=number, img_shape=SHAPE, ori_shape=SHAPE, scale_factor=(1, 1))
    sample.video_data_samples = [DetDataSample(metainfo=meta)]
    return sample


def follow(model, images) -> list:
    found = []
    for number, image in enumerate(images):
        batch = dict(inputs=dict(img=[image[None]]), data_samples=[clip(number)])
        (sample,) = model.test_step(batch)
        found.append(sample[0].pred_track_instances)
    return found


def confident(config: Config):
    """A small model whose boxes have scores away from each other and from 0."""
    torch.manual_seed(2)
    model = MODELS.build(config.model).eval()
    head = model.detector.roi_head.bbox_head
    with torch.no_grad():
        head.fc_cls.weight.mul_(20)
        head.fc_cls.bias.copy_(torch.tensor([2.0, 0.0]))
    return model


@torch.no_grad()
@pytest.mark.parametrize('name', ['deepsort', 'qdtrack'])
def test_an_image_that_stands_still_keeps_its_identities(name: str):
    """Without compiled operators: RoI align, suppression and heads of MMDetection."""
    config = small(f'{name}_faster-rcnn_mot17')
    if name == 'qdtrack':
        config.model.tracker.update(init_score_thr=0.5)
        head = config.model.track_head
        head.roi_extractor.out_channels = 16
        head.embed_head.update(
            in_channels=16,
            conv_out_channels=16,
            fc_out_channels=16,
            embed_channels=8,
            norm_cfg=dict(type='GN', num_groups=4),
        )
    else:
        network = config.model.embeddings.network
        network.update(depth=18, base_channels=8, fc_channels=16, out_channels=12)
    # Boxes that cover each other are one object.
    config.model.detector.test_cfg.rcnn.nms.iou_threshold = 0.05
    # Random embeddings tell nobody apart.
    config.model.detector.test_cfg.rcnn.max_per_img = 1 if name == 'qdtrack' else 6
    model = confident(config)
    image = torch.randint(0, 256, (3, *SHAPE), dtype=torch.uint8)
    tracks = follow(model, [image] * 4)
    last = sorted(tracks[-1].instances_id.tolist())
    assert last
    assert last == sorted(tracks[-2].instances_id.tolist())
    assert all(part.bboxes.isfinite().all() for part in tracks)
    assert all({'scores', 'labels'} <= set(part.keys()) for part in tracks)
    if name == 'qdtrack':
        assert isinstance(model.tracker, QuasiDenseTracker)
