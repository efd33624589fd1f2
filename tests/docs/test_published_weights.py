# Copyright (c) mmfdta authors.
"""The page of published scores, and the form that reports ask for."""

import re
import runpy

import yaml
from pages import ROOT

from mmfdta.apis.weights import not_published
from mmfdta.checkpoints.published import PUBLISHED, TOLERANCE
from mmfdta.cli.main import main

PAGE = (ROOT / 'docs' / 'published_weights.md').read_text(encoding='utf-8')
FORM = ROOT / '.github' / 'ISSUE_TEMPLATE' / 'reproduction.yml'


def tables():
    """The tables of the page by section: rows as cells by the title of their column."""
    found = {}
    for section in re.split(r'^## ', PAGE, flags=re.M)[1:]:
        lines = [x for x in section.splitlines() if x.startswith('|')]
        if not lines:
            continue
        head, _, *rows = [[c.strip() for c in x.strip('|').split('|')] for x in lines]
        title = section.partition('\n')[0]
        found[title] = [dict(zip(head, row, strict=True)) for row in rows]
    return found


def target(cell):
    return re.search(r'\]\((.+)\)|$', cell)[1] or cell.strip('`')


def test_the_page_is_up_to_date():
    made = runpy.run_path(str(ROOT / 'docs' / 'make_published_weights.py'))
    assert made['build_page']() == PAGE, 'run: python docs/make_published_weights.py'


def test_scores_on_the_page_are_the_facts():
    by_title = tables()
    left = {
        (name, figure.data, figure.split, figure.config): figure
        for name, weights in PUBLISHED.items()
        for figure in weights.figures
    }
    missing = {(n, split) for n, w in PUBLISHED.items() for split in not_published(w)}
    for title in dict.fromkeys(key[1] for key in left):
        for row in by_title[title]:
            name = row['weights'].strip('`')
            if row['stated by'] == 'not published':
                missing.remove((name, f'{title} {row["split"]}'))
                continue
            of_coco = title == 'COCO'
            config = row["MMDetection's config" if of_coco else 'config']
            config = re.search(r'`(.+?)`|$', config)[1] or ''
            split = 'val' if of_coco else row['split']
            figure = left.pop((name, title, split, config))
            metrics = ['box AP'] if of_coco else TOLERANCE
            shown = {m: float(row[m]) for m in metrics if row[m]}
            assert shown == figure.scores, name
            assert target(row['stated by']) == figure.source
            if figure.server:
                assert target(row['scored by']) == figure.server
    assert not left and not missing
    (widths,) = by_title['Tolerance']
    assert {name: float(value) for name, value in widths.items()} == TOLERANCE


def test_files_on_the_page_are_the_facts():
    rows = tables()['Files']
    names = [re.search(r'`(.+?)`', row['weights'])[1] for row in rows]
    assert names == list(PUBLISHED)
    for row, weights in zip(rows, PUBLISHED.values(), strict=True):
        place = weights.address or weights.page
        assert target(row['weights']) == (place or weights.name)
        assert weights.licence in row['licence'] and weights.configs[0] in row['config']
        assert row['SHA-256 begins'].strip('`') == weights.sha256_prefix
        assert bool(row['size']) == (weights.size is not None)


def test_the_form_is_one_that_github_shows():
    """docs.github.com: syntax for issue forms, and for GitHub's form schema."""
    form = yaml.safe_load(FORM.read_text(encoding='utf-8'))
    assert {'name', 'description', 'body'} <= set(form)
    assert set(form) <= {
        *('name', 'description', 'body', 'title', 'labels'),
        *('assignees', 'projects', 'type'),
    }
    assert isinstance(form['name'], str) and isinstance(form['description'], str)
    ids, labels = [], []
    for part in form['body']:
        assert set(part) <= {'type', 'id', 'attributes', 'validations'}
        attributes = part['attributes']
        if part['type'] == 'markdown':
            assert list(attributes) == ['value'] and attributes['value'].strip()
            continue
        assert part['type'] in ('input', 'textarea', 'dropdown', 'checkboxes')
        assert re.fullmatch(r'[\w-]+', part['id'])
        ids.append(part['id'])
        labels.append(attributes['label'])
        assert isinstance(part['validations']['required'], bool)
        known = {'label', 'description', 'placeholder', 'value', 'render'}
        if part['type'] == 'dropdown':
            known = {'label', 'description', 'multiple', 'options', 'default'}
            options = attributes['options']
            assert options and len(set(options)) == len(options)
            assert all(isinstance(option, str) for option in options)
        assert set(attributes) <= known
    assert len(set(ids)) == len(ids) and len(set(labels)) == len(labels)
    assert {'weights', 'split', 'command', 'table', 'environment'} <= set(ids)


def test_the_form_offers_the_trackers_and_their_splits(capsys):
    form = yaml.safe_load(FORM.read_text(encoding='utf-8'))
    parts = {part.get('id'): part for part in form['body']}
    trackers = {
        name: weights
        for name, weights in PUBLISHED.items()
        if any(figure.data != 'COCO' for figure in weights.figures)
    }
    assert parts['weights']['attributes']['options'] == list(trackers)
    splits = {f.scored_on for w in trackers.values() for f in w.figures}
    splits |= {split for w in trackers.values() for split in not_published(w)}
    assert set(parts['split']['attributes']['options']) == splits
    # What the console and the page call it.
    for text in (PAGE, (ROOT / 'mmfdta/apis/reproduction.py').read_text()):
        assert f'form "{form["name"]}"' in text
    main(['weights', '--expected', 'minidance'])
    assert 'docs/published_weights.md' in capsys.readouterr().out
