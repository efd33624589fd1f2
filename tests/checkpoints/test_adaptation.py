# Copyright (c) mmfdta authors.
"""Weights in any known names, given to a model that has names of its own."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, nn

from mmfdta.checkpoints import (
    CheckpointError,
    CheckpointMismatchError,
    ClassChoice,
    adapt_weights,
    convert_state_dict,
    matching_weights,
)
from mmfdta.checkpoints.class_heads import COCO_NAMES

from . import samples
from .test_checkpoint_convert import FAMILIES

YOLOX_NAMES = Path(__file__).parents[1] / 'golden/yolox/names.json'
CLS = 'bbox_head.multi_level_conv_cls.0.weight'


def yolox(num_classes: int = 1) -> dict[str, Tensor]:
    """YOLOX as released; every tensor is another."""
    names = json.loads(YOLOX_NAMES.read_text())
    shapes = {n: [min(size, 2) for size in shape] for n, shape in names.items()}
    for name in shapes:
        if 'cls_preds' in name:
            shapes[name][0] = num_classes
    return {n: torch.rand(s) + i for i, (n, s) in enumerate(shapes.items())}


def separable(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same as YOLOX-nano, where Megvii makes these convolutions a pair."""
    which = re.compile(
        r'(backbone\.backbone\.dark\d\.0|.*\.m\.\d+\.conv2|backbone\.bu_conv\d'
        r'|head\.(cls|reg)_convs\.\d\.\d)\.(conv|bn)\.(\w+)'
    )
    nano = {}
    for name, tensor in state_dict.items():
        match = which.fullmatch(name)
        if match is None:
            nano[name] = tensor
        else:
            for number, kind in enumerate(('dconv', 'pconv')):
                new = f'{match[1]}.{kind}.{match[3]}.{match[4]}'
                nano[new] = tensor + number / 2
    assert len(nano) > len(state_dict)
    return nano


class Model(nn.Module):
    """Has the names and shapes of a state dict."""

    def __init__(self, state_dict: dict[str, Tensor], mean: float = 0) -> None:
        super().__init__()
        self.own = {name: torch.zeros_like(t) for name, t in state_dict.items()}
        self.data_preprocessor = nn.Module()
        self.data_preprocessor.mean = torch.full((3, 1, 1), mean)

    def state_dict(self) -> dict[str, Tensor]:
        """What was given."""
        return self.own


def equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(tensor, expected[name]) for name, tensor in found.items()
    )


OTHERS = [family for family in FAMILIES if family != 'mmfdta']
YOLOX: dict[str, Callable] = dict(
    yolox=yolox,
    yolox_nano=lambda: separable(yolox()),
    mmdet_yolox=lambda: convert_state_dict(yolox(), to='mmdet_yolox').state_dict,
)
MAKERS = {family: FAMILIES[family] for family in OTHERS} | YOLOX


@pytest.mark.parametrize('family', MAKERS)
@pytest.mark.parametrize('wrapper', ['state_dict', 'model', ''])
def test_the_model_gets_what_convert_writes(family: str, wrapper: str):
    source = MAKERS[family]()
    expected = convert_state_dict(source).state_dict
    content = {wrapper: source} if wrapper else source
    adapted, remark = adapt_weights(content, Model(expected), ('person',))
    assert equal(matching_weights(Model(expected), adapted), expected)
    assert "converted to the model's names" in remark
    assert '\n' not in remark


@pytest.mark.parametrize('family', ['deformable_detr', 'fdta', 'mmfdta'])
def test_a_plain_detector_gets_what_convert_writes(family: str):
    source = FAMILIES[family]()
    expected = convert_state_dict(source, to='mmdet_deformable_detr').state_dict
    adapted, remark = adapt_weights({'model': source}, Model(expected), ('person',))
    assert equal(adapted['state_dict'], expected)
    assert remark


def test_every_number_of_nano_has_its_name():
    source = separable(yolox())
    report = convert_state_dict(source).report
    assert report.counts == dict(used=len(source), generated=0, dropped=0)
    assert not (report.optional or report.incomplete)
    del source['head.cls_convs.1.1.pconv.bn.bias']
    (gap,) = convert_state_dict(source).report.incomplete
    assert gap == (
        'detector.bbox_head.multi_level_cls_convs.1.1.pointwise_conv.bn.bias'
    )


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.'])
def test_what_wrappers_put_before_names_is_removed(prefix: str):
    source = samples.motip()
    expected = convert_state_dict(source).state_dict
    wrapped = {prefix + name: tensor for name, tensor in source.items()}
    adapted, _ = adapt_weights({'model': wrapped}, Model(expected))
    assert equal(adapted['state_dict'], expected)
    # The model may be wrapped, too.
    model = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(model)
    model.module = Model(expected)
    adapted, _ = adapt_weights({'model': wrapped}, model)
    assert equal(adapted['state_dict'], expected)


def test_a_compiled_part_has_the_names_of_a_plain_one():
    own = convert_state_dict(samples.motip()).state_dict
    compiled = {
        n.replace('detector.backbone.', 'detector.backbone._orig_mod.'): t
        for n, t in own.items()
    }
    assert compiled.keys() != own.keys()
    adapted, remark = adapt_weights({'state_dict': compiled}, Model(own))
    assert equal(adapted['state_dict'], own)
    assert not remark


def test_own_names_stay_as_they_are():
    own = convert_state_dict(samples.fdta()).state_dict
    averaged = {f'module.{name}': t + 1 for name, t in own.items()}
    content = dict(state_dict=own, ema_state_dict=averaged, meta=dict(epoch=3))
    adapted, remark = adapt_weights(content, Model(own))
    assert adapted is content
    assert not remark
    # Of a model that has more, and is to start a training.
    part = {n: t for n, t in own.items() if n.startswith('detector.')}
    content = dict(state_dict=part)
    assert adapt_weights(content, Model(own), complete=False) == (content, '')


def test_an_extended_model_starts_from_its_own_file():
    own = convert_state_dict(samples.fdta()).state_dict
    own['my_head.weight'] = torch.ones(3)
    old = own | {'my_head.weight': torch.ones(4)}
    content = dict(state_dict=old)
    assert adapt_weights(content, Model(own), complete=False) == (content, '')


def test_nobody_s_names_stay_as_they_are():
    content = dict(state_dict={'stem.weight': torch.ones(1)})
    own = Model(convert_state_dict(samples.motip()).state_dict)
    assert adapt_weights(content, own) == (content, '')


def test_a_file_without_weights_is_refused():
    for content in ([1, 2], {'meta': {}}, {'state_dict': {'a': 1}}):
        with pytest.raises(CheckpointError):
            adapt_weights(content, Model({}))


# ---------------------------------------------------------------- other models
def test_a_detector_tracks_nothing_but_starts_a_training():
    model = Model(convert_state_dict(samples.fdta()).state_dict)
    content = dict(model=samples.deformable_detr())
    with pytest.raises(
        CheckpointMismatchError,
        match='Deformable DETR as released, which has no spatial adapter and no '
        'temporal adapter and no identity adapter and no association: 263 of the 877',
    ):
        adapt_weights(content, model, ('dancer',))
    adapted, remark = adapt_weights(content, model, ('person',), complete=False)
    expected = convert_state_dict(content['model']).state_dict
    assert equal(adapted['state_dict'], expected)
    assert 'association keep their initial weights' in remark


def test_a_tracker_on_boxes_wants_no_association():
    whole = convert_state_dict(samples.motip()).state_dict
    boxes = Model({n: t for n, t in whole.items() if n.startswith('detector.')})
    adapted, _ = adapt_weights(samples.deformable_detr(), boxes, ('person',))
    assert equal(matching_weights(boxes, adapted), convert_state_dict(
        samples.deformable_detr()).state_dict)  # fmt: skip


@pytest.mark.parametrize('complete', [True, False])
def test_a_file_that_lacks_a_layer_is_refused(complete: bool):
    source = samples.fdta()
    model = Model(convert_state_dict(source).state_dict)
    del source['detr.transformer.encoder.layers.2.linear1.weight']
    with pytest.raises(CheckpointError, match='encoder.layers.2.ffn.layers.0.0.weight'):
        adapt_weights({'model': source}, model, complete=complete)


def test_any_detector_of_mmdetection_goes_into_a_tracker():
    inner = {
        'backbone.conv1.weight': torch.rand(2),
        'rpn_head.conv.bias': torch.rand(3),
    }
    tracker = {f'detector.{name}': tensor for name, tensor in inner.items()}
    adapted, remark = adapt_weights({'state_dict': inner}, Model(tracker))
    assert equal(adapted['state_dict'], tracker)
    assert 'detector' in remark
    tracker['reid.head.weight'] = torch.rand(1)
    adapted, remark = adapt_weights({'state_dict': tracker}, Model(inner))
    assert equal(adapted['state_dict'], inner)
    assert 'not the other 1' in remark


def test_averaged_weights_are_those_under_the_own_names():
    own = convert_state_dict(yolox()).state_dict
    plain = convert_state_dict(yolox(), to='mmdet_yolox').state_dict
    for names in (own, plain):
        trained = {f'ema_{n.replace(".", "_")}': t + 9 for n, t in names.items()}
        content = dict(state_dict=names | trained, meta=dict(CLASSES=('person',)))
        adapted, remark = adapt_weights(content, Model(own))
        expected = {n: names.get(n, names.get(n[9:])) for n in own}
        assert equal(adapted['state_dict'], expected)
        assert adapted['meta']['dataset_meta'] == dict(classes=('person',))
        assert remark


# -------------------------------------------------------------------- classes
@pytest.mark.parametrize(
    ('classes', 'rows', 'known'),
    [
        (('person',), [0], ()),
        (('pedestrian',), [0], COCO_NAMES),
        ((), [0], ()),
        (('bird',), [14], ()),
        (('car', 'pedestrian'), [2, 0], COCO_NAMES),
        (tuple(f'thing {i}' for i in range(80)), range(80), ()),
        # A head of 80 classes is not always COCO's.
        (('c7', 'person'), [7, 3], [*(f'c{i}' for i in range(79)), 'person']),
    ],
)
def test_rows_are_those_of_the_model_s_classes(classes, rows, known):
    if 'c7' in classes:
        known[3], known[79] = known[79], known[3]
    source = convert_state_dict(
        yolox(80), to='mmdet_yolox', classes=ClassChoice(keep=True)
    ).state_dict
    one = convert_state_dict(yolox(len(rows)), classes=ClassChoice(keep=True))
    meta = dict(dataset_meta=dict(classes=tuple(known), palette=[])) if known else {}
    if 'c7' in classes:
        meta['dataset_meta']['class_numbers'] = [*range(700, 780)]
    content = dict(state_dict=source, meta=meta)
    adapted, remark = adapt_weights(content, Model(one.state_dict), classes)
    assert torch.equal(
        adapted['state_dict'][f'detector.{CLS}'], source[CLS][list(rows)]
    )
    if len(rows) < 80:
        assert re.search(rf'class rows kept: {rows[0]}\b.* of 80', remark)
        facts = adapted['meta']['dataset_meta']
        assert facts['classes'] == (classes or ('person',))
        numbers = (707, 703) if 'c7' in classes else None
        assert facts.get('class_numbers') == numbers


@pytest.mark.parametrize(
    ('rows', 'classes', 'complete'),
    [
        (80, ('cell',), True),
        (80, ('car', 'wheel'), True),
        (80, ('car', 'wheel'), False),
        (80, ('person', 'pedestrian'), False),
        (7, ('person',), False),
        (91, ('bird',), True),  # two rows claim it
    ],
)
def test_unclear_rows_are_refused(rows: int, classes: tuple, complete: bool):
    wanted = len(classes)
    keep = ClassChoice(keep=True)
    make = samples.deformable_detr if rows == 91 else yolox
    source = make(rows)
    model = Model(convert_state_dict(make(wanted), classes=keep).state_dict)
    with pytest.raises(CheckpointMismatchError, match='mmfdta convert SRC DST --class'):
        adapt_weights(dict(model=source), model, classes, complete)


def test_training_takes_the_default_class_for_one_that_is_not_of_coco():
    model = Model(convert_state_dict(yolox()).state_dict)
    content = dict(model=yolox(80))
    adapted, remark = adapt_weights(content, model, ('cell',), complete=False)
    assert '0 person of 80 (default for a COCO head)' in remark
    # Birds start as in the released training.
    model = Model(convert_state_dict(samples.deformable_detr(1)).state_dict)
    content = dict(model=samples.deformable_detr(91))
    adapted, remark = adapt_weights(content, model, ('bird',), complete=False)
    kept = adapted['state_dict']['detector.bbox_head.cls_branches.0.weight']
    assert torch.equal(kept, content['model']['class_embed.0.weight'][15:16])
    assert 'COCO numbers the bird 16' in remark


def test_a_wrong_number_of_classes_in_own_names_is_cut_too():
    keep = ClassChoice(keep=True)
    own = convert_state_dict(yolox(80), classes=keep).state_dict
    model = Model(convert_state_dict(yolox()).state_dict)
    adapted, remark = adapt_weights(dict(state_dict=own), model, ('person',))
    assert equal(adapted['state_dict'], convert_state_dict(own).state_dict)
    assert '0 person of 80' in remark


# --------------------------------------------------------------------- pixels
def test_files_of_coco_are_refused_where_pixels_are_normalised():
    model = Model(convert_state_dict(yolox()).state_dict, mean=0.45)
    with pytest.raises(CheckpointMismatchError, match='BGR pixels without normal'):
        adapt_weights(dict(model=yolox(80)), model, ('person',))
    # ByteTrack's have the same names and one class.
    _, remark = adapt_weights(dict(model=yolox()), model, ('person',))
    assert 'pixels' not in remark
    # What somebody has trained with MMDetection may be either.
    plain = convert_state_dict(yolox(), to='mmdet_yolox').state_dict
    _, remark = adapt_weights(dict(state_dict=plain), model, ('person',))
    assert 'note that' in remark
