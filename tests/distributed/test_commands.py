# Copyright (c) mmfdta authors.
"""The shell scripts for several processes and machines, with a small FDTA."""

import re
import subprocess
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmfdta.ops import accelerate

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def _run(
    environment: dict[str, str], script: str, *arguments: object, nodes: int = 1
) -> str:
    """Run a script, on each of several machines, which are this one."""
    started = [
        subprocess.Popen(
            ['bash', str(TOOLS / script), *map(str, arguments)],
            env={**environment, 'NNODES': str(nodes), 'NODE_RANK': str(node)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for node in range(nodes)
    ]
    texts = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0] * nodes, texts
    return texts[0]


def _texts(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.rglob('*.txt')}


@pytest.mark.dist
def test_two_processes_train_and_track_like_one(
    tiny_run, environment, free_port: int, tmp_path: Path
):
    environment = {**environment, 'PORT': str(free_port)}
    path = tiny_run(train_cfg__max_epochs=1, train_cfg__val_begin=2)
    log = _run(environment, 'dist_train.sh', path, 1, nodes=2)
    # Seven clips: four each, one of them twice.
    assert re.search(r'Epoch\(train\) \[1\]\[4/4\]', log)
    config = Config.fromfile(path)
    config.load_from = str(Path(config.work_dir, 'epoch_1.pth'))
    config.test_evaluator.out_dir = str(tmp_path / 'one')
    config.work_dir = str(tmp_path / 'work_one')
    runner = Runner.from_cfg(config)
    accelerate(runner.model)  # as the verb does
    scores = runner.test()
    expected = _texts(tmp_path / 'one')
    assert sorted(expected) == ['seq2.txt', 'seq3.txt', 'seq4.txt']
    assert all(expected.values())

    del environment['PORT']  # another one is found
    arguments = [path, config.load_from, 2, '--out']
    log = _run(environment, 'dist_test.sh', *arguments, tmp_path / 'two')
    assert _texts(tmp_path / 'two') == expected
    hota = re.findall(r'mot/HOTA: (\d\.\d+)', log)
    assert hota == [f'{scores["mot/HOTA"]:.4f}']

    # One sequence for two processes.
    only = "test_dataloader.dataset.sequences=['seq4']"
    arguments += [tmp_path / 'few', '--cfg-options', only]
    _run(environment, 'dist_test.sh', *arguments)
    assert _texts(tmp_path / 'few') == {'seq4.txt': expected['seq4.txt']}
