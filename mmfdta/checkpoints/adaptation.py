# Copyright (c) mmfdta authors.
"""Adapts weights with the names of any supported code base to a model.

Everything that loads weights calls this first, so that a released file works wherever
a converted one does.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from .class_heads import DEFAULT_CLASS, ClassChoice, is_coco, rows_by_name
from .comparison import CheckpointMismatchError, shapes_of
from .convert import (
    CLASS_HEADS,
    NO_IDENTITY,
    Conversion,
    ConversionReport,
    convert_state_dict,
    refuse_gaps,
)
from .families import (
    AVERAGED,
    EMA,
    FAMILIES,
    OWN,
    Family,
    find_host,
    find_owner,
    reason_for,
)
from .files import class_numbers_in, classes_in, clean_state_dict
from .hosts import describe_host, differ_by_aliases, fit_host
from .names import IDENTITY
from .rules import absent_parts, to_target

_DETECTOR = 'detector.'
# Names that data sets of people use for COCO's person.
_PEOPLE = ('person', 'pedestrian')


def adapt_weights(
    content: Any,
    model: nn.Module,
    classes: Sequence[str] = (),
    complete: bool = True,
) -> tuple[Any, str]:
    """Adapt the content of a checkpoint to a model.

    Names of a supported code base are converted to those of the model, and a head with
    more classes than the model is cut to the model's. Weights with the model's own
    names do not change, and neither do unknown ones: `matching_weights` checks whether
    they fit.

    Args:
        content: Content of a checkpoint file.
        model: The model; a wrapper for several processes is removed.
        classes: Names of the model's classes, as far as they are known.
        complete: Whether the file must fill the model, as for tracking. Otherwise a
            training starts from it.

    Returns:
        The content, with a new ``state_dict`` and ``meta`` if something had to be done,
        and a description of what was done, or ''.

    Raises:
        CheckpointError: If it has no weights, is an incomplete file of a supported code
            base, or it is not clear which of its classes are meant.
        CheckpointMismatchError: If ``complete``, and the file has no weights for some
            parts of the model, or was trained on other pixels.
    """
    model = model.module if is_model_wrapper(model) else model
    weights = clean_state_dict(content)
    expected = shapes_of(model.state_dict())
    if _are_own(shapes_of(weights), expected):
        return _with_weights(content, weights), ''
    if find_host(expected) is not None:
        return _adapt_to_host(content, weights, expected, model, classes, complete)
    source = find_owner(weights)
    goal = _naming_of(expected)
    if source is None or goal is None:
        moved, remark = _move_detector(weights, expected)
        return _with_weights(content, moved), remark
    if source is goal and not _knows(source, weights):
        return _with_weights(content, weights), ''
    known = classes_in(content)
    wanted = _head_size(expected)
    rows, choice, doubt = 0, ClassChoice(keep=True), None

    def choose(found: int) -> ClassChoice:
        nonlocal rows, choice, doubt
        rows = found
        try:
            choice = _choose_rows(rows, wanted or rows, classes, known, complete)
        except CheckpointMismatchError as error:
            doubt = error  # a wrong model is the more important fault
        return choice

    conversion = convert_state_dict(weights, goal.key, source.key, choose)
    if source is not goal:
        refuse_gaps(conversion.report)
    result = conversion.state_dict
    if source is goal and _unchanged(weights, result):
        return _with_weights(content, weights), ''
    missing = _missing_parts(conversion.report, expected)
    if complete and missing:
        raise _incomplete(conversion, missing, expected)
    if doubt is not None:
        raise doubt
    cut = not choice.keep
    pixels, certain = _other_pixels(model, conversion, cut and is_coco(rows, known))
    if complete and certain:
        raise CheckpointMismatchError(pixels)
    parts = []
    if source is not goal:
        parts.append(f"{source.title}, converted to the model's names")
    if cut:
        parts.append(f'class rows kept: {conversion.report.classes}')
    for fate in ('generated', 'dropped'):
        for reason, count in conversion.report.reasons(fate).items():
            if source is goal or (reason == NO_IDENTITY and IDENTITY not in missing):
                parts.append(f'{count} weights {fate}: {reason}')
    if missing:
        parts.append(f'{", ".join(missing)} keep their initial weights')
    if pixels:
        parts.append(f'note that {pixels}')
    meta = _new_meta(content, known, wanted, cut, classes, conversion.report.rows)
    return dict(state_dict=result, meta=meta), '; '.join(parts)


def _incomplete(
    conversion: Conversion, missing: Sequence[str], expected: Mapping[str, object]
) -> CheckpointMismatchError:
    count = sum(name not in conversion.state_dict for name in expected)
    return CheckpointMismatchError(
        f'it is {conversion.report.title}, which has no {" and no ".join(missing)}: '
        f'{count} of the {len(expected)} weights of the model are not in it; it can '
        'start a training (load_from)'
    )


def _adapt_to_host(
    content: Any,
    weights: dict[str, Tensor],
    expected: Mapping[str, tuple[int, ...]],
    model: nn.Module,
    classes: Sequence[str],
    complete: bool,
) -> tuple[Any, str]:
    """Adapt weights to a model with a detector of MMDetection, its host."""
    known = classes_in(content)
    conversion = convert_for_host(weights, model, classes, known, complete)
    if conversion is None:
        return _with_weights(content, weights), ''
    report, result = conversion.report, conversion.state_dict
    if complete and report.absent:
        raise _incomplete(conversion, report.absent, expected)
    if _unchanged(weights, result):
        return _with_weights(content, weights), ''
    cut = any(record.reason.startswith('classes ') for record in report.records)
    parts = [f"{report.title}, in the model's names"]
    if cut:
        parts.append(f'class rows kept: {report.classes}')
    for fate in ('generated', 'dropped'):
        parts += [
            f'{count} weights {fate}: {reason}'
            for reason, count in report.reasons(fate).items()
        ]
    if report.absent:
        parts.append(f'{", ".join(report.absent)} keep their initial weights')
    wanted = len(classes) or None
    meta = _new_meta(content, known, wanted, cut, classes, report.rows)
    return dict(state_dict=result, meta=meta), '; '.join(parts)


def convert_for_host(
    weights: dict[str, Tensor],
    model: nn.Module,
    classes: Sequence[str] = (),
    known: Sequence[str] = (),
    complete: bool = False,
    choice: ClassChoice | None = None,
) -> Conversion | None:
    """Convert weights for a model with a detector of MMDetection, see `fit_host`.

    Args:
        weights: Weights of such a detector alone or in a tracker; or, for a host that
            is a Deformable DETR, of Deformable DETR, MOTIP or FDTA as released.
        model: The model.
        classes: Names of the model's classes, as far as they are known.
        known: Names of the file's classes, as far as they are known.
        complete: See `adapt_weights`.
        choice: Which classes to keep; None finds them by their names.

    Returns:
        See `fit_host`.

    Raises:
        CheckpointError: See `fit_host`; or it is not clear which classes are meant.
    """
    source = find_owner(weights)
    if source is not None and source.wrapper != 'state_dict':
        keep = ClassChoice(keep=True)
        released = convert_state_dict(weights, OWN.key, source.key, keep)
        refuse_gaps(released.report)
        weights = released.state_dict
    expected = shapes_of(model.state_dict())
    title, background = describe_host(model)

    def choose(found: int, wanted: int) -> ClassChoice:
        return choice or _choose_rows(found, wanted, classes, known, complete)

    return fit_host(weights, expected, title, choose, background, known)


def _are_own(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> bool:
    """Return whether weights are of the model, of a part of it or of a larger one."""
    if any(name.startswith(EMA) for name in found) or differ_by_aliases(
        found, expected
    ):
        return False
    common = found.keys() & expected.keys()
    return len(common) in (len(found), len(expected)) and all(
        found[name] == expected[name] for name in common
    )


def _naming_of(names: Iterable[str]) -> Family | None:
    """Find the naming of a model of this project: MMDetection's or mmfdta's."""
    names = tuple(names)
    namings = (family for family in FAMILIES if family.wrapper == 'state_dict')
    return next((family for family in namings if family.owns(names)), None)


def _knows(family: Family, names: Iterable[str]) -> bool:
    """Return whether a family knows all names; a model may have more."""
    return all(
        to_target(family.rules, name) or reason_for(family.dropped, name)
        for name in names
    )


def _head_size(expected: Mapping[str, tuple[int, ...]]) -> int | None:
    """Count the classes of a model; None if no class head is found."""
    sizes = {
        shape[0]
        for name, shape in expected.items()
        if f'{_DETECTOR}{name.removeprefix(_DETECTOR)}'.startswith(CLASS_HEADS)
    }
    return sizes.pop() if len(sizes) == 1 else None


def _move_detector(
    weights: dict[str, Tensor], expected: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Tensor], str]:
    """Rename a detector's weights for a tracker, and those of a tracker's detector."""
    if any(name in expected for name in weights):
        return weights, ''
    inner = {f'{_DETECTOR}{name}': tensor for name, tensor in weights.items()}
    if all(name in expected for name in inner):
        return inner, "a detector's weights, used for the model's detector"
    outer = {
        name.removeprefix(_DETECTOR): tensor
        for name, tensor in weights.items()
        if name.startswith(_DETECTOR)
    }
    if outer and all(name in expected for name in outer):
        left = len(weights) - len(outer)
        return outer, "a tracker's weights, of which the model uses the detector's" + (
            f' and not the other {left}' if left else ''
        )
    return weights, ''


def _choose_rows(
    rows: int,
    wanted: int,
    classes: Sequence[str],
    known: Sequence[str],
    complete: bool,
) -> ClassChoice:
    """Choose the rows of a head that are the classes of the model.

    Args:
        rows: Number of rows of the head in the file.
        wanted: Number of classes of the model.
        classes: Names of the model's classes, as far as known.
        known: Names of the file's classes, as far as known.
        complete: See `adapt_weights`.

    Raises:
        CheckpointMismatchError: If the choice is not clear.
    """
    if rows == wanted:
        return ClassChoice(keep=True)
    coco = is_coco(rows, known)
    vocabulary = rows_by_name(rows, known) or {}
    names = tuple(classes) if len(classes) == wanted else ()
    found = [
        DEFAULT_CLASS if name in _PEOPLE and name not in vocabulary else name
        for name in names
    ]
    if coco and rows == 91 and 'bird' in found and (complete or 'bench' in found):
        raise CheckpointMismatchError(
            "its class head has COCO's 91 rows. FDTA and MOTIP start the bird from row "
            '15, the bench, while COCO numbers it 16; choose with mmfdta convert '
            'SRC DST --class-index N'
        )
    if found and len(set(found)) == wanted and all(n in vocabulary for n in found):
        if coco:
            return ClassChoice(names=tuple(found))
        return ClassChoice(indices=tuple(vocabulary[name] for name in found))
    if wanted == 1 and coco and not (complete and names):
        return ClassChoice()
    listed = ', '.join(names[:8]) + (', ...' if len(names) > 8 else '')
    raise CheckpointMismatchError(
        f'its class head has {rows} rows{" of COCO" if coco else ""}, and it is not '
        f'known which of them the {wanted} of the config'
        f'{f" ({listed})" if names else ""} are; choose with mmfdta convert SRC DST '
        '--class-name NAME or --class-index N'
    )


def _new_meta(
    content: Any,
    known: Sequence[str],
    wanted: int | None,
    cut: bool,
    classes: Sequence[str],
    rows: Sequence[int] | None,
) -> dict:
    """Make the meta data of the adapted weights, with the model's classes."""
    meta = content.get('meta')
    meta = dict(meta) if isinstance(meta, Mapping) else {}
    facts = dict(meta.get('dataset_meta') or {})
    for old in ('CLASSES', 'PALETTE', 'classes', 'palette', 'class_numbers'):
        meta.pop(old, None)
        facts.pop(old, None)
    names = known
    if cut:
        names = classes if len(classes) == wanted else (DEFAULT_CLASS,)
    if names and len(names) == (wanted or len(names)):
        facts['classes'] = tuple(names)
        if numbers := class_numbers_in(content, rows):
            facts['class_numbers'] = numbers
    return meta | dict(dataset_meta=facts)


def _unchanged(weights: Mapping[str, Tensor], result: Mapping[str, Tensor]) -> bool:
    return weights.keys() == result.keys() and all(
        tensor.shape == result[name].shape for name, tensor in weights.items()
    )


def _missing_parts(
    report: ConversionReport, expected: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """List the parts of the model that the file does not have."""
    names = [f'{_DETECTOR}{name.removeprefix(_DETECTOR)}' for name in expected]
    if any(name.startswith(_DETECTOR) for name in expected):
        names = list(expected)
    not_wanted = absent_parts(OWN.rules, names)
    return [part for part in report.absent if part not in not_wanted]


def _other_pixels(
    model: nn.Module, conversion: Conversion, coco: bool
) -> tuple[str, bool]:
    """Check whether a YOLOX was trained on other pixels than the model gets.

    Megvii's and MMDetection's files of COCO, and all files of MMDetection 2, were
    trained on pixels that are not normalised; ByteTrack's files, and those made from
    them, on normalised ones.

    Returns:
        A message, or '', and whether it is certain.
    """
    mean = getattr(getattr(model, 'data_preprocessor', None), 'mean', None)
    report = conversion.report
    certain = coco or AVERAGED in report.reasons('dropped')
    yolox = any('multi_level_conv_cls.' in name for name in conversion.state_dict)
    other = certain or report.family == 'mmdet_yolox'
    if not (yolox and other) or mean is None or not torch.as_tensor(mean).any():
        return '', False
    return (
        'it was trained on BGR pixels without normalisation, while the '
        'data_preprocessor of the config normalises them: --cfg-options '
        "model.data_preprocessor.mean='[0,0,0]' model.data_preprocessor.std='[1,1,1]' "
        'model.data_preprocessor.bgr=True'
    ), certain


def _with_weights(content: Any, weights: dict[str, Tensor]) -> Any:
    """Put weights where MMEngine expects them, unless they are already there."""
    held = content.get('state_dict', content)
    if held.keys() == weights.keys():
        return content
    return dict(state_dict=weights, meta=content.get('meta') or {})
