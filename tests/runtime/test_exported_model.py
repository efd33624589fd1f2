# Copyright (c) mmfdta authors.
"""The folder of an exported model is read as written, or refused in a line."""

import json
import shutil
from dataclasses import replace

import pytest

from mmfdta.runtime.exported_model import (
    AssociationFile,
    CheckpointFacts,
    DetectorFile,
    ExportedModel,
    GraphFile,
)
from mmfdta.runtime.frame_input import FrameInput, ResizeRule
from mmfdta.structures.whole_files import hash_file


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / 'exported'
    place.mkdir()
    for name in ('detector.onnx', 'detector.onnx.data', 'association.onnx'):
        (place / name).write_bytes(name.encode() * 1000)
    make_model(place).save(place)
    return place


def make_model(place, **changes):
    data = [place / 'detector.onnx.data']
    model = ExportedModel(
        config='fdta_mini',
        checkpoint=CheckpointFacts(name='fdta.pth', sha256='0' * 64),
        precision='fp32',
        classes=('dancer', 'Hündin'),
        column_numbers=(1, 7),
        input=FrameInput(
            resize=ResizeRule('short-side', short=800, max_long=1440),
            pad_value=114,
            pad_divisor=32,
            mean=(1.5, 2.0, 3.0),
            std=(1.0, 1.0, 1.0),
        ),
        detector=DetectorFile(
            kind='queries',
            test_cfg=dict(score_thr=0.1, nms=dict(type='nms', iou_threshold=0.7)),
            **GraphFile.describe(place / 'detector.onnx', data),
        ),
        association=AssociationFile(
            embed_dims=64,
            num_id_vocabulary=16,
            window=16,
            **GraphFile.describe(place / 'association.onnx'),
        ),
        tracker=dict(type='FDTATracker', det_thr=0.3, protocol='hungarian'),
        opset=18,
        versions=dict(torch='2.13.0'),
        check=dict(frames=10, boxes=1e-4),
    )
    return replace(model, **changes)


def change(folder, **changes):
    """Write other values into ``model.json``; None takes a key out."""
    path = folder / 'model.json'
    values = json.loads(path.read_text())
    for key, value in changes.items():
        place = values
        *outer, key = key.split('__')
        for part in outer:
            place = place[part]
        if value is None:
            del place[key]
        else:
            place[key] = value
    path.write_text(json.dumps(values))


def refusal(folder, kind=ValueError):
    with pytest.raises(kind) as error:
        ExportedModel.load(folder)
    text = str(error.value)
    assert '\n' not in text and str(folder) in text
    return text


def test_what_is_written_is_read_wherever_it_lies(folder, tmp_path):
    expected = make_model(folder)
    assert ExportedModel.load(folder) == replace(expected, folder=folder)
    moved = shutil.move(folder, tmp_path / 'another place')
    found = ExportedModel.load(moved)
    assert found == replace(expected, folder=moved)
    assert found.detector_path == moved / 'detector.onnx'
    assert found.association_path == moved / 'association.onnx'


def test_graphs_of_other_weights_have_another_key(folder):
    """Weights beside a graph change nothing in it."""
    detector = ExportedModel.load(folder).detector
    assert detector.data
    other = dict.fromkeys(detector.data, '0' * 64)
    keys = {detector.key, replace(detector, data=other).key}
    assert len(keys) == 2 and all(len(key) == 16 for key in keys)


def test_a_tracker_on_boxes_has_no_association(folder):
    model = make_model(folder, association=None, checkpoint=None, column_numbers=None)
    model.save(folder)
    (folder / 'association.onnx').unlink()
    found = ExportedModel.load(folder)
    assert found == replace(model, folder=folder)
    assert found.association_path is None


def test_thresholds_are_where_commands_look_for_them(folder):
    from mmfdta.apis.thresholds import current_thresholds, threshold_options

    model = ExportedModel.load(folder).config_model
    assert current_thresholds(model)['det_thr'] == 0.3
    options = threshold_options(model, dict(det_thr=0.05))
    assert options['model.detector.test_cfg.score_thr'] == 0.05


@pytest.mark.parametrize(
    'name', ['detector.onnx', 'detector.onnx.data', 'association.onnx']
)
def test_damaged_and_missing_files_are_told(folder, name):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    text = refusal(folder)
    assert str(path) in text and hash_file(path)[:12] in text
    path.write_bytes(content[:-1])
    assert 'damaged' in refusal(folder)
    path.unlink()
    assert f'{path}: no such file' in refusal(folder, FileNotFoundError)


def test_other_folders_are_told(folder, tmp_path):
    text = refusal(tmp_path / 'nowhere', FileNotFoundError)
    assert 'there is no such folder' in text and 'mmfdta export' in text
    (folder / 'model.json').unlink()
    assert 'has no model.json' in refusal(folder, FileNotFoundError)


def test_other_formats_are_told(folder):
    change(folder, format=2, version='9.0')
    text = refusal(folder)
    assert 'format: found 2, expected 1' in text
    assert 'update mmfdta (exported by 9.0)' in text
    change(folder, format=0)
    assert 'export the model again' in refusal(folder)


@pytest.mark.parametrize(
    ('key', 'value', 'text'),
    [
        ('precision', 'fp8', 'precision: found "fp8", expected one of fp32, fp16'),
        ('classes', ['a', 3], 'classes: found ["a", 3], expected a list, each text'),
        ('opset', '18', 'opset: found "18", expected a whole number'),
        ('opset', True, 'opset: found true, expected a whole number'),
        ('tracker', {}, 'tracker.type: found no such key'),
        ('detector', [], 'detector: found [], expected keys and values'),
        ('detector__kind', 'boxes', 'detector.kind: found "boxes", expected one of'),
        ('detector__sha256', None, 'detector.sha256: found no such key'),
        ('association__window', 1.5, 'association.window: found 1.5, expected a whole'),
        ('asociation', None, 'asociation'),
        ('thresholds', {}, 'thresholds: found an unknown key'),
        ('input__channel_order', 'gbr', 'input.channel_order: found'),
        ('detector__file', '../detector.onnx', 'expected the name of a file in the'),
        ('checkpoint__name', 5, 'checkpoint.name: found 5, expected text'),
        ('detector__data', {'x': 5}, 'detector.data.x: found 5, expected text'),
        ('column_numbers', [], 'column_numbers: found 0 numbers, expected one for'),
    ],
)
def test_wrong_keys_are_told(folder, key, value, text):
    if key == 'asociation':  # a misspelt key is a missing one, too
        path = folder / 'model.json'
        path.write_text(path.read_text().replace('"association"', '"asociation"'))
        text = 'association: found no such key'
    else:
        change(folder, **{key: value})
    assert text in refusal(folder)


@pytest.mark.parametrize('content', ['', '{', '[]', '3', '{"format": 1}', 'null'])
def test_what_is_no_facts_is_told(folder, content):
    (folder / 'model.json').write_text(content)
    assert 'model.json' in refusal(folder)


def test_bytes_that_are_no_text_are_told(folder):
    (folder / 'model.json').write_bytes(b'\xff\xfe\x00\x01')
    assert 'no valid JSON' in refusal(folder)
