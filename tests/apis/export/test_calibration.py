"""Frames that ranges of int8 are found on, and what the graphs are fed on them."""

import cv2
import numpy as np
import pytest
from exported_colors import write_model

from mmfdta.apis.export.calibration import calibration_inputs


def test_frames_are_spread_over_the_source_and_all_inputs_are_kept(
    tmp_path, toys, scene
):
    folder = write_model(tmp_path / 'model', scene.colors, queries=True)
    detector, association = calibration_inputs(folder, toys.images('frames'), 4)
    taken = (0, 3, 6, 9)
    for feed, index in zip(detector, taken, strict=True):
        rgb = scene.render(index).transpose(2, 0, 1)[None]
        np.testing.assert_array_equal(feed['frames'], rgb)
    # Objects come one after the other; before the first frame there is no past.
    present = [len(scene.true_boxes(index)) for index in taken]
    assert [len(feed['embeddings']) for feed in association] == present[1:]
    assert [feed['missing'].shape for feed in association] == [
        (frames, objects)
        for frames, objects in zip((1, 2, 3), present[:-1], strict=True)
    ]
    for feed in association:
        assert feed['features'].shape == (*feed['missing'].shape, 4)
        assert feed['words'].shape == feed['missing'].shape[1:]


def test_a_tracker_on_boxes_has_no_association_and_gets_padded_frames(
    tmp_path, toys, scene
):
    folder = write_model(tmp_path / 'model', scene.colors, queries=False)
    detector, association = calibration_inputs(folder, toys.video('v.mp4', 3), 32)
    assert association == []
    assert [feed['frames'].shape for feed in detector] == [(1, 3, 128, 160)] * 3


def test_a_source_without_frames_is_named(tmp_path, scene):
    folder = write_model(tmp_path / 'model', scene.colors)
    with pytest.raises(FileNotFoundError, match=r'nothing\.mp4'):
        calibration_inputs(folder, tmp_path / 'nothing.mp4')


def test_a_source_without_objects_is_refused(tmp_path, scene):
    folder = write_model(tmp_path / 'model', scene.colors, queries=True)
    for number in range(3):
        black = np.zeros((60, 80, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / f'{number}.png'), black)
    with pytest.raises(ValueError, match='nothing is tracked from one to another of 3'):
        calibration_inputs(folder, tmp_path / '*.png')
