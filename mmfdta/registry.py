# Copyright (c) mmfdta authors.
"""Register every class of the project in MMDetection's registries.

A config does it with ``custom_imports = dict(imports=['mmfdta.registry'])``.
"""

from mmfdta import datasets, engine, evaluation, models, visualization
from mmfdta.evaluation import MOTMetric
from mmfdta.minidance import MiniDanceDataset
from mmfdta.visualization import TrackVisualizer

__all__ = [
    'MOTMetric',
    'MiniDanceDataset',
    'TrackVisualizer',
    'datasets',
    'engine',
    'evaluation',
    'models',
    'visualization',
]

# Networks and trackers are registered when their names are asked for.
for _name in models.__all__:
    getattr(models, _name)
