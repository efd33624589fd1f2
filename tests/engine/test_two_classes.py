# Copyright (c) mmfdta authors.
"""Two classes from the config of the own-data page to the scores of the text."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_run import ROOT, make_config

from mmfdta.apis import MOTInferencer
from mmfdta.cli.main import main
from mmfdta.structures.mot_text import read_tracks

PAGE = ROOT / 'docs' / 'own_data.md'


def recipe() -> str:
    """The config for two classes, as the page prints it."""
    blocks = re.findall(r'```python\n(.*?)```', PAGE.read_text('utf-8'), re.S)
    (block,) = (text for text in blocks if 'len(classes)' in text)
    return block


def renumber(path: Path) -> None:
    """Make the second object of a text a car, whose identities count from 1, too."""
    rows = [line.split(',') for line in path.read_text().splitlines()]
    for row in rows:
        if row[1] == '2':
            row[1], row[7] = '1', '3'
    path.write_text(''.join(','.join(row) + '\n' for row in rows))


@pytest.fixture
def config(tiny_run, tmp_path) -> Path:
    """The page's config on small data, with the small model below it."""
    tiny_run()
    for path in (tmp_path / 'data').rglob('gt.txt'):
        renumber(path)
    base = make_config(tmp_path, train_cfg__max_epochs=1)
    small = Config.fromfile(base)
    for name in ('train', 'val', 'test'):  # lists are set anew below
        small[f'{name}_dataloader'].dataset.pop('data_root')
    small.train_pipeline = small.train_dataloader.dataset.pipeline
    small.val_evaluator.metric = small.test_evaluator.metric = ['HOTA', 'CLEAR']
    small.dump(tmp_path / 'fdta_dancetrack.py')
    path = tmp_path / 'street.py'
    text = recipe().replace('data/street', str(tmp_path / 'data'))
    path.write_text(text)
    return path


def test_a_run_and_its_text_have_the_same_scores_by_class(config, tmp_path, capsys):
    torch.manual_seed(0)
    loaded = Config.fromfile(config)
    (targets,) = (
        step
        for step in loaded.train_dataloader.dataset.pipeline
        if step.type == 'GenerateIDTargets'
    )
    assert targets.class_aware and loaded.model.tracker.class_aware
    assert loaded.model.detector.bbox_head.num_classes == 2
    assert main(['train', str(config)]) in (0, None)
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    meta = torch.load(checkpoint, weights_only=False)['meta']['dataset_meta']
    assert tuple(meta['class_numbers']) == (1, 3)
    tracks = tmp_path / 'tracks'
    assert main(['test', str(config), str(checkpoint), '--out', str(tracks)]) == 0
    labels = [read_tracks(path).label for path in sorted(tracks.glob('*.txt'))]
    assert len(labels) == 3 and set(np.concatenate(labels)) == {1, 3}
    out = [tmp_path / 'seq2.txt', tmp_path / 'seq2.csv']
    inferencer = MOTInferencer(config, checkpoint, 'cpu')
    assert inferencer(tmp_path / 'data' / 'val' / 'seq2', out=out).complete
    assert out[0].read_text() == (tracks / 'seq2.txt').read_text()
    with out[1].open(newline='') as file:
        names = [row['category'] for row in csv.DictReader(file)]
    numbers = read_tracks(out[0]).label.tolist()
    assert names == [{1: 'person', 3: 'car'}[number] for number in numbers]
    scores = sorted(
        (tmp_path / 'work').rglob('*.json'), key=lambda p: p.stat().st_mtime
    )
    run = next(
        found
        for path in reversed(scores)
        for line in path.read_text().splitlines()
        if 'mot/person_HOTA' in (found := json.loads(line))
    )
    sides = ['--gt', str(tmp_path / 'data' / 'val'), '--results', str(tracks)]
    out = tmp_path / 'scores.json'
    words = ['--classes', 'person=1', 'car=3', '--out', str(out)]
    assert main(['evaluate', *sides, *words]) == 0
    again = json.loads(out.read_text())
    for name in ('HOTA', 'AssA', 'MOTA'):
        assert run[f'mot/{name}'] == pytest.approx(again['mean of classes'][name])
        for of_class in ('person', 'car'):
            value = again['classes'][of_class]['COMBINED'][name]
            assert run[f'mot/{of_class}_{name}'] == pytest.approx(value)
    assert again['mean of classes']['DetA'] > 0
