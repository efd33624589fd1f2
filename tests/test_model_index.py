# Copyright (c) mmfdta authors.
"""`model-index.yml`: every config is listed, and MIM reads what is said about it."""

import re
from pathlib import Path

import pytest
import yaml
from mim.commands.search import convert2df, filter_by_conditions
from mmengine.config import Config
from modelindex.load_model_index import load
from modelindex.models.Model import Model
from modelindex.models.Result import Result

from mmfdta.checkpoints.published import PUBLISHED

ROOT = Path(__file__).resolve().parents[1]
INDEX = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
MODELS = {model['Name']: model for model in INDEX['Models']}
RATES = {'HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1'}
ORIGINS = {'published', 'measured'}


def test_every_config_is_listed_once_and_every_listed_config_exists():
    listed = [model['Config'] for model in INDEX['Models']]
    configs = {f'configs/{path.name}' for path in (ROOT / 'configs').glob('*.py')}
    assert sorted(listed) == sorted(configs)
    assert [Path(path).stem for path in listed] == list(MODELS)


def test_mim_finds_no_fault():
    index = load(str(ROOT / 'model-index.yml'))
    index.check(silent=False)
    for model in index.models:
        for part in (model, model.metadata, *(model.results or [])):
            # Weights are released by others, for the converter.
            faults = {f for f in part.check_errors if 'Weights' not in str(f)}
            assert not faults, (model.name, faults)


def test_mim_knows_no_other_fields():
    known = {*Model.COMMON_FIELDS, 'Name', 'In Collection', 'Config', 'Metadata'}
    for name, model in MODELS.items():
        assert set(model) <= known, name
        for result in model.get('Results', []):
            assert set(result) == set(Result.COMMON_FIELDS), name


def test_mim_search_shows_and_filters_the_models():
    table = convert2df(load(str(ROOT / 'model-index.yml')))
    assert set(table.index) == set(MODELS)
    row = table.loc['fdta_dancetrack']
    assert row['model'] == 'fdta'
    assert row['training_data'] == 'dancetrack'
    assert row['dancetrack-test/hota'] == 71.7
    found = filter_by_conditions(table, 'epochs>20')
    assert set(found.index) == {
        name
        for name, model in MODELS.items()
        if model['Metadata'].get('Epochs', 0) > 20
    }


@pytest.mark.parametrize('name', MODELS)
def test_figures_say_where_they_come_from(name):
    model = MODELS[name]
    metadata = model['Metadata']
    collections = {collection['Name'] for collection in INDEX['Collections']}
    assert model['In Collection'] in collections
    assert metadata['Training Data'] and metadata['Detector']
    results = model.get('Results', [])
    assert bool(results) == ('Origin of Results' in metadata)
    if not results:
        return
    assert metadata['Origin of Results'] in ORIGINS
    assert metadata['Source of Results']
    for result in results:
        assert set(result['Metrics']) <= RATES
        assert all(0 < value < 100 for value in result['Metrics'].values())


def test_published_scores_are_in_the_index():
    """They are those that `mmfdta test` compares with; the first of each config."""
    expected = {}
    for weights in PUBLISHED.values():
        for figure in weights.figures:
            if figure.config in MODELS and figure.origin != 'this project':
                expected.setdefault(figure.config, figure)
    published = {
        name: model['Results'][0]
        for name, model in MODELS.items()
        if model['Metadata'].get('Origin of Results') == 'published'
    }
    assert set(published) == set(expected)
    for name, figure in expected.items():
        assert published[name]['Metrics'] == figure.scores, name
        split = figure.split.replace(' ', '-')
        assert published[name]['Dataset'] == f'{figure.data}-{split}'
        assert MODELS[name]['Metadata']['Source of Results'] == figure.source


@pytest.mark.parametrize('name', MODELS)
def test_epochs_are_those_of_the_config(name):
    config = Config.fromfile(ROOT / MODELS[name]['Config'])
    epochs = (config.get('train_cfg') or {}).get('max_epochs')
    assert MODELS[name]['Metadata'].get('Epochs') == epochs


@pytest.mark.parametrize(
    'name',
    [
        name
        for name, model in MODELS.items()
        if re.match('(fdta|motip|motr)_', name)
        and model['Metadata'].get('Origin of Results') == 'published'
    ],
)
def test_the_config_names_the_published_hota(name):
    """Its first comment and the index were written apart."""
    comment = (ROOT / MODELS[name]['Config']).read_text().split('\n_base_')[0]
    hota = float(re.search(r'HOTA\s+(?:# )?([\d.]+)', comment).group(1))
    assert MODELS[name]['Results'][0]['Metrics']['HOTA'] == hota
