# Copyright (c) mmfdta authors.
"""Write a checkpoint so that a file under its name is always a whole one."""

from pathlib import Path

import torch

from mmfdta.structures.whole_files import open_whole

from .errors import CheckpointError


def write_checkpoint(content: dict, path: str | Path) -> None:
    """Save ``content`` under a temporary name, then rename it.

    Args:
        content: Tensors and plain values, so that the file can be read with
            ``weights_only=True``.
        path: Where to write; missing folders are made.

    Raises:
        CheckpointError: The disk is full or cannot be written; a file that was
            there before is left as it was.
    """
    try:
        with open_whole(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f'{path}: cannot write it: {error}') from error
