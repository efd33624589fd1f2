# Copyright (c) mmfdta authors.
"""Triton's kernels of deformable sampling in its interpreter, which knows no GPU.

Run by test_triton_sampling.py in a process of its own: the interpreter is chosen when
kernels are imported.
"""

import functools

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

from mmfdta.ops.deformable_attention import deformable_sampling, operator

# Levels, images, queries, heads, points, channels.
CASES = {
    'usual': ([(4, 6), (2, 3)], 2, 5, 2, 4, 32),
    'odd': ([(7, 5), (1, 1), (1, 4), (3, 1)], 3, 3, 3, 1, 5),
    'several blocks': ([(3, 4)], 1, 37, 1, 3, 20),
    'many images': ([(2, 3)], 66, 2, 1, 1, 4),
    'one channel': ([(2, 3)], 2, 3, 2, 2, 1),
    'small': ([(3, 4), (2, 2)], 1, 5, 2, 2, 8),
    'wide': ([(2, 3)], 1, 3, 1, 2, 160),
}


def random_case(levels, images, queries, heads, points, channels):
    """Points around and beyond the maps' borders."""
    keys = sum(height * width for height, width in levels)
    value = torch.randn(images, keys, heads, channels, dtype=torch.float64)
    size = images, queries, heads, len(levels), points
    locations = torch.rand(*size, 2, dtype=torch.float64) * 1.8 - 0.4
    return value, locations, torch.rand(size, dtype=torch.float64)


def pixels(locations, levels):
    size = torch.tensor([(width, height) for height, width in levels])
    return (locations * size[:, None] - 0.5).unbind(-1)


def results(sample, levels, *case):
    """Values and gradients, in float64."""
    leaves = [t.detach().requires_grad_() for t in case]
    output = sample(*leaves)
    probe = torch.linspace(-1, 1, output.numel()).view_as(output).to(output)
    gradients = torch.autograd.grad(output, leaves, probe)
    return [t.double() for t in (output, *gradients)]


def check(levels, case, types, rtol, atol):
    """Compare with MMCV's path in float64, which gets the same numbers."""
    value, locations, weights = (
        t.to(dtype) for t, dtype in zip(case, types, strict=True)
    )

    def sample(value, locations, weights):
        x, y = pixels(locations, levels)
        return deformable_sampling(value, levels, x, y, weights, 'triton')

    def plain(value, locations, weights):
        return multi_scale_deformable_attn_pytorch(value, levels, locations, weights)

    found = results(sample, levels, value, locations, weights)
    exact = (t.double() for t in (value, locations, weights))
    for one, other in zip(found, results(plain, levels, *exact), strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
def test_values_and_gradients_are_those_of_mmcv(case):
    types = [torch.float32] * 3
    check(case[0], random_case(*case), types, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('types', 'rtol'),
    [
        ((torch.float64, torch.float64, torch.float64), 1e-9),
        ((torch.float16, torch.float32, torch.float32), 2e-3),
        ((torch.bfloat16, torch.float32, torch.float32), 2e-2),
        ((torch.bfloat16, torch.float32, torch.bfloat16), 2e-2),
        ((torch.float32, torch.float32, torch.bfloat16), 2e-2),
    ],
)
def test_types_may_be_mixed(types, rtol):
    levels, *sizes = CASES['small']
    check(levels, random_case(levels, *sizes), types, rtol=rtol, atol=rtol * 3)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_points_may_count_from_a_centre(dtype):
    levels, images, queries, *sizes = CASES['small']
    value, offsets, weights = random_case(levels, images, queries, *sizes)
    case = value.to(dtype), (offsets * 3 - 1).to(dtype), weights.to(dtype)
    middle = torch.rand(images, queries, len(levels), 2) * 3

    def sample(way, value, offsets, weights, middle):
        x, y = offsets.unbind(-1)
        return deformable_sampling(value, levels, x, y, weights, way, middle)

    found = results(functools.partial(sample, 'triton'), levels, *case, middle)
    exact = [t.double() for t in (*case, middle)]
    expected = results(functools.partial(sample, 'plain'), levels, *exact)
    rtol = 1e-4 if dtype == torch.float32 else 2e-2
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=3 * rtol)


def test_gradients_of_values_are_rounded_once():
    # In float16 4096 + 1 is 4096: what is added there one by one stays behind.
    value = torch.zeros(1, 1, 1, 2, dtype=torch.float16, requires_grad=True)
    points, weights = torch.zeros(1, 11, 1, 1, 4), torch.ones(1, 11, 1, 1, 4)
    weights[0, 0, 0, 0] = torch.tensor([4096, 1, 1, 2])
    output = deformable_sampling(value, [(1, 1)], points, points, weights, 'triton')
    (gradient,) = torch.autograd.grad(output.float().sum(), value)
    assert gradient.flatten().tolist() == [4140, 4140]


def test_triton_is_found_to_work():
    assert operator._problem_of_triton(torch.device('cpu')) == ''


def test_half_a_pixel_is_what_the_numbers_say():
    value = torch.tensor([1.0, 10.0, 100.0, 1000.0]).view(1, 4, 1, 1)
    x = torch.tensor([0.5, -0.5, 1.5, 0.25]).view(1, 4, 1, 1, 1)
    y = torch.tensor([0.5, 0.0, 1.5, -0.75]).view(1, 4, 1, 1, 1)
    weights = torch.ones_like(x)
    output = deformable_sampling(value, [(2, 2)], x, y, weights, 'triton')
    found = output.flatten().tolist()
    assert found == [277.75, 0.5, 250.0, 0.25 * (0.75 * 1 + 0.25 * 10)]


def test_a_level_without_pixels_gives_nothing():
    levels = [(2, 3), (0, 5), (2, 2), (3, 0)]
    value, locations, weights = random_case(levels, 1, 3, 2, 2, 4)
    full = [(2, 3), (2, 2)]

    def sample(levels, points, weights):
        x, y = pixels(points.float(), levels)
        return deformable_sampling(value.float(), levels, x, y, weights, 'triton')

    found = sample(levels, locations, weights.float())
    locations, weights = locations[:, :, :, ::2], weights[:, :, :, ::2].float()
    torch.testing.assert_close(found, sample(full, locations, weights))
    nothing = deformable_sampling(
        torch.zeros(2, 0, 1, 4), [(0, 3)], *[torch.zeros(2, 3, 1, 1, 2)] * 3, 'triton'
    )
    assert nothing.shape == (2, 3, 4)
    assert nothing.count_nonzero() == 0


@pytest.mark.parametrize(('images', 'queries'), [(0, 3), (2, 0)])
def test_nothing_to_do_is_done(images, queries):
    levels = [(2, 3)]
    value, locations, weights = random_case(levels, images, queries, 2, 2, 4)
    x, y = pixels(locations, levels)
    leaves = [t.requires_grad_() for t in (value, x, y, weights)]
    output = deformable_sampling(leaves[0], levels, *leaves[1:], 'triton')
    assert output.shape == (images, queries, 8)
    for gradient, leaf in zip(
        torch.autograd.grad(output.sum(), leaves), leaves, strict=True
    ):
        assert gradient.shape == leaf.shape
        assert gradient.count_nonzero() == 0


def test_points_far_out_give_nothing_and_nan_spoils_its_query_only():
    value = torch.rand(1, 12, 1, 2) + 1
    x = torch.tensor([-1e30, 1e30, torch.inf, -1, 4, 1, torch.nan, 1, 1])
    y = torch.tensor([1, 1, 1, 1, 1, -torch.inf, 1, torch.nan, 1])
    points = [t.view(1, 9, 1, 1, 1).requires_grad_() for t in (x, y)]
    value.requires_grad_()
    output = deformable_sampling(
        value, [(3, 4)], *points, torch.ones(1, 9, 1, 1, 1), 'triton'
    )
    assert output[0, :6].count_nonzero() == 0
    assert output[0, 6:8].isnan().all()
    assert torch.equal(output[0, 8], value[0, 5, 0])
    gradients = torch.autograd.grad(output.nansum(), [value, *points])
    for gradient in gradients[1:]:
        assert gradient[0, :6].count_nonzero() == 0
    assert gradients[0].nonzero().tolist() == [[0, 5, 0, 0], [0, 5, 0, 1]]


@pytest.mark.parametrize('layout', ['pairs', 'apart', 'with gaps', 'queries first'])
def test_tensors_may_lie_in_memory_as_they_like(layout):
    levels, *sizes = CASES['small']
    value, locations, weights = (t.float() for t in random_case(levels, *sizes))
    x, y = pixels(locations, levels)
    expected = deformable_sampling(value, levels, x, y, weights, 'plain')
    if layout == 'apart':
        x, y = x.contiguous(), y.contiguous()
    elif layout == 'with gaps':
        x, y = (torch.stack([t] * 3, dim=-1)[..., 1] for t in (x, y))
        value = torch.cat([value, value], dim=-1)[..., :8]
    elif layout == 'queries first':
        x, y, weights, value = (
            t.transpose(0, 1).contiguous().transpose(0, 1)
            for t in (x, y, weights, value)
        )
    found = deformable_sampling(value, levels, x, y, weights, 'triton')
    torch.testing.assert_close(found, expected)


def test_gradients_that_differ_from_time_to_time_are_refused():
    levels, *sizes = CASES['small']
    value, locations, weights = (t.float() for t in random_case(levels, *sizes))
    x, y = pixels(locations, levels)
    output = deformable_sampling(
        value.requires_grad_(), levels, x, y, weights, 'triton'
    )
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match=r'sampling_backward does not have'):
            output.sum().backward(retain_graph=True)
        torch.use_deterministic_algorithms(True, warn_only=True)
        with pytest.warns(UserWarning, match=r'sampling_backward does not have'):
            output.sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
