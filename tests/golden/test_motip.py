# Copyright (c) mmfdta authors.
"""MOTIP, which is FDTA without adapters, beside the released MOTIP."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from case_end_to_end import test_dataset as open_dataset
from golden_files import DATA
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor
from weights import golden_weights

from mmfdta.checkpoints import convert_state_dict
from mmfdta.models.detectors import DetectorOutputs

FOLDER = Path(__file__).parent / 'motip'
ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/motip_dancetrack.py'
FRAMES = 24


def _previous_names() -> dict[str, str]:
    path = ROOT / 'tests/checkpoints/samples.py'
    spec = importlib.util.spec_from_file_location('checkpoint_samples', path)
    samples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(samples)
    return {old: new for new, old in samples.previous_association_names().items()}


def released_state_dict(naming: str, settings: dict) -> dict[str, Tensor]:
    """Formula weights under the names of a released model."""
    names = json.loads((FOLDER / 'names.json').read_text())
    current = _previous_names() if naming == 'previous' else {}
    state_dict = {}
    for name, shape in (names['detector'] | names[naming]).items():
        known = current.get(name, name)
        values = torch.from_numpy(
            golden_weights().fill(known, tuple(shape), settings['seed'])
        )
        if 'class_embed' in name and name.endswith('bias'):
            values.fill_(settings['class_bias'])
        state_dict[name] = values
    return state_dict


@pytest.fixture(scope='module')
def golden() -> dict[str, np.ndarray]:
    with np.load(FOLDER / 'motip.npz') as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope='module')
def settings(golden) -> dict:
    return json.loads(str(golden['meta']))


@pytest.fixture(scope='module')
def model(settings):
    """The config's model, strictly loaded with converted weights."""
    model = MODELS.build(Config.fromfile(CONFIG).model)
    released = released_state_dict('current', settings)
    model.load_state_dict(convert_state_dict(released).state_dict, strict=True)
    return model.eval()


@pytest.fixture(scope='module')
def batches(model, settings, tmp_path_factory) -> list[dict]:
    """The frames, through the test pipeline of the config."""
    root = tmp_path_factory.mktemp('frames')
    sequence = root / 'val' / 'seq'
    shutil.copytree(DATA / 'end_to_end' / 'img1', sequence / 'img1')
    (sequence / 'seqinfo.ini').write_text(
        f'[Sequence]\nname=seq\nimDir=img1\nframeRate=20\nseqLength={FRAMES}\n'
        'imWidth=320\nimHeight=240\nimExt=.png\n'
    )
    dataset = open_dataset(Config.fromfile(CONFIG), root, settings)
    return [
        model.data_preprocessor(pseudo_collate([dataset[t]])) for t in range(FRAMES)
    ]


@pytest.fixture(scope='module')
def detections(model, batches) -> list[DetectorOutputs]:
    with torch.no_grad():
        return [model(**batch, mode='tensor') for batch in batches]


def test_the_detector_says_the_same(golden, settings, detections):
    for i, frame in enumerate(settings['frames']):
        found = detections[frame]
        np.testing.assert_allclose(
            found.cls_scores[-1, 0, :, 0], golden['out_pred_logits'][i], atol=1e-3
        )
        np.testing.assert_allclose(
            found.bbox_preds[-1, 0], golden['out_pred_boxes'][i], atol=2e-5
        )
        np.testing.assert_allclose(
            found.embeddings[0, :: settings['queries']],
            golden['out_embeddings'][i],
            atol=5e-4,
        )


@torch.no_grad()
@pytest.mark.parametrize('protocol', ['object-max', 'hungarian', 'id-max'])
def test_identities_are_the_same(
    golden, model, batches, detections, monkeypatch, protocol: str
):
    """The detector's outputs are those of the test above; it is the slow part."""
    waiting = iter(detections)
    monkeypatch.setattr(model.detector, 'detect', lambda *_: next(waiting))
    model.tracker.protocol = protocol
    score, logits = model.loss_id.scores, []
    monkeypatch.setattr(
        model.loss_id, 'scores', lambda x: logits.append(x) or score(x), raising=False
    )
    rows = []
    for t, batch in enumerate(batches, start=1):
        tracks = model(**batch, mode='predict')[0][0].pred_track_instances
        xywh = tracks.bboxes.double().numpy()
        xywh[:, 2:] -= xywh[:, :2]
        ids = tracks.instances_id.numpy()
        rows += [[t, *row] for row in np.column_stack([ids, xywh])]
    found = np.array(rows)
    expected = golden[f'out_tracks_{protocol.replace("-", "_")}']
    assert len(found) == len(expected)
    # Within a frame the order is free.
    found = found[np.lexsort(found[:, :2].T[::-1])]
    expected = expected[np.lexsort(expected[:, :2].T[::-1])]
    np.testing.assert_array_equal(found[:, :2], expected[:, :2])
    np.testing.assert_allclose(found[:, 2:], expected[:, 2:], atol=0.01)
    for frame in (1, 12):
        np.testing.assert_allclose(
            logits[frame - 1], golden[f'out_id_logits_frame{frame}'], atol=1e-3
        )


def test_both_namings_give_the_same_weights(settings):
    """The previous models look back 40 frames; all else is equal."""
    current, previous = (
        convert_state_dict(released_state_dict(naming, settings))
        for naming in ('current', 'previous')
    )
    families = (current.report.family, previous.report.family)
    assert families == ('motip', 'motip_previous')
    for conversion, window in ((current, 30), (previous, 40)):
        assert not (conversion.report.incomplete or conversion.report.optional)
        config = Config.fromfile(CONFIG)
        config.model.window = window
        with torch.device('meta'):
            expected = MODELS.build(config.model).state_dict()
        found = conversion.state_dict
        assert {name: t.shape for name, t in found.items()} == {
            name: t.shape for name, t in expected.items()
        }
    for name, tensor in current.state_dict.items():
        if name != 'id_decoder.rel_pos_embeds':
            assert torch.equal(tensor, previous.state_dict[name]), name


def test_the_tool_writes_what_the_config_loads(settings, tmp_path):
    source = tmp_path / 'motip.pth'
    weights = released_state_dict('current', settings)
    torch.save(dict(model=weights, states=dict(start_epoch=9)), source)
    tool = [sys.executable, '-W', 'ignore', str(ROOT / 'tools/convert_checkpoint.py')]
    arguments = [str(source), str(tmp_path / 'own.pth'), '--config', str(CONFIG)]
    done = subprocess.run([*tool, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'fits {CONFIG} exactly' in done.stdout
