# Copyright (c) mmfdta authors.
"""Addresses: what they name on this machine, and how messages show them."""

import pytest

from mmfdta.utils.addresses import local_path, without_password


@pytest.mark.parametrize(
    ('address', 'shown'),
    [
        ('rtsp://me:secret@host:554/a@b.mp4', 'rtsp://host:554/a@b.mp4'),
        ('rtsp://me:sec@ret@host/live', 'rtsp://host/live'),
        ('http://me:sec?r#et@host', 'http://host'),
        ('http://host/a@b.mp4', 'http://host/a@b.mp4'),
        ('videos/me@home.mp4', 'videos/me@home.mp4'),
    ],
)
def test_nothing_of_a_password_is_shown(address, shown):
    assert without_password(address) == shown


def test_a_path_and_its_address_name_one_file(tmp_path):
    path = tmp_path / 'ä 100%25 #1?.mp4'
    assert local_path(str(path)) == local_path(path.as_uri()) == str(path)
    assert local_path(path.as_uri().replace('file:', 'FILE:')) == str(path)
    assert local_path('rtsp://host/a.mp4') is None
