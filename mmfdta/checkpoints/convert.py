# Copyright (c) mmfdta authors.
"""Converts a state dict from the names of one code base to those of another.

Every conversion goes through mmfdta's own names: source names are renamed to them,
checked and completed, classes are chosen, and the result is renamed again for another
naming.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .class_heads import ClassChoice, choose_classes, names_of_kept
from .families import (
    AVERAGED,
    EMA,
    FOR_A_CONFIG,
    HOST,
    OWN,
    TARGETS,
    TWO_STAGE,
    Family,
    find_family,
    find_host,
    reason_for,
    recognise,
)
from .files import (
    CheckpointError,
    class_numbers_in,
    classes_in,
    clean_state_dict,
    read_content,
    write_checkpoint,
)
from .names import (
    ASSOCIATION,
    DETECTOR,
    IDENTITY,
    QUERY_INTERACTION,
    SPATIAL,
    TEMPORAL,
    TRACK_ATTENTION,
    YOLOX,
    YOLOX_SEPARABLE,
)
from .rules import absent_parts, find_missing, to_source, to_target

# The parts of each model; a checkpoint belongs to one model.
_MODELS = (
    {DETECTOR, SPATIAL, TEMPORAL, IDENTITY, ASSOCIATION},
    {DETECTOR, TRACK_ATTENTION, QUERY_INTERACTION},
    {YOLOX},
)
_HEAD = re.compile(r'detector\.bbox_head\.(?:cls|reg)_branches\.(\d+)\.')
CLASS_HEADS = (
    'detector.bbox_head.cls_branches.',
    'detector.bbox_head.multi_level_conv_cls.',
)
# Prefixes of a tracker on a detector of MMDetection, which no rule has.
_WITHOUT_RULES = (HOST, 'detector.depth_layers.', 'embedding_sharing.')
_MAPPER = re.compile(r'detector\.neck\.(extra_)?convs\.\d+\.conv\.weight$')
_BOX_HEAD = re.compile(r'detector\.bbox_head\.reg_branches\.\d+\.(.*)')
_ATTENDS_TO_DEPTH = re.compile(
    r'detector\.(spatial_adapter\.depth_(encoder|embedding)|'
    r'decoder\.layers\.\d+\.depth_(attn|norm))\.'
)
_DECODER_LAYER = re.compile(r'detector\.decoder\.layers\.(\d+)\.')
NO_BIAS = 'zero bias: the convolution in the source has none'
NO_IDENTITY = (
    'drawn at random (seed 0): no released file has the projection of the identity '
    'adapter, which only training uses'
)
NO_COUNTER = 'zero batch counter: frozen normalisation does not use it'
USED, GENERATED, DROPPED = 'used', 'generated', 'dropped'


@dataclass(frozen=True)
class TensorRecord:
    """The fate of one tensor.

    Attributes:
        source: Name in the source; None if it was generated.
        target: Name in the result; None if it was dropped.
        reason: Why it was generated or dropped, or how it was changed.
    """

    source: str | None
    target: str | None
    reason: str = ''

    @property
    def fate(self) -> str:
        """``used``, ``generated`` or ``dropped``."""
        if self.source is None:
            return GENERATED
        return DROPPED if self.target is None else USED


@dataclass
class ConversionReport:
    """Report of a conversion.

    Attributes:
        family: Key of the source's family.
        title: Name of the family for messages.
        target: Key of the naming that was written.
        classes: Which classes the head kept, '' if there is no head.
        names: Names of these classes, as far as the file tells them.
        records: One for every tensor of the source and of the result.
        absent: Parts of the model that the source does not have at all.
        optional: Missing names that this source may have or not.
        incomplete: Missing names that the source should have.
        rows: Rows of the class head that were kept; None for all.
    """

    family: str
    title: str
    target: str
    classes: str = ''
    names: tuple[str, ...] = ()
    records: list[TensorRecord] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    optional: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    rows: tuple[int, ...] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of used, generated and dropped tensors."""
        counts = Counter(record.fate for record in self.records)
        return {fate: counts[fate] for fate in (USED, GENERATED, DROPPED)}

    def reasons(self, fate: str) -> dict[str, int]:
        """Return the number of tensors with this fate for each reason."""
        return dict(Counter(r.reason for r in self.records if r.fate == fate))

    def to_dict(self) -> dict:
        """Return plain values for JSON."""
        return {
            'family': self.family,
            'title': self.title,
            'target': self.target,
            'classes': self.classes,
            'counts': self.counts,
            'not_in_the_source': {'parts': self.absent, 'tensors': self.optional},
            'incomplete': self.incomplete,
            'tensors': [
                {'fate': r.fate, 'source': r.source, 'target': r.target}
                | ({'reason': r.reason} if r.reason else {})
                for r in self.records
            ],
        }

    def summary(self) -> str:
        """Return a summary of a few lines."""
        lines = [
            f'found:     {self.title} ({self.family})',
            f'to:        {self.target}',
        ]
        if self.classes:
            lines.append(f'classes:   {self.classes}')
        for fate, count in self.counts.items():
            lines.append(f'{fate + ":":<11}{count}')
            lines += [
                f'{"":<11}{number} {reason}'
                for reason, number in self.reasons(fate).items()
                if reason
            ]
        missing = self.absent + self.optional
        if missing:
            lines.append(
                'not in the source, so they start from scratch where the config has '
                f'them: {", ".join(missing)}'
            )
        return '\n'.join(lines)


@dataclass
class Conversion:
    """A converted state dict and its report."""

    state_dict: dict[str, Tensor]
    report: ConversionReport


def convert_state_dict(
    state_dict: dict[str, Tensor],
    to: str = OWN.key,
    family: str | None = None,
    classes: ClassChoice | Callable[[int], ClassChoice] | None = None,
    known: Sequence[str] = (),
) -> Conversion:
    """Convert a state dict.

    Args:
        state_dict: Names and tensors of any supported family; modules may be absent.
        to: Key of a family in `TARGETS`; ``mmdet_deformable_detr`` is the
            plain detector of the ``deformable_detr_*`` configs.
        family: Key of the source's family; recognised from the names if None.
        classes: Which classes the head keeps, or a function that chooses them from
            their number.
        known: Names of the file's classes, as far as they are known, see `classes_in`;
            a head whose classes have other names than COCO's is none of COCO.

    Returns:
        New dict; tensors that did not have to change are those of the source.

    Raises:
        CheckpointError: If the names belong to no supported family, a tensor is
            unknown, aliases differ, or the choice of classes does not fit.
    """
    if family in (None, OWN.key) and find_host(state_dict) == HOST:
        return _keep_own_host(state_dict, to, classes, known)
    source = recognise(state_dict) if family is None else find_family(family)
    goal = find_family(to)
    if goal.left_out is None:
        raise CheckpointError(
            f'nothing is converted to {goal.title}; expected one of '
            f'{", ".join(TARGETS)}.'
        )
    report = ConversionReport(source.key, source.title, goal.key)
    tensors = _resolve_aliases(state_dict, source, report)
    origin: dict[str, str] = {}
    for name in tensors:
        target = to_target(source.rules, name)
        if target is None:
            reason = reason_for(source.dropped, name)
            if reason is None:
                hint = ''
                if find_host(state_dict) is not None:
                    hint = f' {FOR_A_CONFIG}'
                raise _unknown(name, source, hint)
            report.records.append(TensorRecord(name, None, reason))
        elif target in origin:
            raise CheckpointError(f'{name} and {origin[target]} are both {target}.')
        else:
            origin[target] = name
    _drop_encoder_heads(origin, report)
    converted = {target: tensors[name] for target, name in origin.items()}
    # Released code that refines boxes lists the decoder's box heads a second time.
    if not any('transformer.decoder.bbox_embed.' in name for name in state_dict):
        _check_box_refinement(converted, bool(source.aliases))
    changed = _select_classes(converted, classes or ClassChoice(), known, report)
    generated = _generate(converted)
    if source.draws_identity:
        generated |= _draw_identity_adapter(converted)
    _look_for_gaps(converted, goal, report)
    result = _rename(converted, goal, origin, changed | generated, report)
    if not result:
        raise CheckpointError(f'{goal.title} has no place for {source.title}.')
    return Conversion(result, report)


def _keep_own_host(
    state_dict: dict[str, Tensor],
    to: str,
    classes: ClassChoice | Callable[[int], ClassChoice] | None,
    known: Sequence[str],
) -> Conversion:
    """Keep a tracker of mmfdta on a detector of MMDetection as it is.

    No other code base has names for it, and only a config tells which detector it is
    and which rows of its heads are classes.
    """
    title = 'mmfdta, on a detector of MMDetection'
    report = ConversionReport(OWN.key, title, to, names=tuple(known))
    goal = find_family(to)
    if goal is not OWN:
        raise CheckpointError(f'{goal.title} has no names for {report.title}.')
    if classes not in (None, ClassChoice(), ClassChoice(keep=True)):
        raise CheckpointError(
            f'it is {report.title}, whose classes are chosen for the config that is to '
            'load it: --config NAME.'
        )
    kept = {}
    for name, tensor in state_dict.items():
        if name.startswith(_WITHOUT_RULES) or to_target(OWN.rules, name):
            kept[name] = tensor
            report.records.append(TensorRecord(name, name))
        elif name.startswith(EMA):
            report.records.append(TensorRecord(name, None, AVERAGED))
        else:
            raise _unknown(name, OWN)
    parts = absent_parts(OWN.rules, kept)
    report.absent = [p for p in parts if p in _MODELS[0] - {DETECTOR}]
    return Conversion(kept, report)


def _unknown(name: str, source: Family, hint: str = '') -> CheckpointError:
    return CheckpointError(
        f'{name} is not a parameter of {source.title}; no tensor is left out without a '
        f'reason, so the checkpoint is not converted.{hint}'
    )


def convert_checkpoint(
    src: str | Path,
    dst: str | Path | None = None,
    to: str = OWN.key,
    family: str | None = None,
    classes: ClassChoice | None = None,
    check: Callable[[dict[str, Tensor], ConversionReport], None] | None = None,
    for_host: Callable[[dict[str, Tensor], Sequence[str]], Conversion] | None = None,
) -> Conversion:
    """Read a checkpoint, convert it and write the result.

    Args:
        src: Checkpoint of any supported family.
        dst: File to write; None for a dry run.
        to: See `convert_state_dict`.
        family: See `convert_state_dict`.
        classes: See `convert_state_dict`.
        check: Called with the result before it is written; may raise a
            `CheckpointError`.
        for_host: Replaces `convert_state_dict` for a model with a detector of
            MMDetection; gets the names of the file's classes, too.

    Raises:
        FileNotFoundError: If there is no file ``src``.
        CheckpointError: If ``src`` cannot be read or converted, or has a part without
            some of its tensors, or ``dst`` cannot be written.
    """
    if dst is not None and Path(dst).exists() and Path(src).samefile(dst):
        raise CheckpointError(f'{dst}: the result would overwrite the source.')
    content = read_content(src)
    known = classes_in(content)
    try:
        state_dict = clean_state_dict(content)
        if for_host is None:
            conversion = convert_state_dict(state_dict, to, family, classes, known)
        else:
            conversion = for_host(state_dict, known)
        refuse_gaps(conversion.report)
    except CheckpointError as error:
        raise CheckpointError(f'{src}: {error}') from None
    if check is not None:
        check(conversion.state_dict, conversion.report)
    if dst is not None:
        write_checkpoint(_pack(conversion, Path(src).name, content), dst)
    return conversion


def refuse_gaps(report: ConversionReport) -> None:
    """Refuse a source that has only some tensors of a part.

    Raises:
        CheckpointError: If names are in ``report.incomplete``.
    """
    gaps = report.incomplete
    if gaps:
        raise CheckpointError(
            f'incomplete: it is {report.title}, but {len(gaps)} tensors are not in it '
            f'(by their names in mmfdta): {", ".join(gaps[:5])}'
            f'{", ..." if len(gaps) > 5 else ""}.'
        )


def _pack(conversion: Conversion, source: str, content: object) -> dict:
    report = conversion.report
    wrapper = find_family(report.target).wrapper
    # A view would be saved with its complete storage.
    state_dict = {
        name: t if t.untyped_storage().nbytes() <= t.nbytes else t.clone()
        for name, t in conversion.state_dict.items()
    }
    if wrapper != 'state_dict':
        return {wrapper: state_dict}
    meta: dict = dict(
        converted_from=report.title, source=source, classes=report.classes
    )
    if report.names:
        facts: dict[str, Any] = dict(classes=report.names)
        if numbers := class_numbers_in(content, report.rows):
            facts['class_numbers'] = numbers
        meta['dataset_meta'] = facts
    return {'state_dict': state_dict, 'meta': meta}


def _resolve_aliases(
    state_dict: dict[str, Tensor], source: Family, report: ConversionReport
) -> dict[str, Tensor]:
    """Keep one name of each shared parameter, whose tensors must be equal."""
    tensors = dict(state_dict)
    for name, tensor in state_dict.items():
        for alias in source.aliases:
            values = alias.alias.match(name)
            if values is None:
                continue
            kept = alias.name.fill(values)
            if kept not in tensors:
                tensors[kept] = tensor
            if not torch.equal(tensors[kept], tensor):
                raise CheckpointError(
                    f'{name} and {kept} are two names of one parameter, but their '
                    'tensors differ; the model here has only one.'
                )
            del tensors[name]
            report.records.append(
                TensorRecord(name, None, f'the same tensor as {alias.name.text}')
            )
            break
    return tensors


def _drop_encoder_heads(origin: dict[str, str], report: ConversionReport) -> None:
    """Drop the head that a two-stage detector has after those of the decoder."""
    layers = [int(m[1]) for m in map(_DECODER_LAYER.match, origin) if m]
    for target in list(origin):
        head = _HEAD.match(target)
        if layers and head and int(head[1]) > max(layers):
            report.records.append(TensorRecord(origin.pop(target), None, TWO_STAGE))


def _check_box_refinement(converted: dict[str, Tensor], released: bool) -> None:
    """Refuse heads that are the same in all layers.

    Without iterative refinement all layers share one head, which predicts offsets from
    the first reference points; a detector that refines the boxes from layer to layer
    cannot use it. With MMDetection's names equal values are no proof: before training,
    heads that are not shared are also equal.

    Args:
        converted: Tensors by mmfdta's names.
        released: Whether they come from released code.
    """
    layers: dict[str, list[Tensor]] = {}
    for name, tensor in converted.items():
        if match := _BOX_HEAD.match(name):
            layers.setdefault(match[1], []).append(tensor)
    pairs = [(t[0], other) for t in layers.values() for other in t[1:]]
    if released:
        same = all(torch.equal(first, other) for first, other in pairs)
    else:
        same = all(first.data_ptr() == other.data_ptr() for first, other in pairs)
    if pairs and same:
        raise CheckpointError(
            'the decoder layers share one box head: it is a Deformable DETR without '
            'iterative box refinement, and the models here refine boxes; use the '
            'variant with refinement.'
        )


def _select_classes(
    converted: dict[str, Tensor],
    choice: ClassChoice | Callable[[int], ClassChoice],
    known: Sequence[str],
    report: ConversionReport,
) -> dict[str, str]:
    """Cut the class heads to the chosen rows, in place; return name -> description."""
    heads = {n: t for n, t in converted.items() if n.startswith(CLASS_HEADS)}
    sizes = {len(tensor) for tensor in heads.values()}
    if not sizes:
        return {}
    if len(sizes) > 1:
        raise CheckpointError(
            f'its class heads have different numbers of classes: {sorted(sizes)}.'
        )
    size = sizes.pop()
    made = choice if isinstance(choice, ClassChoice) else choice(size)
    rows, report.classes = choose_classes(size, made, known)
    report.names, report.rows = names_of_kept(rows, size, known), rows
    if rows is None:
        return {}
    index = torch.tensor(rows)
    converted.update({name: tensor[index] for name, tensor in heads.items()})
    return dict.fromkeys(heads, f'classes {", ".join(map(str, rows))}')


def _generate(converted: dict[str, Tensor]) -> dict[str, str]:
    """Add tensors that have no counterpart, in place; return name -> reason."""
    reasons = {}
    for name, tensor in list(converted.items()):
        if _MAPPER.match(name):
            bias = name.removesuffix('weight') + 'bias'
            if bias not in converted:
                converted[bias] = tensor.new_zeros(len(tensor))
                reasons[bias] = NO_BIAS
        if name.startswith('detector.backbone.') and name.endswith('.running_var'):
            counter = name.removesuffix('running_var') + 'num_batches_tracked'
            if counter not in converted:
                converted[counter] = torch.tensor(0)
                reasons[counter] = NO_COUNTER
    return reasons


def _draw_identity_adapter(converted: dict[str, Tensor]) -> dict[str, str]:
    """Add the projection that released files do not have to a complete FDTA."""
    absent = absent_parts(OWN.rules, converted)
    if IDENTITY not in absent or {DETECTOR, ASSOCIATION} & set(absent):
        return {}
    without = _layers_of_larger_models(converted)
    gaps = find_missing(OWN.rules, converted, optional=False)
    if not all(map(without.match, gaps)):
        return {}
    channels = converted['detector.level_embed'].shape[1]
    generator = torch.Generator().manual_seed(0)
    drawn = {}
    for layer in (0, 2, 4):
        for leaf, shape in (('weight', (channels, channels)), ('bias', (channels,))):
            # The range of PyTorch's own initialisation of a linear layer.
            uniform = 2 * torch.rand(shape, generator=generator) - 1
            drawn[f'identity_adapter.mlp.{layer}.{leaf}'] = uniform / channels**0.5
    converted |= drawn
    return dict.fromkeys(drawn, NO_IDENTITY)


def _look_for_gaps(
    converted: dict[str, Tensor], goal: Family, report: ConversionReport
) -> None:
    """Find parts and tensors that ``goal`` has a name for and the source does not have.

    They are written to ``report``.
    """
    rules = [r for r in OWN.rules if goal.why_left_out(r.target.text) is None]
    absent = absent_parts(rules, converted)
    present = {rule.part for rule in rules} - set(absent)
    expected = set().union(*(parts for parts in _MODELS if present <= parts))
    report.absent = [part for part in absent if part in expected]
    without = [_layers_of_larger_models(converted)]
    # Only mmfdta has models with depth as a second task, to which no query attends.
    own = report.family == OWN.key and goal is OWN
    if own and not any(map(_ATTENDS_TO_DEPTH.match, converted)):
        without.append(_ATTENDS_TO_DEPTH)
    report.optional, report.incomplete = (
        [
            name
            for name in find_missing(rules, converted, optional=o)
            if not any(pattern.match(name) for pattern in without)
        ]
        for o in (True, False)
    )


def _layers_of_larger_models(converted: dict[str, Tensor]) -> re.Pattern[str]:
    """Match names of layers that the released models have and this smaller one has not.

    The shapes tell: the blocks of a ResNet-18 or 34 have two convolutions, the first of
    3x3, and a detector on three levels uses only those of the backbone. YOLOX-nano has
    pairs of separable convolutions where larger models have one convolution.
    """
    names = []
    first = converted.get('detector.backbone.layer1.0.conv1.weight')
    if first is not None and first.shape[-1] == 3:
        names.append(r'backbone\.layer\d+\.\d+\.(conv3|bn3)\.')
    levels = converted.get('detector.level_embed')
    if levels is not None and len(levels) == 3:
        names.append(r'neck\.extra_convs\.')
    if any('.depthwise_conv.' in name for name in converted):
        names.append(rf'{YOLOX_SEPARABLE}\.(conv|bn)\.')
    else:
        names.append(r'.*\.(depthwise|pointwise)_conv\.')
    return re.compile(rf'detector\.({"|".join(names)})')


def _rename(
    converted: dict[str, Tensor],
    goal: Family,
    origin: dict[str, str],
    reasons: dict[str, str],
    report: ConversionReport,
) -> dict[str, Tensor]:
    """Rename mmfdta's tensors to the names of ``goal``, including aliases."""
    result: dict[str, Tensor] = {}
    for name, tensor in converted.items():
        source = origin.get(name)
        left_out = goal.why_left_out(name)
        if left_out is None:
            target = to_source(goal.rules, name)
            if target is None:
                raise CheckpointError(f'{goal.title} has no name for {name}.')
            result[target] = tensor
            report.records.append(TensorRecord(source, target, reasons.get(name, '')))
        elif source is not None:
            report.records.append(TensorRecord(source, None, left_out))
    for alias in goal.aliases:
        for name, tensor in list(result.items()):
            for further in alias.further_names(name, converted):
                result[further] = tensor
                reason = f'the same tensor as {alias.name.text}'
                report.records.append(TensorRecord(None, further, reason))
    return result
