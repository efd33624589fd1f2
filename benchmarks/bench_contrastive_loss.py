# Copyright (c) mmfdta authors.
"""Time and memory of the contrastive loss, compared with the released code.

Example:
    python benchmarks/bench_contrastive_loss.py --released ../FDTA
"""

import sys
from collections.abc import Callable

import torch
from measuring import Ways, print_case, print_header, read_options, take_turns
from torch import Tensor

import mmfdta.registry  # noqa: F401
from mmfdta.apis.gpu_check.released_code import Released
from mmfdta.models import QualityAwareContrastiveLoss

SIZES = ((10, 30), (30, 30))


def forward_backward(
    loss: Callable[..., Tensor], embeddings: Tensor, *args: Tensor
) -> None:
    """Run the loss and its backward pass."""
    leaf = embeddings.detach().requires_grad_()
    loss(leaf, *args).backward()


def main(arguments: list[str]) -> None:
    """Measure and print."""
    options = read_options(__doc__, arguments, runs=5)
    ours, theirs = QualityAwareContrastiveLoss(), None
    if options.released:
        theirs = Released(options.released).build()[1].contrastive_loss
    print_header('Contrastive loss, forward and backward')
    for frames, objects in SIZES:
        args = (
            torch.randn(frames * objects, 256),
            torch.arange(objects).repeat(frames),
            torch.rand(frames * objects) / 2 + 0.5,
        )
        ways: Ways = {}
        if theirs is not None:
            ways['released'] = lambda args=args: forward_backward(theirs, *args)
        ways['mmfdta'] = lambda args=args: forward_backward(ours, *args)
        case = f'{frames} frames x {objects} objects'
        print_case(case, take_turns(ways, options.runs))


if __name__ == '__main__':
    main(sys.argv[1:])
