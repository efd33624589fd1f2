# Copyright (c) mmfdta authors.
"""Every tier of docs/dependencies.md, installed afresh from a wheel and used.

`make tiers` runs it; the tiers of the tests and of the pages are what `make test` and
`make docs` install.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    *('mmfdta', 'configs', 'tools', 'requirements', 'setup.py', 'pyproject.toml'),
    *('MANIFEST.in', 'model-index.yml', 'README.md', 'LICENSE', 'NOTICE'),
)
OPTIONS = (
    *('--train', '1', '--val', '1', '--test', '1', '--frames', '6', '--width', '96'),
    *('--height', '64', '--min-dancers', '2', '--max-dancers', '3'),
)
# Two sequences that the small FDTA tracks well.
VIDEOS = (*OPTIONS[:5], '2', '--frames', '20')
pytestmark = pytest.mark.tiers


class Install:
    """A new environment with nothing in it but what a tier brings."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self.wheel = wheel
        venv.create(folder / 'env', with_pip=True)
        self.bin = folder / 'env' / 'bin'

    def run(self, *command: str, code: int = 0) -> str:
        """Run a program of the environment; return what it wrote."""
        environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def add(self, extras: str) -> None:
        """Install the wheel with some extras."""
        self.run('python', '-m', 'pip', 'install', '-q', f'{self.wheel}{extras}')
        self.run('python', '-m', 'pip', 'check')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel, built of a copy, so that the checkout stays as it is."""
    copy = tmp_path_factory.mktemp('project')
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=ignore)
        else:
            shutil.copy2(ROOT / name, copy / name)
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', 'out', '.'],
        cwd=copy,
        check=True,
    )
    (wheel,) = (copy / 'out').glob('*.whl')
    return wheel


def keep_truth_as_result(data: Path, results: Path) -> None:
    """Write a perfect result, with the ten columns of a server, for each sequence."""
    results.mkdir()
    for truth in data.glob('*/gt/gt.txt'):
        rows = truth.read_text().splitlines()
        path = results / f'{truth.parents[1].name}.txt'
        path.write_text(''.join(f'{row},-1\n' for row in rows))


def read(path: Path) -> np.ndarray:
    """Rows of tracks as text."""
    return np.loadtxt(path, delimiter=',')


def test_core(tmp_path, wheel):
    """Scoring, packing and plotting without PyTorch."""
    install = Install(tmp_path, wheel)
    install.add('')
    listed = install.run('python', '-m', 'pip', 'list', '--format=freeze')
    families = ('torch', 'mmengine', 'mmdet', 'lap', 'motmetrics', 'pandas')
    for name in (*families, 'av', 'supervision'):
        assert f'{name}==' not in listed
    assert 'evaluate' in install.run('mmfdta', '--help')
    install.run('mmfdta', 'minidance', 'data', *OPTIONS)
    keep_truth_as_result(tmp_path / 'data/val', tmp_path / 'results')
    places = ('--gt', 'data/val', '--results', 'results')
    rules = ('--benchmark', 'minidance', '--events', 'events.csv')
    scores = install.run('mmfdta', 'evaluate', *places, *rules)
    assert 'HOTA' in scores
    assert '100.0' in scores
    assert 'MATCH' in (tmp_path / 'events.csv').read_text()
    install.run('mmfdta', 'plot-tracks', *places, '--out', 'plots')
    steps = '--join', '--interpolate'  # all tracks of so few frames are short
    refined = install.run(
        'mmfdta', 'refine', 'results', '--out', 'b', *steps, *places[:2]
    )
    assert 'after' in refined
    assert list((tmp_path / 'plots').glob('*.png'))
    for truth in (tmp_path / 'data/val').glob('*/gt'):
        shutil.rmtree(truth)
    packed = ('--results', 'results', '--data', 'data/val', '--out', 'packed.zip')
    install.run('mmfdta', 'submit', 'dancetrack', *packed)
    assert (tmp_path / 'packed.zip').is_file()
    # What is missing is said in one line.
    said = install.run('mmfdta', 'train', 'fdta_mini', code=1)
    assert "pip install 'mmfdta[onedl]'" in said
    assert 'Traceback' not in said


def export_model(folder: Path) -> None:
    """Export the small FDTA in the environment of the tests."""
    export = ('export', 'fdta_mini_demo', 'minidance', '--out', str(folder))
    subprocess.run([sys.executable, '-m', 'mmfdta', *export], cwd=ROOT, check=True)


def test_runtime(tmp_path, wheel):
    """Tracking and scoring with an exported model, without PyTorch.

    The model is exported by the environment of the tests.
    """
    export_model(tmp_path / 'model')
    install = Install(tmp_path, wheel)
    install.add('[runtime]')
    listed = install.run('python', '-m', 'pip', 'list', '--format=freeze')
    for name in ('torch', 'mmengine', 'mmcv', 'mmdet', 'lap', 'onnx', 'onnxscript'):
        assert f'{name}==' not in listed
    install.run('mmfdta', 'minidance', 'data', *OPTIONS)
    (sequence,) = (tmp_path / 'data/val').iterdir()
    said = install.run(
        *('mmfdta', 'track', str(sequence), '--model', 'model', '--out'),
        *(f'results/{sequence.name}.txt', 'tracks.mp4'),
    )
    assert 'onnxruntime' in said
    assert (tmp_path / 'tracks.mp4').stat().st_size
    scores = install.run(
        *('mmfdta', 'evaluate', '--gt', 'data/val', '--results', 'results'),
        *('--benchmark', 'minidance'),
    )
    assert 'HOTA' in scores
    # What is missing is said in one line.
    said = install.run('mmfdta', 'track', str(sequence), code=1)
    assert 'an exported model needs none of it: --model FOLDER' in said
    said = install.run('mmfdta', 'export', 'fdta_mini_demo', '--out', 'x', code=1)
    assert 'Traceback' not in said


def test_openvino(tmp_path, wheel):
    """An exported model tracks the same on OpenVINO, whose package replaces one."""
    for name, *size in (('fixed', '--size', '320x192'), ('any',)):
        export = ('export', 'fdta_mini_demo', 'minidance', '--out', tmp_path / name)
        command = [sys.executable, '-m', 'mmfdta', *map(str, export), *size]
        subprocess.run(command, cwd=ROOT, check=True)
    install = Install(tmp_path, wheel)
    install.add('[runtime]')
    options = (*OPTIONS[:6], '--frames', '20', '--width', '320', '--height', '192')
    install.run('mmfdta', 'minidance', 'data', *options)
    (sequence,) = map(str, (tmp_path / 'data/val').iterdir())
    track = ('mmfdta', 'track', sequence, '--model')
    install.run(*track, 'fixed', '--out', 'cpu.txt')
    install.run('python', '-m', 'pip', 'uninstall', '-q', '-y', 'onnxruntime')
    install.run('python', '-m', 'pip', 'install', '-q', 'onnxruntime-openvino')
    on_openvino = ('--provider', 'openvino')
    said = install.run(*track, 'fixed', '--out', 'openvino.txt', *on_openvino)
    assert 'OpenVINO' in said
    ours, theirs = (read(tmp_path / f'{name}.txt') for name in ('cpu', 'openvino'))
    assert len(ours) > 40 and len(np.unique(ours[:, 1])) > 1
    assert np.array_equal(ours[:, :2], theirs[:, :2])
    assert np.abs(ours - theirs).max() < 0.05
    # A model for any size has loops that OpenVINO does not take.
    said = install.run(*track, 'any', '--out', 'any.txt', *on_openvino, code=1)
    assert 'export the model with --size WxH' in said
    assert 'Traceback' not in said


def use_family(install: Install) -> None:
    """Train the small FDTA for two iterations, score it, run a tool of MMDetection.

    An event log is written, and motmetrics goes on with it.
    """
    install.run('mmfdta', 'env')
    install.run('mmfdta', 'minidance', 'data/minidance', *OPTIONS)
    truth = install.folder / 'data/minidance/val'
    keep_truth_as_result(truth, install.folder / 'truth')
    places = ('--gt', str(truth), '--results', 'truth', '--benchmark', 'minidance')
    install.run('mmfdta', 'evaluate', *places, '--events', 'events.csv')
    scores = install.run('python', '-W', 'ignore', '-c', SCORE_EVENTS)
    assert 'MOTA 1.0 IDF1 1.0' in scores
    settings = ('train=1', 'val=1', 'test=1', 'frames=6', 'width=96', 'height=64')
    settings += ('min_dancers=2', 'max_dancers=3')
    data = [
        f'{part}_dataloader.dataset.options.{setting}'
        for part in ('train', 'val', 'test')
        for setting in settings
    ]
    changes = ('--cfg-options', *data, 'train_dataloader.sampler.lengths=4')
    short = ('train_cfg.max_iters=2', 'train_cfg.val_interval=2')
    where = ('--work-dir', 'work')
    install.run('mmfdta', 'train', 'fdta_mini', *where, *changes, *short)
    weights = next((install.folder / 'work').glob('iter_2.pth'))
    scores = install.run('mmfdta', 'test', 'fdta_mini', str(weights), *where, *changes)
    assert 'HOTA' in scores
    # MMDetection's ByteTrack needs lap.
    scores = install.run(
        *('mmfdta', 'test', 'bytetrack_fdta-det_mini', str(weights), *where),
        *(change for change in changes if not change.startswith('train_')),
    )
    assert 'HOTA' in scores
    assert 'test_tracking' in install.run('mmfdta', 'mmdet')


def test_onedl_and_depth(tmp_path, wheel):
    """OneDL's family, and on top of it a depth network."""
    install = Install(tmp_path, wheel)
    install.add('[onedl]')
    use_family(install)
    install.add('[onedl,depth]')
    (tmp_path / 'tiny.py').write_text(TINY_DEPTH_NETWORK)
    install.run('python', 'tiny.py')
    shutil.rmtree(next((tmp_path / 'data/minidance/train').glob('*/depth')))
    install.run(
        *('mmfdta', 'generate-depth', 'data/minidance', '--kind', 'dancetrack'),
        *('--model', 'tiny', '--device', 'cpu'),
    )
    assert len(list((tmp_path / 'data/minidance/train').glob('*/depth/*.png'))) == 6


def test_openmmlab(tmp_path, wheel):
    """OpenMMLab's family."""
    install = Install(tmp_path, wheel)
    install.add('[openmmlab]')
    use_family(install)


def test_export(tmp_path, wheel):
    """The exported model tracks as the one in PyTorch does."""
    install = Install(tmp_path, wheel)
    install.add('[onedl,export]')
    install.run('mmfdta', 'minidance', 'data', *VIDEOS)
    weights = ('fdta_mini_demo', 'minidance')
    install.run('mmfdta', 'export', *weights, '--out', 'model')
    track = ('mmfdta', 'track', 'data/test/minidance0000')
    install.run(*track, '--model', 'model', '--out', 'exported.txt')
    options = ('--config', weights[0], '--checkpoint', weights[1])
    install.run(*track, *options, '--out', 'torch.txt')
    ours, theirs = (read(tmp_path / f'{n}.txt') for n in ('exported', 'torch'))
    assert len(ours) > 40 and len(np.unique(ours[:, 1])) > 1
    assert np.array_equal(ours[:, :2], theirs[:, :2])
    assert np.abs(ours - theirs).max() < 0.05


def test_trackers(tmp_path, wheel):
    """BoT-SORT of the package `trackers`, on detections of the small FDTA."""
    install = Install(tmp_path, wheel)
    install.add('[onedl,trackers]')
    install.run('mmfdta', 'minidance', 'data', *VIDEOS)
    options = ('--config', 'botsort_fdta-det_mini', '--checkpoint', 'minidance')
    for name in ('minidance0000', 'minidance0001'):
        track = ('mmfdta', 'track', f'data/test/{name}', *options)
        install.run(*track, '--out', f'results/{name}.txt')
    install.run(
        *('mmfdta', 'evaluate', '--gt', 'data/test', '--results', 'results'),
        *('--benchmark', 'minidance', '--out', 'scores.json'),
    )
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert scores['classes']['all']['COMBINED']['HOTA'] > 0.6


def test_cluster(tmp_path, wheel):
    """Two workers on Ray write what one process writes, without PyTorch.

    The model is exported by the environment of the tests.
    """
    export_model(tmp_path / 'model')
    install = Install(tmp_path, wheel)
    install.add('[runtime,cluster]')
    listed = install.run('python', '-m', 'pip', 'list', '--format=freeze')
    assert 'ray==' in listed and 'torch==' not in listed
    install.run('mmfdta', 'minidance', 'data', *VIDEOS)
    track = ('mmfdta', 'track', 'data/test/*', '--model', 'model', '--formats', 'txt')
    install.run(*track, '--out-dir', 'alone')
    install.run(*track, '--out-dir', 'on_ray', '--ray', 'local', '--ray-workers', '2')
    texts = {path.name for path in (tmp_path / 'alone').glob('*.txt')}
    assert texts == {'minidance0000_tracks.txt', 'minidance0001_tracks.txt'}
    for name in texts:
        rows = (tmp_path / 'alone' / name).read_text()
        assert len(rows.splitlines()) > 40
        assert (tmp_path / 'on_ray' / name).read_text() == rows


SCORE_EVENTS = """
import motmetrics as mm
import pandas as pd

events = pd.read_csv('events.csv', index_col=['FrameId', 'Event'])
scores = mm.metrics.create().compute(events, return_dataframe=False)
print('MOTA', float(scores['mota']), 'IDF1', float(scores['idf1']))
"""

TINY_DEPTH_NETWORK = """
import transformers

backbone = transformers.Dinov2Config(
    hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=1,
    image_size=56, patch_size=14, reshape_hidden_states=False,
    out_features=['stage1', 'stage2', 'stage3', 'stage4'],
)
config = transformers.DepthAnythingConfig(
    backbone_config=backbone, reassemble_hidden_size=16, patch_size=14,
    neck_hidden_sizes=[4, 4, 8, 8], fusion_hidden_size=8, head_hidden_size=4,
)
model = transformers.DepthAnythingForDepthEstimation(config)
for parameter in model.head.parameters():
    parameter.data.uniform_(0, 1)
model.save_pretrained('tiny')
transformers.DPTImageProcessor(
    size={'height': 56, 'width': 56}, keep_aspect_ratio=True, ensure_multiple_of=14
).save_pretrained('tiny')
"""
