# Copyright (c) mmfdta authors.
"""The inferencer on a folder of frames against the released tracks."""

import numpy as np
import torch
from case_models import converted_weights, load_config
from golden_files import DATA, load_golden

from mmfdta.apis import MOTInferencer


def test_folder_in_batches_gives_the_released_tracks(tmp_path):
    """Resize, colours, batches, association and text, from PNG files to rows."""
    golden = load_golden('end_to_end')
    settings = golden.settings
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
    inferencer = MOTInferencer(config, weights, device='cpu', batch_size=5)
    report = inferencer(DATA / 'end_to_end/img1', out=tmp_path / 'tracks.txt')
    assert report.num_frames == 24
    columns = dict(delimiter=',', usecols=range(6))
    found = np.loadtxt(tmp_path / 'tracks.txt', **columns)
    expected = np.loadtxt(DATA / 'end_to_end/object-max.txt', **columns)
    np.testing.assert_array_equal(found[:, :2], expected[:, :2])
    np.testing.assert_allclose(found[:, 2:], expected[:, 2:], atol=0.02)
