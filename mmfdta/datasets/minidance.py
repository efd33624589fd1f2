# Copyright (c) mmfdta authors.
"""Says where the package of this name went."""

raise ImportError(
    'mmfdta.datasets.minidance is now mmfdta.minidance: '
    'from mmfdta.minidance import MiniDanceOptions, make_minidance'
)
