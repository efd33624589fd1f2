# Copyright (c) mmfdta authors.
"""MOTR as a whole: losses, gradients, batches, tracking."""

import pytest
import torch
from mmdet.structures import TrackDataSample
from mmengine.config import Config
from small_fdta import build, collate, make_clip
from small_motr import small_motr_config

from mmfdta.models import MOTR


@pytest.fixture
def config() -> Config:
    """Every matched query goes on as a track."""
    config = small_motr_config()
    config.query_sampling = dict(drop_prob=0.0, insert_prob=0.3, min_iou=-1.0)
    return config


def _clip(**kwargs) -> dict:
    return make_clip(with_depth=False, **kwargs)


def _noisy(model: MOTR) -> MOTR:
    """Away from layers that start at zero."""
    with torch.no_grad():
        for p in model.parameters():
            p += 0.02 * torch.randn_like(p)
    return model


def _loss(model: MOTR, *clips: dict, seed: int = 0) -> dict:
    torch.manual_seed(seed)
    batch = model.data_preprocessor(collate(*clips), training=True)
    return model(**batch, mode='loss')


def _gradients(model: MOTR, losses: dict) -> dict[str, torch.Tensor]:
    model.zero_grad()
    sum(losses.values()).backward()
    return {
        k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None
    }


def _trained(model: MOTR) -> set[str]:
    return {k for k, p in model.named_parameters() if p.requires_grad}


def _of_tracks(name: str) -> bool:
    return name.startswith('query_interaction.') or '.track_' in name


@pytest.mark.parametrize('frame', [0, 2])
def test_predictions_that_are_not_finite_reach_the_losses(config: Config, frame: int):
    """Of queries with a track and of new ones; later frames go on."""
    model = _noisy(build(config)).train()
    decode, calls = model.detector.decode, []

    def break_one(*args):
        outputs = decode(*args)
        if len(calls) == frame:
            outputs.cls_scores = outputs.cls_scores * torch.nan
            outputs.bbox_preds = outputs.bbox_preds * torch.nan
        calls.append(args)
        return outputs

    model.detector.decode = break_one
    losses = _loss(model, _clip())
    assert len(calls) == 4
    assert losses['loss_cls'].isnan() and losses['loss_bbox'].isnan()


def test_every_parameter_learns(config: Config):
    model = _noisy(build(config)).train()
    losses = _loss(model, _clip())
    assert all(v.isfinite() for v in losses.values())
    grads = _gradients(model, losses)
    assert grads.keys() == _trained(model)
    assert not {k for k, g in grads.items() if not g.any()}


@pytest.mark.parametrize(
    'clip', [dict(num_frames=1), dict(num_objects=0), dict(num_frames=2, num_objects=0)]
)
def test_without_tracks_every_parameter_takes_part(config: Config, clip: dict):
    config.query_sampling.insert_prob = 1.0
    model = _noisy(build(config)).train()
    losses = _loss(model, _clip(**clip))
    grads = _gradients(model, losses)
    assert all(v.isfinite() for v in losses.values())
    assert grads.keys() == _trained(model)
    assert not any(g.any() for k, g in grads.items() if _of_tracks(k))
    assert grads['detector.query_embedding.weight'].any()


def test_more_objects_than_queries(config: Config):
    model = build(config).train()
    losses = _loss(model, _clip(num_objects=20))
    grads = _gradients(model, losses)
    assert all(v.isfinite() for v in losses.values())
    assert all(g.isfinite().all() for g in grads.values())


def test_chunks_and_checkpointing_change_nothing(config: Config):
    results = []
    for chunk, with_cp in ((1, False), (0, False), (2, True), (1, True)):
        config.update(encode_chunk=chunk, with_cp=with_cp)
        model = _noisy(build(config)).train()
        losses = _loss(model, _clip(num_frames=5))
        results.append((losses, _gradients(model, losses)))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], atol=2e-4, rtol=2e-3)


def test_checkpointing_recomputes_all_but_the_last_two_frames(config: Config):
    config.with_cp = True
    model = build(config).train()
    calls = []
    encode = model.detector.encode

    def watch(*args):
        calls.append('encode')
        return encode(*args)

    model.detector.encode = watch
    losses = _loss(model, _clip(num_frames=5))
    assert len(calls) == 5
    sum(losses.values()).backward()
    assert len(calls) == 5 + 3


def test_two_clips_weigh_like_two_processes(config: Config):
    """A batch has the mean of what two processes would compute."""
    config.query_sampling.insert_prob = 0.0
    model = _noisy(build(config)).train()
    clips = [_clip(seed=0), _clip(seed=1, num_objects=5)]
    counts, loss_clips = [], model.detector.bbox_head.loss_clips

    def watch(frames, targets):
        lost = sum(frame.matches.num_lost for frame in frames)
        counts.append(lost + sum(targets.num_valid))
        return loss_clips(frames, targets)

    model.detector.bbox_head.loss_clips = watch
    both, *singles = (_loss(model, *group) for group in (clips, clips[:1], clips[1:]))
    assert counts[0] == counts[1] + counts[2]
    for name, value in both.items():
        expected = sum(s[name] * n for s, n in zip(singles, counts[1:], strict=True))
        torch.testing.assert_close(value, expected / counts[0], rtol=1e-4, atol=1e-5)


def test_an_object_that_leaves_is_waited_for(config: Config):
    """Its query goes on, is taught to find nothing, and counts as an object."""
    config.query_sampling.insert_prob = 0.0
    model = build(config).train()
    clip = _clip(num_frames=4)
    frames = clip['data_samples'].video_data_samples
    for t in (1, 2):
        gt = frames[t].gt_instances
        frames[t].gt_instances = gt[gt.instances_ids != 1]
    seen = {}
    loss_clips = model.detector.bbox_head.loss_clips

    def watch(matched, targets):
        seen['matches'] = [frame.matches for frame in matched]
        return loss_clips(matched, targets)

    model.detector.bbox_head.loss_clips = watch
    _loss(model, clip)
    assert [m.num_lost for m in seen['matches']] == [0, 1, 1, 0]
    detect = model.detector.num_queries
    for matches in seen['matches'][1:]:
        tracks = matches.tracklets.identities[detect:]
        assert sorted(tracks.tolist()) == [0, 1, 2]
        assert (matches.tracklets.identities[:detect] == -1).all()


def test_training_lowers_the_loss(config: Config):
    config.query_sampling = dict(drop_prob=0.0, insert_prob=0.0)
    model = build(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(8):
        total = sum(_loss(model, _clip()).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.9 * totals[0]


def test_half_precision_training(config: Config):
    """Under autocast losses stay in float32 and near those of float32."""
    config.query_sampling.insert_prob = 0.0
    model = build(config).train()
    plain = _loss(model, _clip())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = _loss(model, _clip())
    for name, value in half.items():
        assert value.dtype == torch.float32, name
        torch.testing.assert_close(value, plain[name], rtol=0.1, atol=0.05, msg=name)
    assert all(g.isfinite().all() for g in _gradients(model, half).values())


@torch.no_grad()
def _follow(model: MOTR, clip: dict) -> list[list[int]]:
    """Identities of each frame, given one by one."""
    seen = []
    for t, frame in enumerate(clip['data_samples']):
        sample = TrackDataSample()
        sample.video_data_samples = [frame]
        one = dict(
            inputs=dict(img=clip['inputs']['img'][t : t + 1]), data_samples=sample
        )
        batch = model.data_preprocessor(collate(one))
        tracks = model(**batch, mode='predict')[0][0].pred_track_instances
        assert tracks.bboxes.shape == (len(tracks), 4)
        assert len(set(tracks.instances_id.tolist())) == len(tracks)
        seen.append(tracks.instances_id.tolist())
    return seen


@torch.no_grad()
def test_tracking_a_sequence(config: Config):
    config.tracker.update(newborn_thr=0.0101, keep_thr=0.0, det_thr=0.0, area_thr=0.0)
    model = _noisy(build(config)).eval()
    clip = _clip(num_frames=4)
    seen = _follow(model, clip)
    assert seen[0]
    # Nothing dies here, so the identities of a frame are also in the next one.
    for now, later in zip(seen[:-1], seen[1:], strict=True):
        assert set(now) <= set(later)
    # Frame 0 starts anew, and many frames at once are followed one by one.
    assert _follow(model, clip) == seen
    frames = model(**model.data_preprocessor(collate(clip)), mode='predict')[0]
    assert [f.pred_track_instances.instances_id.tolist() for f in frames] == seen


def test_half_precision_tracking(config: Config):
    config.tracker.update(newborn_thr=0.0, keep_thr=0.0, det_thr=0.0, area_thr=0.0)
    model = build(config).eval()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        seen = _follow(model, _clip(num_frames=3))
    assert [len(ids) for ids in seen] == [12, 24, 36]


@torch.no_grad()
def test_tensor_mode(config: Config):
    model = build(config).eval()
    batch = model.data_preprocessor(collate(_clip(num_frames=2)))
    outputs = model(**batch, mode='tensor')
    assert [o.cls_scores.shape for o in outputs] == [(3, 1, 12, 1)] * 2
