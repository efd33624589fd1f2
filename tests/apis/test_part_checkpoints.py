# Copyright (c) mmfdta authors.
"""A part of a model has a file of its own: DeepSORT's network for re-identification."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.models.trackers import QuasiDenseTracker
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmfdta.apis.config import find_config, load_config
from mmfdta.apis.model_loading import build_tracker, part_checkpoints, read_parts
from mmfdta.checkpoints import CheckpointMismatchError
from mmfdta.cli.main import main
from mmfdta.engine import ExactWeightsHook
from mmfdta.structures.mot_text import read_tracks

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


def small_qdtrack() -> Config:
    config = small('qdtrack_faster-rcnn_mot17')
    head = config.model.track_head
    head.roi_extractor.out_channels = 16
    head.embed_head.update(
        in_channels=16,
        conv_out_channels=16,
        fc_out_channels=16,
        embed_channels=8,
        norm_cfg=dict(type='GN', num_groups=4),
    )
    return config


def small_deepsort() -> Config:
    config = small('deepsort_faster-rcnn_mot17')
    network = config.model.embeddings.network
    network.update(depth=18, base_channels=8, fc_channels=16, out_channels=12)
    return config


@torch.no_grad()
@pytest.mark.parametrize('name', ['deepsort', 'qdtrack'])
def test_an_image_that_stands_still_keeps_its_identities(name: str):
    """Without compiled operators: RoI align, suppression and heads of MMDetection."""
    config = small_qdtrack() if name == 'qdtrack' else small_deepsort()
    if name == 'qdtrack':
        config.model.tracker.update(init_score_thr=0.5)
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


@torch.no_grad()
def test_qdtrack_follows_looks_wherever_they_are():
    """Six cards swap places, and some are away for a while; boxes are given.

    Places say nothing, so every identity comes from features, RoI align, embeddings
    and their comparison.
    """
    torch.manual_seed(4)
    cards = torch.randint(0, 256, (6, 3, 4, 4), dtype=torch.uint8)
    cards = cards.repeat_interleave(8, 2).repeat_interleave(8, 3)
    places = [(x, y) for y in (0, 64) for x in (0, 64, 128)]
    orders = [torch.randperm(6).tolist() for _ in range(6)]
    present = [set(range(6)), set(range(4)), {0, 2, 5}, set(range(6)), {5}, {0, 1, 2}]
    images, truth = [], []
    for order, there in zip(orders, present, strict=True):
        image = torch.full((3, 128, 192), 114, dtype=torch.uint8)
        found = [(card, places[order[card]]) for card in sorted(there)]
        for card, (x, y) in found:
            image[:, y + 16 : y + 48, x + 16 : x + 48] = cards[card]
        images.append(image)
        truth.append(
            [(card, [x + 16, y + 16, x + 48, y + 48]) for card, (x, y) in found]
        )
    model = MODELS.build(small_qdtrack().model).eval()
    boxes = iter(truth)

    def given(feats, proposals, samples, rescale):
        here = torch.tensor([box for _, box in next(boxes)]).float()
        scores = torch.linspace(0.99, 0.95, len(here))
        labels = torch.zeros(len(here), dtype=torch.int64)
        return [InstanceData(bboxes=here, scores=scores, labels=labels)]

    model.detector.roi_head.predict = given
    # Training spreads embeddings; here their mean is taken off, and they are scaled.
    layer = model.track_head.embed_head.fc_embed
    image = model.data_preprocessor(
        dict(inputs=dict(img=[images[0][None]]), data_samples=[clip(0)])
    )['inputs'][:, 0]
    everybody = [torch.tensor([box for _, box in truth[0]]).float()]
    embeds = model.track_head.predict(model.detector.extract_feat(image), everybody)
    scale = 12 / (embeds - embeds.mean(0)).norm(dim=1).mean()
    layer.bias.copy_((layer.bias - embeds.mean(0)) * scale)
    layer.weight.mul_(scale)

    identity = {}
    for tracks, expected in zip(follow(model, images), truth, strict=True):
        pairs = zip(tracks.bboxes.tolist(), tracks.instances_id.tolist(), strict=True)
        found = {tuple(box): number for box, number in pairs}
        assert len(found) == len(expected)
        for card, box in expected:
            assert identity.setdefault(card, found[tuple(box)]) == found[tuple(box)]
    assert len(set(identity.values())) == 6


@torch.no_grad()
def test_deepsort_by_the_command_with_a_file_for_each_part(tmp_path, capsys):
    """On the second half of a video of MOT17, of which nothing moves."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (*SHAPE, 1), dtype=np.uint8).repeat(3, 2)
    folder = tmp_path / 'MOT17/train/MOT17-02-FRCNN'
    (folder / 'img1').mkdir(parents=True)
    for frame in range(1, 13):
        cv2.imwrite(str(folder / f'img1/{frame:06d}.png'), picture)
    (folder / 'seqinfo.ini').write_text(
        '[Sequence]\nname=MOT17-02-FRCNN\nimDir=img1\nframeRate=30\nseqLength=12\n'
        f'imWidth={SHAPE[1]}\nimHeight={SHAPE[0]}\nimExt=.png\n'
    )
    (folder / 'gt').mkdir()
    rows = [f'{frame},1,10,10,20,30,1,1,1\n' for frame in range(1, 13)]
    (folder / 'gt/gt.txt').write_text(''.join(rows))

    config = small_deepsort()
    config.model.detector.test_cfg.rcnn.nms.iou_threshold = 0.05
    config.model.detector.test_cfg.rcnn.max_per_img = 6
    config.model.tracker.obj_score_thr = 0.0
    data = config.test_dataloader
    data.update(num_workers=0, persistent_workers=False)
    data.dataset.data_root = str(tmp_path / 'MOT17')
    data.dataset.pipeline[0].transforms[1].update(short=SHAPE[0], max_long=SHAPE[1])
    model = confident(config)
    torch.save(model.detector.state_dict(), tmp_path / 'detector.pth')
    reid = model.embeddings.network.state_dict()
    torch.save(dict(state_dict=reid), tmp_path / 'reid.pth')
    config.part_checkpoints = {'embeddings.network': str(tmp_path / 'reid.pth')}
    config.work_dir = str(tmp_path / 'work')
    config.dump(tmp_path / 'small.py')

    out = tmp_path / 'tracks'
    files = str(tmp_path / 'small.py'), str(tmp_path / 'detector.pth')
    assert main(['test', *files, '--out', str(out)]) == 0
    assert 'HOTA' in capsys.readouterr().out
    written = read_tracks(out / 'MOT17-02-FRCNN.txt')
    image = torch.from_numpy(picture).permute(2, 0, 1)
    expected = follow(model, [image] * 5)  # of 12 frames the last five
    assert sorted(set(written.frame.tolist())) == [1, 2, 3, 4, 5]
    for number, tracks in enumerate(expected, start=1):
        here = written.select(written.frame == number)
        assert len(here) == len(tracks) > 1
        order, other = here.identity.argsort(), tracks.instances_id.argsort()
        assert here.identity[order].tolist() == tracks.instances_id[other].tolist()
        np.testing.assert_allclose(here.xyxy[order], tracks.bboxes[other], atol=2e-3)
