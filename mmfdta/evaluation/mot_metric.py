# Copyright (c) mmfdta authors.
"""The metric that MMEngine's validation and test loops call."""

import contextlib
import itertools
import logging
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import Any

from mmfdta.utils.mmdet_setup import prepare_mmdet

prepare_mmdet()

from mmdet.registry import METRICS
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmfdta.structures.benchmarks import get_benchmark
from mmfdta.structures.mot_text import write_tracks
from mmfdta.structures.tracks import Sequence

from .records import FrameRecord, assemble, make_record
from .runner import Settings, evaluate
from .scores import FAMILIES, Evaluation, summarise
from .table import format_table

_REPORTED = {
    **{
        name: name
        for name in (
            *('HOTA', 'DetA', 'AssA', 'DetRe', 'DetPr', 'AssRe', 'AssPr', 'LocA'),
            *('MOTA', 'MOTP', 'CLR_Re', 'CLR_Pr', 'IDSW', 'Frag', 'MT', 'PT', 'ML'),
            *('IDF1', 'IDP', 'IDR', 'IDTP', 'IDFP', 'IDFN'),
        )
    },
    **{'CLR_TP': 'TP', 'CLR_FP': 'FP', 'CLR_FN': 'FN'},
}


@METRICS.register_module()
class MOTMetric(BaseMetric):
    """HOTA, CLEAR and identity scores of whole sequences.

    Takes one frame a data sample, from any number of processes, in any order.
    Results come as MMDetection's metrics give them: rates as fractions of 1,
    counts as they are, under keys such as ``mot/HOTA`` (so that
    ``save_best='mot/HOTA', rule='greater'`` keeps the best checkpoint). The log
    shows a table with rates in percent, a line for each sequence. Sequences whose
    ground truth is hidden are written but not scored.

    The text holds boxes with 3 decimals and scores with 6, and these rounded
    numbers are what is scored: ``python -m mmfdta evaluate`` on the files gives
    the same scores.

    Args:
        metric (str | Sequence[str]): Of ``HOTA``, ``CLEAR``, ``Identity``.
        benchmark (str): Whose rules to follow: ``mot_challenge``,
            ``dancetrack``, ``sportsmot``, ``bft`` and ``minidance`` score all
            boxes alike, ``mot17`` and ``mot20`` know distractors.
        out_dir (str | None): Where to write ``<sequence>.txt`` in the
            MOTChallenge format, when all sequences are there. Until then those
            that are finished stand in ``<out_dir>.partial``, which is what a
            test that was killed leaves.
        num_workers (int): Processes that score sequences; 0 and 1 score in this
            process, where 25 sequences of 1,000 frames take about a second.
        class_aware (bool): Score the classes of the data set's ``metainfo`` one
            by one. The keys then hold the mean over classes, and
            ``mot/<class>_HOTA`` and so on each class.
        collect_device (str): See :class:`mmengine.evaluator.BaseMetric`;
            frames travel through the default process group in either case.
        prefix (str): Prefix of the keys.

    Attributes:
        evaluation (Evaluation | None): The last outcome, in the main process.
    """

    default_prefix = 'mot'

    def __init__(
        self,
        metric: str | SequenceOf[str] = FAMILIES,
        benchmark: str = 'mot_challenge',
        out_dir: str | None = None,
        num_workers: int = 0,
        class_aware: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        families = (metric,) if isinstance(metric, str) else tuple(metric)
        self.class_aware = class_aware
        self.settings = Settings(benchmark, families, {} if class_aware else None)
        self.out_dir = None if out_dir is None else Path(out_dir)
        self._unfinished: dict[tuple[str, int], dict[int, FrameRecord]] = {}
        self.num_workers = num_workers
        self.evaluation: Evaluation | None = None

    def process(self, data_batch: dict, data_samples: SequenceOf[dict]) -> None:
        """Keep the boxes of a batch.

        Args:
            data_batch (dict): Not needed.
            data_samples (Sequence[dict]): ``TrackDataSample`` as dictionaries or
                as they are; each frame in it is kept.

        Raises:
            ValueError: If a frame lacks what is needed.
            OSError: If a finished sequence cannot be written.
        """
        mot_classes = get_benchmark(self.settings.benchmark).scored_class is not None
        for sample in data_samples:
            for frame in sample['video_data_samples']:
                record = make_record(frame, mot_classes)
                self.results.append(record)
                if self.out_dir is not None:
                    self._write_if_finished(record)

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the frames of all processes and score them.

        MMEngine's own gathering assumes that processes take turns sample by
        sample, and cuts off what it takes for padding; sequences are whole here.

        Args:
            size (int): Not needed.

        Returns:
            dict[str, float]: The scores, in every process.

        Raises:
            ValueError: If frames are missing or cannot be scored.
            OSError: If a result cannot be written.
            RuntimeError: In the other processes, if the main one failed.
        """
        gathered = all_gather_object(self.results)
        outcome: list[Any] = [None]  # scores, or what went wrong
        failure = None
        if is_main_process():
            try:
                scores = self.compute_metrics(list(itertools.chain(*gathered)))
                outcome = [{f'{self.prefix}/{k}': v for k, v in scores.items()}]
            except Exception as error:  # the others wait: tell them before raising
                failure = error
                outcome = [f'{type(error).__name__}: {error}']
        broadcast_object_list(outcome)
        self.results.clear()
        self._unfinished.clear()
        if failure is not None:
            raise failure
        if isinstance(outcome[0], str):
            raise RuntimeError(f'the main process could not evaluate: {outcome[0]}')
        return outcome[0]

    def compute_metrics(self, results: list[FrameRecord]) -> dict[str, float]:
        """Write and score whole sequences.

        Args:
            results (list[FrameRecord]): The frames of all processes.

        Returns:
            dict[str, float]: The scores without prefix; empty if all ground
            truth is hidden.
        """
        if not results:
            raise ValueError(
                'MOTMetric got no frames: the test data set is empty, or the '
                'model returned no data samples'
            )
        known, hidden = assemble(results)
        if self.out_dir is not None:
            for sequence in (*known, *hidden):
                self._write(self.out_dir, sequence)
            self._remove_partial([sequence.name for sequence in (*known, *hidden)])
        if hidden:
            print_log(
                f'{len(hidden)} of {len(known) + len(hidden)} sequences have no '
                f'ground truth and are not scored, the first is {hidden[0].name}'
                + ('' if self.out_dir else '; set out_dir to keep their results'),
                'current',
                logging.WARNING,
            )
        if not known:
            return {}
        settings = self.settings
        if self.class_aware:
            settings = Settings(settings.benchmark, settings.families, self._classes())
        self.evaluation = evaluate(known, settings, self.num_workers)
        print_log('\n' + format_table(self.evaluation), 'current')
        return self._report(self.evaluation)

    def _classes(self) -> dict[str, int]:
        names = (self.dataset_meta or {}).get('classes')
        if not names:
            raise ValueError(
                'class_aware=True needs the class names in metainfo.classes of the '
                'test data set'
            )
        return {name: label for label, name in enumerate(names)}

    def _report(self, evaluation: Evaluation) -> dict[str, float]:
        report = _pick(evaluation.over_classes())
        if self.class_aware:
            for name in evaluation.classes:
                scores = _pick(evaluation.of_class(name))
                report |= {f'{name}_{key}': value for key, value in scores.items()}
        return report

    @property
    def partial_dir(self) -> Path:
        """Path: Where finished sequences stand until all are."""
        assert self.out_dir is not None  # nothing is written without one
        return self.out_dir.with_name(f'{self.out_dir.name}.partial')

    def _write_if_finished(self, record: FrameRecord) -> None:
        """Write a sequence when its last frame has come to this process."""
        key = record.sequence, record.video_id
        frames = self._unfinished.setdefault(key, {})
        frames[record.frame_id] = record
        if len(frames) == record.num_frames:
            known, hidden = assemble(frames.values())
            self._write(self.partial_dir, *known, *hidden)
            del self._unfinished[key]

    def _remove_partial(self, names: list[str]) -> None:
        for name in names:
            (self.partial_dir / f'{name}.txt').unlink(missing_ok=True)
        # Another test's may be left in it.
        with contextlib.suppress(OSError):
            self.partial_dir.rmdir()

    def _write(self, folder: Path, sequence: Sequence) -> None:
        path = folder / f'{sequence.name}.txt'
        try:
            write_tracks(path, sequence.pred)
        except OSError as error:
            raise OSError(
                error.errno,
                f'cannot write the results of {sequence.name} ({error.strerror}); '
                f'finished sequences are in {self.partial_dir}, files in '
                f'{self.out_dir} are whole',
                str(path),
            ) from error


def _pick(scores: dict) -> dict[str, float]:
    """Choose what is reported, counts under MMDetection's names."""
    scores = summarise(scores)
    return {new: scores[old] for old, new in _REPORTED.items() if old in scores}
