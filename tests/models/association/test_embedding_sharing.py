# Copyright (c) mmfdta authors.
"""What passes between detector and association, forwards and backwards."""

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from small_fdta import build, collate, make_clip, small_config
from small_hosts import host_config
from torch import Tensor

from mmfdta.models import FDTA, EmbeddingProjection, EmbeddingSharing
from mmfdta.models.trackers import TrajectoryHistory

ORDER = [2, 0, 3, 1]


@pytest.fixture
def config() -> Config:
    return _config()


def _config() -> Config:
    _now(epoch=1, iter=100)
    config = small_config()
    config.temporal_adapter.dropout = 0.0
    config.detector.spatial_adapter.dropout = 0.0
    return config


def _now(**counts: int) -> None:
    for name, count in counts.items():
        MessageHub.get_current_instance().update_info(name, count)


def _model(config: Config, **sharing) -> FDTA:
    if sharing:
        config = Config(dict(config.to_dict(), embedding_sharing=sharing))
    model = build(config).train()
    with torch.no_grad():  # away from layers that start at zero
        rng = torch.Generator().manual_seed(1)
        for name, p in model.named_parameters():
            if not name.startswith('embedding_sharing'):
                p += 0.02 * torch.randn(p.shape, generator=rng)
    model.clip_detection.frame_order = lambda length: torch.tensor(ORDER)
    return model


def _losses(model: FDTA) -> dict[str, Tensor]:
    torch.manual_seed(0)
    batch = model.data_preprocessor(collate(make_clip()), training=True)
    return model(**batch, mode='loss')


def _gradients(model: FDTA, *losses: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    sum(losses).backward(retain_graph=True)
    return {
        k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None
    }


def _of(gradients: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {k: g for k, g in gradients.items() if k.startswith(part)}


@pytest.fixture(scope='module')
def joint() -> dict[str, dict[str, Tensor]]:
    """Values and gradients of joint training, loss by loss."""
    model = _model(_config())
    losses = _losses(model)
    detection = [
        v for k, v in losses.items() if k not in ('loss_id', 'loss_contrastive')
    ]
    return dict(
        values=losses,
        detection=_gradients(model, *detection),
        id=_gradients(model, losses['loss_id']),
        contrastive=_gradients(model, losses['loss_contrastive']),
    )


@pytest.mark.parametrize(
    ('of_id', 'of_contrast'),
    [(1.0, 1.0), (0.0, 0.0), (0.0, 1.0), (0.25, 0.0), (1, 0.5)],
)
def test_each_loss_reaches_the_detector_by_its_factor(
    config: Config, joint: dict, of_id: float, of_contrast: float
):
    """Gradients are linear in the losses: those of joint training, weighed."""
    model = _model(config, id_gradient=of_id, contrastive_gradient=of_contrast)
    losses = _losses(model)
    torch.testing.assert_close(losses, joint['values'], rtol=0, atol=0)
    found = _gradients(model, *losses.values())
    reaches = 0
    for name, gradient in found.items():
        parts = [joint[k].get(name, torch.zeros(())) for k in ('id', 'contrastive')]
        factors = (of_id, of_contrast) if name.startswith('detector.') else (1, 1)
        reaches += name.startswith('detector.') and all(p.any() for p in parts)
        expected = joint['detection'].get(name, torch.zeros(()))
        expected = expected + factors[0] * parts[0] + factors[1] * parts[1]
        torch.testing.assert_close(
            gradient, expected.expand_as(gradient), rtol=1e-4, atol=1e-5, msg=name
        )
    assert reaches > 20
    assert found.keys() == {
        k for k, p in model.named_parameters() if p.requires_grad
    }  # as DDP wants


def test_detached_losses_give_exactly_nothing(config: Config):
    model = _model(config, id_gradient=0, contrastive_gradient=0)
    losses = _losses(model)
    found = _gradients(model, losses['loss_id'], losses['loss_contrastive'])
    assert not _of(found, 'detector.')
    for part in ('identity_adapter.', 'temporal_adapter.', 'id_decoder.'):
        assert any(g.any() for g in _of(found, part).values()), part


@pytest.mark.parametrize(
    ('settings', 'now', 'detached'),
    [
        (dict(warmup_epochs=2), dict(epoch=1, iter=9), True),
        (dict(warmup_epochs=2), dict(epoch=2, iter=9), False),
        (dict(warmup_iters=10), dict(epoch=5, iter=9), True),
        (dict(warmup_iters=10), dict(epoch=0, iter=10), False),
        (dict(warmup_epochs=1, warmup_iters=10), dict(epoch=1, iter=9), True),
        (dict(warmup_epochs=2, warmup_iters=10), dict(epoch=1, iter=10), True),
        (dict(warmup_epochs=2, warmup_iters=10), dict(epoch=2, iter=10), False),
    ],
)
def test_a_warm_up_detaches_as_long_as_it_lasts(
    settings: dict, now: dict, detached: bool
):
    _now(**now)
    embeddings = torch.randn(3, 8, requires_grad=True)
    sharing = EmbeddingSharing(id_gradient=0.5, contrastive_gradient=2.0, **settings)
    for share, factor in (
        (sharing.for_id_loss, 0.5),
        (sharing.for_contrastive_loss, 2.0),
    ):
        shared = share(embeddings)
        torch.testing.assert_close(shared, embeddings, rtol=0, atol=0)
        assert shared.requires_grad != detached
        if not detached:
            (gradient,) = torch.autograd.grad(shared.sum(), embeddings)
            assert (gradient == factor).all()


def test_joint_training_computes_nothing_between():
    sharing = EmbeddingSharing()
    embeddings = torch.randn(3, 8, requires_grad=True)
    assert sharing.for_id_loss(embeddings) is embeddings
    assert sharing.for_contrastive_loss(embeddings) is embeddings
    assert sharing(embeddings) is embeddings
    assert not sharing.state_dict()


# -------------------------------------------------------------------- projection
PROJECTION = dict(out_channels=16, hidden_channels=24, num_layers=2)


def test_association_has_the_channels_of_the_projection(config: Config):
    model = _model(config, id_gradient=0.5, projection=PROJECTION)
    assert model.temporal_adapter.layers[0].norm1.weight.shape == (16,)
    assert model.identity_adapter.mlp[0].in_features == 16
    assert model.tracker.embed_dims == 32
    losses = _losses(model)
    found = _gradients(model, *losses.values())
    expected = {k for k, p in model.named_parameters() if p.requires_grad}
    assert {k for k, g in found.items() if g.any()} == expected


def test_gradients_through_a_projection_are_finite_differences():
    """In double precision, with the detached losses left out of the difference."""
    torch.manual_seed(0)
    embeddings = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    sharing = EmbeddingSharing(
        id_gradient=0.3,
        contrastive_gradient=0,
        projection=dict(type='EmbeddingProjection', embed_dims=8, **PROJECTION),
    ).double()
    weights = torch.randn(5, 16, dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        return (sharing(x).sin() * weights).sum()

    shared = sharing.for_id_loss(embeddings)
    (shared.sin() * weights).sum().backward()
    step = 1e-6 * torch.eye(40, dtype=torch.float64).view(40, 5, 8)
    with torch.no_grad():
        slopes = [(loss(embeddings + d) - loss(embeddings - d)) / 2e-6 for d in step]
    expected = 0.3 * torch.stack(slopes).view(5, 8)
    torch.testing.assert_close(embeddings.grad, expected, rtol=1e-6, atol=1e-8)
    contrast = sharing.for_contrastive_loss(embeddings)
    torch.testing.assert_close(contrast, shared, rtol=0, atol=0)
    before = embeddings.grad.clone()
    contrast.sum().backward()
    assert embeddings.grad.equal(before)
    assert sharing.projection.layers[0].weight.grad.any()


@torch.no_grad()
def test_a_residual_projection_starts_as_the_identity(config: Config):
    plain = _model(config)
    weights = plain.state_dict()
    model = _model(config, projection=dict(num_layers=2, residual=True, norm=False))
    missing = model.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert {k.split('.')[0] for k in missing.missing_keys} == {'embedding_sharing'}
    torch.testing.assert_close(_losses(model), _losses(plain), rtol=0, atol=0)


@torch.no_grad()
def test_tracking_scores_what_training_scores(config: Config):
    """Clip logits of the last frame, from the detector's embeddings of a history."""
    model = _model(config, projection=PROJECTION).eval()
    batch = model.data_preprocessor(collate(make_clip()), training=True)
    frames = list(batch['data_samples'][0])
    embeddings = model.detector.detect(batch['inputs']['img'][0], frames).embeddings
    assert embeddings.shape[-1] == 32
    objects = embeddings[:, :3]
    masks = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.bool)
    words = torch.tensor([0, 2, 5])
    history = TrajectoryHistory(
        objects[:3].masked_fill(masks[..., None], 0), masks, words
    )
    found = model.score_identities(history, objects[3])
    projected = model.embedding_sharing.for_id_loss(objects)
    logits = model.id_decoder(
        model.refine(projected[:3].masked_fill(masks[..., None], 0), masks)[None, None],
        words[None, None, None],
        masks[None, None],
        torch.arange(3),
        projected[None, None, 3:],
        torch.zeros(1, 1, 1, 3, dtype=torch.bool),
        torch.tensor([3]),
    )[0, 0, 0]
    torch.testing.assert_close(found, logits.softmax(-1))


@torch.no_grad()
def test_detections_hold_the_detectors_embeddings(config: Config):
    """Every tracker on this detector, and every projection, takes the same."""
    config.tracker.update(det_thr=0.0, newborn_thr=0.0)
    plain, projecting = (
        _model(config, **sharing).eval()
        for sharing in ({}, dict(projection=PROJECTION))
    )
    projecting.load_state_dict(
        {k: v for k, v in plain.state_dict().items() if k.startswith('detector')},
        strict=False,
    )
    found: list[list[InstanceData]] = []
    for model in (plain, projecting):
        batch = model.data_preprocessor(collate(make_clip(num_frames=3)))
        (frames,) = model(**batch, mode='predict')
        found.append([frame.pred_instances for frame in frames])
        assert len(frames[2].pred_track_instances)
    for first, second in zip(*found, strict=True):
        assert first.embeddings.equal(second.embeddings)


@pytest.mark.parametrize(
    ('sharing', 'said'),
    [
        (dict(id_gradient=-1), 'model.embedding_sharing.id_gradient = -1'),
        (dict(contrastive_gradient=float('nan')), 'contrastive_gradient = nan'),
        (dict(warmup_iters=-5), 'model.embedding_sharing.warmup_iters = -5'),
        (dict(projection=dict(num_layers=0)), 'projection.num_layers = 0'),
        (
            dict(projection=dict(residual=True, out_channels=16)),
            'model.embedding_sharing.projection.out_channels = 16',
        ),
        (dict(projection=dict(embed_dims=16)), 'bbox_head.embed_dims = 32'),
    ],
)
def test_settings_that_cannot_work(config: Config, sharing: dict, said: str):
    with pytest.raises(ValueError, match='model.embedding_sharing') as refused:
        _model(config, **sharing)
    assert said in str(refused.value) and '\n' not in str(refused.value)


def test_channels_of_association_are_those_that_its_parts_say(config: Config):
    config.temporal_adapter.embed_dims = 16
    model = _model(config, projection={})
    assert model.embedding_sharing.projection.layers[0].out_features == 16
    assert model.identity_adapter.mlp[0].in_features == 16
    with pytest.raises(ValueError, match='temporal_adapter.embed_dims = 16'):
        _model(config, projection=dict(out_channels=24))


def test_embeddings_of_half_precision_keep_their_values():
    sharing = EmbeddingSharing(id_gradient=0.5)
    embeddings = torch.randn(4, 8).bfloat16().requires_grad_()
    shared = sharing.for_id_loss(embeddings)
    assert shared.equal(embeddings)
    (2 * shared).float().sum().backward()
    assert (embeddings.grad == 1).all() and embeddings.grad.dtype == torch.bfloat16
    projection = EmbeddingProjection(8)
    with torch.autocast('cpu', torch.bfloat16):
        assert projection(embeddings).isfinite().all()


# --------------------------------------------------------------- frozen detector
def test_a_frozen_detector_stays_as_it_is(config: Config):
    config.freeze_detector = True
    model = _model(config, projection=PROJECTION)
    assert model.training and not any(m.training for m in model.detector.modules())
    before = {k: v.clone() for k, v in model.detector.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    totals = []
    for _ in range(6):
        losses = _losses(model)
        assert losses.keys() == {'loss_contrastive', 'loss_id'}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        totals.append(float(losses['loss_id'].detach()))
    torch.testing.assert_close(model.detector.state_dict(), before, rtol=0, atol=0)
    assert totals[-1] < 0.9 * totals[0]
    learnt = {k for k, p in model.named_parameters() if p.grad is not None}
    assert learnt == {k for k, p in model.named_parameters() if p.requires_grad}
    assert not any(k.startswith('detector.') for k in learnt)


# ---------------------------------------------------------- MMDetection's detectors
def _on_host(name: str) -> Config:
    """The small FDTA on a detector of MMDetection."""
    config = _config()
    host = host_config(name, classes=1, layers=3)
    config.detector = Config(dict(type='QueryDetector', host=host))
    return config


@pytest.mark.parametrize('name', ['dino', 'ddq'])
def test_a_hosts_gradients_are_shared_by_the_factors_too(name: str):
    """The host's own gradients are those without association."""
    found = []
    for sharing in ({}, dict(id_gradient=0.25, contrastive_gradient=0.0)):
        model = _model(_on_host(name), **sharing)
        losses = _losses(model)
        association = losses.pop('loss_id'), losses.pop('loss_contrastive')
        parts = [_gradients(model, *losses.values())]
        parts += [_of(_gradients(model, loss), 'detector.') for loss in association]
        found.append((losses, parts, _gradients(model, *losses.values(), *association)))
    (joint, from_joint, _), (losses, parts, whole) = found
    torch.testing.assert_close(losses, joint, rtol=0, atol=0)
    torch.testing.assert_close(parts[0], from_joint[0], rtol=1e-4, atol=1e-6)
    assert not parts[2] and from_joint[2]
    quarter = {k: 0.25 * g for k, g in from_joint[1].items()}
    torch.testing.assert_close(parts[1], quarter, rtol=1e-4, atol=1e-6)
    trained = {k for k, p in model.named_parameters() if p.requires_grad}
    assert whole.keys() == trained  # as DDP wants


@pytest.mark.parametrize('name', ['dino', 'ddq'])
def test_a_frozen_host_trains_association_alone(name: str):
    config = _on_host(name)
    config.freeze_detector = True
    model = _model(config, projection=PROJECTION)
    losses = _losses(model)
    assert losses.keys() == {'loss_id', 'loss_contrastive'}
    learnt = _gradients(model, *losses.values())
    assert learnt.keys() == {k for k, p in model.named_parameters() if p.requires_grad}
    assert not _of(learnt, 'detector.')
    torch.testing.assert_close(_losses(model), losses, rtol=0, atol=0)  # no denoising
