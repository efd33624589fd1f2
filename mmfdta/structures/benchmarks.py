# Copyright (c) mmfdta authors.
"""Facts of the benchmarks: names, classes, and which boxes are scored.

Data set classes and the evaluation both refer to these objects.
"""

import re
from dataclasses import dataclass
from enum import Enum

# Families of scores.
FAMILIES = ('HOTA', 'CLEAR', 'Identity')
# The benchmark is recognised from the data.
AUTO = 'auto'
# The benchmark without special rules: all boxes are scored.
PLAIN = 'mot_challenge'


class RegionRule(Enum):
    """Which boxes an ignored region removes before anything is scored.

    Attributes:
        UNMATCHED: More than half of a result lies in one region, and the result
            matches no ground truth at an IoU of 0.5. TrackEval 1.3.0 has this rule
            for KITTI and BDD100K.
        MOSTLY: At least half of a box, of results or ground truth, lies in all
            regions together, counted in integer pixels. ``dropObjects.m`` of the
            VisDrone2018-MOT toolkit.
        INSIDE: All four sides of a result lie inside one region, none on its
            border. ``evaluateTracking.m`` of the UAVDT toolkit.
    """

    UNMATCHED = 'unmatched'
    MOSTLY = 'mostly'
    INSIDE = 'inside'


@dataclass(frozen=True)
class Benchmark:
    """A data set with rules of scoring.

    Attributes:
        name: Its name in configs and on the command line.
        title: Its name as its authors write it.
        classes: Names of the classes of a model trained for it; label 0 is the
            first.
        scored_class: The class of column 8 that is trained on and scored; None if
            all rows are.
        known_classes: Values that column 8 of its ground truth may have; empty if
            the column is not used.
        distractors: Classes whose objects may be found without penalty: results
            that match one are removed.
        zip_folder: Folder of the text files in the zip that its server accepts;
            None if this project packs no submission for it.
        sequences: Regular expression of its sequences' names; empty if they follow
            no pattern.
        numbers: Class numbers of ``classes`` if these are scored one by one.
        lookalikes: For each of ``numbers`` a class that its results may match
            without penalty; results are matched to both classes together.
        unscored_distract: Ground truth with a score of 0 is also a distractor.
        min_height: Results up to this height, in pixels, that match nothing are
            removed.
        region_rule: Which boxes ignored regions remove.
        from_files: Its scores need information that only its own files have
            (regions, several classes). ``mmfdta evaluate`` reads these files; a
            training or test run does not.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    scored_class: int | None = None
    known_classes: tuple[int, ...] = ()
    distractors: tuple[int, ...] = ()
    zip_folder: str | None = None
    sequences: str = ''
    numbers: tuple[int, ...] = ()
    lookalikes: tuple[int, ...] = ()
    unscored_distract: bool = False
    min_height: float | None = None
    region_rule: RegionRule = RegionRule.UNMATCHED
    from_files: bool = False

    @property
    def class_numbers(self) -> dict[str, int] | None:
        """Classes that are scored one by one, by name; None if there are none."""
        if not self.numbers:
            return None
        return dict(zip(self.classes, self.numbers, strict=True))

    def has_sequence(self, name: str) -> bool:
        """Return whether a name follows the pattern of this benchmark's sequences."""
        return bool(self.sequences) and re.fullmatch(self.sequences, name) is not None


# TrackEval 1.3.0, mot_challenge_2d_box.py: 1 pedestrian, 2 person on vehicle, 3 car,
# 4 bicycle, 5 motorbike, 6 non-motorised vehicle, 7 static person, 8 distractor,
# 9 occluder, 10 occluder on ground, 11 occluder full, 12 reflection, 13 crowd.
_MOT_CLASSES = tuple(range(1, 14))
_MOT_DISTRACTORS = (2, 7, 8, 12)
_NON_MOTORISED_VEHICLE = 6
# https://motchallenge.net/data/2D_MOT_2015/
_MOT15_SEQUENCES = (
    r'(ADL-Rundle-[1368]|AVG-TownCentre|KITTI-1[3679]|PETS09-S2L[12]|Venice-[12]'
    r'|ETH-(Bahnhof|Crossing|Jelmoli|Linthescher|Pedcross2|Sunnyday)'
    r'|TUD-(Campus|Crossing|Stadtmitte))'
)
_ALL = (
    Benchmark('mot_challenge', 'MOT', ('object',)),
    Benchmark('mot15', 'MOT15', ('pedestrian',), sequences=_MOT15_SEQUENCES),
    # Its one sequence is among those of MOT15, whose rules are the same.
    Benchmark('pets', 'PETS', ('pedestrian',)),
    Benchmark(
        'dancetrack',
        'DanceTrack',
        ('person',),
        zip_folder='tracker/',
        sequences=r'dancetrack\d{4}',
    ),
    Benchmark(
        'sportsmot',
        'SportsMOT',
        ('person',),
        zip_folder='',
        sequences=r'v_[\w-]{11}_c\d{3}',
    ),
    Benchmark('bft', 'BFT', ('bird',)),
    Benchmark('minidance', 'MiniDance', ('dancer',), sequences=r'minidance\d{4}'),
    Benchmark(
        'mot16',
        'MOT16',
        ('pedestrian',),
        1,
        _MOT_CLASSES,
        _MOT_DISTRACTORS,
        sequences=r'MOT16-\d{2}',
    ),
    Benchmark(
        'mot17',
        'MOT17',
        ('pedestrian',),
        1,
        _MOT_CLASSES,
        _MOT_DISTRACTORS,
        sequences=r'MOT17-\d{2}(-(DPM|FRCNN|SDP))?',
    ),
    Benchmark(
        'mot20',
        'MOT20',
        ('pedestrian',),
        1,
        _MOT_CLASSES,
        (*_MOT_DISTRACTORS, _NON_MOTORISED_VEHICLE),
        sequences=r'MOT20-\d{2}',
    ),
    # TrackEval 1.3.0, kitti_2d_box.py; a van is not a wrong car, and a sitting person
    # is not a wrong pedestrian.
    Benchmark(
        'kitti',
        'KITTI',
        ('car', 'pedestrian'),
        sequences=r'\d{4}',
        numbers=(1, 4),
        lookalikes=(2, 5),
        unscored_distract=True,
        min_height=25,
        from_files=True,
    ),
    # README.md and evalMOT.m of the VisDrone2018-MOT toolkit.
    Benchmark(
        'visdrone',
        'VisDrone',
        ('pedestrian', 'car', 'van', 'truck', 'bus'),
        sequences=r'uav\d{7}_\d{5}_v',
        numbers=(1, 4, 5, 6, 9),
        region_rule=RegionRule.MOSTLY,
        from_files=True,
    ),
    Benchmark(
        'uavdt',
        'UAVDT',
        ('vehicle',),
        sequences=r'M\d{4}',
        region_rule=RegionRule.INSIDE,
        from_files=True,
    ),
    # TrackEval 1.3.0, bdd100k.py.
    Benchmark(
        'bdd100k',
        'BDD100K',
        (
            *('pedestrian', 'rider', 'car', 'bus', 'truck', 'train'),
            *('motorcycle', 'bicycle'),
        ),
        sequences=r'[0-9a-f]{8}-[0-9a-f]{8}',
        numbers=(1, 2, 4, 5, 6, 7, 10, 11),
        from_files=True,
    ),
    # TrackEval 1.3.0, tao.py; its files name the classes.
    Benchmark('tao', 'TAO', ('object',), from_files=True),
)
BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}


def get_benchmark(name: str) -> Benchmark:
    """Look up a benchmark by its name, in upper or lower case.

    Raises:
        ValueError: If there is no such benchmark.
    """
    benchmark = BENCHMARKS.get(name.lower())
    if benchmark is None:
        raise ValueError(
            f'benchmark: found {name!r}, expected one of {", ".join(BENCHMARKS)}'
        )
    return benchmark
