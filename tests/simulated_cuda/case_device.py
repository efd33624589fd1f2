# Copyright (c) mmfdta authors.
"""What the simulated device has to see, in a few lines of PyTorch each."""

import copy
import io
from collections.abc import Callable

import torch
import torch.nn.functional as F
from simulated_device import CUDA, DEVICE, SimulatedTensor, simulated_cuda
from torch import nn


def _tensor(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, device=CUDA)


def _indices(values: list[int]) -> torch.Tensor:
    return torch.tensor(values).to(CUDA, non_blocking=True)


WAITING = dict(
    cpu=lambda x: x.cpu(),
    item=lambda x: x[0, 0].item(),
    tolist=lambda x: x.tolist(),
    truth=lambda x: bool(x[0, 0] > 1),
    slice_end=lambda x: x[: (x[0, 0] + 1).long()],
    integer_index=lambda x: x[x[0, 0].long()],
    list_of_scalars=lambda x: torch.tensor([x[0, 0]]),
    nonzero=lambda x: x.nonzero(),
    mask=lambda x: x[x > 0],
    mask_assigned=lambda x: x.__setitem__(x > 0, x[x > 0][:0]),
    mask_filled_by_the_device=lambda x: x.__setitem__(x > 0, x[0, 0]),
    unique=lambda x: x.unique(),
    equal=lambda x: torch.equal(x, x),
    repeat=lambda x: x.repeat_interleave(_indices([1, 2, 3]), dim=0),
    linspace=lambda x: torch.linspace(x[0, 0], x[0, 0] + 1, 3, device=CUDA),
    arange=lambda x: torch.arange(x[0, 0] + 2, device=CUDA),
    full=lambda x: torch.full((2,), x[0, 0], device=CUDA),
    one_hot=lambda x: F.one_hot(x.long()),
    synchronize=lambda x: torch.cuda.synchronize(),
    event=lambda x: torch.cuda.Event().synchronize(),
    printed=repr,
    pageable_target=lambda x: torch.zeros(3, 4).copy_(x, non_blocking=True),
    many_in_many=lambda x: torch.isin(x, x.repeat(2, 1)),
)
BLOCKING = dict(
    tensor=lambda x: torch.tensor([1, 2], device=CUDA),
    scalar=lambda x: torch.tensor(1.0, device=CUDA),
    as_tensor=lambda x: torch.as_tensor([1, 2], device=CUDA),
    new_tensor=lambda x: x.new_tensor([1, 2]),
    to=lambda x: torch.zeros(2).to(CUDA),
    cuda=lambda x: torch.zeros(2).cuda(),
    assigned_element=lambda x: x[0].__setitem__(0, 1.0),
    assigned_rows=lambda x: x.__setitem__(slice(2), torch.zeros(2, 4)),
    host_index=lambda x: x[torch.tensor([0, 2])],
    list_index=lambda x: x[[0, 2]],
    host_mask=lambda x: x[torch.tensor([True, False, True])],
)
FREE = dict(
    pinned=lambda x: torch.zeros(2).pin_memory().to(CUDA, non_blocking=True),
    to_pinned=lambda x: x.to('cpu', non_blocking=True),
    scalar=lambda x: x * torch.tensor(2.0) + 1,
    filled=lambda x: x.fill_(2),
    rows_filled=lambda x: x[1:].fill_(2),
    mask_filled=lambda x: x.__setitem__(x > 0, 0.0),
    masked_fill=lambda x: x.masked_fill(x > 0, 0.0),
    where=lambda x: torch.where(x > 0, x, 0.0),
    device_index=lambda x: x[_indices([0, 2])],
    repeat=lambda x: x.repeat_interleave(_indices([1, 2, 3]), dim=0, output_size=6),
    one_hot=lambda x: F.one_hot(x.long(), 3),
    few_in_few=lambda x: torch.isin(x, x[0, :2]),
    sorted=lambda x: x.sort(),
    empty=lambda x: x[:0].cpu(),
)
REFUSED = dict(
    added=lambda x: x + torch.zeros(4),
    scalar_of_device=lambda x: x[0, 0] + torch.zeros(4),
    joined=lambda x: torch.cat([x, torch.zeros(1, 4)]),
    gathered=lambda x: x.gather(0, torch.zeros(1, 4, dtype=torch.long)),
    host_by_device=lambda x: torch.zeros(3)[x[:, 0].long()],
    assigned=lambda x: x.__setitem__(_indices([0, 1]), torch.zeros(2, 4)),
    multiplied=lambda x: x @ torch.zeros(4, 2),
    embedding=lambda x: F.embedding(torch.tensor([1]), x),
    numpy=lambda x: x.numpy(),
    generated=lambda x: F.mse_loss(x, torch.zeros(3, 4)),
)


def _happened(act: Callable[[torch.Tensor], object]) -> dict[str, int]:
    x = _tensor(3, 4)
    with DEVICE.counting() as counts:
        act(x)
    counted = ('waits', 'blocking_copies', 'pageable_copies')
    return {kind: sum(counts.by_place(kind).values()) for kind in counted}


def transfers() -> dict[str, dict[str, dict[str, int]]]:
    """Count what single operations ask for."""
    found = {}
    with simulated_cuda():
        for title, acts in (('wait', WAITING), ('block', BLOCKING), ('free', FREE)):
            found[title] = {name: _happened(act) for name, act in acts.items()}
    return found


def refused() -> dict[str, str]:
    """Do what CUDA refuses, and return what was said."""
    said = {}
    with simulated_cuda():
        for name, act in REFUSED.items():
            try:
                act(_tensor(3, 4))
                said[name] = 'accepted'
            except (RuntimeError, TypeError) as error:
                said[name] = type(error).__name__
    return said


def places() -> dict:
    """Wait in a function, in its comprehension and in a backward pass."""

    class Reads(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # noqa: ANN001, ANN205
            return x.clone()

        @staticmethod
        def backward(ctx, grad):  # noqa: ANN001, ANN205
            grad.sum().item()
            return grad

    with simulated_cuda() as device, device.counting() as counts:
        x = _tensor(3).requires_grad_()
        [value.item() for value in x]
        Reads.apply(x).sum().backward()
    return counts.to_json()


def late_copies() -> list[float]:
    """Read a copy from the device too early, after an event and after a wait."""
    with simulated_cuda():
        x = _tensor(2) + 3
        first = x.to('cpu', non_blocking=True)
        early = float(first[0])
        event = torch.cuda.current_stream().record_event()
        second = (x + 1).to('cpu', non_blocking=True)
        event.synchronize()
        between = [float(first[0]), float(second[0])]
        x.cpu()
        return [early, *between, float(second[0])]


def reused_memory() -> str:
    """Overwrite pinned memory while it is copied."""
    memory = torch.zeros(4).pin_memory()
    try:
        with simulated_cuda():
            memory.to(CUDA, non_blocking=True)
            memory += 1
            torch.cuda.synchronize()
    except RuntimeError as error:
        return str(error)
    return 'accepted'


def network(device: str, dtype: str | None = None) -> list[float]:
    """Train a small network for three steps and return its losses."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(288, 4),
    )
    images, target = torch.randn(2, 3, 8, 8), torch.tensor([1, 3])
    with simulated_cuda():
        model = model.to(device)
        average = copy.deepcopy(model)
        optimizer = torch.optim.AdamW(model.parameters(), fused=device == 'cuda')
        scaler = torch.amp.GradScaler(device, 1024.0, enabled=dtype == 'float16')
        losses = []
        for _ in range(3):
            kind = dtype and getattr(torch, dtype)
            with torch.autocast(device, dtype=kind, enabled=dtype is not None):
                loss = F.cross_entropy(model(images.to(device)), target.to(device))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            losses.append(loss.detach())
        assert not torch.equal(average[0].weight, model[0].weight)
        return torch.stack(losses).tolist()


def saved() -> dict:
    """Write a state with tensors of the device and read it onto both devices."""
    file = io.BytesIO()
    with simulated_cuda() as device, device.counting() as counts:
        model = nn.Linear(2, 2).to(CUDA)
        torch.save(dict(state=model.state_dict(), steps=[_tensor(1)]), file)
        file.seek(0)
        state = torch.load(file, map_location='cuda')
        file.seek(0)
        host = torch.load(file, map_location='cpu')
    return dict(
        pickled=sum(counts.by_place('pickled').values()),
        device=state['state']['weight'].device.type,
        list=state['steps'][0].device.type,
        host=type(host['state']['weight']).__name__,
    )


def loader(num_workers: int) -> dict:
    """Count copies of batches from a loader with and without pinned memory."""
    data = torch.utils.data.TensorDataset(torch.arange(12.0).view(6, 2))
    found = {}
    for pin in (False, True):
        batches = torch.utils.data.DataLoader(
            data, batch_size=2, pin_memory=pin, num_workers=num_workers
        )
        with simulated_cuda() as device, device.counting() as counts:
            values = [x.to(CUDA, non_blocking=True).sum() for (x,) in batches]
            found[f'sum_{pin}'] = torch.stack(values).sum().item()
        found[f'pageable_{pin}'] = sum(counts.by_place('pageable_copies').values())
    return found


def kernels() -> dict[str, str]:
    """Name the attention kernel of several calls, and compare with plain attention."""
    found = {}
    with simulated_cuda() as device:

        def attend(name: str, *sizes: int, dtype=torch.float32, mask=None, cast=None):  # noqa: ANN001, ANN202
            q, k, v = (
                torch.randn(2, 3, 5, size).to(CUDA, dtype).requires_grad_()
                for size in sizes
            )
            if mask is not None:
                mask = mask.to(CUDA)
            with (
                device.counting() as counts,
                torch.autocast('cuda', dtype=cast, enabled=cast is not None),
            ):
                out = F.scaled_dot_product_attention(q, k, v, mask)
                out.float().sum().backward()
            (found[name],) = counts.kernels()
            host = [x.detach().cpu().float().requires_grad_() for x in (q, k, v)]
            scores = host[0] @ host[1].mT / sizes[0] ** 0.5
            if mask is not None:
                scores = scores + mask.cpu()
            expected = scores.softmax(-1) @ host[2]
            expected.sum().backward()
            near = dict(atol=1e-5 if dtype == torch.float32 and cast is None else 0.05)
            torch.testing.assert_close(out.cpu().float(), expected, rtol=0, **near)
            for x, y in zip((q, k, v), host, strict=True):
                torch.testing.assert_close(x.grad.cpu().float(), y.grad, rtol=0, **near)

        bias = torch.randn(5, 5)
        attend('float32', 32, 32, 32)
        attend('float32, 62', 62, 62, 62)
        attend('float32, 62 and 64', 64, 64, 62)
        attend('float32, bias', 32, 32, 32, mask=bias)
        attend('float16', 32, 32, 32, dtype=torch.float16)
        attend('bfloat16, 62', 62, 62, 62, dtype=torch.bfloat16)
        attend('float16, bias', 32, 32, 32, dtype=torch.float16, mask=bias)
        attend('float16, 12, bias', 12, 12, 12, dtype=torch.float16, mask=bias)
        attend('autocast', 32, 32, 32, cast=torch.bfloat16)
        attend('transposed bias', 32, 32, 32, mask=bias.mT)
        attend('float64', 32, 32, 32, dtype=torch.float64)
    return found


def custom_operator() -> dict:
    """An operator of ``torch.library`` is one launch, forward and backward."""

    @torch.library.custom_op('simulated_cuda_tests::cube', mutates_args=())
    def cube(x: torch.Tensor) -> torch.Tensor:
        assert not isinstance(x, SimulatedTensor)
        return x * x * x

    @torch.library.custom_op('simulated_cuda_tests::cube_slope', mutates_args=())
    def cube_slope(x: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        return 3 * x * x * grad

    cube.register_autograd(
        lambda ctx, grad: cube_slope(ctx.saved_tensors[0], grad),
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    )
    with simulated_cuda() as device:
        x = (_tensor(2) + 2).requires_grad_()
        with device.counting() as counts:
            cube(x).sum().backward()
        return dict(grad=x.grad.tolist(), operators=dict(counts.launches))


def float64() -> dict[str, int]:
    with simulated_cuda() as device, device.counting() as counts:
        _tensor(3).double() + 1
    return counts.by_place('float64')
