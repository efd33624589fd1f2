# Copyright (c) mmfdta authors.
"""Records of runs, and differences paired by seed."""

import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from scipy import stats

from mmfdta.minidance.records import (
    COLUMNS,
    Run,
    add_record,
    compare,
    mean_interval,
    read_records,
    summarise_seeds,
    write_tables,
)


def make_run(label='all', seed=0, hota=0.5, group='', settings='a', **more) -> Run:
    scores = dict.fromkeys(('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1'), hota)
    test = dict(scores, IDSW=10.0)
    return Run(label, group, seed, test, dict(test), settings=settings, **more)


def test_the_table_has_mean_and_deviation():
    values = dict(HOTA=[0.5, 0.6, 0.61], IDSW=[3, 5, 10])
    rows = {
        f'seed{i}': {c: values.get(c, [0.25] * 3)[i] for c in COLUMNS} for i in range(3)
    }
    line = summarise_seeds({'all': rows}).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    spread = statistics.stdev([50, 60, 61])
    assert cells[:3] == ['all', '3', f'57.0 ± {spread:.1f}']
    assert cells[7] == '6 ± 4'
    assert cells[8] == '25.0 ± 0.0'


def test_scores_of_an_earlier_version_have_no_column_for_val():
    rows = {'seed0': {c: 0.5 for c in COLUMNS if c != 'val'}}
    line = summarise_seeds({'all': rows}).splitlines()[-1]
    assert line.rstrip(' |').endswith('-')


def test_an_interval_is_that_of_the_t_distribution():
    """By hand: 1, 2, 3 have deviation 1, and t is 4.3027 with two degrees."""
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert high - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert 2 - low == pytest.approx(high - 2)
    assert mean_interval([0.5])[0] == 0.5
    assert all(map(math.isnan, mean_interval([0.5])[1:]))


@pytest.mark.parametrize('level', [0.9, 0.95, 0.99])
def test_an_interval_is_scipys(level):
    first = [0.776, 0.766, 0.739, 0.751, 0.780, 0.762]
    second = [0.749, 0.753, 0.797, 0.748, 0.771, 0.755]
    expected = stats.ttest_rel(first, second).confidence_interval(level)
    pairs = zip(first, second, strict=True)
    _, *ends = mean_interval([a - b for a, b in pairs], level)
    assert ends == pytest.approx([expected.low, expected.high])


def test_only_seeds_and_groups_that_match_are_paired():
    runs = [
        *(make_run('none', seed, 0.5 + 0.1 * seed) for seed in (0, 1, 2)),
        *(make_run('all', seed, 0.9) for seed in (1, 2, 3)),
        make_run('none', 1, 0.3, 'dino'),
        make_run('all', 1, 0.2, 'dino'),
        make_run('all', 1, 0.2, 'other'),
    ]
    found = {(d.name, d.score): d for d in compare(runs, 'none')}
    assert {name for name, _ in found} == {'all', 'dino, all'}
    assert {score for _, score in found} == {
        *('HOTA', 'DetA', 'AssA', 'IDF1', 'HOTA, val')
    }
    assert found['all', 'HOTA'].by_seed == pytest.approx({1: 0.3, 2: 0.2})
    assert found['all', 'HOTA, val'].mean == pytest.approx(0.25)
    assert found['dino, all', 'AssA'].by_seed == pytest.approx({1: -0.1})


def test_tables_say_means_intervals_and_pairs(tmp_path):
    runs = [make_run('none', seed, 0.5) for seed in (0, 1, 2)]
    runs += [make_run('all', s, h) for s, h in enumerate((0.51, 0.52, 0.53))]
    runs += [make_run('SA', 0, 0.45)]
    write_tables(tmp_path, runs, 'none')
    lines = (tmp_path / 'differences.md').read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert rows[2][:4] == ['all', 'none', '3', '+2.0 [-0.5, +4.5]']
    assert rows[2][-1] == 'no'
    assert rows[3] == ['SA', 'none', '1', *['-5.0'] * 5, '-']
    facts = json.loads((tmp_path / 'differences.json').read_text())
    alone = next(fact for fact in facts if fact['name'] == 'SA')
    assert alone['low'] is None and alone['mean'] == pytest.approx(-0.05)
    assert (tmp_path / 'differences.csv').read_text().count('\n') == 11
    assert (tmp_path / 'differences.png').stat().st_size > 1000
    # Nothing to compare with: no table of other runs stays.
    write_tables(tmp_path, runs[3:], 'none')
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *('ablation.csv', 'ablation.json', 'ablation.md')
    ]


def test_a_file_keeps_one_run_of_a_kind_and_all_others(tmp_path):
    path = tmp_path / 'docs' / 'records.json'
    add_record(path, make_run(hota=0.4))
    add_record(path, make_run(settings='b', hota=0.6))
    add_record(path, make_run(seed=1, choices=dict(adapters='all')))
    last = make_run(hota=0.5, machine=dict(threads=1), seconds=dict(fdta=3.5))
    found = add_record(path, last)
    assert found == read_records(path) and len(found) == 3
    assert last in found and make_run(settings='b', hota=0.6) in found


def test_what_holds_no_records_is_named(tmp_path):
    assert read_records(tmp_path / 'new.json') == []
    for text in ('[', '{}', '{"runs": [{"name": 1}]}'):
        (tmp_path / 'r.json').write_text(text)
        with pytest.raises(ValueError, match='r.json: cannot be read .* expected what'):
            read_records(tmp_path / 'r.json')


def test_processes_add_to_one_file_at_a_time(tmp_path):
    """None of their runs is lost."""
    code = (
        'import sys; sys.path.insert(0, sys.argv[3]); import test_records as t; '
        'from pathlib import Path; '
        'start = int(sys.argv[2]); '
        '[t.add_record(Path(sys.argv[1]), t.make_run(seed=i)) '
        'for i in range(start, start + 25)]'
    )
    path = tmp_path / 'r.json'
    here = str(Path(__file__).parent)
    jobs = [
        subprocess.Popen([sys.executable, '-c', code, str(path), str(start), here])
        for start in (0, 100, 200)
    ]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    seeds = {run.seed for run in read_records(path)}
    assert seeds == {i + s for i in range(25) for s in (0, 100, 200)}
