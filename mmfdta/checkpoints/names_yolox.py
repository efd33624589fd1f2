# Copyright (c) mmfdta authors.
"""Parameter names of YOLOX as Megvii's code has it, in any size.

ByteTrack, OC-SORT and DanceTrack publish detectors with these names. mmfdta's are
those of MMDetection's ``YOLOX`` inside of its trackers, after ``detector.``.
"""

from collections.abc import Iterator

from .rules import Rule, Template

YOLOX = 'YOLOX'

# Convolutions with normalisation and activation: name there, name in MMDetection.
_CSP = (
    ('conv1', 'main_conv'),
    ('conv2', 'short_conv'),
    ('conv3', 'final_conv'),
    ('m.{k}.conv1', 'blocks.{k}.conv1'),
    ('m.{k}.conv2', 'blocks.{k}.conv2'),
)
_PYRAMID = (
    ('lateral_conv0', 'reduce_layers.0'),
    ('reduce_conv1', 'reduce_layers.1'),
    ('bu_conv2', 'downsamples.0'),
    ('bu_conv1', 'downsamples.1'),
)
_PYRAMID_CSP = (
    ('C3_p4', 'top_down_blocks.0'),
    ('C3_p3', 'top_down_blocks.1'),
    ('C3_n3', 'bottom_up_blocks.0'),
    ('C3_n4', 'bottom_up_blocks.1'),
)
_HEAD = (
    ('head.stems.{i}', 'neck.out_convs.{i}'),
    ('head.cls_convs.{i}.{j}', 'bbox_head.multi_level_cls_convs.{i}.{j}'),
    ('head.reg_convs.{i}.{j}', 'bbox_head.multi_level_reg_convs.{i}.{j}'),
)
_PREDICTIONS = (
    ('head.cls_preds.{i}.{p}', 'bbox_head.multi_level_conv_cls.{i}.{p}'),
    ('head.reg_preds.{i}.{p}', 'bbox_head.multi_level_conv_reg.{i}.{p}'),
    ('head.obj_preds.{i}.{p}', 'bbox_head.multi_level_conv_obj.{i}.{p}'),
)
_LEAVES = ('conv.weight', 'bn.{bn}', 'bn.num_batches_tracked')


def _backbone() -> Iterator[tuple[str, str]]:
    yield 'stem.conv', 'stem.conv'
    for stage in range(1, 5):
        theirs, ours = f'dark{stage + 1}', f'stage{stage}'
        yield f'{theirs}.0', f'{ours}.0'
        csp = 1
        if stage == 4:  # spatial pyramid pooling comes before
            csp = 2
            for conv in ('conv1', 'conv2'):
                yield f'{theirs}.1.{conv}', f'{ours}.1.{conv}'
        for old, new in _CSP:
            yield f'{theirs}.{csp}.{old}', f'{ours}.{csp}.{new}'


def _convolutions() -> Iterator[tuple[str, str]]:
    for old, new in _backbone():
        yield f'backbone.backbone.{old}', f'backbone.{new}'
    for old, new in _PYRAMID:
        yield f'backbone.{old}', f'neck.{new}'
    for old, new in _PYRAMID_CSP:
        for old_conv, new_conv in _CSP:
            yield f'backbone.{old}.{old_conv}', f'neck.{new}.{new_conv}'
    yield from _HEAD


def _pairs() -> Iterator[tuple[str, str, bool]]:
    for old, new in _convolutions():
        for leaf in _LEAVES:
            yield f'{old}.{leaf}', f'{new}.{leaf}', leaf.endswith('tracked')
    for old, new in _PREDICTIONS:
        yield old, new, False


YOLOX_RULES = tuple(
    Rule(Template(old), Template(f'detector.{new}'), YOLOX, optional)
    for old, new, optional in _pairs()
)
