# Copyright (c) mmfdta authors.
"""The one error that everything about checkpoint files raises."""


class CheckpointError(Exception):
    """A checkpoint that cannot be read, recognised, converted or written."""
