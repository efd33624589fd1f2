# Copyright (c) mmfdta authors.
"""The benchmark on a tiny data set, against the commands that it stands for."""

import csv
import json
import os
import re
import shutil
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from loopback import FileServer
from mmdet.registry import MODELS
from mmengine.config import Config

from mmfdta.apis.analysis.tune_thresholds import search_fingerprint
from mmfdta.apis.benchmark import read_entries, runs
from mmfdta.apis.benchmark.entries import EntryList
from mmfdta.apis.benchmark.results import Timing
from mmfdta.apis.benchmark.runs import run_fingerprint
from mmfdta.apis.config import find_config
from mmfdta.apis.detection_store import DetectionStore, detection_fingerprint
from mmfdta.apis.evaluation_data import EvaluationData, open_dataset
from mmfdta.apis.model_loading import load_tracker, part_checkpoints
from mmfdta.apis.sequence_loop import STAGES, SequenceLoop
from mmfdta.cli.main import main
from mmfdta.structures.mot_text import read_tracks, write_tracks
from mmfdta.structures.track_embeddings import TrackEmbeddings

BYTE, SORT = 'bytetrack_fdta-det_mini', 'sort_fdta-det_mini'


def texts(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob('*.txt'))}


def edit(path: Path, text: str = '\n# edited\n') -> None:
    """Append to a file, and see to it that its time changes."""
    path.write_text(path.read_text() + text)
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))


def test_tracks_and_scores_are_those_of_the_other_commands(arena, capsys):
    """Detections shared or not; processes of their own; a folder as entry."""
    weights = arena.weights
    assert arena.run(f'fdta_mini={weights}', f'{BYTE}={weights}') == 0
    out = arena.folder / 'out'
    for name in ('fdta_mini', BYTE):
        settings = ['test_dataloader.num_workers=0', *arena.options()]
        settings += ['test_dataloader.persistent_workers=False']
        folder = arena.folder / name
        arguments = [name, str(weights), '--work-dir', str(folder / 'work')]
        arguments += ['--out', str(folder / 'tracks'), '--cfg-options', *settings]
        assert main(['test', *arguments, '--keep-embeddings']) == 0
        expected = texts(folder / 'tracks')
        assert all(expected.values())
        for text in expected:
            rows = read_tracks(folder / 'tracks' / text)
            path = (folder / 'tracks' / text).with_suffix('.npz')
            assert (TrackEmbeddings.load(path).of_rows(rows) >= 0).mean() > 0.5
        assert arena.tracks(name) == expected
    document = json.loads((out / 'benchmark.json').read_text())
    shared = {t['name']: t['reused_detections'] for t in document['trackers']}
    assert shared == {'fdta_mini': False, BYTE: True}
    folder = arena.folder / 'fdta_mini' / 'tracks'
    arguments = ['--gt', str(arena.data / 'test'), '--results', str(folder)]
    arguments += ['--benchmark', 'minidance', '--out', str(arena.folder)]
    assert main(['evaluate', *arguments]) == 0
    evaluated = json.loads((arena.folder / 'scores.json').read_text())
    expected = evaluated['classes']['all']['COMBINED']
    capsys.readouterr()
    assert arena.run(f'fdta_mini={weights}', f'text={folder}') == 0
    assert 'fdta_mini: reused' in capsys.readouterr().out
    document = json.loads((out / 'benchmark.json').read_text())
    assert 0 < expected['HOTA'] < 1
    for tracker in document['trackers']:
        for metric, value in tracker['scores'].items():
            assert value == pytest.approx(expected[metric]), metric
    assert document['trackers'][1]['timing'] is None
    assert document['differences']['text']['HOTA']['overall'] == 0
    first = document['trackers'][0]
    assert first['config'] == 'fdta_mini' and document['machine']['threads'] == 1
    assert first['weights'] == dict(model=sha256(weights.read_bytes()).hexdigest())
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


def test_only_what_changed_runs_again(arena, in_process, detected):
    entries = [f'{name}={arena.weights}' for name in (BYTE, SORT)]
    assert arena.run(*entries) == 0
    assert in_process == [BYTE, SORT]
    assert detected == ['minidance0000', 'minidance0001']
    assert arena.run(*entries) == 0
    assert in_process == [BYTE, SORT]
    record = arena.folder / 'out/runs' / SORT / 'sequences/minidance0000.json'
    kept = record.with_name('minidance0001.json').stat().st_mtime_ns
    record.unlink()
    assert arena.run(*entries) == 0
    assert in_process == [BYTE, SORT, SORT]
    assert record.with_name('minidance0001.json').stat().st_mtime_ns == kept
    assert len(detected) == 2
    text = arena.tracks(SORT)
    other = arena.folder / 'other.pth'
    content = torch.load(arena.weights, weights_only=True)
    name = 'detector.bbox_head.cls_branches.2.bias'
    content['state_dict'][name] -= 0.7
    torch.save(content, other)
    assert arena.run(*[e.replace(str(arena.weights), str(other)) for e in entries]) == 0
    assert in_process[3:] == [BYTE, SORT]
    assert len(detected) == 4
    assert arena.tracks(SORT) != text


def test_a_changed_image_is_looked_at_again(arena, in_process, detected):
    data = arena.folder / 'data'
    shutil.copytree(arena.data, data)
    entry = f'{BYTE}={arena.weights}'
    arena.data = data
    assert arena.run(entry) == 0
    image = sorted((data / 'test/minidance0001/img1').iterdir())[3]
    state = image.stat()
    os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    assert arena.run(entry) == 0
    assert detected == ['minidance0000', 'minidance0001', 'minidance0001']


def test_a_changed_text_is_read_again(arena, in_process, detected, tmp_path):
    """Detections that are text decide about tracks as images do."""
    data = arena.folder / 'data'
    shutil.copytree(arena.data, data)
    arena.data = data
    det = {}
    for folder in sorted((data / 'test').iterdir()):
        det[folder.name] = folder / 'det.txt'
        shutil.copy(folder / 'gt/gt.txt', det[folder.name])
    config = Config.fromfile(find_config('boxes_mini'))
    config.model.detector.text = '{folder}/det.txt'
    config.dump(tmp_path / 'text.py')
    weights = tmp_path / 'boxes.pth'
    torch.save(dict(state_dict=MODELS.build(config.model).state_dict()), weights)
    entry = f'text:{tmp_path / "text.py"}={weights}'
    settings = dict(option.split('=') for option in arena.options())
    config.merge_from_dict(
        {key: int(v) if v.isdecimal() else v for key, v in settings.items()}
    )

    def search() -> str:
        model = load_tracker(config, weights, 'cpu')
        opened = EvaluationData.open(config, 'test')
        return search_fingerprint(model, opened, config, 0.0)

    assert arena.run(entry) == 0
    before, searched = arena.tracks('text'), search()
    assert search() == searched
    rows = det['minidance0001'].read_text().splitlines(keepends=True)
    det['minidance0001'].write_text(''.join(r for r in rows if r[:2] != '3,'))
    assert arena.run(entry) == 0
    assert detected == ['minidance0000', 'minidance0001', 'minidance0001']
    after = arena.tracks('text')
    assert after['minidance0000.txt'] == before['minidance0000.txt']
    frames = [line[:2] for line in after['minidance0001.txt'].splitlines()]
    assert '3,' not in frames and '4,' in frames
    # A search by `mmfdta tune` does not go on with other detections either.
    assert search() != searched


def test_an_edited_tracker_reuses_detections_and_an_edited_detector_does_not(
    arena, in_process, detected, monkeypatch
):
    """A scaffolded package with a detector of its own beside the tracker."""
    monkeypatch.chdir(arena.folder)
    monkeypatch.syspath_prepend(str(arena.folder))
    try:
        assert main(['new-tracker', 'PasteTracker']) == 0
        package = arena.folder / 'paste_tracker'
        config = package / 'paste_tracker_mini.py'
        (package / 'detector.py').write_text(
            'from mmdet.registry import MODELS\n'
            'from mmfdta.models import FDTADetector\n\n'
            '@MODELS.register_module()\n'
            'class PasteDetector(FDTADetector):\n'
            '    """Another detector."""\n'
        )
        edit(package / '__init__.py', 'from . import detector\n')
        theirs, ours = arena.folder / 'theirs.py', f'{BYTE}={arena.weights}'
        text = config.read_text().replace(
            'model = dict(', "model = dict(detector=dict(type='PasteDetector'), "
        )
        assert 'PasteDetector' in text
        # Beside the first one, whose bases it shares.
        theirs = config.with_name('theirs_mini.py')
        theirs.write_text(text)
        entries = [f'{config}={arena.weights}', f'{theirs}={arena.weights}', ours]
        names = ['paste_tracker_mini', 'theirs_mini', BYTE]
        both = ['minidance0000', 'minidance0001']
        assert arena.run(*entries) == 0
        # The first and the third have one detector, the second has its own.
        assert in_process == names
        assert detected == both * 2
        assert [r['reused_detections'] for r in arena.records(BYTE)] == [True, True]
        before = {name: arena.tracks(name) for name in names}
        assert before['paste_tracker_mini'] == before['theirs_mini']

        edit(package / 'tracker.py')
        in_process.clear()
        detected.clear()
        assert arena.run(*entries) == 0
        assert in_process == names[:2] and not detected

        edit(package / 'detector.py')
        in_process.clear()
        assert arena.run(*entries) == 0
        # The package counts for both, its detector for one.
        assert in_process == names[:2] and detected == both
        assert {name: arena.tracks(name) for name in names} == before
    finally:
        for name in [n for n in sys.modules if n.split('.')[0] == 'paste_tracker']:
            del sys.modules[name]


def test_settings_of_a_tracker_share_detections(arena, in_process, detected):
    """Options for one entry, on the command line and in a benchmark config."""
    entries = [f'{name}:{BYTE}={arena.weights}' for name in ('plain', 'eager')]
    settings = ['model.tracker.init_track_thr=0.4', 'model.tracker.num_frames_retain=3']
    assert arena.run(*entries, '--cfg-options-for', 'eager', *settings) == 0
    assert in_process == ['plain', 'eager'] and len(detected) == 2
    assert arena.tracks('plain') != arena.tracks('eager')
    listed = arena.folder / 'trackers.py'
    tracker = dict(init_track_thr=0.4, num_frames_retain=3)
    options = {f'model.tracker.{name}': value for name, value in tracker.items()}
    listed.write_text(
        f'entries = [dict(name="plain", config={BYTE!r}, checkpoint="fdta.pth"),\n'
        f'    dict(name="eager", config={BYTE!r}, checkpoint="fdta.pth",\n'
        f'         cfg_options={options})]\n'
    )
    folder = ['--checkpoint-dir', str(arena.weights.parent)]
    assert arena.run(str(listed), *folder) == 0
    # The same entries by another way.
    assert in_process == ['plain', 'eager']
    # The command line has the last word.
    word = ['--cfg-options-for', 'eager', 'model.tracker.init_track_thr=0.7']
    assert arena.run(str(listed), *folder, *word) == 0
    assert in_process[2:] == ['eager'] and len(detected) == 2
    config = Config.fromfile(arena.folder / 'out/runs/eager/config.py')
    assert config.model.tracker.init_track_thr == 0.7
    assert config.model.tracker.num_frames_retain == 3


def test_options_for_nobody_and_of_nothing_are_refused(arena, capsys):
    entry = f'{BYTE}={arena.weights}'
    for options, expected in (
        (['other', 'model.tracker.init_track_thr=1'], "found 'other', expected one of"),
        ([BYTE, 'model.trackre.init_track_thr=1'], 'trackre'),
    ):
        assert arena.run(entry, '--cfg-options-for', *options) == 1
        assert expected in capsys.readouterr().err
    with pytest.raises(SystemExit, match='2'):
        arena.run(entry, '--cfg-options-for', BYTE)
    assert 'expected NAME KEY=VALUE' in capsys.readouterr().err
    assert arena.run(entry, '--cfg-options', 'modle.tracker.init_track_thr=1') == 1
    assert "the config has no 'modle'" in capsys.readouterr().err


def test_a_killed_run_goes_on(arena, in_process, monkeypatch):
    """The process dies in the middle of the second sequence."""
    assert arena.run(f'{BYTE}={arena.weights}') == 0
    expected = arena.tracks(BYTE)
    shutil.rmtree(arena.folder / 'out')
    update, frames = runs.Progress.update, []

    def die(self, *args):
        frames.append(1)
        if len(frames) == 11:
            raise KeyboardInterrupt
        update(self, *args)

    monkeypatch.setattr(runs.Progress, 'update', die)
    assert arena.run(f'{BYTE}={arena.weights}') == 130
    assert list(arena.tracks(BYTE)) == ['minidance0000.txt']
    assert arena.run(f'{BYTE}={arena.weights}') == 0
    assert len(frames) == 11 + 8
    assert arena.tracks(BYTE) == expected


def test_stages_add_up_to_the_frame(arena, in_process):
    """Each stage gets the time that was spent in it, and no other."""
    assert arena.run(*[f'{name}={arena.weights}' for name in (BYTE, SORT)]) == 0
    records = [arena.records(name) for name in (BYTE, SORT)]
    seconds = [np.concatenate([r['seconds'] for r in part]) for part in records]
    assert all(part.shape == (16, len(STAGES)) for part in seconds)
    assert all((part > 0).all() for part in seconds)
    np.testing.assert_array_equal(seconds[0][:, :3], seconds[1][:, :3])
    reused = [[r['reused_detections'] for r in part] for part in records]
    assert reused == [[False] * 2, [True] * 2]
    document = json.loads((arena.folder / 'out/benchmark.json').read_text())
    for tracker, frames in zip(document['trackers'], seconds, strict=True):
        middle = np.sort(frames.sum(axis=1))[7:9].mean()
        assert tracker['timing']['frames_per_second'] == pytest.approx(1 / middle)
        detector = np.sort(frames[:, 2])[7:9].mean()
        found = tracker['timing']['stages']['detector']['median']
        assert found == pytest.approx(1000 * detector)


def test_times_of_another_machine_are_not_taken(arena, in_process, detected):
    entry = f'{BYTE}={arena.weights}'
    assert arena.run(entry) == 0
    assert arena.run(entry, '--threads', '2') == 0
    assert in_process == [BYTE] * 2 and len(detected) == 4


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


def test_mmdetection_s_own_model_class_tracks_alike(arena, in_process):
    """It only predicts, so that its time is the detector's."""
    entries = [f'{name}:{BYTE}={arena.weights}' for name in ('own', 'ours')]
    settings = ['model.type=ByteTrack']
    settings += ['model.data_preprocessor.type=TrackerDataPreprocessor']
    assert arena.run(*entries, '--cfg-options-for', 'own', *settings) == 0
    assert arena.tracks('own') == arena.tracks('ours')
    assert any(arena.tracks('own').values())
    document = json.loads((arena.folder / 'out/benchmark.json').read_text())
    stages = [t['timing']['stages']['association'] for t in document['trackers']]
    assert stages[0]['median'] is None and stages[1]['median'] > 0


def test_each_precision_detects_and_tracks_anew(arena, in_process, detected):
    word = f'{BYTE}={arena.weights}'
    for arguments in (
        [word],
        [word, '--precision', 'bf16'],
        # The same by another way; the option of one entry has the last word.
        [word, '--cfg-options', 'precision=bf16'],
        [word, '--precision', 'fp32', '--cfg-options-for', BYTE, 'precision=bf16'],
        [word],
    ):
        assert arena.run(*arguments) == 0
    # What is kept of an entry is its last run; detections are kept of both.
    assert in_process == [BYTE, BYTE, BYTE] and len(detected) == 4
    assert len({path.parent for path in arena.folder.rglob('detections/*/*.npz')}) == 2


def test_run_fingerprints_follow_what_matters(arena):
    words = [f'{name}={arena.weights}' for name in ('fdta_mini', BYTE, SORT)]
    fdta, byte, sort = read_entries(words).entries
    machine = dict(device='cpu')
    prints = [run_fingerprint(e, 'test', machine, 5) for e in (fdta, byte, sort)]
    assert len(set(prints)) == 3
    assert run_fingerprint(byte, 'test', dict(device='cuda:0'), 5) not in prints
    assert run_fingerprint(byte, 'test', machine, 0) not in prints
    byte.config.test_dataloader.dataset.split = 'val'
    # Which images are read is looked up in the images.
    assert run_fingerprint(byte, 'test', machine, 5) in prints
    byte.config.test_dataloader.dataset.pipeline[0].transforms[1].exact = False
    assert run_fingerprint(byte, 'test', machine, 5) not in prints
    sort.config.model.tracker.match_iou_thr = 0.4
    assert run_fingerprint(sort, 'test', machine, 5) not in prints


def test_an_entry_takes_published_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path))
    config = find_config('motip_bft')
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = ['{config}']\ncheckpoint = 'motip-bft'\n")
    with FileServer(b'weights') as server:
        monkeypatch.setenv('MMFDTA_MIRROR', server.root)
        named, default, untrained = (
            read_entries([word], random_weights=random).entries[0].checkpoint
            for word, random in (
                (f'{own}=motip-dancetrack', False),
                (str(own), False),
                (str(own), True),
            )
        )
    assert named.name == 'r50_deformable_detr_motip_dancetrack.pth'
    assert default.name == 'r50_deformable_detr_motip_bft.pth'
    assert untrained is None


def test_trackers_on_one_detector_have_one_store(arena, tmp_path):
    """Who asks first does not matter, and what decides about detections does."""
    known = {}
    pairs = (option.split('=') for option in arena.options())
    options = {key: int(v) if v.isdigit() else v for key, v in pairs}
    for name in ('fdta_mini', BYTE, 'iou-embedding_fdta-det_mini'):
        (entry,) = read_entries(
            [f'{name}={arena.weights}'], cfg_options=options
        ).entries
        model = load_tracker(entry.config, entry.checkpoint, 'cpu')
        known[name] = model, open_dataset(entry.config, 'test')
    prints = {detection_fingerprint(*parts) for parts in known.values()}
    assert len(prints) == 1

    tracks = {}
    for first in known:
        for name, (model, dataset) in known.items():
            store = DetectionStore(tmp_path / first, model, dataset)
            if name == first:
                SequenceLoop(model, dataset, store).detect_all()
        for name, (model, dataset) in known.items():
            loop = SequenceLoop(
                model, dataset, DetectionStore(tmp_path / first, model, dataset)
            )
            frames = loop.track(1, loop.reads(1))
            tracks[name, first] = [
                {k: v.tolist() for k, v in frame.pred_track_instances.items()}
                for frame, _ in frames
            ]
    for name, (model, dataset) in known.items():
        alone = [
            {k: v.tolist() for k, v in frame.pred_track_instances.items()}
            for frame, _ in SequenceLoop(model, dataset).track(1)
        ]
        assert any(frame['instances_id'] for frame in alone)
        for first in known:
            assert tracks[name, first] == alone, (name, first)

    model, dataset = known['fdta_mini']
    model.tracker.det_thr = 0.9
    prints.add(detection_fingerprint(model, dataset))
    assert len(prints) == 1
    with torch.no_grad():
        model.detector.bbox_head.cls_branches[0].bias += 1
    prints.add(detection_fingerprint(model, dataset))
    model.detector.as_two_stage = True
    prints.add(detection_fingerprint(model, dataset))
    model.data_preprocessor.pad_size_divisor = 32
    prints.add(detection_fingerprint(model, dataset))
    (steps, _) = dataset.pipeline.transforms
    steps.transforms.transforms[1].exact = False
    prints.add(detection_fingerprint(model, dataset))
    prints.add(detection_fingerprint(model, dataset, precision='bf16'))
    assert len(prints) == 6


def test_what_is_missing_is_named(arena, capsys, tmp_path):
    weights = arena.weights
    (tmp_path / 'empty').mkdir()
    listed = tmp_path / 'listed.py'
    listed.write_text(
        "entries = [dict(name='A', config='fdta_mini', checkpoint='none.pth')]\n"
    )
    for arguments, expected in (
        (['fdta_mini=nowhere.pth'], 'there is no checkpoint nowhere.pth'),
        (['fdta_mini'], 'fdta_mini: no checkpoint is named'),
        (['none_mini'], "there is no config 'none_mini'"),
        ([f'text={tmp_path / "empty"}'], 'only folders of results are named'),
        (
            [f'fdta_mini={weights}', f'text={tmp_path / "empty"}'],
            'has no results of 2 of 2 sequences, the first is minidance0000.txt',
        ),
        (
            [f'fdta_mini={weights}', f'fdta_mini={weights}'],
            'two entries are called',
        ),
        ([str(listed)], 'A: there is no checkpoint'),
        ([str(listed), '--skip-missing'], 'every entry is missing'),
        ([f'fdta_mini={weights}', '--reference', 'X'], "--reference: found 'X'"),
    ):
        assert arena.run(*arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith('mmfdta benchmark: ')
        assert expected in said


def test_entries_must_see_the_same_images(arena, capsys):
    config = Config.fromfile(find_config(SORT))
    config.test_dataloader.dataset.split = 'val'
    path = arena.folder / 'elsewhere.py'
    config.dump(path)
    assert arena.run(f'{BYTE}={arena.weights}', f'{path}={arena.weights}') == 1
    assert 'on the same images only' in capsys.readouterr().err


def test_foreign_results_of_corners_are_not_scored(arena, in_process, capsys, tmp_path):
    """The others are; of corners the command says what it says of any results."""
    for sequence in (arena.data / 'test').iterdir():
        boxes = read_tracks(sequence / 'gt' / 'gt.txt')
        corners = replace(boxes, xywh=boxes.xyxy)
        write_tracks(tmp_path / 'corners' / f'{sequence.name}.txt', corners)
    entry = f'theirs={tmp_path / "corners"}'
    assert arena.run(entry, f'{BYTE}={arena.weights}') == 1
    said = capsys.readouterr()
    assert 'theirs: not scored: ' in said.out and 'corners x1,y1,x2,y2' in said.out
    assert 'theirs failed' in said.err
    assert f'| {BYTE} ' in said.out and '| theirs ' not in said.out


def test_an_entry_that_fails_does_not_stop_the_others(arena, in_process, capsys):
    """MOTIP has no place for the adapters in FDTA's checkpoint."""
    entries = (f'motip_mini={arena.weights}', f'{BYTE}={arena.weights}')
    assert arena.run(*entries) == 1
    said = capsys.readouterr()
    assert 'mmfdta benchmark: motip_mini: ' in said.err
    assert 'does not fit the model of the config' in said.err
    assert 'motip_mini failed' in said.err
    assert f'| {BYTE} ' in said.out
    assert '| motip_mini ' not in said.out


@pytest.mark.parametrize('name', ['minidance', 'dancetrack'])
def test_benchmark_configs_name_configs_that_exist(name: str, tmp_path):
    config = Config.fromfile(find_config(f'benchmarks/{name}'))
    for entry in config.entries:
        (tmp_path / entry['checkpoint']).touch()
        find_config(entry['config'])
    listed = read_entries([f'benchmarks/{name}'], checkpoint_dir=tmp_path)
    assert [e.name for e in listed.entries] == [e['name'] for e in config.entries]
    assert listed.data == config.data
    for entry, read in zip(config.entries, listed.entries, strict=True):
        detector = entry.get('detector_checkpoint')
        if detector is not None:
            assert part_checkpoints(read.config)['detector'] == str(tmp_path / detector)


def test_the_detector_of_an_entry_is_where_its_checkpoints_are(tmp_path):
    listed, entry = tmp_path / 'listed.py', dict(name='A', config='boxes_fdta-det_mini')
    for name in ('boxes.pth', 'fdta.pth', 'mine.pth'):
        (tmp_path / name).touch()

    def read(entry, **options):
        listed.write_text(f'entries = [{entry!r}]\n')
        (found,) = read_entries([str(listed)], tmp_path, **options).entries
        return found.config.detector_checkpoint

    entry |= dict(checkpoint='boxes.pth', detector_checkpoint='fdta.pth')
    assert read(entry) == str(tmp_path / 'fdta.pth')
    mine = {'A': {'detector_checkpoint': str(tmp_path / 'mine.pth')}}
    assert read(entry, options_for=mine) == str(tmp_path / 'mine.pth')
    with pytest.raises(FileNotFoundError, match='A: there is no checkpoint .*none.pth'):
        read(entry | dict(detector_checkpoint='none.pth'))
    with pytest.raises(ValueError, match='A: found detector_checkpoint, .* has none'):
        read(entry | dict(config='fdta_mini'))


def test_options_for_nobody_are_refused_where_entries_are_missing(tmp_path):
    listed = tmp_path / 'listed.py'
    entries = [
        dict(name=name, config='fdta_mini', checkpoint=f'{name}.pth') for name in 'AB'
    ]
    listed.write_text(f'{entries=}\n')
    (tmp_path / 'A.pth').touch()

    def read(name: str) -> EntryList:
        changes = {name: {'model.tracker.det_thr': 0.5}}
        return read_entries(
            [str(listed)], tmp_path, options_for=changes, skip_missing=True
        )

    assert [entry.name for entry in read('B').entries] == ['A']
    assert read('A').entries[0].config.model.tracker.det_thr == 0.5
    with pytest.raises(ValueError, match="cfg-options-for: found 'C', expected one of"):
        read('C')


def test_a_line_up_of_0_1_is_answered_by_a_line(arena, capsys, tmp_path):
    path = tmp_path / 'old.py'
    path.write_text('line_up = []\n')
    assert arena.run(str(path)) == 1
    assert re.fullmatch(
        r'mmfdta benchmark: .*old.py: found line_up, which is called entries since '
        r'0\.2\n',
        capsys.readouterr().err,
    )


def test_times_are_medians_over_frames():
    seconds = np.array([[1, 2, 3, np.nan], [1, 2, 5, np.nan], [1, 2, 30, np.nan]])
    timing = Timing.of(seconds)
    assert timing.stages['detector']['median'] == 5000
    assert timing.stages['detector']['mean'] == pytest.approx(38000 / 3)
    assert timing.stages['association']['median'] is None
    assert timing.frames_per_second == pytest.approx(1 / 8)
