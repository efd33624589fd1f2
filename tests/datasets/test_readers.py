# Copyright (c) mmfdta authors.
"""Five layouts and their quirks, read directly and from the cache."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmfdta.cli.main import main
from mmfdta.datasets import (
    BFTDataset,
    ClipIndex,
    ClipSampler,
    CrowdHumanClipDataset,
    DanceTrackDataset,
    JointMOTDataset,
    MOT15Dataset,
    MOT16Dataset,
    MOT17Dataset,
    MOT20Dataset,
    MOTSequenceDataset,
    SportsMOTDataset,
    mot_sequence,
)
from mmfdta.datasets.kinds import find_kind, guess_kind
from mmfdta.datasets.prepare import prepare_split
from mmfdta.datasets.sequences import Sequence, SequenceAnnotations
from mmfdta.structures.tracks import Tracks


def prepare(arguments):
    return main(['prepare-dataset', *arguments])


def _boxes(dataset, sequence=0):
    """List (frame, id, x, y, w, h) of a sequence as the data set delivers them."""
    length = len(dataset.sequences[sequence])
    info = dataset.get_data_info(ClipIndex(sequence, tuple(range(length))))
    corners = info['gt_bboxes'].astype(float)
    corners[:, 2:] -= corners[:, :2]
    table = np.column_stack([info['gt_frames'] + 1, info['gt_ids'], corners])
    return table.round(3).tolist()


def test_dancetrack(tmp_path, make_sequence):
    rows = '2,7,1.5,-2,3,4,1,1,1\n1,7,1,2,3,4,0,1,1\n2,3,60,40,30,30,1,1,1\n'
    make_sequence(tmp_path / 'train' / 'b', 3, rows, name='{:08d}.jpg')
    make_sequence(tmp_path / 'train' / 'a', 2)
    (tmp_path / 'train' / '.DS_Store').write_text('x')
    (tmp_path / 'train' / 'b' / 'img1' / '.DS_Store').write_text('x')
    dataset = DanceTrackDataset(str(tmp_path), 'train')
    assert [s.name for s in dataset.sequences] == ['a', 'b']
    assert len(dataset) == 5 and dataset.metainfo['classes'] == ('person',)
    # File order within a frame; boxes reach outside; column 7 means nothing here.
    assert _boxes(dataset, 1) == [
        [1, 7, 1, 2, 3, 4],
        [2, 7, 1.5, -2, 3, 4],
        [2, 3, 60, 40, 30, 30],
    ]
    info = dataset.get_data_info(3)
    assert info['sequence'] == 'b' and info['frame_ids'].tolist() == [1]
    assert info['img_ids'].tolist() == [3] and info['video_length'] == 3
    assert info['img_paths'][0].endswith('b/img1/00000002.jpg')
    with pytest.raises(IndexError):
        dataset.get_data_info(5)


def test_sportsmot_below_dataset_with_identity_zero(tmp_path, make_sequence):
    rows = '1, 0, 1, 2, 3, 4, 1, 1, 1\r\n2, 0, 1, 2, 3, 4, 1, 1, 1\r\n'
    make_sequence(tmp_path / 'dataset' / 'val' / 'v_-x_c001', 2, rows)
    dataset = SportsMOTDataset(str(tmp_path), 'val')
    assert dataset.sequences[0].name == 'v_-x_c001'
    assert [row[1] for row in _boxes(dataset)] == [0, 0]


def test_bft_flat_and_converted(tmp_path, make_sequence):
    folder = tmp_path / 'test' / 'bird'
    folder.mkdir(parents=True)
    for t in range(1, 3):
        Image.new('RGB', (40, 30)).save(folder / f'{t:06d}.jpg')
    text = tmp_path / 'annotations_mot' / 'test'
    text.mkdir(parents=True)
    (text / 'bird.txt').write_text('1,4,1,2,3,4,-1,-1,-1\n2,4,1,2,3,4,-1,-1,-1\n')
    make_sequence(tmp_path / 'test' / 'crow', 2)
    dataset = BFTDataset(str(tmp_path), 'test')
    assert [s.name for s in dataset.sequences] == ['bird', 'crow']
    assert _boxes(dataset) == [[1, 4, 1, 2, 3, 4], [2, 4, 1, 2, 3, 4]]


def test_mot17_trains_on_considered_pedestrians_and_tests_on_all(
    tmp_path, make_sequence
):
    rows = ''.join(
        f'{t},1,1,1,5,5,1,1,0.5\n{t},2,1,1,5,5,0,1,1\n{t},3,1,1,5,5,1,7,1\n'
        for t in range(1, 6)
    )
    for detector in ('DPM', 'FRCNN', 'SDP'):
        make_sequence(tmp_path / 'train' / f'MOT17-02-{detector}', 5, rows)
    train = MOT17Dataset(str(tmp_path), 'train')
    assert [s.name for s in train.sequences] == ['MOT17-02-FRCNN']
    assert {row[1] for row in _boxes(train)} == {1}
    assert train.sequences[0].legal_frames.all()
    test = MOT17Dataset(str(tmp_path), 'train', test_mode=True)
    info = test.get_data_info(0)
    assert info['gt_ids'].tolist() == [1, 2, 3]
    assert info['gt_categories'].tolist() == [1, 1, 7]
    assert info['gt_consider'].tolist() == [1, 0, 1]
    assert info['gt_labels'].tolist() == [0, 0, -1]
    assert info['gt_visibilities'].tolist() == [0.5, 1, 1]
    assert info['gt_xywh'].dtype == np.float64


def test_single_frames_are_those_of_mmdetections_detection_data_sets(
    tmp_path, make_sequence
):
    """Pedestrians with a 1 in column 7 are trained on, all other rows are ignored."""
    make_sequence(
        tmp_path / 'train' / 'MOT17-02-FRCNN',
        2,
        rows='1,4,11,7,10,20,1,1,0.5\n1,5,2,3,4,5,0,1,1\n1,6,2,3,4,5,1,8,1\n',
        size=(48, 64),
    )
    dataset = MOT17Dataset(str(tmp_path), single_frames=True)
    first, second = dataset[0], dataset[1]
    assert (first['height'], first['width']) == (48, 64)
    assert Path(first['img_path']).name == '000001.jpg'
    assert [first['img_id'], second['img_id'], second['frame_id']] == [0, 1, 1]
    assert first['instances'] == [
        dict(bbox=[11, 7, 21, 27], bbox_label=0, instance_id=4, ignore_flag=0),
        dict(bbox=[2, 3, 6, 8], bbox_label=0, instance_id=5, ignore_flag=1),
        dict(bbox=[2, 3, 6, 8], bbox_label=0, instance_id=6, ignore_flag=1),
    ]
    assert second['instances'] == []


def test_all_rows_of_mot15_count(tmp_path, make_sequence):
    rows = '1,1,1,1,5,5,1,-1,-1\n1,2,1,1,5,5,1,7,1\n4,3,1,1,5,5,1,1,1\n'
    make_sequence(tmp_path / 'train' / 'PETS09-S2L1', 5, rows)
    assert guess_kind(str(tmp_path)) is MOT15Dataset is find_kind('mot15')
    first, second = (
        MOT15Dataset(str(tmp_path), half=half) for half in ('first', 'second')
    )
    assert (len(first), len(second)) == (3, 2)
    assert {row[1] for row in _boxes(first)} == {1, 2}
    assert {row[1] for row in _boxes(second)} == {3}


@pytest.mark.parametrize('kind', [MOT16Dataset, MOT20Dataset])
def test_mot16_and_mot20_are_read_without_a_detector(tmp_path, make_sequence, kind):
    name = f'{kind.BENCHMARK.title}-02'
    rows = '1,1,1,1,5,5,1,1,0.5\n1,2,1,1,5,5,0,1,1\n1,3,1,1,5,5,1,7,1\n'
    make_sequence(tmp_path / 'train' / name, 5, rows)
    assert guess_kind(str(tmp_path)) is kind is find_kind(kind.BENCHMARK.name)
    train = kind(str(tmp_path), 'train')
    assert [sequence.name for sequence in train.sequences] == [name]
    assert {row[1] for row in _boxes(train)} == {1}
    assert train.metainfo['benchmark'] == kind.BENCHMARK.name
    assert [len(kind(str(tmp_path), half=half)) for half in ('first', 'second')] == [
        *(3, 2)
    ]
    with pytest.raises(ValueError, match=rf"{kind.__name__}\(half='last'\)"):
        kind(str(tmp_path), half='last')


def test_the_first_half_of_an_even_number_is_longer_by_two(tmp_path, make_sequence):
    make_sequence(tmp_path / 'train' / 'MOT17-02-FRCNN', 4, '1,1,1,1,5,5,1,1,1\n')
    halves = [MOT17Dataset(str(tmp_path), half=half) for half in ('first', 'second')]
    assert [len(half) for half in halves] == [3, 1]


def test_mot17_halves(tmp_path, make_sequence):
    make_sequence(tmp_path / 'train' / 'MOT17-02-FRCNN', 5)
    whole = MOT17Dataset(str(tmp_path), 'train')
    first = MOT17Dataset(str(tmp_path), 'train', half='first')
    second = MOT17Dataset(str(tmp_path), 'train', half='second')
    assert (len(first), len(second)) == (3, 2)
    shifted = [[row[0] + 3, *row[1:]] for row in _boxes(second)]
    assert _boxes(first) + shifted == _boxes(whole)
    assert second.sequences[0].annotations.tracks.frame.tolist() == [1, 1, 2, 2]
    info = second.get_data_info(0)
    assert info['frame_ids'].tolist() == [0] and info['video_length'] == 2
    assert info['img_paths'][0].endswith('000004.jpg')
    with pytest.raises(ValueError, match="half='third'"):
        MOT17Dataset(str(tmp_path), 'train', half='third')


@pytest.fixture
def crowdhuman(tmp_path):
    (tmp_path / 'Images').mkdir()
    records = []
    for name, count in (('273271,c9', 2), ('283992,1b', 0), ('1066,7', 1)):
        Image.new('RGB', (60, 40)).save(tmp_path / 'Images' / f'{name}.jpg')
        boxes = [
            {'tag': 'person', 'fbox': [i, 1, 20, 30], 'extra': {}} for i in range(count)
        ]
        boxes += [
            {'tag': 'person', 'fbox': [0, 0, 9, 9], 'extra': {'ignore': 1}},
            {'tag': 'mask', 'fbox': [0, 0, 9, 9], 'extra': {'ignore': 1}},
            {'tag': 'mask', 'fbox': [0, 0, 9, 9]},
        ]
        records.append(json.dumps({'ID': name, 'gtboxes': boxes}))
    (tmp_path / 'annotation_train.odgt').write_text('\n'.join(records) + '\n')
    return tmp_path


def test_crowdhuman(crowdhuman):
    dataset = CrowdHumanClipDataset(str(crowdhuman), 'train')
    assert [s.name for s in dataset.sequences] == ['273271,c9', '283992,1b', '1066,7']
    ids = [s.annotations.tracks.identity.tolist() for s in dataset.sequences]
    assert ids == [[1, 2], [], [3]]
    indices = list(ClipSampler(dataset, lengths=3, seed=0))
    assert sorted(i.sequence for i in indices) == [0, 2]
    info = dataset.get_data_info(ClipIndex(0, (0, 0, 0)))
    assert info['is_static'] and len(set(info['img_paths'])) == 1
    assert info['gt_frames'].tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"ID": "x"', r'odgt:4: expected one JSON record'),
        ('{"ID": "x"}', r'odgt:4: expected a record with ID and gtboxes'),
        ('{"ID": "x", "gtboxes": []}', r'odgt:4: no image x.jpg'),
        (
            '{"ID": "new", "gtboxes": [{"tag": "person", "fbox": [1, 2, 3]}]}',
            r'odgt:4: found a person whose fbox',
        ),
        (
            '{"ID": "new", "gtboxes": [{"tag": "person", "extra": "no"}]}',
            r"odgt:4: found a person whose extra is 'no'",
        ),
        ('{"ID": 3, "gtboxes": []}', 'odgt:4: found ID 3, expected text'),
        ('{"ID": "new", "gtboxes": null}', 'odgt:4: found gtboxes of new that are no'),
        ('{"ID": "new", "gtboxes": ["x"]}', 'odgt:4: found gtboxes of new that are no'),
        ('{"ID": "new", "gtboxes": {}}', 'odgt:4: found gtboxes of new that are no'),
        ('[]', 'odgt:4: expected a record with ID and gtboxes'),
        ('"\xe9"', "odgt:4: expected one JSON record .*can't decode"),
        ('{"ID": "1066,7", "gtboxes": []}', r'odgt:4: found ID 1066,7 again .*line 3'),
    ],
)
def test_crowdhuman_bad_lines(crowdhuman, line, message):
    Image.new('RGB', (60, 40)).save(crowdhuman / 'Images' / 'new.jpg')
    path = crowdhuman / 'annotation_train.odgt'
    path.write_bytes(path.read_bytes() + line.encode('latin-1') + b'\n')
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        CrowdHumanClipDataset(str(crowdhuman), 'train')


def test_crowdhuman_as_other_programs_write_json_lines(crowdhuman):
    """With a byte order mark, other ends of lines, also in text, and null."""
    path = crowdhuman / 'annotation_train.odgt'
    records = [json.loads(line) for line in path.read_text().splitlines()]
    expected = CrowdHumanClipDataset(str(crowdhuman), 'train').sequences
    records[0]['gtboxes'][0]['extra'] = None
    records[1]['note'] = 'one\u2028two\x85three'
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    path.write_bytes('\r\n'.join([*lines, '']).encode('utf-8-sig'))
    found = CrowdHumanClipDataset(str(crowdhuman), 'train').sequences
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.name == theirs.name
        boxes = [s.annotations.tracks.xywh.tolist() for s in (ours, theirs)]
        assert boxes[0] == boxes[1]


def test_crowdhuman_without_records_is_an_error(crowdhuman, capsys):
    (crowdhuman / 'annotation_train.odgt').write_text('\n')
    assert main(['check-data', 'crowdhuman', str(crowdhuman)]) == 1
    assert 'annotation_train.odgt: holds no record' in capsys.readouterr().out
    assert prepare(['crowdhuman', str(crowdhuman)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert 'annotation_train.odgt: holds no record' in line


@pytest.mark.parametrize('command', ['check-data', 'prepare-dataset'])
def test_crowdhuman_has_no_classes_to_choose(crowdhuman, capsys, command):
    """A map of column 8 would leave every person out."""
    options = ['--coco'] if command == 'prepare-dataset' else []
    arguments = ['crowdhuman', str(crowdhuman), *options]
    assert main([command, *arguments, '--classes', 'person=1']) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert 'found category_map (--classes) for CrowdHuman' in line
    assert not (crowdhuman / 'annotations').exists()
    assert main([command, *arguments]) == 0
    with pytest.raises(ValueError, match='found category_map'):
        CrowdHumanClipDataset(str(crowdhuman), 'train', category_map={1: 0})


def test_several_classes_by_column_8(tmp_path, make_sequence):
    rows = '1,1,1,1,5,5,1,3,1\n1,2,1,1,5,5,1,1,1\n1,3,1,1,5,5,1,9,1\n'
    make_sequence(tmp_path / 'train' / 'a', 1, rows)
    dataset = MOTSequenceDataset(
        str(tmp_path),
        'train',
        category_map={1: 0, 3: 1},
        metainfo=dict(classes=('person', 'car')),
    )
    info = dataset.get_data_info(0)
    assert info['gt_ids'].tolist() == [1, 2]
    assert info['gt_labels'].tolist() == [1, 0]


def test_hidden_annotations_only_for_testing(tmp_path, make_sequence):
    make_sequence(tmp_path / 'test' / 'a', 2, rows='')
    dataset = MOTSequenceDataset(str(tmp_path), 'test', test_mode=True)
    assert 'gt_bboxes' not in dataset.get_data_info(0)
    with pytest.raises(FileNotFoundError, match="no annotation for sequence 'a'"):
        MOTSequenceDataset(str(tmp_path), 'test')


def test_frames_without_objects_are_empty_not_missing(tmp_path, make_sequence):
    make_sequence(tmp_path / 'val' / 'a', 3, '2,1,1,1,5,5,1,1,1\n')
    dataset = MOTSequenceDataset(str(tmp_path), 'val', test_mode=True)
    assert [len(dataset.get_data_info(t)['gt_ids']) for t in range(3)] == [0, 1, 0]


def test_text_that_counts_as_the_names_do(tmp_path, make_sequence):
    rows = '11,1,1,1,5,5,1,1,1\n12,1,2,1,5,5,1,1,1\n'
    folder = make_sequence(tmp_path / 'train' / 'a', 2, rows)
    for t in (2, 1):
        (folder / 'img1' / f'{t:06d}.jpg').rename(folder / 'img1' / f'{t + 10:06d}.jpg')
    dataset = MOTSequenceDataset(str(tmp_path), 'train')
    assert [row[0] for row in _boxes(dataset)] == [1, 2]


def _missing_image(folder):
    (folder / 'img1' / '000002.jpg').unlink()


def _late_frame(folder):
    (folder / 'gt' / 'gt.txt').write_text('1,1,1,1,5,5\n9,1,1,1,5,5\n')


def _huge_box(folder):
    (folder / 'gt' / 'gt.txt').write_text('1,1,1,1,5,5\n2,1,1,1,1e39,5\n')


def _detections(folder):
    (folder / 'gt' / 'gt.txt').write_text('1,-1,1,1,5,5\n')


def _bad_seqinfo(folder):
    (folder / 'seqinfo.ini').write_text('[Sequence]\nseqLength=many\n')


def _no_images(folder):
    for path in (folder / 'img1').iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (_missing_image, 'gt.txt:3: frame 2 has no image.*gt.txt:7: frame 4'),
        (_late_frame, 'gt.txt:2: found frame 9, but the sequence has 4 frames'),
        (_huge_box, r'gt.txt:2: found box \[1.0, 1.0, 1e\+39, 5.0\]'),
        (_detections, 'gt.txt:1: found identity -1'),
        (_bad_seqinfo, "seqinfo.ini:2: found seqLength='many'"),
        (_no_images, 'img1: no images in it'),
    ],
)
def test_bad_sequences_are_named(tmp_path, make_sequence, damage, message):
    damage(make_sequence(tmp_path / 'train' / 'a', 4))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        MOTSequenceDataset(str(tmp_path), 'train')


def test_wrong_places_are_named(tmp_path, make_sequence):
    make_sequence(tmp_path / 'val' / 'a', 1)
    with pytest.raises(FileNotFoundError, match='train: no such folder.*holds val'):
        DanceTrackDataset(str(tmp_path), 'train')
    with pytest.raises(FileNotFoundError, match='found no sequence.*-FRCNN'):
        MOT17Dataset(str(tmp_path), 'val')
    with pytest.raises(ValueError, match=r"sequences=\['b'\] are not in split 'val'"):
        DanceTrackDataset(str(tmp_path), 'val', sequences=['b'])


def test_sequences_are_chosen_by_name_and_pattern_in_the_order_asked_for(
    tmp_path, make_sequence
):
    for name in ('a1', 'a2', 'b[1]', 'b1'):
        make_sequence(tmp_path / 'val' / name, 1)
    for asked, expected in (
        (['b*', 'a2'], ['b1', 'b[1]', 'a2']),
        (['a2', 'a*'], ['a2', 'a1']),
        (['b[1]'], ['b[1]']),  # a name before a pattern
        (['b[12]'], ['b1']),
    ):
        dataset = DanceTrackDataset(str(tmp_path), 'val', sequences=asked)
        assert [sequence.name for sequence in dataset.sequences] == expected
    with pytest.raises(ValueError, match=r"sequences=\['c\*'\] are not in split"):
        DanceTrackDataset(str(tmp_path), 'val', sequences=['a1', 'c*'])


def test_cache_gives_the_same_sequences(tmp_path, make_sequence, monkeypatch):
    make_sequence(tmp_path / 'train' / 'a', 4, depth=True)
    make_sequence(tmp_path / 'train' / 'b', 3, '3,0,1.25,2,3,4,1,1,0.5\n')
    make_sequence(tmp_path / 'test' / 'c', 2, rows='')
    direct = DanceTrackDataset(str(tmp_path), 'train')
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*') if p.is_file()}
    assert prepare(['dancetrack', str(tmp_path)]) == 0
    written = tmp_path / 'annotations' / 'train_mmfdta.npz'
    first = written.read_bytes()
    assert prepare(['dancetrack', str(tmp_path)]) == 0
    assert written.read_bytes() == first
    for path, changed in before.items():
        assert path.stat().st_mtime_ns == changed
    with monkeypatch.context() as patched:
        patched.setattr(mot_sequence, 'read_sequences', None)
        cached = DanceTrackDataset(str(tmp_path), 'train')
    for one, other in zip(direct.sequences, cached.sequences, strict=True):
        assert (one.name, one.image_dir, one.frame_rate, one.dataset) == (
            *(other.name, other.image_dir, other.frame_rate, other.dataset),
        )
        assert one.depth_dir == other.depth_dir
        np.testing.assert_array_equal(one.image_names, other.image_names)
        for field in ('offsets', 'category', 'visibility', 'trainable'):
            ours, theirs = (getattr(s.annotations, field) for s in (one, other))
            np.testing.assert_array_equal(ours, theirs)
        for field in one.annotations.tracks.__dataclass_fields__:
            ours, theirs = (getattr(s.annotations.tracks, field) for s in (one, other))
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
    hidden = DanceTrackDataset(str(tmp_path), 'test', test_mode=True)
    assert hidden.sequences[0].annotations is None


def test_cache_out_of_date_or_broken_is_not_used(tmp_path, make_sequence):
    folder = make_sequence(tmp_path / 'train' / 'a', 2)
    prepare(['dancetrack', str(tmp_path)])
    (folder / 'gt' / 'gt.txt').write_text('1,9,1,1,5,5\n')
    assert _boxes(DanceTrackDataset(str(tmp_path), 'train')) == [[1, 9, 1, 1, 5, 5]]
    cache = tmp_path / 'annotations' / 'train_mmfdta.npz'
    cache.write_bytes(cache.read_bytes()[:100])
    assert _boxes(DanceTrackDataset(str(tmp_path), 'train')) == [[1, 9, 1, 1, 5, 5]]
    with pytest.raises(FileNotFoundError, match='ann_file'):
        DanceTrackDataset(str(tmp_path), 'train', ann_file=str(cache))
    # What 0.1 wrote is read again from the text.
    header = json.dumps(dict(version=1, files={}, sequences=[])).encode()
    np.savez(cache, header=np.frombuffer(header, dtype=np.uint8))
    assert _boxes(DanceTrackDataset(str(tmp_path), 'train')) == [[1, 9, 1, 1, 5, 5]]


def test_cache_of_static_images_that_have_moved_is_not_used(tmp_path):
    box = dict(tag='person', fbox=[1, 2, 3, 4])
    record = json.dumps(dict(ID='x', gtboxes=[box]))
    (tmp_path / 'annotation_train.odgt').write_text(record)
    (tmp_path / 'Images').mkdir()
    Image.new('RGB', (32, 24)).save(tmp_path / 'Images' / 'x.jpg')
    assert prepare(['crowdhuman', str(tmp_path)]) == 0
    (tmp_path / 'Images' / 'y.jpg').touch()  # of the val split
    for folder in ('Images', 'images'):
        if folder == 'images':
            (tmp_path / 'train').mkdir()
            (tmp_path / 'Images').rename(tmp_path / 'train' / folder)
        dataset = CrowdHumanClipDataset(str(tmp_path), 'train')
        (path,) = dataset.get_data_info(0)['img_paths']
        assert Path(path).is_file()


class _ReadsItself(MOTSequenceDataset):
    """A layout of one's own, without depth maps."""

    def read_sequences(self):
        tracks = Tracks.create([1], [4], [[1, 2, 3, 4]], label=[0])
        annotations = SequenceAnnotations.create(tracks, length=1)
        names = np.array(['1.jpg'])
        folder = f'{self.data_root}/images'
        return [Sequence('a', folder, names, annotations)], [], []


def test_cache_of_sequences_without_a_place_for_depth(tmp_path, monkeypatch):
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (32, 24)).save(tmp_path / 'images' / '1.jpg')
    dataset = _ReadsItself(str(tmp_path), lazy_init=True)
    prepare_split(dataset)
    monkeypatch.setattr(_ReadsItself, 'read_sequences', None)
    (sequence,) = _ReadsItself(str(tmp_path)).sequences
    assert (sequence.name, sequence.depth_place) == ('a', '')
    assert sequence.annotations.tracks.identity.tolist() == [4]


def test_old_name_of_the_flag_is_answered(tmp_path):
    with pytest.raises(ValueError, match='use_marks is now use_consider_flag'):
        MOT17Dataset(str(tmp_path), use_marks=True)


def test_coco_vid_is_read_by_mmdetection(tmp_path, make_sequence):
    from mmdet.datasets import BaseVideoDataset

    make_sequence(tmp_path / 'train' / 'a', 2)
    make_sequence(tmp_path / 'train' / 'b', 3)
    assert prepare(['dancetrack', str(tmp_path), '--coco']) == 0
    theirs = BaseVideoDataset(
        ann_file=str(tmp_path / 'annotations' / 'train_cocovid.json'),
        data_prefix=dict(img_path=str(tmp_path)),
        metainfo=dict(classes=('person',)),
        test_mode=True,
    )
    ours = DanceTrackDataset(str(tmp_path), 'train')
    assert len(theirs) == 2
    seen = set()
    for video in range(2):
        for frame, image in enumerate(theirs.get_data_info(video)['images']):
            info = ours.get_data_info(ClipIndex(video, (frame,)))
            assert image['img_path'] == info['img_paths'][0]
            assert image['frame_id'] == frame
            boxes = [instance['bbox'] for instance in image['instances']]
            np.testing.assert_allclose(boxes, info['gt_bboxes'])
            seen |= {(video, i['instance_id']) for i in image['instances']}
    # Identities 0 and 1 of each sequence: four different ones, none of them 0.
    assert sorted(identity for _, identity in seen) == [1, 2, 3, 4]


def test_joint_training_with_weights(tmp_path, crowdhuman, make_sequence):
    make_sequence(tmp_path / 'dance' / 'train' / 'a', 4)
    config = [
        dict(type='DanceTrackDataset', data_root=str(tmp_path / 'dance')),
        dict(type='CrowdHumanClipDataset', data_root=str(crowdhuman)),
    ]
    config = [dict(item, _scope_='mmdet') for item in config]
    joint = JointMOTDataset(config, weights=[1, 3])
    counts = np.bincount([i.sequence for i in ClipSampler(joint, lengths=3, seed=0)])
    assert counts.tolist() == [2, 3, 0, 3]
    info = joint[ClipIndex(3, (0, 0, 0), (1,))]
    assert (info['sequence'], info['video_id']) == ('1066,7', 3)
    assert info['img_ids'].tolist() == [6, 6, 6] and len(joint) == 7
    with pytest.raises(ValueError, match='positive integer'):
        JointMOTDataset(config, weights=[1, 0.5])
    birds = dict(config[0], metainfo=dict(classes=('bird',)))
    with pytest.raises(ValueError, match='classes'):
        JointMOTDataset([birds, config[1]])
    JointMOTDataset([birds, config[1]], metainfo=dict(classes=('thing',)))
