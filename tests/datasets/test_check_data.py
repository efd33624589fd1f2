# Copyright (c) mmfdta authors.
"""The checker names what is wrong, and nothing else."""

import re
import sys

import numpy as np
import pytest
from PIL import Image

from mmfdta.cli.main import main
from mmfdta.datasets.kinds import find_kind
from mmfdta.evaluation import MOTMetric
from mmfdta.structures.benchmarks import get_benchmark


def check(arguments):
    return main(['check-data', *arguments])


def prepare(arguments):
    return main(['prepare-dataset', *arguments])


@pytest.fixture
def dance(tmp_path, make_sequence):
    for name in ('a', 'b'):
        make_sequence(tmp_path / 'train' / name, 4, depth=True)
    return tmp_path


def _run(capsys, *arguments):
    status = check(['dancetrack', *arguments])
    return status, capsys.readouterr().out


def test_good_data(dance, capsys):
    before = sorted(dance.rglob('*'))
    status, text = _run(capsys, str(dance), '--decode')
    assert status == 0 and 'no errors' in text
    assert re.search(r'^a +4 +64x48 +8 +2 +4 +0 +0$', text, re.M)
    assert re.search(r'^2 sequences +8 +16 +8 +0 +0$', text, re.M)
    assert sorted(dance.rglob('*')) == before
    assert prepare(['dancetrack', str(dance), '--check']) == 0
    assert sorted(dance.rglob('*')) == before


def _edit(name, number, line):
    def damage(root):
        path = root / 'train' / 'a' / name
        lines = path.read_text().splitlines()
        lines[number - 1] = line
        path.write_text('\n'.join(lines) + '\n')

    return damage


def _write(name, content):
    return lambda root: (root / 'train' / 'a' / name).write_bytes(content)


def _resize(name, mode='RGB', size=(32, 24)):
    return lambda root: Image.new(mode, size).save(root / 'train' / 'a' / name)


def _unlink(name):
    return lambda root: (root / 'train' / 'a' / name).unlink()


def _cut(root):
    path = root / 'train' / 'a' / 'img1' / '000002.jpg'
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])


def _deep(root):
    image = Image.fromarray(np.zeros((48, 64), dtype=np.uint16))
    image.save(root / 'train' / 'a' / 'depth' / '000002.png')


def _pixels(kind, most, form):
    def damage(root):
        image = Image.fromarray(np.full((48, 64), most, dtype=kind))
        image.save(root / 'train' / 'a' / 'img1' / '000002.jpg', form)

    return damage


def _rename(root):
    folder = root / 'train' / 'a' / 'img1'
    (folder / '000004.jpg').rename(folder / 'last.jpg')


def _rows(form):
    """Three objects that move from the left to the right, 64x48 pixels."""
    boxes = [
        (2 + 12 * i + 3 * t, 4 + 11 * i, 9, 14) for t in range(4) for i in range(3)
    ]
    rows = (
        f'{n // 3 + 1},{n % 3},{",".join(map(str, form(*box)))},1,1,1\n'
        for n, box in enumerate(boxes)
    )
    return _write('gt/gt.txt', ''.join(rows).encode())


def _corners(x, y, w, h):
    return x, y, x + w, y + h


def _fractions(x, y, w, h):
    return x / 64, y / 48, w / 64, h / 48


ERRORS = {
    'corners': (_rows(_corners), r'gt.txt: the boxes look like corners x1,y1,x2,y2'),
    'fractions': (_rows(_fractions), r'gt.txt: the boxes look like fractions'),
    'decimal commas': (
        _edit('gt/gt.txt', 3, '2,1,5,08,5,50,9,25,9,75,1,1,1'),
        r'gt.txt:3: found 13 columns, .* decimal commas\?',
    ),
    'detections': (
        _write('gt/gt.txt', b'1,-1,5,5,9,9\n1,-1,8,8,9,9\n'),
        r'gt.txt:1: the identity is -1 in all 2 rows: these are detections',
    ),
    'columns': (_edit('gt/gt.txt', 3, '2,1,5'), r'gt.txt:3: found 3 columns'),
    'nan': (_edit('gt/gt.txt', 3, '2,1,nan,1,1,1'), r"gt.txt:3: found 'nan' for x"),
    'word': (_edit('gt/gt.txt', 3, 'x,1,1,1,1,1'), r"gt.txt:3: found 'x' for frame"),
    'duplicate': (
        _edit('gt/gt.txt', 3, '1,1,5,5,9,9'),
        r'gt.txt:3: identity 1 occurs again in frame 1 \(first on line 2\)',
    ),
    'late': (_edit('gt/gt.txt', 3, '9,1,5,5,9,9'), r'gt.txt:3: frame 9 has no image'),
    'negative': (_edit('gt/gt.txt', 3, '2,-1,5,5,9,9'), r'gt.txt:3: identity -1'),
    'huge': (
        _edit('gt/gt.txt', 3, '2,1,5,5,1e39,9'),
        r'gt.txt:3: the box .*1e\+39.* is no box',
    ),
    'no text': (_unlink('gt/gt.txt'), r'a/img1: no annotation'),
    'empty image': (_write('img1/000002.jpg', b''), r'000002.jpg: the file is empty'),
    'no image': (_write('img1/000002.jpg', b'text'), r'000002.jpg: not an image'),
    'cut image': (_cut, r'000002.jpg: cannot decode the image'),
    'size': (_resize('img1/000002.jpg'), r'000002.jpg: 32x24 pixels, expected 64x48'),
    'gap': (_unlink('img1/000002.jpg'), r'gt.txt:3: frame 2 has no image'),
    'stray': (_rename, r'a/img1: found last.jpg among images such as'),
    'no widths': (
        _write('gt/gt.txt', b'1,1,5,5,0,9\n2,1,5,5,0,9\n3,1,5,5,0,9\n'),
        r'gt.txt:1: width or height is 0 or less in all 3 rows',
    ),
    'negative sizes': (
        _rows(lambda x, y, w, h: (x + w, y + h, -w, -h)),
        r'gt.txt:1: width or height is 0 or less in all 12 rows',
    ),
    'one row without a height': (
        _write('gt/gt.txt', b'1,1,5,5,9,0\n'),
        r'gt.txt:1: width or height is 0 or less in all 1 rows',
    ),
    'length': (
        _edit('seqinfo.ini', 5, 'seqLength=9'),
        r'seqinfo.ini: seqLength is 9, but there are 4 images',
    ),
    'ini': (
        _write('seqinfo.ini', b'nothing'),
        r'seqinfo.ini:1: found .nothing., expected',
    ),
    'float image': (
        _pixels(np.float32, 0.5, 'TIFF'),
        r'000002.jpg: found pixels that are floats, expected 8 or 16 bits',
    ),
    'depth gap': (_unlink('depth/000002.png'), r'no depth map for 000002.jpg'),
    'depth colour': (
        _resize('depth/000002.png', size=(64, 48)),
        r'depth/000002.png: found a colour image',
    ),
    'depth bits': (_deep, r'depth/000002.png: found 16-bit depth'),
    'depth size': (
        _resize('depth/000002.png', 'L'),
        r'depth/000002.png: found 32x24, expected .* 64x48',
    ),
}


@pytest.mark.parametrize('name', ERRORS)
def test_errors(dance, capsys, name):
    damage, message = ERRORS[name]
    damage(dance)
    status, text = _run(capsys, str(dance))
    assert status == 1
    errors = [line for line in text.splitlines() if line.startswith('error')]
    assert any(re.search(message, line) for line in errors), text
    assert all('/train/a/' in line for line in errors)
    assert re.search(r'^b +4 +64x48 +8 +2 +4 +0 +0$', text, re.M)


WARNINGS = {
    'degenerate': (_edit('gt/gt.txt', 3, '2,1,5,5,0,9'), r'gt.txt:3: width or height'),
    'outside': (_edit('gt/gt.txt', 3, '2,0,99,5,9,9'), r'gt.txt:3: the box lies out'),
    'info size': (_edit('seqinfo.ini', 6, 'imWidth=9'), r'imWidth and imHeight are 9'),
    'info length': (
        _edit('seqinfo.ini', 5, 'seqLength=3'),
        r'seqLength is 3, but there are 4 images',
    ),
    '12 of 16 bits': (_pixels(np.uint16, 4095, 'PNG'), r'the image is nearly black'),
    'crowd': (
        _write('gt/gt.txt', b''.join(b'1,%d,1,1,5,5\n' % i for i in range(301))),
        r'frame 1 has 301 boxes',
    ),
}


@pytest.mark.parametrize('name', WARNINGS)
def test_warnings(dance, capsys, name):
    damage, message = WARNINGS[name]
    damage(dance)
    status, text = _run(capsys, str(dance))
    assert status == 0
    warnings = [line for line in text.splitlines() if line.startswith('warning')]
    # That training counts such rows is said of the whole split.
    assert len(warnings) == 1 + (name == 'unscored'), text
    assert any(re.search(message, line) for line in warnings), text


def test_long_reports_say_what_they_leave_out(dance, capsys):
    rows = '1,99,1,1,5,5\n' + ''.join(f'1,{i},1,1,0,5\n' for i in range(50))
    (dance / 'train' / 'a' / 'gt' / 'gt.txt').write_text(rows)
    _, text = _run(capsys, str(dance), '--max-findings', '10')
    assert text.count('width or height') == 10 and 'a: 41 more findings' in text
    _, text = _run(capsys, str(dance), '--max-findings', '0')
    assert text.count('width or height') == 50 and 'more findings' not in text


def test_odd_but_usable_data(dance, capsys):
    Image.new('L', (64, 48)).save(dance / 'train' / 'a' / 'img1' / '000001.jpg')
    (dance / 'train' / 'notes').mkdir()
    rows = '1, 0, 1, 1, 5, 5\r\n'
    (dance / 'train' / 'a' / 'gt' / 'gt.txt').write_text(rows)
    _pixels(np.uint16, 65535, 'PNG')(dance)
    status, text = _run(capsys, str(dance))
    assert status == 0 and 'nearly black' not in text
    for note in (
        'mode L',
        'mode I;16',
        'notes: is no sequence (<sequence>/img1/)',
        '3 of 4 frames have no box',
    ):
        assert note in text


def test_hidden_test_split_and_nothing_there(tmp_path, capsys, make_sequence):
    make_sequence(tmp_path / 'test' / 'a', 2, rows='')
    status, text = _run(capsys, str(tmp_path))
    assert status == 0 and 'those of this split are not published' in text
    assert check(['bft', str(tmp_path / 'nowhere')]) == 1
    assert 'nowhere: no such folder' in capsys.readouterr().err
    assert check(['crowdhuman', str(tmp_path)]) == 1
    assert 'expected annotation_train.odgt' in capsys.readouterr().err


def test_crowdhuman(tmp_path, capsys):
    (tmp_path / 'Images').mkdir()
    Image.new('RGB', (60, 40)).save(tmp_path / 'Images' / 'a.jpg')
    (tmp_path / 'Images' / 'b.jpg').write_bytes(b'')
    lines = [
        '{"ID": "a", "gtboxes": [{"tag": "person", "fbox": [0, 0, 9, 9]}]}',
        '{"ID": "b", "gtboxes": []}',
    ]
    (tmp_path / 'annotation_val.odgt').write_text('\n'.join(lines))
    assert check(['crowdhuman', str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert 'b.jpg' in text and '0 persons; training skips it' in text
    (tmp_path / 'annotation_val.odgt').write_text('{"ID": "c", "gtboxes": []}')
    assert check(['crowdhuman', str(tmp_path)]) == 1
    assert 'annotation_val.odgt:1: no image c.jpg' in capsys.readouterr().out


def test_prepare_names_a_broken_annotation(dance, capsys):
    _edit('gt/gt.txt', 2, '1,1,5')(dance)
    assert prepare(['dancetrack', str(dance)]) == 1
    assert 'gt.txt:2: found 3 columns' in capsys.readouterr().err


OWN_DATA_SET = """
from pathlib import Path

from mmfdta.datasets import MOTSequenceDataset
from mmfdta.datasets.sequences import SequenceSource
from mmfdta.structures.benchmarks import Benchmark


class FishDataset(MOTSequenceDataset):
    BENCHMARK = Benchmark('fish', 'Fish', ('fish',))
    SPLITS = ('pond',)
    LAYOUT = '<sequence>/frames/'

    def find_source(self, folder: Path) -> SequenceSource | None:
        if not (folder / 'frames').is_dir():
            return None
        return SequenceSource(
            folder.name,
            str(folder / 'frames'),
            str(folder / 'boxes.txt'),
            None,
            str(folder / 'depth'),
        )
"""


def test_a_data_set_of_ones_own_is_one_class(
    tmp_path, capsys, make_sequence, monkeypatch
):
    (tmp_path / 'aquarium.py').write_text(OWN_DATA_SET)
    monkeypatch.syspath_prepend(tmp_path)
    root, kind = tmp_path / 'data', 'aquarium.FishDataset'
    folder = make_sequence(root / 'pond' / 'a', 3, depth=True)
    (folder / 'img1').rename(folder / 'frames')
    (folder / 'gt' / 'gt.txt').rename(folder / 'boxes.txt')
    maps = tmp_path / 'maps'
    maps.mkdir()
    (folder / 'depth').rename(maps / 'a')
    (root / 'pond' / 'notes').mkdir()
    assert check([kind, str(root)]) == 0
    text = capsys.readouterr().out
    assert 'Fish pond' in text and re.search(r'^a +3 +64x48 +6 +2 ', text, re.M)
    assert 'notes: is no sequence (<sequence>/frames/)' in text
    assert prepare([kind, str(root)]) == 0
    assert (root / 'annotations' / 'pond_mmfdta.npz').is_file()
    depth = ['generate-depth', str(root), '--kind', kind]
    assert main([*depth, '--backend', 'folder', '--maps', str(maps)]) == 0
    assert main([*depth, '--check']) == 0
    (folder / 'boxes.txt').write_text('9,1,1,1,5,5\n')
    assert check([kind, str(root)]) == 1
    assert 'boxes.txt:1: frame 9 has no image' in capsys.readouterr().out
    meta = find_kind(kind)(str(root), 'pond', lazy_init=True).metainfo
    assert meta['classes'] == ('fish',)
    metric = MOTMetric()
    metric.dataset_meta = meta
    assert get_benchmark(metric._benchmark()).title == 'Fish'
    for name, message in (
        ('dancetrak', "found data set 'dancetrak', expected one of dancetrack"),
        ('aquarium.Path', 'a class derived from MOTSequenceDataset'),
        ('aquarum.FishDataset', "No module named 'aquarum'"),
    ):
        assert check([name, str(root)]) == 1
        assert message in capsys.readouterr().err


def test_the_command_finds_modules_in_the_current_folder(
    tmp_path, capsys, make_sequence, monkeypatch
):
    """A console script starts with its own folder in the path, not the current one."""
    (tmp_path / 'here').mkdir()
    (tmp_path / 'here' / 'harbour.py').write_text(OWN_DATA_SET)
    folder = make_sequence(tmp_path / 'here' / 'data' / 'pond' / 'a', 3)
    (folder / 'img1').rename(folder / 'frames')
    (folder / 'gt' / 'gt.txt').rename(folder / 'boxes.txt')
    monkeypatch.chdir(tmp_path / 'here')
    monkeypatch.setattr('sys.path', [name for name in sys.path if name])
    arguments = ['mmfdta', 'check-data', 'harbour.FishDataset', 'data']
    monkeypatch.setattr('sys.argv', arguments)
    assert main() == 0, capsys.readouterr().err
    assert 'Fish pond' in capsys.readouterr().out


def test_published_annotations_must_be_there(tmp_path, capsys):
    """BFT publishes those of its test split."""
    (tmp_path / 'test' / 'bird').mkdir(parents=True)
    Image.new('RGB', (40, 30)).save(tmp_path / 'test' / 'bird' / '000001.jpg')
    assert check(['bft', str(tmp_path)]) == 1
    assert 'bird: no annotation; was the archive unpacked' in capsys.readouterr().out
