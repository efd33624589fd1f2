# Copyright (c) mmfdta authors.
"""The page of published weights, and the form that reports ask for."""

import re

import yaml
from pages import ROOT

from mmfdta.apis.weights import commands_of, not_published
from mmfdta.checkpoints.published import PUBLISHED, TOLERANCE
from mmfdta.cli.main import main

PAGE = (ROOT / 'docs' / 'published_weights.md').read_text(encoding='utf-8')
FORM = ROOT / '.github' / 'ISSUE_TEMPLATE' / 'reproduction.yml'


def test_commands_and_tolerances_on_the_page_are_the_facts():
    section = PAGE.partition('\n## Tolerance')[2].split('\n## ')[0]
    head, _, widths = (x for x in section.splitlines() if x.startswith('|'))
    names, values = (
        [c.strip() for c in x.strip('|').split('|')] for x in (head, widths)
    )
    assert dict(zip(names, map(float, values), strict=True)) == TOLERANCE
    lines = PAGE.splitlines()
    for weights in PUBLISHED.values():
        for figure in weights.figures:
            if figure.data != 'COCO':
                for command in commands_of(weights, figure):
                    assert lines.count(command) == 1
                assert figure.remark in PAGE


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
