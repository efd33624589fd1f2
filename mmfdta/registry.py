# Copyright (c) mmfdta authors.
"""Register every class of the project in MMDetection's registries.

A config does it with ``custom_imports = dict(imports=['mmfdta.registry'])``.
"""

from mmfdta import datasets, engine, evaluation, models, visualization
from mmfdta.evaluation import MOTMetric
from mmfdta.minidance import MiniDanceDataset

__all__ = [
    'MOTMetric',
    'MiniDanceDataset',
    'datasets',
    'engine',
    'evaluation',
    'models',
    'visualization',
]
