# Copyright (c) mmfdta authors.
"""Addresses in messages."""

import pytest

from mmfdta.utils.addresses import without_password


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
