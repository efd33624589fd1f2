# Copyright (c) mmfdta authors.
"""Reads checkpoint files without running anything in them, and writes complete ones."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from mmengine.fileio import get_local_path
from mmengine.utils import digit_version
from torch import Tensor

from mmfdta.structures.whole_files import open_whole

WRAPPERS = ('state_dict', 'model', 'model_state_dict')
# Wrappers for several processes add the first to the beginning of every name, compiled
# modules add the second anywhere.
PREFIX = 'module.'
COMPILED = '_orig_mod.'
# Objects that training scripts save with the weights. They are not needed, so they are
# not built: each is read as an `_Ignored`. (The training state of MMEngine is declared
# in `mmfdta.utils.safe_loading`.)
_BESIDE_WEIGHTS = (
    'argparse.Namespace',
    'collections.defaultdict',
    'mmengine.config.config.ConfigDict',
)


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, recognised, converted, used or written."""


class _Ignored(dict):
    """Replaces an object that was saved with the weights."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Ignore the object's content."""


def _ignore_beside_weights() -> AbstractContextManager:
    # Older versions of PyTorch cannot replace a class while reading; they refuse the
    # file.
    if digit_version(torch.__version__) < digit_version('2.6'):
        return nullcontext()
    return torch.serialization.safe_globals(
        [(_Ignored, name) for name in _BESIDE_WEIGHTS]
    )


def read_content(path: str | Path) -> object:
    """Read a checkpoint with ``weights_only=True``.

    Only tensors and plain values are built. Every command reads checkpoints with this
    function; `mmfdta.utils.safe_loading` makes MMEngine's own loading safe.

    Args:
        path: A file written by ``torch.save``, or its address, which MMEngine's
            file clients fetch.

    Returns:
        The content, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file cannot be read, or not without running code.
    """
    if '://' in str(path):
        with get_local_path(str(path)) as local:
            return _read_file(Path(local), str(path))
    return _read_file(Path(path), str(path))


def _read_file(path: Path, name: str) -> object:
    if path.is_dir():
        raise CheckpointError(f'{name}: expected a checkpoint file, found a folder.')
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint {name}')
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(
            f'{name}: the file is empty (0 bytes); download or copy it again.'
        )
    try:
        with _ignore_beside_weights():
            return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # damaged and hostile files raise errors of any type
        raise CheckpointError(_explain(name, path, error)) from error


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint file.

    The file is read with :func:`read_content`. The state dict may be the complete
    content of the file, or be under ``state_dict``, ``model`` or ``model_state_dict``;
    prefixes of parallel and compiled modules are removed. Tensors are on the CPU, in
    the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file cannot be read as weights.
    """
    content = read_content(path)
    try:
        return clean_state_dict(content)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from None


def classes_in(content: object) -> tuple[str, ...]:
    """Read the class names from a checkpoint of any version of MMDetection.

    Args:
        content: Content of a checkpoint file.

    Returns:
        Empty if it names none.
    """
    meta = _meta_in(content)
    for facts in (meta.get('dataset_meta'), meta):
        facts = {str(k).lower(): v for k, v in (facts or {}).items()}
        names = facts.get('classes')
        if isinstance(names, list | tuple):
            return tuple(map(str, names))
    return ()


def class_numbers_in(
    content: object, rows: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Read the numbers that the classes of a checkpoint have in MOTChallenge text.

    Args:
        content: Content of a checkpoint file.
        rows: Rows of its class head; None for all.

    Returns:
        One for each of the rows; empty if it does not number its classes.
    """
    facts = _meta_in(content).get('dataset_meta') or {}
    numbers = facts.get('class_numbers') or ()
    if len(numbers) != len(classes_in(content)):
        return ()
    rows = range(len(numbers)) if rows is None else rows
    if max(rows, default=0) >= len(numbers):
        return ()
    return tuple(int(numbers[row]) for row in rows)


def _meta_in(content: object) -> Mapping:
    meta = content.get('meta') if isinstance(content, Mapping) else None
    return meta if isinstance(meta, Mapping) else {}


def _explain(name: str, path: Path, error: Exception) -> str:
    detail = str(error).strip().split('\n')[0]
    if 'Unsupported global' in str(error) or 'GLOBAL' in str(error):
        found = next(
            (s for s in str(error).split('\n') if 'GLOBAL' in s), detail
        ).strip()
        return (
            f'{name}: refused, because reading it would run code that comes with the '
            f'file ({found}). A checkpoint should have only tensors and plain values; '
            'nothing was run. If you trust its origin, save its state dict alone.'
        )
    with open(path, 'rb') as file:
        begin = file.read(64).lstrip().lower()
    refused = f'{name}: not a readable PyTorch checkpoint'
    if begin.startswith(b'version https://git-lfs'):
        return f'{refused}, but a pointer of Git LFS; fetch the file with git lfs pull.'
    if begin.startswith((b'<!doctype', b'<html', b'<?xml')):
        return f'{refused}, but a web page saved in its place; download it again.'
    if 'TorchScript' in detail:
        return f'{refused}, but a TorchScript program; save its state dict.'
    # PyTorch's message for other pickles advises to let the file run code.
    reason = '' if 'weights_only' in detail else f' ({type(error).__name__}: {detail})'
    return (
        f'{refused}{reason}. The file is truncated, damaged, or of another kind; it '
        f'has {path.stat().st_size} bytes. Download or copy it again.'
    )


def clean_state_dict(content: object) -> dict[str, Tensor]:
    """Return the state dict in the content of a checkpoint.

    Raises:
        CheckpointError: If there is no state dict, or it has values that are not
            tensors.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f'expected a dict with a state dict, found {type(content).__name__}.'
        )
    keys = list(content)
    wrapped = (content.get(wrapper) for wrapper in WRAPPERS)
    weights: Mapping = next((w for w in wrapped if isinstance(w, Mapping)), content)
    if not any(isinstance(v, Tensor) for v in weights.values()):
        raise CheckpointError(
            f'there is no state dict in it: expected one under '
            f'{", ".join(WRAPPERS)} or at the top, found the keys {keys[:8]}.'
        )
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f'the state dict has {name!r}, a {type(value).__name__}, where a '
                'tensor was expected.'
            )
    state_dict = {
        name.replace(COMPILED, ''): tensor.detach() for name, tensor in weights.items()
    }
    while all(name.startswith(PREFIX) for name in state_dict):
        state_dict = {n.removeprefix(PREFIX): t for n, t in state_dict.items()}
    return state_dict


def write_checkpoint(content: dict, path: str | Path) -> None:
    """Write a checkpoint file that appears only when it is complete.

    Args:
        content: Tensors and plain values, so that the file can be read with
            ``weights_only=True``.
        path: The file; missing folders are made.

    Raises:
        CheckpointError: If the disk is full or cannot be written; a file that existed
            before is unchanged.
    """
    try:
        with open_whole(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f'{path}: cannot write it: {error}') from error
