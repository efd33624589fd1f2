# Copyright (c) mmfdta authors.
"""Settings that the benchmark chooses on val, against `mmfdta tune` run by itself."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmfdta.apis.analysis.tune_thresholds import Tuner
from mmfdta.apis.config import find_config
from mmfdta.cli.main import main

BYTE, SORT = 'bytetrack_fdta-det_mini', 'sort_fdta-det_mini'


@pytest.fixture
def sort(arena):
    """A function: an entry with SORT, its threshold, and what is tried instead."""

    def make(name: str, threshold: float, others: list[float]) -> str:
        path = arena.folder / f'{name}.py'
        path.write_text(
            f"_base_ = ['{find_config(SORT)}']\n"
            f'model = dict(tracker=dict(obj_score_thr={threshold}))\n'
            f'search = dict(obj_score_thr={others})\n'
        )
        return f'{name}:{path}={arena.weights}'

    return make


@pytest.fixture
def trials(monkeypatch):
    """Settings that were tracked."""
    made = []
    make = Tuner._make

    def count(tuner, setting):
        made.append(dict(setting))
        return make(tuner, setting)

    monkeypatch.setattr(Tuner, '_make', count)
    return made


def read(arena) -> dict:
    return json.loads((arena.folder / 'out/benchmark.json').read_text())


def rows_of(table: str) -> dict[str, list[str]]:
    """Cells of a Markdown table by those of the first column."""
    lines = [line.strip('|').split('|') for line in table.splitlines()[2:]]
    return {name.strip(): [cell.strip() for cell in cells] for name, *cells in lines}


def test_the_search_is_that_of_the_other_command(arena, in_process, detected, trials):
    word = f'{BYTE}={arena.weights}'
    assert arena.run(word, '--tune', '5', '--tune-seed', '2') == 0
    # Two sequences of test and one of val, each looked at once.
    assert detected == ['minidance0000', 'minidance0001', 'minidance0000']
    assert len(trials) == 5
    out, alone = arena.folder / 'out', arena.folder / 'alone'
    arguments = [BYTE, str(arena.weights), '--out', str(alone), '--device', 'cpu']
    arguments += ['--detections', str(out / 'detections')]
    arguments += ['--search', 'random', '--trials', '5', '--seed', '2']
    assert main(['tune', *arguments, '--cfg-options', *arena.options()]) == 0
    assert len(detected) == 3 and len(trials) == 10
    rows = json.loads((alone / 'thresholds.json').read_text())
    best = max(rows, key=lambda row: row['HOTA'])
    assert best['HOTA'] > rows[0]['HOTA']
    found = read(arena)['tuning'][BYTE]
    assert found['trials'] == 5
    for row, side in ((rows[0], 'published'), (best, 'tuned')):
        assert found[side] == {name: row[name] for name in found[side]}
        assert {'HOTA', 'AssA', 'IDSW'} <= set(found[side])
    names = set(trials[0])
    assert found['setting'] == {n: best[n] for n in names if best[n] != rows[0][n]}
    # The second row is that of the setting, named by hand.
    changes = [f'model.tracker.{n}={value}' for n, value in found['setting'].items()]
    assert arena.run(f'hand:{word}', '--cfg-options-for', 'hand', *changes) == 0
    assert arena.tracks('hand') == arena.tracks(f'{BYTE}__tuned_')
    assert arena.tracks('hand') != arena.tracks(BYTE)
    assert len(detected) == 3


def test_rows_say_what_was_found(arena, in_process, sort, capsys):
    good, bad = 0.2, 0.9999
    entries = [sort('deaf', bad, [good]), sort('right', good, [bad])]
    text = arena.folder / 'text'
    assert arena.run(sort('plain', good, [good])) == 0
    (arena.folder / 'out/runs/plain/tracks').rename(text)
    entries += [f'text={text}', 'motr_mini']
    capsys.readouterr()
    assert arena.run(*entries, '--tune', '2', '--allow-random-weights') == 0
    said = capsys.readouterr().out
    (line,) = [row for row in said.splitlines() if row.startswith('not tuned')]
    assert 'text: results' in line and 'motr_mini: MOTR does not' in line
    assert in_process[1:] == ['deaf', 'deaf (tuned)', 'right', 'motr_mini']
    document = read(arena)
    names = [tracker['name'] for tracker in document['trackers']]
    assert names == ['deaf', 'deaf (tuned)', 'right', 'text', 'motr_mini']
    scores = [tracker['scores']['HOTA'] for tracker in document['trackers']]
    assert scores[0] == 0 < scores[1] == scores[2] == scores[3]
    assert set(document['tuning']) == {'deaf', 'right'}
    assert document['tuning']['deaf']['setting'] == dict(obj_score_thr=good)
    assert document['tuning']['right']['setting'] == {}
    tables = (arena.folder / 'out/benchmark.md').read_text().split('\n\n')
    scored, tuned = map(rows_of, tables[:2])
    assert list(scored)[:3] == ['deaf', 'deaf (tuned)', 'right (published is best)']
    hota = f'{100 * document["tuning"]["right"]["tuned"]["HOTA"]:.1f}'
    assert tuned['deaf'] == ['0.0', hota, '2', 'obj_score_thr=0.2']
    assert tuned['right'] == [hota, hota, '2', 'published is best']
    assert tuned['text'] == tuned['motr_mini'] == ['-'] * 4
    assert 'deaf (tuned)' not in tuned


def test_pages_show_what_the_benchmark_shows(arena, in_process, sort):
    """The record of a run, against the tables that the run has written."""
    path = Path(__file__).resolve().parents[3] / 'docs' / 'make_tables.py'
    make_tables = SimpleNamespace(**runpy.run_path(str(path)))
    entries = [sort('deaf', 0.9999, [0.2]), sort('right', 0.2, [0.9999])]
    assert arena.run(*entries, '--tune', '2') == 0
    record = make_tables.make_record(read(arena), 'mini', 3, 'by hand')
    text = json.dumps(record)
    assert str(arena.folder) not in text and str(arena.data.parent) not in text
    assert record['data'].startswith('data (test), 2 sequences, 16 frames')
    first = record['trackers'][0]
    assert first['config'] == 'deaf' and len(first['weights']['model']) == 64
    assert record['machine']['threads'] == 1 and 'torch' in record['machine']
    written = (arena.folder / 'out/benchmark.md').read_text().split('\n\n')
    scores, _, _, costs = map(rows_of, written[:4])
    found = make_tables.RecordSet('mini', [record])
    made = rows_of(make_tables.score_table(found))
    assert made['right'] == scores['right (published is best)']
    assert made['deaf (tuned)'] == scores['deaf (tuned)']
    made = rows_of(make_tables.cost_table(found))
    assert made == {name: costs[name] for name in ('deaf', 'right')}
    other = rows_of(make_tables.difference_table(found))['right']
    assert other == rows_of(written[2])['right']
    lines = make_tables.tuned_table(found).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert [row[:2] for row in cells] == [
        ['deaf', 'config'],
        ['deaf', 'tuned'],
        ['right', 'config, best of the trials'],
    ]
    assert cells[1][3:] == scores['deaf (tuned)']


def test_an_interrupted_search_goes_on(arena, in_process, detected, monkeypatch):
    made = []
    make = Tuner._make

    def die(tuner, setting):
        made.append(setting)
        if len(made) == 3:
            raise KeyboardInterrupt
        return make(tuner, setting)

    monkeypatch.setattr(Tuner, '_make', die)
    arguments = (f'{BYTE}={arena.weights}', '--tune', '4')
    assert arena.run(*arguments) == 130
    assert arena.run(*arguments) == 0
    # Two settings are kept, the third is made anew.
    assert len(made) == 3 + 2 and made[3] == made[2]
    assert read(arena)['tuning'][BYTE]['trials'] == 4
    before = list(in_process)
    assert arena.run(*arguments) == 0
    assert len(made) == 5 and in_process == before and len(detected) == 3


def test_settings_are_not_chosen_on_what_is_reported(arena, in_process, sort, capsys):
    word = sort('plain', 0.5, [0.6])
    path = arena.folder / 'same.py'
    path.write_text(
        f"_base_ = ['{find_config(SORT)}']\n"
        "val_dataloader = dict(dataset=dict(split='test'))\n"
    )
    random = ('motr_mini', '--allow-random-weights')
    for arguments, expected in (
        ([word, '--data', 'val', '--tune', '2'], '--tune: found --data val'),
        ([word, '--tune', '1'], 'found 1, expected at least 2'),
        ([f'{path}={arena.weights}', '--tune', '2'], 'share 16 images'),
        ([word, word.replace('plain', 'plain (tuned)', 1), '--tune', '2'], 'called'),
        ([*random, '--tune', '2'], 'no entry has settings to search (motr_mini: MOTR'),
    ):
        assert arena.run(*arguments) == 1
        assert expected in capsys.readouterr().err
    assert in_process == []


def test_a_setting_reaches_into_a_gallery_and_into_what_the_config_leaves_out():
    """A row is tracked with what was tried, where a config names a part of it."""
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    from mmfdta.apis.analysis.tune_thresholds import build_tracker, with_setting

    init_default_scope('mmdet')
    inside = Config(dict(t=dict(type='ByteTracker', num_frames_retain=7))).t
    cfg = Config(dict(t=dict(type='GalleryTracker', tracker=inside, threshold=0.7))).t
    present = MODELS.build(cfg)
    setting = {'threshold': 0.5, 'tracker.match_iou_thrs.low': 0.2}
    changed = with_setting(present, cfg, setting)
    assert cfg.threshold == 0.7 and 'match_iou_thrs' not in inside
    built = MODELS.build(Config(dict(t=changed)).t)
    tried = build_tracker(present, cfg, setting)
    for tracker in (built, tried):
        assert tracker.gallery.threshold == 0.5
        assert tracker.tracker.match_iou_thrs == {
            **present.tracker.match_iou_thrs,
            'low': 0.2,
        }
        assert tracker.tracker.num_frames_retain == 7
