# Copyright (c) mmfdta authors.
"""Lines and zones in which objects are counted, from text and from files."""

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Point = tuple[float, float]
"""Right and down, in pixels, or in fractions of the image's width and height."""

_LINE = '[NAME=]x1,y1,x2,y2'


@dataclass(frozen=True)
class CountingLine:
    """A line that objects cross.

    Coordinates are pixels, or fractions of the image if all are within -1 and 1. Who
    looks from the start to the end has the side *in* to the left: an object that comes
    from the right goes *in*, one that comes from the left goes *out*.

    Attributes:
        name: Its name in results.
        start: Where it starts.
        end: Where it ends.

    Raises:
        ValueError: If a number is not finite, or the line has no length.
    """

    name: str
    start: Point
    end: Point

    def __post_init__(self) -> None:
        _check_finite(self, [self.start, self.end])
        if self.start == self.end:
            raise ValueError(
                f'{self}: found two equal ends {self.start}, expected a line'
            )

    def __str__(self) -> str:
        return f'line {self.name}'

    @classmethod
    def parse(cls, text: str, number: int = 1) -> 'CountingLine':
        """Read a line.

        Args:
            text: ``[NAME=]x1,y1,x2,y2``.
            number: Names it where the text does not.

        Raises:
            ValueError: If that is not what the text is.
        """
        name, _, numbers = text.rpartition('=')
        try:
            x1, y1, x2, y2 = (float(part) for part in numbers.split(','))
        except ValueError:
            raise ValueError(f'line: found {text!r}, expected {_LINE}') from None
        if '=' in text and not name.strip():
            raise ValueError(f'line: found {text!r} without a name, expected {_LINE}')
        return cls(name.strip() or f'line{number}', (x1, y1), (x2, y2))

    def resolve(self, width: int, height: int) -> np.ndarray:
        """Return both ends in pixels of an image, float (2, 2).

        Raises:
            ValueError: If the line is outside of the image.
        """
        (ends,) = _to_pixels(self, [[self.start, self.end]], width, height)
        return ends


@dataclass(frozen=True)
class CountingZone:
    """A region in which objects stay.

    Coordinates are pixels, or fractions of the image if all are within -1 and 1. A
    point is inside if it is inside an odd number of the rings: one ring is a
    polygon, a ring within another one is a hole.

    Attributes:
        name: Its name in results.
        rings: Corners of its polygons, three or more each.

    Raises:
        ValueError: If a number is not finite, or a ring encloses nothing.
    """

    name: str
    rings: tuple[tuple[Point, ...], ...]

    def __post_init__(self) -> None:
        if not self.rings:
            raise ValueError(f'{self}: found no polygon')
        for ring in self.rings:
            _check_finite(self, ring)
            if not ring or np.linalg.matrix_rank(np.subtract(ring, ring[0])) < 2:
                raise ValueError(
                    f'{self}: found the corners {list(ring)}, expected three or more '
                    'that enclose an area'
                )

    def __str__(self) -> str:
        return f'zone {self.name}'

    def resolve(self, width: int, height: int) -> list[np.ndarray]:
        """Return the rings in pixels of an image, float (corners, 2) each.

        Raises:
            ValueError: If the zone is outside of the image.
        """
        return _to_pixels(self, self.rings, width, height)


def read_zones(path: str | os.PathLike) -> list[CountingZone]:
    """Read zones from a JSON file.

    Args:
        path: ``{"NAME": [[x, y], [x, y], [x, y], ...], ...}``, or GeoJSON: a
            FeatureCollection of Polygons and MultiPolygons with the property ``name``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is something else, or a zone is no polygon.
    """
    try:
        found = json.loads(Path(path).read_text(encoding='utf-8-sig'))
    except UnicodeDecodeError:
        raise ValueError(f'{path}: found no text, expected JSON') from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f'{path}, line {error.lineno}: {error.msg}, expected JSON such as '
            '{"yard": [[0, 200], [300, 200], [300, 500]]}'
        ) from None
    if not isinstance(found, dict) or not found:
        raise ValueError(
            f'{path}: found {_short(found)}, expected '
            '{"NAME": [[x, y], [x, y], [x, y], ...], ...} or GeoJSON'
        )
    try:
        if found.get('type') in ('FeatureCollection', 'Feature'):
            features = [found] if found['type'] == 'Feature' else found.get('features')
            if not isinstance(features, list) or not features:
                raise ValueError(
                    f'found features {_short(features)}, expected a list of features'
                )
            return [_read_feature(f, i) for i, f in enumerate(features, start=1)]
        return [
            CountingZone(name, (_read_ring(ring, f'zone {name}'),))
            for name, ring in found.items()
        ]
    except (ValueError, OverflowError) as error:  # a number may have 400 digits
        raise ValueError(f'{path}: {error}') from None


def check_names(shapes: Iterable[CountingLine | CountingZone]) -> None:
    """Refuse shapes that results could not tell apart.

    Raises:
        ValueError: If two have one name.
    """
    seen: dict[str, object] = {}
    for shape in shapes:
        if shape.name in seen:
            raise ValueError(
                f'found {seen[shape.name]} and {shape}, expected different names'
            )
        seen[shape.name] = shape


def _read_feature(feature: Any, number: int) -> CountingZone:
    geometry = feature.get('geometry') if isinstance(feature, dict) else None
    kind = geometry.get('type') if isinstance(geometry, dict) else None
    if not isinstance(geometry, dict) or kind not in ('Polygon', 'MultiPolygon'):
        raise ValueError(
            f'feature {number}: found {_short(kind or feature)}, expected a Polygon or '
            'a MultiPolygon'
        )
    found = geometry.get('coordinates')
    parts = found if kind == 'MultiPolygon' else [found]
    if not isinstance(parts, list) or not all(isinstance(p, list) for p in parts):
        raise ValueError(f'feature {number}: found coordinates {_short(found)}')
    rings = tuple(
        _read_ring(ring, f'feature {number}') for part in parts for ring in part
    )
    properties = feature.get('properties')
    name = properties.get('name') if isinstance(properties, dict) else None
    return CountingZone(f'zone{number}' if name is None else str(name), rings)


def _read_ring(found: Any, where: str) -> tuple[Point, ...]:
    points = found if isinstance(found, list) else []
    ring = [
        (float(point[0]), float(point[1]))
        for point in points
        if isinstance(point, list)
        and len(point) >= 2
        and all(type(value) in (int, float) for value in point[:2])
    ]
    if not ring or len(ring) < len(points):
        raise ValueError(
            f'{where}: found {_short(found)}, expected a list of corners '
            '[[x, y], [x, y], ...]'
        )
    is_closed = len(ring) > 1 and ring[0] == ring[-1]
    return tuple(ring[:-1] if is_closed else ring)


def _check_finite(shape: object, points: Sequence[Point]) -> None:
    for point in points:
        if not all(math.isfinite(value) for value in point):
            raise ValueError(f'{shape}: found {point}, expected finite numbers')


def _to_pixels(
    shape: object, rings: Sequence[Sequence[Point]], width: int, height: int
) -> list[np.ndarray]:
    pixels = [np.array(ring, dtype=float) for ring in rings]
    every = np.concatenate(pixels)
    if (abs(every) <= 1).all():
        pixels = [ring * [width, height] for ring in pixels]
        every = np.concatenate(pixels)
    elif (abs(every) < 2).all() and (every % 1).any():
        # A slip of 1.05 would leave a shape of one pixel, where nothing is counted.
        raise ValueError(
            f'{shape}: found {every.tolist()}, expected pixels, or fractions of the '
            'image, which are all between -1 and 1'
        )
    if (every.max(axis=0) < 0).any() or (every.min(axis=0) > [width, height]).any():
        raise ValueError(
            f'{shape}: found {every.round(1).tolist()} outside of the frames of '
            f'{width}x{height} pixels, where nothing can be counted'
        )
    return pixels


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
