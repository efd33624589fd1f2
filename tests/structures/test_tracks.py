# Copyright (c) mmfdta authors.
"""Tracks: made from arrays and instances, selected, ordered, checked."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from mmfdta import evaluation
from mmfdta.structures import Tracks
from mmfdta.structures.track_embeddings import EmbeddedTracks

BOXES = np.array([[1.5, 2.0, 11.25, 22.0], [-3.0, 0.1, 5.0, 7.7]], dtype=np.float32)


def test_defaults_and_types():
    tracks = Tracks.create([2, 1], [7, 8], [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert len(tracks) == 2
    assert tracks.frame.dtype == tracks.identity.dtype == tracks.label.dtype == np.int64
    assert tracks.xywh.dtype == tracks.score.dtype == np.float64
    assert tracks.score.tolist() == [1, 1] and tracks.label.tolist() == [-1, -1]
    assert tracks.xyxy.tolist() == [[1, 2, 4, 6], [5, 6, 12, 14]]
    assert tracks.xywh.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_wrong_columns_are_refused():
    with pytest.raises(ValueError, match='different lengths'):
        Tracks.create([1, 2], [1], [[1, 2, 3, 4]])
    with pytest.raises(ValueError, match=r'row 0 \(frame 3\), expected finite'):
        Tracks.create([3], [1], [[1, 2, np.inf, 4]])


def test_parts_are_put_together():
    first = Tracks.create([1], [5], [[1, 2, 3, 4]], [0.5], [2])
    both = Tracks.concatenate([first, Tracks.empty(), first])
    assert both.score.tolist() == [0.5, 0.5] and both.label.tolist() == [2, 2]
    assert both.frame.dtype == np.int64
    assert len(Tracks.concatenate([])) == 0
    assert Tracks.empty().xywh.shape == (0, 4)


def test_frames_are_ordered_and_rows_of_a_frame_stay():
    tracks = Tracks.create([2, 1, 2, 1], [1, 2, 3, 4], np.ones((4, 4)))
    assert tracks.in_frame_order().identity.tolist() == [2, 4, 1, 3]
    assert tracks.select(tracks.frame == 2).identity.tolist() == [1, 3]
    ordered = tracks.select(np.array([1, 3]))
    assert ordered.in_frame_order() is ordered


def test_rounded_as_text():
    tracks = Tracks.create([1], [1], [[1.00049, 2.00051, 3, 4]], [0.12345678])
    assert tracks.rounded().xywh.tolist() == [[1.0, 2.001, 3, 4]]
    assert tracks.rounded().score.tolist() == [0.123457]
    embedded = EmbeddedTracks.of(tracks, np.array([[0.12345678, 1]]))
    assert np.array_equal(embedded.rounded().embeddings, embedded.embeddings)


def test_check():
    tracks = Tracks.create([1, 3], [5, 5], np.ones((2, 4)))
    tracks.check('s', 3)
    with pytest.raises(ValueError, match=r's: found frame 3, expected 1 to 2'):
        tracks.check('s', 2)
    twice = Tracks.concatenate([tracks, tracks])
    with pytest.raises(ValueError, match=r's: identity 5 occurs twice in frame 1'):
        twice.check('s', 3)


@pytest.mark.parametrize('make', [torch.from_numpy, np.asarray, HorizontalBoxes])
def test_from_a_result(make):
    instances = InstanceData(
        bboxes=make(BOXES),
        instances_id=torch.tensor([4, 2]),
        scores=torch.tensor([0.1, 0.75]),
        labels=torch.tensor([1, 0]),
    )
    tracks = Tracks.from_instances(instances, 9)
    assert tracks.frame.tolist() == [9, 9] and tracks.identity.tolist() == [4, 2]
    assert tracks.score.tolist() == [float(np.float32(0.1)), 0.75]
    assert tracks.label.tolist() == [1, 0]
    # The float32 corners come back to the bit.
    np.testing.assert_array_equal(tracks.xyxy, BOXES.astype(np.float64))


def test_from_a_ground_truth_and_from_nothing():
    truth = InstanceData(
        bboxes=torch.from_numpy(BOXES).requires_grad_(),
        instances_ids=torch.tensor([4, 2]),
    )
    tracks = Tracks.from_instances(truth, 1)
    assert tracks.identity.tolist() == [4, 2] and tracks.score.tolist() == [1, 1]
    assert tracks.label.tolist() == [-1, -1]
    nothing = InstanceData(
        bboxes=torch.zeros(0, 4), instances_id=torch.zeros(0, dtype=torch.long)
    )
    assert len(Tracks.from_instances(nothing, 1)) == 0
    with pytest.raises(ValueError, match='frame 3: expected .*instances_id, found bb'):
        Tracks.from_instances(InstanceData(bboxes=torch.zeros(0, 4)), 3)


def test_names_of_before_are_answered():
    tracks = Tracks.create([1], [1], [[1, 2, 3, 4]])
    for old, new in dict(bboxes='xyxy', instances_id='identity', mark='score').items():
        with pytest.raises(AttributeError, match=f'{old}.; use {new}'):
            getattr(tracks, old)
    assert not hasattr(tracks, 'other')
    back = pickle.loads(pickle.dumps(tracks))
    np.testing.assert_array_equal(back.xywh, tracks.xywh)
    assert evaluation.TrackBoxes.create([1], [1], [[1, 2, 3, 4]]).score.tolist() == [1]


def test_the_ground_needs_no_pytorch():
    code = (
        'import sys, mmfdta.structures, mmfdta.structures.mot_text, '
        'mmfdta.structures.tables; '
        'assert not {"torch", "mmengine", "mmdet", "scipy"} & set(sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize('column', ['frame', 'identity', 'label'])
@pytest.mark.parametrize('value', [1.5, np.nan, np.inf, -np.inf])
def test_numbers_that_would_be_cut_off_are_refused(column, value):
    columns = dict(frame=[1.0, 2.0], identity=[7.0, 8.0], label=[0.0, 1.0])
    columns[column] = [1.0, value]
    with pytest.raises(ValueError, match=rf'found {column} {value} in row 1, expected'):
        Tracks.create(**columns, xywh=np.ones((2, 4)))


@pytest.mark.parametrize(
    'values',
    [
        [1, 2**63],
        [1, 2**70],
        [1, -(2**64)],
        np.array([1, 2**63 + 5], dtype=np.uint64),
        [1.0, 2.0**53],
        np.array([1, 1e20], dtype=np.float32),
        [1, '2'],
        ['1', '2'],
        np.array([1, 2], dtype=complex),
        [True, False],
        [1, None],
        torch.tensor([True, False]),
    ],
    ids=str,
)
@pytest.mark.parametrize('column', ['frame', 'identity', 'label'])
def test_what_is_no_number_of_64_bits_is_refused(column, values):
    columns = dict(frame=[1, 2], identity=[7, 8], label=[0, 1]) | {column: values}
    with pytest.raises(ValueError, match=rf'found {column} .* in row [01], expected'):
        Tracks.create(**columns, xywh=np.ones((2, 4)))


def test_frames_below_0_are_refused_and_labels_are_not():
    with pytest.raises(ValueError, match='found frame -1 in row 1, expected 0 to'):
        Tracks.create([1, -1], [1, 2], np.ones((2, 4)))
    assert Tracks.create([0], [-5], np.ones((1, 4)), label=[-1]).label.tolist() == [-1]


def test_an_instance_with_halves_for_labels_or_identities_is_refused():
    for name in 'instances_id', 'labels':
        values = dict(instances_id=torch.tensor([4, 2]), labels=torch.tensor([1, 0]))
        values[name] = torch.tensor([1.0, 1.5])
        instances = InstanceData(bboxes=torch.from_numpy(BOXES), **values)
        with pytest.raises(ValueError, match=r'found \w+ 1.5 in row 1'):
            Tracks.from_instances(instances, 1)


def test_whole_numbers_of_any_type_are_taken():
    tracks = Tracks.create([1.0, 2.0], np.array([7, 8], np.int32), np.ones((2, 4)))
    assert tracks.frame.tolist() == [1, 2] and tracks.identity.tolist() == [7, 8]
    assert tracks.frame.dtype == tracks.identity.dtype == np.int64
    tracks = Tracks.create(torch.tensor([3]), [np.uint64(5)], np.ones((1, 4)))
    assert tracks.frame.tolist() == [3] and tracks.identity.tolist() == [5]
    big = Tracks.create([1], [2**63 - 1], np.ones((1, 4)))
    assert big.identity.tolist() == [2**63 - 1]
