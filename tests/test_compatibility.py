# Copyright (c) mmfdta authors.
"""What the pages of 0.1 import works, or one line names what to import."""

import importlib

import pytest

# Module -> names, as README.md, docs/*.md and docs/api.md of 0.1 have them.
DOCUMENTED = {
    'mmfdta.apis': ('MOTInferencer', 'TrackedFrame', 'TrackingReport'),
    'mmfdta.evaluation': (
        *('Sequence', 'Settings', 'TrackBoxes', 'evaluate', 'summarise'),
        'MOTMetric',
    ),
    'mmfdta.visualization': (
        *('TrackDrawer', 'TrackStyle', 'VideoWriter', 'identity_color'),
        *('plot_scores', 'plot_hota_curves', 'save_figure', 'TrackVisualizer'),
    ),
    'mmfdta.models': (
        *('FDTA', 'MOTR', 'FDTADetector', 'FDTAHead', 'FDTATracker'),
        *('SpatialAdapter', 'TemporalAdapter', 'IdentityAdapter'),
        *('TrajectoryModeling', 'IDDecoder', 'IDLoss', 'DepthBinLoss'),
        'QualityAwareContrastiveLoss',
    ),
    'mmfdta.datasets': ('MOTSequenceDataset', 'DanceTrackDataset', 'ClipSampler'),
}
MOVED = {
    'mmfdta.datasets.minidance': 'mmfdta.minidance',
    'mmfdta.apis.demo.training': 'mmfdta.minidance',
}


@pytest.mark.parametrize(
    ('module', 'name'), [(m, name) for m, names in DOCUMENTED.items() for name in names]
)
def test_what_the_pages_import_is_there(module, name):
    assert getattr(importlib.import_module(module), name) is not None


@pytest.mark.parametrize(('old', 'new'), MOVED.items())
def test_what_moved_names_its_place_in_one_line(old, new):
    with pytest.raises(ImportError, match=f'is now {new}: ') as caught:
        importlib.import_module(old)
    assert '\n' not in str(caught.value)
    importlib.import_module(new)


def test_names_of_the_moved_modules_are_in_the_new_one():
    module = importlib.import_module('mmfdta.minidance')
    for name in ('MiniDanceOptions', 'make_minidance', 'MiniDanceDataset'):
        assert getattr(module, name) is not None
