# Copyright (c) mmfdta authors.
"""Figures on the pages, against the records, and against means made by hand."""

import dataclasses
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pages import ROOT

from mmfdta.minidance.records import Run, add_record

SCRIPT = ROOT / 'docs' / 'make_tables.py'


@pytest.fixture(scope='module')
def tables():
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)))


def scores(hota: float, idsw: int) -> dict:
    return dict(HOTA=hota, AssA=hota / 2, IDSW=idsw)


def record(seed: int, a: float, b: float, better: float | None) -> dict:
    """Two trackers; the second one was searched, with this HOTA on val."""
    trackers = [
        dict(name='A', config='a_mini', scores=scores(a, 10 * seed)),
        dict(name='B', config='b_mini', scores=scores(b, 7)),
    ]
    published = dict(HOTA=0.4)
    tuning = dict(published=published, tuned=published)
    if better is not None:
        tuning['tuned'] = dict(HOTA=better)
        trackers.append(dict(name='B (tuned)', scores=scores(b + 0.1, 5)))
    difference = dict(overall=b - a, low=b - a - 0.1, high=b - a + 0.1)
    differences = dict(B=dict(HOTA=difference, DetA=difference, AssA=difference))
    differences['B']['better_in'] = [seed, 10]
    return dict(
        set='two',
        seed=seed,
        source='by hand',
        reference='A',
        trackers=trackers,
        differences=differences,
        tuning=dict(B=tuning),
    )


@pytest.fixture
def checkout(tmp_path):
    """A page, an index and the records of seeds 1, 3 and 5."""
    folder = tmp_path / 'docs' / 'records'
    folder.mkdir(parents=True)
    (tmp_path / 'docs' / 'assets').mkdir()
    runs = ((1, 0.5, 0.3, 0.6), (3, 0.6, 0.2, None), (5, 0.7, 0.4, 0.5))
    for seed, a, b, better in runs:
        text = json.dumps(record(seed, a, b, better))
        (folder / f'two-seed{seed}.json').write_text(text)
    (tmp_path / 'docs' / 'assets' / 'ablation.csv').write_text(
        'adapters,iterations,seed,HOTA,IDSW\n'
        + ''.join(
            f'{name},100,{seed},{hota},{seed}\n'
            for seed in (0, 1)
            for name, hota in {
                'none': 50 + seed,
                **dict.fromkeys(('SA', 'TA', 'IA', 'SA+TA', 'TA+IA'), 60),
                'all': 40,
            }.items()
        )
    )
    (tmp_path / 'README.md').write_text(
        'A <!-- figure: two / A / HOTA -->1<!-- end --> and\n\n'
        '<!-- table: tuned two --><!-- end -->\n'
    )
    (tmp_path / 'docs' / 'page.md').write_text(
        '<!-- table: differences two -->old<!-- end -->\n'
        '<!-- table: steps ablation-100 --><!-- end -->\n'
    )
    (tmp_path / 'model-index.yml').write_text(
        'Models:\n'
        '  - Name: a_mini\n    Origin of Results: measured\n'
        '    Dataset: MiniDance-test\n    Metrics: {HOTA: 1.0}\n'
        '  - Name: other\n    Origin of Results: published\n'
        '    Dataset: MiniDance-test\n    Metrics: {HOTA: 2.0}\n'
    )
    return tmp_path


def cells(text: str, name: str) -> list[list[str]]:
    rows = [line.strip('|').split('|') for line in text.splitlines()]
    rows = [[cell.strip() for cell in row] for row in rows]
    return [row[1:] for row in rows if row[0] == name]


def test_pages_index_and_plots_are_up_to_date():
    run = subprocess.run(
        [sys.executable, str(SCRIPT), '--check'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_figures_are_those_made_by_hand(checkout, tables, monkeypatch):
    monkeypatch.setitem(tables.INDEX, 'MiniDance-test', ('two',))
    names = ['README.md', 'docs/page.md', 'model-index.yml']
    assert tables.compare(checkout, write=False) == names
    assert 'HOTA -->1<!--' in (checkout / 'README.md').read_text()
    assert tables.compare(checkout, write=True) == names
    assert tables.compare(checkout, write=False) == []
    page = (checkout / 'README.md').read_text()
    # 50, 60, 70 and 10, 30, 50 switches: the deviations are 10 and 20.
    assert 'A <!-- figure: two / A / HOTA -->60.0 ± 10.0<!-- end --> and' in page
    row = ['config', '3', '-', '60.0 ± 10.0', '30.0 ± 5.0', '30 ± 20']
    assert cells(page, 'A') == [row]
    # 30, 20, 40; tuned 40, 20, 50, as nothing was better in the second seed, with
    # 60, 40, 50 on val; deviations of 15.28 and 10; 5, 7 and 5 switches.
    assert cells(page, 'B') == [
        ['config', '3', '40.0 ± 0.0', '30.0 ± 10.0', '15.0 ± 5.0', '7 ± 0'],
        ['tuned', '3', '50.0 ± 10.0', '36.7 ± 15.3', '18.3 ± 7.6', '6 ± 1'],
    ]
    page = (checkout / 'docs' / 'page.md').read_text()
    # -20, -40 and -30, better in 1, 3 and 5 of 10 sequences.
    assert cells(page, 'B') == [['3', *['-30.0 ± 10.0'] * 3, '9/30']]
    assert cells(page, 'SA') == [['+0.8', '+9.5', '+10.0', '+9.0']]
    assert cells(page, 'all') == [['+2.3', '-10.5', '-10.0', '-11.0']]
    index = (checkout / 'model-index.yml').read_text()
    assert 'Metrics: {HOTA: 60.0, AssA: 30.0}' in index
    assert 'Metrics: {HOTA: 2.0}' in index


def test_one_seed_has_an_interval_and_no_deviation(checkout, tables):
    for seed in (3, 5):
        (checkout / 'docs' / 'records' / f'two-seed{seed}.json').unlink()
    found = tables.read_records(checkout / 'docs' / 'records')['two']
    assert cells(tables.tuned_table(found), 'B') == [
        ['config', '40.0', '30.0', '15.0', '7'],
        ['tuned', '60.0', '40.0', '20.0', '5'],
    ]
    made = tables.difference_table(found)
    assert cells(made, 'B') == [['-20.0 [-30.0, -10.0]'] * 3 + ['1/10']]


def test_a_table_can_have_some_of_the_trackers(checkout, tables):
    sets = tables.read_records(checkout / 'docs' / 'records')
    page = tables.write_page('<!-- table: tuned two of B, A --><!-- end -->', sets)
    rows = [line.strip('|').split('|')[0].strip() for line in page.splitlines()[4:-2]]
    assert rows == ['B', 'B', 'A']
    page = tables.write_page('<!-- table: scores two of A --><!-- end -->', sets)
    assert cells(page, 'A') == [['3', '60.0 ± 10.0', '30.0 ± 5.0', '30 ± 20']]
    assert '| B' not in page
    page = tables.write_page('<!-- table: differences two of A --><!-- end -->', sets)
    assert '| B' not in page


def test_the_overview_has_published_and_measured_scores(checkout, tables, monkeypatch):
    sets = tables.read_records(checkout / 'docs' / 'records')
    found = tables.OverviewRow('A', 'words', 'a', ('dancetrack', 'fdta_dancetrack'), '')
    rows = (
        found._replace(record=('two', 'A')),
        found._replace(tracker='B', published=None, record=('two', 'B')),
    )
    of_script = tables.overview_table.__globals__
    monkeypatch.setitem(of_script, 'OVERVIEW', rows)
    made = tables.overview_table(sets['two'])
    # 71.7 is what FDTA's authors state for DanceTrack's test split.
    page = 'https://github.com/Spongebobbbbbbbb/FDTA/blob/main/README.md'
    published = f'[71.7]({page})'
    # Scores do not break in the narrow columns of the README.
    assert '60.0\xa0±\xa010.0' in made and ' ± ' not in made
    made = made.replace('\xa0', ' ')
    assert cells(made, 'A: words') == [[published, '60.0 ± 10.0', '-', '`a`']]
    assert cells(made, 'B: words') == [['-', '30.0 ± 10.0', '36.7 ± 15.3', '`a`']]
    monkeypatch.setitem(of_script, 'OVERVIEW', (found._replace(record=('x', 'A')),))
    with pytest.raises(ValueError, match='found no record of A in x'):
        tables.overview_table(sets['two'])


def test_a_summary_is_shown_as_it_is(tables):
    row = dict(name='A', scores=dict(HOTA=[0.76, 0.019, 3], IDSW=[87, 21, 3]))
    found = tables.RecordSet('sum', [dict(trackers=[row])])
    assert cells(tables.score_table(found), 'A') == [['3', '76.0 ± 1.9', '87 ± 21']]


def test_runs_of_the_ablation_are_sets_by_group(tmp_path, tables):
    def run(label, group, seed, hota):
        similar = dict(different=0.01, same=0.3)
        scores = dict(test=dict(HOTA=hota, IDSW=4), val=dict(HOTA=0.5, DetA=0.6))
        return dict(label=label, group=group, seed=seed, similar=similar, **scores)

    runs = [run('none', '', seed, hota) for seed, hota in ((0, 0.5), (1, 0.7))]
    runs += [run('all', '', 0, 0.4), run('none', 'dino, long', 1, 0.9)]
    path = tmp_path / 'adapters.json'
    path.write_text(json.dumps(dict(runs=runs)))
    sets = tables.read_records(tmp_path)
    assert list(sets) == ['adapters', 'adapters-dino-long']
    made = tables.score_table(sets['adapters'])
    spread = ['60.0 ± 14.1', '4 ± 0', '1.0 ± 0.0', '30.0 ± 0.0', '50.0 ± 0.0']
    assert cells(made, 'none') == [['2', *spread]]
    assert cells(made, 'all') == [['1', '40.0', '4', '1.0', '30.0', '50.0']]
    made = tables.score_table(sets['adapters-dino-long'])
    assert cells(made, 'none') == [['90.0', '4', '1.0', '30.0', '50.0']]
    path.write_text(json.dumps(dict(runs=[*runs, runs[0]])))
    with pytest.raises(ValueError, match='two runs of none, seed 0'):
        tables.read_records(tmp_path)


def study_run(label: str, seed: int, hota: float, **choices):
    scores = dict.fromkeys(('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1'), hota)
    default = dict(detector='deformable-detr', sharing='default', spatial='released')
    adapters, _, spatial = label.partition(', ')
    default |= dict(adapters=adapters, **(dict(spatial=spatial) if spatial else {}))
    facts = dict(test=scores | dict(IDSW=3), val=dict(HOTA=hota - 0.1))
    return Run(
        label, choices.pop('group', ''), seed, choices=default | choices, **facts
    )


def test_the_study_shows_recorded_runs_by_seed_in_their_parts(tables):
    none = [study_run('none', seed, 0.70 + seed / 100) for seed in (0, 1, 2)]
    # 2 and 4 better than the same seed's; t of one degree of freedom is 12.706.
    gate = [study_run('all, gate', 1, 0.73), study_run('all, gate', 2, 0.76)]
    runs = [*gate, *none, study_run('TA+IA', 1, 0.74)]
    made = tables.study_tables(runs, 'seeds')
    scores, differences = made.split('\n\n')
    assert [line.split()[1] for line in scores.splitlines()[2:]] == [
        *('none', 'TA+IA', 'all,')
    ]
    assert cells(scores, 'none')[0][:2] == ['3', '71.0 ± 1.0']
    wide = '+3.0 [-9.7, +15.7]'
    assert cells(differences, 'all, gate') == [['none', '2', *[wide] * 5, 'no']]
    assert cells(differences, 'TA+IA') == [['none', '1', *['+3.0'] * 5, '-']]
    made = tables.study_differences(runs, 'depth')
    assert cells(made, 'all, gate') == [['TA+IA', '1', *['-1.0'] * 5, '-']]
    assert 'none' not in made
    assert tables.study_tables(runs, 'lengths') == 'No run of this part is recorded.'
    long = study_run('none', 0, 0.8, group='5200 iterations', iterations=5200)
    crossed = study_run('all', 0, 0.8, group='crossings', condition='crossings')
    other = study_run('all', 0, 0.8, group='dino', detector='dino')
    for part, run in (('lengths', long), ('conditions', crossed)):
        made = tables.study_tables([*runs, long, crossed, other], part)
        assert len(cells(made, run.name)) == 1 and 'No seed has runs of both' in made


def test_runs_on_other_numbers_of_sequences_are_not_mixed(tmp_path, tables):
    path = tmp_path / 'adapters.json'
    for number in (0, 1):
        run = study_run('none', number, 0.7)
        add_record(path, dataclasses.replace(run, sequences=50 * number or None))
        if not number:
            assert len(tables.read_study(path)) == 1
    with pytest.raises(ValueError, match='adapters.json: found .* on 0 and 50 seq'):
        tables.read_study(path)


def test_the_study_says_which_intervals_exclude_zero(tables):
    runs = [study_run('none', seed, 0.7) for seed in range(6)]
    assert 'no interval' in tables.study_verdict(
        [*runs, study_run('IA', 0, 1)], 'seeds'
    )
    # Differences of -4 and -5; then of about 3 with six seeds.
    runs += [study_run('IA', 0, 0.66), study_run('IA', 1, 0.65)]
    runs += [study_run('TA', 0, 0.75), study_run('TA', 1, 0.74)]
    said = tables.study_verdict(runs, 'seeds', 'depth')
    assert said.startswith('Of the 2 comparisons with at least two seeds')
    none_fresh = 'No comparison has 6 fresh seeds.'
    assert 'zero in none' in said and said.endswith(none_fresh)
    runs += [study_run('all', seed, 0.725 + seed / 500) for seed in range(6)]
    said = tables.study_verdict(runs, 'seeds')
    assert 'zero in 1: `all` against `none` (+3.0, 6 seeds).' in said
    # Seeds 0 to 3 were there when a variant was chosen.
    assert said.endswith(none_fresh)
    for seed in range(4, 10):
        hota = 0.725 + (seed - 4) / 500
        runs += [study_run('none', seed, 0.7), study_run('IA', seed, hota)]
    said = tables.study_verdict(runs, 'seeds')
    named = 'With at least 6 fresh seeds (comparisons: 1), it excludes zero in 1: '
    assert said.endswith(f'{named}`IA` against `none` (+3.0, 6 seeds).')


def test_the_plot_of_pets_has_a_tracker_once_in_each_colour(tables):
    def found(set_name, **trackers):
        rows = [
            dict(name=name, scores=dict(HOTA=0.5, DetA=x, AssA=0.4))
            for name, x in trackers.items()
        ]
        return tables.RecordSet(set_name, [dict(trackers=rows)])

    first = found('pets', SORT=0.6, Byte=0.65), found('boxes', Byte=0.1, Boxes=0.62)
    plot = tables.make_pets_plot([first, [found('trained', SORT=0.3)]])
    (axis,) = plot.axes
    names = [text.get_text() for text in axis.texts if 'HOTA' not in text.get_text()]
    points = [line for line in axis.lines if line.get_marker() == 'o']
    known = {
        (name, line.get_xdata()[0], line.get_color())
        for name, line in zip(names, points, strict=True)
    }
    here, other = points[0].get_color(), points[-1].get_color()
    assert here != other
    assert known == {
        ('SORT', 60, here),
        ('Byte', 65, here),
        ('Boxes', 62, here),
        ('SORT', 30, other),
    }


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('<!-- table: scores none --><!-- end -->', 'page.md, line 2: .*sets two'),
        ('<!-- table: best two --><!-- end -->', "found 'best two', expected one of"),
        ('<!-- table: scores two of A, C --><!-- end -->', "found 'C', .* two: A, B"),
        ('<!-- figure: two / C / HOTA --><!-- end -->', 'SET / TRACKER / METRIC'),
        ('<!-- figure: two / A / IDF1 --><!-- end -->', 'SET / TRACKER / METRIC'),
        ('<!-- study: tables best --><!-- end -->', 'line 2: .*and of the parts seeds'),
        ('<!-- table: scores two -->', 'found 1 comments .* 0 times'),
    ],
)
def test_what_a_page_cannot_have_is_named(checkout, tables, text, expected):
    sets = tables.read_records(checkout / 'docs' / 'records')
    with pytest.raises(ValueError, match=expected):
        tables.write_page(f'# Title\n{text}\n', sets, 'page.md')


def test_a_diagnosis_is_a_table_of_bounds_and_one_of_causes(tmp_path, tables):
    scores = dict(HOTA=0.25, DetA=0.5, IDSW=12)
    document = dict(
        bounds=dict(scores=dict(tracker=scores, true_boxes=dict(scores, HOTA=0.75))),
        switches=dict(causes=dict(came_back=3, took_other=9)),
    )
    made = tables.make_diagnosis_records(document, 'why', 0, 'by hand')
    (tmp_path / 'why.json').write_text(json.dumps(made))
    sets = tables.read_records(tmp_path)
    bounds = tables.write_block('table', 'scores why', sets)
    assert cells(bounds, 'as tracked') == [['25.0', '50.0', '12']]
    assert cells(bounds, 'ground-truth boxes') == [['75.0', '50.0', '12']]
    causes = tables.write_block('table', 'scores why-causes', sets)
    rows = [line.split('|')[1:3] for line in causes.strip().splitlines()[2:]]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["took another object's word", '9'],
        ['back to an earlier identity', '3'],
    ]
    assert tables.write_block('figure', 'why / as tracked / HOTA', sets) == '25.0'


def test_minutes_of_a_training_are_those_of_its_log(tmp_path, tables):
    def write(folder: str, *lines: dict) -> Path:
        path = tmp_path / folder / 'vis_data' / 'scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text('\n'.join(map(json.dumps, lines)))
        return path

    def at(step: int, time: float) -> dict:
        return dict(step=step, time=time, loss=1.0)

    val = dict(step=100, time=9.0)
    # 50 iterations of 2 s and 50 of 1 s; and, from a checkpoint on, 100 of 4 s.
    files = [
        write('b/2', at(150, 4.0), at(200, 4.0)),
        write('a/1', at(50, 2.0), at(100, 1.0), val),
    ]
    assert tables.training_seconds(files) == [150.0, 400.0]
    with pytest.raises(ValueError, match='no time of an iteration'):
        tables.training_seconds([write('c/1', val)])


def test_records_that_cannot_be_read_are_named(checkout, tables):
    folder = checkout / 'docs' / 'records'
    shutil.copy(folder / 'two-seed3.json', folder / 'copy.json')
    with pytest.raises(ValueError, match='another record of two, seed 3; delete one'):
        tables.read_records(folder)
    (folder / 'copy.json').write_text('{"set": "two", "seed": 9}')
    with pytest.raises(ValueError, match="copy.json: found no 'source'"):
        tables.read_records(folder)
    with pytest.raises(ValueError, match="no 'machine', expected benchmark.json"):
        tables.make_record(dict(trackers=[]), 'two', 0, 'by hand')
    text = '  - Name: b\n    Origin of Results: measured\n    Dataset: X\n'
    with pytest.raises(ValueError, match='found no record of b on X'):
        tables.write_index(text, {})
