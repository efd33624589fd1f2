# Copyright (c) mmfdta authors.
"""MMDetection's own tools and functions with this project's configs.

The tools run in this process, as `mmfdta mmdet` runs them; one of each kind also runs
in a process of its own.
"""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmdet.apis import (
    DetInferencer,
    inference_detector,
    inference_mot,
    init_detector,
    init_track_model,
)
from mmdet.registry import DATASETS, METRICS, MODELS, VISUALIZERS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.visualization import Visualizer

from mmfdta.cli.main import main
from mmfdta.cli.mmdet import list_tools

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
# A mini config is changed, so that a run takes a second.
RUN = """
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
"""
LOADER = (
    '{name}_dataloader = dict(batch_size={size}, num_workers=0, '
    'persistent_workers=False, dataset=dict(data_root={root!r}, options={options!r}))\n'
)
OPTIONS = dict(
    train=1, val=1, test=1, frames=6, width=96, height=64, min_dancers=2, max_dancers=3
)
# Trackers, with thresholds that random weights pass.
TRACKERS = {
    'fdta_mini': dict(det_thr=0.0, newborn_thr=0.0),
    'motr_mini': dict(det_thr=0.0, newborn_thr=0.0, keep_thr=0.0),
    'bytetrack_fdta-det_mini': dict(
        obj_score_thrs=dict(high=0.0, low=0.0), init_track_thr=0.0
    ),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with a tiny MiniDance, configs for it, and weights."""
    folder = tmp_path_factory.mktemp('mmdet_tools')
    for name in ('deformable_detr_mini', *TRACKERS):
        trains = not name.startswith('bytetrack')
        names = ('train', 'val', 'test') if trains else ('val', 'test')
        loaders = ''.join(
            LOADER.format(
                name=part,
                size=2 if name.startswith('deformable') else 1,
                root=str(folder / 'data'),
                options=OPTIONS,
            )
            for part in names
        )
        text = f'_base_ = [{str(CONFIGS / name) + ".py"!r}]\n{loaders}{RUN * trains}'
        if name in TRACKERS:
            text += f'model = dict(tracker={TRACKERS[name]})\n'
        if name == 'fdta_mini':
            text += 'train_dataloader.update(sampler=dict(lengths=4))\n'
        (folder / f'{name}.py').write_text(text)
        config = Config.fromfile(folder / f'{name}.py')
        torch.manual_seed(0)
        model = MODELS.build(config.model)
        meta = dict(dataset_meta=dict(classes=('dancer',)))
        state = dict(state_dict=model.state_dict(), meta=meta)
        torch.save(state, folder / f'{name}.pth')
    return folder


@pytest.fixture
def tool(folder, monkeypatch):
    """Runs a tool in the folder; its config goes by name."""
    monkeypatch.chdir(folder)

    def run(name: str, *arguments: str) -> None:
        # The tools set both.
        monkeypatch.setenv('LOCAL_RANK', '0')
        monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
        assert main(['mmdet', name, *arguments]) == 0

    return run


def scores_of(work_dir: Path) -> dict:
    """What the last run in a work dir scored."""
    newest = max(work_dir.rglob('*.json'), key=lambda path: path.stat().st_mtime_ns)
    return json.loads(newest.read_text().splitlines()[-1])


@pytest.mark.parametrize('name', ['deformable_detr_mini', 'fdta_mini'])
def test_train_trains_and_scores(tool, folder, name):
    tool('train', f'{name}.py', '--work-dir', 'trained')
    assert (folder / 'trained/iter_2.pth').is_file()
    scores = scores_of(folder / 'trained')
    assert ('coco/bbox_mAP' in scores) == name.startswith('deformable')
    assert ('mot/HOTA' in scores) == name.startswith('fdta')


def test_test_scores_and_draws_the_detector(tool, folder):
    tool(
        *('test', 'deformable_detr_mini.py', 'deformable_detr_mini.pth'),
        *('--work-dir', 'tested', '--show-dir', 'drawn', '--out', 'found.pkl'),
    )
    assert -1 <= scores_of(folder / 'tested')['coco/bbox_mAP'] <= 1
    drawn = sorted(folder.glob('tested/*/drawn/*.jpg'))
    assert len(drawn) == OPTIONS['frames']
    # Ground truth and detections stand side by side.
    assert cv2.imread(str(drawn[0])).shape == (64, 2 * 96, 3)
    found = pickle.loads((folder / 'found.pkl').read_bytes())
    assert len(found) == OPTIONS['frames']


def test_the_verb_test_scores_the_detector_too(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    arguments = ['deformable_detr_mini.py', 'deformable_detr_mini.pth']
    assert main(['test', *arguments, '--work-dir', 'verb']) == 0
    assert 'bbox_mAP' in capsys.readouterr().out
    assert 'coco/bbox_mAP' in scores_of(folder / 'verb')


def test_test_augments_the_detector(tool, folder):
    tool(
        *('test', 'deformable_detr_mini.py', 'deformable_detr_mini.pth'),
        *('--work-dir', 'augmented', '--tta'),
        *('--cfg-options', 'test_dataloader.batch_size=1'),
    )
    assert 'coco/bbox_mAP' in scores_of(folder / 'augmented')


def test_ground_truth_as_detections_scores_one(folder):
    config = Config.fromfile(folder / 'deformable_detr_mini.py')
    dataset = DATASETS.build(config.test_dataloader.dataset)
    metric = METRICS.build(config.test_evaluator)
    metric.dataset_meta = dataset.metainfo
    for item in dataset:
        sample = item['data_samples']
        truth = sample.gt_instances
        height, width = sample.ori_shape
        boxes = truth.bboxes.tensor if hasattr(truth.bboxes, 'tensor') else truth.bboxes
        sample.pred_instances = type(truth)(
            bboxes=boxes, labels=truth.labels, scores=torch.ones(len(truth))
        )
        metric.process({}, [sample.to_dict()])
    assert metric.evaluate(len(dataset))['coco/bbox_mAP'] == pytest.approx(1)


@pytest.mark.parametrize('name', TRACKERS)
def test_test_tracking_scores(tool, folder, name):
    tool(
        *('test_tracking', f'{name}.py', '--checkpoint', f'{name}.pth'),
        *('--work-dir', f'tracked_{name}'),
    )
    assert 0 <= scores_of(folder / f'tracked_{name}')['mot/HOTA'] <= 100


def test_test_tracking_takes_the_detector_of_a_detector_config(tool, folder):
    tool(
        *('test_tracking', 'bytetrack_fdta-det_mini.py', '--work-dir', 'detector'),
        *('--detector', 'deformable_detr_mini.pth'),
    )
    assert 'mot/HOTA' in scores_of(folder / 'detector')


def test_test_draws_tracks(tool, folder):
    tool(
        *('test', 'fdta_mini.py', 'fdta_mini.pth'),
        *('--work-dir', 'shown', '--show-dir', 'drawn'),
    )
    assert 'mot/HOTA' in scores_of(folder / 'shown')
    assert len(list(folder.glob('shown/*/drawn/*/*.jpg'))) == OPTIONS['frames']


def test_browse_dataset_draws_what_the_detector_is_trained_on(tool, folder):
    tool(
        *('analysis_tools/browse_dataset', 'deformable_detr_mini.py'),
        *('--output-dir', 'browsed', '--not-show'),
        *('--cfg-options', 'train_dataloader.dataset.pipeline.3.brightness=0'),
        'train_dataloader.dataset.pipeline.3.contrast=0',
        'train_dataloader.dataset.pipeline.3.saturation=0',
        'train_dataloader.dataset.pipeline.3.hue=0',
        'train_dataloader.dataset.pipeline.1.prob=0',
    )
    drawn = sorted((folder / 'browsed').glob('*.jpg'))
    assert len(drawn) == OPTIONS['frames']
    # Most pixels are those of the image, and no colour channels are swapped.
    (path,) = (folder / 'data/train').glob(f'*/img1/{drawn[0].name}')
    picture, image = (cv2.imread(str(p)).astype(int) for p in (drawn[0], path))
    near = np.abs(picture - image).max(axis=-1) < 16
    assert near.mean() > 0.5
    swapped = np.abs(picture - image[..., ::-1]).max(axis=-1) < 16
    assert near.mean() > swapped.mean() + 0.1


def test_the_detector_detects_through_mmdetections_interface(folder):
    config, weights = (str(folder / f'deformable_detr_mini.{e}') for e in ('py', 'pth'))
    image = str(next((folder / 'data/test').glob('*/img1/*.jpg')))
    model = init_detector(config, weights, device='cpu')
    assert model.dataset_meta['classes'] == ('dancer',)
    from_file = inference_detector(model, image).pred_instances
    from_memory = inference_detector(model, cv2.imread(image)).pred_instances
    inferencer = DetInferencer(config, weights, device='cpu', show_progress=False)
    result = inferencer(image, return_vis=True)
    assert result['visualization'][0].shape == (64, 96, 3)
    (boxes,) = (prediction['bboxes'] for prediction in result['predictions'])
    for found in (from_memory.bboxes, torch.tensor(boxes)):
        torch.testing.assert_close(found, from_file.bboxes, rtol=0, atol=1e-4)


def test_inference_renders_no_data_set(folder, tmp_path):
    changes = {'test_dataloader.dataset.data_root': str(tmp_path / 'absent')}
    init_detector(
        str(folder / 'deformable_detr_mini.py'), device='cpu', cfg_options=changes
    )
    assert not (tmp_path / 'absent').exists()


@pytest.mark.parametrize('name', TRACKERS)
def test_frames_are_tracked_as_in_demo_mot_demo(folder, tmp_path, name):
    """The calls of MMDetection's demo/mot_demo.py, and the data set's own way."""
    model = init_track_model(
        str(folder / f'{name}.py'), str(folder / f'{name}.pth'), device='cpu'
    )
    visualizer = VISUALIZERS.build(model.cfg.visualizer)
    visualizer.dataset_meta = model.dataset_meta
    frames = sorted(next((folder / 'data/test').glob('*/img1')).glob('*.jpg'))
    tracked = []
    for number, path in enumerate(frames):
        image = mmcv.imread(str(path))
        result = inference_mot(model, image, number, video_len=len(frames))
        tracked.append(result[0].pred_track_instances)
        assert len(tracked[-1]) > 0
        visualizer.add_datasample(
            'mot',
            image[..., ::-1],
            data_sample=result[0],
            show=False,
            draw_gt=False,
            out_file=str(tmp_path / path.name),
            wait_time=0.1,
            pred_score_thr=0.0,
            step=number,
        )
    assert len(list(tmp_path.glob('*.jpg'))) == len(frames)

    dataset = DATASETS.build(model.cfg.test_dataloader.dataset)
    with torch.no_grad():
        for number, ours in enumerate(tracked):
            (sample,) = model.test_step(pseudo_collate([dataset[number]]))
            wanted = sample[0].pred_track_instances
            for field in ('bboxes', 'scores', 'instances_id'):
                torch.testing.assert_close(ours[field], wanted[field], rtol=0, atol=0)


def test_visualizers_of_one_process_do_not_share_a_folder(tmp_path):
    settings = Config.fromfile(CONFIGS / 'deformable_detr_mini.py').visualizer
    built = [
        VISUALIZERS.build(dict(settings, save_dir=str(tmp_path / name)))
        for name in ('first', 'second')
    ]
    assert built[0] is not built[1]
    assert Visualizer.get_current_instance() is built[1]


def test_tools_that_need_no_config_run(tool, capsys):
    tool('misc/print_config', 'fdta_mini.py')
    assert "type='FDTA'" in capsys.readouterr().out


def test_the_tools_are_listed(capsys):
    assert main(['mmdet']) == 0
    listed = capsys.readouterr().out.split()
    wanted = {'train', 'test', 'test_tracking', 'analysis_tools/browse_dataset'}
    assert wanted <= set(listed)
    assert set(listed) == set(list_tools())


@pytest.mark.parametrize(
    ('name', 'said'),
    [('trian', "no tool 'trian'"), ('browse_dataset', 'analysis_tools/mot/browse')],
)
def test_an_unknown_tool_is_one_line(capsys, name, said):
    assert main(['mmdet', name]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith('mmfdta mmdet: ')
    assert error.count('\n') == 1


def test_in_processes_of_their_own(folder):
    """`train.py` registers by the config; `test_tracking` needs `mmfdta mmdet`."""
    environment = dict(os.environ, OMP_NUM_THREADS='1', OMP_WAIT_POLICY='passive')
    commands = [
        [str(list_tools()['train']), 'motr_mini.py', '--work-dir', 'alone'],
        ['-m', 'mmfdta', 'mmdet', 'test_tracking', 'motr_mini.py']
        + ['--checkpoint', 'motr_mini.pth', '--work-dir', 'alone'],
    ]
    runs = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    for run in runs:
        said, _ = run.communicate(timeout=300)
        assert run.returncode == 0, said
        assert 'mot/HOTA' in said


@pytest.fixture(autouse=True)
def no_leftovers():
    """Runs of a process share MMEngine's message hubs and visualizers."""
    yield
    for kept in (Visualizer, MessageHub):
        kept._instance_dict.clear()
