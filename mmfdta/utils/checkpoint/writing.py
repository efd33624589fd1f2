# Copyright (c) mmfdta authors.
"""Write a checkpoint so that a file under its name is always a whole one."""

import os
import tempfile
from pathlib import Path

import torch

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
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            prefix=f'.{path.name}.', suffix='.tmp', dir=path.parent
        )
        with os.fdopen(handle, 'wb') as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f'{path}: cannot write it: {error}') from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.remove(temporary)
