# Copyright (c) mmfdta authors.
"""The run of an entry, in a process of its own, and the files that it leaves.

`main` is what that process runs.
"""

import json
import sys
from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from mmfdta.evaluation.records import make_record
from mmfdta.structures.mot_text import write_tracks
from mmfdta.structures.tracks import Tracks
from mmfdta.structures.whole_files import write_text

from ..detection_store import DetectionStore, detects_apart
from ..evaluation_data import EvaluationData, dataset_config
from ..fingerprints import config_code_digest, digest
from ..machine import peak_memory
from ..model_loading import load_tracker
from ..progress import Progress
from ..sequence_loop import STAGES, SequenceLoop
from .entries import Entry


@dataclass(frozen=True)
class Job:
    """A run, as the process that does it is told.

    Attributes:
        name: The entry.
        checkpoint: Path of its weights.
        data: ``val`` or ``test``.
        folder: Where the run is kept; has ``config.py``.
        fingerprint: What decides about its results except for the images.
        detections: Folder of the detection stores.
        machine: What it runs on.
        warmup: Frames that are not timed.
    """

    name: str
    checkpoint: str | None
    data: str
    folder: str
    fingerprint: str
    detections: str
    machine: dict
    warmup: int

    def open_folder(self, sources: Mapping[str, str]) -> 'RunFolder':
        """Open what the run leaves.

        Args:
            sources: What names all that is read of each sequence.
        """
        return RunFolder(Path(self.folder), self.fingerprint, sources)


def run_fingerprint(entry: Entry, data: str, machine: dict, warmup: int) -> str:
    """Name what decides about an entry's tracks and times, except for the images.

    Args:
        entry: A tracker; its ``custom_imports`` are imported already.
        data: ``val`` or ``test``: whose data loader is read.
        machine: Device, threads and versions it runs with.
        warmup: Frames that are not timed.

    Returns:
        16 hexadecimal digits of config, weights, code, machine and warm-up.
    """
    config = entry.config
    assert config is not None, 'an entry of results does not run'
    choices = ('data_root', 'split', 'sequences', 'indices')
    dataset = {
        key: value
        for key, value in dataset_config(config, data).items()
        if key not in choices
    }
    return digest(
        config.model,
        config.get('checkpoint_modules'),
        config.get('precision'),
        config.get('compile_detector') or None,
        dataset,
        entry.weights,
        config_code_digest(config),
        machine,
        warmup,
    )


@dataclass(frozen=True)
class SequenceRun:
    """The record of one tracked sequence.

    Attributes:
        seconds: float64 (L, 4), the times of :data:`STAGES`.
        peak_memory: Bytes, so far in its process; None if that ran others, too.
        cost: Of the tracker, see :meth:`SequenceLoop.warm_up`.
        reused_detections: Whether the detections were those of an earlier run.
    """

    seconds: np.ndarray
    peak_memory: int | None
    cost: dict[str, int]
    reused_detections: bool


class RunFolder:
    """The files of a run: ``tracks/<sequence>.txt``, ``sequences/<sequence>.json``.

    Args:
        folder: The folder.
        fingerprint: What was made under another one counts as not there.
        sources: What names all that is read of each sequence.
    """

    def __init__(
        self, folder: Path, fingerprint: str, sources: Mapping[str, str]
    ) -> None:
        self.tracks = folder / 'tracks'
        self._records = folder / 'sequences'
        self._decides = {name: digest(fingerprint, s) for name, s in sources.items()}

    def write(
        self,
        name: str,
        tracks: Tracks,
        run: SequenceRun,
        numbers: SequenceOf[int] | None = None,
    ) -> None:
        """Keep a sequence; the record comes last, and stands for both files.

        Args:
            name: The sequence.
            tracks: Its tracks, with labels.
            run: The record.
            numbers: What column 8 gets for each label; None: -1.
        """
        write_tracks(self.tracks / f'{name}.txt', tracks, numbers=numbers)
        # Tenths of a microsecond are enough.
        record = asdict(run) | dict(seconds=run.seconds.round(7).tolist())
        record |= dict(fingerprint=self._decides[name], stages=STAGES)
        write_text(self._records / f'{name}.json', json.dumps(record) + '\n')

    def read(self, name: str) -> SequenceRun | None:
        """Read the record of a sequence; None if it has to be tracked."""
        try:
            record = json.loads((self._records / f'{name}.json').read_text('utf-8'))
            known = record.pop('fingerprint'), tuple(record.pop('stages'))
            if known != (self._decides[name], STAGES):
                return None
            run = SequenceRun(**record)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not (self.tracks / f'{name}.txt').is_file():
            return None
        return replace(run, seconds=np.array(run.seconds, dtype=float))

    def read_all(self) -> list[SequenceRun]:
        """Read the records of a run that has just finished.

        Raises:
            FileNotFoundError: If one is not there.
        """
        for name in self.unfinished():
            raise FileNotFoundError(
                f'{self._records / name}.json: the run has ended, but there is no '
                'complete record of it; run the same command again'
            )
        return [run for run in map(self.read, self._decides) if run is not None]

    def unfinished(self) -> list[str]:
        """Names of the sequences that have to be tracked."""
        return [name for name in self._decides if self.read(name) is None]


def run_job(job: Job, own_process: bool = True) -> None:
    """Track the sequences that are not tracked yet.

    Args:
        job: What to do.
        own_process: Whether this process does nothing else, so that its memory is
            that of the job.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If config, weights or data do not fit.
    """
    torch.set_num_threads(job.machine['threads'])
    config = Config.fromfile(Path(job.folder) / 'config.py')
    device = job.machine['device']
    model = load_tracker(
        config, job.checkpoint, device, allow_random_weights=job.checkpoint is None
    )
    model.requires_grad_(False)
    data = EvaluationData.open(config, job.data)
    dataset, classes = data.dataset, data.classes
    sequences = dataset.sequences
    folder = job.open_folder(data.sources(config.model))
    left = set(folder.unfinished())
    todo = [i for i, sequence in enumerate(sequences) if sequence.name in left]
    if not todo:
        return
    store = None
    if detects_apart(model) and job.checkpoint is not None:
        store = DetectionStore(Path(job.detections), model, dataset)
    loop = SequenceLoop(model, dataset, store, machine=job.machine)
    cost = loop.warm_up(todo[0], job.warmup)
    with Progress(sum(len(sequences[i]) for i in todo)) as bar:
        for index in todo:
            known = loop.reads(index)
            parts, seconds = [], []
            for frame, spent in loop.track(index, known):
                parts.append(make_record(frame, classes.of_benchmark).pred)
                seconds.append(spent)
                bar.update()
            run = SequenceRun(
                np.stack(seconds),
                peak_memory(device) if own_process else None,
                cost,
                known is not None,
            )
            found = Tracks.concatenate(parts)
            folder.write(sequences[index].name, found, run, classes.written)


def main(arguments: list[str]) -> int:
    """Run the job of a file.

    Args:
        arguments: Path of the job.

    Returns:
        Exit code; 1 if config, weights or data are at fault, which is printed.
    """
    job = Job(**json.loads(Path(arguments[0]).read_text('utf-8')))
    try:
        run_job(job)
    except (OSError, ValueError) as error:
        print(f'mmfdta benchmark: {job.name}: {error}', file=sys.stderr)
        return 1
    return 0
