# Copyright (c) mmfdta authors.
"""Scores of a test beside those that are published for its weights."""

import dataclasses
import json
import shlex
import shutil
import zipfile

import pytest
from small_minidance import OPTIONS, SIZE

from mmfdta.apis import reproduction
from mmfdta.apis.config import load_config
from mmfdta.apis.reproduction import (
    FinishedRun,
    Recognised,
    compare_with_published,
    deciding_settings,
    describe,
    recognise_weights,
)
from mmfdta.apis.weights import find_checkpoint
from mmfdta.checkpoints.published import PUBLISHED, TOLERANCE, PublishedScores
from mmfdta.cli.main import main
from mmfdta.minidance import MiniDanceOptions, make_minidance
from mmfdta.structures.benchmarks import BENCHMARKS

MOTIP = PUBLISHED['motip-dancetrack']
ON_VAL = next(f for f in MOTIP.figures if f.split == 'val')


def run_of(scores, split='val', config='motip_dancetrack', options=None, **changes):
    settings = deciding_settings(load_config(config, options))
    run = FinishedRun(
        Recognised(MOTIP, '0' * 64, 'SHA-256'),
        config,
        settings,
        BENCHMARKS['dancetrack'],
        split,
        25,
        25,
        scores,
    )
    return dataclasses.replace(run, **changes)


def test_scores_within_the_tolerance_are_those_published():
    for sign in (-1, 1):
        edge = {k: v + sign * TOLERANCE[k] for k, v in ON_VAL.scores.items()}
        found = compare_with_published(run_of(edge))
        assert found.verdict == 'equal' and found.figure is ON_VAL
        assert [row.metric for row in found.rows] == list(ON_VAL.scores)


@pytest.mark.parametrize('metric', TOLERANCE)
def test_one_score_outside_of_it_is_named(metric):
    scores = {name: value - 1e-4 for name, value in ON_VAL.scores.items()}
    scores[metric] -= TOLERANCE[metric] + 0.01
    run = run_of(scores)
    found = compare_with_published(run)
    assert found.verdict == 'different'
    assert f'tolerance: {metric}.' in found.reason
    text = describe(found, run)
    assert '-0.00' not in text
    assert ON_VAL.source in text and 'mmfdta env' in text and '0' * 64 in text


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'model.tracker.det_thr': 0.9}, 'model.tracker.det_thr (0.3 there, 0.9 here)'),
        ({'precision': 'bf16'}, "precision ('fp32' there, 'bf16' here)"),
        (
            {'test_dataloader.dataset.sequences': ['dancetrack0004']},
            "test_dataloader.dataset.sequences.0 (None there, 'dancetrack0004' here)",
        ),
        (
            {'test_evaluator.benchmark': 'mot17'},
            "test_evaluator.0.benchmark (None there, 'mot17' here)",
        ),
        (
            {'test_dataloader.dataset.pipeline.0.transforms.1.short': 640},
            'pipeline.0.transforms.1.short (800 there, 640 here)',
        ),
    ],
)
def test_settings_that_decide_are_named_and_nothing_is_judged(options, said):
    for scores in (ON_VAL.scores, dict.fromkeys(ON_VAL.scores, 1.0)):
        run = run_of(scores, options=options)
        found = compare_with_published(run)
        assert found.verdict == 'not compared'
        assert len(found.changed) == 1 and said in found.reason
        assert len(found.rows) == 5
        assert 'To report' not in describe(found, run)


def test_settings_that_decide_nothing_may_be_others():
    options = {
        'test_dataloader.dataset.data_root': 'elsewhere',
        'test_dataloader.num_workers': 0,
        'inference_batch_size': 4,
        'compile_detector': True,
        'train_cfg.max_epochs': 3,
        'test_evaluator.out_dir': 'tracks',
    }
    run = run_of(ON_VAL.scores, options=options)
    assert compare_with_published(run).verdict == 'equal'


def test_embeddings_that_are_kept_change_nothing():
    """They are settings of the detections; ByteTrack looks at none."""
    weights = PUBLISHED['yolox-x-mot17']
    figure = weights.figures[0]
    config = load_config(figure.config)
    config.model.embeddings = dict(type='PooledEmbeddings')
    run = FinishedRun(
        Recognised(weights, '', ''),
        figure.config,
        deciding_settings(config),
        BENCHMARKS['mot17'],
        'second halves',
        7,
        7,
        {**figure.scores, 'HOTA': 1.0},
    )
    found = compare_with_published(run)
    assert found.verdict == 'equal'
    # The page states these two alone; OC-SORT's figure is of the same data and weights.
    assert [row.metric for row in found.rows] == ['MOTA', 'IDF1']


def test_a_part_of_the_sequences_is_not_judged():
    found = compare_with_published(run_of(ON_VAL.scores, num_sequences=24))
    assert found.verdict == 'not compared'
    assert '24 sequences were scored and DanceTrack val has 25' in found.reason


def test_a_split_or_config_without_a_figure_lists_those_with_one():
    found = compare_with_published(run_of(ON_VAL.scores, 'train'))
    assert (found.verdict, found.rows) == ('no figure', ())
    assert 'DanceTrack test (HOTA 69.6' in found.reason
    assert 'DanceTrack val (HOTA 64.07' in found.reason
    run = run_of(ON_VAL.scores, config='fdta_dancetrack')
    found = compare_with_published(run)
    assert found.verdict == 'no figure'
    assert 'on DanceTrack val with fdta_dancetrack' in describe(found, run)


def test_a_copy_of_the_config_is_as_good():
    run = run_of(ON_VAL.scores, config='motip_dancetrack')
    assert compare_with_published(dataclasses.replace(run, config='mine')).verdict == (
        'equal'
    )


def test_a_hidden_split_shows_what_to_expect_of_the_server():
    run = run_of({}, 'test', num_sequences=35, num_expected=35)
    found = compare_with_published(run)
    assert (found.verdict, found.rows) == ('not scored', ())
    text = describe(found, run)
    assert 'HOTA 69.6, DetA 80.4, AssA 60.4' in text
    assert 'https://www.codabench.org' in text


def test_files_are_recognised_by_their_hash_or_by_a_name_without_one(tmp_path):
    ours = find_checkpoint('minidance')
    copy = tmp_path / 'any.pth'
    shutil.copyfile(ours, copy)
    for path in (ours, copy):
        found = recognise_weights(path)
        assert (found.weights.name, found.by) == ('minidance', 'its SHA-256')
    # FDTA's publisher calls the file dancetrack.pth, and states no hash.
    for name in ('dancetrack.pth', 'fdta_dancetrack_released.pth'):
        (tmp_path / name).write_bytes(b'weights')
        found = recognise_weights(tmp_path / name)
        assert (found.weights.name, found.by) == ('dancetrack', 'its name')
    # A name whose hash is known says nothing about another content.
    for name in ('fdta_mini.pth', PUBLISHED['yolox-tiny'].file, 'epoch_13.pth'):
        (tmp_path / name).write_bytes(b'weights')
        assert recognise_weights(tmp_path / name) is None


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small MiniDance, and a config of it."""
    make_minidance(tmp_path / 'data/minidance', MiniDanceOptions(**SIZE), 1)
    pairs = [option.rpartition('=') for option in OPTIONS]
    config = load_config('fdta_mini', {key: eval(value) for key, _, value in pairs})
    config.dump(tmp_path / 'small.py')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_command(folder, capsys, *arguments):
    """Run the command; what it says from the comparison on, its JSON, its scores."""
    shutil.rmtree(folder / 'out', ignore_errors=True)
    assert main(['test', *arguments, '--work-dir', str(folder / 'out')]) == 0
    shown = capsys.readouterr()
    (log_dir,) = (path.parent for path in (folder / 'out').glob('*/*.log'))
    said = (shown.out + shown.err).partition('Published scores')[2]
    kept = log_dir / 'published.json'
    (scores,) = log_dir.glob('2*.json')
    return (
        said,
        json.loads(kept.read_text()) if kept.exists() else None,
        json.loads(scores.read_text().splitlines()[-1]),
    )


def test_the_command_compares(small, monkeypatch, capsys):
    def publish(scores):
        figure = PublishedScores(
            'MiniDance', 'test', scores, 'a page', str(small / 'small.py')
        )
        weights = dataclasses.replace(PUBLISHED['minidance'], figures=(figure,))
        monkeypatch.setattr(reproduction, 'PUBLISHED', {'minidance': weights})
        monkeypatch.setattr(reproduction, 'SEQUENCES', {('MiniDance', 'test'): 2})

    # Another size of the data than that of the package's figure.
    said, kept, scores = run_command(
        small, capsys, 'fdta_mini', 'minidance', '--cfg-options', *OPTIONS
    )
    assert kept['verdict'] == 'not compared' and kept['weights'] == 'minidance'
    assert 'test_dataloader.dataset.options.train (None there, 1 here)' in said
    here = {row['metric']: row['here'] for row in kept['rows']}
    assert here == {name: 100 * scores[f'mot/{name}'] for name in TOLERANCE}

    publish({name: round(value, 2) for name, value in here.items()})
    weights = small / 'copy.pth'
    shutil.copyfile(find_checkpoint('minidance'), weights)
    said, kept, _ = run_command(small, capsys, 'small.py', str(weights))
    assert kept['verdict'] == 'equal' and all(row['within'] for row in kept['rows'])
    assert 'All within the tolerance' in said and kept['sha256'] in said
    assert f'{here["HOTA"]:.2f}' in said

    publish({**here, 'AssA': here['AssA'] + 1})
    options = ['--cfg-options', 'test_dataloader.dataset.split=val']
    said, kept, _ = run_command(small, capsys, 'small.py', str(weights), *options)
    assert kept['verdict'] == 'no figure' and kept['rows'] == []
    assert 'MiniDance test (HOTA' in said
    said, kept, _ = run_command(small, capsys, 'small.py', str(weights))
    assert kept['verdict'] == 'different' and 'tolerance: AssA.' in said
    assert [r['metric'] for r in kept['rows'] if not r['within']] == ['AssA']


def test_results_of_a_hidden_split_are_packed_as_the_command_says(
    small, monkeypatch, capsys
):
    for path in (small / 'data/minidance/test').glob('*/gt'):
        shutil.rmtree(path)
    config = load_config(str(small / 'small.py'))
    config.test_dataloader.dataset.type = 'DanceTrackDataset'
    del config.test_dataloader.dataset['options']
    config.dump(small / 'hidden.py')
    figure = PublishedScores(
        'DanceTrack', 'test', {'HOTA': 69.6}, 'a page', str(small / 'hidden.py')
    )
    weights = dataclasses.replace(PUBLISHED['minidance'], figures=(figure,))
    monkeypatch.setattr(reproduction, 'PUBLISHED', {'minidance': weights})
    shutil.rmtree(small / 'out', ignore_errors=True)
    assert main(['test', 'hidden.py', 'minidance', '--work-dir', 'out']) == 0
    said = capsys.readouterr().out
    (kept,) = (small / 'out').glob('*/published.json')
    assert json.loads(kept.read_text())['verdict'] == 'not scored'
    assert 'HOTA 69.6' in said and figure.server in said
    command = shlex.split(said.partition('To pack them: mmfdta ')[2].splitlines()[0])
    assert main(command) == 0
    with zipfile.ZipFile('hidden.zip') as packed:
        assert sorted(packed.namelist()) == [
            f'tracker/minidance000{i}.txt' for i in range(2)
        ]


def test_nothing_is_said_of_weights_that_nobody_has_published(
    small, monkeypatch, capsys
):
    monkeypatch.setattr(reproduction, 'PUBLISHED', {})
    said, kept, scores = run_command(small, capsys, 'small.py', 'minidance')
    assert (said, kept) == ('', None) and 'mot/HOTA' in scores
