# Copyright (c) mmfdta authors.
"""Convert a checkpoint and check that it fits a config; `mmfdta convert` is this."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmfdta.checkpoints import (
    CheckpointError,
    ClassChoice,
    Conversion,
    ConversionReport,
    compare_weights,
    convert_checkpoint,
    convert_for_host,
    find_host,
)
from mmfdta.checkpoints.comparison import keep_modules, shapes_of
from mmfdta.engine import described_data
from mmfdta.structures.whole_files import write_text

from .config import read_config
from .model_loading import part_checkpoints
from .result_names import number_alike, refuse_replacing
from .weights import find_checkpoint

# Of files of weights; a version number such as v1.0 stays.
_SUFFIXES = re.compile(r'(\.(pth|pt|pkl|bin|tar|ckpt|safetensors))+$', re.I)


def convert(
    src: str,
    dst: str | None,
    to: str,
    family: str | None,
    classes: ClassChoice,
    config: str | None = None,
    report_path: str | None = None,
) -> str:
    """Convert a checkpoint.

    Args:
        src: The checkpoint, as `find_checkpoint` takes it.
        dst: Where to write; None writes nothing.
        to: Whose names to write, one of `mmfdta.checkpoints.TARGETS`.
        family: What the checkpoint is; None finds out.
        classes: Which rows of the class head stay.
        config: Path or name of a config that has to take the result.
        report_path: JSON file for what became of every tensor.

    Returns:
        A summary of some lines.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        DownloadError: If it cannot be fetched.
        CheckpointError: If it cannot be converted or does not fit the config.
        ValueError: If the report would replace one of the checkpoints.
    """
    settings = read_config(config) if config else None
    model = None if settings is None else _build(settings)
    for_host = None
    if model is not None and find_host(model.state_dict()) is not None:
        if family or to != 'mmfdta':
            raise CheckpointError(
                f'--from, --to and --target say nothing about {config}: its detector '
                "has MMDetection's names; leave them out"
            )
        for_host = _for_host(settings, model, classes)
    fit: list[str] = []

    def check(state_dict: dict[str, Tensor], report: ConversionReport) -> None:
        if model is not None and settings is not None:
            fit.append(check_fit(state_dict, report, model, settings, str(config)))

    source = find_checkpoint(src)
    if report_path:
        known = [path for path in (source, dst) if path]
        refuse_replacing(known, [report_path], 'a checkpoint of this call')
    report = convert_checkpoint(
        source, dst, to, family, classes, check, for_host
    ).report
    if report_path:
        write_text(report_path, json.dumps(report.to_dict(), indent=1) + '\n')
    lines = [report.summary(), *fit]
    lines.append(f'wrote:     {dst}' if dst else 'nothing written')
    return '\n'.join(lines)


def name_converted(sources: Sequence[str], folder: str) -> list[str]:
    """Name the results of several checkpoints: ``NAME.pth``.

    Args:
        sources: Paths, addresses or names of published weights.
        folder: Where the results will stand; it is made when the first is written.

    Returns:
        A file for each; what is called alike is numbered.

    Raises:
        NotADirectoryError: If the folder is a file.
        ValueError: If a result would replace a source.
    """
    if Path(folder).exists() and not Path(folder).is_dir():
        raise NotADirectoryError(f'--out-dir: {folder} is a file, no folder')
    paths = (unquote(urlsplit(s).path) if '://' in s else s for s in sources)
    names = (_SUFFIXES.sub('', Path(path).name) or 'checkpoint' for path in paths)
    files = [str(Path(folder, f'{name}.pth')) for name in number_alike(names)]
    refuse_replacing(sources, files, 'a checkpoint that is to be converted')
    return files


def _build(settings: Config) -> nn.Module:
    init_default_scope(settings.get('default_scope', 'mmdet'))
    return MODELS.build(settings.model)


def _for_host(
    settings: Config, model: nn.Module, classes: ClassChoice
) -> Callable[[dict[str, Tensor], Sequence[str]], Conversion]:
    """Return what converts for a model with a detector of MMDetection."""
    _, meta = next(described_data(settings), ({}, {}))
    choice = None if classes == ClassChoice() else classes

    def convert(state_dict: dict[str, Tensor], known: Sequence[str]) -> Conversion:
        names = meta.get('classes') or ()
        found = convert_for_host(state_dict, model, names, known, choice=choice)
        if found is None:
            raise CheckpointError(
                'it has less than half of the names of the detector in the config'
            )
        return found

    return convert


def check_fit(
    state_dict: dict[str, Tensor],
    report: ConversionReport,
    model: nn.Module,
    settings: Config,
    config: str,
) -> str:
    """Compare a converted state dict with the model of a config, as it loads it.

    Args:
        state_dict: The result of a conversion.
        report: The account of it; parts that the source does not have may be
            missing.
        model: The model of a config.
        settings: The config: of which modules it loads weights, and which parts have
            files of their own.
        config: Its name, for people.

    Returns:
        One line that says how the model takes it.

    Raises:
        CheckpointError: A tensor has no place in the model or another shape, or there
            is none of those that it loads.
    """
    modules = settings.get('checkpoint_modules') or ()
    if modules:
        state_dict = keep_modules(state_dict, modules)
        if not state_dict:
            raise CheckpointError(
                f'it does not fit {config}: it has no weights of '
                f'{" and ".join(modules)}, all that this config loads.'
            )
    found = shapes_of(state_dict)
    elsewhere = tuple(f'{part}.' for part in part_checkpoints(settings))
    expected = {
        name: shape
        for name, shape in shapes_of(model.state_dict()).items()
        if name in found or not name.startswith(elsewhere)
    }
    missing = [name for name in expected if name not in found]
    problems = compare_weights(
        found, {name: expected[name] for name in expected if name in found}
    )
    if problems or (missing and not report.absent + report.optional):
        problems = compare_weights(found, expected)
        raise CheckpointError(f'it does not fit {config}: {"; ".join(problems)}.')
    if missing:
        return (
            f'fits {config}, of which {len(missing)} tensors start from scratch; load '
            'it with load_from'
        )
    if modules:
        return f'fits {config}, which loads {" and ".join(modules)} of it alone'
    return f'fits {config} exactly'
