# Copyright (c) mmfdta authors.
"""MiniDance on disk: layout, determinism, and nothing half written."""

import configparser
import hashlib
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mmfdta.minidance import (
    SPLITS,
    MiniDanceDataset,
    MiniDanceOptions,
    build_scene,
    make_minidance,
    writing,
)

SMALL = MiniDanceOptions(width=96, height=64, frames=4, train=2, val=1, test=1, seed=11)


def digest(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp('set') / 'minidance'
    assert make_minidance(root, SMALL, processes=1)
    return root


def test_equal_options_give_equal_bytes_with_any_number_of_processes(small, tmp_path):
    seen = []
    other = tmp_path / 'other'
    made = make_minidance(
        other, SMALL, processes=3, progress=lambda *at: seen.append(at)
    )
    assert made
    assert digest(other) == digest(small)
    assert seen == [(i, 4) for i in range(1, 5)]


def test_seed_split_and_number_change_the_pictures():
    scenes = [
        build_scene(SMALL, 'train', 0),
        build_scene(SMALL, 'train', 1),
        build_scene(SMALL, 'val', 0),
        build_scene(replace(SMALL, seed=12), 'train', 0),
    ]
    images = [scene.render(0).image for scene in scenes]
    for i, image in enumerate(images):
        for other in images[i + 1 :]:
            assert np.abs(image.astype(int) - other).mean() > 3


def test_a_sequence_does_not_depend_on_how_many_there_are():
    more = replace(SMALL, train=9, val=0)
    assert np.array_equal(
        build_scene(SMALL, 'test', 0).render(2).image,
        build_scene(more, 'test', 0).render(2).image,
    )


def test_layout_is_that_of_dancetrack(small):
    for split in SPLITS:
        folders = sorted((small / split).iterdir())
        assert len(folders) == SMALL.sequences(split)
        for number, folder in enumerate(folders):
            scene = build_scene(SMALL, split, number)
            info = configparser.ConfigParser()
            info.read(folder / 'seqinfo.ini')
            info = info['Sequence']
            names = [path.name for path in sorted((folder / 'img1').iterdir())]
            assert names == [f'{i:08d}.jpg' for i in range(1, 5)]
            assert info['name'] == folder.name
            assert int(info['seqLength']) == len(names)
            rows = np.loadtxt(folder / 'gt' / 'gt.txt', delimiter=',', ndmin=2)
            for i, name in enumerate(names):
                shown = scene.render(i)
                image = cv2.imread(str(folder / 'img1' / name))
                assert image.shape == (int(info['imHeight']), int(info['imWidth']), 3)
                assert np.abs(image.astype(int) - shown.image).mean() < 6
                depth = folder / 'depth' / name.replace('.jpg', '.png')
                depth = cv2.imread(str(depth), cv2.IMREAD_UNCHANGED)
                assert depth.dtype == np.uint8
                assert np.array_equal(depth, shown.depth)
                here = rows[rows[:, 0] == i + 1]
                assert here[:, 1].tolist() == (shown.identities + 1).tolist()
                assert len(set(here[:, 1])) == len(here)
                assert here[:, 2:6].tolist() == shown.boxes.tolist()
                assert here[:, 8] == pytest.approx(shown.visibilities, abs=1e-4)


def test_the_data_set_makes_itself_and_can_be_read(tmp_path):
    root = tmp_path / 'data' / 'minidance'
    args = dict(data_root=str(root), options=SMALL.as_dict(), split='train')
    dataset = MiniDanceDataset(**args)
    before = digest(root)
    assert len(MiniDanceDataset(**args)) == len(dataset) == 8
    assert digest(root) == before
    info = dataset.get_data_info(5)
    assert info['sequence'] == 'minidance0001'
    assert info['video_length'] == 4
    shown = build_scene(SMALL, 'train', 1).render(1)
    corners = shown.boxes.copy()
    corners[:, 2:] += corners[:, :2]
    assert info['gt_bboxes'].tolist() == corners.tolist()
    assert info['gt_ids'].tolist() == (shown.identities + 1).tolist()
    assert info['depth_dir'] == str(root / 'train' / 'minidance0001' / 'depth')


def test_a_link_leads_to_the_folder_that_is_filled(small, tmp_path):
    (tmp_path / 'disk' / 'empty').mkdir(parents=True)
    link = tmp_path / 'data'
    link.symlink_to('disk/empty')
    assert make_minidance(link, SMALL, processes=1)
    assert link.is_symlink() and digest(tmp_path / 'disk' / 'empty') == digest(small)
    assert not make_minidance(link, SMALL, processes=1)
    assert sorted(path.name for path in tmp_path.rglob('*empty*')) == ['empty']


def test_the_current_folder_is_refused_before_rendering(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = []
    with pytest.raises(FileExistsError, match='the current folder'):
        make_minidance('.', SMALL, 1, lambda *done: shown.append(done))
    assert not shown and not list(tmp_path.iterdir())
    monkeypatch.chdir(small)
    assert not make_minidance('.', SMALL, processes=1)


def test_a_whole_set_is_reused_and_another_is_refused(small):
    before = digest(small)
    assert not make_minidance(small, SMALL)
    with pytest.raises(FileExistsError, match='frames: 4 there, 5 wanted'):
        make_minidance(small, replace(SMALL, frames=5))
    assert digest(small) == before


def test_other_versions_and_foreign_folders_are_refused(small, tmp_path):
    manifest = json.loads((small / writing.MANIFEST).read_text())
    old = tmp_path / 'old'
    old.mkdir()
    text = json.dumps(dict(manifest, version=0))
    (old / writing.MANIFEST).write_text(text)
    with pytest.raises(FileExistsError, match='version: 0 there'):
        make_minidance(old, SMALL)
    (old / writing.MANIFEST).write_text('{"version"')
    with pytest.raises(FileExistsError, match='cannot be read'):
        make_minidance(old, SMALL)
    foreign = tmp_path / 'photos'
    foreign.mkdir()
    (foreign / 'cat.jpg').write_text('')
    with pytest.raises(FileExistsError, match='no MiniDance data set'):
        make_minidance(foreign, SMALL)
    assert [path.name for path in foreign.iterdir()] == ['cat.jpg']


@pytest.mark.parametrize('processes', [1, 2])
def test_an_interrupted_run_leaves_nothing(tmp_path, processes, monkeypatch):
    def stop(done, total):
        raise KeyboardInterrupt

    root = tmp_path / 'minidance'
    with pytest.raises(KeyboardInterrupt):
        make_minidance(root, SMALL, processes, stop)
    assert list(tmp_path.iterdir()) == []
    assert make_minidance(root, SMALL, processes)


def test_the_first_of_two_makers_wins(small, tmp_path):
    """Another process publishes the set while this one still renders."""
    root = tmp_path / 'minidance'

    def overtake(done, total):
        if done == total:
            writing.make_minidance(root, SMALL, processes=1)

    assert not make_minidance(root, SMALL, processes=1, progress=overtake)
    assert [path.name for path in tmp_path.iterdir()] == ['minidance']
    assert digest(root) == digest(small)


def test_an_empty_folder_is_filled(tmp_path):
    assert make_minidance(tmp_path, replace(SMALL, train=0, val=0), processes=1)
    assert (tmp_path / 'test' / 'minidance0000' / 'seqinfo.ini').is_file()


@pytest.mark.parametrize(
    ('name', 'value'),
    [('similarity', 1.5), ('frames', 1), ('max_dancers', 3), ('jpeg_quality', 0)],
)
def test_options_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f'{name} = {value}, expected'):
        replace(SMALL, **{name: value})


def test_a_data_set_from_before_an_option_has_its_default(tmp_path):
    """And trainings on it are known by the text that they were known by."""
    root = tmp_path / 'set'
    make_minidance(root, SMALL, 1)
    manifest = json.loads((root / writing.MANIFEST).read_text())
    for name in ('gap', 'screens'):
        del manifest['options'][name]
    (root / writing.MANIFEST).write_text(json.dumps(manifest))
    assert not make_minidance(root, SMALL, 1)
    with pytest.raises(FileExistsError, match='screens: 0 there, 1 wanted'):
        make_minidance(root, replace(SMALL, screens=1), 1)
    assert repr(SMALL).endswith('jpeg_quality=92, seed=11)')
    assert repr(replace(SMALL, gap=2.0)).endswith('seed=11, gap=2.0)')
