# Copyright (c) mmfdta authors.
"""Lines and zones as users write them."""

import json

import numpy as np
import pytest

from mmfdta.apis import CountingLine, CountingZone, ObjectCounter, read_zones
from mmfdta.visualization import TrackStyle
from mmfdta.visualization.areas import draw_zone

SQUARE = [[10, 10], [20, 10], [20, 20], [10, 20]]


def test_lines_are_read():
    assert CountingLine.parse('1,2,3,4', 2) == CountingLine('line2', (1, 2), (3, 4))
    named = CountingLine.parse(' north = gate=0.1, 0.2,0.3,-.4')
    assert named == CountingLine('north = gate', (0.1, 0.2), (0.3, -0.4))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('1,2,3', r"'1,2,3', expected \[NAME=\]x1,y1,x2,y2"),
        ('door', "'door', expected"),
        ('=1,2,3,4', 'without a name'),
        ('a=1,2,3,x', 'expected'),
        ('a=1,2,nan,4', 'line a: .*finite'),
        ('a=1,2,1,2', 'line a: .*equal ends'),
    ],
)
def test_wrong_lines_are_refused(text, message):
    with pytest.raises(ValueError, match=message) as error:
        CountingLine.parse(text)
    assert '\n' not in str(error.value)


def test_zones_are_read(tmp_path):
    path = tmp_path / 'zones.json'
    path.write_text(
        json.dumps({'Höf': SQUARE, 'b': [[0, 0], [1, 0], [0, 0.5]]}), 'utf-8'
    )
    zones = read_zones(path)
    assert [zone.name for zone in zones] == ['Höf', 'b']
    assert zones[0].rings == (((10, 10), (20, 10), (20, 20), (10, 20)),)
    assert zones[1].resolve(200, 100)[0].tolist() == [[0, 0], [200, 0], [0, 50]]


def test_geojson_is_read(tmp_path):
    closed = [*SQUARE, SQUARE[0]]
    hole = [[12, 12], [14, 12], [14, 14], [12, 12]]
    features = [
        dict(
            type='Feature',
            properties=dict(name='yard'),
            geometry=dict(type='Polygon', coordinates=[closed, hole]),
        ),
        dict(
            type='Feature',
            properties=['name'],
            geometry=dict(type='MultiPolygon', coordinates=[[closed], [hole]]),
        ),
    ]
    path = tmp_path / 'zones.geojson'
    path.write_text(json.dumps(dict(type='FeatureCollection', features=features)))
    yard, other = read_zones(path)
    assert (yard.name, other.name) == ('yard', 'zone2')
    assert yard.rings == other.rings
    assert [len(ring) for ring in yard.rings] == [4, 3]
    path.write_text(json.dumps(features[0]))
    assert read_zones(path) == [yard]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"a": [[1, 2], [3, 4]', r'zones.json, line 1: .*expected JSON such as'),
        ('[]', r'zones.json: found \[\], expected'),
        ('{}', 'zones.json: found {}, expected'),
        ('{"a": [[1, 2], [3, 4]]}', 'zones.json: zone a: .*three or more'),
        ('{"a": [[1, 1], [3, 3], [5, 5]]}', 'enclose an area'),
        ('{"a": [[1, 2], [3, "4"], [5, 5]]}', 'expected a list of corners'),
        ('{"a": [[1, 2], [3, NaN], [5, 5]]}', 'finite'),
        ('{"a": 5}', 'zone a: found 5, expected a list of corners'),
        (
            '{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}',
            'feature 1: found "Point", expected a Polygon',
        ),
        ('{"type": "FeatureCollection", "features": [3]}', 'feature 1: found 3'),
        ('{"type": "FeatureCollection", "features": null}', 'found features null'),
        ('{"type": "FeatureCollection", "features": []}', r'found features \[\], exp'),
        ('{"type": "FeatureCollection"}', 'found features null, expected a list'),
        ('{"a": [[1, 1]]}', r'zones.json: zone a: .* \[\(1.0, 1.0\)\], expected three'),
        ('{"a": [[1, 1], [1, 1]]}', 'zone a: .*three or more'),
        (f'{{"a": [[1, 2], [3, 1{400 * "0"}], [5, 5]]}}', 'zones.json: int too large'),
    ],
)
def test_wrong_files_are_refused(tmp_path, content, message):
    path = tmp_path / 'zones.json'
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_zones(path)
    assert '\n' not in str(error.value)


def test_shapes_that_cannot_count_are_refused():
    with pytest.raises(ValueError, match=r'zone a: found the corners \[\], expected'):
        CountingZone('a', ((),))
    line = CountingLine('a', (0, 0), (10, 10))
    with pytest.raises(ValueError, match='line a and zone a, expected different names'):
        ObjectCounter([line], [CountingZone('a', (tuple(map(tuple, SQUARE)),))])
    far = CountingLine('far', (700, 10), (900, 10))
    with pytest.raises(ValueError, match='line far: .* outside of .* 640x480'):
        far.resolve(640, 480)


@pytest.mark.parametrize('beyond', [1.05, -1.2])
def test_fractions_beyond_the_image_are_not_read_as_pixels(beyond):
    line = CountingLine('door', (0.2, 0.9), (0.8, beyond))
    with pytest.raises(ValueError, match=rf'line door: found .*{beyond}.* fractions'):
        line.resolve(640, 480)
    # Whole numbers are pixels, however small.
    np.testing.assert_array_equal(
        CountingLine('edge', (0, 0), (0, 40)).resolve(640, 480), [[0, 0], [0, 40]]
    )


def test_zones_across_the_border_are_drawn():
    image = np.zeros((50, 60, 3), np.uint8)
    ring = np.array([[-30.0, -20], [20, -20], [20, 20], [-30, 20]])
    draw_zone(image, [ring], TrackStyle(line_width=1))
    assert (image[1:17, 1:17] == 51).all()  # a fifth of white
    assert not image[:, 25:].any()
    draw_zone(image, [ring - [40, 0]], TrackStyle())
