# Copyright (c) mmfdta authors.
"""Verbs on many files in two processes, by each launcher: all that one process does."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from small_fdta import build
from tiny_run import ROOT, command, write_sequence

from mmfdta.cli.main import main

pytestmark = pytest.mark.dist

# Variables of process N of two.
LAUNCHERS = {
    'pytorch': 'RANK=N WORLD_SIZE=2 LOCAL_RANK=N',
    'slurm': 'SLURM_PROCID=N SLURM_NTASKS=2 SLURM_LOCALID=N SLURM_NODELIST=localhost',
    'mpi': 'OMPI_COMM_WORLD_RANK=N OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=N '
    'OMPI_COMM_WORLD_LOCAL_SIZE=2',
}


def run_two(
    launcher: str, port: int, environment: dict, *arguments: object
) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of both processes."""
    base = {**environment, 'MASTER_PORT': str(port)}
    base.pop('LOCAL_RANK', None)
    if launcher == 'pytorch':
        base['MASTER_ADDR'] = '127.0.0.1'
    processes = []
    for rank in range(2):
        told = LAUNCHERS[launcher].replace('N ', f'{rank} ').replace('=N', f'={rank}')
        processes.append(
            subprocess.Popen(
                command(*arguments, '--launcher', launcher),
                env=base | dict(pair.split('=') for pair in told.split()),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    texts = [process.communicate() for process in processes]
    codes = [process.returncode for process in processes]
    return [(code, *text) for code, text in zip(codes, texts, strict=True)]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob('*')) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_first_process_reports_what_all_have_checked(
    environment, free_port, tmp_path, capsys
):
    for number in range(5):
        write_sequence(tmp_path / f'train/seq{number}', 2, number)
    write_sequence(tmp_path / 'val/alone', 2, 9)
    for number in (1, 4):
        (tmp_path / f'train/seq{number}/img1/00000002.jpg').write_bytes(b'')
    check = ['check-data', 'mot', str(tmp_path)]
    assert main(check) == 1
    expected = capsys.readouterr().out
    assert '2 errors' in expected
    first, second = run_two('slurm', free_port, environment, *check)
    assert (first[0], first[1]) == (1, expected), first[2]
    assert (second[0], second[1]) == (1, ''), second[2]


def test_depth_maps_of_two_processes_are_those_of_one(
    environment, free_port, tmp_path, capsys
):
    for number in range(3):
        folder = tmp_path / f'two/train/seq{number}'
        write_sequence(folder, 2, number)
        (folder / 'depth').rename(folder.with_name(f'maps{number}'))
    for path in (tmp_path / 'two/train').glob('maps*'):
        shutil.move(path, tmp_path / f'maps/seq{path.name[-1]}')
    shutil.copytree(tmp_path / 'two', tmp_path / 'one')

    def arguments(name):
        options = ['--kind', 'mot', '--backend', 'folder', '--maps']
        return [
            'generate-depth',
            str(tmp_path / name),
            *options,
            str(tmp_path / 'maps'),
        ]

    assert main(arguments('one')) == 0
    expected = capsys.readouterr().out
    first, second = run_two('pytorch', free_port, environment, *arguments('two'))
    assert (first[0], first[1]) == (0, expected), first[2]
    assert (second[0], second[1]) == (0, ''), second[2]
    assert contents(tmp_path / 'two') == contents(tmp_path / 'one')
    assert len([*(tmp_path / 'two').rglob('depth/*.png')]) == 6


def test_checkpoints_are_converted_by_two_processes_but_for_the_broken_one(
    environment, free_port, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    config = Config.fromfile(ROOT / 'configs/deformable_detr_mini.py')
    weights = MODELS.build(config.model).state_dict()
    sources = ['a/last.v1.0.pth', 'b/last.v1.0.pth', 'broken.pth', 'c/best one.pth']
    for number, source in enumerate(sources):
        Path(source).parent.mkdir(exist_ok=True)
        torch.save(dict(state_dict={k: v + number for k, v in weights.items()}), source)
    Path('broken.pth').write_bytes(b'no checkpoint')

    assert main(['convert', *sources, '--out-dir', 'one']) == 1
    said = capsys.readouterr()
    assert said.out.count('wrote:') == 3
    lines = said.err.splitlines()
    assert lines[0].startswith('mmfdta convert: broken.pth: ')
    assert lines[1:] == ['mmfdta convert: 1 of 4 not converted: broken.pth']
    files = sorted(os.listdir('one'))
    assert files == ['best one.pth', 'last.v1.0.pth', 'last.v1.0_2.pth']
    second = torch.load('one/last.v1.0_2.pth')['state_dict']
    name = 'detector.bbox_head.cls_branches.0.bias'
    assert torch.equal(second[name], weights[name.removeprefix('detector.')] + 1)

    arguments = ['convert', *sources, '--out-dir', 'two']
    ended = run_two('mpi', free_port, environment, *arguments)
    assert [code for code, _, _ in ended] == [1, 1], ended
    errors = sorted(line for _, _, text in ended for line in text.splitlines())
    assert errors == sorted(lines)
    assert contents(Path('two')) == contents(Path('one'))


def test_an_archive_is_tracked_by_two_processes_as_by_one(
    environment, free_port, tiny_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    config = tiny_run()
    torch.save(
        dict(state_dict=build(Config.fromfile(config).model).state_dict()),
        'weights.pth',
    )
    for number in range(5):
        write_sequence(Path(f'videos/seq{number}'), 4 + number, number)
    broken = Path('videos/seq2/img1/00000003.jpg')
    frame = broken.read_bytes()
    broken.write_bytes(b'no image')
    sources = [f'videos/seq{number}/img1' for number in range(5)]
    track = ['track', *sources, '--config', str(config), '--checkpoint', 'weights.pth']
    track += ['--formats', 'txt', '--no-progress', '--out-dir']

    def results(folder: str) -> dict[str, bytes]:
        found = contents(Path(folder))
        return {name: found[name] for name in found if name.endswith('.txt')}

    assert main([*track, 'one']) == 1
    capsys.readouterr()
    ended = run_two('pytorch', free_port, environment, *track, 'two')
    assert [code for code, _, _ in ended] == [1, 1], ended
    last = f'mmfdta track: 1 of 5 not complete: {sources[2]}'
    assert ended[0][2].splitlines()[-1] == last
    assert last not in ended[1][2]
    whole = {f'seq{number}_tracks.txt' for number in (0, 1, 3, 4)}
    assert results('two') == results('one') and whole <= {*results('two')}
    assert {path.name for path in Path('two').glob('*.jsonl')} == {
        'archive-0.jsonl',
        'archive-1.jsonl',
    }

    # One process goes on where two have ended.
    broken.write_bytes(frame)
    capsys.readouterr()
    assert main([*track, 'two', '--retry-failed']) == 0
    assert '4 of 5 are complete there' in capsys.readouterr().err
    assert main([*track, 'three']) == 0
    assert results('two') == results('three')

    # What is not shared by files.
    for options, said in (
        (['--gallery', 'who.npz', '--out-dir', 'x'], '--gallery: '),
        ([], '--launcher: '),
    ):
        assert main([*track[:-1], *options, '--launcher', 'slurm']) == 1
        assert (
            capsys.readouterr().err.splitlines()[-1].startswith(f'mmfdta track: {said}')
        )
