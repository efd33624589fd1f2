# Copyright (c) mmfdta authors.
"""Time and memory of the detector on one frame, compared with the released code.

R50 with all levels, queries and the depth branch, random weights, no padding.

Example:
    python benchmarks/bench_detector.py --released ../FDTA
"""

import sys

import torch
from measuring import Ways, print_case, print_header, read_options, take_turns
from networks import SIZES, build_fdta, make_frames

from mmfdta.apis.gpu_check.released_code import Released


def main(arguments: list[str]) -> None:
    """Measure and print."""
    options = read_options(__doc__, arguments, runs=3)
    ours = build_fdta().eval().detector
    theirs = None
    if options.released:
        released = Released(options.released)
        theirs = released.build()[0].eval()
        nested = released.load('utils.nested_tensor').NestedTensor
    print_header('Detector, one frame')
    for height, width in SIZES:
        image = torch.randn(1, 3, height, width)
        frames = make_frames(1, height, width)
        ways: Ways = {}
        if theirs is not None:
            mask = torch.zeros(1, height, width, dtype=torch.bool)
            ways['released'] = lambda image=image, mask=mask: theirs(
                frames=nested(image, mask), part='detr'
            )
        ways['mmfdta'] = lambda image=image, frames=frames: ours.detect(image, frames)
        with torch.no_grad():
            print_case(f'{width}x{height}', take_turns(ways, options.runs))


if __name__ == '__main__':
    main(sys.argv[1:])
