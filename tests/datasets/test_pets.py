# Copyright (c) mmfdta authors.
"""PETS09-S2L1 from a video and its annotation; here it has 5 frames of 96x64 pixels."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmfdta.cli.main import main
from mmfdta.datasets import ClipIndex, PETSDataset, pets
from mmfdta.datasets.kinds import find_kind
from mmfdta.structures.tracks import Tracks

# The same three boxes: identity 7 in the first frame, 3 and 7 in the last.
CVML = """\
<?xml version="1.0" encoding="utf-8"?>
<dataset>
<frame number="0"><objectlist>
 <object id="7"><orientation>90</orientation><box h="20.5" w="10" xc="15" yc="22"/>
 </object>
</objectlist></frame>
<frame number="1"><objectlist/></frame>
<frame number="4"><objectlist>
<object id="7"><box xc="40.25" yc="30" w="10.5" h="20"/></object>
<object id="3"><box xc="3.0004" yc="30" w="10" h="20"/></object>
</objectlist></frame>
</dataset>
"""
TEXT = """\
5, 7, 35, 20, 10.5, 20, 1, -1, -1, -1
5, 3, -1.9996, 20, 10, 20, 1, -1, -1, -1
1, 7, 10, 11.75, 10, 20.5, 1, -1, -1, -1
"""
TRUTH = """\
1,7,10.000,11.750,10.000,20.500,1,1,1
5,3,-2.000,20.000,10.000,20.000,1,1,1
5,7,35.000,20.000,10.500,20.000,1,1,1
"""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in dict(NUM_FRAMES=5, WIDTH=96, HEIGHT=64).items():
        monkeypatch.setattr(pets, name, value)


def write_video(path, frames=5, size=(96, 64)):
    """Frame i, from 0, has the grey value 40 i."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 7, size)
    for number in range(frames):
        writer.write(np.full((*size[::-1], 3), 40 * number, np.uint8))
    writer.release()
    return str(path)


@pytest.fixture
def sources(tmp_path):
    annotation = tmp_path / 'PETS2009-S2L1.xml'
    annotation.write_text(CVML)
    return [write_video(tmp_path / 'vtest.avi'), str(annotation)]


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file()}


def test_the_sequence_is_read_as_it_was_written(tmp_path, sources, capsys):
    root = tmp_path / 'data' / 'pets'
    before = contents(tmp_path)
    assert main(['prepare-dataset', 'pets', *sources, str(root)]) == 0
    assert f'5 images, 3 boxes -> {root}' in capsys.readouterr().out
    sequence = root / 'train' / 'PETS09-S2L1'
    assert (sequence / 'gt' / 'gt.txt').read_text() == TRUTH
    # The user's files are untouched, and nothing else is left beside the sequence.
    assert {p: contents(tmp_path)[p] for p in before} == before
    assert [path.name for path in (root / 'train').iterdir()] == ['PETS09-S2L1']
    assert find_kind('pets') is PETSDataset
    halves = [PETSDataset(str(root), half=half) for half in ('first', 'second')]
    assert [len(half) for half in halves] == [3, 2]
    assert halves[0].sequences[0].frame_rate == 7
    info = halves[1].get_data_info(ClipIndex(0, (0, 1)))
    assert info['gt_ids'].tolist() == [3, 7] and info['gt_frames'].tolist() == [1, 1]
    greys = [cv2.imread(path).mean() for path in info['img_paths']]
    assert greys == pytest.approx([120, 160], abs=2)
    assert main(['check-data', 'pets', str(root)]) == 0


def test_other_sequences_of_mot15_are_left_out(tmp_path, make_sequence):
    for name in ('PETS09-S2L1', 'TUD-Campus'):
        make_sequence(tmp_path / 'train' / name, 2, '1,1,1,1,5,5,1,1,1\n')
    assert [s.name for s in PETSDataset(str(tmp_path)).sequences] == ['PETS09-S2L1']


def test_cvml_and_text_of_the_same_boxes_are_the_same(tmp_path, sources):
    text = tmp_path / 'gt.txt'
    text.write_text(TEXT)
    for name, annotation in (('a', sources[1]), ('b', str(text))):
        arguments = [sources[0], annotation, str(tmp_path / name)]
        assert main(['prepare-dataset', 'pets', *arguments]) == 0
    a, b = (contents(tmp_path / name / 'train') for name in 'ab')
    assert list(a.values()) == list(b.values()) and len(a) == 7


def test_a_second_run_changes_nothing_and_refuses_what_differs(
    tmp_path, sources, capsys
):
    root = tmp_path / 'pets'
    run = ['prepare-dataset', 'pets', *sources, str(root)]
    assert main(run) == 0
    written = contents(root)
    assert main(run) == 0 and contents(root) == written
    assert 'which was there' in capsys.readouterr().out
    # Depth maps are added to what is there.
    boxes = '1,1,20,10,6,20,1\n2,1,20,20,9,30,1\n'
    annotation = tmp_path / 'upright.txt'
    annotation.write_text(boxes)
    run = ['prepare-dataset', 'pets', sources[0], str(annotation), str(tmp_path / 'o')]
    assert main(run) == 0
    plain = contents(tmp_path / 'o' / 'train')
    assert main([*run, '--ground-depth']) == 0
    both = contents(tmp_path / 'o' / 'train')
    assert both.items() >= plain.items() and len(both) == len(plain) + 6
    # Another annotation, another image.
    annotation.write_text(boxes.replace('20,10', '21,10'))
    assert main(run) == 1
    assert 'gt/gt.txt differs; move the folder away' in capsys.readouterr().err
    annotation.write_text(boxes)
    (tmp_path / 'o' / 'train' / 'PETS09-S2L1' / 'img1' / '000003.jpg').unlink()
    assert main(run) == 1
    assert 'img1/000003.jpg is missing' in capsys.readouterr().err
    assert len(contents(tmp_path / 'o' / 'train')) == len(both) - 1


@pytest.mark.parametrize(
    'frames, size, found',
    [
        (4, (96, 64), 'found 4 frames, expected 5'),
        (6, (96, 64), 'found 6 frames, expected 5'),
        (5, (64, 96), 'found frames of 64x96, expected 96x64'),
    ],
)
def test_another_video_is_refused(tmp_path, sources, capsys, frames, size, found):
    other = write_video(tmp_path / 'other.avi', frames, size)
    root = tmp_path / 'pets'
    assert main(['prepare-dataset', 'pets', other, sources[1], str(root)]) == 1
    error = capsys.readouterr().err
    assert f'{other}: ' in error and found in error
    assert contents(root) == {}


@pytest.mark.parametrize(
    'wrong, right, line, found',
    [
        ('number="4"', 'number="5"', 9, 'found frame 5, expected 0 to 4'),
        ('number="4"', 'no="4"', 8, "found <frame> with {'no': '4'}"),
        ('xc="40.25"', 'xc="x"', 9, "found <box> with {'xc': 'x'"),
        ('w="10.5"', 'w="0"', 9, 'found a width or height <= 0'),
        ('id="3"', 'id="7"', 10, 'identity 7 occurs again in its frame (first on li'),
        ('<object id="3">', '', 10, 'no CVML: mismatched tag'),
        ('<object id="7"><o', '<o', 4, 'found <box> outside of an <object>'),
    ],
)
def test_a_bad_cvml_is_named_by_file_and_line(tmp_path, wrong, right, line, found):
    path = tmp_path / 'gt.xml'
    path.write_text(CVML.replace(wrong, right))
    with pytest.raises(ValueError) as error:
        pets.read_annotation(path)
    assert str(error.value).startswith(f'{path}:{line}: {found}')


@pytest.mark.parametrize(
    'row, found',
    [
        ('6,1,1,1,5,5,1', 'found frame 6, expected 1 to 5'),
        ('0,1,1,1,5,5,1', "found frame '0', expected frames from 1"),
        ('1,1,1,1,5,x,1', "found 'x' for h"),
    ],
)
def test_a_bad_text_is_named_by_file_and_line(tmp_path, row, found):
    path = tmp_path / 'gt.txt'
    path.write_text(f'2,1,1,1,5,5,1\n{row}\n')
    with pytest.raises(ValueError) as error:
        pets.read_annotation(path)
    assert str(error.value).startswith(f'{path}:2: {found}')


@pytest.mark.parametrize(
    'words',
    [
        'dancetrack v.avi gt.txt data',
        'pets v.avi data',
        'pets v.avi gt.txt more data',
        'pets v.avi gt.txt data --check',
        'pets data --ground-depth',
    ],
)
def test_a_wrong_form_says_what_is_expected(capsys, words):
    assert main(['prepare-dataset', *words.split()]) == 1
    error = capsys.readouterr().err
    assert 'expected prepare-dataset KIND ROOT, or prepare-dataset pets VIDEO' in error


def test_depth_of_level_ground_is_that_of_a_known_camera(tmp_path, sources):
    """A camera that looks level, 4 m up, with its horizon at row -10; people of 2 m."""
    horizon, focal, eye, body = -10.0, 90.0, 4.0, 2.0
    # Metres; the second and third stand behind one another.
    places = [(-1.2, 6.0), (0.5, 9.0), (0.6, 6.5)]
    z = np.array([z for _, z in places])
    feet, heads = horizon + focal * eye / z, horizon + focal * (eye - body) / z
    left = 48 + focal * np.array([x - 0.3 for x, _ in places]) / z
    xywh = np.stack([left, heads, focal * 0.6 / z, feet - heads], axis=1)
    tracks = Tracks.create([1, 1, 1], [1, 2, 3], xywh)
    found, spread = pets.fit_horizon(tracks)
    assert found == pytest.approx(horizon) and spread < 1e-9
    depth = pets.draw_depth(xywh, found)
    assert depth.shape == (64, 96) and depth.dtype == np.uint8
    # Inverse distance, where that of the last row, 64 - horizon below it, is 255.
    inverse = 255 * (focal * eye / z) / (64 - horizon)
    for (x, y, w, h), value in zip(xywh[[0, 2]], inverse[[0, 2]], strict=True):
        person = depth[round(y) : round(y + h), round(x) : round(x + w)]
        assert abs(person - value).max() <= 0.5 and person.size > 100
    # What is seen of the farther one is his own distance, and around him is ground.
    x, y, _, _ = xywh[1]
    assert abs(depth[round(y) + 1, round(x) + 1] - inverse[1]) <= 0.5
    assert (np.diff(depth[:, 95].astype(int)) > 0).all()
    # The files are these maps.
    annotation = tmp_path / 'upright.txt'
    annotation.write_text(
        ''.join(f'1,{i},{",".join(map(str, box))},1\n' for i, box in enumerate(xywh))
    )
    arguments = [sources[0], str(annotation), str(tmp_path / 'pets'), '--ground-depth']
    assert main(['prepare-dataset', 'pets', *arguments]) == 0
    (sequence,) = PETSDataset(str(tmp_path / 'pets')).sequences
    written = cv2.imread(f'{sequence.depth_dir}/000001.png', cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, depth)
    info = json.loads(Path(sequence.depth_dir, 'depth.json').read_text())
    assert info['horizon'] == pytest.approx(horizon)


def test_people_who_do_not_stand_on_level_ground_have_no_depth():
    boxes = np.array([[20, 10, 5, 20], [40, 20, 5, 15], [60, 30, 5, 10], [9, 20, 5, 9]])
    falling = Tracks.create([1] * 4, range(4), boxes)
    with pytest.raises(ValueError, match='ground depth: found a horizon at row inf'):
        pets.fit_horizon(falling)
    scattered = boxes.copy()
    scattered[:, 3] = [4, 30, 5, 40]
    with pytest.raises(ValueError, match='expected people on level ground'):
        pets.fit_horizon(Tracks.create([1] * 4, range(4), scattered))
    # All reach the border.
    with pytest.raises(ValueError, match='found 0 boxes inside of the image'):
        pets.fit_horizon(Tracks.create([1], [1], [[-1, 2, 5, 9]]))
