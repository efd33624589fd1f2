# Copyright (c) mmfdta authors.
"""Find mistakes in a config before any data is read.

Names of keys and types first, then numbers of FDTA that have to agree.
"""

import difflib
import importlib.util
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import mmdet.registry
import mmengine.registry
from mmdet.registry import DATASETS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmfdta.engine.precision import find_precision
from mmfdta.models.association.embedding_sharing import with_types
from mmfdta.models.detectors.depth import WITHOUT_ADAPTER, share_depth_bins
from mmfdta.models.mot.box_fdta import share_box_sizes
from mmfdta.models.mot.fdta import share_sizes

# What the runner and the commands understand at the top.
TOP_KEYS = (
    *inspect.signature(Runner.__init__).parameters,
    *(
        'custom_imports',
        'runner_type',
        'randomness',
        'activation_checkpointing',
        'vis_backends',
    ),
    *('efficient_conv_bn_eval', 'compile', 'model_wrapper_cfg', 'checkpoint_modules'),
    *('find_unused_parameters', 'train_pipeline', 'val_pipeline', 'test_pipeline'),
    *('tta_model', 'tta_pipeline', 'precision', 'inference_batch_size'),
    *('compile_detector', 'checkpoint', 'detector_checkpoint', 'part_checkpoints'),
    'search',
)
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_SECTIONS = (
    *(*_LOADERS, 'default_hooks', 'custom_hooks', 'val_evaluator', 'test_evaluator'),
    *('model', 'train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper', 'param_scheduler'),
    *('visualizer', 'log_processor'),
)
# Here every dict with a type is handed to its class as it is.
_PLAIN = re.compile(
    r'^(train|val|test)_dataloader\.|^(default|custom)_hooks\.|^(val|test)_evaluator'
    r'|^optim_wrapper\.optimizer$'
)
# Taken out before a class is built.
_TAKEN_OUT = {
    *('type', '_scope_', 'priority', 'constructor', 'paramwise_cfg', 'init_cfg'),
    'convert_to_iter_based',
}
# MMEngine's, besides those of PyTorch's loader.
_LOADER_KEYS = {'num_batch_per_epoch', *inspect.signature(DataLoader).parameters}
# A detector's head, or those of the stages of a RoI head.
_CLASS_HEAD = re.compile(r'\.bbox_head(\.\d+)?$')
# Where a type is always one of a registry.
_BUILT = re.compile(
    r'\.(dataset|sampler|batch_sampler|optimizer|(datasets|pipeline)\.\d+)$'
    r'|^(default|custom)_hooks\.\w+$|_evaluator(\.\d+)?$|^model(\.detector)?$'
    r'|^param_scheduler(\.\d+)?$|^(optim_wrapper|visualizer|log_processor)$'
)
_ID_TARGETS = 'GenerateIDTargets'
_CLOSE = 0.8
# Keys of 0.1 that no longer resemble their names.
_RENAMED = dict(use_marks='use_consider_flag')
_REGISTRIES = [
    registry
    for module in (mmdet.registry, mmengine.registry)
    for registry in vars(module).values()
    if isinstance(registry, Registry)
]


class ConfigError(ValueError):
    """A config that cannot work; the message names its keys."""


@dataclass(frozen=True)
class _Part:
    """A dict in a config.

    Attributes:
        key: Where it stands, as ``--cfg-options`` spells it.
        value: The dict.
    """

    key: str
    value: dict

    @property
    def section(self) -> str:
        return self.key.split('.')[0]


def check_config(config: Config) -> None:
    """Refuse a config with misspelt keys or types, or parts that do not fit.

    Args:
        config: What is to be run.

    Raises:
        ConfigError: With one line for each mistake, which names the key, what was
            found and what was expected.
    """
    content = config.to_dict()
    model = content.get('model')
    if isinstance(model, dict) and isinstance(model.get('embedding_sharing'), dict):
        model['embedding_sharing'] = with_types(model['embedding_sharing'])
    problems = [*_misspelt_at_the_top(content), *_check_precision(content)]
    problems += _check_batch_size(content)
    for part in _parts(content):
        if part.key in _LOADERS:
            problems += _check_loader(part)
        elif isinstance(part.value.get('type'), str):
            problems += _check_part(part)
    if 'mmfdta.registry' not in str(content.get('custom_imports')):
        hint = '; custom_imports does not name mmfdta.registry'
        problems = [p + hint if '.type: there is no ' in p else p for p in problems]
    # What does not fit together may follow from a misspelt key.
    problems = problems or [
        *_check_best(content),
        *_check_classes(content),
        *_check_relations(content),
    ]
    if problems:
        raise ConfigError('\n'.join(problems))


def check_new_keys(config: Config, options: dict[str, object]) -> None:
    """Refuse options that set something nothing reads.

    Args:
        config: Before the options are applied.
        options: Key with dots and value, of ``--cfg-options``.

    Raises:
        ConfigError: If the first part of a key is none of the config's and none
            that the runner knows.
    """
    for key in options:
        first = key.split('.')[0]
        if first not in config and first not in TOP_KEYS:
            raise ConfigError(
                f'--cfg-options {key}: the config has no {first!r} and nothing would '
                f'read it{_suggest(first, [*config, *TOP_KEYS])}'
            )


def check_initial_weights(config: Config) -> None:
    """Refuse to begin a training with weights that cannot be fetched here.

    Args:
        config: What is to be trained. Testing does not read these weights.

    Raises:
        ConfigError: If they are torchvision's, which is not installed.
    """
    if importlib.util.find_spec('torchvision') is not None:
        return
    for part in _parts(dict(model=config.get('model'))):
        weights = part.value.get('checkpoint')
        if part.value.get('type') == 'Pretrained' and str(weights).startswith(
            ('torchvision://', 'modelzoo://')
        ):
            init_cfg = re.sub(r'\.\d+$', '', part.key)
            raise ConfigError(
                f'{part.key}.checkpoint: found {weights!r}, which takes torchvision, '
                f'and that is not installed; set {init_cfg}=None where load_from '
                'replaces these weights, or install torchvision'
            )


def _misspelt_at_the_top(content: dict) -> Iterator[str]:
    """Find names that are nearly a key of the runner; others are variables."""
    for key in content:
        close = difflib.get_close_matches(key, TOP_KEYS, 1, 0.88)
        if key not in TOP_KEYS and close:
            yield f'{key}: unknown key, did you mean {close[0]!r}?'


def _check_precision(content: dict) -> Iterator[str]:
    """Find a precision that there is not, or that nothing would read."""
    name = content.get('precision')
    try:
        find_precision(name)
    except ValueError as problem:
        yield str(problem)
    if name and content.get('runner_type', 'TrackingRunner') == 'Runner':
        yield (
            f"precision: found {name!r}, which MMEngine's Runner does not read; take "
            "runner_type = 'TrackingRunner'"
        )


def _check_batch_size(content: dict) -> Iterator[str]:
    """Find a number of frames that there is not."""
    size = content.get('inference_batch_size')
    if size is not None and (type(size) is not int or size < 1):
        yield f'inference_batch_size: found {size!r}, expected a whole number >= 1'


def _parts(content: dict) -> Iterator[_Part]:
    """List the dicts of the sections that are built."""
    pending = [_Part(key, content[key]) for key in _SECTIONS if content.get(key)]
    while pending:
        part = pending.pop(0)
        value = part.value
        if isinstance(value, dict):
            yield part
            pending += [_Part(f'{part.key}.{k}', v) for k, v in value.items()]
        elif isinstance(value, list | tuple):
            pending += [_Part(f'{part.key}.{i}', v) for i, v in enumerate(value)]


def _check_best(content: dict) -> Iterator[str]:
    """Find scores that MMEngine's own checkpoint hook would not know."""
    for part in _parts(content):
        best = part.value.get('save_best')
        if part.value.get('type') != 'CheckpointHook' or not best:
            continue
        names = [best] if isinstance(best, str) else best
        vague = [name for name in names if '/' not in name]
        if vague and 'MOTMetric' in str(content.get('val_evaluator')):
            yield (
                f'{part.key}.save_best: CheckpointHook does not know {vague[0]!r}; '
                "write 'mot/HOTA' with a rule, or type='WholeCheckpointHook', "
                'which knows both'
            )


def _check_classes(content: dict) -> Iterator[str]:
    """Compare the classes of the model with those of the data it is trained on.

    A label beyond the classes of a head is background to MMDetection's losses.
    """
    dataset = (content.get('train_dataloader') or {}).get('dataset')
    if not isinstance(dataset, dict):
        return
    inner = (dataset.get('datasets') or [dataset])[0]
    kind = DATASETS.get(inner.get('type')) if isinstance(inner, dict) else None
    if kind is None or not _is_ours(kind):
        return
    for described in (dataset, inner):
        classes = (described.get('metainfo') or {}).get('classes')
        if classes:
            break
    else:
        classes = kind.METAINFO['classes']
    for part in _parts(content):
        number = part.value.get('num_classes')
        is_head = part.section == 'model' and _CLASS_HEAD.search(part.key)
        if is_head and number not in (None, len(classes)):
            yield (
                f'{part.key}.num_classes = {number}, but the data set of '
                f'train_dataloader has {len(classes)} ({", ".join(classes)}); set '
                'num_classes, or metainfo.classes and category_map of the data set'
            )


def _check_loader(part: _Part) -> Iterator[str]:
    for key, value in part.value.items():
        if key not in _LOADER_KEYS:
            yield f'{part.key}.{key}: unknown key{_suggest(key, _LOADER_KEYS)}'
        elif key in ('batch_size', 'num_workers'):
            least = 1 if key == 'batch_size' else 0
            if type(value) is not int or value < least:
                yield (
                    f'{part.key}.{key}: found {value!r}, expected a whole number >= '
                    f'{least}'
                )


def _check_part(part: _Part) -> Iterator[str]:
    name = part.value['type']
    kinds = _find_classes(name)
    if not kinds:
        known = [n for registry in _REGISTRIES for n in registry.module_dict]
        hint = _suggest(name, known)
        # Elsewhere it may be a class that the code finds in another place.
        is_built = _BUILT.search(part.key) or (hint and name[0].isupper())
        if '.' not in name and is_built:
            yield f'{part.key}.type: there is no {name!r}{hint}'
        return
    if not _PLAIN.search(part.key) and not any(_is_ours(kind) for kind in kinds):
        return  # built by code that may take keys out
    accepted: dict[str, object] = {}
    takes_all = False
    for kind in kinds:
        takes_all |= _accepted(kind, accepted)
    for key, value in part.value.items():
        if key in _TAKEN_OUT:
            continue
        where = f'{part.key}.{key}'
        if key in accepted:
            if not _fits(value, accepted[key]):
                found = f'{value!r}, a {type(value).__name__}'
                yield f'{where}: found {found}, expected {_name(accepted[key])}'
        elif not takes_all:
            yield f'{where}: {name} takes no {key!r}{_suggest(key, accepted)}'


def _find_classes(name: str) -> list[Callable]:
    """Find what a type may name, in the registries of MMDetection and MMEngine."""
    found = [registry.get(name) for registry in _REGISTRIES]
    return [kind for kind in dict.fromkeys(found) if kind is not None]


def _is_ours(function: Callable) -> bool:
    return (getattr(function, '__module__', None) or '').split('.')[0] == 'mmfdta'


def _accepted(kind: Callable, accepted: dict[str, object]) -> bool:
    """List the arguments of a class and its bases with their annotations.

    Args:
        kind: The class, or a function.
        accepted: Receives them; only the annotations of this
            project are relied on.

    Returns:
        Whether any others are taken as well.
    """
    chain = [kind]
    if inspect.isclass(kind):
        bases = [c for c in kind.__mro__ if '__init__' in vars(c) and c is not object]
        chain = [vars(c)['__init__'] for c in bases]
    for function in chain:
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # written in C
            return True
        hints = typing.get_type_hints(function) if _is_ours(function) else {}
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != 'self':
                accepted.setdefault(p.name, hints.get(p.name, typing.Any))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return False
    return bool(chain)


def _name(hint: object) -> str:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return ' or '.join(dict.fromkeys(map(_name, typing.get_args(hint))))
    if hint is type(None):
        return 'None'
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _fits(value: object, hint: object) -> bool:
    """Tell whether a value may be meant for an annotation; in doubt it may."""
    if hint is None or hint is type(None):
        return value is None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, arm) for arm in arguments)
    kind = origin or hint
    if kind in (int, float):
        numbers = (int, float) if kind is float else int
        return isinstance(value, numbers) and not isinstance(value, bool)
    if kind in (bool, str):
        return isinstance(value, kind)
    if isinstance(kind, type) and issubclass(kind, dict):
        return isinstance(value, dict)
    if kind in (list, tuple, Sequence):
        element = arguments[0] if arguments else typing.Any
        return isinstance(value, list | tuple) and all(_fits(v, element) for v in value)
    return True


def _suggest(name: str, names: Iterable[str]) -> str:
    listed = sorted(set(names))
    close = difflib.get_close_matches(name, listed, 1, _CLOSE)
    if _RENAMED.get(name) in listed:
        close = [_RENAMED[name]]
    if close:
        return f', did you mean {close[0]!r}?'
    return f'; it takes {", ".join(listed)}' if len(listed) <= 25 else ''


def _check_relations(content: dict) -> Iterator[str]:
    """Compare the numbers of FDTA's parts with each other and with the data's.

    Args:
        content: A config whose keys and types are right.

    Yields:
        What does not agree, with the keys of both.
    """
    model = content.get('model') or {}
    loader = content.get('train_dataloader') or {}
    if model.get('type') == 'BoxFDTA':
        yield from _check_boxes(model, content, loader)
        return
    if model.get('type') != 'FDTA':
        return
    detector = model['detector']
    owner, key = detector, 'model.detector.loss_depth'
    if 'host' not in detector:
        owner = detector.get('bbox_head') or {}
        key = 'model.detector.bbox_head.loss_depth'
    adapter, loss = detector.get('spatial_adapter'), owner.get('loss_depth')
    if adapter is None and loss is not None:
        yield f'{key} {WITHOUT_ADAPTER}'
    try:
        share_depth_bins(adapter, loss, key)
    except ValueError as problem:
        yield str(problem)
    try:
        sizes = share_sizes(model)
    except ValueError as problem:
        yield str(problem)
        return
    yield from _check_vocabulary(sizes['num_id_vocabulary'], content)
    yield from _check_clips(sizes['window'], loader)


def _check_boxes(model: dict, content: dict, loader: dict) -> Iterator[str]:
    try:
        sizes = share_box_sizes(model)
    except ValueError as problem:
        yield str(problem)
        return
    yield from _check_vocabulary(sizes['num_id_vocabulary'], content)
    yield from _check_clips(sizes['window'], loader)


def _check_vocabulary(words: int, content: dict) -> Iterator[str]:
    for part in _parts(content):
        step = part.value
        if part.section != 'train_dataloader' or step.get('type') != _ID_TARGETS:
            continue
        try:
            named = TRANSFORMS.build(step).vocab
        except ValueError as problem:
            yield f'{part.key}: {problem}'
            continue
        if named != words:
            yield (
                f'{part.key}.vocab = {named}, but model.num_id_vocabulary = {words}; '
                'they must be equal: the first names identities with the words of the '
                'second'
            )


def _check_clips(window: int, loader: dict) -> Iterator[str]:
    lengths = (loader.get('sampler') or {}).get('lengths')
    longest = max(lengths.values()) if isinstance(lengths, dict) else lengths
    if longest is not None and longest > window:
        yield (
            f'train_dataloader.sampler.lengths = {longest} frames in a clip, but '
            f'model.window = {window}; shorten the clips or raise the second'
        )
