# Copyright (c) mmfdta authors.
"""What decides whether a run has to be done anew, or detections can be shared."""

import functools
import hashlib
import importlib.util
import json
import os
from pathlib import Path

from mmengine.config import Config

from mmfdta import models

from .contestants import Tracker

_MODELS = Path(models.__file__).parent


@functools.lru_cache(maxsize=64)
def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def run_fingerprint(tracker: Tracker, data: str, machine: dict) -> str:
    """Name what decides about a contestant's tracks and times.

    Args:
        tracker (Tracker): Whose run it is.
        data (str): ``val`` or ``test``: whose data loader is read.
        machine (dict): Device, threads and versions it runs with.

    Returns:
        str: 16 hexadecimal digits of config, weights, data, code and machine.
    """
    config = tracker.config
    return _digest(
        config.model,
        config.get('checkpoint_modules'),
        dataset_facts(config, data),
        tracker.checkpoint and file_digest(tracker.checkpoint),
        _code_digest(config),
        machine,
    )


def detector_fingerprint(tracker: Tracker, data: str) -> str | None:
    """Name what decides about the detections.

    Args:
        tracker (Tracker): Whose detector it is.
        data (str): ``val`` or ``test``: whose data loader is read.

    Returns:
        str | None: 16 hexadecimal digits of detector, weights, preprocessing and
        data; None if the tracker has no detector of its own, or looks at pixels
        beside it (ReID, camera motion).
    """
    model = tracker.config.model
    if model.get('detector') is None or tracker.checkpoint is None:
        return None
    if any(model.get(part) is not None for part in ('reid', 'cmc')):
        return None
    preprocessing = dict(model.get('data_preprocessor') or {})
    preprocessing.pop('type', None)  # the same pixels, as a dict or as a tensor
    return _digest(
        model.detector,
        preprocessing,
        dataset_facts(tracker.config, data),
        file_digest(tracker.checkpoint),
        _code_digest(tracker.config),
    )


def dataset_facts(config: Config, data: str) -> dict:
    """What a data loader's config says of its images.

    Args:
        config (Config): A tracker's config.
        data (str): ``val`` or ``test``.

    Returns:
        dict: Settings of the data set, with the absolute path of its folder.

    Raises:
        ValueError: If the config has no such data.
    """
    dataset = (config.get(f'{data}_dataloader') or {}).get('dataset')
    if dataset is None:
        raise ValueError(
            f'{config.filename}: there is no {data}_dataloader.dataset; choose '
            'another with --data'
        )
    facts = dict(dataset)
    facts['data_root'] = os.path.abspath(facts.get('data_root') or '')
    return facts


def _code_digest(config: Config) -> str:
    """Digest of the code that a config's model may be made of."""
    imports = (config.get('custom_imports') or {}).get('imports') or []
    found = [importlib.util.find_spec(name) for name in imports]
    files = {spec.origin for spec in found if spec is not None and spec.origin}
    return _digest(_models_digest(), *(file_digest(Path(f)) for f in sorted(files)))


@functools.lru_cache(maxsize=1)
def _models_digest() -> str:
    files = sorted(_MODELS.rglob('*.py'))
    return _digest(*((str(f.relative_to(_MODELS)), file_digest(f)) for f in files))


def _digest(*facts: object) -> str:
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
