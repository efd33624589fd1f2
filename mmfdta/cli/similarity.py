# Copyright (c) mmfdta authors.
"""Measure how similar the embeddings of objects are (figure 1 of the paper)."""

import argparse
import json
from pathlib import Path

from .arguments import number
from .model_arguments import add_model_arguments, open_model


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
        help='folder where benchmark or tune keep detections; without it '
        'the detector runs again',
    )
    parser.add_argument(
        '--clip-length',
        type=number(1, whole=True),
        help='frames compared with each other; the history the model knows',
    )
    parser.add_argument(
        '--clips',
        type=number(1, whole=True),
        default=4,
        help='clips of each sequence (default: 4)',
    )
    parser.add_argument(
        '--layers',
        action='store_true',
        help='look at the decoder layers before the last one, too; kept detections '
        'do not help with that',
    )
    parser.add_argument(
        '--threshold',
        type=number(-1, 1),
        default=0.9,
        help='similarity above which pairs are counted (default: 0.9)',
    )
    parser.add_argument(
        '--batch-size',
        type=number(1, whole=True),
        default=8,
        help='frames the detector takes at a time (default: 8)',
    )


def run(options: argparse.Namespace) -> None:
    """Measure, write figure and numbers, and print a summary.

    Raises:
        ValueError: If the model has no embeddings to look at.
    """
    from mmfdta.apis.analysis.diagnosis.separability import (
        clip_settings,
        cut_clips,
        measure_similarity,
    )
    from mmfdta.apis.detection_store import DetectionStore
    from mmfdta.apis.progress import Progress
    from mmfdta.apis.sequence_loop import SequenceLoop
    from mmfdta.models import FDTA
    from mmfdta.structures.whole_files import write_text
    from mmfdta.visualization import plot_similarity, save_figure

    model, data, _ = open_model(options, options.data_from)
    dataset = data.dataset
    if hasattr(model, 'tracker') and not isinstance(model, FDTA):
        raise ValueError(
            f'model.type: found {type(model).__name__}, expected FDTA (or MOTIP, which '
            'is FDTA without adapters), FDTADetector or QueryDetector: only their '
            'detections have embeddings'
        )
    score_thr, longest = clip_settings(model)
    store = options.detections and DetectionStore(options.detections, model, dataset)
    loop = SequenceLoop(model, dataset, store or None, batch_size=options.batch_size)
    cut = min(options.clip_length or longest, longest), options.clips
    with Progress(len(list(cut_clips(dataset, *cut))), unit='clips') as bar:
        measured = measure_similarity(
            loop, data, score_thr, *cut, options.threshold, bar.update, options.layers
        )
    report = dict(
        config=options.config,
        checkpoint=options.checkpoint,
        data=options.data,
        **measured.summary(),
    )
    out = options.out
    write_text(out / 'similarity.json', json.dumps(report, indent=1) + '\n')
    figure = plot_similarity(measured.panels(), Path(options.config).stem)
    save_figure(figure, out / 'similarity.png')
    print(
        f'{measured.found:.1%} of the annotated boxes were found. Similarity above '
        f'{options.threshold:g} (different objects of a frame | one object over time), '
        'AUC, nearest is another object:'
    )
    for name, stage in measured.stages.items():
        wrong = stage.nearest['wrong']
        print(
            f'  {name:<22}{stage.different.share_above:7.1%} | '
            f'{stage.same.share_above:6.1%}  {stage.auc:6.3f}  '
            + ('-' if wrong is None else f'{wrong:.1%}')
        )
    print(f'Wrote {out / "similarity.png"} and {out / "similarity.json"}')
