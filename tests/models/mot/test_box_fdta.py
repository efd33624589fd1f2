# Copyright (c) mmfdta authors.
"""FDTA's association on boxes of any detector."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from small_fdta import build, collate, make_clip, small_config

from mmfdta.apis.config_check import check_config
from mmfdta.apis.export.graphs import refuse_model
from mmfdta.apis.inferencer import MOTInferencer
from mmfdta.apis.model_loading import build_tracker
from mmfdta.checkpoints import CheckpointError
from mmfdta.models import BoxFDTA
from mmfdta.models.association import box_rows
from mmfdta.models.mot.box_fdta import share_box_sizes
from mmfdta.models.trackers import IdentityGallery

CONFIGS = Path(__file__).parents[3] / 'configs'
SIZE = (64, 96)


def small_model(looks: int = 0, **more) -> BoxFDTA:
    """With ``looks`` channels of embeddings, FDTA's small detector has the boxes."""
    init_default_scope('mmdet')
    base = Config.fromfile(CONFIGS / 'boxes_mini.py')
    model = base.model
    model.update(embed_dims=32, num_id_vocabulary=6, window=8, **more)
    model.id_decoder.update(id_dims=32, num_layers=2, head_dims=16)
    if looks:
        model.detector = small_config().detector
        model.box_encoder.looks_dims = looks
    return build(model)


def without_pixels(clip: dict) -> dict:
    clip['inputs'] = dict(img=torch.zeros(len(clip['inputs']['img']), 3, 0, 0).byte())
    return clip


def as_detections(frame: DetDataSample, number: int) -> DetDataSample:
    gt = frame.gt_instances
    found = DetDataSample(metainfo=dict(ori_shape=SIZE, frame_id=number))
    found.pred_instances = InstanceData(
        bboxes=gt.bboxes, scores=torch.ones(len(gt)), labels=gt.labels
    )
    return found


def test_training_and_tracking_score_the_same():
    """The last frame of a clip, and the same frame after the tracker's history."""
    model = small_model().eval()
    clip = make_clip(num_frames=6, size=SIZE, with_depth=False)
    (targets,) = clip['data_samples'].id_targets
    # One group without occlusions and switches: what the tracker remembers.
    for side in ('trajectory', 'unknown'):
        targets.set_field(targets.unknown_ann_idxs[:1].clone(), f'{side}_ann_idxs')
        targets.set_field(targets.unknown_ann_idxs[:1] < 0, f'{side}_id_masks')
        targets.set_field(targets.trajectory_id_labels[:1], f'{side}_id_labels')
    seen: dict = {}
    model.loss_id.register_forward_pre_hook(lambda _, x: seen.update(logits=x[0]))
    frames = [*clip['data_samples']]
    with torch.no_grad():
        batch = model.data_preprocessor(collate(without_pixels(clip)), True)
        model(**batch, mode='loss')
        tables = [box_rows(f.gt_instances.bboxes, torch.ones(3), SIZE) for f in frames]
        columns = targets.trajectory_ann_idxs[0]
        history = torch.stack(
            [table[order] for table, order in zip(tables, columns, strict=True)]
        )
        logits = model.id_decoder.score_frame(
            model.refine(history[:5], torch.zeros(5, 3, dtype=torch.bool)),
            torch.zeros(5, 3, dtype=torch.bool),
            targets.trajectory_id_labels[0, 0],
            model.box_encoder.encode_detections(history[5]),
        )
    torch.testing.assert_close(seen['logits'][0, 0, 5], logits, atol=1e-5, rtol=1e-4)


def test_frames_of_any_number_of_detections_are_tracked():
    model = small_model().eval()
    frames = [*make_clip(num_frames=4, size=SIZE, with_depth=False)['data_samples']]
    for number, kept in enumerate((3, 0, 1, 3)):
        frame = as_detections(frames[number], number)
        frame.pred_instances = frame.pred_instances[:kept]
        with torch.no_grad():
            tracks = model.associate(frame).pred_track_instances
        assert len(tracks) == len(frame.pred_det_instances) == kept
        assert len({*tracks.instances_id.tolist()}) == kept


def test_the_order_of_detections_does_not_matter():
    """Stored detections come in another order than fresh ones."""
    found = []
    for backwards in (False, True):
        model = small_model().eval()
        clip = make_clip(num_frames=4, size=SIZE, with_depth=False)
        tracks = []
        for number, gt in enumerate(clip['data_samples']):
            frame = as_detections(gt, number)
            frame.pred_instances.scores = torch.tensor([0.7, 0.9, 0.8])
            if backwards:
                frame.pred_instances = frame.pred_instances[[2, 1, 0]]
            with torch.no_grad():
                tracks.append(model.associate(frame).pred_track_instances)
        found.append(tracks)
    for one, other in zip(*found, strict=True):
        assert one.bboxes.tolist() == other.bboxes.tolist()
        assert one.instances_id.tolist() == other.instances_id.tolist()


def test_the_detector_stays_as_it_is_and_learns_nothing():
    model = small_model(looks=32)
    before = {k: v.clone() for k, v in model.detector.state_dict().items()}
    clip = make_clip(num_frames=3, size=SIZE, with_depth=False)
    model.tracker.det_thr = 0.0
    batch = model.train().data_preprocessor(collate(clip), True)
    loss = model(**batch, mode='loss')['loss_id']
    loss.backward()
    assert not model.detector.training
    assert all(p.grad is None for p in model.detector.parameters())
    learning = [n for n, p in model.named_parameters() if p.requires_grad]
    assert not any(name.startswith('detector.') for name in learning)
    for name, value in model.detector.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_network_that_embeds_crops_stays_as_it_is():
    network = dict(depth=18, base_channels=8, fc_channels=16, out_channels=24)
    network['type'] = 'ReIDNetwork'
    crops = dict(type='CropEmbeddings', size=(32, 16), network=network)
    model = small_model(looks=24, embeddings=crops)
    before = {k: v.clone() for k, v in model.embeddings.state_dict().items()}
    clip = make_clip(num_frames=3, size=SIZE, with_depth=False)
    model.tracker.det_thr = 0.0
    batch = model.train().data_preprocessor(collate(clip), True)
    model(**batch, mode='loss')['loss_id'].backward()
    assert not any(part.training for part in model.embeddings.modules())
    assert not any(p.requires_grad for p in model.embeddings.parameters())
    for name, value in model.embeddings.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_detections_are_matched_with_the_objects_that_they_cover():
    """In pixels of the input, whatever part of the file it shows."""
    model = small_model(looks=32)
    model.tracker.det_thr = 0.3
    # Half of the width of a file of 128x192, resized to half of its height.
    frame = DetDataSample(
        metainfo=dict(img_shape=(64, 96), ori_shape=(128, 192), scale_factor=(1.0, 0.5))
    )
    frame.gt_instances = InstanceData(
        bboxes=torch.tensor(
            [[10.0, 10, 30, 50], [50, 5, 80, 60], [0, 0, 8, 8], [90, 60, 96, 64]]
        )
    )
    boxes = torch.tensor(
        [
            [51.0, 5, 80, 60],  # the second object
            [10, 12, 30, 50],  # the first, by 0.95
            [10, 10, 30, 50],  # the first, exactly, with too low a score
            [0, 0, 8, 3.6],  # the third, by 0.46
        ]
    )
    scores = torch.tensor([0.9, 0.8, 0.3, 0.7])

    class Found(torch.nn.Module):
        """Finds the boxes in its input, and rescales them as MMDetection does."""

        def predict(self, imgs, frames, rescale=True):
            for frame in frames:
                scale = torch.tensor(frame.scale_factor).repeat(2)
                frame.pred_instances = InstanceData(
                    bboxes=boxes / scale if rescale else boxes.clone(),
                    scores=scores.clone(),
                    labels=torch.zeros(4).long(),
                    embeddings=torch.ones(4, 32),
                )
            return frames

    model.detector = Found()
    (table,), (match,) = model._detected(torch.zeros(1, 3, 64, 96), [frame])
    assert match.tolist() == [1, 0, -1, -1]
    expected = box_rows(boxes, scores, (64, 96), torch.ones(4, 32))
    torch.testing.assert_close(table, expected, rtol=0, atol=0)


@torch.no_grad()
def test_a_temporal_adapter_refines_the_history():
    model = small_model().eval()
    rows, masks = torch.rand(5, 3, 5), torch.zeros(5, 3, dtype=torch.bool)
    with_adapter = model.refine(rows, masks)
    model.temporal_adapter = None
    assert not torch.allclose(model.refine(rows, masks), with_adapter, atol=1e-3)


def test_clips_without_objects_have_a_loss():
    model = small_model().train()
    clip = without_pixels(make_clip(num_frames=3, size=SIZE, num_objects=0))
    batch = model.data_preprocessor(collate(clip), True)
    loss = model(**batch, mode='loss')['loss_id']
    loss.backward()
    assert loss == 0


def test_looks_are_what_the_detector_gives_and_stay_on_the_frame():
    model = small_model(looks=32).eval()
    clip = make_clip(num_frames=2, size=SIZE, with_depth=False)
    model.tracker.det_thr = model.tracker.newborn_thr = 0.0
    batch = model.data_preprocessor(collate(clip), False)
    for number, frame in enumerate(batch['data_samples'][0]):
        frame.set_metainfo(dict(ori_shape=SIZE, frame_id=number))
    with torch.no_grad():
        (frames,) = model(**batch, mode='predict')
    assert frames[0].pred_instances.embeddings.shape[1] == 32
    assert len(frames[1].pred_track_instances)


def test_what_does_not_fit_is_said_in_a_line():
    model = small_model(looks=32)
    frame = as_detections(make_clip(num_frames=1, size=SIZE)['data_samples'][0], 0)
    with pytest.raises(ValueError, match='looks_dims = 32, .* have no embeddings'):
        model.associate(frame)
    clip = without_pixels(make_clip(num_frames=2, size=SIZE))
    batch = model.data_preprocessor(collate(clip), True)
    with pytest.raises(ValueError, match='looks_dims: found clips without pixels'):
        model(**batch, mode='loss')
    batch = model.data_preprocessor(collate(make_clip(num_frames=2, size=SIZE)), True)
    with pytest.raises(ValueError, match='found TextDetections and clips with images'):
        small_model()(**batch, mode='loss')
    with pytest.raises(ValueError, match='found BoxFDTA'):
        refuse_model(BoxFDTA)
    inferencer = MOTInferencer.__new__(MOTInferencer)
    inferencer.model = model
    with pytest.raises(ValueError, match='gallery: found BoxFDTA'):
        inferencer._put_around_tracker(IdentityGallery())
    config = Config.fromfile(CONFIGS / 'boxes_mini.py')
    around = dict(type='GalleryTracker', tracker=config.model.tracker)
    with pytest.raises(ValueError, match='found GalleryTracker, expected'):
        share_box_sizes(dict(config.model, tracker=around))
    config.model.window = 8
    with pytest.raises(ValueError, match='window'):
        check_config(config)


def test_the_detector_comes_out_of_a_checkpoint_of_its_own(tmp_path):
    init_default_scope('mmdet')
    config = Config.fromfile(CONFIGS / 'boxes_fdta-det_mini.py')
    torch.manual_seed(0)
    trained = MODELS.build(Config.fromfile(CONFIGS / 'boxes_mini.py').model)
    fdta = MODELS.build(Config.fromfile(CONFIGS / 'fdta_mini.py').model)
    torch.save(dict(state_dict=trained.state_dict()), tmp_path / 'boxes.pth')
    torch.save(dict(state_dict=fdta.state_dict()), tmp_path / 'fdta.pth')
    config.detector_checkpoint = str(tmp_path / 'fdta.pth')
    model = build_tracker(config, tmp_path / 'boxes.pth', 'cpu')
    expected = {**trained.state_dict()}
    expected |= {
        name: value
        for name, value in fdta.state_dict().items()
        if name.startswith('detector.')
    }
    found = model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    config.detector_checkpoint = str(tmp_path / 'boxes.pth')
    with pytest.raises(
        CheckpointError, match=r'boxes\.pth does not fit model\.detector'
    ):
        build_tracker(config, tmp_path / 'boxes.pth', 'cpu')
