# Copyright (c) mmfdta authors.
"""Embeddings of tracked boxes, and the file that stores them for a sequence."""

import contextlib
import io
import os
import zipfile
from dataclasses import dataclass

import numpy as np

from .tracks import Tracks
from .whole_files import open_whole, read_bytes

SUFFIX = '.npz'


@dataclass(frozen=True)
class EmbeddedTracks(Tracks):
    """Boxes with identities, and an embedding of each.

    Attributes:
        embeddings: float32 (N, C); a row that is not finite means no embedding.
    """

    embeddings: np.ndarray

    @classmethod
    def of(cls, tracks: Tracks, embeddings: np.ndarray) -> 'EmbeddedTracks':
        """Add the embeddings (N, C) of N boxes."""
        return cls(**vars(tracks), embeddings=embeddings.astype(np.float32))


@dataclass(frozen=True)
class TrackEmbeddings:
    """Embeddings of the boxes of a sequence.

    ``<sequence>.npz`` has the four arrays under these names. It belongs to
    ``<sequence>.txt`` in the same folder and has its frame numbers and identities. A
    box without an embedding has no row.

    Attributes:
        frame: int64 (N,), frame numbers as in the text.
        identity: int64 (N,), identities as in the text.
        label: int64 (N,), class numbers as in column 8 of the text, -1 if it has none.
        embeddings: float32 (N, C), not normalised.
    """

    frame: np.ndarray
    identity: np.ndarray
    label: np.ndarray
    embeddings: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def save(self, path: str | os.PathLike) -> None:
        """Write the file; it appears only when it is complete.

        Raises:
            OSError: If it cannot be written.
        """
        with open_whole(path) as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: str | os.PathLike) -> 'TrackEmbeddings':
        """Read a file, or a member of a zip, without running anything in it.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a file of this kind, or its arrays do not fit.
        """
        names = list(cls.__dataclass_fields__)
        try:
            content = read_bytes(path)
        except FileNotFoundError:
            raise FileNotFoundError(
                f'{path}: no such file, expected embeddings of tracks'
            ) from None
        found = {}
        if content[:2] == b'PK':  # else NumPy would read it as a single array
            with (
                contextlib.suppress(ValueError, EOFError, zipfile.BadZipFile),
                np.load(io.BytesIO(content), allow_pickle=False) as file,
            ):
                found = {name: file[name] for name in names if name in file.files}
        missing = [name for name in names if name not in found]
        if missing:
            raise ValueError(
                f'{path}: found no {", ".join(missing)}, expected embeddings of '
                f'tracks, an .npz with {", ".join(names)}'
            )
        rows = [len(found[name]) if found[name].ndim else -1 for name in names]
        embeddings = found['embeddings']
        if len(set(rows)) > 1 or embeddings.ndim != 2 or embeddings.dtype.kind != 'f':
            shapes = ', '.join(f'{name} {found[name].shape}' for name in names)
            raise ValueError(
                f'{path}: found {shapes}, expected N numbers each and embeddings (N, C)'
            )
        for name in names[:-1]:
            if found[name].dtype.kind not in 'iu':
                raise ValueError(
                    f'{path}: found {name} of type {found[name].dtype}, expected whole '
                    'numbers'
                )
        if not np.isfinite(embeddings).all():
            raise ValueError(
                f'{path}: found embeddings that are not finite, expected numbers'
            )
        columns = {name: found[name].astype(np.int64) for name in names[:-1]}
        return cls(**columns, embeddings=embeddings.astype(np.float32))

    def of_rows(self, tracks: Tracks) -> np.ndarray:
        """Find the embedding of each box.

        Args:
            tracks: N boxes.

        Returns:
            int64 (N,), rows of the embeddings; -1 for boxes without one.
        """
        places = {
            place: row
            for row, place in enumerate(
                zip(
                    self.frame.tolist(),
                    self.identity.tolist(),
                    np.maximum(self.label, -1).tolist(),
                    strict=True,
                )
            )
        }
        wanted = zip(
            tracks.frame.tolist(),
            tracks.identity.tolist(),
            np.maximum(tracks.label, -1).tolist(),
            strict=True,
        )
        return np.array([places.get(place, -1) for place in wanted], dtype=np.int64)
