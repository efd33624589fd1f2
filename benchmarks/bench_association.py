# Copyright (c) mmfdta authors.
"""Time of one association step, compared with the released code and with its products.

The step scores the ID words for the detections of a frame, from a full history. The
floor is the time of the step's matrix products and attention alone: they are recorded
in one step and run again without anything between them.

Example:
    python benchmarks/bench_association.py --released ../FDTA
"""

import sys

import torch
from measuring import Ways, print_case, print_header, read_options, take_turns
from networks import HISTORY, OBJECTS, build_fdta, make_history
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmfdta.apis.gpu_check.released_code import Released
from mmfdta.models.trackers import TrajectoryHistory
from mmfdta.ops.linear import linear_flops

PRODUCTS = (
    torch.ops.aten.mm,
    torch.ops.aten.addmm,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,
    *linear_flops(),
)


class Products(TorchDispatchMode):
    """Records the matrix products and attention of what runs under it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []

    def __torch_dispatch__(
        self,
        function: object,
        types: object,
        args: tuple = (),
        kwargs: dict | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if function.overloadpacket in PRODUCTS:
            self.calls.append((function, args, kwargs))
        return function(*args, **kwargs)

    def replay(self) -> None:
        """Run the recorded products."""
        for function, args, kwargs in self.calls:
            function(*args, **kwargs)


def released_step(
    model: nn.Module, history: TrajectoryHistory, embeddings: Tensor
) -> Tensor:
    """One step of the released code; the shapes are (B, G, T, N, ...)."""
    frames, objects = history.masks.shape
    times = torch.arange(frames)[:, None].expand(frames, objects)
    now = embeddings[None]
    boxes = embeddings.new_zeros
    info = dict(
        trajectory_features=history.features,
        trajectory_boxes=boxes(frames, objects, 4),
        trajectory_id_labels=history.id_labels.expand(frames, objects),
        trajectory_times=times,
        trajectory_masks=history.masks,
        unknown_features=now,
        unknown_boxes=boxes(1, len(embeddings), 4),
        unknown_masks=torch.zeros(1, len(embeddings), dtype=torch.bool),
        unknown_times=torch.full((1, len(embeddings)), frames),
    )
    info = {name: tensor[None, None] for name, tensor in info.items()}
    for part in ('trajectory_embedding', 'trajectory_modeling'):
        info = model(seq_info=info, part=part)
    return model(seq_info=info, part='id_decoder')[0][0, 0, 0].softmax(-1)


def main(arguments: list[str]) -> None:
    """Measure and print."""
    options = read_options(__doc__, arguments, runs=7)
    ours = build_fdta().eval()
    theirs = None
    if options.released:
        theirs = Released(options.released).build()[0].eval()
    print_header(f'Association, history of {HISTORY} frames')
    for objects in OBJECTS:
        args = make_history(HISTORY, objects), torch.randn(objects, 256)
        with torch.no_grad():
            with Products() as products:
                ours.score_identities(*args)
            ways: Ways = {}
            if theirs is not None:
                ways['released'] = lambda args=args: released_step(theirs, *args)
            ways['mmfdta'] = lambda args=args: ours.score_identities(*args)
            ways['products alone'] = products.replay
            print_case(f'{objects} objects', take_turns(ways, options.runs))


if __name__ == '__main__':
    main(sys.argv[1:])
