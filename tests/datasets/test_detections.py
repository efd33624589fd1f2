# Copyright (c) mmfdta authors.
"""Clips of boxes alone, and simulated detections."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from PIL import Image

from mmfdta.cli.main import main
from mmfdta.datasets import (
    BFTDataset,
    ClipIndex,
    DanceTrackDataset,
    MOT15Dataset,
    MOT17Dataset,
    MOTSequenceDataset,
    PETSDataset,
    mot_sequence,
)
from mmfdta.datasets.transforms.geometry import ClipGeometry
from mmfdta.structures.boxes import covered_shares

NOTHING = dict(miss_prob=0, covered_miss_prob=0, false_rate=0, jitter=0, score_noise=0)


def make_clip(seed: int = 0, length: int = 50, objects: int = 8) -> dict:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 300, (length * objects, 2))
    size = rng.uniform(30, 60, (length * objects, 2))
    return dict(
        img_paths=[''] * length,
        geometry=ClipGeometry((400, 400)),
        gt_bboxes=np.hstack([corner, corner + size]).astype(np.float32),
        gt_labels=np.zeros(length * objects, np.int64),
        gt_ids=np.tile(np.arange(objects) * 3, length),
        gt_frames=np.repeat(np.arange(length), objects),
        rng=rng,
    )


def cover_of(clip: dict) -> np.ndarray:
    """How much of each box of a clip the nearer boxes of its frame cover."""
    frames = clip['gt_frames']
    of_frames = [clip['gt_bboxes'][frames == frame] for frame in np.unique(frames)]
    return np.concatenate([covered_shares(part, by_nearer=True) for part in of_frames])


def simulate(clip: dict, **settings: float) -> dict:
    step = TRANSFORMS.build(dict(type='SimulateDetections', **settings))
    return step.transform(dict(clip))


def test_nothing_changes_a_clip():
    clip = make_clip()
    found = simulate(clip, **NOTHING, score=1)
    for key in ('gt_labels', 'gt_ids', 'gt_frames'):
        np.testing.assert_array_equal(found[key], clip[key])
    np.testing.assert_allclose(found['gt_bboxes'], clip['gt_bboxes'], atol=1e-3)
    alone = cover_of(clip) == 0
    assert alone.any() and (found['gt_scores'][alone] == 1).all()


def test_changes_are_as_often_and_as_large_as_asked():
    clip = make_clip(length=400)
    count = len(clip['gt_ids'])
    found = simulate(clip, **NOTHING | dict(miss_prob=0.2))
    assert len(found['gt_ids']) / count == pytest.approx(0.8, abs=0.03)
    found = simulate(clip, **NOTHING | dict(false_rate=1.5))
    false = found['gt_ids'] > clip['gt_ids'].max()
    assert false.sum() / 400 == pytest.approx(1.5, abs=0.3)
    np.testing.assert_array_equal(found['gt_ids'][~false], clip['gt_ids'])
    found = simulate(clip, **NOTHING | dict(jitter=0.1))
    size = clip['gt_bboxes'][:, 2:] - clip['gt_bboxes'][:, :2]
    moved = (found['gt_bboxes'] - clip['gt_bboxes']).reshape(-1, 2, 2).mean(1) / size
    assert moved[cover_of(clip) == 0].std() == pytest.approx(0.1, rel=0.1)


def test_places_and_sizes_can_be_disturbed_differently():
    clip = make_clip(length=400)
    jitter = [0.1, 0.02, 0.2, 0.05]
    found = simulate(clip, **NOTHING | dict(jitter=jitter))
    before, after = (
        boxes.reshape(-1, 2, 2) for boxes in (clip['gt_bboxes'], found['gt_bboxes'])
    )
    size, new_size = np.ptp(before, 1), np.ptp(after, 1)
    change = np.hstack([(after - before).mean(1) / size, np.log(new_size / size)])
    spread = change[cover_of(clip) == 0].std(0)
    np.testing.assert_allclose(spread, jitter, rtol=0.1)


def test_detections_stay_in_order_with_identities_of_their_own():
    clip = make_clip()
    for seed in range(5):
        clip['rng'] = np.random.default_rng(seed)
        found = simulate(clip, false_rate=2.0)
        assert (np.diff(found['gt_frames']) >= 0).all()
        pairs = np.stack([found['gt_frames'], found['gt_ids']], 1)
        assert len(np.unique(pairs, axis=0)) == len(pairs)
        assert (found['gt_bboxes'][:, 2:] > found['gt_bboxes'][:, :2]).all()
        assert {len(found[k]) for k in found if k.startswith('gt_')} == {len(pairs)}
        assert ((found['gt_scores'] >= 0.05) & (found['gt_scores'] <= 1)).all()


def test_boxes_are_covered_by_nearer_ones():
    boxes = np.array(
        # Half of the first is behind the second; the third is in another frame.
        [[0, 0, 10, 10], [5, 0, 15, 12], [0, 0, 10, 20]],
        np.float32,
    )
    rows = {name: np.arange(3) for name in ('gt_labels', 'gt_ids')}
    clip = make_clip() | rows | dict(gt_bboxes=boxes, gt_frames=np.array([0, 0, 2]))
    found = simulate(clip, **NOTHING, score=1)
    np.testing.assert_allclose(found['gt_scores'], [0.75, 1, 1])
    rows = {name: np.zeros(0, np.int64) for name in ('gt_labels', 'gt_ids')}
    empty = make_clip() | rows
    empty |= dict(gt_bboxes=boxes[:0], gt_frames=np.zeros(0, np.int64))
    assert len(simulate(empty, false_rate=3.0)['gt_scores']) == 0


@pytest.mark.parametrize(
    'settings',
    [
        dict(miss_prob=1.5),
        dict(jitter=-1),
        dict(jitter=[0.1, 0.1]),
        dict(jitter=[0.1, 0.1, 0.1, -0.1]),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict):
    with pytest.raises(ValueError, match=next(iter(settings))):
        simulate(make_clip(), **settings)


def test_ground_truth_is_enough_without_images(tmp_path: Path, make_sequence):
    folder = make_sequence(tmp_path / 'train' / 'walk', num_frames=6)
    steps = [
        dict(type='OpenBoxes'),
        dict(type='SimulateDetections'),
        dict(type='GenerateIDTargets', num_groups=2, vocab=6),
        dict(type='PackClipInputs'),
    ]
    settings = dict(data_root=str(tmp_path), pipeline=steps, text_only=True)
    clip = ClipIndex(0, (1, 2, 4), seed=(3,))
    with_images = MOTSequenceDataset(**settings)[clip]
    shutil.rmtree(folder / 'img1')
    without = MOTSequenceDataset(**settings)
    assert len(without) == 6
    sample = without[clip]
    assert sample['inputs']['img'].shape == (3, 3, 0, 0)
    for a, b in zip(with_images['data_samples'], sample['data_samples'], strict=True):
        assert b.ori_shape == (48, 64)
        for name in ('bboxes', 'scores', 'instances_ids'):
            assert (a.gt_instances[name] == b.gt_instances[name]).all()
    with pytest.raises(FileNotFoundError, match='found no sequence'):
        MOTSequenceDataset(data_root=str(tmp_path))
    (folder / 'seqinfo.ini').unlink()
    # The last frame of the text is known, but no size.
    bare = MOTSequenceDataset(**settings)
    assert len(bare) == 6
    with pytest.raises(FileNotFoundError, match='write a seqinfo.ini'):
        bare[ClipIndex(0, (0,), seed=(5,))]


MOT17 = ['MOT17-02-DPM', 'MOT17-02-FRCNN', 'MOT17-02-SDP', 'MOT17-04-FRCNN']


@pytest.mark.parametrize(
    ('kind', 'settings', 'names', 'used'),
    [
        (MOT17Dataset, dict(detector='FRCNN'), MOT17, [MOT17[1], MOT17[3]]),
        (MOT17Dataset, dict(detector='SDP'), MOT17, [MOT17[2]]),
        (PETSDataset, {}, ['PETS09-S2L1', 'TUD-Campus'], ['PETS09-S2L1']),
        (MOT15Dataset, {}, ['PETS09-S2L1', 'TUD-Campus'], None),
        (BFTDataset, {}, ['bird', 'crow'], None),
        (DanceTrackDataset, {}, ['a', 'b'], None),
    ],
)
def test_ground_truth_alone_is_of_the_same_sequences(
    tmp_path: Path, make_sequence, monkeypatch, kind, settings, names, used
):
    """Without images, a data set has the sequences and boxes that it has with them."""
    folders = [make_sequence(tmp_path / 'train' / name, 3) for name in names]
    said: list[str] = []
    monkeypatch.setattr(mot_sequence, 'print_log', lambda text, *_: said.append(text))

    def read() -> list[tuple]:
        dataset = kind(str(tmp_path), 'train', text_only=True, **settings)
        assert not sum(check().count('error') for check in dataset.checks())
        return [
            (s.name, len(s), s.annotations.tracks.xywh.tolist())
            for s in dataset.sequences
        ]

    with_images = read()
    assert [name for name, *_ in with_images] == (used or names)
    for folder in folders:
        shutil.rmtree(folder / 'img1')
    assert read() == with_images
    assert not said  # of those that are not of use, nothing is missing


def test_bft_without_images_reads_the_texts_of_its_archive(tmp_path: Path):
    texts = tmp_path / 'annotations_mot' / 'train'
    texts.mkdir(parents=True)
    folder = tmp_path / 'train' / 'bird'
    folder.mkdir(parents=True)
    (texts / 'bird.txt').write_text('1,4,1,2,3,4,-1,-1,-1\n3,4,1,2,3,4,-1,-1,-1\n')
    (folder / 'seqinfo.ini').write_text('[Sequence]\nimWidth=64\nimHeight=48\n')
    settings = dict(data_root=str(tmp_path), pipeline=[dict(type='OpenBoxes')])
    dataset = BFTDataset(**settings, text_only=True)
    clip = dataset[ClipIndex(0, (0, 1, 2), seed=(1,))]
    assert clip['ori_shape'] == (48, 64) and clip['gt_frames'].tolist() == [0, 2]
    # Images are used where they are.
    Image.new('RGB', (32, 24)).save(folder / '000001.jpg')
    (texts / 'bird.txt').write_text('1,4,1,2,3,4,-1,-1,-1\n')
    assert BFTDataset(**settings, text_only=True)[0]['ori_shape'] == (24, 32)


def test_a_cache_does_not_leave_out_what_has_no_images(tmp_path: Path, make_sequence):
    make_sequence(tmp_path / 'train' / 'a', 3)
    shutil.rmtree(make_sequence(tmp_path / 'train' / 'b', 3) / 'img1')
    assert main(['prepare-dataset', 'mot', str(tmp_path)]) == 0
    for text_only, expected in ((True, ['a', 'b']), (False, ['a'])):
        dataset = MOTSequenceDataset(str(tmp_path), text_only=text_only)
        assert [s.name for s in dataset.sequences] == expected


def test_a_cache_of_another_data_set_in_the_folder_is_not_used(
    tmp_path: Path, make_sequence
):
    for name in ('PETS09-S2L1', 'TUD-Campus'):
        make_sequence(tmp_path / 'train' / name, 3)
    assert main(['prepare-dataset', 'mot15', str(tmp_path)]) == 0
    (sequence,) = PETSDataset(str(tmp_path), 'train').sequences
    assert sequence.name == 'PETS09-S2L1'


def test_boxes_are_in_the_pixels_of_the_image_whatever_seqinfo_says(
    tmp_path: Path, make_sequence
):
    """As for a clip with pixels."""
    folder = make_sequence(tmp_path / 'train' / 'walk', 3)
    (folder / 'seqinfo.ini').write_text('[Sequence]\nimWidth=1920\nimHeight=1080\n')
    sizes = {}
    for step in ('OpenClip', 'OpenBoxes'):
        dataset = MOTSequenceDataset(str(tmp_path), pipeline=[dict(type=step)])
        sizes[step] = dataset[ClipIndex(0, (1, 2), seed=(1,))]['ori_shape']
    assert sizes == dict(OpenClip=(48, 64), OpenBoxes=(48, 64))
    # Without a readable image nothing else says it.
    (folder / 'img1' / '000003.jpg').write_text('no image')
    opened = dataset[ClipIndex(0, (2,), seed=(1,))]
    assert opened['ori_shape'] == (1080, 1920)
    (folder / 'seqinfo.ini').unlink()
    (folder / 'img1' / '000001.jpg').write_text('no image')
    with pytest.raises(OSError, match='000001.jpg: not an image'):
        MOTSequenceDataset(str(tmp_path), pipeline=[dict(type='OpenBoxes')])[0]
