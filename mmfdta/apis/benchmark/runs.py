# Copyright (c) mmfdta authors.
"""What a contestant's run leaves, sequence by sequence."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mmfdta.evaluation import Sequence
from mmfdta.structures.mot_text import write_mot_rows, write_text_atomic

from .frame_runner import STAGES, Cost


@dataclass(frozen=True)
class Job:
    """A run, as the process that does it is told.

    Attributes:
        name (str): The contestant.
        config (str): Path of its config.
        checkpoint (str | None): Path of its weights.
        data (str): ``val`` or ``test``.
        folder (str): Where the run is kept.
        fingerprint (str): What decides about its results.
        detections (str | None): Where detections are shared.
        device (str): Where it runs.
        threads (int): Threads of PyTorch.
        warmup (int): Frames that are not timed.
    """

    name: str
    config: str
    checkpoint: str | None
    data: str
    folder: str
    fingerprint: str
    detections: str | None
    device: str
    threads: int
    warmup: int

    def save(self) -> Path:
        """Write the job into its folder.

        Returns:
            Path: The file.
        """
        path = Path(self.folder) / 'job.json'
        write_text_atomic(path, json.dumps(asdict(self), indent=1) + '\n')
        return path

    @classmethod
    def load(cls, path: Path) -> 'Job':
        """Read a job.

        Args:
            path (Path): What :meth:`save` wrote.

        Returns:
            Job: The job.
        """
        return cls(**json.loads(path.read_text(encoding='utf-8')))


@dataclass(frozen=True)
class SequenceRun:
    """The record of one tracked sequence.

    Attributes:
        seconds (np.ndarray): float64 (L, 4), the times of :data:`STAGES`.
        peak_memory (int): Bytes, so far in the process.
        cost (Cost): Of the tracker.
        replayed (bool): Whether the detections were those of an earlier run.
    """

    seconds: np.ndarray
    peak_memory: int
    cost: Cost
    replayed: bool


class RunFolder:
    """The files of a run: ``tracks/<sequence>.txt``, ``sequences/<sequence>.json``.

    Args:
        folder (Path): The folder.
        fingerprint (str): What is older than it counts as not there.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.tracks = folder / 'tracks'
        self._records = folder / 'sequences'
        self._fingerprint = fingerprint

    def write(self, sequence: Sequence, run: SequenceRun) -> None:
        """Keep a sequence; the record comes last, and stands for both files.

        Args:
            sequence (Sequence): The tracks, from the evaluation's ``assemble``.
            run (SequenceRun): The record.
        """
        boxes = sequence.pred
        write_mot_rows(
            self.tracks / f'{sequence.name}.txt',
            boxes.frame,
            boxes.identity,
            boxes.xywh,
            boxes.mark,
        )
        record = dict(
            fingerprint=self._fingerprint,
            stages=STAGES,
            # Tenths of a microsecond are enough.
            seconds=run.seconds.round(7).tolist(),
            peak_memory=run.peak_memory,
            cost=asdict(run.cost),
            replayed=run.replayed,
        )
        write_text_atomic(
            self._records / f'{sequence.name}.json', json.dumps(record) + '\n'
        )

    def require(self, name: str) -> SequenceRun:
        """Read the record of a sequence that a run has just finished.

        Args:
            name (str): The sequence.

        Returns:
            SequenceRun: Its record.

        Raises:
            FileNotFoundError: If it is not there.
        """
        run = self.read(name)
        if run is None:
            raise FileNotFoundError(
                f'{self._records / name}.json: the run has ended, but there is no '
                'whole record of it; run the same command again'
            )
        return run

    def read(self, name: str) -> SequenceRun | None:
        """Read the record of a sequence.

        Args:
            name (str): The sequence.

        Returns:
            SequenceRun | None: None if it has to be tracked.
        """
        path = self._records / f'{name}.json'
        try:
            record = json.loads(path.read_text(encoding='utf-8'))
            if record['fingerprint'] != self._fingerprint:
                return None
            if not (self.tracks / f'{name}.txt').is_file():
                return None
            return SequenceRun(
                np.array(record['seconds'], dtype=float),
                record['peak_memory'],
                Cost(**record['cost']),
                record['replayed'],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
