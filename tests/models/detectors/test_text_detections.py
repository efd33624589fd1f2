# Copyright (c) mmfdta authors.
"""Detections as text in the place of a detector."""

import shutil
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmfdta.apis.config import find_config
from mmfdta.cli.main import main
from mmfdta.datasets import MOT15Dataset
from mmfdta.models import TextDetections


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three frames numbered from 11, of which the second has no row."""
    images = tmp_path / 'walk' / 'img1'
    images.mkdir(parents=True)
    for number in (11, 12, 13):
        (images / f'{number:06d}.jpg').touch()
    text = images.parent / 'det' / 'det.txt'
    text.parent.mkdir()
    text.write_text(
        '11,-1,10,20,30,40,0.5,1\n11,-1,1,2,3,4,0.9,2\n13,-1,5,5,5,5,0,1\n'
        '13,-1,5,6,7,8,0.7,1\n'
    )
    return images.parent


def find(detector: TextDetections, folder: Path, place: int, **more):
    meta = dict(
        img_path=str(folder / 'img1' / f'{11 + place:06d}.jpg'),
        frame_id=place,
        sequence=folder.name,
        scale_factor=(2.0, 3.0),
    )
    frame = DetDataSample(metainfo=meta)
    return detector.predict(torch.zeros(1, 3, 0, 0), [frame], **more)[0].pred_instances


def test_rows_of_a_frame_come_best_first_by_the_names_of_images(folder: Path):
    detector = TextDetections()
    found = find(detector, folder, 0)
    assert found.bboxes.tolist() == [[1, 2, 4, 6], [10, 20, 40, 60]]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.5]))
    assert found.labels.tolist() == [0, 0]
    assert len(find(detector, folder, 1)) == 0
    # A score of 0 says that a row does not count.
    assert find(detector, folder, 2).bboxes.tolist() == [[5, 6, 12, 14]]
    resized = find(detector, folder, 2, rescale=False)
    assert resized.bboxes.tolist() == [[10, 18, 24, 42]]


def test_classes_are_chosen_and_another_sequence_is_read(folder: Path):
    detector = TextDetections('{folder}/../{sequence}.txt', category_map={2: 1})
    (folder.parent / 'walk.txt').write_text((folder / 'det/det.txt').read_text())
    found = find(detector, folder, 0)
    assert found.bboxes.tolist() == [[1, 2, 4, 6]]
    assert found.labels.tolist() == [1]
    other = folder.parent / 'run'
    folder.rename(other)
    (folder.parent / 'run.txt').write_text('12,-1,5,6,7,8,0.7,2\n')
    assert find(detector, other, 1).bboxes.tolist() == [[5, 6, 12, 14]]
    assert len(find(detector, other, 0)) == 0


@pytest.mark.parametrize('half', ['first', 'second'])
def test_halves_of_a_sequence_without_images_have_their_own_rows(tmp_path, half):
    folder = tmp_path / 'train' / 'PETS09-S2L1'
    for name in ('gt', 'det'):
        (folder / name).mkdir(parents=True)
        (folder / name / f'{name}.txt').write_text(
            ''.join(f'{n},1,{10 * n},20,30,40,1,1,1\n' for n in range(1, 7))
        )
    (folder / 'seqinfo.ini').write_text(
        '[Sequence]\nseqLength=6\nimWidth=100\nimHeight=100\n'
    )
    dataset = MOT15Dataset(
        data_root=str(tmp_path), split='train', half=half, text_only=True
    )
    (sequence,) = dataset.sequences
    detector = TextDetections()
    for place, name in enumerate(sequence.image_names):
        meta = dict(img_path=f'{sequence.image_dir}/{name}', frame_id=place)
        frame = DetDataSample(metainfo=dict(meta, sequence=sequence.name))
        (found,) = detector.predict(torch.zeros(1, 3, 0, 0), [frame])
        truth = sequence.annotations.tracks
        (expected,) = truth.xywh[truth.frame == place + 1]
        assert found.pred_instances.bboxes[0, :2].tolist() == expected[:2].tolist()


@pytest.mark.parametrize('first', [0, 1])
def test_text_alone_counts_from_0_or_1(tmp_path: Path, first: int):
    folder = tmp_path / 'walk'
    (folder / 'det').mkdir(parents=True)
    (folder / 'det' / 'det.txt').write_text(
        ''.join(f'{first + n},-1,{10 * n},20,30,40,1\n' for n in range(3))
    )
    detector = TextDetections()
    for place in range(3):
        meta = dict(img_path=f'{folder}/img1/{place + 1:08d}.jpg', frame_id=place)
        frame = DetDataSample(metainfo=dict(meta, sequence='walk'))
        (found,) = detector.predict(torch.zeros(1, 3, 0, 0), [frame])
        assert found.pred_instances.bboxes[:, 0].tolist() == [10 * place]


def test_a_frame_that_is_not_in_its_sequence_is_named(folder: Path):
    detector = TextDetections()
    with pytest.raises(
        ValueError,
        match=r'img1.000014\.jpg: found .* expected .* 3 images in .*walk.img1, '
        r'000011\.jpg to 000013\.jpg',
    ):
        find(detector, folder, 3)
    for image in (folder / 'img1').iterdir():
        image.unlink()
    (folder / 'img1').rmdir()
    meta = dict(img_path=str(folder / 'img1' / 'last.jpg'), frame_id=0)
    with pytest.raises(ValueError, match=r'last\.jpg: found .* expected a number'):
        TextDetections().predict(torch.zeros(1), [DetDataSample(metainfo=meta)])


def test_one_text_is_not_read_for_two_sequences(folder: Path):
    detector = TextDetections(str(folder / 'det' / 'det.txt'))
    assert len(find(detector, folder, 0)) == 2
    other = folder.parent / 'run'
    shutil.copytree(folder, other)
    with pytest.raises(
        ValueError, match=r'detector\.text: found .*det\.txt for .*walk and .*run'
    ):
        find(detector, other, 0)
    assert len(find(detector, folder, 2)) == 1


def test_a_text_that_is_not_there_is_named(folder: Path):
    (folder / 'det/det.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'det\.txt: no such file.*detector'):
        find(TextDetections(), folder, 0)


def test_a_tracker_without_weights_runs_on_text_without_images(tmp_path, capsys):
    """SORT on perfect boxes of two people who do not meet, by test and by tune."""
    for name in ('one', 'two'):
        folder = tmp_path / 'data/val' / name
        (folder / 'gt').mkdir(parents=True)
        rows = [
            f'{frame},{person},{90 * person + 2 * frame},10,20,40,1,1,1\n'
            for frame in range(1, 9)
            for person in (1, 2)
        ]
        (folder / 'gt/gt.txt').write_text(''.join(rows))
        (folder / 'seqinfo.ini').write_text(
            f'[Sequence]\nname={name}\nimDir=img1\nframeRate=10\nseqLength=8\n'
            'imWidth=320\nimHeight=80\nimExt=.jpg\n'
        )
    config = Config.fromfile(find_config('boxes_mini'))
    sort = Config.fromfile(find_config('sort_fdta-det_mini')).model.tracker
    config.model = dict(
        type='TrackingByDetection',
        data_preprocessor=config.model.data_preprocessor,
        detector=config.model.detector,
        tracker=sort,
    )
    for data in ('val', 'test'):
        dataset = config[f'{data}_dataloader'].dataset
        dataset.pop('options')
        dataset.update(
            type='DanceTrackDataset',
            data_root=str(tmp_path / 'data'),
            split='val',
            text_only=True,
        )
    path = tmp_path / 'sort_text.py'
    config.dump(path)
    options = [str(path), '--allow-random-weights']
    work = str(tmp_path / 'work')
    assert main(['test', *options, '--work-dir', work]) == 0
    scores = capsys.readouterr().out
    assert 'random' not in scores
    combined = next(x for x in scores.splitlines() if x.startswith('COMBINED')).split()
    assert [float(x) for x in combined[1:]] == [100, 100, 100, 100, 100, 0]
    tune = ['tune', *options, '--device=cpu', '--out', str(tmp_path / 'tuned')]
    assert main([*tune, '--try', 'obj_score_thr', '0.5', '--try', 'x', '1']) == 1
    (said,) = capsys.readouterr().err.splitlines()[-1:]
    assert said.startswith('mmfdta tune: ') and "keyword argument 'x'" in said
    assert main([*tune, '--try', 'obj_score_thr', '0.5']) == 0
    assert "{'obj_score_thr': 0.5}: HOTA 100.00%" in capsys.readouterr().err
