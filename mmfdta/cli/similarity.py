# Copyright (c) mmfdta authors.
"""Measure how alike the embeddings of objects are (figure 1 of the paper)."""

import argparse
import json
from pathlib import Path

from .model_arguments import add_model_arguments, open_model

# Where a detector has no tracker that says which detections count.
_SCORE = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model_arguments(parser)
    parser.add_argument(
        '--out',
        required=True,
        type=Path,
        help='folder for similarity.png and similarity.json',
    )
    parser.add_argument(
        '--data-from',
        metavar='CONFIG',
        help="config whose data and preprocessing a plain detector gets; the model's",
    )
    parser.add_argument(
        '--detections',
        type=Path,
        help='folder where benchmark or tune keep detections; they are made anew '
        'if unset',
    )
    parser.add_argument(
        '--clip-length',
        type=int,
        help='frames compared with each other; the history the model knows',
    )
    parser.add_argument(
        '--clips', type=int, default=4, help='clips of each sequence (default: 4)'
    )
    parser.add_argument(
        '--threshold',
        type=float,
        default=0.9,
        help='similarity above which pairs are counted (default: 0.9)',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=8,
        help='frames the detector takes at a time (default: 8)',
    )


def run(options: argparse.Namespace) -> None:
    """Measure, write figure and numbers, and print a summary.

    Raises:
        ValueError: If the model has no embeddings to look at.
    """
    from mmdet.models import BaseDetector

    from mmfdta.apis.analysis.similarity import BINS, cut_clips, measure_similarity
    from mmfdta.apis.detection_store import DetectionStore
    from mmfdta.apis.progress import Progress
    from mmfdta.apis.sequence_loop import SequenceLoop
    from mmfdta.models import FDTA
    from mmfdta.structures.whole_files import write_text
    from mmfdta.visualization import plot_similarity, save_figure

    model, data, _ = open_model(options, options.data_from)
    dataset = data.dataset
    longest, score_thr = 30, _SCORE
    if isinstance(model, FDTA):
        longest = model.id_decoder.max_relative_time
        score_thr = model.tracker.det_thr
    elif not isinstance(model, BaseDetector):
        raise ValueError(
            f'model.type: found {type(model).__name__}, expected FDTA (or MOTIP, which '
            'is FDTA without adapters) or FDTADetector: only their detections have '
            'embeddings'
        )
    store = options.detections and DetectionStore(options.detections, model, dataset)
    loop = SequenceLoop(model, dataset, store or None, batch_size=options.batch_size)
    cut = min(options.clip_length or longest, longest), options.clips
    with Progress(len(list(cut_clips(dataset, *cut))), unit='clips') as bar:
        stages, found = measure_similarity(
            loop, score_thr, *cut, options.threshold, bar.update
        )
    report = dict(
        config=options.config,
        checkpoint=options.checkpoint,
        data=options.data,
        threshold=options.threshold,
        found=found,
        bins=[-1, 1, BINS],
        stages={name: stage.summary() for name, stage in stages.items()},
    )
    out = options.out
    write_text(out / 'similarity.json', json.dumps(report, indent=1) + '\n')
    panels = [stage.panel(name) for name, stage in stages.items()]
    figure = plot_similarity(panels, Path(options.config).stem)
    save_figure(figure, out / 'similarity.png')
    print(
        f'{found:.1%} of the annotated boxes were found. Similarity above '
        f'{options.threshold:g} (different objects of a frame | one object over time):'
    )
    for panel in panels:
        print(
            f'  {panel.title:<22}{panel.share_different:7.1%} | {panel.share_same:.1%}'
        )
    print(f'Wrote {out / "similarity.png"} and {out / "similarity.json"}')
