# Copyright (c) mmfdta authors.
"""Time and memory of the depth loss with its gradient, compared with the released code.

Ten frames of 100x180 with 151 bins and 30 boxes each.

Example:
    python benchmarks/bench_depth_loss.py --released ../FDTA
"""

import sys

import torch
from measuring import Ways, print_case, print_header, read_options, take_turns

import mmfdta.registry  # noqa: F401
from mmfdta.apis.gpu_check.released_code import Released
from mmfdta.models import DepthBinLoss

FRAMES, BOXES, HEIGHT, WIDTH, BINS = 10, 30, 100, 180, 150


def main(arguments: list[str]) -> None:
    """Measure and print."""
    options = read_options(__doc__, arguments, runs=3)
    logits = torch.randn(FRAMES, BINS + 1, HEIGHT, WIDTH)
    maps = torch.randint(0, 256, (FRAMES, 1, 8 * HEIGHT, 8 * WIDTH)).float()
    size = torch.tensor([WIDTH, HEIGHT]) / 4
    left_top = torch.rand(FRAMES * BOXES, 2) * 3 * size
    cells = torch.cat([left_top, left_top + size], dim=1)
    frame = torch.arange(FRAMES).repeat_interleave(BOXES)
    ours = DepthBinLoss(num_bins=BINS)
    ways: Ways = {}
    if options.released:
        theirs = Released(options.released).build()[1].ddn_loss

        def released() -> None:
            leaf = logits.detach().requires_grad_()
            theirs(leaf, cells, [BOXES] * FRAMES, maps).backward()

        ways['released'] = released

    def run() -> None:
        leaf = logits.detach().requires_grad_()
        ours(leaf, maps, cells, frame).backward()

    ways['mmfdta'] = run
    print_header('Depth loss, forward and backward')
    print_case(f'{FRAMES} frames', take_turns(ways, options.runs))


if __name__ == '__main__':
    main(sys.argv[1:])
