# Copyright (c) mmfdta authors.
"""The ground that every package stands on: tracks, their text, whole files."""

from .tracks import Sequence, TrackBoxes

__all__ = ['Sequence', 'TrackBoxes']
