# Copyright (c) mmfdta authors.
"""Facts of the benchmarks: names, classes, and which boxes are scored.

Data set classes and the evaluation both refer to these objects.
"""

from dataclasses import dataclass

# Families of scores.
FAMILIES = ('HOTA', 'CLEAR', 'Identity')


@dataclass(frozen=True)
class Benchmark:
    """A data set with rules of scoring.

    Attributes:
        name: Its name in configs and on the command line.
        title: Its name as its authors write it.
        classes: Names of the classes of a model trained for it; label 0 is the
            first.
        scored_class: The class of column 8 that is trained on and scored; None
            where all rows count alike.
        known_classes: What column 8 of its ground truth may hold; empty where
            the column plays no part.
        distractors: Classes whose objects may be found without penalty: results
            that match one are taken out.
        zip_folder: Folder of the text files in the zip that its server takes;
            None where this project packs no submission for it.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    scored_class: int | None = None
    known_classes: tuple[int, ...] = ()
    distractors: tuple[int, ...] = ()
    zip_folder: str | None = None


_MOT_CLASSES = tuple(range(1, 14))
# Person on vehicle, static person, distractor, reflection.
_MOT17_DISTRACTORS = (2, 7, 8, 12)
_NON_MOTORISED_VEHICLE = 6
_ALL = (
    Benchmark('mot_challenge', 'MOT', ('object',)),
    Benchmark('dancetrack', 'DanceTrack', ('person',), zip_folder='tracker/'),
    Benchmark('sportsmot', 'SportsMOT', ('person',), zip_folder=''),
    Benchmark('bft', 'BFT', ('bird',)),
    Benchmark('minidance', 'MiniDance', ('dancer',)),
    Benchmark('mot17', 'MOT17', ('pedestrian',), 1, _MOT_CLASSES, _MOT17_DISTRACTORS),
    Benchmark(
        'mot20',
        'MOT20',
        ('pedestrian',),
        1,
        _MOT_CLASSES,
        (*_MOT17_DISTRACTORS, _NON_MOTORISED_VEHICLE),
    ),
)
BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}


def get_benchmark(name: str) -> Benchmark:
    """Look a benchmark up by its name, in any case.

    Raises:
        ValueError: If there is no such benchmark.
    """
    benchmark = BENCHMARKS.get(name.lower())
    if benchmark is None:
        raise ValueError(
            f'benchmark: found {name!r}, expected one of {", ".join(BENCHMARKS)}'
        )
    return benchmark
