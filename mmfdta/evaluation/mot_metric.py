# Copyright (c) mmfdta authors.
"""The metric that MMEngine's validation and test loops call."""

import contextlib
import itertools
import logging
from collections.abc import Sequence as SequenceOf
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from mmdet.registry import METRICS
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log

from mmfdta.structures.benchmarks import FAMILIES, PLAIN, Benchmark, get_benchmark
from mmfdta.structures.mot_text import write_tracks
from mmfdta.structures.track_embeddings import SUFFIX, TrackEmbeddings
from mmfdta.structures.tracks import Sequence

from .classes import RunClasses
from .plausibility import check_scored
from .recognition import name_benchmark
from .records import FrameRecord, assemble, gather_embeddings, make_record
from .scores import Evaluation, Settings, evaluate, summarise
from .table import USUAL_NAMES, format_table

# By family; in this order.
_REPORTED = {
    'HOTA': ('HOTA', 'DetA', 'AssA', 'DetRe', 'DetPr', 'AssRe', 'AssPr', 'LocA'),
    'CLEAR': (
        *('MOTA', 'MOTP', 'CLR_Re', 'CLR_Pr', 'IDSW', 'Frag', 'MT', 'PT', 'ML'),
        *('CLR_TP', 'CLR_FP', 'CLR_FN'),
    ),
    'Identity': ('IDF1', 'IDP', 'IDR', 'IDTP', 'IDFP', 'IDFN'),
}
# Neither is known of PT, the partly tracked.
LESS_IS_BETTER = (
    *('IDSW', 'Frag', 'ML', 'MLR', 'FP', 'FP_per_frame', 'FN', 'IDFP', 'IDFN'),
)
MORE_IS_BETTER = (
    *_REPORTED['HOTA'],
    *('MOTA', 'MOTP', 'CLR_Re', 'CLR_Pr', 'MT', 'TP', 'IDF1', 'IDP', 'IDR', 'IDTP'),
)


@METRICS.register_module()
class MOTMetric(BaseMetric):
    """HOTA, CLEAR and identity scores of whole sequences.

    Takes one frame per data sample, from any number of processes, in any order.
    Results come as MMDetection's metrics give them: rates as fractions of 1,
    counts as they are, under keys such as ``mot/HOTA`` (so that
    ``save_best='mot/HOTA'`` keeps the best checkpoint). A short
    table is printed, rates in percent and a line for each sequence; the log file
    holds one with all usual scores. Sequences without ground truth are written but
    not scored.

    The text holds boxes with 3 decimals and scores with 6, and these rounded
    numbers are what is scored: ``mmfdta evaluate`` on the files gives the same
    scores. With several classes column 8 holds the number that the ground truth has
    for a class, else its label + 1; ``mmfdta evaluate --classes`` then gives the
    scores of ``class_aware``.

    Args:
        metric: Of ``HOTA``, ``CLEAR``, ``Identity``.
        benchmark: Whose rules to follow; None: those of the data set.
            ``mot_challenge``, ``mot15``, ``pets``, ``dancetrack``, ``sportsmot``,
            ``bft`` and ``minidance`` score all boxes the same way, ``mot16``,
            ``mot17`` and ``mot20`` know distractors.
        out_dir: Where to write ``<sequence>.txt`` in the
            MOTChallenge format, when all sequences are there. Until then those
            that are finished are in ``<out_dir>.partial``, which is what a
            test that was killed leaves. Where tracks have ``embeddings``,
            ``<sequence>.npz`` is written next to it, see
            :class:`~mmfdta.structures.track_embeddings.TrackEmbeddings`.
        num_workers: Processes that score sequences; 0 and 1 score in this
            process, where 25 sequences of 1,000 frames take about a second.
        class_aware: Score the classes of the data set's ``metainfo`` one by one.
            The keys then hold the mean over the classes that occur, and
            ``mot/<class>_HOTA`` and so on each class. False scores all boxes as one
            class; None: True if there are several classes, and the benchmark does
            not score one by its own rules.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`;
            frames travel through the default process group in either case.
        prefix: Prefix of the keys.

    Attributes:
        evaluation: The last scores, in the main process.
    """

    default_prefix = 'mot'

    def __init__(
        self,
        metric: str | SequenceOf[str] = FAMILIES,
        benchmark: str | None = None,
        out_dir: str | None = None,
        num_workers: int = 0,
        class_aware: bool | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if benchmark is not None and get_benchmark(benchmark).from_files:
            raise ValueError(
                f'MOTMetric: the scores of benchmark {benchmark} need its own files; '
                'write results with out_dir and use mmfdta evaluate'
            )
        families = (metric,) if isinstance(metric, str) else tuple(metric)
        self.class_aware = class_aware
        self.benchmark, self.families = benchmark, families
        # Refuses what does not go together.
        Settings(self._benchmark(), families, {} if class_aware else None)
        self.out_dir = None if out_dir is None else Path(out_dir)
        self._unfinished: dict[tuple[str, int], dict[int, FrameRecord]] = {}
        self.num_workers = num_workers
        self.evaluation: Evaluation | None = None
        self._said = False

    def process(self, data_batch: dict, data_samples: SequenceOf[dict]) -> None:
        """Keep the boxes of a batch of ``TrackDataSample``, as they are or as dicts.

        Raises:
            ValueError: If a frame lacks what is needed.
            OSError: If a finished sequence cannot be written.
        """
        mot_classes = self.run_classes.of_benchmark
        for sample in data_samples:
            for frame in sample['video_data_samples']:
                record = make_record(frame, mot_classes)
                self.results.append(record)
                if self.out_dir is not None:
                    self._write_if_finished(record)

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the frames of all processes and score them in every process.

        MMEngine's own gathering assumes that processes take turns sample by
        sample, and cuts off what it takes for padding; sequences are whole here.

        Raises:
            ValueError: If frames are missing or cannot be scored.
            OSError: If a result cannot be written.
            RuntimeError: In the other processes, if the main one failed.
        """
        gathered = all_gather_object(self.results)
        shared: list[Any] = [None]  # scores, or what went wrong
        failure = None
        if is_main_process():
            try:
                scores = self.compute_metrics(list(itertools.chain(*gathered)))
                shared = [{f'{self.prefix}/{k}': v for k, v in scores.items()}]
            except Exception as error:  # the others wait: tell them before raising
                failure = error
                shared = [f'{type(error).__name__}: {error}']
        broadcast_object_list(shared)
        self.results.clear()
        self._unfinished.clear()
        if failure is not None:
            raise failure
        if isinstance(shared[0], str):
            raise RuntimeError(f'the main process could not evaluate: {shared[0]}')
        return shared[0]

    def compute_metrics(self, results: list[FrameRecord]) -> dict[str, float]:
        """Write and score the frames of all processes; empty without ground truth."""
        if not results:
            raise ValueError(
                'MOTMetric got no frames: the test data set is empty, or the '
                'model returned no data samples'
            )
        known, unknown = assemble(results)
        if self.out_dir is not None:
            for sequence in (*known, *unknown):
                self._write(self.out_dir, sequence)
            for name, embeddings in gather_embeddings(results).items():
                self._write_embeddings(self.out_dir, name, embeddings)
            for sequence in (*known, *unknown):
                partial = self.partial_dir / f'{sequence.name}.txt'
                partial.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another test's may be left in it
                self.partial_dir.rmdir()
        if unknown:
            print_log(
                f'{len(unknown)} of {len(known) + len(unknown)} sequences have no '
                f'ground truth and are not scored, the first is {unknown[0].name}'
                + ('' if self.out_dir else '; set out_dir to keep their results'),
                'current',
                logging.WARNING,
            )
        if not known:
            return {}
        self._question_rules(known)
        settings, classes = self.settings, self._classes()
        self._say_classes(known, classes)
        known = [self.run_classes.number(s, classes is not None) for s in known]
        self.evaluation = evaluate(known, settings, self.num_workers)
        for remark in (*self.evaluation.remarks, *check_scored(known, settings)):
            print_log(f'MOTMetric: {remark}', 'current', logging.WARNING)
        title = f'Scores of {len(known)} sequences, rates in percent:\n'
        print_log(title + format_table(self.evaluation), 'current')
        _log_to_file(title + format_table(self.evaluation, all_columns=True))
        report = _pick(self.evaluation.over_classes())
        for name in () if classes is None else self.evaluation.classes:
            scores = _pick(self.evaluation.of_class(name))
            report |= {f'{name}_{key}': value for key, value in scores.items()}
        return report

    def _question_rules(self, sequences: list[Sequence]) -> None:
        """Say where names tell a benchmark whose rules nobody asked for."""
        named = name_benchmark(sequence.name for sequence in sequences)
        if (
            self.benchmark is None
            and self._benchmark() == PLAIN
            and isinstance(named, Benchmark)
            and named.scored_class is not None
        ):
            print_log(
                f'Sequences are named as those of {named.title}, but all boxes are '
                'scored the same, as no benchmark is named: for its rules use '
                f"{named.title}Dataset, or benchmark='{named.name}' of MOTMetric; "
                f"benchmark='{PLAIN}' keeps them and says nothing",
                'current',
                logging.WARNING,
            )

    def score_keys(self) -> list[str]:
        """List the scores that an evaluation with ground truth gives."""
        names = [
            USUAL_NAMES.get(name, name)
            for family, scores in _REPORTED.items()
            if family in self.families
            for name in scores
        ]
        classes = [f'{name}_' for name in self._classes() or ()]
        return [f'{self.prefix}/{c}{name}' for c in ('', *classes) for name in names]

    def _benchmark(self) -> str:
        """Name of the benchmark: of the config, else of the data set."""
        of_data = (self.dataset_meta or {}).get('benchmark', 'mot_challenge')
        return self.benchmark or of_data

    @property
    def settings(self) -> Settings:
        """How sequences are scored."""
        return Settings(self._benchmark(), self.families, self._classes())

    @property
    def run_classes(self) -> RunClasses:
        """Classes of the data set, and their numbers in text."""
        return RunClasses.of(self.dataset_meta, get_benchmark(self._benchmark()))

    def _classes(self) -> dict[str, int] | None:
        """Numbers of the classes that are scored one by one, by name."""
        if self.class_aware and not self.run_classes.names:
            raise ValueError(
                'class_aware=True needs the class names in metainfo.classes of the '
                'test data set'
            )
        return self.run_classes.chosen(self.class_aware)

    def _say_classes(
        self, sequences: SequenceOf[Sequence], classes: dict[str, int] | None
    ) -> None:
        """Say what was taken, and labels that the data set has no class for."""
        names = self.run_classes.names
        if classes is not None and self.class_aware is None and not self._said:
            self._said = True
            print_log(
                f'MOTMetric: classes are scored one by one ({", ".join(classes)}) and '
                f'{self.prefix}/HOTA and so on are the mean over them; '
                'class_aware=False scores all boxes as one class',
                'current',
            )
        labels = {
            label for s in sequences for label in np.unique(s.pred.label).tolist()
        }
        if classes is None and len(names) == 1 and len(labels - {-1}) > 1:
            print_log(
                f'MOTMetric: results have {len(labels - {-1})} different labels, but '
                f'the data set has the one class {names[0]}: all boxes are scored as '
                'it; set category_map and metainfo.classes of the data set to tell '
                'classes apart',
                'current',
                logging.WARNING,
            )

    @property
    def partial_dir(self) -> Path:
        """Where finished sequences stand until all are."""
        assert self.out_dir is not None  # nothing is written without one
        return self.out_dir.with_name(f'{self.out_dir.name}.partial')

    def _write_if_finished(self, record: FrameRecord) -> None:
        """Write a sequence when its last frame has come to this process."""
        key = record.sequence, record.video_id
        frames = self._unfinished.setdefault(key, {})
        frames[record.frame_id] = record
        if len(frames) == record.num_frames:
            known, unknown = assemble(frames.values())
            self._write(self.partial_dir, *known, *unknown)
            del self._unfinished[key]

    def _write(self, folder: Path, sequence: Sequence) -> None:
        path = folder / f'{sequence.name}.txt'
        try:
            write_tracks(path, sequence.pred, numbers=self.run_classes.written)
        except OSError as error:
            raise OSError(
                error.errno,
                f'cannot write the results of {sequence.name} ({error.strerror}); '
                f'finished sequences are in {self.partial_dir}, files in '
                f'{self.out_dir} are complete',
                str(path),
            ) from error

    def _write_embeddings(
        self, folder: Path, name: str, embeddings: TrackEmbeddings
    ) -> None:
        """Write embeddings with the class numbers of the text next to them."""
        written = self.run_classes.written
        label = np.full(len(embeddings), -1)
        if written is not None:
            label = np.array([*written, -1], dtype=np.int64)[embeddings.label]
        replace(embeddings, label=label).save(folder / f'{name}{SUFFIX}')


def _pick(scores: dict) -> dict[str, float]:
    """Choose what is reported, counts under MMDetection's names."""
    scores = summarise(scores)
    reported = itertools.chain(*_REPORTED.values())
    return {USUAL_NAMES.get(k, k): scores[k] for k in reported if k in scores}


def _log_to_file(text: str) -> None:
    """Write into MMEngine's log file, not on the console."""
    logger = MMLogger.get_current_instance()
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, text, (), None)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
