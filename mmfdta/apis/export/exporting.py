# Copyright (c) mmfdta authors.
"""From a config and its weights to a folder that tracks the same without PyTorch."""

import contextlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mmfdta.models import FDTA
from mmfdta.models.mot.fdta import share_sizes
from mmfdta.ops import accelerate
from mmfdta.runtime.exported_model import (
    FACTS_FILE,
    PRECISIONS,
    AssociationFile,
    CheckpointFacts,
    DetectorFile,
    ExportedModel,
    GraphFile,
    is_export,
)
from mmfdta.runtime.trackers import resolved_settings
from mmfdta.structures.classes import column_numbers
from mmfdta.structures.whole_files import hash_file, refuse_current_folder
from mmfdta.utils.environment import find_environment

from ..config import read_config
from ..evaluation_data import EvaluationData
from ..exported_tracker import ExportedTracker
from ..frame_preprocessing import FramePreprocessor, find_frame_input
from ..model_loading import build_tracker
from ..progress import say_bytes
from ..weights import find_checkpoint
from .calibration import calibration_inputs, check_source
from .check_frames import CheckFrames, find_frames
from .checking import compare_sides
from .detector_graph import DetectorGraph
from .graphs import AssociationGraph, detector_graph, refuse_model
from .half import to_half
from .integers import to_integers
from .onnx_files import DATA_SUFFIX, OPSET, operators, save_onnx, to_onnx
from .pytorch_side import PyTorchSide
from .scoring import score_export

DETECTOR_FILE = 'detector.onnx'
ASSOCIATION_FILE = 'association.onnx'
CHECK_FRAMES = 10
"""Frames that both sides are compared on."""
_SMALLEST = 32
_PACKAGES = ('torch', 'onnx', 'onnxscript', 'onnxruntime')


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    Attributes:
        folder: Where it is.
        model: What stands in its ``model.json``.
        operators: Of each file, how often each operator is in it.
        table: Scores of both sides, if they were asked for.
    """

    folder: Path
    model: ExportedModel
    operators: dict[str, Counter[str]]
    table: str = ''

    def __str__(self) -> str:
        lines = []
        for name, counts in self.operators.items():
            size = say_bytes(
                sum(p.stat().st_size for p in self.folder.glob(f'{name}*'))
            )
            lines.append(
                f'{name}: {size}, {sum(counts.values())} operators of '
                f'{len(counts)} kinds, opset {self.model.opset}'
            )
        return '\n'.join([*lines, *([self.table] if self.table else [])])


def export_model(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike | None = None,
    out: str | os.PathLike = 'exported',
    *,
    precision: str = 'fp32',
    size: tuple[int, int] | None = None,
    input_size: int | None = None,
    check: str | None = None,
    check_frames: int = CHECK_FRAMES,
    calibrate: str | None = None,
    score: str | None = None,
    cfg_options: dict | None = None,
    allow_random_weights: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> ExportReport:
    """Export a tracker to a folder that runs without PyTorch, and check it.

    The folder appears when it is complete and the check has found that both sides
    track the same; it takes the place of an older export.

    Args:
        config: Path, name or config of FDTA, MOTIP or TrackingByDetection.
        checkpoint: Weights: path, address, or a name that ``mmfdta weights`` lists;
            None takes those that the config names.
        out: The folder.
        precision: ``'fp32'``, ``'fp16'`` or ``'int8'``. In fp32 a difference is an
            error; in the others it is told.
        size: Width and height that all frames are padded to; None takes any.
        input_size: Long side of frames after resizing, in pixels; None takes what the
            config says.
        check: Source of frames on which both sides are compared; None takes the
            config's data where it is there, and made-up frames elsewhere.
        check_frames: At most so many, at least 1.
        calibrate: Source of the frames that ranges of int8 are read off.
        score: ``'val'`` or ``'test'``: score both sides on these data of the config,
            on the same pixels: those of ``input_size`` and ``size``. It is the last
            step; the folder is there then.
        cfg_options: Settings of the config to change.
        allow_random_weights: Allow to have no checkpoint.
        say: Told how far it is, and what was found.

    Raises:
        ValueError: If the model cannot be exported, an argument is wrong, the data
            to score have no ground truth, or the exported model does not track the
            same.
        FileNotFoundError: If the config, the checkpoint or a source is not there.
        OSError: If the folder cannot be written, is no export that may be replaced,
            or is the current one; or a frame to score cannot be read.
    """
    folder = Path(out)
    _check_folder(folder)
    _check_arguments(precision, size, check_frames, calibrate)
    settings = read_config(config, cfg_options)
    init_default_scope(settings.get('default_scope') or 'mmdet')
    kind = MODELS.get(str(settings.model.get('type'))) or type(None)
    refuse_model(kind)
    tracker = _tracker_settings(settings, kind)
    frame_input = find_frame_input(settings, input_size, size)
    _check_multiples(size, frame_input.pad_divisor)
    # Before the work that takes minutes.
    frames = find_frames(settings, check, check_frames)
    if calibrate is not None:
        check_source(calibrate)
    data = None if score is None else _open_scored(settings, score)
    settings.precision = 'fp32'
    path = None
    if checkpoint or (settings.get('checkpoint') and not allow_random_weights):
        path = find_checkpoint(checkpoint, settings)
    model = build_tracker(settings, path, 'cpu', allow_random_weights)
    graph = detector_graph(model, None if size is None else (size[1], size[0]))
    meta = model.dataset_meta
    with _new_folder(folder) as place:
        say('recording the graphs')
        protos = _record(model, graph)
        facts = ExportedModel(
            config=Path(settings.filename or 'config').stem,
            checkpoint=_checkpoint_facts(path),
            precision='fp32',
            classes=tuple(meta.get('classes') or ()),
            column_numbers=column_numbers(meta),
            input=frame_input,
            detector=_save_detector(protos, place, graph),
            association=_save_association(protos, place, model),
            tracker=tracker,
            opset=OPSET,
            versions=_versions(),
        )
        facts.save(place)
        if precision != 'fp32':
            say(f'converting to {precision}')
            kinds = {DETECTOR_FILE: graph.kind, ASSOCIATION_FILE: 'association'}
            protos = _convert(protos, kinds, precision, place, calibrate)
            facts = replace(
                facts,
                precision=precision,
                detector=_save_detector(protos, place, graph),
                association=_save_association(protos, place, model),
            )
            facts.save(place)
        counts = {name: operators(proto) for name, proto in protos.items()}
        accelerate(model)
        say(f'comparing both sides on {frames.origin}')
        preprocessor = FramePreprocessor(settings, input_size=input_size)
        facts = _check(model, graph, place, frames, preprocessor, facts, say)
    table = ''
    if data is not None:
        # A frame that cannot be read costs the scores, not the export.
        say(f'wrote {folder}; scoring both sides')
        side = PyTorchSide(model, graph)
        table = score_export(side, ExportedTracker(folder), data).describe(precision)
    return ExportReport(folder, replace(facts, folder=folder), counts, table)


def _check_folder(folder: Path) -> None:
    """Refuse a folder whose files would be lost when an export takes its place."""
    if not folder.is_dir():
        if folder.exists():
            raise NotADirectoryError(
                f'{folder}: found a file, expected a folder to write'
            )
        return
    refuse_current_folder(folder)
    graphs = DETECTOR_FILE, ASSOCIATION_FILE
    ours = {FACTS_FILE, *graphs, *(f'{name}{DATA_SUFFIX}' for name in graphs)}
    found = {path.name for path in folder.iterdir()}
    others = sorted(found - ours)
    if others or (found and not is_export(folder)):
        name = others[0] if others else f'{min(found)}, which no export wrote'
        raise FileExistsError(
            f'{folder}: has other files in it ({name}), expected a new folder or '
            'an exported model to replace'
        )


def _open_scored(settings: Config, score: str) -> EvaluationData:
    """Open the data that both sides are scored on, and read their ground truth."""
    data = EvaluationData.open(settings, score)
    _ = data.truths  # raises if there is none
    return data


def _check_arguments(
    precision: str,
    size: tuple[int, int] | None,
    check_frames: int,
    calibrate: str | None,
) -> None:
    if precision not in PRECISIONS:
        raise ValueError(
            f'precision: found {precision!r}, expected one of {", ".join(PRECISIONS)}'
        )
    if size is not None and min(size) < _SMALLEST:
        raise ValueError(
            f'size: found {size[0]}x{size[1]}, expected at least '
            f'{_SMALLEST}x{_SMALLEST} pixels'
        )
    if check_frames < 1:
        raise ValueError(f'check_frames: found {check_frames}, expected at least 1')
    if precision == 'int8' and calibrate is None:
        raise ValueError(
            'calibrate: found nothing, but int8 reads ranges off frames; name a video '
            'or a folder of frames like those that will be tracked'
        )
    if precision != 'int8' and calibrate is not None:
        raise ValueError(f'calibrate: {precision} needs none, only int8 does')


def _tracker_settings(config: Config, kind: type) -> dict[str, Any]:
    """Write out the settings of a model's tracker, with all defaults."""
    model = config.model.to_dict()
    if issubclass(kind, FDTA):
        model = share_sizes(model)
    return resolved_settings(model.get('tracker') or {})


def _checkpoint_facts(path: Path | None) -> CheckpointFacts | None:
    if path is None:
        return None
    return CheckpointFacts(name=path.name, sha256=hash_file(path))


def _check_multiples(size: tuple[int, int] | None, divisor: int) -> None:
    if size is not None and any(side % divisor for side in size):
        fitting = 'x'.join(str(-(-side // divisor) * divisor) for side in size)
        raise ValueError(
            f'size: found {size[0]}x{size[1]}, expected multiples of {divisor}, as '
            f'model.data_preprocessor.pad_size_divisor says; {fitting} fits'
        )


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder that takes its place when all went well."""
    folder = folder.resolve()  # of a link what it leads to
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = f'.{folder.name}.', folder.parent
    place = Path(tempfile.mkdtemp('.part', *beside))
    try:
        yield place
        umask = os.umask(0)  # it cannot be read without being set
        os.umask(umask)
        place.chmod(0o777 & ~umask)
        if folder.is_dir():
            old = Path(tempfile.mkdtemp('.old', *beside))
            folder.replace(old)
            place.rename(folder)
            shutil.rmtree(old)
        else:
            place.rename(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _record(model: nn.Module, graph: DetectorGraph) -> dict[str, onnx.ModelProto]:
    """Record the graphs of a model: file -> graph."""
    graphs: dict[str, Any] = {DETECTOR_FILE: graph}
    if hasattr(model, 'score_identities'):
        graphs[ASSOCIATION_FILE] = AssociationGraph(model).eval()
    return {
        name: to_onnx(part, part.example(), part.dynamic(), part.outputs)
        for name, part in graphs.items()
    }


def _save(protos: dict[str, onnx.ModelProto], place: Path, name: str) -> dict[str, Any]:
    """Write a graph; the arguments of :class:`GraphFile`."""
    # What it is stripped of is needed by those who convert it.
    proto = onnx.ModelProto()
    proto.CopyFrom(protos[name])
    path = place / name
    return GraphFile.describe(path, save_onnx(proto, path))


def _save_detector(
    protos: dict[str, onnx.ModelProto], place: Path, graph: DetectorGraph
) -> DetectorFile:
    return DetectorFile(
        kind=graph.kind,
        test_cfg=json.loads(json.dumps(graph.test_cfg)),
        **_save(protos, place, DETECTOR_FILE),
    )


def _save_association(
    protos: dict[str, onnx.ModelProto], place: Path, model: nn.Module
) -> AssociationFile | None:
    if ASSOCIATION_FILE not in protos:
        return None
    return AssociationFile(
        embed_dims=model.tracker.embed_dims,
        num_id_vocabulary=model.tracker.num_id_vocabulary,
        window=model.window,
        **_save(protos, place, ASSOCIATION_FILE),
    )


def _convert(
    protos: dict[str, onnx.ModelProto],
    kinds: dict[str, str],
    precision: str,
    place: Path,
    calibrate: str | None,
) -> dict[str, onnx.ModelProto]:
    """Bring graphs to another precision; ``place`` has them in float32."""
    if precision == 'fp16':
        return {name: to_half(proto, kinds[name]) for name, proto in protos.items()}
    assert calibrate is not None  # as `_check_arguments` has seen
    feeds = calibration_inputs(place, calibrate)
    return {
        name: to_integers(protos[name], kinds[name], found)
        for name, found in zip((DETECTOR_FILE, ASSOCIATION_FILE), feeds, strict=True)
        if name in protos
    }


def _check(
    model: nn.Module,
    graph: DetectorGraph,
    place: Path,
    frames: CheckFrames,
    preprocessor: FramePreprocessor,
    facts: ExportedModel,
    say: Callable[[str], None],
) -> ExportedModel:
    """Compare both sides; what was found stands in ``model.json`` then."""
    found = compare_sides(model, graph, place, frames, preprocessor)
    say(found.describe())
    mismatch = found.mismatch()
    if mismatch and facts.precision == 'fp32':
        raise ValueError(
            f'{mismatch}; nothing was exported. Please report it, with the config'
        )
    facts = replace(facts, check=found.to_dict())
    facts.save(place)
    return facts


def _versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return found | find_environment().versions
