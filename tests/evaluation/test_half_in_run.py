# Copyright (c) mmfdta authors.
"""The half of MOT17 that a run scores, and ``evaluate`` on what the run wrote."""

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.structures import InstanceData

import mmfdta.registry  # noqa: F401
from mmfdta.datasets import MOT17Dataset

from .texts import Folders, moving, shown

LENGTHS = {'MOT17-02-FRCNN': 25, 'MOT17-04-FRCNN': 18}


@pytest.fixture
def folders(tmp_path):
    """MOT17 with pedestrians, static persons and rows that are not considered."""
    made = Folders(tmp_path)
    made.gt = tmp_path / 'train'
    for seed, (name, length) in enumerate(LENGTHS.items()):
        gt, _ = moving(length, seed)
        made.add_truth(name, gt, length)
        path = made.gt / name / 'gt' / 'gt.txt'
        kinds = {'1': '1,1,1', '2': '1,1,0.4', '3': '1,7,1', '4': '0,1,1'}
        rows = [row.split(',') for row in path.read_text().splitlines()]
        path.write_text(
            ''.join(f'{",".join(row[:6])},{kinds[row[1]]}\n' for row in rows)
        )
        images = made.gt / name / 'img1'
        images.mkdir()
        for frame in range(1, length + 1):
            (images / f'{frame:06d}.jpg').touch()
    return made


def make_samples(dataset):
    """Give the frames of a data set with what a tracker may find in them."""
    rng = np.random.default_rng(0)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        frame = DetDataSample(
            metainfo=dict(
                sequence=info['sequence'],
                video_id=info['video_id'],
                frame_id=int(info['frame_ids'][0]),
                video_length=info['video_length'],
            )
        )
        frame.gt_instances = InstanceData(
            bboxes=torch.from_numpy(info['gt_bboxes']),
            xywh=torch.from_numpy(info['gt_xywh']),
            labels=torch.from_numpy(info['gt_labels']),
            instances_ids=torch.from_numpy(info['gt_ids']),
            consider=torch.from_numpy(info['gt_consider']),
            categories=torch.from_numpy(info['gt_categories']),
        )
        boxes = info['gt_bboxes'] + rng.normal(0, 3, info['gt_bboxes'].shape)
        found = rng.random(len(boxes)) < 0.85
        identity = info['gt_ids'] + 10 * (rng.random(len(boxes)) < 0.1)
        frame.pred_track_instances = InstanceData(
            bboxes=torch.from_numpy(boxes[found]).float(),
            scores=torch.from_numpy(rng.random(found.sum())).float(),
            labels=torch.zeros(int(found.sum()), dtype=torch.int64),
            instances_id=torch.from_numpy(identity[found]),
        )
        sample = TrackDataSample()
        sample.video_data_samples = [frame]
        yield sample.to_dict()


@pytest.mark.parametrize('half', ['first', 'second'])
def test_run_equals_the_command_on_its_files(folders, capsys, half):
    dataset = MOT17Dataset(str(folders.root), 'train', half=half, test_mode=True)
    metric = METRICS.build(dict(type='MOTMetric', out_dir=str(folders.results)))
    metric.dataset_meta = dataset.metainfo
    for sample in make_samples(dataset):
        metric.process({}, [sample])
    scores = metric.evaluate(len(dataset))
    capsys.readouterr()
    assert folders.evaluate('--half', half) == 0
    captured = capsys.readouterr()
    row = shown(captured.out)
    for name in ('HOTA', 'DetA', 'AssA', 'LocA', 'MOTA', 'MOTP', 'IDF1', 'IDSW', 'FN'):
        assert row[name] == pytest.approx(scores[f'mot/{name}'], abs=6e-6), name
    assert scores['mot/FN'] > 0 and 'mot17' in captured.err
    # Without the option the files are refused, and the option is named.
    assert folders.evaluate() == 1
    assert f'--half {half}' in capsys.readouterr().err
    # The texts that ByteTrack's conversion writes are the same halves.
    for name, length in LENGTHS.items():
        path = folders.gt / name / 'gt' / 'gt.txt'
        middle = length // 2 + 1
        rows = [row.split(',') for row in path.read_text().splitlines()]
        kept = [
            [str(int(row[0]) - (middle if half == 'second' else 0)), *row[1:]]
            for row in rows
            if (int(row[0]) > middle) == (half == 'second')
        ]
        part = 'val' if half == 'second' else 'train'
        text = ''.join(','.join(row) + '\n' for row in kept)
        path.with_name(f'gt_{part}_half.txt').write_text(text)
    assert folders.evaluate('--gt-file', f'gt_{part}_half.txt') == 0
    assert shown(capsys.readouterr().out) == row
