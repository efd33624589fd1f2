# Copyright (c) mmfdta authors.
"""Zips for the servers."""

import shutil
import zipfile

import pytest
from trackeval.datasets import MotChallenge2DBox
from trackeval.utils import TrackEvalException

from mmfdta.cli.main import main
from mmfdta.evaluation.submission import make_submission

ROW = '1,1,10.5,20,30,40,0.9,-1,-1,-1\n'
NAMES = ('v_-a_c001', 'v_-b_c002')


@pytest.fixture
def folders(tmp_path):
    """A test split of two sequences, three frames each, and results on it."""
    for i, name in enumerate(NAMES):
        images = tmp_path / 'test' / name / 'img1'
        images.mkdir(parents=True)
        for frame in range(1, 4):
            (images / f'{frame:06d}.jpg').touch()
        if i:
            (images.parent / 'seqinfo.ini').write_text('[Sequence]\nseqLength=3\n')
    (tmp_path / 'test' / '.DS_Store').touch()
    (tmp_path / 'results').mkdir()
    for name in NAMES:
        (tmp_path / 'results' / f'{name}.txt').write_text(
            ROW + ROW.replace('1', '3', 1)
        )
    return tmp_path


def make(root, benchmark='dancetrack'):
    return make_submission(
        benchmark, root / 'results', root / 'test', root / 'out' / 'made.zip'
    )


@pytest.mark.parametrize(
    ('benchmark', 'folder'), [('dancetrack', 'tracker/'), ('sportsmot', '')]
)
def test_layout(folders, benchmark, folder):
    (folders / 'results' / 'notes.md').write_text('not a result')
    made = make(folders, benchmark)
    assert made.rows == dict.fromkeys(NAMES, 2)
    assert made.left_out == ['notes.md']
    with zipfile.ZipFile(made.path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f'{folder}{name}.txt' for name in NAMES]
        for name in NAMES:
            packed = archive.read(f'{folder}{name}.txt')
            assert packed == (folders / 'results' / f'{name}.txt').read_bytes()
    assert [path.name for path in made.path.parent.iterdir()] == ['made.zip']


def test_the_verb_packs_and_names_faults(folders, capsys):
    arguments = [
        *('submit', 'dancetrack', '--results', str(folders / 'results')),
        *('--data', str(folders / 'test'), '--out', str(folders / 'made.zip')),
    ]
    assert main(arguments) == 0
    assert '2 sequences, 4 rows' in capsys.readouterr().out
    (folders / 'made.zip').unlink()
    for name in NAMES:
        (folders / 'results' / f'{name}.txt').write_text('1,1,1\n')
    assert main(arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith('mmfdta submit: ') for line in lines)
    assert not (folders / 'made.zip').exists()


ODD = dict(
    mark=lambda data: b'\xef\xbb\xbf' + data,
    last=lambda data: data + b'\n',
    first=lambda data: b'\r\n' + data,
    between=lambda data: data.replace(b'\n', b'\n \t\n', 1),
    windows=lambda data: (data + b'\n').replace(b'\n', b'\r\n'),
)


@pytest.mark.parametrize('name', ODD)
def test_what_the_official_reader_refuses_is_not_packed(folders, capsys, name):
    read = MotChallenge2DBox._load_simple_text_file
    path = folders / 'results' / f'{NAMES[1]}.txt'
    rows = read(str(path))[0]
    path.write_bytes(ODD[name](path.read_bytes()))
    with pytest.raises(TrackEvalException):
        read(str(path))
    arguments = [
        *('submit', 'sportsmot', '--results', str(folders / 'results')),
        *('--data', str(folders / 'test'), '--out', str(folders / 'made.zip')),
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert f'official reader refuses: {NAMES[1]}\n' in said
    with zipfile.ZipFile(folders / 'made.zip') as archive:
        archive.extract(f'{NAMES[1]}.txt', folders / 'packed')
    assert read(str(folders / 'packed' / f'{NAMES[1]}.txt'))[0] == rows


@pytest.mark.parametrize(
    ('rows', 'said'),
    [
        ('2,1,1,1,5,5,1,2,-1,-1\n', 'found class 2, expected at most 1 in column 8'),
        ('1,-5,1,1,5,5,1,-1,-1,-1\n', 'found identity -5, expected 0 or more'),
        ('3,-1,1,1,5,5,1,-1,-1,-1\n', 'found identity -1, expected 0 or more'),
        ('2,0,1,1,5,5,1,-1,-1,-1\n', ''),
        ('2,1,1,1,5,5,1,1,-1,-1\n', ''),
    ],
)
def test_what_the_official_evaluation_ends_at_is_refused(folders, rows, said):
    path = folders / 'results' / f'{NAMES[0]}.txt'
    path.write_text(path.read_text() + rows)
    truth = folders / 'gt' / NAMES[0] / 'gt' / 'gt.txt'
    truth.parent.mkdir(parents=True)
    truth.write_text('1,1,10,10,20,20,1,1,1\n')
    official = MotChallenge2DBox(
        dict(
            GT_FOLDER=str(folders / 'gt'),
            TRACKERS_FOLDER=str(folders),
            TRACKERS_TO_EVAL=['results'],
            TRACKER_SUB_FOLDER='',
            SEQ_INFO={NAMES[0]: 3},
            SKIP_SPLIT_FOL=True,
            DO_PREPROC=False,
            PRINT_CONFIG=False,
        )
    )

    def read():
        raw = official.get_raw_seq_data('results', NAMES[0])
        return official.get_preprocessed_seq_data(raw, 'pedestrian')

    if not said:
        read()
        make(folders)
        return
    with pytest.raises((TrackEvalException, IndexError)):
        read()
    with pytest.raises(ValueError, match=said):
        make(folders)


def test_equal_results_give_equal_zips(folders):
    first = make(folders).path.read_bytes()
    assert make(folders).path.read_bytes() == first


def test_results_below_and_in_a_zip(folders):
    first = make(folders).path.read_bytes()
    (folders / 'run').mkdir()
    (folders / 'results').rename(folders / 'run' / 'tracker')
    again = folders / 'again.zip'
    for results in (folders / 'run', folders / 'out' / 'made.zip'):
        make_submission('dancetrack', results, folders / 'test', again)
        assert again.read_bytes() == first
    shutil.copytree(folders / 'run' / 'tracker', folders / 'run' / 'other')
    with pytest.raises(ValueError, match='results of 2 trackers'):
        make_submission('dancetrack', folders / 'run', folders / 'test', again)


FAULTS = {
    'too few columns': ('2,1,1,1,5,5,1\n', 'at least 10'),
    'not finite': ('2,1,nan,1,5,5,1,-1,-1,-1\n', 'finite'),
    'confidence not finite': ('2,1,1,1,5,5,inf,-1,-1,-1\n', 'finite'),
    'frame beyond': ('4,1,1,1,5,5,1,-1,-1,-1\n', 'has 3 frames'),
    'frame 0': ('0,1,1,1,5,5,1,-1,-1,-1\n', 'from 1'),
    'repeated identity': ('1,1,1,1,5,5,1,-1,-1,-1\n', 'identity 1 occurs again'),
    'no width': ('2,1,1,1,0,5,1,-1,-1,-1\n', 'width or height'),
}


@pytest.mark.parametrize('name', FAULTS)
def test_faults_are_named(folders, name):
    line, expected = FAULTS[name]
    path = folders / 'results' / f'{NAMES[1]}.txt'
    path.write_text(path.read_text() + line)
    with pytest.raises(ValueError, match=expected) as raised:
        make(folders)
    assert f'{path}:3: ' in str(raised.value)
    assert not (folders / 'out').exists()


def test_all_faulty_files_are_named(folders):
    for name in NAMES:
        (folders / 'results' / f'{name}.txt').write_text('')
    with pytest.raises(ValueError, match='empty') as raised:
        make(folders)
    assert all(name in str(raised.value) for name in NAMES)


def test_missing_results(folders):
    (folders / 'results' / f'{NAMES[0]}.txt').unlink()
    with pytest.raises(FileNotFoundError, match=rf'1 of 2 .*{NAMES[0]}'):
        make(folders)


def test_missing_folders(folders):
    with pytest.raises(ValueError, match='mot17'):
        make(folders, 'mot17')
    with pytest.raises(FileNotFoundError, match='no sequences'):
        make_submission(
            'sportsmot', folders / 'results', folders / 'results', folders / 'made.zip'
        )
    with pytest.raises(FileNotFoundError, match='nil'):
        make_submission(
            'sportsmot', folders / 'results', folders / 'nil', folders / 'made.zip'
        )
