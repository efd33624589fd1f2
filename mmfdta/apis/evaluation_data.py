# Copyright (c) mmfdta authors.
"""Sequences with their ground truth, and scores of tracks in them."""

from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict
from mmengine.utils import import_modules_from_strings

from mmfdta.datasets import MOTSequenceDataset
from mmfdta.datasets.sequences import Sequence
from mmfdta.evaluation import Evaluation, Settings, evaluate
from mmfdta.evaluation import Sequence as ScoredSequence
from mmfdta.evaluation.classes import RunClasses
from mmfdta.evaluation.doubts import refuse_doubts
from mmfdta.evaluation.plausibility import check_class_numbers, check_sides
from mmfdta.evaluation.scores import select_together
from mmfdta.models.detectors import text_detector
from mmfdta.structures.benchmarks import get_benchmark
from mmfdta.structures.mot_text import read_tracks
from mmfdta.structures.tracks import Tracks

from .fingerprints import digest, file_digest, images_digest


def dataset_config(config: Config, data: str) -> ConfigDict:
    """Find the settings of a data set in a config.

    Args:
        config: The config.
        data: ``val`` or ``test``: whose data loader is meant.

    Raises:
        ValueError: If there is no such data loader.
    """
    dataset = (config.get(f'{data}_dataloader') or {}).get('dataset')
    if dataset is None:
        raise ValueError(
            f'{config.filename}: there is no {data}_dataloader.dataset; choose the '
            'other of val and test, or another config'
        )
    return dataset


def open_dataset(config: Config, data: str) -> MOTSequenceDataset:
    """Build a data set of a config.

    Args:
        config: The config; what its ``custom_imports`` names is imported.
        data: ``val`` or ``test``: whose data loader is meant.

    Raises:
        ValueError: If there is no such data set, or it has no sequences.
    """
    settings = dataset_config(config, data)
    if config.get('custom_imports'):
        import_modules_from_strings(**config.custom_imports)
    dataset = DATASETS.build(settings)
    if not isinstance(dataset, MOTSequenceDataset):
        raise ValueError(
            f'{data}_dataloader.dataset.type: found {type(dataset).__name__}, '
            'expected MOTSequenceDataset or one of its kinds'
        )
    return dataset


@dataclass(frozen=True)
class EvaluationData:
    """The sequences of a data set and the rules that they are scored by.

    Attributes:
        dataset: The data.
        benchmark: Name of the benchmark whose rules hold.
        class_aware: Whether classes are scored one by one, as :class:`MOTMetric`
            has it.
    """

    dataset: MOTSequenceDataset
    benchmark: str = 'mot_challenge'
    class_aware: bool | None = None

    @classmethod
    def open(cls, config: Config, data: str) -> 'EvaluationData':
        """Open the data of a config, scored as its evaluator says, or its data set.

        Args:
            config: The config.
            data: ``val`` or ``test``: whose data loader and evaluator are meant.

        Raises:
            ValueError: If there is no such data set, or it has no sequences.
        """
        evaluator = config.get(f'{data}_evaluator') or {}
        evaluators: list = evaluator if isinstance(evaluator, list) else [evaluator]
        metrics = [e for e in evaluators if e.get('type') == 'MOTMetric']
        rules = (metric.get('benchmark') for metric in metrics)
        dataset = open_dataset(config, data)
        return cls(
            dataset,
            next(filter(None, rules), dataset.BENCHMARK.name),
            next((metric.get('class_aware') for metric in metrics), None),
        )

    @property
    def sequences(self) -> list[Sequence]:
        """The sequences, in the order of the data set."""
        return self.dataset.sequences

    @property
    def names(self) -> list[str]:
        """Names of the sequences."""
        return [sequence.name for sequence in self.sequences]

    @cached_property
    def images(self) -> dict[str, str]:
        """What names the images of each sequence, see :func:`images_digest`."""
        return {sequence.name: images_digest(sequence) for sequence in self.sequences}

    def sources(self, model: Mapping) -> dict[str, str]:
        """What names all that a model reads of each sequence: images, and text.

        Args:
            model: ``model`` of a config.
        """
        detector = text_detector(model)
        if detector is None:
            return self.images
        found = {}
        for sequence in self.sequences:
            folder = Path(sequence.image_dir).parent
            path = Path(detector.path_of(folder, sequence.name))
            # Whoever reads a text that is missing says so.
            text = file_digest(path) if path.is_file() else None
            found[sequence.name] = digest(self.images[sequence.name], text)
        return found

    @property
    def classes(self) -> RunClasses:
        """Classes of the data set, and their numbers in text."""
        return RunClasses.of(self.dataset.metainfo, get_benchmark(self.benchmark))

    @cached_property
    def truths(self) -> list[Tracks]:
        """Ground truth of each sequence, all rows, as the metric takes it.

        Raises:
            ValueError: If one is not published.
        """
        mot_classes = get_benchmark(self.benchmark).scored_class is not None
        found = []
        for sequence in self.sequences:
            annotations = sequence.annotations
            if annotations is None:
                raise ValueError(
                    f'sequence {sequence.name!r} has no ground truth to score with; '
                    'choose another split'
                )
            tracks = annotations.tracks
            if mot_classes:
                tracks = replace(tracks, label=annotations.category)
            found.append(tracks)
        return found

    @property
    def by_class(self) -> bool:
        """Whether classes are scored one by one."""
        return self.classes.chosen(self.class_aware) is not None

    @cached_property
    def scored(self) -> list[Tracks]:
        """Ground truth of each sequence that the rules score, in frame order.

        Labels are the model's. Where an identity counts within its class, the pair of
        both is the identity.

        Raises:
            ValueError: If one is not published.
        """
        # Rows are found again by their number, whatever the rules do to them.
        numbered = [replace(t, identity=np.arange(len(t))) for t in self.truths]
        nothing = [Tracks.empty()] * len(numbered)
        selected = select_together(self.pair(nothing, numbered), self.settings)
        found = []
        for sequence, of in zip(self.sequences, selected, strict=True):
            rows = np.concatenate([part.gt.identity for part in of.values()])
            assert sequence.annotations is not None  # as `truths` has seen
            tracks = sequence.annotations.tracks.select(np.sort(rows))
            if self.by_class or tracks.find_repeats():
                tracks = tracks.with_paired_identities()
            found.append(tracks)
        return found

    def describe(self) -> str:
        """Describe the data in a line."""
        frames = sum(map(len, self.sequences))
        return (
            f'{self.dataset.data_root} ({self.dataset.split}), {len(self.sequences)} '
            f'sequences, {frames} frames, rules of {self.benchmark}'
        )

    @property
    def settings(self) -> Settings:
        """How the data are scored."""
        return Settings(self.benchmark, classes=self.classes.chosen(self.class_aware))

    def pair(
        self, tracks: SequenceOf[Tracks], truths: SequenceOf[Tracks] | None = None
    ) -> list[ScoredSequence]:
        """Put the tracks of all sequences next to their ground truth.

        Args:
            tracks: Of each sequence, in the order of the data set.
            truths: What takes the place of :attr:`truths`.

        Returns:
            The sequences, with the numbers of their classes, as they are scored.

        Raises:
            ValueError: If tracks cannot be scored, or there is no ground truth.
        """
        truths = self.truths if truths is None else truths
        return [
            self.classes.number(
                ScoredSequence(sequence.name, len(sequence), truth, found),
                self.by_class,
            )
            for sequence, truth, found in zip(
                self.sequences, truths, tracks, strict=True
            )
        ]

    def score(self, tracks: SequenceOf[Tracks]) -> Evaluation:
        """Score the tracks of all sequences.

        Args:
            tracks: Of each sequence, in the order of the data set.

        Raises:
            ValueError: If tracks cannot be scored, or there is no ground truth.
        """
        return evaluate(self.pair(tracks), self.settings)

    def score_text(self, folder: Path, is_foreign: bool = False) -> Evaluation:
        """Score the results of all sequences in a folder, ``<sequence>.txt``.

        Args:
            folder: The folder.
            is_foreign: They are of any program, and are checked as ``mmfdta evaluate``
                checks them; what is worth a line comes first in ``remarks``.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If results cannot be scored, or there is no ground truth.
        """
        classes = self.classes.chosen(self.class_aware)
        jobs = []
        for sequence, truth in zip(self.sequences, self.truths, strict=True):
            path = folder / f'{sequence.name}.txt'
            by_class = not self.classes.of_benchmark
            found = read_tracks(path, 6, True, len(sequence), by_class)
            empty = ScoredSequence(sequence.name, len(sequence), truth, Tracks.empty())
            numbered = self.classes.number(empty, classes is not None)
            jobs.append(replace(numbered, pred=found))
        settings = Settings(self.benchmark, classes=classes)
        said = _check_foreign(jobs, settings, folder) if is_foreign else []
        evaluation = evaluate(jobs, settings)
        return replace(evaluation, remarks=(*said, *evaluation.remarks))


def _check_foreign(
    sequences: SequenceOf[ScoredSequence], settings: Settings, folder: Path
) -> list[str]:
    """Refuse results as ``mmfdta evaluate`` does; return remarks, a line each."""
    try:
        remarks = [*refuse_doubts(sequences), *check_sides(sequences)]
        check_class_numbers(sequences, settings)
    except ValueError as error:
        raise ValueError(
            f'{folder}: mmfdta evaluate refuses these results: {error}'
        ) from None
    return remarks
