# Copyright (c) mmfdta authors.
"""Checkpoint files: how they are wrapped, damaged, hostile; how they are written."""

import argparse
import errno
import os
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner import load_checkpoint
from torch import nn

from mmfdta.checkpoints import (
    CheckpointError,
    ClassChoice,
    adapt_weights,
    convert_checkpoint,
    convert_state_dict,
    read_state_dict,
    write_checkpoint,
)
from mmfdta.checkpoints.class_heads import COCO_NAMES

from . import samples

WEIGHTS = {'a.weight': torch.arange(6.0).reshape(2, 3), 'a.bias': torch.ones(2)}
PLANTS = (*(f'plant{i}' for i in range(79)), 'person')


class Payload:
    """Makes a folder when it is unpickled by a reader that runs code."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.trace),)


def assert_weights(path: Path) -> None:
    state_dict = read_state_dict(path)
    assert list(state_dict) == list(WEIGHTS)
    assert all(torch.equal(state_dict[n], t) for n, t in WEIGHTS.items())


@pytest.mark.parametrize(
    'wrap',
    [
        lambda weights: weights,
        lambda weights: {'model': weights, 'optimizer': None, 'states': {'epoch': 3}},
        lambda weights: {'state_dict': weights, 'meta': {'epoch': 3}},
        lambda weights: {'model_state_dict': weights},
        lambda weights: {f'module.{n}': t for n, t in weights.items()},
        lambda weights: {'model': {f'module._orig_mod.{n}': t for n, t in
                                   weights.items()}},
        lambda weights: {n: nn.Parameter(t) for n, t in weights.items()},
        # As the released Deformable DETR files: with the arguments of the run.
        lambda weights: {'model': weights, 'args': argparse.Namespace(lr=1e-4)},
    ],
)  # fmt: skip
def test_wrappers_and_prefixes(tmp_path: Path, wrap) -> None:
    torch.save(wrap(WEIGHTS), tmp_path / 'c.pth')
    assert_weights(tmp_path / 'c.pth')


def test_checkpoint_of_an_mmengine_run(tmp_path: Path) -> None:
    hub = MessageHub.get_instance('checkpoint_files')
    hub.update_scalar('train/loss', 1.0)
    torch.save(
        {'state_dict': WEIGHTS, 'message_hub': hub.state_dict()}, tmp_path / 'c.pth'
    )
    assert_weights(tmp_path / 'c.pth')


@pytest.mark.parametrize('where', ['state_dict', 'meta'])
@pytest.mark.parametrize('zipped', [True, False])
def test_hostile_pickle_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, zipped: bool
) -> None:
    trace = tmp_path / 'trace'
    content = {'state_dict': dict(WEIGHTS), 'meta': {}}
    content[where]['payload'] = Payload(trace)
    file = tmp_path / 'hostile.pth'
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match='would run code'):
        read_state_dict(file)
    assert not trace.exists()
    # The payload does work, where commands of this process have not forbidden it.
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    torch.load(file, weights_only=False)
    assert trace.exists()


def test_bare_hostile_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / 'c.pth').write_bytes(pickle.dumps(Payload(tmp_path / 'trace')))
    with pytest.raises(CheckpointError):
        read_state_dict(tmp_path / 'c.pth')
    assert not (tmp_path / 'trace').exists()


def test_namespace_is_read_as_nothing_even_with_a_payload_in_it(tmp_path: Path) -> None:
    arguments = argparse.Namespace(path=Payload(tmp_path / 'trace'))
    torch.save({'model': WEIGHTS, 'args': arguments}, tmp_path / 'c.pth')
    with pytest.raises(CheckpointError, match='would run code'):
        read_state_dict(tmp_path / 'c.pth')
    assert not (tmp_path / 'trace').exists()


@pytest.mark.parametrize('share', [0.1, 0.5, 0.98])
@pytest.mark.parametrize('zipped', [True, False])
def test_truncated_file(tmp_path: Path, share: float, zipped: bool) -> None:
    file = tmp_path / 'c.pth'
    torch.save({'a': torch.rand(4000)}, file, _use_new_zipfile_serialization=zipped)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r'c\.pth: not a readable.*truncated'):
        read_state_dict(file)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', r'empty \(0 bytes\)'),
        (b'frame,id,x,y,w,h\n1,1,2,3,4,5\n', 'not a readable PyTorch checkpoint'),
        (b'<!DOCTYPE html><html>Not found</html>', 'a web page'),
        (b'version https://git-lfs.github.com/spec/v1\noid', 'git lfs pull'),
        (b'\x80\x02', 'not a readable PyTorch checkpoint'),
    ],
)
def test_file_of_another_kind(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / 'c.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as refusal:
        read_state_dict(tmp_path / 'c.pth')
    assert 'weights_only' not in str(refusal.value)


def test_nothing_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no checkpoint .*c\.pth'):
        read_state_dict(tmp_path / 'c.pth')
    with pytest.raises(CheckpointError, match='found a folder'):
        read_state_dict(tmp_path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([torch.ones(1)], 'found list'),
        ({'epoch': 3}, r"found the keys \['epoch'\]"),
        ({'model': {}}, 'there is no state dict'),
        ({'model': {'a': torch.ones(1), 'b': 3}}, "has 'b', a int"),
    ],
)
def test_content_without_a_state_dict(tmp_path: Path, content, message: str) -> None:
    torch.save(content, tmp_path / 'c.pth')
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path / 'c.pth')


@pytest.mark.parametrize(
    'error', [OSError(errno.ENOSPC, 'No space left'), RuntimeError]
)
def test_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error
) -> None:
    file = tmp_path / 'c.pth'
    write_checkpoint({'state_dict': WEIGHTS}, file)

    def fail(content: object, target) -> None:
        target.write(b'half a file')
        raise error

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(CheckpointError, match=r'c\.pth: cannot write'):
        write_checkpoint({'state_dict': {}}, file)
    assert_weights(file)
    assert os.listdir(tmp_path) == ['c.pth']


def test_write_makes_folders_and_plain_permissions(tmp_path: Path) -> None:
    file = tmp_path / 'new' / 'folder' / 'c.pth'
    write_checkpoint({'state_dict': WEIGHTS}, file)
    (tmp_path / 'other').touch()
    assert file.stat().st_mode == (tmp_path / 'other').stat().st_mode


def test_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / 'taken').touch()
    with pytest.raises(CheckpointError, match='cannot write'):
        write_checkpoint({'state_dict': WEIGHTS}, tmp_path / 'taken' / 'c.pth')


@pytest.mark.parametrize(
    ('known', 'choice', 'rows', 'named'),
    [
        # 80 rows are not always COCO's.
        (PLANTS, ClassChoice(), range(80), PLANTS),
        (
            PLANTS,
            ClassChoice(names=('person', 'plant3')),
            [79, 3],
            ('person', 'plant3'),
        ),
        (PLANTS, ClassChoice(indices=(2,)), [2], ('plant2',)),
        (COCO_NAMES, ClassChoice(), [0], None),
        (COCO_NAMES, ClassChoice(names=('bird',)), [14], None),
        (COCO_NAMES, ClassChoice(keep=True), range(80), COCO_NAMES),
        ((), ClassChoice(), [0], None),
        (PLANTS[:7], ClassChoice(), [0], None),
    ],
)
def test_classes_are_those_that_the_file_names(tmp_path, known, choice, rows, named):
    source = samples.deformable_detr(80)
    meta = dict(dataset_meta=dict(classes=known))
    numbers = range(700, 780)  # of the classes, in column 8 of text
    if known == PLANTS:
        meta['dataset_meta']['class_numbers'] = tuple(numbers)
    torch.save(dict(state_dict=source, meta=meta), tmp_path / 'src.pth')
    convert_checkpoint(tmp_path / 'src.pth', tmp_path / 'dst.pth', classes=choice)
    content = torch.load(tmp_path / 'dst.pth', weights_only=True)
    head = content['state_dict']['detector.bbox_head.cls_branches.0.weight']
    assert torch.equal(head, source['class_embed.0.weight'][list(rows)])
    facts = content['meta'].get('dataset_meta', {})
    assert facts.get('classes') == named
    kept = tuple(numbers[row] for row in rows) if known == PLANTS else None
    assert facts.get('class_numbers') == kept


def test_a_converted_file_is_loaded_as_its_source(tmp_path: Path) -> None:
    """The names of its 80 classes, none of which is COCO's first, stay with it."""
    meta = dict(dataset_meta=dict(classes=PLANTS))
    source = dict(state_dict=samples.deformable_detr(80), meta=meta)
    torch.save(source, tmp_path / 'src.pth')
    convert_checkpoint(tmp_path / 'src.pth', tmp_path / 'dst.pth')
    converted = torch.load(tmp_path / 'dst.pth', weights_only=True)
    model = nn.Module()
    shapes = convert_state_dict(samples.deformable_detr(1)).state_dict
    model.state_dict = lambda: shapes
    loaded = [
        adapt_weights(content, model, ('pedestrian',), complete=False)[0]
        for content in (source, converted)
    ]
    for content in loaded:
        head = content['state_dict']['detector.bbox_head.cls_branches.0.weight']
        assert torch.equal(head, source['state_dict']['class_embed.0.weight'][79:])


def test_unknown_names_of_the_file_s_own_classes(tmp_path: Path) -> None:
    content = dict(state_dict=samples.deformable_detr(80), meta=dict(CLASSES=PLANTS))
    torch.save(content, tmp_path / 'src.pth')
    choice = ClassChoice(names=('dog',))
    with pytest.raises(CheckpointError, match="class 'dog' is not in the file"):
        convert_checkpoint(tmp_path / 'src.pth', classes=choice)


def test_result_loads_in_mmengine_and_holds_plain_values_only(tmp_path: Path) -> None:
    torch.save({'model': samples.deformable_detr()}, tmp_path / 'src.pth')
    conversion = convert_checkpoint(tmp_path / 'src.pth', tmp_path / 'dst.pth')
    content = torch.load(tmp_path / 'dst.pth', weights_only=True)
    assert content['meta']['classes'].startswith('1 person of 91')
    model = nn.Module()
    load_checkpoint(model, str(tmp_path / 'dst.pth'))
    written = content['state_dict']
    assert written.keys() == conversion.state_dict.keys()
    assert all(torch.equal(written[n], t) for n, t in conversion.state_dict.items())


def test_released_naming_is_written_as_released(tmp_path: Path) -> None:
    source = samples.fdta()
    torch.save({'model': source}, tmp_path / 'src.pth')
    convert_checkpoint(tmp_path / 'src.pth', tmp_path / 'ours.pth')
    convert_checkpoint(tmp_path / 'ours.pth', tmp_path / 'back.pth', 'fdta')
    content = torch.load(tmp_path / 'back.pth', weights_only=True)
    assert list(content) == ['model']
    assert content['model'].keys() == source.keys()
    assert all(torch.equal(content['model'][n], t) for n, t in source.items())


def test_view_is_written_without_the_tensor_behind_it(tmp_path: Path) -> None:
    source = samples.deformable_detr(1)
    large = torch.rand(1000, *source['query_embed.weight'].shape)
    source['query_embed.weight'] = large[7]
    torch.save(source, tmp_path / 'src.pth')
    convert_checkpoint(tmp_path / 'src.pth', tmp_path / 'dst.pth')
    written = torch.load(tmp_path / 'dst.pth', weights_only=True)['state_dict']
    tensor = written['detector.query_embedding.weight']
    assert torch.equal(tensor, large[7])
    assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_source_is_never_overwritten(tmp_path: Path) -> None:
    torch.save(samples.fdta(), tmp_path / 'c.pth')
    (tmp_path / 'link.pth').symlink_to(tmp_path / 'c.pth')
    with pytest.raises(CheckpointError, match='overwrite the source'):
        convert_checkpoint(tmp_path / 'c.pth', tmp_path / 'link.pth')


def test_incomplete_checkpoint_is_refused_and_nothing_written(tmp_path: Path) -> None:
    source = samples.fdta()
    del source['detr.transformer.level_embed']
    torch.save(source, tmp_path / 'src.pth')
    with pytest.raises(CheckpointError, match=r'src\.pth: incomplete.*level_embed'):
        convert_checkpoint(tmp_path / 'src.pth', tmp_path / 'dst.pth')
    assert not (tmp_path / 'dst.pth').exists()
