# Copyright (c) mmfdta authors.
"""Parameter names of mmfdta's models and of MMDetection's detectors.

mmfdta's detectors are MMDetection's, so one table serves both: MMDetection's names
are those of mmfdta without ``detector.``.
"""

from .names_motr import TRACK_RULES
from .names_released import DETECTOR_RULES, RELEASED_RULES
from .names_yolox import YOLOX_RULES
from .rules import Rule, Template, table

COUNTERS = tuple(
    f'backbone.{norm}.num_batches_tracked'
    for norm in (
        'bn1',
        'layer{i}.{j}.bn1',
        'layer{i}.{j}.bn2',
        'layer{i}.{j}.bn3',
        'layer{i}.0.downsample.1',
    )
)


def _own(prefix: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The target side of ``rules`` on both sides, without ``prefix`` at left."""
    counters = table(
        'detector', [(n, n) for n in COUNTERS], target='detector.', optional=True
    )
    return tuple(
        Rule(
            Template(rule.target.text.removeprefix(prefix)),
            rule.target,
            rule.part,
            rule.optional,
        )
        for rule in (*rules, *counters)
    )


MMFDTA_RULES = _own('', RELEASED_RULES + TRACK_RULES + YOLOX_RULES)
MMDET_RULES = _own('detector.', DETECTOR_RULES)
MMDET_YOLOX_RULES = _own('detector.', YOLOX_RULES)
