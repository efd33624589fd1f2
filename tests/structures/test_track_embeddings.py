# Copyright (c) mmfdta authors.
"""The file of embeddings beside the text of a sequence."""

import pickle
import zipfile

import numpy as np
import pytest

from mmfdta.structures.track_embeddings import TrackEmbeddings
from mmfdta.structures.tracks import Tracks


def some(rows=3):
    return TrackEmbeddings(
        frame=np.arange(1, rows + 1),
        identity=np.full(rows, 7),
        label=np.full(rows, -1),
        embeddings=np.arange(2.0 * rows, dtype=np.float32).reshape(rows, 2),
    )


def test_a_file_gives_back_what_was_saved(tmp_path):
    for rows in (3, 0):
        some(rows).save(tmp_path / 'a.npz')
        read = TrackEmbeddings.load(tmp_path / 'a.npz')
        for name, values in vars(some(rows)).items():
            np.testing.assert_array_equal(getattr(read, name), values)
    with zipfile.ZipFile(tmp_path / 'all.zip', 'w') as archive:
        archive.write(tmp_path / 'a.npz', 'tracks/a.npz')
    assert len(TrackEmbeddings.load(tmp_path / 'all.zip/tracks/a.npz')) == 0


def test_rows_are_found_by_frame_identity_and_class():
    boxes = np.zeros((4, 4))
    tracks = Tracks.create([2, 1, 2, 3], [7, 7, 8, 7], boxes, label=[-1, -1, -1, 2])
    assert some().of_rows(tracks).tolist() == [1, 0, -1, -1]


@pytest.mark.parametrize(
    'content, said',
    [
        (b'', 'found no frame, identity, label, embeddings'),
        (b'PK\x03\x04 cut off', 'found no frame'),
        (pickle.dumps([1]), 'found no frame'),
    ],
)
def test_other_files_are_refused(tmp_path, content, said):
    (tmp_path / 'a.npz').write_bytes(content)
    with pytest.raises(ValueError, match=said):
        TrackEmbeddings.load(tmp_path / 'a.npz')


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / 'a.npz'
    np.savez(path, **{**vars(some()), 'frame': np.arange(2)})
    with pytest.raises(ValueError, match=r'frame \(2,\)'):
        TrackEmbeddings.load(path)
    np.savez(path, **{**vars(some()), 'embeddings': np.full((3, 2), np.nan)})
    with pytest.raises(ValueError, match='not finite'):
        TrackEmbeddings.load(path)
    np.savez(path, **{**vars(some()), 'identity': np.array([1, 2.5, 3])})
    with pytest.raises(ValueError, match='identity of type float64, expected whole'):
        TrackEmbeddings.load(path)
    np.savez(path, **{**vars(some()), 'frame': np.array([1, 2, {}], dtype=object)})
    with pytest.raises(ValueError, match='found no'):
        TrackEmbeddings.load(path)
    with pytest.raises(FileNotFoundError, match='no such file'):
        TrackEmbeddings.load(tmp_path / 'b.npz')
