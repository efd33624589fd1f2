# Copyright (c) mmfdta authors.
"""An exported folder tracks as PyTorch does, or is not written."""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from mmfdta.apis import MOTInferencer
from mmfdta.apis.config import read_config
from mmfdta.apis.evaluation_data import EvaluationData
from mmfdta.apis.export import export_model, exporting
from mmfdta.apis.export.check_frames import CheckFrames, find_frames, make_frames
from mmfdta.apis.export.checking import _Largest, compare_sides
from mmfdta.apis.export.exporting import _new_folder
from mmfdta.apis.export.graphs import detector_graph
from mmfdta.apis.exported_tracker import ExportedTracker
from mmfdta.apis.frame_preprocessing import FramePreprocessor
from mmfdta.apis.model_loading import build_tracker
from mmfdta.apis.weights import find_checkpoint
from mmfdta.cli import main as command_line
from mmfdta.evaluation.records import as_written
from mmfdta.evaluation.table import format_trackers
from mmfdta.runtime.detection import Detections
from mmfdta.runtime.exported_model import ExportedModel, hash_file
from mmfdta.structures.tracks import Tracks

CONFIG, WEIGHTS = 'fdta_mini_demo', 'minidance'


def test_the_folder_tracks_as_the_config_does(exported, frames):
    """PyTorch as a user runs it, and the folder alone."""
    ours, theirs = MOTInferencer(CONFIG, WEIGHTS), ExportedTracker(exported.folder)
    boxes = 0
    for image in frames:
        expected, found = ours.step(image), theirs.step(image)
        np.testing.assert_array_equal(found.identity, expected.identity)
        np.testing.assert_array_equal(found.label, expected.label)
        np.testing.assert_allclose(found.xywh, expected.xywh, atol=0.05)
        np.testing.assert_allclose(found.score, expected.score, atol=1e-4)
        boxes += len(expected)
    assert boxes > 2 * len(frames)


def test_the_check_has_found_the_same(exported):
    check = exported.report.model.check
    assert check['frames'] == check['same_identities'] == 12
    assert check['tracked'] > 24
    assert 0 < check['boxes'] < 0.01 and check['tracks'] < 0.01
    assert 0 < check['id_scores'] < 1e-4 and check['embeddings'] < 1e-3
    assert 'the same identities in 12 of 12 frames' in exported.said


def test_the_folder_says_what_it_is(exported):
    names = {path.name for path in exported.folder.iterdir()}
    assert names == {'model.json', 'detector.onnx', 'association.onnx'}
    model = ExportedModel.load(exported.folder)
    assert model == exported.report.model
    assert model.config == CONFIG and model.precision == 'fp32'
    assert model.checkpoint.sha256 == hash_file(find_checkpoint(WEIGHTS))
    config = read_config(CONFIG).model
    assert model.association.num_id_vocabulary == config.num_id_vocabulary
    assert model.association.window == config.window
    assert model.tracker == dict(
        type='FDTATracker',
        num_id_vocabulary=16,
        miss_tolerance=16,
        det_thr=0.3,
        newborn_thr=0.5,
        id_thr=0.2,
        area_thr=0.0,
        protocol='object-max',
        embed_dims=64,
        overflow='drop',
        class_aware=False,
    )
    text = (exported.folder / 'model.json').read_text()
    assert str(exported.folder) not in json.dumps({**json.loads(text), 'check': {}})


def test_graphs_have_no_grid_sample_and_no_operators_of_others(exported):
    assert set(exported.report.operators) == {'detector.onnx', 'association.onnx'}
    for counts in exported.report.operators.values():
        assert 'GridSample' not in counts
        assert not [name for name in counts if '.' in name]
    assert 'operators of' in str(exported.report)


@pytest.fixture(scope='module')
def config():
    return read_config(CONFIG)


def compare(config, model, exported, frames):
    return compare_sides(
        model,
        detector_graph(model),
        exported.folder,
        CheckFrames(frames, 'some frames'),
        FramePreprocessor(config),
    )


@pytest.mark.parametrize(
    ('parameter', 'what'),
    [
        ('detector.bbox_head.reg_branches.2.4.bias', 'boxes of detections'),
        ('detector.bbox_head.cls_branches.2.bias', 'scores of detections'),
        ('id_decoder.rel_pos_embeds', 'scores of identities'),
    ],
)
def test_other_weights_are_a_mismatch(config, exported, frames, parameter, what):
    model = build_tracker(config, WEIGHTS, 'cpu')
    assert compare(config, model, exported, frames[:3]).mismatch() is None
    with torch.no_grad():
        values = model.get_parameter(parameter)
        values += 0.01 + 0.2 * torch.rand_like(values)
    text = compare(config, model, exported, frames[:3]).mismatch()
    assert what in text and 'some frames' in text and '\n' not in text


def test_frames_of_another_size_are_a_mismatch(config, exported, frames):
    model = build_tracker(config, WEIGHTS, 'cpu')
    preprocessor = FramePreprocessor(config)

    def halved(image, index):
        return preprocessor(image[::2, ::2], index)

    some = CheckFrames(frames[:1], 'a frame')
    with pytest.raises(ValueError, match=r'resizes frames to \d+x\d+, and PyTorch to'):
        compare_sides(model, detector_graph(model), exported.folder, some, halved)


def test_detections_that_one_side_lacks_are_a_difference():
    def detections(*scores):
        boxes = np.tile(np.array([[0, 0, 9, 9]], np.float32), (len(scores), 1))
        labels = np.zeros(len(scores), np.int64)
        return Detections(boxes, np.array(scores, np.float32), labels)

    for ours, theirs in (((0.9, 0.8), (0.9,)), ((0.9,), (0.9, 0.8)), ((), (0.8,))):
        largest = _Largest()
        largest.compare(detections(*ours), detections(*theirs))
        assert largest.values['scores'] == pytest.approx(0.8)


def test_a_link_leads_to_the_folder_that_is_replaced(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'real' / 'model.json').write_text('old')
    (tmp_path / 'link').symlink_to('real')
    with _new_folder(tmp_path / 'link') as place:
        (place / 'model.json').write_text('new')
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'real' / 'model.json').read_text() == 'new'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['link', 'real']


def test_what_fails_leaves_the_folder_as_it_was(exported, dance, tmp_path, monkeypatch):
    """A graph that computes something else is found out, and not written."""
    folder = tmp_path / 'fdta'
    shutil.copytree(exported.folder, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def record_wrongly(graph, *arguments):
        """What is recorded, faster, but for the words of the scores."""
        name = 'association' if graph.outputs == ('scores',) else 'detector'
        proto = onnx.load(exported.folder / f'{name}.onnx')
        for node in proto.graph.node:
            if 'scores' in node.output and name == 'association':
                del node.attribute[:]  # softmax over detections
                node.attribute.append(helper.make_attribute('axis', 0))
        return proto

    monkeypatch.setattr(exporting, 'to_onnx', record_wrongly)
    with pytest.raises(ValueError, match='identities') as error:
        export_model(CONFIG, WEIGHTS, folder, check=str(dance), check_frames=2)
    assert 'nothing was exported' in str(error.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ['fdta']


@pytest.fixture
def known_graphs(exported, monkeypatch):
    """Graphs that are recorded already: an export takes seconds."""

    def load(graph, *arguments):
        name = 'association' if graph.outputs == ('scores',) else 'detector'
        return onnx.load(exported.folder / f'{name}.onnx')

    monkeypatch.setattr(exporting, 'to_onnx', load)


def data_options(root):
    """Let ``val`` of the config be a data set like that of `dance`."""
    place = 'val_dataloader.dataset'
    options = dict(frames=12, train=0, val=1, test=0)
    return {f'{place}.data_root': str(root)} | {
        f'{place}.options.{name}': value for name, value in options.items()
    }


def test_both_sides_are_scored_at_the_input_size(known_graphs, dance, tmp_path):
    config = read_config(CONFIG, data_options(dance.parents[2]))
    for loader in (config.val_dataloader, config.test_dataloader):
        resizing = dict(type='ClipResize', short=192, max_long=320)
        loader.dataset.pipeline[0].transforms.insert(1, resizing)

    def score_in_pytorch(**kwargs):
        """Track as a user does, and score the tracks."""
        data = EvaluationData.open(config, 'val')
        frames = MOTInferencer(config, WEIGHTS, **kwargs).track(str(dance))
        tracks = Tracks.concatenate([as_written(f.tracks, False) for f in frames])
        return format_trackers({'it': data.score([tracks])}).split()[-6:]

    report = export_model(
        config,
        WEIGHTS,
        tmp_path / 'small',
        input_size=160,
        check=str(dance),
        check_frames=2,
        score='val',
    )
    expected = score_in_pytorch(input_size=160)
    assert expected != score_in_pytorch()
    *_, before, after, agreement = report.table.splitlines()
    assert before.split() == ['PyTorch', *expected]
    assert after.split() == ['exported,', 'fp32', *expected]
    assert 'the same identities in 12 of 12 frames' in agreement


def test_data_without_ground_truth_are_refused_first(tmp_path, dance):
    root = tmp_path / 'data'
    shutil.copytree(dance.parents[2], root)
    (text,) = root.glob('val/*/gt/gt.txt')
    text.unlink()
    said, out = [], tmp_path / 'out'
    with pytest.raises(ValueError, match='no ground truth to score with'):
        export_model(
            *(CONFIG, WEIGHTS, out),
            score='val',
            cfg_options=data_options(root),
            say=said.append,
        )
    assert not said and not out.exists()


def test_a_broken_frame_costs_the_scores_and_not_the_export(
    known_graphs, dance, tmp_path
):
    root = tmp_path / 'data'
    shutil.copytree(dance.parents[2], root)
    broken = max(root.glob('val/*/img1/*.jpg'))
    broken.write_bytes(broken.read_bytes()[:1000])
    said, out = [], tmp_path / 'out'
    with pytest.raises(OSError, match=broken.name):
        export_model(
            *(CONFIG, WEIGHTS, out),
            check_frames=2,
            score='val',
            cfg_options=data_options(root),
            say=said.append,
        )
    assert ExportedModel.load(out).check['frames'] == 2
    assert f'wrote {out}' in said[-1]


def refusal(tmp_path, capsys, *arguments):
    """What the command says, which has to be a line."""
    out = tmp_path / 'out'
    assert command_line.main(['export', *arguments, '--out', str(out)]) == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith('mmfdta export: ')
    assert not out.exists()
    return line


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['motr_mini'], 'model.type: found MOTR'),
        (['deformable_detr_mini'], 'model.type: found FDTADetector'),
        (['iou-embedding_fdta-det_mini'], 'IoUEmbeddingTracker'),
        ([CONFIG], 'no checkpoint is named'),
        ([CONFIG, 'nothing.pth'], 'nothing.pth'),
        ([CONFIG, WEIGHTS, '--size', '16x16'], 'size: found 16x16'),
        (
            ['bytetrack_yolox-nano_coco', '--size', '630x360'],
            'expected multiples of 32',
        ),
        ([CONFIG, WEIGHTS, '--precision', 'int8'], 'calibrate: found nothing'),
        ([CONFIG, WEIGHTS, '--calibrate', 'x.mp4'], 'only int8'),
        ([CONFIG, WEIGHTS, '--check-on', 'no.mp4'], 'no.mp4: no such video'),
        (
            [CONFIG, WEIGHTS, '--precision', 'int8', '--calibrate', 'no.mp4'],
            'no.mp4: no such video',
        ),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_line(tmp_path, capsys, arguments, text):
    assert text in refusal(tmp_path, capsys, *arguments)


def test_other_files_are_not_replaced(tmp_path):
    (tmp_path / 'thesis.tex').write_text('years')
    # Neither alone nor beside what looks like an export.
    for name in ('thesis.tex', 'model.json'):
        (tmp_path / name).touch()
        with pytest.raises(FileExistsError, match=r'other files in it \(thesis.tex\)'):
            export_model(CONFIG, WEIGHTS, tmp_path)
    file = tmp_path / 'thesis.tex'
    with pytest.raises(NotADirectoryError, match='found a file, expected a folder'):
        export_model(CONFIG, WEIGHTS, file)
    assert file.read_text() == 'years'


@pytest.mark.parametrize(
    'files',
    [
        {'detector.onnx': 'my own network'},
        {'model.json': '{"name": "my own network"}'},
        # TensorFlow.js calls its files so.
        {'model.json': '{"format": "layers-model"}'},
        {'detector.onnx': 'my own network', 'model.json': 'no JSON'},
    ],
)
def test_files_that_only_have_the_names_are_not_replaced(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(FileExistsError, match='which no export wrote'):
        export_model(CONFIG, WEIGHTS, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_a_damaged_export_is_replaced(known_graphs, exported, dance, tmp_path):
    folder = tmp_path / 'fdta'
    shutil.copytree(exported.folder, folder)
    (folder / 'detector.onnx').write_bytes(b'half of it')
    export_model(CONFIG, WEIGHTS, folder, check=str(dance), check_frames=2)
    assert ExportedModel.load(folder).check['frames'] == 2


def test_the_current_folder_is_not_replaced(exported, tmp_path, monkeypatch):
    shutil.copytree(exported.folder, tmp_path / 'fdta')
    (tmp_path / 'empty').mkdir()
    for name in ('fdta', 'empty'):
        monkeypatch.chdir(tmp_path / name)
        for out in ('.', f'../{name}'):
            with pytest.raises(FileExistsError, match='the current folder'):
                export_model(CONFIG, WEIGHTS, out)


def test_frames_are_the_sources_the_datas_or_made_up(config, dance, tmp_path):
    given = find_frames(config, str(dance), 3)
    assert len(given.images) == 3 and str(dance) in given.origin
    config = config.copy()
    config.val_dataloader.dataset.data_root = str(tmp_path / 'none')
    config.test_dataloader.dataset.data_root = str(dance.parents[2])
    config.test_dataloader.dataset.update(
        split='val', options=dict(frames=12, train=0, val=1, test=0)
    )
    found = find_frames(config, None, 5)
    assert len(found.images) == 5
    np.testing.assert_array_equal(found.images[0], given.images[0])
    assert str(dance) in found.origin
    config.test_dataloader.dataset.data_root = str(tmp_path / 'none')
    made = find_frames(config, None, 4)
    assert made.origin.startswith('4 made-up frames, as val_dataloader has no data at')
    assert not (tmp_path / 'none').exists()
    for image, again in zip(made.images, make_frames(4), strict=True):
        np.testing.assert_array_equal(image, again)
        assert image.dtype == np.uint8 and image.shape == (360, 640, 3)
    assert (made.images[0] != made.images[1]).any()
