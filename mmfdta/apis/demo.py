# Copyright (c) mmfdta authors.
"""Says where the package of this name went."""

raise ImportError(
    'mmfdta.apis.demo is now mmfdta.minidance: '
    'from mmfdta.minidance.training import start_from_detector'
)
