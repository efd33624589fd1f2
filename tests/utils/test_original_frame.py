# Copyright (c) mmfdta authors.
"""The pixels of a frame, for trackers that look at them."""

import copy
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmdet.structures import DetDataSample
from PIL import Image

from mmfdta.utils.original_frame import OriginalFrame, attach_frame, frame_context

LOOKING = SimpleNamespace(needs_frames=True)


@pytest.fixture
def picture() -> np.ndarray:
    """uint8 (6, 9, 3), BGR."""
    return np.random.default_rng(0).integers(0, 255, (6, 9, 3), np.uint8)


def test_a_tracker_that_does_not_look_is_given_nothing(picture):
    sample = DetDataSample(metainfo=dict(img_path='nowhere.jpg'))
    attach_frame(sample, picture)
    assert frame_context(SimpleNamespace(), sample) == {}
    assert frame_context(None, sample) == {}


def test_a_file_is_read_once_and_only_when_asked(tmp_path, picture, monkeypatch):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), picture)
    sample = DetDataSample(metainfo=dict(img_path=str(path)))
    frame = frame_context(LOOKING, sample)['frame']
    np.testing.assert_array_equal(frame(), picture)
    path.unlink()
    np.testing.assert_array_equal(frame(), picture)
    with pytest.raises(FileNotFoundError, match=r'a\.png'):
        frame_context(LOOKING, sample)['frame']()


def test_pixels_are_those_of_the_file_whatever_exif_says(tmp_path, picture):
    """As data sets read them: the boxes are in these pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    path = tmp_path / 'a.png'
    Image.fromarray(picture[..., ::-1]).save(path, exif=exif)
    np.testing.assert_array_equal(OriginalFrame(str(path))(), picture)


def test_grey_images_have_three_channels(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    cv2.imwrite(str(tmp_path / 'a.png'), grey)
    image = OriginalFrame(str(tmp_path / 'a.png'))()
    np.testing.assert_array_equal(image, grey[..., None].repeat(3, 2))


def test_pixels_in_memory_take_the_place_of_the_file_and_are_not_copied(picture):
    sample = DetDataSample(metainfo=dict(img_path='video.mp4#3'))
    attach_frame(sample, picture)
    for follower in (sample, sample.cpu(), copy.deepcopy(sample), sample.clone()):
        assert frame_context(LOOKING, follower)['frame']() is picture


def test_what_cannot_be_read_is_said(tmp_path):
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    with pytest.raises(OSError, match=r'broken\.jpg: cannot read the image'):
        OriginalFrame(str(tmp_path / 'broken.jpg'))()
    with pytest.raises(ValueError, match='data_sample.img_path: found none'):
        frame_context(LOOKING, DetDataSample())['frame']()
