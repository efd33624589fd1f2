# Copyright (c) mmfdta authors.
"""The process of one contestant: `python -m mmfdta.apis.benchmark.worker JOB`."""

import sys
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config

from mmfdta.evaluation.records import assemble

from ..model_loading import load_tracker
from ..progress import Progress
from .detections import SequenceDetections
from .frame_runner import FrameRunner
from .machine import peak_memory
from .runs import Job, RunFolder, SequenceRun


def run_job(job: Job) -> None:
    """Track the sequences that are not tracked yet.

    Args:
        job (Job): What to do.
    """
    torch.set_num_threads(job.threads)
    config = Config.fromfile(job.config)
    model = load_tracker(
        config, job.checkpoint, job.device, allow_random_weights=job.checkpoint is None
    )
    model.requires_grad_(False)
    dataset = DATASETS.build(config[f'{job.data}_dataloader'].dataset)
    folder = RunFolder(Path(job.folder), job.fingerprint)
    names = [sequence.name for sequence in dataset.sequences]
    todo = [i for i, name in enumerate(names) if folder.read(name) is None]
    if not todo:
        return
    runner = FrameRunner(model, dataset, job.device, job.detections is not None)
    cost = runner.warm_up(todo[0], job.warmup)
    shared = None
    if job.detections is not None and runner.asks_detector:
        shared = Path(job.detections)
    bar = Progress(sum(len(dataset.sequences[i]) for i in todo))
    for index in todo:
        kept = None if shared is None else shared / f'{names[index]}.npz'
        replayed = kept is not None and kept.is_file()
        if kept is not None and replayed:
            frames = runner.replay(index, SequenceDetections.load(kept))
        else:
            frames = runner.run(index)
        records, seconds = [], []
        for record, spent in frames:
            records.append(record)
            seconds.append(spent)
            bar.update()
        if kept is not None and not replayed:
            runner.detections().save(kept)
        known, hidden = assemble(records)
        run = SequenceRun(np.stack(seconds), peak_memory(job.device), cost, replayed)
        folder.write((known + hidden)[0], run)
    bar.close()


def main(arguments: list[str]) -> int:
    """Run the job of a file.

    Args:
        arguments (list[str]): Path of the job.

    Returns:
        int: Exit code; 1 if weights or data are at fault, which is printed.
    """
    job = Job.load(Path(arguments[0]))
    try:
        run_job(job)
    except (OSError, ValueError) as error:
        print(f'mmfdta benchmark: {job.name}: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
