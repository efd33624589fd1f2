# Copyright (c) mmfdta authors.
"""The package's own small FDTA, exported once, and frames that it knows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mmfdta.apis.export import ExportReport, export_model
from mmfdta.apis.sources import open_source
from mmfdta.minidance import MiniDanceOptions, make_minidance

CONFIG, WEIGHTS = 'fdta_mini_demo', 'minidance'


@dataclass
class Exported:
    """An exported model.

    Attributes:
        report: What `export_model` returned.
        said: What it told on its way.
    """

    report: ExportReport
    said: str

    @property
    def folder(self) -> Path:
        return self.report.folder


@pytest.fixture(scope='session')
def dance(tmp_path_factory) -> Path:
    """A folder of 12 frames with dancers that cross."""
    root = tmp_path_factory.mktemp('dance') / 'minidance'
    make_minidance(root, MiniDanceOptions(frames=12, train=0, val=1, test=0), 1)
    (images,) = root.glob('val/*/img1')
    return images


@pytest.fixture(scope='session')
def frames(dance) -> list[np.ndarray]:
    """The same, uint8 (H, W, 3) BGR."""
    return [frame.image for frame in open_source(str(dance))]


@pytest.fixture(scope='session')
def exported(dance, tmp_path_factory) -> Exported:
    """The package's weights, exported and checked on all frames."""
    said: list[str] = []
    report = export_model(
        CONFIG,
        WEIGHTS,
        tmp_path_factory.mktemp('export') / 'fdta',
        check=str(dance),
        check_frames=12,
        say=said.append,
    )
    return Exported(report, '\n'.join(said))
