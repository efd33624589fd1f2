# Copyright (c) mmfdta authors.
"""Time to turn embeddings into training sequences, compared with the released code.

One clip of 30 frames with 30 identities in 6 groups.

Example:
    python benchmarks/bench_training_sequences.py --released ../FDTA
"""

import sys

import torch
from clips import ClipSize, make_clip
from measuring import Ways, print_case, print_header, read_options, take_turns

from mmfdta.apis.gpu_check.released_code import Released, as_annotations
from mmfdta.models.association import build_sequences

QUERIES = 300


def main(arguments: list[str]) -> None:
    """Measure and print."""
    options = read_options(__doc__, arguments, runs=11)
    size = ClipSize()
    clip = make_clip(size)
    embeddings = torch.randn(1, size.frames, QUERIES, 256)
    query_idx = torch.stack(
        [torch.randperm(QUERIES)[: size.objects] for _ in range(size.frames)]
    )[None]
    ways: Ways = {}
    if options.released:
        prepare = Released(options.released).load('train').prepare_for_fdta
        outputs = dict(
            outputs=embeddings[0],
            pred_logits=torch.zeros(size.frames, QUERIES, 1),
            pred_boxes=torch.rand(size.frames, QUERIES, 4),
        )
        annotations = [as_annotations(clip)]
        indices = [(query, torch.arange(size.objects)) for query in query_idx[0]]
        ways['released'] = lambda: prepare(outputs, annotations, indices)
    ways['mmfdta'] = lambda: build_sequences(embeddings, query_idx, clip.id_targets)
    print_header('Training sequences')
    case = f'{size.frames} frames, {size.objects} identities, {size.groups} groups'
    print_case(case, take_turns(ways, options.runs))


if __name__ == '__main__':
    main(sys.argv[1:])
