# Copyright (c) mmfdta authors.
"""The tutorial notebook, run from its first cell to its last in a kernel of its own."""

import base64
import json
import re
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from mmfdta.version import __repository__

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / 'examples' / 'mmfdta_tutorial.ipynb'
ITERATIONS = 5
"""Of the training here; a reader's take a minute."""


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Where the notebook runs."""
    return tmp_path_factory.mktemp('notebook')


@pytest.fixture(scope='module')
def outputs(folder, tmp_path_factory) -> list[nbformat.NotebookNode]:
    """What all cells have shown; a cell that fails raises here."""
    notebook = nbformat.read(NOTEBOOK, 4)
    (settings,) = (cell for cell in notebook.cells if cell.id == 'settings')
    settings.source, replaced = re.subn(
        r'^ITERATIONS = \d+', f'ITERATIONS = {ITERATIONS}', settings.source
    )
    assert replaced == 1
    home = tmp_path_factory.mktemp('jupyter')
    with pytest.MonkeyPatch.context() as patch:
        for name in ('IPYTHONDIR', 'JUPYTER_DATA_DIR', 'JUPYTER_RUNTIME_DIR'):
            patch.setenv(name, str(home / name))
        NotebookClient(
            notebook, timeout=600, resources={'metadata': {'path': str(folder)}}
        ).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == 'code']
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1))
    return [output for cell in code for output in cell.outputs]


def shown(outputs: list[nbformat.NotebookNode], kind: str) -> list[str]:
    """Outputs of a MIME type."""
    found = (output.get('data', {}) for output in outputs)
    return [data[kind] for data in found if kind in data]


def test_fdta_beats_the_baselines_by_association(outputs, folder):
    report = json.loads((folder / 'work_dirs/compare/benchmark.json').read_text())
    scores = {tracker['name']: tracker['scores'] for tracker in report['trackers']}
    assert list(scores) == ['FDTA', 'ByteTrack', 'SORT']
    hota = {name: values['HOTA'] for name, values in scores.items()}
    assert 0.7 < hota['FDTA'] < 0.95
    assert hota['FDTA'] > hota['ByteTrack'] + 0.05 > hota['SORT'] > 0.3
    # They have the same detections.
    assert abs(scores['FDTA']['DetA'] - scores['ByteTrack']['DetA']) < 0.03
    (table,) = shown(outputs, 'text/markdown')
    for name, value in hota.items():
        assert re.search(rf'\| {name} +\| +{100 * value:.1f} \|', table)


def test_the_compared_weights_are_trained_from_those_of_the_package(outputs, folder):
    files = (
        ROOT / 'mmfdta/minidance/weights/fdta_mini.pth',
        folder / f'work_dirs/tutorial/iter_{ITERATIONS}.pth',
    )
    before, after = (torch.load(file, weights_only=True) for file in files)
    before, after = before['state_dict'], after['state_dict']
    assert before.keys() == after.keys()
    moved = [float((after[n].float() - before[n].float()).abs().max()) for n in after]
    assert 0 < max(moved) < 0.01


def test_the_video_has_every_frame_with_its_tracks(outputs, folder):
    (html,) = (page for page in shown(outputs, 'text/html') if '<video' in page)
    content = base64.b64decode(re.search(r'data:video/mp4;base64,([^"]+)', html)[1])
    assert content == (folder / 'dance.mp4').read_bytes()
    video = cv2.VideoCapture(str(folder / 'dance.mp4'))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 60
    rows = np.loadtxt(folder / 'dance.txt', delimiter=',')
    assert set(rows[:, 0]) == set(range(1, 61))
    printed = ''.join(o.text for o in outputs if o.output_type == 'stream')
    x, y, w, h = rows[0, 2:6]
    box = re.search(r'frame 1, identity \d+, box \[(.+)\]', printed)[1]
    assert np.allclose([*map(float, box.split(','))], [x, y, x + w, y + h], atol=0.1)


def test_plots_are_shown(outputs):
    pictures = shown(outputs, 'image/png')
    assert len(pictures) == 2
    for picture in pictures:
        content = np.frombuffer(base64.b64decode(picture), np.uint8)
        image = cv2.imdecode(content, cv2.IMREAD_COLOR)
        assert (image.std(axis=2) > 20).mean() > 0.002  # coloured lines or bars


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == 'code':
            assert cell.outputs == [] and cell.execution_count is None


def test_its_links_lead_to_the_repository():
    notebook = nbformat.read(NOTEBOOK, 4)
    text = '\n'.join(cell.source for cell in notebook.cells)
    assert f'mmfdta[onedl] @ git+{__repository__}"' in text
    pages = re.findall(rf'\({re.escape(__repository__)}/blob/main/([^)]+)\)', text)
    assert len(pages) > 5
    for page in pages:
        assert (ROOT / page).is_file(), page
    name = __repository__.removeprefix('https://github.com/')
    path = NOTEBOOK.relative_to(ROOT).as_posix()
    colab = f'https://colab.research.google.com/github/{name}/blob/main/{path}'
    texts = [text] + [
        (ROOT / page).read_text(encoding='utf-8')
        for page in ('README.md', 'docs/getting_started.md')
    ]
    assert all(f'({colab})' in text for text in texts)
