# Copyright (c) mmfdta authors.
"""Every way of deformable attention on a CPU against MMCV's PyTorch path."""

import functools
import typing

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttention,
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)
from torch.utils._pytree import tree_map_only

from mmfdta.ops import accelerate
from mmfdta.ops.deformable_attention import (
    FastDeformableAttention,
    compiled,
    deformable_sampling,
    operator,
    plain,
    read_level_shapes,
    sampling_ways,
    sparse,
)

WAYS = sampling_ways(torch.device('cpu'))


def deformable_attention(value, shapes, locations, weights, way=''):
    """The operator under test, with the interface of MMCV's reference."""
    x, y = (locations * shapes.flip(1)[:, None] - 0.5).unbind(-1)
    return deformable_sampling(value, shapes.tolist(), x, y, weights, way)


def random_case(shapes, batch, queries, heads, points, dim, dtype=torch.float32):
    """Points around and beyond the maps' borders."""
    keys = sum(h * w for h, w in shapes)
    value = torch.randn(batch, keys, heads, dim, dtype=dtype)
    size = batch, queries, heads, len(shapes), points
    locations = torch.rand(*size, 2, dtype=dtype) * 1.8 - 0.4
    return value, torch.tensor(shapes), locations, torch.rand(size, dtype=dtype)


CASES = {
    'usual': ([(9, 16), (5, 8), (3, 4), (2, 2)], 2, 7, 8, 4, 32),
    'one pixel': ([(1, 1)], 1, 5, 2, 3, 4),
    'thin levels': ([(1, 7), (6, 1)], 3, 4, 1, 1, 5),
    'odd': ([(7, 5), (3, 11), (1, 2)], 3, 13, 3, 2, 7),
    'several blocks': ([(4, 5), (2, 3)], 2, 700, 4, 8, 8),
    'no queries': ([(4, 5), (2, 3)], 2, 0, 2, 2, 4),
    'no images': ([(4, 5), (2, 3)], 0, 3, 2, 2, 4),
}


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
def test_values_and_gradients_are_those_of_mmcv(case, way):
    case = random_case(*case)
    results = []
    for function in (
        multi_scale_deformable_attn_pytorch,
        functools.partial(deformable_attention, way=way),
    ):
        value, shapes, *points = (t.clone() for t in case)
        leaves = [t.requires_grad_() for t in (value, *points)]
        output = function(leaves[0], shapes, *leaves[1:])
        probe = torch.linspace(-1, 1, output.numel()).view_as(output)
        results.append([output, *torch.autograd.grad(output, leaves, probe)])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_images_in_several_parts_give_the_same_gradients(monkeypatch):
    case = random_case([(4, 5), (2, 3)], 5, 6, 2, 3, 4, torch.float64)
    leaves = [case[i].requires_grad_() for i in (0, 2, 3)]
    gradients = []
    for points in (1 << 20, 2 * 6 * 2 * 2 * 3, 1):
        monkeypatch.setattr(sparse, '_BACKWARD_POINTS', points)
        output = deformable_attention(leaves[0], case[1], leaves[1], leaves[2])
        gradients.append(torch.autograd.grad(output.square().sum(), leaves))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('way', WAYS)
def test_a_level_without_pixels_gives_nothing(way):
    value, shapes, locations, weights = random_case([(4, 5), (2, 3)], 2, 6, 2, 3, 4)
    expected = deformable_attention(value, shapes, locations, weights, way)
    shapes = torch.tensor([[4, 5], [0, 7], [2, 3], [3, 0]])
    points = torch.rand(2, 6, 2, 4, 3, 2, requires_grad=True)
    with torch.no_grad():
        points[:, :, :, ::2] = locations
    shares = torch.rand(2, 6, 2, 4, 3)
    shares[:, :, :, ::2] = weights
    output = deformable_attention(value, shapes, points, shares, way)
    torch.testing.assert_close(output, expected)
    output.square().sum().backward()
    assert points.grad[:, :, :, 1::2].count_nonzero() == 0
    assert points.grad[:, :, :, ::2].count_nonzero() > 0


@pytest.mark.parametrize('way', WAYS)
def test_points_far_out_and_on_the_border_give_nothing(way):
    shapes, value = torch.tensor([[3, 4]]), torch.rand(1, 12, 1, 2) + 1
    locations = torch.tensor(
        [[-1e9, 0.5], [0.5, 1e9], [-0.125, 0.5], [0.5, 1 + 1 / 6], [1.125, 0.5]]
    ).view(1, 5, 1, 1, 1, 2)
    locations.requires_grad_()
    weights = torch.ones(1, 5, 1, 1, 1)
    output = deformable_attention(value, shapes, locations, weights, way)
    assert output.count_nonzero() == 0
    output.sum().backward()
    assert locations.grad[:, :2].count_nonzero() == 0


def test_a_point_that_is_nan_spoils_its_query_only():
    case = random_case([(3, 4), (2, 2)], 1, 4, 1, 2, 3)
    case[2][0, 1, 0, 1, 0, 0] = torch.nan
    output = deformable_attention(*case)
    assert output[0, 1].isnan().all()
    assert output[0, [0, 2, 3]].isfinite().all()


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype, way):
    value, shapes, locations, weights = random_case([(5, 8), (3, 4)], 2, 6, 4, 4, 8)
    value, weights = value.to(dtype), weights.to(dtype)
    output = deformable_attention(value, shapes, locations, weights, way)
    expected = multi_scale_deformable_attn_pytorch(
        value.float(), shapes.tolist(), locations, weights.float()
    )
    assert output.dtype == dtype
    torch.testing.assert_close(output, expected.to(dtype), rtol=1e-2, atol=1e-6)


class Layer(torch.nn.Module):
    """Attention to two levels, of tensors alone, as it can be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = MultiScaleDeformableAttention(
            8, 2, num_levels=2, batch_first=True
        )
        self.shapes, self.starts = torch.tensor([[3, 4], [2, 2]]), torch.tensor([0, 12])

    def forward(self, query, value, points):
        return self.attention(
            query,
            value=value,
            reference_points=points,
            spatial_shapes=self.shapes,
            level_start_index=self.starts,
        )


def test_a_traced_model_holds_operations_of_pytorch():
    layer = accelerate(Layer().eval())
    assert type(layer.attention) is FastDeformableAttention
    case = torch.randn(1, 5, 8), torch.randn(1, 16, 8), torch.rand(1, 5, 2, 2)
    traced = torch.jit.trace(layer, case)
    assert 'grid_sampler' in str(traced.inlined_graph)
    torch.testing.assert_close(traced(*case), layer(*case), rtol=1e-4, atol=1e-5)


def test_a_compiled_layer_holds_the_operator():
    layer, graphs = accelerate(Layer().eval()).attention, []
    torch.nn.init.normal_(layer.sampling_offsets.weight)

    def run(query, value, points):
        return layer(
            query,
            value=value,
            reference_points=points,
            spatial_shapes=torch.tensor([[3, 4], [2, 2]]),
            level_shapes=((3, 4), (2, 2)),
        )

    def keep(graph, inputs):
        graphs.append(graph.code)
        return graph.forward

    case = torch.randn(1, 5, 8), torch.randn(1, 16, 8), torch.rand(1, 5, 2, 2)
    with torch.no_grad():
        output = torch.compile(run, backend=keep, fullgraph=True)(*case)
        torch.testing.assert_close(output, run(*case))
    assert 'mmfdta.deformable_sampling' in graphs[0]
    assert 'grid_sample' not in graphs[0]
    case = [t.requires_grad_() for t in case]
    compiled = torch.compile(run, backend='aot_eager', fullgraph=True)
    for expected, found in zip(
        torch.autograd.grad(run(*case).square().sum(), case),
        torch.autograd.grad(compiled(*case).square().sum(), case),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('reference', [2, 4])
def test_points_stay_in_single_precision_under_autocast(reference, monkeypatch):
    layer, seen = accelerate(Layer()).attention, []

    def sample(value, shapes, x, y, weights, centre):
        seen.append((value.dtype, centre.dtype))
        return deformable_sampling(value, shapes, x, y, weights, centre=centre)

    monkeypatch.setattr(FastDeformableAttention, 'sample', staticmethod(sample))
    query, value = torch.randn(1, 5, 8), torch.randn(1, 16, 8)
    options = dict(
        reference_points=torch.rand(1, 5, 2, reference),
        spatial_shapes=torch.tensor([[3, 4], [2, 2]]),
    )
    expected = layer.eval()(query, value=value, **options)
    with torch.autocast('cpu', torch.bfloat16):
        output = layer(query, value=value, **options)
    assert seen[1] == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(output, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize('batch_first', [True, False])
@pytest.mark.parametrize('reference', [2, 4])
@pytest.mark.parametrize('padded', [True, False])
def test_the_module_is_mmcvs(batch_first, reference, padded):
    shapes = torch.tensor([[5, 8], [3, 4]])
    plain = MultiScaleDeformableAttention(
        16, 4, num_levels=2, num_points=3, dropout=0.0, batch_first=batch_first
    )
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    query, value = torch.randn(2, 7, 16), torch.randn(2, 52, 16)
    inputs = dict(query=query, value=value, query_pos=torch.randn(2, 7, 16))
    if not batch_first:
        inputs = {name: x.transpose(0, 1) for name, x in inputs.items()}
    padding = torch.rand(2, 52) < 0.3
    results = []
    for module in (plain, accelerate(plain)):
        leaves = [x.clone().requires_grad_() for x in inputs.values()]
        points = torch.rand(2, 7, 2, reference, generator=torch.manual_seed(0))
        points.requires_grad_()
        output = module(
            **dict(zip(inputs, leaves, strict=True)),
            key_padding_mask=padding if padded else None,
            reference_points=points,
            spatial_shapes=shapes,
            level_start_index=torch.tensor([0, 40]),
        )
        leaves += [points, *module.parameters()]
        probe = torch.linspace(-1, 1, output.numel()).view_as(output)
        results.append([output, *torch.autograd.grad(output, leaves, probe)])
    assert type(module) is FastDeformableAttention
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_query_is_value_and_identity_where_none_is_given():
    shapes = torch.tensor([[2, 3]])
    plain = MultiScaleDeformableAttention(8, 2, num_levels=1, batch_first=True).eval()
    torch.nn.init.normal_(plain.sampling_offsets.weight)
    query, points = torch.randn(1, 6, 8), torch.rand(1, 6, 1, 2)
    options = dict(reference_points=points, spatial_shapes=shapes)
    expected = plain(query, level_start_index=torch.tensor([0]), **options)
    torch.testing.assert_close(accelerate(plain)(query, **options), expected)


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_it_keeps_the_rules_of_operators(dtype, way):
    value, shapes, points, weights = random_case([(3, 4), (2, 2)], 2, 5, 2, 3, 4)
    x, y = (points * 4).requires_grad_().unbind(-1)
    value, weights = value.to(dtype).requires_grad_(), weights.requires_grad_()
    args = value, x, y, weights, shapes.flatten().tolist(), way
    torch.library.opcheck(torch.ops.mmfdta.deformable_sampling.default, args)
    centre = torch.rand(2, 5, 2, 2, requires_grad=True)
    args = value, x.to(dtype), y.to(dtype), *args[3:], centre
    torch.library.opcheck(torch.ops.mmfdta.deformable_sampling.default, args)
    grad = torch.randn(2, 5, 8, dtype=dtype)
    args = grad, *(t.detach() for t in args[:4]), *args[4:6], centre.detach()
    torch.library.opcheck(torch.ops.mmfdta.deformable_sampling_backward.default, args)


def test_arguments_that_do_not_fit_are_refused():
    value, _, points, weights = random_case([(3, 4)], 1, 5, 2, 3, 4)
    x, y = points.unbind(-1)
    for levels, shares in (([(3, 5)], weights), ([(3, 4)], weights[..., :2])):
        with pytest.raises(ValueError, match=r'(value|weights) is .*, and levels '):
            deformable_sampling(value, levels, x, y, shares)


def kept_bytes(run):
    """Bytes that a result keeps for its backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda _: None):
        run()
    return sum(t.numel() * t.itemsize for t in kept)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_as_much_is_kept_for_the_backward_pass_as_by_the_compiled_operator(dtype):
    sizes = batch, queries, heads, points, dim = 2, 7, 4, 3, 8
    case = random_case([(5, 8), (3, 4)], *sizes)
    value, weights = (t.to(dtype).requires_grad_() for t in (case[0], case[3]))
    shapes, starts, locations = case[1], torch.tensor([0, 40]), case[2].requires_grad_()
    x, y = (locations * 8).detach().to(dtype).unbind(-1)
    centre = torch.rand(batch, queries, 2, 2)
    ours = kept_bytes(
        lambda: deformable_sampling(
            value, shapes.tolist(), x, y, weights, centre=centre
        )
    )
    mmcvs = kept_bytes(
        lambda: MultiScaleDeformableAttnFunction.apply(
            value, shapes, starts, locations, weights, 64
        )
    )
    count = batch * queries * heads * 2 * points
    numbers = batch * 52 * heads * dim + 3 * count
    assert ours == numbers * dtype.itemsize + centre.nbytes
    assert mmcvs == numbers * dtype.itemsize + shapes.nbytes + starts.nbytes


@pytest.mark.parametrize('way', WAYS)
def test_points_may_count_from_a_centre(way):
    value, shapes, points, weights = random_case(
        [(3, 4), (2, 2)], 2, 5, 2, 3, 4, torch.float64
    )
    centre = torch.rand(2, 5, 2, 2, dtype=torch.float64) * 3
    offsets = points * 4 - 1
    results = []
    for given in (True, False):
        leaves = [t.clone().requires_grad_() for t in (value, offsets, centre, weights)]
        x, y = leaves[1].unbind(-1)
        middle = leaves[2]
        if not given:
            x, y = (leaves[1] + middle[:, :, None, :, None]).unbind(-1)
            middle = None
        output = deformable_sampling(
            leaves[0], shapes.tolist(), x, y, leaves[3], way, middle
        )
        probe = torch.linspace(-1, 1, output.numel()).view_as(output)
        results.append([output, *torch.autograd.grad(output, leaves, probe)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_positions_are_not_rounded_to_half_precision():
    value, shapes, points, weights = random_case([(3, 4)], 1, 5, 2, 3, 4)
    x, y = points.half().unbind(-1)
    centre = torch.rand(1, 5, 1, 2)
    levels = shapes.flatten().tolist()
    operator_of = torch.ops.mmfdta.deformable_sampling
    with pytest.raises(ValueError, match=r'x, y and centre are torch\.float16'):
        operator_of(value, x, y, weights, levels)
    with pytest.raises(
        ValueError, match=r'values of torch\.float32 take torch\.float32'
    ):
        operator_of(value, x, y, weights, levels, '', centre.half())
    operator_of(value, x, y, weights, levels, '', centre)


class Logged(torch.Tensor):
    """A tensor that wraps another one and notes the operators that it sees."""

    seen: typing.ClassVar[list] = []

    @staticmethod
    def __new__(cls, inner):
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype
        )
        wrapper.inner = inner
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        cls.seen.append(str(func))
        args, kwargs = tree_map_only(cls, lambda t: t.inner, (args, kwargs or {}))
        return tree_map_only(torch.Tensor, cls, func(*args, **kwargs))


def test_what_wraps_tensors_sees_one_operator():
    value, shapes, points, weights = random_case([(3, 4), (2, 2)], 2, 5, 2, 3, 4)
    case = value, *(points * 4).unbind(-1), weights
    plain = [t.clone().requires_grad_() for t in case]
    wrapped = [Logged(t).requires_grad_() for t in case]
    results = []
    for value, *rest in (plain, wrapped):
        output = deformable_sampling(value, shapes.tolist(), *rest)
        Logged.seen.append('between')
        results.append([output, *torch.autograd.grad(output.sum(), (value, *rest))])
    for expected, found in zip(*results, strict=True):
        assert torch.equal(found.inner, expected)
    names = [name for name in Logged.seen if 'detach' not in name]
    assert names[1:] == [
        'mmfdta.deformable_sampling.default',
        'between',
        'aten.sum.default',
        'aten.ones_like.default',
        'aten.expand.default',
        'mmfdta.deformable_sampling_backward.default',
    ]


def test_the_compiled_operator_gets_what_it_wants():
    # Its stand-in has the same interface, without autograd inside of operators.
    shapes = ((5, 8), (3, 4))
    value, _, locations, weights = random_case(shapes, 6, 7, 4, 3, 8, torch.float64)
    x, y = (locations * 8).unbind(-1)
    case = value, x, y, weights
    expected = plain.plain_forward(*case, shapes)
    torch.testing.assert_close(compiled.compiled_forward(*case, shapes), expected)
    grad = torch.randn_like(expected)
    for found, gradient in zip(
        compiled.compiled_backward(grad, *case, shapes),
        plain.plain_backward(grad, *case, shapes),
        strict=True,
    ):
        assert found.is_contiguous()
        torch.testing.assert_close(found, gradient)


@pytest.mark.parametrize(
    ('images', 'keys', 'expected'),
    # At once at most 64 of images of 256 numbers per key, which all divide the batch;
    # 2^23 keys of 256 numbers are one too many to count.
    [(1, 5, 1), (64, 5, 64), (65, 5, 13), (67, 5, 1), (12, 2**20, 6), (1, 2**23, 0)],
)
def test_the_compiled_operator_gets_as_many_images_as_it_takes(images, keys, expected):
    value = torch.empty(images, keys, 8, 32, device='meta')
    x = torch.empty(images, 3, 8, 4, 4, device='meta')
    assert compiled.images_at_once(value, x) == expected


@pytest.mark.parametrize(
    ('has_compiled', 'has_triton', 'single', 'half'),
    [
        (True, True, 'compiled triton plain', 'triton compiled plain'),
        (True, False, 'compiled plain', 'compiled plain'),
        (False, True, 'triton plain', 'triton plain'),
        (False, False, 'plain', 'plain'),
    ],
)
def test_the_way_on_a_gpu_depends_on_what_is_there(
    has_compiled, has_triton, single, half, monkeypatch
):
    said = []
    monkeypatch.setattr(operator, 'print_log', lambda text, **_: said.append(text))
    monkeypatch.setattr(operator, 'is_compiled', lambda: has_compiled)
    problem = '' if has_triton else 'not installed'
    monkeypatch.setattr(operator, '_problem_of_triton', lambda _: problem)
    found = functools.cache(operator._found_on.__wrapped__)
    monkeypatch.setattr(operator, '_found_on', found)
    gpu = torch.device('cuda', 0)
    assert ' '.join(sampling_ways(gpu)) == single
    for dtype in (torch.float16, torch.bfloat16):
        assert ' '.join(sampling_ways(gpu, dtype)) == half
    nothing = not has_compiled and not has_triton
    assert len(said) == (1 if nothing else 0)


def test_a_gpu_that_triton_cannot_use_is_said_in_one_line():
    # There is no driver here, which is as good as a missing compiler.
    problem = operator._problem_of_triton(torch.device('meta'))
    assert problem
    assert '\n' not in problem


def test_a_way_that_does_not_exist_is_named():
    value, _, points, weights = random_case([(3, 4)], 1, 5, 2, 3, 4)
    x, y = points.unbind(-1)
    with pytest.raises(ValueError, match=r"^way: found 'fast', expected one of sparse"):
        deformable_sampling(value, [(3, 4)], x, y, weights, 'fast')


def test_sizes_of_levels_are_read_again_after_a_change():
    shapes = torch.tensor([[3, 4], [2, 2]])
    assert read_level_shapes(shapes) is read_level_shapes(shapes) == ((3, 4), (2, 2))
    shapes[1] = 5
    assert read_level_shapes(shapes) == ((3, 4), (5, 5))
    with torch.inference_mode():
        assert read_level_shapes(torch.tensor([[3, 4]])) == ((3, 4),)
