# Copyright (c) mmfdta authors.
"""The command that scores folders of text, and how it names what is wrong."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mmfdta.cli.main import main
from mmfdta.evaluation import scores as scores_module
from mmfdta.evaluation.folders import find_sequences
from mmfdta.structures.mot_text import read_tracks

from .oracle import STYLES, official_combined, official_sequence, random_scene
from .test_benchmarks import write

SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'MOTP', 'IDF1', 'IDSW', 'Frag')


@pytest.fixture
def folders(tmp_path):
    """Two sequences in the layout of MOTChallenge."""
    sequences = [random_scene(seed, STYLES[3], f'v_-{seed}') for seed in (41, 44)]
    for sequence in sequences:
        assert len(sequence.gt) and len(sequence.pred)
        write(tmp_path, sequence)
    return tmp_path, sequences


def run(root, *arguments) -> int:
    return main(
        [
            'evaluate',
            '--gt',
            str(root / 'gt'),
            '--results',
            str(root / 'results'),
            *arguments,
        ]
    )


def official(sequences) -> dict:
    merged = {}
    for scores in official_combined([official_sequence(s) for s in sequences]):
        merged |= scores
    return {name: float(np.mean(merged[name])) for name in SCORES}


@pytest.mark.parametrize('processes', ['1', '2'])
def test_scores_are_kept(folders, capsys, processes):
    root, sequences = folders
    assert run(root, '--out', str(root / 'scores'), '--processes', processes) == 0
    expected = official(sequences)
    with open(root / 'scores' / 'scores.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['sequence'] for row in rows] == ['v_-41', 'v_-44', 'COMBINED']
    document = json.loads((root / 'scores' / 'scores.json').read_text())
    combined = document['classes']['all']['COMBINED']
    for name in SCORES:
        assert float(rows[-1][name]) == pytest.approx(expected[name], abs=1e-9)
        assert combined[name] == pytest.approx(expected[name], abs=1e-9)
    assert np.mean(combined['curves']['HOTA']) == pytest.approx(expected['HOTA'])
    assert len(document['alphas']) == 19
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table] == [
        *('sequence', 'v_-41', 'v_-44', 'COMBINED')
    ]
    header, last = table[0].split(), table[-1].split()
    assert header == ['sequence', 'HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1', 'IDSW']
    assert float(last[header.index('HOTA')]) == pytest.approx(
        100 * expected['HOTA'], abs=6e-4
    )


def test_all_columns_are_printed_when_asked_for(folders, capsys):
    root, sequences = folders
    assert run(root, '--all-columns') == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert len(table[0]) == len(table[-1]) == 21
    expected = official(sequences)
    shown = dict(zip(table[0][1:], table[-1][1:], strict=True))
    assert float(shown['MOTP']) == pytest.approx(100 * expected['MOTP'], abs=6e-4)
    assert int(shown['Frag']) == expected['Frag']


def test_scoring_needs_no_pytorch(folders):
    root, _ = folders
    arguments = ['evaluate', '--gt', f'{root}/gt', '--results', f'{root}/results']
    code = (
        'import sys; from mmfdta.cli.main import main; '
        f'assert main({arguments + ["--out", str(root / "scores")]!r}) == 0; '
        'loaded = {"torch", "mmengine", "mmcv", "mmdet"} & set(sys.modules); '
        'assert not loaded, loaded'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], check=True, capture_output=True, text=True
    )
    assert 'COMBINED' in done.stdout and (root / 'scores' / 'scores.csv').is_file()


def test_a_process_that_dies_is_one_line(folders, capsys, monkeypatch):
    root, _ = folders
    monkeypatch.setattr(scores_module, 'count_sequence', lambda *_: os._exit(9))
    assert 'fewer processes' in fault(root, capsys, '--processes', '2')


def test_flat_ground_truth(folders, capsys):
    root, sequences = folders
    flat = root / 'flat'
    flat.mkdir()
    for sequence in sequences:
        text = (root / 'gt' / sequence.name / 'gt' / 'gt.txt').read_text()
        (flat / f'{sequence.name}.txt').write_text(text.replace('\n', '\r\n'))
    out = root / 'flat.json'
    code = main(
        [
            'evaluate',
            '--gt',
            str(flat),
            '--results',
            str(root / 'results'),
            '--out',
            str(out),
        ]
    )
    assert code == 0
    combined = json.loads(out.read_text())['classes']['all']['COMBINED']
    for name, value in official(sequences).items():
        assert combined[name] == pytest.approx(value, abs=1e-9)


def test_classes(tmp_path, capsys):
    gt = '1,1,0,0,9,9,1,1\n1,2,50,0,9,9,1,3\n'
    (tmp_path / 'gt').mkdir()
    (tmp_path / 'results').mkdir()
    (tmp_path / 'gt' / 's.txt').write_text(gt)
    (tmp_path / 'results' / 's.txt').write_text(gt.replace('50', '500'))
    out = tmp_path / 's.json'
    assert run(tmp_path, '--classes', 'person=1', 'car=3', '--out', str(out)) == 0
    document = json.loads(out.read_text())
    hota = {name: of['COMBINED']['HOTA'] for name, of in document['classes'].items()}
    assert hota == {'person': 1.0, 'car': 0.0}
    assert document['mean of classes']['HOTA'] == 0.5


def fault(root, capsys, *arguments) -> str:
    assert run(root, *arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ''
    return captured.err


FAULTS = {
    'too few columns': ('1,2,3,4', 'columns'),
    'text': ('1,2,a,4,5,6,1,-1,-1,-1', "'a' for x"),
    'not a number': ('1,2,nan,4,5,6,1,-1,-1,-1', 'finite'),
    'infinite': ('1,2,3,4,inf,6,1,-1,-1,-1', 'finite'),
    'frame 0': ('0,2,3,4,5,6,1,-1,-1,-1', 'found frame 0'),
    'frame beyond': ('99,2,3,4,5,6,1,-1,-1,-1', 'found frame 99, but the sequence'),
    'broken identity': ('1,2.5,3,4,5,6,1,-1,-1,-1', 'whole number'),
    'repeated identity': ('1,777,3,4,5,6,1,-1,-1,-1\n' * 2, 'identity 777'),
}


@pytest.mark.parametrize('name', FAULTS)
@pytest.mark.parametrize('side', ['results', 'gt'])
def test_bad_line_is_named(folders, capsys, name, side):
    root, sequences = folders
    path = root / 'results' / 'v_-44.txt'
    if side == 'gt':
        path = root / 'gt' / 'v_-44' / 'gt' / 'gt.txt'
    line, expected = FAULTS[name]
    text = path.read_text() + line.rstrip('\n') + '\n'
    path.write_text(text)
    message = fault(root, capsys)
    assert f'{path}:{text.count(chr(10))}: ' in message
    assert expected in message


def test_missing_result(folders, capsys):
    root, _ = folders
    (root / 'results' / 'v_-44.txt').unlink()
    message = fault(root, capsys)
    assert '1 of 2 sequences' in message and 'v_-44.txt' in message
    assert run(root, '--sequences', 'v_-41') == 0


def test_missing_folders(folders, capsys, tmp_path):
    root, _ = folders
    assert main(['evaluate', '--gt', str(root / 'nil'), '--results', str(root)]) == 1
    assert 'nil: no such folder' in capsys.readouterr().err
    assert main(['evaluate', '--gt', str(root / 'gt'), '--results', str(root)]) == 0
    assert f'read from {root / "results"}' in capsys.readouterr().err
    (root / 'empty').mkdir()
    assert main(['evaluate', '--gt', str(root / 'empty'), '--results', str(root)]) == 1
    assert '<sequence>/gt/gt.txt' in capsys.readouterr().err
    message = fault(root, capsys, '--sequences', 'other')
    assert 'no ground truth of other' in message


def test_results_without_ground_truth_are_told(folders, capsys):
    root, _ = folders
    (root / 'results' / 'extra.txt').write_text('')
    assert run(root) == 0
    captured = capsys.readouterr()
    assert 'extra' in captured.err and 'extra' not in captured.out


def test_class_column_is_asked_for(folders, capsys):
    root, _ = folders
    path = root / 'gt' / 'v_-41' / 'gt' / 'gt.txt'
    path.write_text('1,1,0,0,9,9\n')
    assert 'at least 8' in fault(root, capsys, '--benchmark', 'mot17')


def test_bad_length(folders, capsys):
    root, _ = folders
    ini = root / 'gt' / 'v_-41' / 'seqinfo.ini'
    ini.write_text('[Sequence]\nseqLength=many\n')
    assert str(ini) in fault(root, capsys)


def test_bad_arguments(folders, capsys):
    root, _ = folders
    with pytest.raises(SystemExit) as stop:
        run(root, '--benchmark', 'mot99')
    assert stop.value.code == 2
    assert run(root, '--classes', 'car') == 1
    assert 'NAME=NUMBER' in capsys.readouterr().err
    assert run(root, '--out', str(root / 'scores.xls')) == 1


def test_rows_without_area_count_as_errors(tmp_path):
    path = tmp_path / 's.txt'
    path.write_text('1,1,0,0,9,9,1\n1,2,5,5,0,9,1\n1,3,7,7,9,9,1\n2,2,5,5,9,-1,0.5\n')
    tracks = read_tracks(path)
    assert tracks.identity.tolist() == [1, 2, 3, 2]
    assert tracks.xywh[3].tolist() == [5, 5, 9, -1]
    assert tracks.score.tolist() == [1, 1, 1, 0.5]


def test_length_from_images(tmp_path):
    images = tmp_path / 'gt' / 's' / 'img1'
    images.mkdir(parents=True)
    (tmp_path / 'gt' / 's' / 'gt').mkdir()
    (tmp_path / 'gt' / 's' / 'gt' / 'gt.txt').write_text('')
    (tmp_path / 'results').mkdir()
    (tmp_path / 'results' / 's.txt').write_text('')
    for name in ('000001.jpg', '000002.jpg', '.DS_Store'):
        (images / name).touch()
    (files,), _ = find_sequences(tmp_path / 'gt', tmp_path / 'results')
    assert files.num_frames == 2
    assert files.load().num_frames == 2
