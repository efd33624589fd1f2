# Copyright (c) mmfdta authors.
"""The whole model: losses, gradients, batches, tracking, switches."""

import pytest
import torch
from mmdet.structures import TrackDataSample
from mmengine.config import Config
from mmengine.logging import MessageHub
from small_fdta import build, collate, make_clip, small_config

from mmfdta.models import FDTA
from mmfdta.models.losses import depth_targets


@pytest.fixture
def config() -> Config:
    MessageHub.get_current_instance().update_info('epoch', 1)
    return small_config()


def _loss(model: FDTA, *clips: dict, order: list[int] | None = None) -> dict:
    if order is not None:
        model.clip_detection.frame_order = lambda length: torch.tensor(order)
    torch.manual_seed(0)
    batch = model.data_preprocessor(collate(*clips), training=True)
    return model(**batch, mode='loss')


def _no_dropout(model: FDTA) -> FDTA:
    for module in model.modules():
        if hasattr(module, 'dropout') and isinstance(module.dropout, float):
            module.dropout = 0.0
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def _gradients(model: FDTA, losses: dict) -> dict[str, torch.Tensor]:
    model.zero_grad()
    sum(losses.values()).backward()
    return {
        k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None
    }


def test_every_parameter_learns(config: Config):
    model = build(config).train()
    with torch.no_grad():  # away from layers that start at zero
        for p in model.parameters():
            p += 0.02 * torch.randn_like(p)
    losses = _loss(model, make_clip())
    assert {'loss_depth', 'loss_contrastive', 'loss_id', 'd0.loss_cls'} <= losses.keys()
    assert all(v.isfinite() for v in losses.values())
    grads = _gradients(model, losses)
    expected = {k for k, p in model.named_parameters() if p.requires_grad}
    assert grads.keys() == expected
    silent = {k for k, g in grads.items() if not g.any()}
    assert not silent


def test_training_lowers_the_loss(config: Config):
    model = build(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(8):
        losses = _loss(model, make_clip(), order=[0, 1, 2, 3])
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.9 * totals[0]


def test_contrast_rests_in_the_first_epoch(config: Config):
    model = build(config).train()
    MessageHub.get_current_instance().update_info('epoch', 0)
    losses = _loss(model, make_clip())
    assert losses['loss_contrastive'] == 0
    grads = _gradients(model, losses)
    assert not any(
        g.any() for k, g in grads.items() if k.startswith('identity_adapter')
    )


@pytest.mark.parametrize(
    ('part', 'absent'),
    [
        ('temporal_adapter', 'temporal_adapter.'),
        ('identity_adapter', 'identity_adapter.'),
        ('spatial_adapter', 'detector.spatial_adapter.'),
    ],
)
def test_adapters_can_be_taken_out(config: Config, part: str, absent: str):
    owner = config.detector if part == 'spatial_adapter' else config
    owner[part] = None
    model = build(config).train()
    assert not any(k.startswith(absent) for k in model.state_dict())
    losses = _loss(model, make_clip())
    assert ('loss_contrastive' in losses) == (part != 'identity_adapter')
    assert ('loss_depth' in losses) == (part != 'spatial_adapter')
    sum(losses.values()).backward()


def test_without_depth_maps_the_depth_loss_is_off(config: Config):
    losses = _loss(build(config).train(), make_clip(with_depth=False))
    assert 'loss_depth' not in losses
    assert 'loss_id' in losses


@pytest.mark.parametrize('place', [0, 1])
def test_the_depth_loss_is_that_of_the_clips_with_maps(config: Config, place: int):
    """Its divisor has the boxes of both, as that of all other losses."""
    model = _no_dropout(build(config)).train()
    clips = [make_clip(seed=0), make_clip(seed=1, num_objects=5)]
    order = [1, 3, 0, 2]
    complete = _loss(model, *clips, order=order)
    known = _loss(model, clips[1 - place], order=order)['loss_depth']
    clips[place]['inputs']['depth'] = None
    found = _loss(model, *clips, order=order)
    expected = known * (5 if place == 0 else 3) / (3 + 5)
    torch.testing.assert_close(found.pop('loss_depth'), expected)
    complete.pop('loss_depth')
    torch.testing.assert_close(found, complete)


def test_chunks_and_checkpointing_change_nothing(config: Config):
    results = []
    for grad_chunk, no_grad_chunk in ((0, 0), (1, 1)):
        config.clip_detection.update(grad_chunk=grad_chunk, no_grad_chunk=no_grad_chunk)
        model = _no_dropout(build(config)).train()
        losses = _loss(model, make_clip(), order=[2, 0, 3, 1])
        results.append((losses, _gradients(model, losses)))
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-3)


def test_only_chosen_frames_carry_gradients(config: Config):
    model = build(config).train()
    batch = model.data_preprocessor(collate(make_clip()), training=True)
    batch['inputs']['img'].requires_grad_()
    model.clip_detection.frame_order = lambda length: torch.tensor([2, 0, 3, 1])
    sum(model(**batch, mode='loss').values()).backward()
    touched = batch['inputs']['img'].grad[0].flatten(1).abs().sum(1) > 0
    assert touched.tolist() == [True, False, True, False]


def test_two_clips_weigh_like_two_processes(config: Config):
    """A batch of two clips has the mean of what two processes would compute."""
    model = _no_dropout(build(config)).train()
    clips = [make_clip(seed=0), make_clip(seed=1, num_objects=5)]
    order = [1, 3, 0, 2]
    both = _loss(model, *clips, order=order)
    boxes = [3 * 4, 5 * 4]
    singles = [_loss(model, clip, order=order) for clip in clips]
    for name, value in both.items():
        if name == 'loss_contrastive':
            expected = sum(s[name] for s in singles) / 2
        elif name == 'loss_id':
            counts = [
                (~c['data_samples'].id_targets[0].unknown_id_masks[:, 1:]).sum()
                for c in clips
            ]
            expected = sum(s[name] * n for s, n in zip(singles, counts, strict=True))
            expected = expected / sum(counts)
        else:
            expected = sum(s[name] * n for s, n in zip(singles, boxes, strict=True))
            expected = expected / sum(boxes)
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5, msg=name)


@torch.no_grad()
def test_features_of_padding_reach_no_query(config: Config):
    """Only depth sees them: its convolutions run over the border of the image."""
    config.detector.spatial_adapter = None
    config.detector.bbox_head.loss_depth = None
    model = build(config).eval()
    for p in model.parameters():  # away from layers that start at zero
        p += 0.02 * torch.randn_like(p)
    clips = make_clip(size=(64, 96)), make_clip(size=(96, 128), seed=1)
    batch = model.data_preprocessor(collate(*clips), training=True)
    frames = [frame for clip in batch['data_samples'] for frame in clip]
    feats = model.detector.extract_feat(batch['inputs']['img'].flatten(0, 1))
    padding = torch.zeros(8, 1, 96, 128)
    padding[:4, :, 64:] = padding[:4, ..., 96:] = 1
    noisy = [
        feat + 100 * torch.nn.functional.interpolate(padding, feat.shape[2:])
        for feat in feats
    ]
    found, expected = (
        model.detector.bbox_head(**model.detector.forward_transformer(x, frames))
        for x in (noisy, feats)
    )
    for name in ('cls_scores', 'bbox_preds', 'embeddings'):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


@torch.no_grad()
def test_tracking_a_sequence(config: Config):
    config.tracker.update(det_thr=0.0, newborn_thr=0.0)
    model = build(config).eval()
    clip = make_clip(num_frames=3)
    seen = []
    for t in range(3):
        sample = TrackDataSample()
        sample.video_data_samples = [clip['data_samples'][t]]
        frame = dict(
            inputs=dict(img=clip['inputs']['img'][t : t + 1]), data_samples=sample
        )
        batch = model.data_preprocessor(collate(frame))
        tracks = model(**batch, mode='predict')[0][0].pred_track_instances
        assert len(set(tracks.instances_id.tolist())) == len(tracks)
        assert tracks.bboxes.shape == (len(tracks), 4)
        seen.append(tracks.instances_id)
    assert len(seen[0])

    whole = model.data_preprocessor(collate(clip))
    frames = model(**whole, mode='predict')[0]
    for ids, frame in zip(seen, frames, strict=True):
        assert torch.equal(ids, frame.pred_track_instances.instances_id)


@torch.no_grad()
def test_tensor_mode(config: Config):
    model = build(config).eval()
    batch = model.data_preprocessor(collate(make_clip(num_frames=2)))
    outputs = model(**batch, mode='tensor')
    assert outputs.cls_scores.shape == (3, 2, 12, 1)
    assert outputs.embeddings.shape == (2, 12, 32)


def test_clip_longer_than_the_time_table(config: Config):
    config.window = 3
    with pytest.raises(ValueError, match='a clip has 4 frames'):
        _loss(build(config), make_clip(num_frames=4))


@pytest.mark.parametrize(
    ('key', 'value', 'said'),
    [
        # Its largest distance is 8, and a table of 8 numbers ends with 7.
        ('tracker.miss_tolerance', 9, 'model.window = 8'),
        ('tracker.num_id_vocabulary', 7, 'model.num_id_vocabulary = 6'),
        ('id_decoder.num_id_vocabulary', 7, 'model.num_id_vocabulary = 6'),
        ('id_decoder.max_relative_time', 9, 'model.window = 8'),
        ('temporal_adapter.embed_dims', 16, 'bbox_head.embed_dims = 32'),
        ('detector.spatial_adapter.embed_dims', 16, 'bbox_head.embed_dims = 32'),
        ('detector.bbox_head.loss_depth.num_bins', 9, 'spatial_adapter.num_bins = 10'),
        ('detector.bbox_head.loss_depth.depth_max', 255.0, 'r.depth_max = 100.0'),
        ('detector.bbox_head.loss_depth.depth_min', 1.0, 'r.depth_min = 0.001'),
        ('detector.as_two_stage', True, 'expected False'),
    ],
)
def test_config_that_cannot_work(config: Config, key: str, value, said: str):
    config.detector.spatial_adapter.update(depth_min=1e-3, depth_max=100.0)
    *path, name = key.split('.')
    part = config
    for step in path:
        part = part[step]
    part[name] = value
    with pytest.raises(ValueError, match=f'model.{key}') as caught:
        build(config)
    assert said in str(caught.value) and '\n' not in str(caught.value)


def test_numbers_are_handed_down(config: Config):
    model = build(config)
    assert model.temporal_adapter.layers[0].norm1.weight.shape == (32,)
    assert model.id_decoder.num_id_vocabulary == 6
    assert model.id_decoder.max_relative_time == 8
    tracker = model.tracker
    assert (tracker.embed_dims, tracker.num_id_vocabulary) == (32, 6)
    assert tracker.miss_tolerance == 8
    assert model.detector.bbox_head.loss_depth.num_bins == 10


def test_depth_is_taught_and_read_by_the_same_bins(config: Config):
    """What the loss teaches for a depth, the adapter reads as the edge below it."""
    config.detector.spatial_adapter.update(depth_min=2.0, depth_max=100.0)
    detector = build(config).detector
    taught, loss = torch.linspace(2.5, 99.5, 50), detector.bbox_head.loss_depth
    bins = depth_targets(
        taught.view(1, 1, 1, -1), (1, 50), loss.num_bins, loss.depth_min, loss.depth_max
    )
    edges = detector.spatial_adapter.bin_values
    assert ((edges[bins[0, 0]] <= taught) & (taught < edges[bins[0, 0] + 1])).all()


def test_a_config_of_0_1_says_numbers_in_every_part(config: Config):
    for name in ('num_id_vocabulary', 'window'):
        config.pop(name)
    config.id_decoder.update(feature_dims=32, num_id_vocabulary=9, max_relative_time=12)
    config.tracker.update(embed_dims=32, num_id_vocabulary=9, miss_tolerance=11)
    model = build(config)
    assert model.window == model.id_decoder.max_relative_time == 12
    assert model.tracker.num_id_vocabulary == model.id_decoder.num_id_vocabulary == 9
    assert model.tracker.miss_tolerance == 11
    config.tracker.num_id_vocabulary = 8
    with pytest.raises(ValueError, match='it is enough to set model.num_id_vocab'):
        build(config)


def test_clip_without_objects(config: Config):
    model = build(config).train()
    losses = _loss(model, make_clip(num_objects=0))
    grads = _gradients(model, losses)
    assert all(v.isfinite() for v in losses.values())
    assert all(g.isfinite().all() for g in grads.values())


def test_more_objects_than_queries_and_words(config: Config):
    model = build(config).train()
    losses = _loss(model, make_clip(num_objects=20))
    grads = _gradients(model, losses)
    assert all(v.isfinite() for v in losses.values())
    assert all(g.isfinite().all() for g in grads.values())


def test_half_precision_training(config: Config):
    """Under autocast losses stay in float32 and near those of float32."""
    model = _no_dropout(build(config)).train()
    plain = _loss(model, make_clip(), order=[0, 1, 2, 3])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = _loss(model, make_clip(), order=[0, 1, 2, 3])
    for name, value in half.items():
        assert value.dtype == torch.float32, name
        torch.testing.assert_close(value, plain[name], rtol=0.1, atol=0.05, msg=name)
    grads = _gradients(model, half)
    assert all(g.isfinite().all() for g in grads.values())


@torch.no_grad()
def test_half_precision_tracking(config: Config):
    config.tracker.update(det_thr=0.0, newborn_thr=0.0)
    model = build(config).eval()
    batch = model.data_preprocessor(collate(make_clip(num_frames=3)))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        frames = model(**batch, mode='predict')[0]
    assert len(frames[2].pred_track_instances)
