# Copyright (c) mmfdta authors.
"""Time and memory of a training step, compared with the released code.

Forward and backward of a clip of 30 frames of 456x256 with 30 objects, 4 frames with
gradients and 6 groups; without the optimiser.

Example:
    python benchmarks/bench_training_step.py --released ../FDTA
"""

import sys
from collections.abc import Callable

import torch
from clips import ClipSize, make_clip
from measuring import Ways, print_case, print_header, read_options, take_turns
from mmdet.structures import TrackDataSample
from networks import build_fdta
from torch import Tensor

from mmfdta.apis.gpu_check.released_code import Released, as_annotations

GRADIENT_FRAMES = 4


def released_step(
    released: Released, clip: TrackDataSample, images: Tensor, depth: Tensor
) -> Callable[[], None]:
    """Return a training step of the released code."""
    model, criterion = released.build()
    model.train()
    train = released.load('train')
    nested = released.load('utils.nested_tensor').NestedTensor
    id_criterion = released.load('models.fdta.id_criterion').build(released.config)
    annotations = [as_annotations(clip)]
    targets = train.annotations_to_flatten_detr_targets(annotations, 'cpu')
    mask = torch.zeros(images.shape[0], *images.shape[2:], dtype=torch.bool)

    def detect(frames: Tensor) -> dict:
        inputs = [nested(x[frames], mask[frames]) for x in (images, depth)]
        return model(frames=inputs[0], depthmaps=inputs[1], part='detr')

    def step() -> None:
        order = torch.randperm(len(images))
        with torch.no_grad():
            rest = order[GRADIENT_FRAMES:].split(20)
            outputs = None
            for frames in rest:
                outputs = train.tensor_dict_cat(outputs, detect(frames))
        outputs = train.tensor_dict_cat(detect(order[:GRADIENT_FRAMES]), outputs)
        outputs = train.tensor_dict_index_select(outputs, order.argsort())
        losses, indices = criterion(
            outputs=outputs, targets=targets, batch_len=10, epoch=1
        )
        info = train.prepare_for_fdta(outputs, annotations, indices)
        for part in ('trajectory_embedding', 'trajectory_modeling'):
            info = model(seq_info=info, part=part)
        logits, labels, masks = model(seq_info=info, part='id_decoder')
        weights = criterion.weight_dict
        total = sum(losses[name] * weights[name] for name in losses if name in weights)
        (total + id_criterion(logits, labels, masks)).backward()
        model.zero_grad()
        criterion.zero_grad()

    return step


def our_step(
    clip: TrackDataSample, images: Tensor, depth: Tensor
) -> Callable[[], None]:
    """Return a training step of this project."""
    model = build_fdta().train()
    inputs = dict(img=images[None], depth=depth[None])

    def step() -> None:
        losses = model.loss(inputs, [clip])
        sum(losses.values()).backward()
        model.zero_grad()

    return step


def main(arguments: list[str]) -> None:
    """Measure and print."""
    options = read_options(__doc__, arguments, runs=3)
    size = ClipSize()
    torch.manual_seed(0)
    clip = make_clip(size)
    images = torch.randn(size.frames, 3, size.height, size.width)
    depth = torch.randint(0, 256, (size.frames, 1, size.height, size.width)).float()
    ways: Ways = {}
    if options.released:
        released = Released(options.released)
        ways['released'] = released_step(released, clip, images, depth)
    ways['mmfdta'] = our_step(clip, images, depth)
    print_header('Training step, forward and backward')
    case = f'{size.frames} frames of {size.width}x{size.height}'
    print_case(case, take_turns(ways, options.runs))


if __name__ == '__main__':
    main(sys.argv[1:])
