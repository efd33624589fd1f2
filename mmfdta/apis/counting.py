# Copyright (c) mmfdta authors.
"""Counts objects that cross lines and stay in zones."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, TypeVar

import cv2
import numpy as np

from mmfdta.structures.tracks import Tracks

from .counting_shapes import CountingLine, CountingZone, Point, check_names

Number = TypeVar('Number', int, float)
Segment = tuple[Point, Point]
ANCHORS = ('foot', 'center')
LINE_EVENTS = ('in', 'out')
ZONE_EVENTS = ('enter', 'leave', 'lost', 'end')


class CountedFrame(Protocol):
    """What is counted in; a :class:`TrackedFrame` is one."""

    @property
    def number(self) -> int:
        """Number of the frame in its source, from 1."""

    @property
    def time(self) -> float | None:
        """Seconds since the first frame."""

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3)."""

    @property
    def tracks(self) -> Tracks:
        """The objects."""


@dataclass(frozen=True)
class CountEvent:
    """Something that was counted.

    Attributes:
        frame: Number of the frame in its source: the first one on the other side.
        time: Seconds since the first frame; None where there are no time stamps.
        name: Name of the line or zone.
        event: Of a line ``in`` or ``out``; of a zone ``enter``, and at the end of a
            visit ``leave``, ``lost`` (not seen any more) or ``end`` (the video ended).
        identity: The object.
        label: Its class, the one that it had most often until then; -1 where none is
            known.
        seconds: At the end of a visit, how long it was.
    """

    frame: int
    time: float | None
    name: str
    event: str
    identity: int
    label: int
    seconds: float | None = None


@dataclass(frozen=True)
class Counts:
    """What was counted up to a frame.

    Attributes:
        lines: The lines.
        zones: The zones.
        events: What this frame added, in the order of counting.
        totals: (name, event, label) -> how many events there were.
        seconds: (zone, event, label) -> length of the visits that ended so; only where
            there are time stamps.
        inside: Zone -> identities in it.
    """

    lines: tuple[CountingLine, ...] = ()
    zones: tuple[CountingZone, ...] = ()
    events: tuple[CountEvent, ...] = ()
    totals: Mapping[tuple[str, str, int], int] = field(default_factory=dict)
    seconds: Mapping[tuple[str, str, int], float] = field(default_factory=dict)
    inside: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def total(self, name: str, event: str, label: int | None = None) -> int:
        """Tell how many events there were.

        Args:
            name: Of the line or zone.
            event: See :class:`CountEvent`.
            label: Of objects of one class only; None: of all.
        """
        return sum(self._select(self.totals, name, event, label))

    def total_seconds(
        self, name: str, event: str, label: int | None = None
    ) -> float | None:
        """Tell how long the visits of a zone were that ended by an event.

        Args:
            name: Of the zone.
            event: ``leave``, ``lost`` or ``end``.
            label: Of objects of one class only; None: of all.

        Returns:
            Seconds; None if there was none, or there are no time stamps.
        """
        spent = self._select(self.seconds, name, event, label)
        return sum(spent) if spent else None

    def mean_seconds(self, name: str) -> float | None:
        """Tell the mean length of the visits of a zone that ended, if there are any."""
        ended = sum(self.total(name, event) for event in ZONE_EVENTS[1:])
        spent = [self.total_seconds(name, event) for event in ZONE_EVENTS[1:]]
        known = [seconds for seconds in spent if seconds is not None]
        return sum(known) / ended if known else None

    def describe_all(self) -> list[str]:
        """Write the totals of each line and zone in a few words."""
        names = [line.name for line in self.lines]
        names += [zone.name for zone in self.zones]
        return [self.describe(name) for name in names]

    @staticmethod
    def _select(
        values: Mapping[tuple[str, str, int], Number],
        name: str,
        event: str,
        label: int | None,
    ) -> list[Number]:
        return [
            value
            for (where, what, kind), value in values.items()
            if (where, what) == (name, event) and label in (None, kind)
        ]

    def describe(self, name: str) -> str:
        """Write the totals of a line or zone in a few words."""
        if any(line.name == name for line in self.lines):
            return f'{name}: in {self.total(name, "in")}, out {self.total(name, "out")}'
        text = f'{name}: {len(self.inside.get(name, ()))} inside'
        text += f', {self.total(name, "enter")} visits'
        mean = self.mean_seconds(name)
        return text if mean is None else f'{text}, {mean:.1f} s on average'


@dataclass
class _Crossing:
    """Where an object is with respect to one line.

    Attributes:
        balance: Crossings that are not counted yet: to the left less to the right.
        since: Frame and time of the first of them.
        settled: Frames in which the object was clearly on the other side since.
    """

    balance: int = 0
    since: tuple[int, float | None] = (0, None)
    settled: int = 0


@dataclass
class _Visit:
    """Where an object is with respect to one zone.

    Attributes:
        inside: It is counted as inside.
        since: Frame and time of the first frame inside.
        turned: Frame and time of the first frame on the other side, if it is there.
        settled: Frames in which the object was clearly there since.
    """

    inside: bool = False
    since: tuple[int, float | None] = (0, None)
    turned: tuple[int, float | None] | None = None
    settled: int = 0


@dataclass
class _Path:
    """An object that is followed.

    Attributes:
        crossings: For each line.
        visits: For each zone.
        point: Where it was last, pixels.
        clock: The tracked frame in which it was.
        moment: Number and time of that frame.
        num_frames: Frames in which it was.
        labels: Its classes.
        held: Events that count when the object is confirmed.
    """

    crossings: list[_Crossing]
    visits: list[_Visit]
    point: Point | None = None
    clock: int = 0
    moment: tuple[int, float | None] = (0, None)
    num_frames: int = 0
    labels: Counter[int] = field(default_factory=Counter)
    held: list[CountEvent] = field(default_factory=list)


class ObjectCounter:
    """Counts the objects of one video, frame by frame.

    An object is where its anchor is. It crosses a line when the straight way from one
    anchor to the next leads through it, not when it walks round its end. A crossing, an
    entry or an exit counts when the object has been on the other side in ``settle``
    frames, away from the border by ``margin``, or is not seen any more: a box that
    jumps across and back counts nothing, nor does an object that stands on the line.
    Only confirmed objects count, which were tracked in ``min_frames`` frames; what they
    did before is counted then.

    Example:
        >>> door = CountingLine('door', (0.2, 0.5), (0.8, 0.5))
        >>> counter = ObjectCounter([door])
        >>> for frame in inferencer.track('video.mp4', counter=counter):
        ...     for event in frame.counts.events:
        ...         print(event.time, event.name, event.event, event.identity)
        >>> counter.counts.total('door', 'in')

    Args:
        lines: Lines to cross.
        zones: Zones to be in.
        frame_rate: Frames per second, where frames have no time; None: visits then
            have no length.
        anchor: ``'foot'``, the middle of the lower side of the box, or ``'center'``.
        min_frames: Frames after which an object is confirmed.
        settle: Frames on the other side after which it counts.
        margin: Distance from the border, as a share of the box's longer side.
        max_gap: An object that is missing from more tracked frames in a row starts
            again: what it did in between is not known.

    Attributes:
        counts: What is counted up to now.

    Raises:
        ValueError: If two shapes have one name, or an argument is out of range.
    """

    def __init__(
        self,
        lines: Sequence[CountingLine] = (),
        zones: Sequence[CountingZone] = (),
        *,
        frame_rate: float | None = None,
        anchor: str = 'foot',
        min_frames: int = 3,
        settle: int = 2,
        margin: float = 0.05,
        max_gap: int = 30,
    ) -> None:
        if anchor not in ANCHORS:
            raise ValueError(f'anchor: found {anchor!r}, expected one of {ANCHORS}')
        for name, value, least in (
            ('min_frames', min_frames, 1),
            ('settle', settle, 1),
            ('margin', margin, 0),
            ('max_gap', max_gap, 0),
        ):
            if value < least:
                raise ValueError(f'{name}: found {value}, expected at least {least}')
        self.lines, self.zones = tuple(lines), tuple(zones)
        check_names([*self.lines, *self.zones])
        self.frame_rate = frame_rate
        self._anchor = anchor
        self._min_frames, self._settle = min_frames, settle
        self._margin, self._max_gap = margin, max_gap
        self.reset()

    def reset(self) -> None:
        """Start another video."""
        self._paths: dict[int, _Path] = {}
        self._clock = 0
        self._size: tuple[int, int] | None = None
        self._ends: list[Segment] = []
        self._rings: list[list[np.ndarray]] = []
        self._limits: list[float] = []
        self._totals: Counter[tuple[str, str, int]] = Counter()
        self._seconds: dict[tuple[str, str, int], float] = defaultdict(float)
        self._events: list[CountEvent] = []
        self._finished = False
        self.counts = self._snapshot()

    def update(self, frame: CountedFrame) -> Counts:
        """Count in the next frame.

        Args:
            frame: The frame, with its objects.

        Raises:
            ValueError: If a line or zone is outside of the image.
        """
        self._clock += 1
        self._fit(frame.image.shape[1], frame.image.shape[0])
        for identity, path in list(self._paths.items()):
            if self._clock - path.clock > self._max_gap + 1:
                self._end(identity, 'lost')
        time = frame.time
        if time is None and self.frame_rate:
            time = (frame.number - 1) / self.frame_rate
        moment = frame.number, None if time is None else float(time)
        tracks = frame.tracks
        boxes = tracks.xyxy
        anchors = (boxes[:, :2] + boxes[:, 2:]) / 2
        if self._anchor == 'foot':
            anchors[:, 1] = boxes[:, 3]
        points, labels = anchors.tolist(), tracks.label.tolist()
        margins = (self._margin * tracks.xywh[:, 2:].max(axis=1, initial=0)).tolist()
        for i, identity in enumerate(tracks.identity.tolist()):
            if identity not in self._paths:
                self._paths[identity] = _Path(
                    [_Crossing() for _ in self.lines], [_Visit() for _ in self.zones]
                )
            path = self._paths[identity]
            path.labels[labels[i]] += 1
            path.num_frames += 1
            if path.num_frames == self._min_frames:
                for event in path.held:
                    self._count(event)
                path.held.clear()
            x, y = points[i]
            self._cross(identity, path, (x, y), margins[i], moment)
            self._visit(identity, path, (x, y), margins[i], moment)
            path.point, path.clock, path.moment = (x, y), self._clock, moment
        self.counts = self._snapshot()
        return self.counts

    def finish(self) -> Counts:
        """End the visits of those who are still inside: the video has ended.

        Returns:
            All counts; their events are those of the end.
        """
        if not self._finished:
            self._finished = True
            for identity, path in list(self._paths.items()):
                self._end(identity, 'end' if path.clock == self._clock else 'lost')
            self.counts = self._snapshot()
        return self.counts

    def _fit(self, width: int, height: int) -> None:
        """Place the shapes on images of a size; those of another size start again."""
        if self._size == (width, height):
            return
        for identity in list(self._paths):
            self._end(identity, 'lost')
        self._size = width, height
        self._ends = [
            ((x1, y1), (x2, y2))
            for (x1, y1), (x2, y2) in (
                line.resolve(width, height).tolist() for line in self.lines
            )
        ]
        self._rings = [
            [ring.astype(np.float32) for ring in zone.resolve(width, height)]
            for zone in self.zones
        ]
        self._limits = [_largest_margin(rings) for rings in self._rings]

    def _cross(
        self,
        identity: int,
        path: _Path,
        point: Point,
        margin: float,
        moment: tuple[int, float | None],
    ) -> None:
        for line, ends, state in zip(
            self.lines, self._ends, path.crossings, strict=True
        ):
            now = _offset(ends, point)
            if path.point is not None and _leads_through(path.point, point, ends):
                if state.balance == 0:
                    state.since = moment
                state.balance += 1 if now < 0 else -1
                state.settled = 0
            if state.balance and (now < 0) == (state.balance > 0):
                state.settled += abs(now) >= margin
                if state.settled >= self._settle:
                    self._add_crossings(identity, path, line, state)
            else:
                state.settled = 0

    def _add_crossings(
        self, identity: int, path: _Path, line: CountingLine, state: _Crossing
    ) -> None:
        event = 'in' if state.balance > 0 else 'out'
        for _ in range(abs(state.balance)):
            self._add(identity, path, line.name, event, state.since)
        state.balance = state.settled = 0

    def _visit(
        self,
        identity: int,
        path: _Path,
        point: Point,
        margin: float,
        moment: tuple[int, float | None],
    ) -> None:
        for zone, rings, limit, state in zip(
            self.zones, self._rings, self._limits, path.visits, strict=True
        ):
            inside, distance = _inside(rings, point)
            if inside == state.inside:
                state.turned, state.settled = None, 0
                continue
            if state.turned is None:
                state.turned, state.settled = moment, 0
            state.settled += distance >= min(margin, limit)
            if state.settled >= self._settle:
                self._turn(identity, path, zone, state)

    def _turn(
        self, identity: int, path: _Path, zone: CountingZone, state: _Visit
    ) -> None:
        """Let an object enter or leave at the moment in which it turned."""
        assert state.turned is not None
        if state.inside:
            self._leave(identity, path, zone, state, 'leave', state.turned)
        else:
            state.inside, state.since = True, state.turned
            self._add(identity, path, zone.name, 'enter', state.turned)
        state.turned, state.settled = None, 0

    def _leave(
        self,
        identity: int,
        path: _Path,
        zone: CountingZone,
        state: _Visit,
        event: str,
        moment: tuple[int, float | None],
    ) -> None:
        state.inside = False
        seconds = None
        if moment[1] is not None and state.since[1] is not None:
            seconds = moment[1] - state.since[1]
        self._add(identity, path, zone.name, event, moment, seconds)

    def _end(self, identity: int, event: str) -> None:
        """Stop following an object; where it was last is where it went."""
        path = self._paths.pop(identity)
        for line, crossing in zip(self.lines, path.crossings, strict=True):
            self._add_crossings(identity, path, line, crossing)
        for zone, visit in zip(self.zones, path.visits, strict=True):
            if visit.turned is not None:
                self._turn(identity, path, zone, visit)
            if visit.inside:
                self._leave(identity, path, zone, visit, event, path.moment)

    def _add(
        self,
        identity: int,
        path: _Path,
        name: str,
        event: str,
        moment: tuple[int, float | None],
        seconds: float | None = None,
    ) -> None:
        """Count an event, or keep it until the object is confirmed."""
        label = path.labels.most_common(1)[0][0]
        found = CountEvent(*moment, name, event, identity, label, seconds)
        if path.num_frames >= self._min_frames:
            self._count(found)
        else:
            path.held.append(found)

    def _count(self, event: CountEvent) -> None:
        self._events.append(event)
        self._totals[event.name, event.event, event.label] += 1
        if event.seconds is not None:
            self._seconds[event.name, event.event, event.label] += event.seconds

    def _snapshot(self) -> Counts:
        events, self._events = tuple(self._events), []
        inside = {
            zone.name: tuple(
                identity
                for identity, path in self._paths.items()
                if path.visits[place].inside and path.num_frames >= self._min_frames
            )
            for place, zone in enumerate(self.zones)
        }
        return Counts(
            self.lines,
            self.zones,
            events,
            MappingProxyType(dict(self._totals)),
            MappingProxyType(dict(self._seconds)),
            MappingProxyType(inside),
        )


def _offset(ends: Segment, point: Point) -> float:
    """Tell the distance of a point from the line through both ends, in pixels.

    It is negative to the left of who looks from the first end to the second.
    """
    return _turn_of(ends, point) / math.dist(*ends)


def _leads_through(before: Point, now: Point, ends: Segment) -> bool:
    """Tell whether the way from a point to the next one crosses a line, ends included.

    A point on the line is to its right.
    """
    if (_turn_of(ends, before) < 0) == (_turn_of(ends, now) < 0):
        return False
    way = before, now
    return _turn_of(way, ends[0]) * _turn_of(way, ends[1]) <= 0


def _turn_of(way: Segment, point: Point) -> float:
    """Tell on which side of a way a point is: below 0 left, above 0 right."""
    (x, y), (end_x, end_y) = way
    return (end_x - x) * (point[1] - y) - (end_y - y) * (point[0] - x)


def _inside(rings: Sequence[np.ndarray], point: Point) -> tuple[bool, float]:
    """Tell whether a point is inside an odd number of rings, and its distance."""
    distances = [cv2.pointPolygonTest(ring, point, True) for ring in rings]
    odd = sum(distance >= 0 for distance in distances) % 2 == 1
    return odd, min(map(abs, distances))


def _largest_margin(rings: Sequence[np.ndarray]) -> float:
    """Limit margins to a part of a zone: objects must fit into small ones."""
    sizes = [(cv2.contourArea(ring), cv2.arcLength(ring, True)) for ring in rings]
    return max(area / around for area, around in sizes) / 2
