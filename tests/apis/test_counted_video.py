# Copyright (c) mmfdta authors.
"""Counting and watching while a video is tracked."""

import csv
import json
import sys

import numpy as np
import pytest

from mmfdta.apis import CountingLine, MOTInferencer, ObjectCounter, window
from mmfdta.apis.window import check_display
from mmfdta.cli.main import main

FRAMES = 60
# In fractions of 160x120 pixels: across the ways of all three rectangles.
LINE = (0.503, 0.0, 0.503, 1.0)
ZONE = [[0.26, 0.1], [0.74, 0.1], [0.74, 1.0], [0.26, 1.0]]


def _expected(scene):
    """List line events (frame, event, label), and visits (label, first, last frame)."""
    events, visits = [], []
    feet = [
        {
            label: ((left + right) / 2, bottom)
            for label, (left, _, right, bottom) in scene.true_boxes(i).items()
        }
        for i in range(FRAMES)
    ]
    for label in range(3):
        way = [(i, *foot[label]) for i, foot in enumerate(feet) if label in foot]
        for (_, x0, _), (i, x1, _) in zip(way, way[1:], strict=False):
            if (x0 < 160 * LINE[0]) != (x1 < 160 * LINE[0]):
                # Who looks down has the left image side to the right.
                events.append((i + 1, 'in' if x1 > x0 else 'out', label))
        inside = [i for i, x, y in way if 0.26 * 160 < x < 0.74 * 160 and 12 < y <= 120]
        if inside:
            assert inside == list(range(inside[0], inside[-1] + 1))
            visits.append((label, inside[0] + 1, inside[-1] + 1))
    return sorted(events), visits


def _read(path):
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_the_command_counts_what_crosses_and_stays(toys, scene, capsys):
    video = toys.video('v.mp4', FRAMES)
    zones = toys.folder / 'zones.json'
    zones.write_text(json.dumps({'yard': ZONE}))
    out, counts = toys.folder / 'out.mp4', toys.folder / 'counts.csv'
    toys.config.dump(toys.folder / 'config.py')
    command = ['track', video, '--config', toys.folder / 'config.py', '--no-progress']
    command += ['--checkpoint', toys.checkpoint, '--out', out, '--counts', counts]
    line = ','.join(map(str, LINE))
    assert main([*map(str, command), f'--line=door={line}', '--zone', str(zones)]) == 0
    events, visits = _expected(scene)
    assert {event for _, event, _ in events} == {'in', 'out'}
    rows = _read(counts)
    found = [row for row in rows if row['row'] == 'event']
    crossings = [row for row in found if row['name'] == 'door']
    assert sorted(
        (int(r['frame']), r['event'], int(r['label'])) for r in crossings
    ) == (events)
    # Ten frames per second; who left was seen outside in the frame after the last one.
    ends = [row for row in found if row['event'] in ('leave', 'end')]
    spent = {int(row['label']): float(row['seconds']) for row in ends}
    assert spent == {
        label: pytest.approx((last + (last < FRAMES) - first) / 10)
        for label, first, last in visits
    }
    said = capsys.readouterr().out
    outs = sum(event == 'out' for _, event, _ in events)
    assert f'door: in {len(events) - outs}, out {outs}; yard: ' in said
    assert f'{len(visits)} visits' in said


def test_frames_carry_counts_and_the_counter_starts_anew(inferencer, toys, scene):
    counter = ObjectCounter([CountingLine('door', LINE[:2], LINE[2:])])
    images = toys.images('seq', FRAMES)
    events, _ = _expected(scene)
    for _ in range(2):
        frames = list(inferencer.track(images, counter=counter))
        found = [event for frame in frames for event in frame.counts.events]
        assert sorted((e.frame, e.event, e.label) for e in found) == events
        totals = [sum(frame.counts.totals.values()) for frame in frames]
        assert totals == sorted(totals)
        assert totals[-1] == len(events)
    # What a frame said stays as it was.
    assert sum(frames[0].counts.totals.values()) == 0
    plain = next(iter(inferencer.track(images))).draw()
    assert (frames[0].draw() != plain).any()


@pytest.mark.parametrize('batch_size', [1, 8])
def test_who_breaks_off_leaves_counts_of_what_was_seen(toys, scene, batch_size):
    inferencer = MOTInferencer(
        toys.config, toys.checkpoint, device='cpu', batch_size=batch_size
    )
    shape = CountingLine('door', LINE[:2], LINE[2:])
    counter = ObjectCounter([shape], min_frames=1, settle=1, margin=0)
    images, path = toys.images('seq', FRAMES), toys.folder / 'counts.csv'
    text = toys.folder / 'v.txt'
    events, _ = _expected(scene)
    # Left one frame before and at each event: some of these are inside of a batch.
    for last in sorted({frame - before for frame, _, _ in events for before in (0, 1)}):
        frames = inferencer.track(images, text, counter=counter, counts=path)
        for frame in frames:
            if frame.number == last:
                break
        frames.close()
        seen = sorted(event for event in events if event[0] <= last)
        rows = _read(path.with_suffix('.partial.csv'))
        assert not path.exists()
        listed = [row for row in rows if row['row'] == 'event']
        found = [(int(r['frame']), r['event'], int(r['label'])) for r in listed]
        assert sorted(found) == seen
        totals = {
            row['event']: int(row['count'])
            for row in rows
            if row['row'] == 'total' and row['category'] == 'all'
        }
        ways = [event for _, event, _ in seen]
        assert totals == {event: ways.count(event) for event in ('in', 'out')}
        assert counter.counts.totals == frame.counts.totals
        rows = text.with_suffix('.partial.txt').read_text().splitlines()
        assert int(rows[-1].split(',')[0]) == last


class _Screen:
    """Stands for OpenCV's windows: q is pressed at the fifth frame."""

    WINDOW_NORMAL = WINDOW_KEEPRATIO = WND_PROP_VISIBLE = 0

    def __init__(self):
        self.shown, self.windows = [], set()

    def namedWindow(self, name, flags):  # noqa: N802
        self.windows.add(name)

    def resizeWindow(self, name, width, height):  # noqa: N802
        assert name in self.windows

    def imshow(self, name, image):
        assert name in self.windows
        self.shown.append(image)

    def waitKey(self, delay):  # noqa: N802
        return ord('q') if len(self.shown) == 5 else -1

    def getWindowProperty(self, name, key):  # noqa: N802
        return 1.0

    def destroyWindow(self, name):  # noqa: N802
        self.windows.remove(name)


@pytest.mark.parametrize('batch_size', [1, 8])
def test_q_ends_in_good_order(toys, monkeypatch, batch_size):
    inferencer = MOTInferencer(
        toys.config, toys.checkpoint, device='cpu', batch_size=batch_size
    )
    screen = _Screen()
    monkeypatch.setattr(window, 'cv2', screen)
    monkeypatch.setattr(window, 'check_display', lambda: None)
    images = toys.images('seq', FRAMES)
    out = toys.folder / 'out.txt'
    report = inferencer(images, out=out, show=True)
    assert report.complete and report.stopped and report.num_frames == 5
    assert report.files == (out,)
    # The third rectangle enters with the sixth frame.
    assert report.tracks == {'red': 1, 'green': 1}
    assert len(screen.shown) == 5 and not screen.windows
    drawn = [frame.draw() for frame in inferencer.track(images, max_frames=5)]
    np.testing.assert_array_equal(screen.shown, drawn)


@pytest.mark.skipif(sys.platform != 'linux', reason='others always have a display')
def test_without_a_display_one_line_says_so(toys, monkeypatch, capsys):
    for name in ('DISPLAY', 'WAYLAND_DISPLAY', 'QT_QPA_PLATFORM'):
        monkeypatch.delenv(name, raising=False)
    check_display.cache_clear()
    video = toys.video('v.mp4', 3)
    assert (
        main(['track', str(video), '--show', '--out', str(toys.folder / 'x.txt')]) == 1
    )
    check_display.cache_clear()
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert 'no window can be opened here' in errors[0]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--counts', 'c.csv'], '--counts: nothing is counted; add --line or --zone'),
        (['--count-at', 'center'], '--count-at: nothing is counted'),
        (['--line', '1,2,3'], "line: found '1,2,3', expected [NAME=]x1,y1,x2,y2"),
        (['--line', '0,0,1,1', '--counts', 'c.txt'], 'c.txt, expected FILE.csv'),
        (['--line', '0,0,1,1', '--line', 'line1=0,0,2,2'], 'expected different names'),
        (['--zone', 'no.json'], 'no.json'),
    ],
)
def test_wrong_options_end_in_one_line(toys, capsys, options, message):
    video = toys.video('v.mp4', 3)
    assert (
        main(['track', str(video), '--out', str(toys.folder / 'x.txt'), *options]) == 1
    )
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert message in errors[0]


def test_a_line_outside_of_the_frames_is_an_error(toys):
    inferencer = MOTInferencer(toys.config, toys.checkpoint, device='cpu')
    counter = ObjectCounter([CountingLine('far', (300, 0), (300, 90))])
    with pytest.raises(ValueError, match='line far: .* outside of .* 160x120'):
        inferencer(toys.images('seq', 3), counter=counter)
