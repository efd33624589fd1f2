# Copyright (c) mmfdta authors.
"""The data that all contestants run on."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmdet.registry import DATASETS
from mmengine.utils import import_modules_from_strings

from mmfdta.datasets import MOTSequenceDataset
from mmfdta.evaluation import TrackBoxes, get_benchmark

from ..ground_truth import ground_truth
from .contestants import Contestant, Results, Tracker
from .fingerprints import dataset_facts


@dataclass(frozen=True)
class Course:
    """Sequences with their ground truth.

    Attributes:
        place (str): Where the data are.
        benchmark (str): Whose rules the scores follow.
        sequences (list[tuple[str, int, TrackBoxes]]): Name, length in frames and
            ground truth of each.
        images (list[tuple[str, str, int]]): Name, image folder and length of each.
    """

    place: str
    benchmark: str
    sequences: list[tuple[str, int, TrackBoxes]]
    images: list[tuple[str, str, int]]

    @property
    def names(self) -> list[str]:
        """list[str]: Names of the sequences."""
        return [name for name, _, _ in self.sequences]

    def describe(self) -> str:
        """Describe the data in a line."""
        frames = sum(length for _, length, _ in self.sequences)
        return (
            f'{self.place}, {len(self.sequences)} sequences, {frames} frames, rules of '
            f'{self.benchmark}'
        )


def open_course(contestants: Sequence[Contestant], data: str) -> Course:
    """Read the data, and check that all contestants see the same.

    Args:
        contestants (Sequence[Contestant]): All of them.
        data (str): ``val`` or ``test``.

    Returns:
        Course: The data of the first tracker.

    Raises:
        FileNotFoundError: If data or results are missing.
        ValueError: If contestants read different data or there is no ground truth.
    """
    running = [c for c in contestants if isinstance(c, Tracker)]
    if not running:
        raise ValueError(
            'only folders of results are named, so nothing says what the data are; '
            'name a config, or use `python -m mmfdta evaluate`'
        )
    courses = [_open(tracker, data) for tracker in running]
    for tracker, course in zip(running, courses, strict=True):
        if (course.images, course.benchmark) != (
            courses[0].images,
            courses[0].benchmark,
        ):
            raise ValueError(
                f'{tracker.name} reads {course.describe()}, but {running[0].name} '
                f'reads {courses[0].describe()}; trackers are compared on the same '
                'images only'
            )
    for contestant in contestants:
        if isinstance(contestant, Results):
            _check_results(contestant, courses[0])
    return courses[0]


def _open(tracker: Tracker, data: str) -> Course:
    config = tracker.config
    facts = dataset_facts(config, data)
    if config.get('custom_imports'):
        import_modules_from_strings(**config.custom_imports)
    dataset = DATASETS.build(config[f'{data}_dataloader'].dataset)
    if not isinstance(dataset, MOTSequenceDataset):
        raise ValueError(
            f'{tracker.name}: {data}_dataloader.dataset.type is '
            f'{type(dataset).__name__}, expected MOTSequenceDataset or one of its kinds'
        )
    evaluator = config.get(f'{data}_evaluator') or {}
    evaluators: list = evaluator if isinstance(evaluator, list) else [evaluator]
    rules = [e.benchmark for e in evaluators if e.get('type') == 'MOTMetric']
    benchmark = (rules or ['mot_challenge'])[0]
    mot_classes = bool(get_benchmark(benchmark).distractors)
    return Course(
        f'{facts["data_root"]} ({facts.get("split", "train")})',
        benchmark,
        [(s.name, len(s), ground_truth(s, mot_classes)) for s in dataset.sequences],
        [(s.name, s.image_dir, len(s)) for s in dataset.sequences],
    )


def _check_results(results: Results, course: Course) -> None:
    missing = [
        name for name in course.names if not (results.folder / f'{name}.txt').is_file()
    ]
    if missing:
        raise FileNotFoundError(
            f'{results.name}: {results.folder} lacks the results of '
            f'{len(missing)} of {len(course.names)} sequences, the first is '
            f'{missing[0]}.txt'
        )
