# Copyright (c) mmfdta authors.
"""Random drop and insertion of track queries."""

import pytest
import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps

from mmfdta.models.association import QuerySampling


def _scene(num_tracks: int, num_others: int) -> tuple[torch.Tensor, ...]:
    """Tracks with a good overlap, others without an object, in random order."""
    number = num_tracks + num_others
    identities = torch.full((number,), -1)
    identities[torch.randperm(number)[:num_tracks]] = torch.arange(num_tracks)
    ious = torch.where(identities >= 0, 0.9, 0.0)
    boxes = 0.2 + 0.5 * torch.rand(number, 4)
    return identities, ious, boxes


def test_only_tracks_that_overlap_their_object_go_on():
    identities = torch.tensor([3, -1, 4, 5, -1, 6])
    ious = torch.tensor([0.6, 0.9, 0.5, 0.51, 0.0, 0.4])
    sampling = QuerySampling(drop_prob=0, insert_prob=0)
    assert sampling(identities, ious, torch.rand(6, 4)).tolist() == [0, 3]


def test_share_of_dropped_tracks():
    identities, ious, boxes = _scene(40, 20)
    sampling = QuerySampling(drop_prob=0.1, insert_prob=0)
    draws = [sampling(identities, ious, boxes) for _ in range(500)]
    kept = torch.cat(draws).bincount(minlength=60) / 500
    assert (kept[identities < 0] == 0).all()
    # 500 draws of one track scatter by 0.013, of all tracks by 0.002.
    assert ((kept[identities >= 0] - 0.9).abs() < 0.06).all()
    assert abs(float(kept[identities >= 0].mean()) - 0.9) < 0.01


def test_a_track_brings_the_query_that_overlaps_it_most():
    identities, ious, boxes = _scene(5, 30)
    kept = QuerySampling(drop_prob=0, insert_prob=1)(identities, ious, boxes)
    corners = bbox_cxcywh_to_xyxy(boxes)
    tracks, others = (identities >= 0).nonzero()[:, 0], (identities < 0).nonzero()[:, 0]
    expected = set()
    for track in tracks.tolist():
        overlaps = bbox_overlaps(corners[track, None], corners[others])[0]
        expected.add(int(others[int(overlaps.argmax())]))
    assert kept[:5].tolist() == tracks.tolist()
    assert kept[5:].tolist() == sorted(expected)


def test_share_of_inserted_queries():
    """Each track has a nearest query of its own: there are as many as draws."""
    boxes = torch.cat([torch.linspace(0.02, 0.98, 20)[:, None].repeat(1, 2)] * 2)
    boxes = torch.cat([boxes, torch.full((40, 2), 0.03)], dim=1)
    identities = torch.cat([torch.arange(20), torch.full((20,), -1)])
    ious = torch.where(identities >= 0, 0.9, 0.0)
    sampling = QuerySampling(drop_prob=0, insert_prob=0.3)
    inserted = torch.cat(
        [sampling(identities, ious, boxes)[20:] for _ in range(500)]
    ).bincount(minlength=40)[20:]
    assert ((inserted / 500 - 0.3).abs() < 0.09).all()
    assert abs(float(inserted.sum()) / 500 / 20 - 0.3) < 0.02


def test_all_others_go_on_if_there_are_no_more_than_drawn():
    identities, ious, boxes = _scene(6, 3)
    kept = QuerySampling(drop_prob=0, insert_prob=1)(identities, ious, boxes)
    assert kept[6:].tolist() == (identities < 0).nonzero()[:, 0].tolist()


def test_without_tracks_nothing_goes_on():
    identities, ious, boxes = _scene(0, 4)
    sampling = QuerySampling(drop_prob=0.5, insert_prob=1)
    assert sampling(identities, ious, boxes).tolist() == []
    empty = torch.empty(0, dtype=torch.int64)
    assert sampling(empty, torch.empty(0), torch.empty(0, 4)).tolist() == []


@pytest.mark.parametrize('name', ['drop_prob', 'insert_prob'])
@pytest.mark.parametrize('value', [-0.1, 1.5, float('nan')])
def test_what_is_no_probability_is_refused(name: str, value: float):
    with pytest.raises(ValueError, match=f'model.query_sampling.{name} = {value}'):
        QuerySampling(**{name: value})
