# Copyright (c) mmfdta authors.
"""`mmfdta track`: one line, several sources, what it says and what it writes."""

import dataclasses
import hashlib
import itertools
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from mmfdta.apis import MOTInferencer, tracking_run, weights
from mmfdta.apis.config import find_config
from mmfdta.apis.progress import Progress, format_speed
from mmfdta.checkpoints import PUBLISHED
from mmfdta.cli.main import main
from mmfdta.structures.mot_text import read_tracks


@pytest.fixture
def command(toys, monkeypatch):
    """A function: the exit code of `track` with the tracker of coloured rectangles."""
    monkeypatch.chdir(toys.folder)
    toys.config.dump('config.py')
    model = ['--config=config.py', f'--checkpoint={toys.checkpoint}', '--no-progress']
    return lambda *more: main(['track', *map(str, more), *model])


@pytest.fixture
def published_tiny(tmp_path, monkeypatch):
    """YOLOX-tiny that sees nothing, in the cache as if it had been fetched."""
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'hub'))
    known = PUBLISHED['yolox-tiny']
    path = tmp_path / 'hub' / 'checkpoints' / known.file
    path.parent.mkdir(parents=True)
    model = Config.fromfile(find_config('bytetrack_yolox-tiny_coco')).model
    names = MODELS.build(model.detector).state_dict()
    # Nothing is an object, surely.
    values = {n: -10.0 if 'conv_obj' in n else 0.0 for n in names}
    state = {n: torch.full_like(w, values[n]) for n, w in names.items()}
    torch.save(dict(state_dict=state, meta={}), path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    known = dataclasses.replace(known, sha256_prefix=digits)
    monkeypatch.setattr(weights, 'PUBLISHED', {**PUBLISHED, known.name: known})
    return path


def test_a_video_alone_is_enough(published_tiny, toys, monkeypatch, capsys, names_in):
    (toys.folder / 'here').mkdir()
    video = toys.video('v.mp4', 2)
    monkeypatch.chdir(toys.folder / 'here')
    assert main(['track', str(video), '--no-progress']) == 0
    assert names_in(toys.folder / 'here') == ['v_tracks.mp4', 'v_tracks.txt']
    said = capsys.readouterr().err
    for text in (
        'config bytetrack_yolox-tiny_coco',
        'ByteTracker on YOLOX (det_thr 0.6',
        str(published_tiny),
        'classes: 80 (person, bicycle, car, ...)',
        'v_tracks.mp4, v_tracks.txt',
        'frames 160x120, resized to 640x480',
        'v.mp4: nothing was tracked; a lower --det-thr',
    ):
        assert text in said


def test_the_inferencer_needs_no_argument(published_tiny):
    inferencer = MOTInferencer(device='cpu', classes=['person'], input_size=64)
    assert len(inferencer.classes) == 80 and inferencer.kept_classes == ('person',)
    assert inferencer.checkpoint == published_tiny
    assert len(inferencer.step(np.zeros((48, 64), np.uint8))) == 0


def test_sources_are_tracked_one_by_one_and_failures_listed(
    command, toys, capsys, names_in
):
    for name in ('a', 'b'):
        (toys.folder / name).mkdir()
        toys.video(f'{name}/v.mp4', 7)
    (toys.folder / 'broken.mp4').write_bytes(b'no video' * 100)
    sources = ['a/v.mp4', 'broken.mp4', 'b/v.mp4']
    assert command(*sources, '--out-dir', 'out/new', '--formats', 'txt', 'csv') == 1
    files = [f'{stem}_tracks.{s}' for stem in ('v', 'v_2') for s in ('csv', 'txt')]
    assert names_in(toys.folder / 'out/new') == sorted(['archive.jsonl', *files])
    texts = [
        (toys.folder / f'out/new/{s}_tracks.txt').read_text() for s in ('v', 'v_2')
    ]
    # The second begins anew: it is the same video.
    assert texts[0] == texts[1] and len(texts[0].splitlines()) == 7 + 4 + 2
    said = capsys.readouterr()
    assert said.out.count('tracked 7 frames') == 2
    assert '1 of 3 not complete: broken.mp4' in said.err.splitlines()[-1]


def test_tracks_are_counted_by_class(command, toys, capsys):
    toys.video('v.mp4', 7)
    assert command('v.mp4', '--out', 'v.txt', '--classes', 'red', 'blue') == 0
    said = capsys.readouterr().err
    assert 'v.mp4: 2 tracks (1 red, 1 blue)' in said and 'classes: red, blue' in said


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['v.mp4', 'no.mp4'], 'no.mp4: no such video'),
        ([''], 'found an empty source'),
        (['v.mp4', 'v.mp4', '--out', 'x.txt'], '--out: found 2 sources, expected one'),
        (['v.mp4', '--out', 'x.txt', '--out-dir', 'o'], 'leave out --out-dir'),
        (['v.mp4', '--out', ''], "--out: found ''"),
        (['v.mp4', '--out', 'x.gif'], 'cannot tell what to write to x.gif'),
        (['v.mp4', '--out', 'v.mp4'], 'v.mp4: the result would replace'),
        (['v.mp4', 'v_tracks.mp4'], 'v_tracks.mp4: the result would replace'),
        (['{uri}/v.mp4', '--out', 'v.mp4'], 'v.mp4: the result would replace'),
        (['v.mp4', '--out-dir', 'weights.pth'], 'weights.pth is a file, no folder'),
        (['v.mp4', '--formats', 'exe'], 'exe'),
        (['weights.pth'], 'weights.pth'),
        (['v.mp4', '--config', 'v.mp4'], 'v.mp4: found a file that is no config'),
        (['v.mp4', '--config', 'fdta_mimi'], 'did you mean fdta_mini?'),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(
    command, toys, capsys, monkeypatch, arguments, message
):
    monkeypatch.setattr('mmfdta.apis.inferencer.load_tracker', pytest.fail)
    before = toys.video('v.mp4', 3).read_bytes()
    (toys.folder / 'v_tracks.mp4').write_bytes(before)
    config = [] if '--config' in arguments else ['--config=config.py']
    arguments = [text.replace('{uri}', toys.folder.as_uri()) for text in arguments]
    assert main(['track', *arguments, *config]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('mmfdta track: ') and message in line
    for name in ('v.mp4', 'v_tracks.mp4'):
        assert (toys.folder / name).read_bytes() == before


def test_an_address_of_a_file_is_not_replaced_in_an_archive(command, toys, capsys):
    (toys.folder / 'o').mkdir()
    video = toys.video('o/v_tracks.mp4', 3)
    before = video.read_bytes()
    toys.video('v.mp4', 3)
    assert command('v.mp4', video.as_uri(), '--out-dir', 'o') == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert 'v_tracks.mp4: the result would replace' in line
    assert video.read_bytes() == before


@pytest.mark.parametrize(
    ('option', 'value'),
    [
        *[('--max-frames', text) for text in ('0', '-1', '2.5', 'x')],
        *[('--fps', text) for text in ('0', 'nan', 'inf')],
        *[('--input-size', '8'), ('--trail', '-1'), ('--font-size', '5000')],
        *[('--line-width', text) for text in ('nan', '0')],
        *[('--det-thr', '1.5'), ('--max-gap', '0'), ('--batch-size', '0')],
    ],
)
def test_numbers_out_of_their_range_are_refused(capsys, option, value):
    with pytest.raises(SystemExit) as caught:
        main(['track', 'v.mp4', option, value])
    assert caught.value.code == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert f"argument {option}: found '{value}', expected a" in line


def test_a_threshold_that_the_tracker_lacks_is_refused(command, toys, capsys):
    toys.video('v.mp4', 3)
    assert command('v.mp4', '--det-thr', '0.5') == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert '--det-thr: not known for model.tracker.type' in line


def test_a_pattern_of_videos_is_each_of_them(command, toys, capsys, names_in):
    for number in (10, 9):
        toys.video(f'v{number}.mp4', 2)
    assert command('v*.mp4', '--out-dir', 'o', '--formats', 'txt') == 0
    files = ['archive.jsonl', 'v10_tracks.txt', 'v9_tracks.txt']
    assert names_in(toys.folder / 'o') == files
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(':')[0] for line in lines] == ['v9.mp4', 'v10.mp4']


@pytest.mark.parametrize('shape', [(1500, 5), (5, 1500)])
def test_no_side_of_a_frame_vanishes(inferencer, shape):
    size = inferencer.preprocessor.input_shape(*shape)
    assert min(size) >= 1


def test_below_a_frame_per_second_seconds_are_shown(command, toys, capsys, monkeypatch):
    """A clock that is four seconds later whenever it is asked."""
    ticks = itertools.count(0, 4)
    clock = SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr(tracking_run, 'time', clock)
    toys.video('v.mp4', 5)
    assert command('v.mp4', '--out', 'v.txt') == 0
    said = capsys.readouterr()
    assert '4.0 s/frame; faster: --preset fast, a smaller --input-size' in said.err
    assert 's/frame' in said.out and 'FPS' not in said.out


def test_speeds_are_written_for_people(tmp_path):
    speeds = {0.25: '4.0 s/frame', 0.0: '0.0 FPS', 1.0: '1.0 FPS', 29.97: '30.0 FPS'}
    assert {speed: format_speed(speed) for speed in speeds} == speeds
    with (tmp_path / 'log').open('w+') as file:
        progress = Progress(2, file)
        progress.update(0.25)
        progress._write_line(0.25)
        file.seek(0)
        assert file.read().endswith('4.0 s/frame\n')


def test_images_of_one_source_are_a_video(command, toys, read_video):
    toys.images('shots', 4)
    assert command('shots/*.png', '--out-dir', 'o', '--fps', '5') == 0
    frames, rate = read_video(toys.folder / 'o' / 'shots_tracks.mp4')
    assert len(frames) == 4 and rate == 5
    assert set(read_tracks(toys.folder / 'o/shots_tracks.txt').frame) == {1, 2, 3, 4}
    assert cv2.imread(str(toys.folder / 'shots/1.png')) is not None
