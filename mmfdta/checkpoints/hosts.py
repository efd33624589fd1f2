# Copyright (c) mmfdta authors.
"""Weights for the detector of MMDetection inside a `QueryDetector`, its host.

There are no tables of names here: the host has MMDetection's names, so the model itself
defines what a file must have. Every tensor of the file is used, or dropped with a
reason, and every tensor of the host comes from the file, or is made with a reason.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import TypeVar

import torch
from torch import Tensor, nn

from .class_heads import ClassChoice, choose_classes, names_of_kept
from .convert import NO_BIAS, NO_COUNTER, Conversion, ConversionReport, TensorRecord
from .families import AVERAGED, EMA, HOST, OWN, find_host
from .files import CheckpointError
from .names import ASSOCIATION, IDENTITY, SPATIAL, TEMPORAL

# Prefixes of a host in FDTA, in a tracker on boxes, and alone.
_PREFIXES = (HOST, 'detector.', '')
_CLASS_ROWS = re.compile(
    r'((aux_)?cls_branches\.\d+|fc_cls)\.(weight|bias)$|label_embedding\.weight$'
)
_NECK_BIAS = re.compile(r'neck\.(extra_)?convs\.\d+\.conv\.bias$')
# DDQ's decoder gets these heads in its first training step, under its own name.
_ALIAS, _NAMED = 'decoder.aux_reg_branches.', 'bbox_head.aux_reg_branches.'
_SAME = f'the same tensor as {_NAMED}*'
_DEPTH = re.compile(r'spatial_adapter\.|decoder\.layers\.\d+\.depth_')
_DEPTH_IN_DECODER = re.compile(r'^detector\.decoder\.layers\.(\d+)\.(?=depth_)')
_PARTS = {
    'detector.spatial_adapter.': SPATIAL,
    'detector.depth_layers.': SPATIAL,
    'temporal_adapter.': TEMPORAL,
    'identity_adapter.': IDENTITY,
    'trajectory_modeling.': ASSOCIATION,
    'id_decoder.': ASSOCIATION,
}

Shapes = Mapping[str, tuple[int, ...]]
T = TypeVar('T')


def differ_by_aliases(found: Iterable[str], expected: Iterable[str]) -> bool:
    """Return whether only one side has the second names that a training adds.

    Args:
        found: Names in a file.
        expected: Names of a model.
    """
    own, other = (any(_ALIAS in name for name in names) for names in (found, expected))
    return own is not other


def describe_host(model: nn.Module) -> tuple[str, int]:
    """Return the class name of a model's host, and its heads' rows for the background.

    Heads with a softmax have one such row, heads with sigmoids none.
    """
    host = getattr(model, 'detector', model)
    host = getattr(host, 'host', host)
    losses = (getattr(module, 'loss_cls', None) for module in host.modules())
    loss = next((loss for loss in losses if loss is not None), None)
    return type(host).__name__.removeprefix('Zoo'), int(
        not getattr(loss, 'use_sigmoid', True)
    )


def fit_host(
    weights: Mapping[str, Tensor],
    expected: Shapes,
    title: str,
    choose: Callable[[int, int], ClassChoice],
    background: int = 0,
    known: Sequence[str] = (),
) -> Conversion | None:
    """Convert the weights of a file for a model with a host.

    All class heads, also those of the encoder and auxiliary ones, and the label
    embedding of denoising queries are cut to the chosen classes. If the file has more
    queries than the model, the first ones are used.

    Args:
        weights: Weights of a detector of MMDetection alone or in a tracker.
        expected: Names and shapes of the model; `find_host` finds a host in it.
        title: Class name of the host.
        choose: Chooses the classes to keep from their numbers in file and model.
        background: Number of rows at the end of class heads for the background.
        known: Names of the file's classes, as far as they are known.

    Returns:
        The weights by the model's names, and the report; None if the file has no such
        detector.

    Raises:
        CheckpointError: If it is of another detector or size.
    """
    prefix = find_host(expected)
    assert prefix is not None
    host = _under(prefix, expected)
    source = max(_PREFIXES, key=lambda p: len(host.keys() & _under(p, weights).keys()))
    found = _under(source, weights)
    if 2 * len(host.keys() & found.keys()) < len(host):
        return None
    report = ConversionReport('mmdet', f'{title} of MMDetection', OWN.key)
    made = _complete(found, host, title)
    tensors = found | {name: tensor for name, (tensor, _) in made.items()}
    rows = _choose_rows(tensors, host, choose, background, known, report)
    result: dict[str, Tensor] = {}
    for name, shape in host.items():
        tensor, reason = _cut(name, tensors[name], shape, rows, background)
        if tuple(tensor.shape) != shape:
            advice = 'use the config of its size'
            if name.startswith('decoder.ref_point_head.'):
                # This layer is wider in OneDL's fork of MMDetection than in the zoo.
                other = 'DINO' if tensor.numel() > prod(shape) else 'ZooDINO'
                advice = f'set model.detector.host.type={other!r}, or {advice}'
            raise CheckpointError(
                f'it is a {title} of another size: {name} has the shape '
                f'{tuple(tensor.shape)} instead of {shape}; {advice}'
            )
        result[prefix + name] = tensor
        if name in made:
            record = TensorRecord(None, prefix + name, made[name][1])
        else:
            record = TensorRecord(source + name, prefix + name, reason)
        report.records.append(record)
    used = {record.source for record in report.records}
    for name, tensor in weights.items():
        if name in used:
            continue
        target = _DEPTH_IN_DECODER.sub(r'detector.depth_layers.\1.', name)
        if target in expected:
            result[target] = tensor
            report.records.append(TensorRecord(name, target))
            continue
        inner = name.removeprefix(source) if name.startswith(source) else None
        why = _why_dropped(inner, found)
        if why is None:
            raise CheckpointError(
                f'{name} has no place in the {title} of the config: no tensor is left '
                'out without a reason; use the config of the detector that it is from'
            )
        report.records.append(TensorRecord(name, None, why))
    report.absent = list(
        dict.fromkeys(_part_of(name) for name in expected if name not in result)
    )
    return Conversion(result, report)


def _under(prefix: str, names: Mapping[str, T]) -> dict[str, T]:
    """Return the items whose names have a prefix, by the rest of the name."""
    return {n.removeprefix(prefix): v for n, v in names.items() if n.startswith(prefix)}


def _complete(
    found: Mapping[str, Tensor], host: Shapes, title: str
) -> dict[str, tuple[Tensor, str]]:
    """Make tensors that a file need not have, each with the reason.

    Raises:
        CheckpointError: If other tensors are missing.
    """
    made: dict[str, tuple[Tensor, str]] = {}
    missing = []
    for name, shape in host.items():
        twin = name.replace(_ALIAS, _NAMED)
        if name in found:
            continue
        if twin in found:
            made[name] = found[twin], _SAME
        elif _NECK_BIAS.match(name):
            made[name] = torch.zeros(shape), NO_BIAS
        elif name.endswith('.num_batches_tracked'):
            made[name] = torch.tensor(0), NO_COUNTER
        else:
            missing.append(name)
    if missing:
        raise CheckpointError(
            f'it is another detector than the {title} of the config: {len(missing)} of '
            f'its {len(host)} tensors are not in it: {", ".join(missing[:5])}'
            f'{", ..." if len(missing) > 5 else ""}'
        )
    return made


def _choose_rows(
    tensors: Mapping[str, Tensor],
    host: Shapes,
    choose: Callable[[int, int], ClassChoice],
    background: int,
    known: Sequence[str],
    report: ConversionReport,
) -> tuple[int, ...] | None:
    """Find the rows of the classes to keep; None for all.

    Raises:
        CheckpointError: If heads have different numbers of classes.
    """
    heads = [name for name in host if _CLASS_ROWS.search(name)]
    if not heads:
        return None
    found, wanted = (
        {size - _background(name, background) for name, size in sizes}
        for sizes in (
            [(name, len(tensors[name])) for name in heads],
            [(name, host[name][0]) for name in heads],
        )
    )
    for sizes in (found, wanted):
        if len(sizes) > 1:
            raise CheckpointError(
                f'class heads have different numbers of classes: {sorted(sizes)}'
            )
    size = found.pop()
    rows, report.classes = choose_classes(size, choose(size, wanted.pop()), known)
    report.names, report.rows = names_of_kept(rows, size, known), rows
    return rows


def _background(name: str, background: int) -> int:
    """Return the rows for the background; denoising queries have only objects."""
    return 0 if name.endswith('label_embedding.weight') else background


def _cut(
    name: str,
    tensor: Tensor,
    shape: tuple[int, ...],
    rows: tuple[int, ...] | None,
    background: int,
) -> tuple[Tensor, str]:
    """Cut a tensor to the classes and queries of the model, with the reason."""
    if rows is not None and _CLASS_ROWS.search(name):
        last = range(len(tensor) - _background(name, background), len(tensor))
        return tensor[[*rows, *last]], f'classes {", ".join(map(str, rows))}'
    if name == 'query_embedding.weight' and len(tensor) > shape[0]:
        return tensor[: shape[0]], f'the first {shape[0]} of {len(tensor)} queries'
    return tensor, ''


def _why_dropped(inner: str | None, found: Mapping[str, Tensor]) -> str | None:
    """Return why a tensor of the file is not used; None if there is no reason.

    Args:
        inner: Its name in the detector; None if it belongs to another part.
        found: The detector's tensors in the file.

    Raises:
        CheckpointError: If two names of one parameter have different values.
    """
    if inner is None or _DEPTH.match(inner):
        return 'the model has no such part'
    if inner.startswith(EMA):
        return AVERAGED
    if inner.startswith(_ALIAS):
        named = inner.replace(_ALIAS, _NAMED)
        if named not in found or not torch.equal(found[named], found[inner]):
            raise CheckpointError(
                f'{inner} and {named} are two names of one parameter, but their '
                'tensors differ'
            )
        return _SAME
    return None


def _part_of(name: str) -> str:
    """Return the part of a model to which a name belongs, for messages."""
    known = (part for prefix, part in _PARTS.items() if name.startswith(prefix))
    return next(known, name.split('.')[0].replace('_', ' '))
