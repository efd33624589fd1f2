# Copyright (c) mmfdta authors.
"""Facts of the benchmarks: names, classes, and which boxes are scored.

Data set classes and the evaluation both refer to these objects.
"""

import re
from dataclasses import dataclass
from enum import Enum

# Families of scores.
FAMILIES = ('HOTA', 'CLEAR', 'Identity')
# Stands for a benchmark that the data themselves tell.
AUTO = 'auto'
# The benchmark whose rules are plain: all boxes count alike.
PLAIN = 'mot_challenge'


class RegionRule(Enum):
    """When a region that is to be ignored takes a box out, before anything is scored.

    Attributes:
        UNMATCHED: More than half of a result lies in one region, and the result
            matches no ground truth at an IoU of 0.5. TrackEval 1.3.0 has this rule
            for KITTI and BDD100K.
        MOSTLY: At least half of a box lies in the regions together, be it a result
            or ground truth, counted in whole pixels. ``dropObjects.m`` of the
            VisDrone2018-MOT toolkit.
        INSIDE: All four sides of a result lie inside of one region, none on its
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
        scored_class: The class of column 8 that is trained on and scored; None
            where all rows count alike.
        known_classes: What column 8 of its ground truth may hold; empty where
            the column plays no part.
        distractors: Classes whose objects may be found without penalty: results
            that match one are taken out.
        zip_folder: Folder of the text files in the zip that its server takes;
            None where this project packs no submission for it.
        sequences: Regular expression of its sequences' names; empty where they
            follow no pattern.
        numbers: Class numbers of ``classes`` where these are scored one by one.
        lookalikes: For each of ``numbers`` a class whose objects its results may
            be without penalty; results match the two together.
        unscored_distract: Ground truth with a score of 0 is a distractor, too.
        min_height: Results up to this height, in pixels, that match nothing are
            taken out.
        region_rule: What regions to ignore do.
        from_files: Its scores need what only its own files say (regions, several
            classes): ``mmfdta evaluate`` has them, a run has not.
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
        """Tell whether a sequence is named as those of this benchmark."""
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
    # TrackEval 1.3.0, kitti_2d_box.py; a van is no wrong car, somebody who sits no
    # wrong pedestrian.
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
