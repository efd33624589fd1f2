# Copyright (c) mmfdta authors.
"""MMCV's operators against brute force, in whichever state this environment is.

`extension` is the stand-in and the extension in use. Where the operators are compiled,
these tests hold both against the same oracles and against each other.
"""

import importlib
import sys

import mmcv
import mmcv.ops
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcv.utils.ext_loader import check_ops_exist

from mmfdta.utils import operators

STAND_IN = operators.make_stand_in('for the tests')
IN_USE = sys.modules[operators.EXTENSION]
FOCAL = importlib.import_module('mmcv.ops.focal_loss')
DEFORM = importlib.import_module('mmcv.ops.multi_scale_deform_attn')


@pytest.fixture(params=[STAND_IN, IN_USE], ids=['stand-in', 'in use'])
def extension(request):
    return request.param


@st.composite
def scored_boxes(draw, distinct=False):
    """Boxes on a coarse grid, so that ties and exact thresholds come up."""
    count = draw(st.integers(0, 40))
    corner = st.integers(0, 12)
    boxes = [[draw(corner) for _ in range(4)] for _ in range(count)]
    boxes = np.array(boxes, np.float32).reshape(count, 4)
    boxes[:, 2:] += boxes[:, :2]
    if distinct:
        scores = draw(st.permutations(range(1, count + 1)))
    else:
        scores = [draw(st.integers(0, 5)) for _ in range(count)]
    return boxes, np.array(scores, np.float32) / 40


def overlap(a, b, offset):
    """Intersection over union of two boxes in float32; NaN for two empty ones."""
    one = np.float32(offset)
    width = max(np.float32(0), min(a[2], b[2]) - max(a[0], b[0]) + one)
    height = max(np.float32(0), min(a[3], b[3]) - max(a[1], b[1]) + one)
    areas = [(c[2] - c[0] + one) * (c[3] - c[1] + one) for c in (a, b)]
    with np.errstate(invalid='ignore', divide='ignore'):
        return width * height / (areas[0] + areas[1] - width * height)


def brute_force_nms(boxes, scores, threshold, offset=0):
    kept = []
    # The order of equal scores is PyTorch's sort's, in the compiled operator too.
    for index in torch.from_numpy(scores).sort(0, descending=True)[1].tolist():
        if not any(
            overlap(boxes[index], boxes[k], offset) > np.float32(threshold)
            for k in kept
        ):
            kept.append(index)
    return kept


@given(
    scored_boxes(), st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.7, 1.0]), st.booleans()
)
@pytest.mark.parametrize('implementation', [STAND_IN, IN_USE])
def test_nms_keeps_what_brute_force_keeps(implementation, case, threshold, inclusive):
    boxes, scores = case
    kept = implementation.nms(
        torch.from_numpy(boxes), torch.from_numpy(scores), threshold, int(inclusive)
    )
    assert kept.dtype == torch.int64
    assert kept.tolist() == brute_force_nms(boxes, scores, threshold, int(inclusive))


@given(scored_boxes(), st.sampled_from([0.25, 0.5]))
def test_nms_in_many_blocks_keeps_the_same(case, threshold):
    boxes, scores = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operators, 'MAX_PAIRS', 60)
        kept = operators.nms(
            torch.from_numpy(boxes), torch.from_numpy(scores), threshold, 0
        )
    assert kept.tolist() == brute_force_nms(boxes, scores, threshold)


def test_nms_of_a_long_chain_alternates():
    # Each box overlaps only its neighbours, so every second one has to go.
    left = torch.arange(200.0)
    boxes = torch.stack([left, left * 0, left + 1.5, left * 0 + 1], dim=1)
    kept = operators.nms(boxes, -left, 0.1, 0)
    assert kept.tolist() == list(range(0, 200, 2))


def test_batched_nms_never_mixes_classes():
    rng = np.random.default_rng(1)
    boxes = rng.uniform(0, 40, (120, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    scores = rng.permutation(120).astype(np.float32) / 120
    classes = rng.integers(0, 3, 120)
    _, kept = mmcv.ops.batched_nms(
        torch.from_numpy(boxes),
        torch.from_numpy(scores),
        torch.from_numpy(classes),
        dict(type='nms', iou_threshold=0.3),
    )
    expected = []
    for label in range(3):
        rows = np.flatnonzero(classes == label)
        expected += rows[brute_force_nms(boxes[rows], scores[rows], 0.3)].tolist()
    assert kept.tolist() == sorted(expected, key=lambda index: -scores[index])


def test_nms_through_mmcv_takes_score_threshold_and_limit():
    boxes = np.array([[0, 0, 4, 4], [20, 0, 24, 4], [40, 0, 44, 4]], np.float32)
    scores = np.array([0.2, 0.9, 0.7], np.float32)
    dets, kept = mmcv.ops.nms(boxes, scores, 0.5, score_threshold=0.3)
    assert kept.tolist() == [1, 2]
    np.testing.assert_array_equal(dets[:, 4], scores[[1, 2]])
    assert mmcv.ops.nms(boxes, scores, 0.5, max_num=1)[1].tolist() == [1]


def brute_force_soft_nms(boxes, scores, threshold, sigma, min_score, method):
    """Soft-NMS as its paper tells it; for distinct scores."""
    scores, left, rows = scores.copy(), list(range(len(scores))), []
    while left:
        best = max(left, key=lambda index: scores[index])
        rows.append((best, scores[best]))
        left.remove(best)
        for index in left:
            iou = overlap(boxes[best], boxes[index], 0)
            if method == 'gaussian':
                scores[index] *= np.exp(-(iou * iou) / np.float32(sigma))
            elif iou >= np.float32(threshold):
                scores[index] *= 1 - iou if method == 'linear' else 0
        left = [index for index in left if not scores[index] < min_score]
    return rows


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('min_score', [1e-3, 0.2])
def test_soft_nms_is_the_papers(monkeypatch, extension, method, min_score):
    monkeypatch.setattr(
        importlib.import_module('mmcv.ops.nms'), 'ext_module', extension
    )
    rng = np.random.default_rng(2)
    boxes = rng.uniform(0, 20, (60, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    scores = rng.uniform(0.1, 1, 60).astype(np.float32)
    dets, kept = mmcv.ops.soft_nms(
        boxes, scores, 0.3, sigma=0.5, min_score=min_score, method=method
    )
    expected = brute_force_soft_nms(boxes, scores, 0.3, 0.5, min_score, method)
    assert kept.tolist() == [index for index, _ in expected]
    np.testing.assert_array_equal(dets[:, :4], boxes[kept])
    np.testing.assert_allclose(dets[:, 4], [s for _, s in expected], rtol=1e-5)


@given(scored_boxes(), st.sampled_from([0, 1, 2]), st.sampled_from([0.0, 0.05]))
def test_soft_nms_breaks_ties_as_the_operator_in_use(case, method, min_score):
    boxes, scores = (torch.from_numpy(array) for array in case)
    results = []
    for implementation in (STAND_IN, IN_USE):
        dets = torch.zeros(len(boxes), 5)
        kept = implementation.softnms(
            boxes, scores, dets, 0.3, 0.5, min_score, method, 0
        )
        results.append((kept.tolist(), dets[: len(kept)]))
    assert results[0][0] == results[1][0]
    torch.testing.assert_close(
        results[0][1], results[1][1], rtol=1e-6, atol=1e-7, equal_nan=True
    )


def log_sigmoid_focal_loss(logits, target, weight, gamma, alpha):
    """The same loss from PyTorch's cross entropy instead of probabilities."""
    one_hot = torch.nn.functional.one_hot(target, logits.shape[1] + 1)[:, :-1]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, one_hot.to(logits), reduction='none'
    )
    miss = torch.where(one_hot == 1, 1 - logits.sigmoid(), logits.sigmoid())
    balance = torch.where(one_hot == 1, alpha, 1 - alpha)
    loss = balance * miss**gamma * entropy
    return loss if weight is None else loss * weight[target][:, None]


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('weighted', [False, True])
def test_sigmoid_focal_loss_and_gradient(monkeypatch, reduction, weighted):
    monkeypatch.setattr(FOCAL, 'ext_module', STAND_IN)
    logits = (torch.randn(7, 4, dtype=torch.float64) * 3).requires_grad_()
    # Class 4 is background, which a weight per class cannot stand for.
    target = torch.tensor([0, 1, 2, 3, 0, 1, 2 if weighted else 4])
    weight = torch.rand(4, dtype=torch.float64) + 0.5 if weighted else None
    loss = mmcv.ops.sigmoid_focal_loss(logits, target, 1.5, 0.3, weight, reduction)
    expected = log_sigmoid_focal_loss(logits, target, weight, 1.5, 0.3)
    if reduction != 'none':
        expected = expected.sum() / (7 if reduction == 'mean' else 1)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), logits)[0])


@pytest.mark.parametrize('weighted', [False, True])
def test_softmax_focal_loss_and_gradient(monkeypatch, weighted):
    monkeypatch.setattr(FOCAL, 'ext_module', STAND_IN)
    logits = (torch.randn(6, 5, dtype=torch.float64) * 3).requires_grad_()
    target = torch.tensor([0, 1, 2, 3, 4, 4])
    weight = torch.rand(5, dtype=torch.float64) + 0.5 if weighted else None
    loss = mmcv.ops.softmax_focal_loss(logits, target, 2.5, 0.3, weight, 'mean')
    log_p = logits.log_softmax(1)[torch.arange(6), target]
    expected = -0.3 * (1 - log_p.exp()) ** 2.5 * log_p
    if weighted:
        expected = expected * weight[target]
    torch.testing.assert_close(loss, expected.mean())
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(expected.mean(), logits)[0]
    )


def test_softmax_focal_loss_ignores_negative_targets(monkeypatch):
    monkeypatch.setattr(FOCAL, 'ext_module', STAND_IN)
    logits = torch.randn(2, 3, requires_grad=True)
    target = torch.tensor([-1, 1])
    loss = mmcv.ops.softmax_focal_loss(logits, target, 2.0, 0.25, None, 'sum')
    alone = mmcv.ops.softmax_focal_loss(logits[1:], target[1:], 2.0, 0.25, None, 'sum')
    torch.testing.assert_close(loss, alone)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0].abs().sum() == 0 and gradient[1].abs().sum() > 0


@pytest.mark.parametrize('logit', [-1000.0, 1000.0])
def test_sigmoid_focal_loss_stays_finite_far_out(monkeypatch, logit):
    monkeypatch.setattr(FOCAL, 'ext_module', STAND_IN)
    logits = torch.full((1, 2), logit, requires_grad=True)
    loss = mmcv.ops.sigmoid_focal_loss(logits, torch.tensor([0]), 2.0, 0.25)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def deform_case():
    shapes = torch.tensor([[4, 5], [2, 3]])
    value = torch.randn(2, 26, 2, 3, dtype=torch.float64)
    # Some of the points fall outside the maps, where the value is zero.
    locations = torch.rand(2, 3, 2, 2, 4, 2, dtype=torch.float64) * 1.6 - 0.3
    weights = torch.rand(2, 3, 2, 2, 4, dtype=torch.float64)
    return value, shapes, torch.tensor([0, 20]), locations, weights


def brute_force_deform_attention(value, shapes, starts, locations, weights):
    batch, queries, heads, levels, points, _ = locations.shape
    output = np.zeros((batch, queries, heads, value.shape[-1]))
    for b, q, m, lv, p in np.ndindex(batch, queries, heads, levels, points):
        height, width = shapes[lv]
        x = locations[b, q, m, lv, p, 0] * width - 0.5
        y = locations[b, q, m, lv, p, 1] * height - 0.5
        for row in (np.floor(y), np.floor(y) + 1):
            for column in (np.floor(x), np.floor(x) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                    key = int(starts[lv] + row * width + column)
                    output[b, q, m] += (
                        weights[b, q, m, lv, p] * share * value[b, key, m]
                    )
    return output.reshape(batch, queries, -1)


def test_deformable_attention_is_bilinear_sampling(monkeypatch):
    monkeypatch.setattr(DEFORM, 'ext_module', STAND_IN)
    case = deform_case()
    output = DEFORM.MultiScaleDeformableAttnFunction.apply(*case, 64)
    expected = brute_force_deform_attention(*(tensor.numpy() for tensor in case))
    np.testing.assert_allclose(output.numpy(), expected, rtol=0, atol=1e-12)


def test_deformable_attention_gradients_match_finite_differences(monkeypatch):
    monkeypatch.setattr(DEFORM, 'ext_module', STAND_IN)
    value, shapes, starts, locations, weights = deform_case()
    leaves = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    assert torch.autograd.gradcheck(
        lambda v, x, w: DEFORM.MultiScaleDeformableAttnFunction.apply(
            v, shapes, starts, x, w, 64
        ),
        leaves,
    )


def test_other_operators_name_themselves_and_the_remedy(monkeypatch):
    module = importlib.import_module('mmcv.ops.roi_align')
    monkeypatch.setattr(module, 'ext_module', STAND_IN)
    with pytest.raises(operators.OperatorNotCompiledError) as caught:
        mmcv.ops.roi_align(torch.rand(1, 1, 4, 4), torch.zeros(1, 5), 2)
    assert "'roi_align_forward'" in str(caught.value)
    assert operators.install_command() in str(caught.value)


@pytest.fixture
def empty_slot(monkeypatch, tmp_path):
    """The state before `install_operators`, with a folder searched for `_ext.py`."""
    monkeypatch.delitem(sys.modules, operators.EXTENSION)
    monkeypatch.setattr(mmcv, '__path__', [str(tmp_path)])
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop(operators.EXTENSION, None)


def test_without_an_extension_the_stand_in_is_installed(empty_slot):
    assert operators.install_operators() is False
    assert sys.modules[operators.EXTENSION].nms is operators.nms
    assert not check_ops_exist()


def test_a_compiled_extension_is_left_alone(empty_slot):
    (empty_slot / '_ext.py').write_text('nms = "compiled"\n')
    assert operators.install_operators() is True
    assert sys.modules[operators.EXTENSION].nms == 'compiled'


def test_an_extension_for_another_pytorch_is_replaced_with_a_warning(empty_slot):
    (empty_slot / '_ext.py').write_text('raise ImportError("undefined symbol: x")\n')
    with pytest.warns(UserWarning, match='undefined symbol: x.*Compile them again'):
        assert operators.install_operators() is False
    assert sys.modules[operators.EXTENSION].nms is operators.nms
