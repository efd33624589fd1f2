# Copyright (c) mmfdta authors.
"""Addresses: what they name on this machine, and how messages show them."""

import re
from urllib.parse import urlsplit
from urllib.request import url2pathname


def without_password(address: str) -> str:
    """Write an address as messages may show it; a path stays as it is.

    Args:
        address: Such as ``rtsp://name:password@host/path``. A password may hold ``@``.
    """
    return re.sub(r'://[^/]*@', '://', address)


def local_path(source: str) -> str | None:
    """Find the path that a source has on this machine.

    Args:
        source: A path, or an address such as ``file:///videos/a.mp4`` or
            ``https://host/a.mp4``.

    Returns:
        The path; None if it is an address of something else.
    """
    if source.lower().startswith('file://'):
        return url2pathname(urlsplit(source).path)
    return None if '://' in source else source
