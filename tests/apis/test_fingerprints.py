# Copyright (c) mmfdta authors.
"""What counts as the code of a tracker or a detector, and what does not."""

import importlib
import os
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmfdta.apis.fingerprints import (
    code_digest,
    config_code_digest,
    file_digest,
    modules_behind,
    modules_of,
    settings_of,
    weights_digest,
)

FILES = {
    'glue/__init__.py': 'from .tracker import PatchTracker',
    'glue/tracker.py': """
        from mmdet.registry import MODELS
        from .boxes import area

        @MODELS.register_module(force=True)
        class PatchTracker:
            size = area(2)
    """,
    'glue/boxes.py': 'from beside import half\n\ndef area(x):\n    return half(x)',
    'glue/detector.py': """
        from torch import nn
        from . import layers

        class GlueDetector(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = layers.GlueLayer()
    """,
    'glue/layers.py': 'from torch import nn\n\nclass GlueLayer(nn.Module):\n    pass',
    'beside.py': 'def half(x):\n    return x / 2',
}


def edit(path: Path, text: str = '\n# edited\n') -> None:
    """Append to a file, and see to it that its time changes."""
    path.write_text(path.read_text() + text)
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))


@pytest.fixture
def glue(tmp_path, monkeypatch):
    """A package of a user, and a module beside it."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text) + '\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in [n for n in sys.modules if n.split('.')[0] in ('glue', 'beside')]:
        del sys.modules[name]


def test_modules_are_followed_in_own_code(glue):
    tracker = importlib.import_module('glue.tracker')
    found = modules_behind(modules_of(tracker.PatchTracker()))
    assert set(found) == {'glue.tracker', 'glue.boxes', 'beside'}
    detector = importlib.import_module('glue.detector')
    # Its base class is PyTorch's, whose version stands for it.
    found = modules_behind(modules_of(detector.GlueDetector()))
    assert set(found) == {'glue.detector', 'glue.layers'}
    assert found['glue.layers'] == (glue / 'glue' / 'layers.py').resolve()


@pytest.mark.parametrize('edited', ['glue/layers.py', 'glue/detector.py'])
def test_an_edited_file_counts_where_it_is_used(glue, edited):
    modules = {
        kind: modules_of(getattr(importlib.import_module(f'glue.{kind}'), name)())
        for kind, name in (('tracker', 'PatchTracker'), ('detector', 'GlueDetector'))
    }
    before = {kind: code_digest(names, []) for kind, names in modules.items()}
    edit(glue / edited)
    after = {kind: code_digest(names, []) for kind, names in modules.items()}
    assert after['tracker'] == before['tracker']
    assert after['detector'] != before['detector']


def test_code_of_a_config_is_all_of_its_packages(glue):
    config = Config(
        dict(
            model=dict(type='FDTA', tracker=dict(type='PatchTracker')),
            custom_imports=dict(imports=['mmfdta.registry', 'glue']),
        )
    )
    importlib.import_module('glue')
    known = {config_code_digest(config)}
    assert known == {config_code_digest(config)}
    for name in FILES:
        edit(glue / name)
        known.add(config_code_digest(config))
    assert len(known) == 1 + len(FILES)
    # A class that the config names in full counts without an import of its own, too.
    config.custom_imports = dict(imports=['mmfdta.registry'])
    config.model.tracker.type = 'glue.tracker.PatchTracker'
    known = {config_code_digest(config)}
    edit(glue / 'glue' / 'boxes.py')
    assert config_code_digest(config) not in known


def test_files_are_read_again_when_they_change(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('one')
    first = file_digest(path)
    edit(path, 'two')
    assert file_digest(path) != first


class Net(nn.Module):
    def __init__(self, heads: int, cfg: dict | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.cfg = cfg
        self.linear = nn.Linear(2, 2)


def test_weights_and_settings_of_a_network():
    torch.manual_seed(0)
    net = Net(2)
    same = Net(2)
    same.load_state_dict(net.state_dict())
    assert weights_digest(net) == weights_digest(same)
    assert settings_of(net) == settings_of(same)
    assert settings_of(Net(3)) != settings_of(net)
    assert settings_of(Net(2, dict(score=0.1))) != settings_of(net)
    # A child can be left out; None and False are the same as nothing.
    assert len(settings_of(net, skip=['linear'])) == 1
    assert weights_digest(net, skip=['linear']) == weights_digest(nn.Module())
    assert settings_of(Net(2, False)) == settings_of(net)
    before = weights_digest(net)
    with torch.no_grad():
        net.linear.bias[1] = torch.nextafter(net.linear.bias[1], torch.tensor(9.0))
    assert weights_digest(net) != before
    assert weights_digest(same.double()) != before
