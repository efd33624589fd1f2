# Copyright (c) mmfdta authors.
"""`mmfdta diagnose` as a user calls it: files, figures, comparison, refusals."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
from PIL import Image

from mmfdta.apis.config import read_config
from mmfdta.apis.sequence_loop import SequenceLoop
from mmfdta.cli.main import main

SHAPE = dict(frames=16, train=0, val=2, test=0, min_dancers=4)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Folder, and a call of the command on data that the first call renders."""
    folder = tmp_path_factory.mktemp('diagnose')
    data = {f'options.{name}': value for name, value in SHAPE.items()}
    data['data_root'] = folder / 'data'
    options = [f'val_dataloader.dataset.{k}={v}' for k, v in data.items()]

    def call(config, *arguments, out='out', more=()):
        return main(
            [
                *('diagnose', config, *map(str, arguments), '--device=cpu'),
                *(f'--out={folder / out}', f'--detections={folder / "found"}'),
                *('--batch-size=8', '--cfg-options', *options, *more),
            ]
        )

    assert call('fdta_mini', 'minidance', '--threshold-steps=1') == 0
    assert call('bytetrack_fdta-det_mini', 'minidance', out='byte') == 0
    return SimpleNamespace(folder=folder, call=call)


def content_of(runs, out='out'):
    return json.loads((runs.folder / out / 'diagnosis.json').read_text())


@pytest.mark.parametrize('out', ['out', 'byte'])
def test_the_parts_agree_with_each_other(runs, out):
    content = content_of(runs, out)
    scores = content['bounds']['scores']
    own = scores['tracker']
    assert own['HOTA'] > 0.5  # it is a trained model
    # Every threshold's trial at the config's value is the tracker as it is.
    for name, effect in content['thresholds'].items():
        trials = {trial['value']: trial for trial in effect['trials']}
        at = trials[effect['value']]
        assert at['HOTA'] == pytest.approx(own['HOTA'], abs=1e-9), name
        assert at['IDSW'] == own['IDSW']
        best = max(trial['HOTA'] for trial in effect['trials'])
        assert effect['gain'] == pytest.approx(best - own['HOTA'], abs=1e-9)
    assert scores['true_identities']['IDSW'] == 0
    assert scores['true_identities']['HOTA'] >= own['HOTA']
    assert scores['true_association']['HOTA'] >= scores['true_identities']['HOTA']
    # All true boxes are tracked, but for those without an embedding.
    boxes = content['data']['boxes']
    kept = boxes - content['bounds']['without_embedding']
    assert content['bounds']['objects'] == boxes
    true = scores['true_boxes']
    assert true['MOTA'] == pytest.approx((kept - true['IDSW']) / boxes)
    if out == 'byte':
        assert kept == boxes


def test_the_page_shows_what_was_found(runs):
    folder, content = runs.folder / 'out', content_of(runs)
    page = (folder / 'diagnosis.md').read_text()
    for target in re.findall(r'!\[[^]]+\]\(([^)]+)\)', page):
        with Image.open(folder / target) as picture:
            assert min(picture.size) > 200
    own = content['bounds']['scores']['tracker']
    assert f'HOTA {100 * own["HOTA"]:.1f}, {own["IDSW"]} identity switches' in page
    for name in content['thresholds']:
        assert f'| `{name}` ' in page


def test_a_run_stands_beside_another_and_detects_nothing_again(
    runs, capsys, monkeypatch
):
    def refuse(*args):
        raise AssertionError('the detector must not run again')

    monkeypatch.setattr(SequenceLoop, '_find', refuse)
    other = runs.folder / 'out' / 'diagnosis.json'
    capsys.readouterr()
    assert (
        runs.call(
            *('bytetrack_fdta-det_mini', 'minidance', '--threshold-steps=0'),
            *('--compare', other),
            out='beside',
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert content_of(runs, 'beside')['thresholds'] is None
    rows = [content_of(runs, out)['bounds']['scores'] for out in ('byte', 'out')]
    numbers = [f'{100 * row["true_boxes"]["HOTA"]:.1f}' for row in rows]
    for text in (printed, (runs.folder / 'beside' / 'diagnosis.md').read_text()):
        (line,) = re.findall(r'\| HOTA, ground-truth boxes .*', text)
        assert re.findall(r'[\d.]+', line) == numbers


def test_json_is_all_that_is_printed(runs, capsys):
    arguments = ['--threshold-steps=0', '--sequences', '*1', '--json']
    capsys.readouterr()
    assert runs.call('fdta_mini', 'minidance', *arguments, out='json') == 0
    content = json.loads(capsys.readouterr().out)
    assert content == content_of(runs, 'json')
    assert content['gradients'] is None
    assert list(content['data']['sequences'].values()) == [SHAPE['frames']]


def test_gradients_are_those_of_the_training_data(runs):
    arguments = ['--threshold-steps=0', '--sequences', '*1', '--gradients=1']
    data = {f'options.{name}': value for name, value in SHAPE.items()}
    data |= {'options.train': 1, 'options.val': 0, 'data_root': runs.folder / 'clips'}
    more = [f'train_dataloader.dataset.{k}={v}' for k, v in data.items()]
    out = 'gradients'
    assert runs.call('fdta_mini', 'minidance', *arguments, out=out, more=more) == 0
    gradients = content_of(runs, 'gradients')['gradients']
    assert gradients['clips'] == 1
    assert {'detector', 'backbone', 'encoder', 'decoder'} < gradients['parts'].keys()
    page = (runs.folder / 'gradients' / 'diagnosis.md').read_text()
    of = gradients['parts']['decoder']
    cells = [f'{of[k][n]:.2f}' for k in of for n in ('share', 'cosine')]
    (line,) = re.findall(r'\| decoder +\|.*', page)
    assert re.findall(r'-?[\d.]+', line) == cells
    assert '0.00' not in cells[::2]
    assert 'Who moves' in page
    assert 'Who moves' not in (runs.folder / 'out' / 'diagnosis.md').read_text()


def test_what_cannot_be_diagnosed_is_said_in_a_line(runs, capsys, tmp_path):
    (tmp_path / 'other.json').write_text('{"format": 0}')
    silent = runs.folder / 'silent'
    shutil.copytree(runs.folder / 'data', silent)
    for path in silent.rglob('gt.txt'):
        path.unlink()
    whole = runs.folder / 'out' / 'diagnosis.json'
    random = '--allow-random-weights'
    for arguments, expected in (
        (['fdta_mini', random], 'no detection with a score above'),
        (['deformable_detr_mini', random], 'expected a tracker'),
        (['motip_mini', 'minidance'], 'unknown'),
        (['sort_fdta-det_mini', 'minidance', '--gradients=1'], 'found none'),
        (['fdta_mini', 'minidance', '--sequences', 'x*'], "sequences=['x*'] are not"),
        (['fdta_mini', 'minidance', '--split', 'train'], 'train'),
        (
            ['fdta_mini', 'minidance', '--compare', tmp_path / 'other.json'],
            'found format 0',
        ),
        (
            [
                *('fdta_mini', 'minidance', '--threshold-steps=0'),
                *('--sequences', '*0', '--compare', whole),
            ],
            'diagnose both on the same data',
        ),
    ):
        capsys.readouterr()
        assert runs.call(*arguments, out='none') == 1, arguments
        check_last_line(capsys, expected)
    config = read_config('fdta_mini')
    dataset = config.val_dataloader.dataset
    del dataset['options']
    dataset.update(type='DanceTrackDataset', data_root=str(silent))
    config.dump(tmp_path / 'silent.py')
    arguments = [str(tmp_path / 'silent.py'), 'minidance', f'--out={tmp_path}']
    assert main(['diagnose', *arguments]) == 1
    check_last_line(capsys, 'has no ground truth')


def test_what_is_compared_is_not_written_over(runs, capsys, tmp_path, monkeypatch):
    """Neither in a folder that is named, nor in that of the config's name."""
    kept = runs.folder / 'out' / 'diagnosis.json'
    usual = tmp_path / 'work_dirs' / 'diagnose' / 'fdta_mini'
    shutil.copytree(runs.folder / 'out', usual)
    monkeypatch.chdir(tmp_path)
    before = kept.read_bytes()
    for out, compared in (('out', kept), ('out', kept.parent), (None, usual)):
        capsys.readouterr()
        words = ['fdta_mini', 'minidance', '--compare', str(compared)]
        words += [] if out is None else ['--out', str(runs.folder / out)]
        assert main(['diagnose', *words]) == 1
        check_last_line(capsys, 'name another folder with --out')
    assert kept.read_bytes() == before == (usual / 'diagnosis.json').read_bytes()


def check_last_line(capsys, expected):
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith('mmfdta diagnose: '), said
    assert expected in said, said
