# Copyright (c) mmfdta authors.
"""The golden video through an exported folder, against the released tracks."""

import numpy as np
import pytest
import torch
from case_models import converted_weights, load_config
from golden_files import DATA, load_golden

from mmfdta.apis import ExportedTracker
from mmfdta.apis.export import export_model


@pytest.mark.slow
def test_exported_folder_gives_the_released_tracks(tmp_path):
    """PNG files to text by onnxruntime."""
    golden = load_golden('end_to_end')
    settings, images = golden.settings, DATA / 'end_to_end/img1'
    weights = tmp_path / 'weights.pth'
    torch.save(
        dict(state_dict=converted_weights(settings['cfg'], golden.seed)), weights
    )
    config = load_config(settings['cfg'])
    resize = next(
        step
        for step in config.test_dataloader.dataset.pipeline[0].transforms
        if step.type == 'ClipResize'
    )
    resize.update(short=settings['max_shorter'], max_long=settings['max_longer'])
    report = export_model(
        config, weights, tmp_path / 'exported', check=str(images), check_frames=2
    )
    tracker = ExportedTracker(report.folder, threads=1)
    columns = dict(delimiter=',', usecols=range(6))
    assert tracker(images, out=tmp_path / 'tracks.txt').num_frames == 24
    found = np.loadtxt(tmp_path / 'tracks.txt', **columns)
    expected = np.loadtxt(DATA / 'end_to_end/object-max.txt', **columns)
    np.testing.assert_array_equal(found[:, :2], expected[:, :2])
    np.testing.assert_allclose(found[:, 2:], expected[:, 2:], atol=0.02)
