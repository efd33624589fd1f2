# Copyright (c) mmfdta authors.
"""The benchmark on a tiny data set, against the commands that it stands for."""

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

import mmfdta.apis.benchmark.command as command
from mmfdta.apis.benchmark import worker
from mmfdta.apis.benchmark.contestants import read_line_up
from mmfdta.apis.benchmark.fingerprints import detector_fingerprint, run_fingerprint
from mmfdta.apis.benchmark.runs import Job
from mmfdta.apis.config import find_config
from mmfdta.cli.main import main
from mmfdta.evaluation import cli

BYTE, SORT = 'bytetrack_fdta-det_mini', 'sort_fdta-det_mini'


@pytest.fixture
def in_process(monkeypatch):
    """Run jobs here: starting a process takes longer than these jobs."""
    done = []

    def run(process, check):
        done.append(Job.load(Path(process[-1])).name)
        return subprocess.CompletedProcess(process, worker.main(process[-1:]))

    monkeypatch.setattr(command.subprocess, 'run', run)
    return done


def texts(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob('*.txt'))}


def test_tracks_and_scores_are_those_of_the_other_commands(arena, capsys):
    """Detections shared or not; processes of their own; a folder as contestant."""
    weights = arena.weights
    assert arena.run(f'fdta_mini={weights}', f'{BYTE}={weights}') == 0
    out = arena.folder / 'out'
    for name in ('fdta_mini', BYTE):
        settings = ['test_dataloader.num_workers=0', *arena.options()]
        settings += ['test_dataloader.persistent_workers=False']
        folder = arena.folder / name
        main(
            [
                *('test', name, str(weights), '--work-dir', str(folder / 'work')),
                *('--out', str(folder / 'tracks'), '--cfg-options', *settings),
            ]
        )
        expected = texts(folder / 'tracks')
        assert all(expected.values())
        assert texts(out / 'runs' / name / 'tracks') == expected
    document = json.loads((out / 'benchmark.json').read_text())
    shared = {t['name']: t['shares_detections'] for t in document['trackers']}
    assert shared == {'fdta_mini': False, BYTE: True}
    folder = arena.folder / 'fdta_mini' / 'tracks'
    arguments = ['--gt', str(arena.data / 'test'), '--results', str(folder)]
    cli.main([*arguments, '--benchmark', 'minidance', '--out', str(arena.folder)])
    evaluated = json.loads((arena.folder / 'scores.json').read_text())
    expected = evaluated['classes']['all']['COMBINED']
    capsys.readouterr()
    assert arena.run(f'fdta_mini={weights}', f'text={folder}') == 0
    assert 'fdta_mini: reused' in capsys.readouterr().out
    document = json.loads((out / 'benchmark.json').read_text())
    assert 0 < expected['HOTA'] < 1
    for contestant in document['trackers']:
        for metric, value in contestant['scores'].items():
            assert value == pytest.approx(expected[metric]), metric
    assert document['trackers'][1]['timing'] is None
    assert document['differences']['text']['HOTA']['overall'] == 0
    first = document['trackers'][0]
    assert first['cost']['parameters'] == sum(
        value.numel()
        for name, value in torch.load(weights, weights_only=True)['state_dict'].items()
        if not name.endswith(('running_mean', 'running_var', 'num_batches_tracked'))
        and 'bin_values' not in name
    )
    assert first['peak_memory'] > 100 * 2**20
    rows = list(csv.DictReader((out / 'benchmark.csv').open()))
    assert [row['tracker'] for row in rows] == ['fdta_mini', 'text']
    assert float(rows[0]['HOTA']) == pytest.approx(expected['HOTA'])
    for name in ('scores', 'detection_association', 'speed', 'differences'):
        assert (out / f'{name}.png').read_bytes().startswith(b'\x89PNG')


def test_only_what_changed_runs_again(arena, in_process):
    contestants = [f'{name}={arena.weights}' for name in (BYTE, SORT)]
    assert arena.run(*contestants) == 0
    assert in_process == [BYTE, SORT]
    assert arena.run(*contestants) == 0
    assert in_process == [BYTE, SORT]
    record = arena.folder / 'out/runs' / SORT / 'sequences/minidance0000.json'
    kept = record.with_name('minidance0001.json').stat().st_mtime_ns
    record.unlink()
    assert arena.run(*contestants) == 0
    assert in_process == [BYTE, SORT, SORT]
    assert record.with_name('minidance0001.json').stat().st_mtime_ns == kept
    text = (arena.folder / 'out/runs' / SORT / 'tracks/minidance0000.txt').read_text()
    other = arena.folder / 'other.pth'
    content = torch.load(arena.weights, weights_only=True)
    name = 'detector.bbox_head.cls_branches.2.bias'
    content['state_dict'][name] -= 0.7
    torch.save(content, other)
    assert (
        arena.run(*[c.replace(str(arena.weights), str(other)) for c in contestants])
        == 0
    )
    assert in_process[3:] == [BYTE, SORT]
    tracks = arena.folder / 'out/runs' / SORT / 'tracks/minidance0000.txt'
    assert tracks.read_text() != text


def test_a_killed_run_goes_on(arena, in_process, monkeypatch):
    """The process dies in the middle of the second sequence."""
    assert arena.run(f'{BYTE}={arena.weights}') == 0
    out = arena.folder / 'out'
    expected = texts(out / 'runs' / BYTE / 'tracks')
    shutil.rmtree(out)
    update, frames = worker.Progress.update, []

    def die(self):
        frames.append(1)
        if len(frames) == 11:
            raise KeyboardInterrupt
        update(self)

    monkeypatch.setattr(worker.Progress, 'update', die)
    with pytest.raises(KeyboardInterrupt):
        arena.run(f'{BYTE}={arena.weights}')
    assert list(texts(out / 'runs' / BYTE / 'tracks')) == ['minidance0000.txt']
    assert arena.run(f'{BYTE}={arena.weights}') == 0
    assert len(frames) == 11 + 8
    assert texts(out / 'runs' / BYTE / 'tracks') == expected


def test_stages_add_up_to_the_frame(arena, in_process):
    """Each stage gets the time that was spent in it, and no other."""
    from mmfdta.apis.benchmark import frame_runner

    contestants = [f'{name}={arena.weights}' for name in (BYTE, SORT)]
    assert arena.run(*contestants) == 0
    runs = arena.folder / 'out/runs'
    records = [
        json.loads((runs / name / 'sequences/minidance0001.json').read_text())
        for name in (BYTE, SORT)
    ]
    seconds = [np.array(record['seconds']) for record in records]
    assert all(part.shape == (8, len(frame_runner.STAGES)) for part in seconds)
    assert all((part > 0).all() for part in seconds)
    np.testing.assert_array_equal(seconds[0][:, :3], seconds[1][:, :3])
    assert [record['replayed'] for record in records] == [False, True]
    document = json.loads((arena.folder / 'out/benchmark.json').read_text())
    for tracker, name in zip(document['trackers'], (BYTE, SORT), strict=True):
        frames = np.concatenate(
            [
                np.array(json.loads(path.read_text())['seconds'])
                for path in sorted((runs / name / 'sequences').iterdir())
            ]
        )
        middle = np.sort(frames.sum(axis=1))[7:9].mean()
        assert tracker['timing']['frames_per_second'] == pytest.approx(1 / middle)
        detector = np.sort(frames[:, 2])[7:9].mean()
        found = tracker['timing']['stages']['detector']['median']
        assert found == pytest.approx(1000 * detector)


def test_a_tracker_that_is_one_network_has_no_association(arena, in_process):
    """MOTR's queries are its tracks: all its time is the detector's."""
    assert arena.run('motr_mini', '--allow-random-weights') == 0
    document = json.loads((arena.folder / 'out/benchmark.json').read_text())
    stages = document['trackers'][0]['timing']['stages']
    assert stages['association']['median'] is None
    assert stages['total']['median'] > stages['detector']['median'] > 0
    table = (arena.folder / 'out/benchmark.md').read_text()
    assert '| motr_mini ' in table
    assert not (arena.folder / 'out/detections').exists()


def test_fingerprints_follow_what_matters(arena):
    words = [f'{name}={arena.weights}' for name in ('fdta_mini', BYTE, SORT)]
    fdta, byte, sort = read_line_up(words).contestants
    detectors = {detector_fingerprint(c, 'test') for c in (fdta, byte, sort)}
    assert len(detectors) == 1
    machine = dict(device='cpu')
    prints = [run_fingerprint(c, 'test', machine) for c in (fdta, byte, sort)]
    assert len(set(prints)) == 3
    assert run_fingerprint(byte, 'val', machine) not in prints
    assert run_fingerprint(byte, 'test', dict(device='cuda:0')) not in prints
    byte.config.model.tracker.init_track_thr = 0.5
    assert run_fingerprint(byte, 'test', machine) not in prints
    assert detector_fingerprint(byte, 'test') in detectors
    byte.config.model.detector.num_queries = 31
    assert detector_fingerprint(byte, 'test') not in detectors


def test_what_is_missing_is_named(arena, capsys, tmp_path):
    weights = arena.weights
    (tmp_path / 'empty').mkdir()
    line_up = tmp_path / 'line_up.py'
    line_up.write_text(
        "line_up = [dict(name='A', config='fdta_mini', checkpoint='none.pth')]\n"
    )
    for arguments, expected in (
        (['fdta_mini=nowhere.pth'], 'there is no checkpoint nowhere.pth'),
        (['fdta_mini'], 'fdta_mini: no checkpoint is named'),
        (['none_mini'], "there is no config 'none_mini'"),
        ([f'text={tmp_path / "empty"}'], 'only folders of results are named'),
        (
            [f'fdta_mini={weights}', f'text={tmp_path / "empty"}'],
            'lacks the results of 2 of 2 sequences, the first is minidance0000.txt',
        ),
        (
            [f'fdta_mini={weights}', f'fdta_mini={weights}'],
            'two contestants are called',
        ),
        ([str(line_up)], 'A: there is no checkpoint'),
        ([str(line_up), '--skip-missing'], 'every contestant is missing'),
        ([f'fdta_mini={weights}', '--reference', 'X'], "--reference: found 'X'"),
    ):
        assert arena.run(*arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith('mmfdta benchmark: ')
        assert expected in said


def test_contestants_must_see_the_same_images(arena, capsys):
    config = Config.fromfile(find_config(SORT))
    config.test_dataloader.dataset.split = 'val'
    path = arena.folder / 'elsewhere.py'
    config.dump(path)
    assert arena.run(f'{BYTE}={arena.weights}', f'{path}={arena.weights}') == 1
    assert 'on the same images only' in capsys.readouterr().err


def test_a_contestant_that_fails_does_not_stop_the_others(arena, in_process, capsys):
    """MOTIP has no place for the adapters in FDTA's checkpoint."""
    contestants = (f'motip_mini={arena.weights}', f'{BYTE}={arena.weights}')
    assert arena.run(*contestants) == 1
    said = capsys.readouterr()
    assert 'mmfdta benchmark: motip_mini: ' in said.err
    assert 'does not fit the model of the config' in said.err
    assert 'motip_mini failed' in said.err
    assert f'| {BYTE} ' in said.out
    assert '| motip_mini ' not in said.out


@pytest.mark.parametrize('name', ['minidance', 'dancetrack'])
def test_line_ups_name_configs_that_exist(name: str, tmp_path):
    config = Config.fromfile(find_config(f'benchmarks/{name}'))
    for entry in config.line_up:
        (tmp_path / entry['checkpoint']).touch()
        find_config(entry['config'])
    line_up = read_line_up([f'benchmarks/{name}'], checkpoint_dir=tmp_path)
    assert [c.name for c in line_up.contestants] == [e['name'] for e in config.line_up]
    assert line_up.data == config.data
