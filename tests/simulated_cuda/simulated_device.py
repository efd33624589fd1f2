# Copyright (c) mmfdta authors.
"""A simulated CUDA device on a CPU build of PyTorch.

A :class:`SimulatedTensor` says that it lies on ``cuda:0`` and holds a tensor of the
host. Inside :func:`simulated_cuda` every operator runs on the tensors of the host, so
results are those of the CPU. What CUDA refuses is refused (mixed devices, ``numpy()``),
and what makes the host wait is counted by place. Copies from the device that do not
block hold nonsense until the host has waited for them.

It does not see: numerics of CUDA (TF32, atomics), memory, speed, NCCL, kernels of other
streams that run too early.

``device_worker.py`` loads the guard before torch and then this module.
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from attention_kernels import attention_kernel
from device_counts import Counts
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map  # any nesting

CUDA = torch.device('cuda', 0)
CPU = torch.device('cpu')

# Operators whose result's size, or whose result itself, the host has to know.
WAITING = {
    'aten::_linalg_check_errors',
    'aten::_local_scalar_dense',
    'aten::_unique',
    'aten::_unique2',
    'aten::bincount',
    'aten::equal',
    'aten::is_nonzero',
    'aten::masked_select',
    'aten::nonzero',
    'aten::unique_consecutive',
    'aten::unique_dim',
    'aten::unique_dim_consecutive',
    'torchvision::nms',
}
INDEXING = {
    'aten::_index_put_impl_',
    'aten::_unsafe_index',
    'aten::_unsafe_index_put',
    'aten::index',
    'aten::index_put',
    'aten::index_put_',
}
# Beside pointwise operators: those that take a scalar of the host as a tensor.
TAKES_HOST_SCALAR = {
    'clamp',
    'clamp_',
    'fill',
    'fill_',
    'index_fill',
    'index_fill_',
    'linspace',
    'logspace',
    'masked_fill',
    'masked_fill_',
    'where',
}
# These launch nothing on a GPU (views are found by their schemas).
WITHOUT_LAUNCH = {
    '_local_scalar_dense',
    '_has_compatible_shallow_copy_type',
    'detach_',
    'empty',
    'empty_like',
    'empty_permuted',
    'empty_strided',
    'is_same_size',
    'lift_fresh',
    'new_empty',
    'new_empty_strided',
    'record_stream',
    'set_',
}
NONSENSE = {torch.bool: True, torch.uint8: 165}


class MixedDevicesError(RuntimeError):
    """Tensors of the host and of the device met where CUDA does not take both."""


class SimulatedTensor(torch.Tensor):
    """A tensor that says it lies on ``cuda:0``."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> 'SimulatedTensor':
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            layout=host.layout,
            device=CUDA,
        )
        self.host = host
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN206
        return DEVICE.run(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        DEVICE.wait('repr')
        return f'simulated({self.host!r})'

    def __array__(self, *_: Any, **__: Any) -> None:
        self.numpy()

    def numpy(self, **_: Any) -> None:
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to "
            'copy the tensor to host memory first.'
        )

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def new_tensor(self, data: Any, **options: Any) -> Tensor:
        options = {'dtype': self.dtype, 'device': self.device, **options}
        return torch.tensor(data, **options)

    def data_ptr(self) -> int:
        return self.host.data_ptr()

    def pin_memory(self, *_: Any) -> None:
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors")

    def is_pinned(self, *_: Any) -> bool:
        return False

    def record_stream(self, stream: Any) -> None:
        pass

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, other: Tensor) -> None:
        if not isinstance(other, SimulatedTensor) or other.shape != self.shape:
            raise NotImplementedError('the simulation sets data of one shape only')
        self.host = other.host

    def __copy__(self) -> 'SimulatedTensor':
        return SimulatedTensor(self.host)

    def __deepcopy__(self, memo: dict) -> Tensor:
        if id(self) not in memo:
            copied = SimulatedTensor(self.host.clone())
            if isinstance(self, torch.nn.Parameter):
                copied = torch.nn.Parameter(copied, self.requires_grad)
            else:
                copied.requires_grad_(self.requires_grad)
            memo[id(self)] = copied
        return memo[id(self)]

    def __reduce_ex__(self, protocol: int) -> Any:
        DEVICE.count('pickled', f'{tuple(self.shape)}')
        DEVICE.wait('pickle')
        return self.host.detach().__reduce_ex__(protocol)


def _on_device(device: Any) -> bool:
    if device is None or isinstance(device, torch.device):
        return device is not None and device.type == 'cuda'
    return torch.device(device).type == 'cuda'


def _to_host(x: Any) -> Any:
    """Replace tensors of the device by those of the host, in lists and tuples, too."""
    if isinstance(x, SimulatedTensor):
        return x.host
    return type(x)(map(_to_host, x)) if type(x) in (list, tuple) else x


def _collect_tensors(values: Iterable, found: list[Tensor]) -> None:
    for x in values:
        if isinstance(x, Tensor):
            found.append(x)
        elif type(x) in (list, tuple):
            _collect_tensors(x, found)


@functools.cache
def _facts(func: Any) -> tuple[str, str, bool]:
    """Name of an operator, its name without a namespace, whether it launches."""
    name = func._schema.name
    short = name.split('::')[1]
    infos = [x.alias_info for x in func._schema.arguments if x.alias_info is not None]
    is_view = bool(infos) and not any(info.is_write for info in infos)
    return name, short, not is_view and short not in WITHOUT_LAUNCH


class Device:
    """The simulated device: runs operators, refuses, counts, holds copies under way."""

    def __init__(self) -> None:
        self.counters: list[Counts] = []
        self.under_way: list[tuple[Tensor, Tensor]] = []
        self.read_later: list[tuple[Tensor, Tensor, str]] = []
        self.copies_begun = 0

    @contextlib.contextmanager
    def counting(self) -> Iterator[Counts]:
        """Count what happens inside; counters may lie in each other."""
        counts = Counts()
        self.counters.append(counts)
        try:
            yield counts
        finally:
            self.counters.remove(counts)

    def count(self, kind: str, what: str) -> None:
        for counts in self.counters:
            counts.add(kind, what)

    def wait(self, what: str) -> None:
        """The host waits until the device has done everything."""
        self.count('waits', what)
        self.arrive(self.copies_begun)

    def arrive(self, copies_begun: int) -> None:
        """End the copies that had begun when so many had."""
        keep = self.copies_begun - copies_begun
        ended = self.under_way[: len(self.under_way) - keep]
        self.under_way = self.under_way[len(ended) :]
        for target, values in ended:
            target.copy_(values)
        if not keep:
            for source, values, place in self.read_later:
                if not torch.equal(source, values):
                    raise RuntimeError(
                        f'pinned memory changed before it was copied, in {place}'
                    )
            self.read_later.clear()

    def run(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Run one operator."""
        tensors: list[Tensor] = []
        _collect_tensors(args, tensors)
        _collect_tensors(kwargs.values(), tensors)
        given = [x for x in tensors if isinstance(x, SimulatedTensor)]
        target = kwargs.get('device')
        if not given and not _on_device(target):
            return func(*args, **kwargs)
        name, short, launches = _facts(func)
        if launches:
            for counts in self.counters:
                counts.launches[short] += 1
        if name == 'aten::_to_copy':
            return self._copied(func, args[0], dict(kwargs))
        if name == 'aten::copy_':
            return self._copy(*args, **kwargs)
        if len(given) != len(tensors) and given:
            _refuse_mixed_devices(func, name, args, tensors)
        self._count_waits(func, name, args, kwargs)
        options = {key: _to_host(value) for key, value in kwargs.items()}
        if target is not None:
            options['device'] = CPU
        options.pop('pin_memory', None)
        known = {id(x.host): x for x in given}
        result = _compute(name, func, _to_host(args), options)
        for x in given:
            if x.shape != x.host.shape:
                raise NotImplementedError(f'the simulation of {name} changes a shape')
        if target is not None and not _on_device(target):
            return result
        return self._to_device(result, known, short)

    def _to_device(self, x: Any, known: dict[int, Tensor], operator: str) -> Any:
        """Wrap results; what was changed in place keeps its wrapper."""
        if isinstance(x, list | tuple):
            return type(x)(self._to_device(value, known, operator) for value in x)
        if not isinstance(x, Tensor):
            return x
        if x.dtype == torch.float64 and x.numel() > 1:
            self.count('float64', operator)
        return known[id(x)] if id(x) in known else SimulatedTensor(x)

    def _copied(self, func: Any, source: Tensor, options: dict) -> Tensor:
        """``Tensor.to``: another type, another device."""
        from_device = isinstance(source, SimulatedTensor)
        target = options.get('device')
        to_device = from_device if target is None else _on_device(target)
        non_blocking = options.pop('non_blocking', False)
        options.pop('pin_memory', None)
        if target is not None:
            options['device'] = CPU
        host = _to_host(source)
        values = func(host, **options)
        if values is host:
            values = host.clone()
        if from_device and to_device:
            if values.dtype == torch.float64 and values.numel() > 1:
                self.count('float64', 'to')
            return SimulatedTensor(values)
        if to_device:
            self._sent(host, non_blocking)
            return SimulatedTensor(values)
        if non_blocking:
            result = torch.empty_like(values, pin_memory=True)
            self._bring_later(result, values)
            return result
        if values.numel():
            self.wait('copy to the host')
        return values

    def _copy(
        self, target: Tensor, source: Tensor, non_blocking: bool = False
    ) -> Tensor:
        """``Tensor.copy_`` within and between devices."""
        host, values = _to_host(target), _to_host(source)
        if isinstance(target, SimulatedTensor):
            if not isinstance(source, SimulatedTensor):
                self._sent(values, non_blocking)
            host.copy_(values)
        elif non_blocking and host.is_pinned():
            self._bring_later(host, values.expand_as(host).to(host.dtype, copy=True))
        else:
            if values.numel():
                self.wait('copy to the host')
            host.copy_(values)
        return target

    def _sent(self, source: Tensor, non_blocking: bool) -> None:
        """Count a copy from the host."""
        if not source.numel():
            return
        if not non_blocking:
            self.count('blocking_copies', f'copy of {tuple(source.shape)}')
            self.arrive(self.copies_begun)
        elif source.is_pinned() and _is_dense(source):
            self.read_later.append((source, source.clone(), str(tuple(source.shape))))
        else:
            self.count('pageable_copies', f'copy of {tuple(source.shape)}')

    def _bring_later(self, target: Tensor, values: Tensor) -> None:
        """Begin a copy to pinned memory of the host."""
        if target.dtype.is_floating_point:
            target.fill_(float('nan'))
        else:
            worst = NONSENSE.get(target.dtype)
            target.fill_(torch.iinfo(target.dtype).min if worst is None else worst)
        self.under_way.append((target, values.clone()))
        self.copies_begun += 1

    def _count_waits(self, func: Any, name: str, args: tuple, kwargs: dict) -> None:
        short = name.split('::')[1].lstrip('_')
        if name in WAITING:
            self.wait({'local_scalar_dense': 'item'}.get(short, short))
        elif name in INDEXING:
            self._count_indices(name, args)
        elif name == 'aten::repeat_interleave' and func._overloadname == 'Tensor':
            if kwargs.get('output_size') is None:
                self.wait('repeat_interleave without output_size')
        elif short in ('linspace', 'logspace', 'histc'):
            if short == 'histc' or any(isinstance(x, SimulatedTensor) for x in args):
                self.wait(short)
        elif name == 'aten::isin':
            elements, test, *_ = args
            few = isinstance(test, Tensor) and isinstance(elements, Tensor)
            few = few and test.numel() < int(10 * elements.numel() ** 0.145)
            if not few and not kwargs.get('assume_unique', False):
                self.wait('isin of many')

    def _count_indices(self, name: str, args: tuple) -> None:
        """Masks have to be counted by the host, indices of the host to be sent."""
        indices = [x for x in args[1] if x is not None]
        if 'put' in name:
            value = args[2]
            accumulate = args[3] if len(args) > 3 else False
            scalar = value.numel() == 1 and not isinstance(value, SimulatedTensor)
            masks = [x for x in indices if x.dtype in (torch.bool, torch.uint8)]
            if scalar and not accumulate and len(masks) == len(indices) == 1:
                if not isinstance(masks[0], SimulatedTensor):
                    self._sent(masks[0], non_blocking=False)
                return  # a masked fill
        for index in indices:
            mask = index.dtype in (torch.bool, torch.uint8)
            if isinstance(index, SimulatedTensor):
                if mask:
                    self.wait('index by a mask')
            else:
                for _ in range(index.dim() if mask else 1):
                    self._sent(index, non_blocking=False)


DEVICE = Device()


def _is_dense(x: Tensor) -> bool:
    """Whether a copy needs no contiguous one before (which is not pinned)."""
    order = sorted(range(x.dim()), key=lambda i: (-x.stride(i), -x.shape[i]))
    return x.permute(order).is_contiguous()


def _refuse_mixed_devices(
    func: Any, name: str, args: tuple, tensors: list[Tensor]
) -> None:
    short = name.split('::')[1]
    host = [x for x in tensors if not isinstance(x, SimulatedTensor)]
    if short in ('lift_fresh', 'set_') or name.startswith('c10d::'):
        return
    if name in INDEXING:
        if not isinstance(args[0], SimulatedTensor):
            raise MixedDevicesError(
                'indices should be either on cpu or on the same device as the indexed '
                f'tensor (cpu) ({name})'
            )
        host = [x for x in args[2:3] if not isinstance(x, SimulatedTensor)]
    scalars = all(x.dim() == 0 for x in host)
    takes_scalars = (
        name in INDEXING
        or short in TAKES_HOST_SCALAR
        or torch.Tag.pointwise in func.tags
        or short.startswith(('_foreach', '_fused', '_amp'))
    )
    if not (scalars and takes_scalars):
        raise MixedDevicesError(
            'Expected all tensors to be on the same device, but found at least two '
            f'devices, cuda:0 and cpu! ({name}; on the cpu: '
            f'{[tuple(x.shape) for x in host]})'
        )


def _compute(name: str, func: Any, args: tuple, options: dict) -> Any:
    """Run an operator on tensors of the host, as a kernel of CUDA would round."""
    if name in ('aten::_softmax', 'aten::_log_softmax') and args[2]:
        return func(args[0].float(), args[1], False)  # half in, float32 out
    if name in ('aten::_softmax_backward_data', 'aten::_log_softmax_backward_data'):
        grad, output, dim, dtype = args
        return func(grad, output, dim, grad.dtype).to(dtype)
    try:
        return func(*args, **options)
    except (RuntimeError, NotImplementedError) as error:
        if 'not implemented for' not in str(error) or func._schema.is_mutable:
            raise
        # The CPU has no such kernel for half precision.
        halves = {x.dtype for x in tree_leaves((args, options)) if _is_half(x)}
        if len(halves) != 1:
            raise
        args, options = tree_map(
            lambda x: x.float() if _is_half(x) else x, (args, options)
        )
        return tree_map(
            lambda x: x.to(*halves) if _is_float(x) else x, func(*args, **options)
        )


def _is_half(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16)


def _is_float(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype == torch.float32


class FusedAttention(torch.autograd.Function):
    """Attention in one launch, and its gradients in another."""

    @staticmethod
    def forward(ctx, q, k, v, mask, options):  # noqa: ANN001, ANN205
        ctx.save_for_backward(q, k, v, mask)
        ctx.options, ctx.random = options, torch.get_rng_state()
        for counts in DEVICE.counters:
            counts.launches['fused_attention'] += 1
        inputs = [_to_host(x) for x in (q, k, v, mask)]
        return SimulatedTensor(ATTENTION(*inputs, **options))

    @staticmethod
    def backward(ctx, grad):  # noqa: ANN001, ANN205
        for counts in DEVICE.counters:
            counts.launches['fused_attention_backward'] += 1
        inputs = [None if x is None else _to_host(x) for x in ctx.saved_tensors]
        needed = [i for i in range(4) if ctx.needs_input_grad[i]]
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.set_rng_state(ctx.random)
            for i in needed:
                inputs[i] = inputs[i].detach().requires_grad_()
            out = ATTENTION(*inputs, **ctx.options)
            found = torch.autograd.grad(out, [inputs[i] for i in needed], grad.host)
        grads: list[Any] = [None] * 5
        for i, value in zip(needed, found, strict=True):
            grads[i] = SimulatedTensor(value)
        return tuple(grads)


# What is below any mode, or decided before an operator is called, is replaced.
ATTENTION = torch.nn.functional.scaled_dot_product_attention
TENSOR, AS_TENSOR = torch.tensor, torch.as_tensor


def _attend(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, **options):  # noqa: ANN001, ANN003, ANN202
    """Note the kernel, and take one launch where CUDA takes a fused one."""
    if not isinstance(q, SimulatedTensor):
        return ATTENTION(q, k, v, attn_mask, dropout_p, is_causal, **options)
    if torch.is_autocast_enabled('cuda'):
        dtype = torch.get_autocast_dtype('cuda')
        q, k, v, attn_mask = (
            x.to(dtype) if x is not None and x.is_floating_point() else x
            for x in (q, k, v, attn_mask)
        )
    given = [x for x in (q, k, v, attn_mask) if x is not None]
    if not all(isinstance(x, SimulatedTensor) for x in given):
        raise MixedDevicesError('attention of tensors on cuda:0 and cpu')
    kernel, reason = attention_kernel(q, k, v, attn_mask, is_causal)
    sizes = f'{str(q.dtype)[6:]} q {tuple(q.shape)} k {tuple(k.shape)}'
    DEVICE.count('attention', f'{kernel} {sizes} {reason}'.strip())
    options.update(dropout_p=dropout_p, is_causal=is_causal)
    with torch.autocast('cuda', enabled=False):
        if kernel == 'math':
            return ATTENTION(q, k, v, attn_mask, **options)
        return FusedAttention.apply(q, k, v, attn_mask, options)


def _read_scalars(make: Any, data: Any, **options: Any) -> Tensor:
    """``torch.tensor([x, y])`` asks every scalar of the device for its value."""

    def on_host(x: Any) -> Any:
        if isinstance(x, SimulatedTensor):
            return x.item() if x.numel() == 1 else x.tolist()
        return type(x)(map(on_host, x)) if type(x) in (list, tuple) else x

    return make(on_host(data) if type(data) in (list, tuple) else data, **options)


class OperatorsOfDevice(TorchDispatchMode):
    """Every operator, those that make a tensor on the device from nothing, too."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        return DEVICE.run(func, args, kwargs or {})


class Loading:
    """``torch.load`` onto the device: loads onto the host and moves what it found."""

    plain: ClassVar = staticmethod(torch.load)

    def __call__(self, file: Any, map_location: Any = None, **options: Any) -> Any:
        if not isinstance(map_location, str | torch.device) or not _on_device(
            map_location
        ):
            return self.plain(file, map_location=map_location, **options)
        moved: dict[int, Any] = {}

        def move(x: Any) -> Any:
            if id(x) in moved:
                return moved[id(x)]
            if isinstance(x, Tensor):
                moved[id(x)] = x.to(CUDA)
            elif isinstance(x, dict):
                moved[id(x)] = x
                x.update({key: move(value) for key, value in x.items()})
            elif isinstance(x, list):
                moved[id(x)] = x
                x[:] = map(move, x)
            elif type(x) is tuple:
                return tuple(map(move, x))
            return moved.get(id(x), x)

        return move(self.plain(file, map_location='cpu', **options))


@contextlib.contextmanager
def simulated_cuda() -> Iterator[Device]:
    """Everything inside may use ``cuda:0``."""
    functional = torch.nn.functional
    torch.load = Loading()
    torch.tensor = functools.partial(_read_scalars, TENSOR)
    torch.as_tensor = functools.partial(_read_scalars, AS_TENSOR)
    functional.scaled_dot_product_attention = _attend
    try:
        with (
            # Backward passes run in this thread, which the counters see.
            torch.autograd.set_multithreading_enabled(False),
            OperatorsOfDevice(),
        ):
            yield DEVICE
            DEVICE.arrive(DEVICE.copies_begun)
    finally:
        torch.load, torch.tensor, torch.as_tensor = Loading.plain, TENSOR, AS_TENSOR
        functional.scaled_dot_product_attention = ATTENTION
        DEVICE.under_way.clear()
        DEVICE.read_later.clear()
