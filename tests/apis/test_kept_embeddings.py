# Copyright (c) mmfdta authors.
"""Which configs' tracks can have embeddings, and what that changes in them."""

import pytest

from mmfdta.apis.config import read_config
from mmfdta.apis.kept_embeddings import keep_embeddings


@pytest.mark.parametrize(
    ('name', 'pooled'),
    [
        *(('fdta_mini', False), ('motip_mini', False)),
        *(('sort_fdta-det_mini', False), ('bytetrack_yolox-nano_coco', True)),
    ],
)
def test_the_tracker_stays_and_something_around_it_keeps_embeddings(name, pooled):
    model = read_config(name).model
    before = model.to_dict()
    keep_embeddings(model)
    around = model.tracker.to_dict()
    assert around.pop('tracker') == before.pop('tracker')
    assert around == dict(type='GalleryTracker', threshold=None, keep_embeddings=True)
    after = model.to_dict()
    assert after.pop('embeddings', None) == (
        dict(type='PooledEmbeddings') if pooled else None
    )
    del after['tracker']
    assert after == before


def test_a_config_that_is_handed_over_stays_as_it_is():
    given = read_config('bytetrack_yolox-nano_coco')
    before = given.to_dict()
    keep_embeddings(read_config(given).model)
    keep_embeddings(read_config(given, {'model.tracker.init_track_thr': 0.5}).model)
    assert given.to_dict() == before


def test_a_gallery_goes_on_and_its_settings_stay():
    model = read_config('bytetrack-gallery_yolox-nano_pets').model
    expected = model.tracker.to_dict() | dict(keep_embeddings=True)
    keep_embeddings(model)
    assert model.tracker.to_dict() == expected
    assert model.embeddings.to_dict() == dict(type='PooledEmbeddings')


@pytest.mark.parametrize('name', ['motr_mini', 'boxes_fdta-det_mini'])
def test_trackers_that_are_given_no_embeddings_are_refused(name):
    model = read_config(name).model
    with pytest.raises(ValueError, match=f'found model.type {model.type}, whose'):
        keep_embeddings(model)
