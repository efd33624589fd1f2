# Copyright (c) mmfdta authors.
"""The C++ example, built against ONNX Runtime's headers, tracks as Python does.

It runs where a compiler and the headers are: Debian's `libonnxruntime-dev`, or a folder
that `ONNXRUNTIME_INCLUDE` names, as `.ci/onnxruntime_headers` makes one. The library is
that of the Python package.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from toy_model import make_toy_model, play

from mmfdta.apis import ExportedTracker

SOURCE = Path(__file__).parents[2] / 'examples' / 'cpp' / 'main.cpp'
HEADER = 'onnxruntime_cxx_api.h'


def find_headers() -> Path | None:
    """The folder of ONNX Runtime's headers."""
    places = (
        os.environ.get('ONNXRUNTIME_INCLUDE'),
        '/usr/include/onnxruntime',
        '/usr/local/include/onnxruntime',
        '/usr/include/onnxruntime/core/session',
        '/usr/local/include/onnxruntime/core/session',
    )
    return next((Path(p) for p in places if p and Path(p, HEADER).is_file()), None)


@pytest.fixture(scope='module')
def program(tmp_path_factory) -> Path:
    compiler, headers = shutil.which('g++'), find_headers()
    if compiler is None or headers is None:
        reason = f'needs g++ and {HEADER} (ONNXRUNTIME_INCLUDE names its folder)'
        everything = compiler is None and 'MMFDTA_TEST_EVERYTHING' in os.environ
        if everything or 'ONNXRUNTIME_INCLUDE' in os.environ:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp('cpp')
    package = Path(onnxruntime.__file__).parent / 'capi'
    (library,) = package.glob('libonnxruntime.so.*')
    for name in ('libonnxruntime.so', 'libonnxruntime.so.1'):
        (folder / name).symlink_to(library)
    command = [compiler, '-O1', '-std=c++17', '-Wall', '-Wextra', '-Werror']
    command += ['-isystem', str(headers), str(SOURCE), f'-L{folder}', '-lonnxruntime']
    command += [f'-Wl,-rpath,{folder}', '-o', str(folder / 'track')]
    subprocess.run(command, check=True)
    return folder / 'track'


def run(program: Path, model: Path, clip: list[np.ndarray]):
    height, width = clip[0].shape[:2]
    frames = b''.join(np.ascontiguousarray(f[..., ::-1]).tobytes() for f in clip)
    return subprocess.run(
        [str(program), str(model), str(width), str(height), '1'],
        input=frames,
        capture_output=True,
    )


def track(program: Path, model: Path, clip: list[np.ndarray]) -> np.ndarray:
    """Rows of the text that the program writes."""
    done = run(program, model, clip)
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    return np.array([[float(x) for x in line.split(',')] for line in lines])


def expected(model: Path, clip: list[np.ndarray], tmp_path: Path) -> np.ndarray:
    """Rows of the text that `mmfdta track --model` writes."""
    for number, image in enumerate(clip):
        cv2.imwrite(str(tmp_path / f'{number:06d}.png'), image)
    tracker = ExportedTracker(model, threads=1)
    tracker(tmp_path, out=tmp_path / 'tracks.txt')
    return np.loadtxt(tmp_path / 'tracks.txt', delimiter=',', ndmin=2)


@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(class_aware=True),
        dict(miss_tolerance=2, area_thr=40.0),
        dict(id_thr=0.0, newborn_thr=0.0, det_thr=0.0),
    ],
    ids=str,
)
def test_any_detections_get_the_same_identities(program, tmp_path, settings):
    """More objects than words, frames without any, words that are lent again."""
    model = make_toy_model(tmp_path / 'exported', **settings)
    clip = play(np.random.default_rng(len(settings)), 150, 12)
    (tmp_path / 'frames').mkdir()
    rows = expected(model, clip, tmp_path / 'frames')
    assert len(np.unique(rows[:, 1])) > 20  # identities
    found = track(program, model, clip)
    assert np.array_equal(found[:, [0, 1, 7]], rows[:, [0, 1, 7]])
    assert np.abs(found - rows).max() < 2e-3


@pytest.mark.parametrize(('width', 'height'), [(37, 21), (14, 13), (30, 31)])
def test_frames_are_resized_as_the_folder_says(program, toy, tmp_path, width, height):
    model = shutil.copytree(toy, tmp_path / 'exported')
    facts = json.loads((model / 'model.json').read_text())
    resize = dict(rule='short-side', short=12, max_long=19)
    facts['input']['resize'] |= resize
    (model / 'model.json').write_text(json.dumps(facts))
    rng = np.random.default_rng(0)
    shape = height, width, 3
    clip = [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(5)]
    (tmp_path / 'frames').mkdir()
    rows = expected(model, clip, tmp_path / 'frames')
    assert len(rows)
    assert np.abs(track(program, model, clip) - rows).max() < 2e-3


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (dict(tracker=dict(protocol='hungarian')), 'no protocol but object-max'),
        (dict(tracker=dict(overflow='keep')), "overflow 'drop' only"),
        (dict(association=None), 'FDTA and MOTIP'),
        (dict(input=dict(pad_value=114)), 'no padding value'),
        (dict(tracker=None), 'found no protocol'),
        (dict(format=2), 'format: found 2, expected 1'),
    ],
    ids=str,
)
def test_what_the_example_lacks_is_refused(program, toy, tmp_path, changes, said):
    model = shutil.copytree(toy, tmp_path / 'exported')
    facts = json.loads((model / 'model.json').read_text())
    for key, change in changes.items():
        merged = isinstance(change, dict)
        facts[key] = {**facts[key], **change} if merged else change
    (model / 'model.json').write_text(json.dumps(facts, indent=1))
    done = run(program, model, [np.zeros((8, 8, 3), np.uint8)])
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 1 and said in line


def test_a_frame_that_is_cut_off_is_told(program, toy, clip):
    done = run(program, toy, [clip[0], clip[1][:3]])
    assert done.returncode == 1 and b'frame 2 is cut off' in done.stderr


@pytest.mark.parametrize('damaged', ['[}', '{"format": ]', '{"format": 1', '[1 :'])
def test_damaged_facts_are_told(program, toy, tmp_path, damaged):
    model = shutil.copytree(toy, tmp_path / 'exported')
    (model / 'model.json').write_text(damaged)
    done = run(program, model, [np.zeros((8, 8, 3), np.uint8)])
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 1 and 'model.json' in line


def test_sizes_are_numbers(program, toy):
    done = subprocess.run([program, toy, 'wide', '8'], capture_output=True, input=b'')
    assert done.returncode == 2 and b'found wide x 8 pixels' in done.stderr
