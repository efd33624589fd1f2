# Copyright (c) mmfdta authors.
"""MiniDance's ground truth against pictures of single figures."""

import itertools

import numpy as np
import pytest

from mmfdta.minidance import MiniDanceOptions, build_scene
from mmfdta.minidance.scene import MIN_PIXELS, MIN_VISIBILITY
from mmfdta.minidance.stage import encode_depth

OPTIONS = MiniDanceOptions(width=160, height=96, frames=30, seed=3)
FRAMES = (0, 7, 13, 22, 29)


@pytest.fixture(scope='module')
def scenes():
    return [build_scene(OPTIONS, 'train', number) for number in range(4)]


def alone(scene, index, frame):
    """Silhouette of a dancer on a canvas three images wide and high."""
    width, height = scene.camera.width, scene.camera.height
    canvas = np.zeros((3 * height, 3 * width), bool)
    sprite = scene.dancer(index, frame)
    top, left = sprite.top + height, sprite.left + width
    h, w = sprite.coverage.shape
    canvas[top : top + h, left : left + w] = sprite.coverage >= 128
    assert canvas.sum() == (sprite.coverage >= 128).sum()
    return canvas


def inside(scene, canvas):
    height, width = scene.camera.height, scene.camera.width
    return canvas[height : 2 * height, width : 2 * width]


def test_boxes_and_visibilities_are_those_of_the_silhouettes(scenes):
    annotated = 0
    for scene, frame in itertools.product(scenes, FRAMES):
        shown = scene.render(frame)
        truth = dict(
            zip(
                shown.identities,
                zip(shown.boxes, shown.visibilities, strict=True),
                strict=True,
            )
        )
        for index in range(len(scene.looks)):
            canvas = alone(scene, index, frame)
            seen = int((shown.owner == index).sum())
            whole = int(canvas.sum())
            if seen < MIN_PIXELS or seen < MIN_VISIBILITY * whole:
                assert index not in truth
                continue
            box, visibility = truth[index]
            y, x = np.nonzero(inside(scene, canvas))
            expected = [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
            assert box.tolist() == expected
            assert visibility == pytest.approx(seen / whole)
            annotated += 1
    assert annotated > 50


def test_the_nearer_one_is_seen_and_its_depth_is_in_the_map(scenes):
    overlaps = 0
    for scene, frame in itertools.product(scenes, FRAMES):
        shown = scene.render(frame)
        shapes = [
            inside(scene, alone(scene, i, frame)) for i in range(len(scene.looks))
        ]
        depths = scene.ways[:, frame, 1]
        for near, far in itertools.permutations(range(len(shapes)), 2):
            both = shapes[near] & shapes[far]
            if depths[near] < depths[far] and both.any():
                assert not (shown.owner[both] == far).any()
                overlaps += 1
        for index, z in enumerate(depths):
            assert (shown.depth[shown.owner == index] == encode_depth(z)).all()
    assert overlaps > 10


def test_pixels_of_a_dancer_are_his_and_props_hide_him(scenes):
    """A pixel of a silhouette shows its dancer unless something is before it."""
    for scene, frame in itertools.product(scenes, FRAMES[:2]):
        shown = scene.render(frame)
        before = np.full(shown.owner.shape, np.inf)
        for prop in scene.props:
            sprite = prop.draw(scene.camera, frame)
            window, own = sprite.window(scene.camera.width, scene.camera.height)
            part = before[window]
            part[sprite.silhouette[own]] = np.minimum(
                part[sprite.silhouette[own]], prop.z
            )
        nearest = np.full(shown.owner.shape, -1)
        for index in np.argsort(-scene.ways[:, frame, 1]):
            shape = inside(scene, alone(scene, index, frame))
            visible = shape & (scene.ways[index, frame, 1] < before)
            nearest[shape] = -1
            nearest[visible] = index
        assert np.array_equal(nearest, shown.owner)


def test_the_camera_moves_everything_alike():
    calm = build_scene(MiniDanceOptions(shake=0.0, frames=10), 'val', 1)
    shaken = build_scene(MiniDanceOptions(shake=4.0, frames=10), 'val', 1)
    assert not calm.camera.shake.any()
    assert np.abs(np.diff(shaken.camera.shake, axis=0)).max() > 1
    point = shaken.camera.project(5, 0.2, 1.5) - calm.camera.project(5, 0.2, 1.5)
    assert point == pytest.approx(shaken.camera.shake[5])
    assert np.array_equal(calm.ways, shaken.ways)


def crossings(crossing):
    """How often two dancers change their order, and frames with an overlap."""
    options = MiniDanceOptions(crossing=crossing, speed=1.5, max_dancers=7)
    changes = overlaps = 0
    for number in range(6):
        x, z = build_scene(options, 'train', number).ways.transpose(2, 0, 1)
        for a, b in itertools.combinations(range(len(x)), 2):
            place = x / z
            apart = place[a] - place[b]
            on = (np.abs(place[[a, b]]) < 0.7).all(0)
            changes += (np.diff(np.sign(apart)) != 0)[on[1:]].sum()
            overlaps += (np.abs(apart[on]) < 0.12).sum()
    return changes, overlaps


def test_dancers_cross_as_often_as_asked():
    rare, often = crossings(0.0), crossings(0.8)
    assert often[0] > 1.5 * rare[0] + 10  # changes of order
    assert often[1] > 1.25 * rare[1] + 50  # frames in each other's way


def test_who_meets_is_as_far_apart_as_asked():
    """In depth; nothing else of the choreography changes, and all stay on the floor."""
    usual, wide = (
        [build_scene(MiniDanceOptions(crossing=1.0, gap=gap), 'val', n) for n in (0, 1)]
        for gap in (1.0, 4.0)
    )
    for one, other in zip(usual, wide, strict=True):
        assert np.array_equal(one.ways[..., 0], other.ways[..., 0])
        assert other.ways[..., 1].min() > 0.9 and other.ways[..., 1].max() < 2.2

    def apart(scenes):
        """Depth between two who are in each other's way, on an empty stage."""
        found = []
        for scene in scenes:
            x, z = scene.ways.transpose(2, 0, 1)
            for a, b in itertools.combinations(range(len(x)), 2):
                found.append(np.abs(z[a] - z[b])[np.abs(x[a] - x[b]) < 0.05])
        return np.median(np.concatenate(found))

    assert apart(wide) > 2 * apart(usual)


def test_screens_hide_whom_they_stand_before():
    """And change neither the dance nor the rest of the stage."""
    plain, hidden = (
        build_scene(MiniDanceOptions(screens=screens), 'val', 1) for screens in (0, 2)
    )
    assert np.array_equal(plain.ways, hidden.ways)
    assert len(hidden.props) == len(plain.props) + 2
    seen = [
        np.concatenate([s.render(f).visibilities for f in range(0, 60, 6)])
        for s in (plain, hidden)
    ]
    assert seen[1].sum() < 0.8 * seen[0].sum()


def test_feints_turn_back_and_motion_is_not_linear():
    """About half of the meetings end on the sides where they began."""
    options = MiniDanceOptions(crossing=1.0, frames=60, min_dancers=2, max_dancers=2)
    swapped = met = 0
    for number in range(40):
        x, _ = build_scene(options, 'test', number).ways.transpose(2, 0, 1)
        gap = x[0] - x[1]
        close = np.flatnonzero(np.abs(gap) < 0.15)
        for run in np.split(close, np.flatnonzero(np.diff(close) > 3) + 1):
            if len(run) and run[0] > 3 and run[-1] < 56:
                met += 1
                swapped += gap[run[0] - 3] * gap[run[-1] + 3] < 0
    assert met > 40
    assert 0.25 < swapped / met < 0.75


def colors(similarity):
    scenes = [
        build_scene(MiniDanceOptions(similarity=similarity), 'train', n)
        for n in range(5)
    ]
    return [
        np.array([look.top + look.legs + look.sash for look in scene.looks], float)
        for scene in scenes
    ]


def test_similarity_brings_the_clothes_together():
    spread = {s: np.mean([c.std(0).mean() for c in colors(s)]) for s in (0, 0.5, 0.9)}
    assert spread[0] > spread[0.5] > spread[0.9] > 0
    assert all((c == c[0]).all() for c in colors(1.0))


def test_dancers_enter_and_leave():
    entered = left = 0
    for number in range(12):
        scene = build_scene(MiniDanceOptions(), 'train', number)
        seen = [set(scene.render(f).identities.tolist()) for f in (0, 20, 40, 59)]
        entered += len(seen[1] - seen[0]) + len(seen[2] - seen[1])
        left += len(seen[1] - seen[2]) + len(seen[2] - seen[3])
    assert entered > 5
    assert left > 2
