# Copyright (c) mmfdta authors.
"""The page of the model zoo, against published weights, records and models."""

import json
import re
import statistics
import subprocess
import sys

import pytest
import yaml
from mmdet.registry import MODELS
from mmengine.config import Config
from pages import ROOT

from mmfdta.apis.weights import not_published
from mmfdta.checkpoints.published import PUBLISHED, TOLERANCE

PAGE = (ROOT / 'docs' / 'model_zoo.md').read_text(encoding='utf-8')
INDEX = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
MODELS_OF_INDEX = {model['Name']: model for model in INDEX['Models']}


def tables() -> dict[str, list[list[dict[str, str]]]]:
    """The tables of each section: rows as cells by the title of their column."""
    found = {}
    for section in re.split(r'^## ', PAGE, flags=re.M)[1:]:
        title, *blocks = re.split(r'\n\n', section)
        found[title] = []
        for block in blocks:
            if block.startswith('|'):
                head, _, *rows = [
                    [cell.strip() for cell in line.strip().strip('|').split('|')]
                    for line in block.strip().splitlines()
                ]
                found[title].append([dict(zip(head, r, strict=True)) for r in rows])
    return found


def target(cell: str) -> str:
    return re.search(r'\]\((.+)\)|$', cell)[1] or ''


def rows_of_records(pattern: str) -> list[dict]:
    """Trackers of the records of some files; those of several seeds follow."""
    paths = sorted((ROOT / 'docs' / 'records').glob(pattern))
    assert paths
    contents = [json.loads(path.read_text()) for path in paths]
    # A diagnosis is two records.
    records = [r for c in contents for r in (c if isinstance(c, list) else [c])]
    return [row for record in records for row in record['trackers']]


def test_the_pages_are_up_to_date():
    """In a process of its own: tests register classes of theirs."""
    script = ROOT / 'docs' / 'make_model_zoo.py'
    command = [sys.executable, '-W', 'ignore', str(script), '--check']
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (run.returncode, run.stdout) == (0, ''), run.stdout + run.stderr


def test_published_scores_are_the_facts():
    left = {
        (name, figure.data, figure.split, figure.config): figure
        for name, weights in PUBLISHED.items()
        for figure in weights.figures
    }
    missing = {(n, split) for n, w in PUBLISHED.items() for split in not_published(w)}
    for title in dict.fromkeys(key[1] for key in left):
        for row in tables()[title][0]:
            name = row['weights'].strip('`')
            if not name:
                continue
            of_coco = title == 'COCO'
            split = 'val' if of_coco else re.sub(r'\[(.+)\].*', r'\1', row['split'])
            if row['stated by'] == 'not published':
                missing.remove((name, f'{title} {split}'))
                continue
            config = row["MMDetection's config" if of_coco else 'config']
            config = re.search(r'`(.+?)`|$', config)[1] or ''
            figure = left.pop((name, title, split, config))
            metrics = ['box AP'] if of_coco else TOLERANCE
            shown = {m: float(row[m]) for m in metrics if row[m]}
            assert shown == figure.scores, name
            if '://' in figure.source:
                assert target(row['stated by']) == figure.source
            else:
                assert row['stated by'] == 'measured'
            assert of_coco or target(row['split']) == figure.server
    assert not left and not missing


@pytest.mark.parametrize(
    'title, pattern',
    [
        ('MiniDance', 'minidance-seed*.json'),
        ('PETS09-S2L1', 'pets-trained-seed*.json'),
    ],
)
def test_measured_scores_are_the_means_of_the_records(title, pattern):
    by_config = {}
    for row in rows_of_records(pattern):
        if not row['name'].endswith(' (tuned)'):
            by_config.setdefault(row['config'], []).append(row)
    shown = {r['config']: r for r in tables()[title][0] if 'seeds' in r['stated by']}
    models = {r['config'].split('`')[1]: r for r in tables()[title][1]}
    for config, rows in by_config.items():
        row = shown[f'`{config}`']
        assert row['stated by'] == f'measured, {len(rows)} seeds'
        for metric in TOLERANCE:
            values = [100 * r['scores'][metric] for r in rows]
            mean, spread = statistics.fmean(values), statistics.stdev(values)
            assert row[metric] == f'{mean:.1f} ± {spread:.1f}', (config, metric)
        peak = max(r['peak_memory'] for r in rows) / 2**20
        assert float(models[config]['memory MB']) == pytest.approx(peak, abs=0.5)


def test_every_config_is_in_one_table_with_a_link_to_its_file():
    listed = {}
    for section in tables().values():
        for table in section:
            for row in table:
                if 'params M' in row:
                    name = row['config'].split('`')[1]
                    assert name not in listed
                    listed[name] = row
    assert set(listed) == set(MODELS_OF_INDEX)
    for name, row in listed.items():
        model = MODELS_OF_INDEX[name]
        assert (ROOT / 'docs' / target(row['config'])).samefile(ROOT / model['Config'])
        millions = model['Metadata']['Parameters'] / 1e6
        assert float(row['params M']) == pytest.approx(millions, abs=0.00501)
        assert row['trained on'] == model['Metadata']['Training Data']


def test_every_config_that_trains_has_a_command():
    commands = re.findall(r'^mmfdta train (\S+)', PAGE.partition('\n## ')[2], re.M)
    trains = [
        name
        for name, model in MODELS_OF_INDEX.items()
        if Config.fromfile(ROOT / model['Config']).get('train_dataloader') is not None
    ]
    assert sorted(commands) == sorted(trains)


def test_parameters_are_those_that_the_benchmark_counted():
    """It counts them in the models that it ran."""
    rows = rows_of_records('minidance-seed*.json')
    rows += rows_of_records('pets-trained-seed*.json')
    rows += rows_of_records('pets-boxes-seed*.json')
    for row in rows:
        counted = row['cost']['parameters']
        assert MODELS_OF_INDEX[row['config']]['Metadata']['Parameters'] == counted


@pytest.mark.parametrize('name', ['fdta_dancetrack', 'motr_mini', 'boxes_dancetrack'])
def test_parameters_are_those_of_the_model(name):
    model = MODELS.build(Config.fromfile(ROOT / 'configs' / f'{name}.py').model)
    count = sum(value.numel() for value in model.parameters())
    assert MODELS_OF_INDEX[name]['Metadata']['Parameters'] == count


def test_files_on_the_page_are_the_facts():
    (rows,) = tables()['Weights']
    assert [row['weights'].strip('`') for row in rows] == list(PUBLISHED)
    for row, weights in zip(rows, PUBLISHED.values(), strict=True):
        assert target(row['address']) == (weights.address or weights.page)
        can_fetch = bool(weights.address or weights.part_of_package)
        command = f'`mmfdta weights {weights.name}`'
        assert row['fetch'] == (command if can_fetch else '-')
        assert weights.licence in row['licence']
        digest = row['SHA-256'].strip('`')
        assert digest.startswith(weights.sha256_prefix)
        assert len(digest) in (len(weights.sha256_prefix), 64)
        assert bool(row['size']) == (weights.size is not None)
    # The file in the package is here.
    path = ROOT / 'mmfdta' / PUBLISHED['minidance'].part_of_package
    known = json.loads(path.with_suffix('.json').read_text())['sha256']
    assert f'`{known}`' in [row['SHA-256'] for row in rows]


def test_all_weights_that_the_records_name_were_trained_or_fetched():
    (rows,) = tables()['What was trained here']
    trained = re.findall('[0-9a-f]{8}', ' '.join(r['SHA-256 begins'] for r in rows))
    fetched = [row['SHA-256'].strip('`')[:8] for row in tables()['Weights'][0]]
    assert len(set(trained)) == len(trained)
    in_records = {
        digest[:8]
        for pattern in ('minidance-seed*.json', 'pets-*seed*.json')
        for row in rows_of_records(pattern)
        for digest in row.get('weights', {}).values()
    }
    assert in_records <= {*trained, *fetched}
    assert set(trained) <= in_records


def test_minutes_are_those_of_trainings_like_the_config():
    """Not those on other data or of a detector with depth."""
    runs = json.loads((ROOT / 'docs' / 'records' / 'adapters.json').read_text())['runs']
    alike = [run for run in runs if not run['group']]
    plain = [run for run in alike if run['choices']['spatial'] != 'from-start']
    assert len(plain) < len(alike) < len(runs)
    (rows,) = tables()['What was trained here']
    for config, record, seconds in (
        (
            '`deformable_detr_mini`',
            '`detectors`',
            [r['seconds']['detector'] for r in plain],
        ),
        (
            '`fdta-depth-attention_mini`, none',
            '`adapters`',
            [r['seconds']['fdta'] for r in plain if r['label'] == 'none'],
        ),
    ):
        (row,) = (r for r in rows if (r['config'], r['record']) == (config, record))
        assert row['minutes'] == f'{min(seconds) / 60:.0f} to {max(seconds) / 60:.0f}'
