# Copyright (c) mmfdta authors.
"""Say why identities switch: a page, figures and JSON; the largest causes are printed.

The detector runs once; everything else is association on what it found, scored with
the ground truth. Bounds say what wrong identities and wrong boxes cost, each switch
gets one cause, and every threshold is tried around its value.
"""

import argparse
import json
from pathlib import Path

from .arguments import add_batch_size, number
from .model_arguments import add_model_arguments, open_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model_arguments(parser)
    parser.add_argument(
        '--split', help="split of the data to look at; that of the config's data"
    )
    parser.add_argument(
        '--sequences',
        nargs='+',
        metavar='NAME',
        help="take these sequences only; patterns such as 'dancetrack00*' are known",
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder for diagnosis.{md,json} and figures; work_dirs/diagnose/<config>',
    )
    parser.add_argument(
        '--detections',
        type=Path,
        help='folder where detections are kept and found, also by benchmark, tune and '
        'similarity; <out>/detections',
    )
    parser.add_argument(
        '--threshold-steps',
        type=number(0, 20, whole=True),
        default=1,
        metavar='N',
        help='values that are tried to each side of every threshold; 0 tries none '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--compare',
        nargs='+',
        type=Path,
        default=[],
        metavar='FILE',
        help='diagnosis.json of other runs on the same data, to compare with this one',
    )
    parser.add_argument(
        '--gradients',
        type=number(1, 1000, whole=True),
        metavar='CLIPS',
        help='also measure how much association moves the detector, in that many '
        "batches of the config's training data; each takes the memory of a training "
        'step',
    )
    add_batch_size(parser)
    parser.add_argument(
        '--json', action='store_true', help='print all that was found, as JSON'
    )


def run(options: argparse.Namespace) -> None:
    """Diagnose, write the page and print the largest causes.

    Raises:
        ValueError: If the model does not track, there is no ground truth, nothing is
            found, another diagnosis is of other data or would be overwritten, or
            gradients are asked of a model whose association and detector do not learn
            together.
    """
    from mmfdta.apis.analysis.diagnosis import report
    from mmfdta.apis.analysis.diagnosis.gradients import measure_gradients
    from mmfdta.apis.analysis.diagnosis.run import Diagnosis
    from mmfdta.apis.detection_store import DetectionStore
    from mmfdta.apis.progress import Progress
    from mmfdta.apis.sequence_loop import SequenceLoop

    others = [report.read_content(path) for path in options.compare]
    name = Path(options.config).stem
    out = options.out or Path('work_dirs', 'diagnose', name)
    for path in options.compare:
        if report.content_path(path).resolve() == (out / report.JSON_NAME).resolve():
            raise ValueError(
                f'--compare: this diagnosis would be written over {path}; name another '
                'folder with --out'
            )
    chosen = dict(split=options.split, sequences=options.sequences)
    for option, value in chosen.items():
        if value is not None:
            key = f'{options.data}_dataloader.dataset.{option}'
            options.cfg_options = {**options.cfg_options, key: value}
    model, data, config = open_model(options)
    _ = data.truths  # says so before the work if there is no ground truth
    gradients = None
    if options.gradients:
        with Progress(options.gradients, unit='clips', title='gradients') as bar:
            gradients = measure_gradients(
                config,
                options.checkpoint,
                options.device,
                options.gradients,
                bar.update,
            )
    folder = options.detections or out / 'detections'
    store = DetectionStore(folder, model, data.dataset)
    loop = SequenceLoop(model, data.dataset, store, batch_size=options.batch_size or 1)
    tracker_cfg = config.model.get('tracker') or {}
    diagnosis = Diagnosis(loop, data, tracker_cfg, options.threshold_steps)
    with Progress(sum(map(len, data.sequences))) as bar:
        detections = diagnosis.detect(bar.update)
    with Progress(diagnosis.frames, title='associate') as bar:
        parts = diagnosis.run(detections, lambda count: bar.update(count=count))
    parts['gradients'] = gradients
    content = report.make_content(name, options.checkpoint, model, data, parts)
    report.check_comparable(content, others)
    files = report.write_report(content, others, out)
    if options.json:
        print(json.dumps(content, indent=1))
        return
    print(report.format_verdict(content, others))
    print(f'Wrote {", ".join(map(str, files))}')
