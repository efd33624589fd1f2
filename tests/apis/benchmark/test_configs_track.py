# Copyright (c) mmfdta authors.
"""Every config of the benchmarks tracks a tiny data set with `mmfdta test`."""

import pytest
from mmengine.config import Config

from mmfdta.apis.config import CONFIG_ROOTS, find_config
from mmfdta.cli.main import main

FAMILIES = (
    *('botsort', 'bytetrack', 'cbiou', 'ocsort', 'sort', 'iou-embedding', 'motip'),
    *('deepsort_fdta', 'strongsort_fdta'),
)
SHORT_SIDE = 64
NAMES = sorted(
    path.stem
    for path in CONFIG_ROOTS[-1].glob('*.py')
    if path.stem.startswith(FAMILIES)
)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_it_tracks(name: str, minidance, tmp_path):
    """Random weights find what they find; the text has to be there for each frame."""
    config = Config.fromfile(find_config(name))
    dataset = dict(config.test_dataloader.dataset, type='MOTSequenceDataset')
    for key in ('options', 'half'):
        dataset.pop(key, None)
    for step in dataset['pipeline']:
        if step.type == 'ClipResize':
            step.update(short=SHORT_SIDE, max_long=2 * SHORT_SIDE)
    dataset.update(data_root=str(minidance), split='test')
    config.test_dataloader.update(num_workers=0, persistent_workers=False)
    config.test_dataloader.dataset = dataset
    config.test_evaluator.benchmark = 'mot_challenge'
    path = tmp_path / f'{name}.py'
    config.dump(path)
    out = tmp_path / 'tracks'
    main(
        [
            *('test', str(path), '--allow-random-weights', '--out', str(out)),
            *('--work-dir', str(tmp_path / 'work')),
        ]
    )
    assert [p.name for p in sorted(out.iterdir())] == [
        'minidance0000.txt',
        'minidance0001.txt',
    ]
