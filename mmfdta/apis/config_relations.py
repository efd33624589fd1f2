# Copyright (c) mmfdta authors.
"""Numbers of a config that have to agree."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mmdet.registry import MODELS, TRANSFORMS
from mmengine.registry import Registry

_CHANNELS = {
    'temporal_adapter': 'embed_dims',
    'identity_adapter': 'embed_dims',
    'trajectory_modeling': 'embed_dims',
    'id_decoder': 'feature_dims',
    'tracker': 'embed_dims',
}


def check_relations(content: dict) -> Iterator[str]:
    """Compare the numbers of FDTA's parts with each other and with the data's.

    Args:
        content (dict): A config whose keys and types are right.

    Yields:
        str: What does not agree, with the keys of both.
    """
    model = content.get('model') or {}
    if model.get('type') != 'FDTA':
        return
    loader = content.get('train_dataloader') or {}
    yield from _check_channels(model)
    yield from _check_depth_bins(model)
    yield from _check_vocabulary(model, loader)
    yield from _check_window(model, loader)


def _check_channels(model: dict) -> Iterator[str]:
    head = (model['detector'].get('bbox_head') or {}).get('embed_dims')
    for part, name in _CHANNELS.items():
        found = _setting(MODELS, model.get(part), name)
        if None not in (head, found) and found != head:
            yield (
                f'model.{part}.{name} = {found}, but '
                f'model.detector.bbox_head.embed_dims = {head}; they must be equal'
            )


def _check_depth_bins(model: dict) -> Iterator[str]:
    detector = model['detector']
    adapter = _setting(MODELS, detector.get('spatial_adapter'), 'num_bins')
    loss = (detector.get('bbox_head') or {}).get('loss_depth')
    bins = _setting(MODELS, loss, 'num_bins')
    if None not in (adapter, bins) and adapter != bins:
        yield (
            f'model.detector.spatial_adapter.num_bins = {adapter}, but '
            f'model.detector.bbox_head.loss_depth.num_bins = {bins}; they must be equal'
        )
    if adapter is None and loss is not None:
        yield (
            'model.detector.bbox_head.loss_depth is set, but there is no '
            'model.detector.spatial_adapter to train; set both or neither'
        )


def _check_vocabulary(model: dict, loader: dict) -> Iterator[str]:
    words = _setting(MODELS, model['id_decoder'], 'num_id_vocabulary')
    tracked = _setting(MODELS, model['tracker'], 'num_id_vocabulary')
    if tracked != words:
        yield (
            f'model.tracker.num_id_vocabulary = {tracked}, but '
            f'model.id_decoder.num_id_vocabulary = {words}; they must be equal'
        )
    for key, step in _steps(loader, 'train_dataloader'):
        if step.get('type') != 'GenerateIDTargets':
            continue
        given = _setting(TRANSFORMS, step, 'vocab')
        if given != words:
            yield (
                f'{key}.vocab = {given}, but model.id_decoder.num_id_vocabulary = '
                f'{words}; they must be equal: the first names identities with the '
                'words of the second'
            )
        taught = _setting(TRANSFORMS, step, 'num_training_ids')
        if taught is not None and not 1 <= taught <= given:
            yield (
                f'{key}.num_training_ids = {taught}: expected 1 to {given}, the '
                'number of ID words (vocab)'
            )


def _check_window(model: dict, loader: dict) -> Iterator[str]:
    table = _setting(MODELS, model['id_decoder'], 'max_relative_time')
    tolerance = _setting(MODELS, model['tracker'], 'miss_tolerance')
    if tolerance - 1 > table:
        yield (
            f'model.tracker.miss_tolerance = {tolerance} keeps {tolerance - 1} frames '
            f'of history, but model.id_decoder.max_relative_time = {table} knows no '
            'larger distance in time; raise the second or lower the first'
        )
    lengths = (loader.get('sampler') or {}).get('lengths')
    longest = max(lengths.values()) if isinstance(lengths, dict) else lengths
    if longest is not None and longest > table:
        yield (
            f'train_dataloader.sampler.lengths = {longest} frames in a clip, but '
            f'model.id_decoder.max_relative_time = {table}; shorten the clips or '
            'raise the second'
        )


def _setting(registry: Registry, part: dict | None, name: str) -> Any:
    """Read a setting of a part, or its class's default; None without the part.

    What it is depends on the setting; `check_config` has compared it with its hint.
    """
    if not part:
        return None
    if name in part:
        return part[name]
    kind: Callable = registry.get(part['type'])
    default = inspect.signature(kind).parameters[name].default
    return None if default is inspect.Parameter.empty else default


def _steps(value: object, key: str) -> Iterator[tuple[str, dict]]:
    """List the dicts in a loader with their keys, also in nested pipelines."""
    items: Iterable[tuple[object, object]]
    if isinstance(value, dict):
        yield key, value
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return
    for name, item in items:
        yield from _steps(item, f'{key}.{name}')
