# Copyright (c) mmfdta authors.
"""Real file systems that are full or read-only: a clear error, nothing lost.

They are mounted, which takes root. Without it the tests beside the code, which limit
the size of files or let writing fail, are what remains.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from loopback import FileServer
from mmengine.config import Config
from small_fdta import build
from tiny_run import command

pytestmark = pytest.mark.faults


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A function that makes a disk of so many bytes, or changes it."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mounted = []

    def make(size: int | None = None, option: str = 'rw') -> Path:
        options = [option, *([f'size={size}'] if size else [])]
        options += ['remount'] if mounted else []
        arguments = ['mount', '-t', 'tmpfs', '-o', ','.join(options), 'tmpfs']
        done = subprocess.run([*arguments, str(folder)], capture_output=True, text=True)
        if done.returncode and not mounted:
            pytest.skip(f'mounting is not permitted: {done.stderr.strip()}')
        assert done.returncode == 0, done.stderr
        mounted.append(folder)
        return folder

    yield make
    if mounted:
        subprocess.run(['umount', '-l', str(folder)], check=True)


def fails(arguments: list[str], environment: dict) -> str:
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    return done.stderr


@pytest.mark.parametrize('state', ['full', 'read-only'])
def test_results_of_a_test(tiny_run, environment, disk, state: str):
    config = tiny_run()
    folder = disk(8192) if state == 'full' else disk()
    out = folder / 'tracks'
    out.mkdir()
    (out / 'seq2.txt').write_text('earlier')
    if state == 'read-only':
        disk(option='ro')
    else:
        (folder / 'ballast').write_bytes(bytes(4096))
    test = command('test', config, '--allow-random-weights', '--out', out)
    said = fails(test, environment)
    assert 'cannot write the results of seq2' in said
    reason = 'No space left on device' if state == 'full' else 'Read-only file system'
    assert reason in said
    assert [path.name for path in out.iterdir()] == ['seq2.txt']
    assert (out / 'seq2.txt').read_text() == 'earlier'
    if state == 'full':
        assert not list(folder.glob('tracks.partial/*'))


def test_an_archive(tiny_run, environment, disk, tmp_path: Path):
    """No video is blamed, and with more room the archive goes on."""
    config = tiny_run()
    sequences = sorted((tmp_path / 'data/val').iterdir())
    for number, sequence in enumerate(sequences):
        sequence.rename(sequence.with_name(f'v{number}'))
    weights = tmp_path / 'weights.pth'
    model = build(Config.fromfile(config).model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), weights)
    folder = disk(12 << 10)
    track = command('track', tmp_path / 'data/val/*', '--config', config)
    track += ['--checkpoint', weights, '--formats', 'json', '--out-dir']
    track = [*map(str, track), str(folder)]
    (folder / 'ballast').write_bytes(bytes(4 << 10))
    *_, last = fails(track, environment).splitlines()
    assert 'the disk is full' in last or 'cannot write the ledger' in last
    ledger = folder / 'archive.jsonl'
    assert not ledger.exists() or '"failed"' not in ledger.read_text()
    disk(1 << 20)
    done = subprocess.run(track, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = [f'v{number}_tracks.json' for number in range(len(sequences))]
    assert sorted(path.name for path in folder.glob('*.json')) == names
    assert len(names) == 3


def test_checkpoints(tiny_run, environment, disk, tmp_path: Path):
    """The disk holds two and a half checkpoints; more room, and it goes on."""
    settings = dict(train_cfg__val_begin=9, custom_hooks__1__interval=99)
    first = tiny_run(**settings, train_cfg__max_epochs=1)
    train = command('train', first, '--work-dir', tmp_path / 'first')
    subprocess.run(train, env=environment, check=True, capture_output=True)
    size = (tmp_path / 'first/epoch_1.pth').stat().st_size
    config = tiny_run(**settings, train_cfg__max_epochs=4)
    work = disk(int(2.5 * size)) / 'run'
    train = command('train', config, '--work-dir', work)
    said = fails(train, environment)
    assert 'cannot write the checkpoint, the disk is full' in said
    assert 'epoch_3.pth' in said
    assert sorted(p.name for p in work.glob('*.pth')) == ['epoch_1.pth', 'epoch_2.pth']
    assert not list(work.glob('.*.part'))
    for path in work.glob('*.pth'):
        torch.load(path, weights_only=True)
    disk(6 * size)
    subprocess.run(
        [*train, '--resume'], env=environment, check=True, capture_output=True
    )
    whole = command('train', config, '--work-dir', tmp_path / 'whole')
    subprocess.run(whole, env=environment, check=True, capture_output=True)
    weights = [
        torch.load(folder / 'epoch_4.pth', weights_only=True)['state_dict']
        for folder in (work, tmp_path / 'whole')
    ]
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('state', ['full', 'quietly full', 'read-only'])
def test_fetched_weights(environment, disk, state: str):
    """The space of the part that came is free again."""
    folder = disk(1 << 20) if state != 'read-only' else disk()
    if state == 'read-only':
        disk(option='ro')
    length = '' if state == 'quietly full' else None
    with FileServer(bytes(2 << 20), length=length) as server:
        places = dict(TORCH_HOME=str(folder), MMFDTA_MIRROR=server.root)
        fetch = command('weights', 'yolox-nano', '--no-progress')
        (line,) = fails(fetch, {**environment, **places}).splitlines()
    place = folder / 'hub/checkpoints'
    if state == 'read-only':
        assert f'{place}: cannot write there (Read-only file system)' in line
    else:
        assert f'{place}: no space for yolox_nano.pth' in line
        assert not [path for path in folder.rglob('*') if path.is_file()]


def test_a_run_whose_checkpoints_cannot_be_written(
    tiny_run, environment, disk, tmp_path: Path
):
    """The log goes elsewhere; what an earlier run left stays."""
    kept = disk()
    (kept / 'run').mkdir()
    (kept / 'run/epoch_1.pth').write_text('earlier')
    disk(option='ro')
    config = tiny_run(
        train_cfg__val_begin=9, default_hooks__checkpoint__out_dir=str(kept)
    )
    train = command('train', config, '--work-dir', tmp_path / 'run')
    said = fails(train, environment)
    assert 'Read-only file system' in said and str(kept) in said
    assert (kept / 'run/epoch_1.pth').read_text() == 'earlier'
    assert [path.name for path in kept.rglob('*')] == ['run', 'epoch_1.pth']


@pytest.mark.parametrize('state', ['full', 'read-only'])
def test_scores_and_videos(tiny_run, environment, disk, tmp_path: Path, state: str):
    folder = disk(68 << 10)
    (folder / 'ballast').write_bytes(bytes(56 << 10))
    for name in ('scores.json', 'video.mp4', 'video.txt'):
        (folder / name).write_text('earlier')
    if state == 'read-only':
        disk(68 << 10, option='ro')
    results = tmp_path / 'results'
    results.mkdir()
    config = tiny_run()
    truth = Path(Config.fromfile(config).val_dataloader.dataset.data_root) / 'val'
    for sequence in truth.iterdir():
        rows = (sequence / 'gt/gt.txt').read_text()
        (results / f'{sequence.name}.txt').write_text(rows)
    evaluate = command('evaluate', '--gt', truth, '--results', results, '--out')
    said = fails([*evaluate, str(folder / 'scores.json')], environment)
    reason = 'No space left on device' if state == 'full' else 'Read-only file system'
    assert 'scores.json' in said and reason in said

    track = command('track', truth / 'seq2/img1', '--config', config)
    track += ['--allow-random-weights', '--out']
    for name in ('video.mp4', 'video.txt'):
        said = fails([*track, str(folder / name)], environment)
        if state == 'full':
            assert 'the disk is full' in said and name in said
        else:
            assert 'cannot write into the folder' in said and str(folder) in said
    for name in ('scores.json', 'video.mp4', 'video.txt'):
        assert (folder / name).read_text() == 'earlier'
    names = ['ballast', 'scores.json', 'video.mp4', 'video.txt']
    assert sorted(path.name for path in folder.iterdir()) == names
