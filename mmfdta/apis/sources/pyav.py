# Copyright (c) mmfdta authors.
"""What differs between the versions of PyAV that Python 3.10 to 3.12 get."""

from fractions import Fraction
from typing import Any

import av

# Titles and the like in a wrong encoding must not keep a video from being read; from
# version 19 on they never do.
_VERSION = int(av.__version__.partition('.')[0])
TOLERANT: dict[str, Any] = {} if _VERSION >= 19 else {'metadata_errors': 'replace'}


def fraction(value: Any) -> Fraction | None:
    """Turn PyAV's rational number, from 19 on one of its own, into Python's."""
    if value is None or not value.denominator:
        return None
    return Fraction(value.numerator, value.denominator)
