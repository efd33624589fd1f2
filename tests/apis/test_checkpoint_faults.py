# Copyright (c) mmfdta authors.
"""Checkpoints that are broken, hostile or another model's, at every way in."""

import contextlib
import io
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_run import tiny_run

from mmfdta.apis import MOTInferencer
from mmfdta.cli.main import main

__all__ = ['tiny_run']

pytestmark = pytest.mark.faults


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def good(path: Path, model: dict) -> None:
    meta = dict(epoch=0, iter=0, seed=0)
    torch.save(dict(state_dict=model, meta=meta, message_hub={}), path)


def truncated(path: Path, model: dict, trace: Path) -> None:
    good(path, model)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path, model: dict, trace: Path) -> None:
    path.touch()


def text(path: Path, model: dict, trace: Path) -> None:
    path.write_text('<html>404: not found</html>')


def hostile(path: Path, model: dict, trace: Path) -> None:
    torch.save(dict(state_dict=model, meta=Hostile(trace)), path)


def hostile_legacy(path: Path, model: dict, trace: Path) -> None:
    content = dict(state_dict=model, meta=Hostile(trace))
    torch.save(content, path, _use_new_zipfile_serialization=False)


def bare_pickle(path: Path, model: dict, trace: Path) -> None:
    path.write_bytes(pickle.dumps(Hostile(trace)))


def of_another_model(path: Path, model: dict, trace: Path) -> None:
    good(path, {'backbone.stem.weight': torch.ones(3, 3)})


FAULTS = (
    *(truncated, empty, text, hostile, hostile_legacy, bare_pickle, of_another_model),
)
TINY = {'weight': torch.ones(4)}


def run(arguments: list[str]) -> None:
    """Run a command that ends in one line."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert main(arguments) == 1
    (line,) = [x for x in said.getvalue().splitlines() if x.startswith('mmfdta ')]
    sys.exit(line)


def resume(config: Path, checkpoint: Path) -> None:
    run(['train', str(config), '--resume', str(checkpoint)])


def start(config: Path, checkpoint: Path) -> None:
    options = ['--cfg-options', f'load_from={checkpoint}']
    run(['train', str(config), *options])


def last(config: Path, checkpoint: Path) -> None:
    """Resume without a name."""
    work = config.parent / 'work'
    work.mkdir()
    (work / 'last_checkpoint').write_text(str(checkpoint))
    run(['train', str(config), '--resume'])


def test(config: Path, checkpoint: Path) -> None:
    run(['test', str(config), str(checkpoint)])


def infer(config: Path, checkpoint: Path) -> None:
    try:
        MOTInferencer(str(config), str(checkpoint), device='cpu')
    except (ValueError, RuntimeError) as error:
        sys.exit(str(error))


def convert_it(config: Path, checkpoint: Path) -> None:
    run(['convert', str(checkpoint), str(config.parent / 'converted.pth')])


WAYS = (resume, start, last, test, infer, convert_it)
test.__test__ = False


@pytest.mark.parametrize('way', WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: fault.__name__)
def test_it_is_refused_by_name_and_nothing_runs(
    tiny_run, tmp_path: Path, monkeypatch, way: Callable, fault: Callable
):
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    monkeypatch.setenv('LOCAL_RANK', '0')
    trace, checkpoint = tmp_path / 'trace', tmp_path / 'broken.pth'
    # Who reads data before the checkpoint fails in another way.
    config = tiny_run(
        train_dataloader__dataset__data_root=str(tmp_path / 'nowhere'),
        test_dataloader__dataset__data_root=str(tmp_path / 'nowhere'),
    )
    fault(checkpoint, TINY, trace)
    content = checkpoint.read_bytes()
    with pytest.raises(SystemExit) as caught:
        way(config, checkpoint)
    assert 'broken.pth' in str(caught.value)
    assert not trace.exists(), 'the code in the file was run'
    assert checkpoint.read_bytes() == content


def test_the_payload_works(tmp_path: Path):
    """The folder would be there if a file had been unpickled."""
    bare_pickle(tmp_path / 'a.pth', TINY, tmp_path / 'trace')
    pickle.loads((tmp_path / 'a.pth').read_bytes())
    assert (tmp_path / 'trace').is_dir()
