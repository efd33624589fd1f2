# Copyright (c) mmfdta authors.
"""Addresses in messages."""

import re


def without_password(address: str) -> str:
    """Write an address as messages may show it; a path stays as it is.

    Args:
        address: Such as ``rtsp://name:password@host/path``. A password may hold ``@``.
    """
    return re.sub(r'://[^/]*@', '://', address)
