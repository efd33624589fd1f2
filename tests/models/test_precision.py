# Copyright (c) mmfdta authors.
"""What stays in float32 under autocast, and attention that fused kernels take.

Half precision is bfloat16, as on a CPU; float16 is run where overflow could show.
"""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from attention_kernels import attention_kernel
from light_configs import FAMILIES, light
from mmengine.config import Config
from small_fdta import build, collate, make_clip, small_config
from small_motr import small_motr_config
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmfdta.engine import PRECISIONS, hold_half_weights, keep_precision
from mmfdta.models.association.id_decoder import TimeBiasedAttention
from mmfdta.models.detectors import fdta_head
from mmfdta.models.layers import MultiheadAttention, in_float32

CONFIGS = Path(__file__).parents[2] / 'configs'
HALF = torch.bfloat16


def _half(dtype: torch.dtype = HALF) -> torch.autocast:
    return torch.autocast('cpu', dtype)


@pytest.fixture
def fdta():
    return build(small_config()).eval()


@torch.no_grad()
def test_a_module_in_float32_is_the_one_without_autocast():
    module, x = nn.Linear(3, 2), torch.randn(4, 3)
    with _half():
        assert module(x).dtype == HALF
        assert torch.equal(in_float32(module, x), module.forward(x)) is False
        found = in_float32(module, x)
        of_half = in_float32(module, x.to(HALF))
        assert torch.is_autocast_enabled('cpu')
    assert torch.equal(found, module(x))
    assert torch.equal(of_half, module(x.to(HALF).float()))
    # Without autocast any type passes, as of a model that was converted.
    assert in_float32(module.double(), x.double()).dtype == torch.float64


@pytest.mark.parametrize('training', [True, False])
def test_points_boxes_and_scores_are_those_of_float32(fdta, training: bool):
    """Given the same states; what the layers before computed may differ.

    With gradients the head computes the boxes; without, the decoder has done so.
    """
    detector = fdta.detector
    with torch.no_grad():  # away from layers that start at zero
        for weight in detector.bbox_head.parameters():
            weight += 0.1 * torch.randn_like(weight)
    states = torch.randn(3, 2, 12, 32)
    memory = torch.randn(2, 5, 32)

    def run() -> list[Tensor]:
        with torch.set_grad_enabled(training):
            queries, _ = detector.pre_decoder(memory, None, torch.empty(0))
            points = queries['reference_points']
            outputs = detector.bbox_head(states, [points] * 4)
        return [points, outputs.cls_scores, outputs.bbox_preds]

    plain = run()
    with _half():
        half = run()
    for found, expected in zip(half, plain, strict=True):
        assert torch.equal(found, expected)


@torch.no_grad()
def test_refined_points_are_finer_than_half_precision(fdta):
    references = []
    fdta.detector.bbox_head.register_forward_pre_hook(
        lambda module, args, kwargs: references.extend(kwargs['references']),
        with_kwargs=True,
    )
    batch = fdta.data_preprocessor(collate(make_clip(num_frames=1)))
    fdta(**batch, mode='tensor')
    plain = references.copy()
    references.clear()
    with _half():
        fdta(**batch, mode='tensor')
    assert len(references) == len(plain) == 4
    for found, expected in zip(references, plain, strict=True):
        assert found.dtype == torch.float32
        assert not torch.equal(found, found.to(HALF).float())
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


@torch.no_grad()
def test_queries_of_motr_start_at_the_points_of_float32():
    detector = build(small_motr_config()).detector.eval()
    plain = detector.detect_queries()
    with _half():
        half = detector.detect_queries()
    assert torch.equal(half.points, plain.points)


def _seen_types(modules: dict[str, nn.Module]) -> dict[str, set[torch.dtype]]:
    """Collect the types of the tensors that go into modules, by name."""
    seen: dict[str, set[torch.dtype]] = {name: set() for name in modules}

    def watch(name: str) -> None:
        def see(module: nn.Module, args: tuple) -> None:
            floats = (
                x for x in args if isinstance(x, Tensor) and x.is_floating_point()
            )
            seen[name] |= {x.dtype for x in floats}

        modules[name].register_forward_pre_hook(see)

    for name in modules:
        watch(name)
    return seen


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_losses_matching_and_scores_get_float32(monkeypatch, dtype):
    model = build(small_config()).train()
    head, matched = model.detector.bbox_head, []
    match = type(head.matcher).__call__

    def see(matcher: object, *args: object) -> object:
        matched.append([x.dtype for x in args if isinstance(x, Tensor)])
        assert not torch.is_autocast_enabled('cpu')
        return match(matcher, *args)

    monkeypatch.setattr(type(head.matcher), '__call__', see)
    seen = _seen_types(
        dict(
            cls=head.loss_cls,
            bbox=head.loss_bbox,
            identity=model.loss_id,
            words=model.id_decoder.embed_to_word,
            contrast=model.identity_adapter.mlp,
        )
    )
    depths, ious = [], []
    adapter = model.detector.spatial_adapter
    embed, overlap = adapter.embed_depth, fdta_head.generalized_iou
    monkeypatch.setattr(
        adapter, 'embed_depth', lambda x: depths.append(x.dtype) or embed(x)
    )
    monkeypatch.setattr(
        fdta_head,
        'generalized_iou',
        lambda boxes, *args: ious.append(boxes.dtype) or overlap(boxes, *args),
    )
    with _half(dtype):
        batch = model.data_preprocessor(collate(make_clip()), True)
        losses = model(**batch, mode='loss')
    assert matched and all(types == [torch.float32] * 2 for types in matched)
    seen.pop('contrast')
    assert seen == dict.fromkeys(seen, {torch.float32})
    assert set(depths) == set(ious) == {torch.float32}
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    # The scale that float16 is trained with at first.
    (2.0**16 * sum(losses.values())).backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert grads and all(torch.isfinite(loss) for loss in losses.values())
    if dtype == torch.bfloat16:
        assert all(grad.isfinite().all() for grad in grads.values())


@torch.no_grad()
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_identity_scores_are_near_those_of_float32(fdta, dtype):
    """Also of objects that nothing is known of: masks are not infinite."""
    from mmfdta.models.trackers import TrajectoryHistory

    masks = torch.rand(7, 5) < 0.3
    masks[:, 2] = True
    masks[3] = True
    history = TrajectoryHistory(
        torch.randn(7, 5, 32).masked_fill(masks[..., None], 0), masks, torch.arange(5)
    )
    embeddings = torch.randn(4, 32)
    plain = fdta.score_identities(history, embeddings)
    with _half(dtype):
        half = fdta.score_identities(history, embeddings)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, plain, atol=0.02, rtol=0)
    torch.testing.assert_close(half.sum(-1), torch.ones(4))


class Casts(TorchDispatchMode):
    """Counts conversions of a model's weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.weights = {p.untyped_storage()._cdata for p in model.parameters()}
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default:
            self.count += args[0].untyped_storage()._cdata in self.weights
        return func(*args, **(kwargs or {}))


def _yolox() -> Config:
    model = Config.fromfile(CONFIGS / 'bytetrack_yolox-x_mot17.py').model
    model.detector.backbone.update(deepen_factor=0.33, widen_factor=0.125)
    model.detector.neck.update(
        in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1
    )
    model.detector.bbox_head.update(in_channels=32, feat_channels=32)
    return model


@torch.no_grad()
@pytest.mark.parametrize('make', [small_config, small_motr_config, _yolox])
def test_weights_held_in_half_precision_give_the_same_tracks(make):
    config = make()
    if make is small_motr_config:
        config.tracker.update(newborn_thr=0.0, keep_thr=0.0, det_thr=0.0, area_thr=0.0)
    elif make is small_config:
        config.tracker.update(det_thr=0.0, newborn_thr=0.0)
    else:
        config.detector.test_cfg.score_thr = 0.0
    model = build(config).eval()
    keep_precision(model, PRECISIONS['bf16'])
    batch = model.data_preprocessor(collate(make_clip(num_frames=3)))
    for frame in batch['data_samples'][0]:
        frame.set_metainfo(dict(scale_factor=(1.0, 1.0)))

    def track() -> list[dict]:
        frames = model(**batch, mode='predict')[0]
        return [
            (
                dict(frame.pred_instances.items()),
                dict(frame.pred_track_instances.items()),
            )
            for frame in frames
        ]

    expected = track()
    with Casts(model) as before:
        track()
    hold_half_weights(model, PRECISIONS['bf16'])
    with Casts(model) as after:
        found = track()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    # What is left is ResNet, whose folded copy `accelerate` makes.
    left = {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
        and module.weight.dtype == torch.float32
    }
    if make is _yolox:
        assert not left and not after.count
    else:
        assert 0 < after.count < before.count / 2
        kept = ('detector.backbone', 'detector.bbox_head', 'id_decoder', 'detector.ref')
        assert all(name.startswith(kept) for name in left)


# ------------------------------------------------------------------ fused kernels
class Attentions(TorchFunctionMode):
    """Notes the arguments of every scaled dot-product attention."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            mask = kwargs.get('attn_mask', args[3] if len(args) > 3 else None)
            self.calls.append((*args[:3], mask))
        return func(*args, **kwargs)

    def check(self) -> None:
        """Assert that every call suits the fused kernels of a GPU.

        In float32, too, head sizes are those that half precision needs. PyTorch itself
        pads masks to the alignment that the kernels want.
        """
        assert self.calls
        for q, k, v, mask in self.calls:
            half = [None if x is None else self._half(x) for x in (q, k, v, mask)]
            kernel, why = attention_kernel(*half)
            assert kernel != 'math', (why, q.shape, k.shape)
            assert q.shape[-1] == v.shape[-1] <= 256

    @staticmethod
    def _half(x: Tensor) -> Tensor:
        """The same places in memory, in half precision unless it is a bool mask."""
        if x.dtype == torch.bool:
            return x
        memory = torch.empty(x.untyped_storage().nbytes() // x.itemsize, dtype=HALF)
        return memory.as_strided(x.shape, x.stride(), x.storage_offset())


@pytest.mark.parametrize('frames', [1, 2, 7, 20, 30, 31, 60])
def test_windows_of_any_length_have_a_head_size_that_kernels_take(frames):
    torch.manual_seed(frames)
    attention = TimeBiasedAttention(64, 2)
    for param in attention.parameters():
        nn.init.normal_(param, std=0.1)
    query = torch.randn(1, 2 * frames, 64)
    features, words = torch.randn(1, frames, 3, 32), torch.randn(5, 32)
    labels = torch.randint(0, 5, (1, frames, 3))
    bias = torch.randn(2, frames, frames)
    missing = torch.rand(1, frames * 3) < 0.2
    with Attentions() as attentions:
        found = attention(query, features, words, labels, bias, missing)
    attentions.check()
    # The bias as a mask of all pairs of tokens.
    keys = attention.project_keys(features, words, labels).chunk(2, dim=1)
    mask = bias.repeat_interleave(2, 1).repeat_interleave(3, 2)[None]
    mask = mask.masked_fill(missing[:, None, None], -1e4)
    expected = attention.attend(attention.project(query, 0), *keys, mask)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('order', ['by frame', 'by identity'])
def test_masks_of_trajectories_suit_fused_kernels_however_they_lie(order):
    """History comes from the host in one layout, and on a GPU in the other."""
    adapter = build(
        dict(type='TemporalAdapter', embed_dims=32, num_layers=1, num_heads=4)
    )
    masks = torch.rand(5, 6) < 0.3
    if order == 'by identity':
        masks = masks.t().contiguous().t()
    with Attentions() as attentions:
        adapter(torch.randn(5, 6, 32), masks)
    attentions.check()


def test_every_base_model_is_looked_at():
    names = {path.stem for path in (CONFIGS / '_base_/models').glob('*.py')}
    without_attention = {name for name in names if name.startswith('yolox_')}
    without_attention.add('faster_rcnn_r50')
    # Detectors of MMDetection attend as it wrote them, with any backbone.
    hosts = {'dino_r50', 'dino_swin-l', 'dino_small', 'ddq_r50'}
    # Association on boxes has the attention of FDTA in its sizes.
    hosts |= {'box_fdta', 'box_fdta_small'}
    hosts |= {'deformable_detr_two_stage_small', 'fdta_dino_swin-l', 'sparse_rcnn_r50'}
    assert names - without_attention - hosts - {'mini_sizes'} == {*FAMILIES}


@pytest.mark.parametrize('name', FAMILIES.values())
def test_every_attention_of_every_config_suits_fused_kernels(name):
    config = light(Config.fromfile(CONFIGS / f'{name}.py').model)
    is_detector = config.type == 'FDTADetector'
    model = build(config)
    for name, module in model.named_modules():
        in_host = name.startswith('detector.host.')
        if isinstance(module, nn.MultiheadAttention) and not in_host:
            assert isinstance(module, MultiheadAttention)
    clip = make_clip(num_frames=5, size=(64, 64))
    with Attentions() as attentions:
        if is_detector:
            frames = clip['data_samples'].video_data_samples
            for frame in frames:
                frame.set_metainfo(dict(batch_input_shape=(64, 64), pad_shape=(64, 64)))
            model.train().loss(clip['inputs']['img'].float(), frames)
        else:
            batch = model.data_preprocessor(collate(clip), True)
            model.train()(**batch, mode='loss')
            with torch.no_grad():
                model.eval()(**batch, mode='predict')
    attentions.check()
