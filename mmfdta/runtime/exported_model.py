# Copyright (c) mmfdta authors.
"""The folder of an exported model: the content of `model.json`, and checks of files."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from mmfdta.structures.whole_files import hash_file, write_text
from mmfdta.version import __version__

from .frame_input import FrameInput

FORMAT = 1
"""Version of ``model.json``; another number means other keys."""
FACTS_FILE = 'model.json'
DETECTOR_KINDS = ('queries', 'yolox')
PRECISIONS = ('fp32', 'fp16', 'int8')
_AGAIN = 'export the model again (mmfdta export)'


@dataclass(frozen=True, kw_only=True)
class GraphFile:
    """An ONNX file of the folder.

    Attributes:
        file: Its name in the folder.
        sha256: SHA-256 of its content, in hexadecimal.
        data: SHA-256 by name of files with its weights, if it would be too large for
            ONNX with them.
    """

    file: str
    sha256: str
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Identifies the graph with its weights, in 16 hexadecimal digits."""
        hashes = ' '.join([self.sha256, *sorted(self.data.values())])
        return hashlib.sha256(hashes.encode()).hexdigest()[:16]

    @staticmethod
    def describe(path: Path, data: Sequence[Path] = ()) -> dict[str, Any]:
        """Return the arguments ``file``, ``sha256`` and ``data`` for existing files.

        Args:
            path: The ONNX file.
            data: Files with its weights.
        """
        return dict(
            file=path.name,
            sha256=hash_file(path),
            data={part.name: hash_file(part) for part in data},
        )

    def check(self, folder: Path) -> None:
        """Compare the files with their hashes.

        Raises:
            FileNotFoundError: If one is missing.
            ValueError: If the content of one has changed.
        """
        for name, expected in {self.file: self.sha256, **self.data}.items():
            path = folder / name
            if not path.is_file():
                raise FileNotFoundError(
                    f'{path}: no such file, but {FACTS_FILE} names it; copy the '
                    f'complete folder, or {_AGAIN}'
                )
            found = hash_file(path)
            if found != expected:
                raise ValueError(
                    f'{path}: found SHA-256 {found[:12]}..., expected '
                    f'{expected[:12]}... as in {FACTS_FILE}; the file was damaged or '
                    f'replaced: copy it again, or {_AGAIN}'
                )


@dataclass(frozen=True, kw_only=True)
class DetectorFile(GraphFile):
    """The graph of the detector.

    Attributes:
        kind: ``'queries'`` or ``'yolox'``: the kind of its outputs.
        test_cfg: The detector's settings at test time, such as ``score_thr``.
    """

    kind: str
    test_cfg: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AssociationFile(GraphFile):
    """The graph that scores identities.

    Attributes:
        embed_dims: Channels of the detector's embeddings, its input.
        num_id_vocabulary: Number K of ID words; it gives K + 1 scores per detection.
        window: Number of frames that it knows, the present one among them; the
            tracker's ``miss_tolerance`` must not exceed it.
    """

    embed_dims: int
    num_id_vocabulary: int
    window: int


@dataclass(frozen=True, kw_only=True)
class CheckpointFacts:
    """The weights that were exported.

    Attributes:
        name: Name of the file.
        sha256: SHA-256 of its content, in hexadecimal.
    """

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """The content of ``model.json``, which is all that running an exported model needs.

    Attributes:
        config: Name of the config.
        checkpoint: The exported weights; None for random ones.
        precision: ``'fp32'``, ``'fp16'`` or ``'int8'``.
        classes: Names of the classes, by label; empty if unknown.
        column_numbers: Numbers for column 8 of MOTChallenge text, by label; None for
            one class, which is not written.
        input: How a frame becomes the input of the detector.
        detector: The graph of the detector.
        association: The graph that scores identities; None for trackers on boxes.
        tracker: The config's ``model.tracker``: ``type``, and all its settings.
        opset: Version of the ONNX operators.
        versions: Versions of the packages that exported it, by name.
        check: Result of the comparison with PyTorch during the export.
        version: Version of mmfdta that exported it.
        folder: Folder from which it was loaded; not in the file.
    """

    config: str
    checkpoint: CheckpointFacts | None
    precision: str
    classes: tuple[str, ...]
    column_numbers: tuple[int, ...] | None
    input: FrameInput
    detector: DetectorFile
    association: AssociationFile | None
    tracker: Mapping[str, Any]
    opset: int
    versions: Mapping[str, str]
    check: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__
    folder: Path | None = None

    @classmethod
    def load(cls, folder: str | os.PathLike) -> 'ExportedModel':
        """Read a folder, and check that it is complete.

        Args:
            folder: Folder that ``mmfdta export`` wrote; it may have been moved.

        Raises:
            FileNotFoundError: If there is no such folder, or a file of it is missing.
            ValueError: If ``model.json`` cannot be read or is of another format, a key
                is missing or unknown, or the content of a file has changed.
        """
        folder = Path(folder)
        path = folder / FACTS_FILE
        if not path.is_file():
            what = 'has no model.json' if folder.is_dir() else 'there is no such folder'
            raise FileNotFoundError(
                f'{folder}: {what}, expected an exported model; mmfdta export CONFIG '
                f'CHECKPOINT --out {folder} makes one'
            )
        try:
            values = json.loads(path.read_text(encoding='utf-8'))
        except ValueError as error:
            raise ValueError(
                f'{path}: found no valid JSON ({error}); copy it again, or {_AGAIN}'
            ) from None
        model = _read_model(_Table(values, f'{path}: '), folder)
        for graph in (model.detector, model.association):
            if graph is not None:
                graph.check(folder)
        return model

    def save(self, folder: str | os.PathLike) -> None:
        """Write ``model.json``.

        Args:
            folder: The folder, which already has the graphs.

        Raises:
            OSError: If it cannot be written.
        """
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        del values['folder']
        values = dict(format=FORMAT, version=values.pop('version'), **values)
        values['input'] = self.input.to_dict()
        for name in ('checkpoint', 'detector', 'association'):
            values[name] = values[name] and asdict(values[name])
        text = json.dumps(values, indent=2, ensure_ascii=False)
        write_text(Path(folder, FACTS_FILE), f'{text}\n')

    @property
    def detector_path(self) -> Path:
        """The file of the detector's graph."""
        return self._path(self.detector)

    @property
    def association_path(self) -> Path | None:
        """The file of the graph that scores identities, if there is one."""
        return None if self.association is None else self._path(self.association)

    def _path(self, graph: GraphFile) -> Path:
        if self.folder is None:
            raise ValueError('the model was not loaded from a folder')
        return self.folder / graph.file

    @property
    def config_model(self) -> dict[str, Any]:
        """The part of the config's ``model`` with thresholds.

        :mod:`mmfdta.apis.thresholds` reads it like a config.
        """
        test_cfg = dict(self.detector.test_cfg)
        return dict(tracker=dict(self.tracker), detector=dict(test_cfg=test_cfg))


def is_export(folder: str | os.PathLike) -> bool:
    """Tell whether ``mmfdta export`` wrote a folder, be it damaged or of any version.

    Args:
        folder: Any folder.
    """
    try:
        values = json.loads(Path(folder, FACTS_FILE).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return False
    # Other tools write a ``model.json``, too, with another kind of ``format``.
    return isinstance(values, dict) and type(values.get('format')) is int


class _Table:
    """A JSON object whose keys are read and removed one after the other.

    Args:
        values: Content, which should be a dict.
        place: Beginning of all messages: the file, and the keys that lead here.

    Raises:
        ValueError: If ``values`` is not a dict.
    """

    _NAMES: ClassVar = {
        str: 'text',
        int: 'a whole number',
        list: 'a list',
        dict: 'keys and values',
    }

    def __init__(self, values: Any, place: str) -> None:
        if not isinstance(values, dict):
            self._refuse(place.rstrip(': ') + ':', values, self._NAMES[dict])
        self._values = dict(values)
        self.place = place

    @staticmethod
    def _refuse(where: str, found: Any, expected: str) -> None:
        shown = json.dumps(found, ensure_ascii=False)
        shown = shown if len(shown) <= 60 else f'{shown[:60]}...'
        raise ValueError(f'{where} found {shown}, expected {expected}; {_AGAIN}')

    def take(
        self, key: str, kind: type = str, optional: bool = False, among: Any = ()
    ) -> Any:
        """Remove a key and return its value.

        Args:
            key: Name of the key.
            kind: Type of the value.
            optional: Whether it may be null.
            among: Allowed values; all if empty.

        Raises:
            ValueError: If the key is missing or its value is not allowed.
        """
        where = f'{self.place}{key}:'
        if key not in self._values:
            raise ValueError(f'{where} found no such key; {_AGAIN}')
        value = self._values.pop(key)
        if value is None and optional:
            return None
        if type(value) is not kind:
            self._refuse(where, value, self._NAMES[kind])
        if among and value not in among:
            self._refuse(where, value, f'one of {", ".join(map(str, among))}')
        return value

    def take_list(self, key: str, kind: type, optional: bool = False) -> Any:
        """Remove a key and return its list of values as a tuple.

        Args:
            key: Name of the key.
            kind: Type of the values.
            optional: Whether it may be null.

        Raises:
            ValueError: If the key is missing or its value is not such a list.
        """
        value = self.take(key, list, optional)
        if value is None:
            return None
        if any(type(v) is not kind for v in value):
            expected = f'a list, each {self._NAMES[kind]}'
            self._refuse(f'{self.place}{key}:', value, expected)
        return tuple(value)

    def inside(self, key: str, optional: bool = False) -> '_Table | None':
        """Remove a key and return its object as a table.

        Args:
            key: Name of the key.
            optional: Whether it may be null, for which None is returned.

        Raises:
            ValueError: If the key is missing or its value is not an object.
        """
        value = self.take(key, dict, optional)
        return None if value is None else _Table(value, f'{self.place}{key}.')

    def end(self) -> None:
        """Raise a ValueError if there are keys left, which are unknown."""
        for key in self._values:
            raise ValueError(
                f'{self.place}{key}: found an unknown key; correct its name, or '
                f'{_AGAIN}'
            )


def _read_model(table: _Table, folder: Path) -> ExportedModel:
    number = table.take('format', int)
    version = table.take('version')
    if number != FORMAT:
        newer = f'update mmfdta (exported by {version})' if number > FORMAT else _AGAIN
        raise ValueError(
            f'{table.place}format: found {number}, expected {FORMAT}, which mmfdta '
            f'{__version__} reads; {newer}'
        )
    values: dict[str, Any] = dict(
        version=version,
        config=table.take('config'),
        precision=table.take('precision', among=PRECISIONS),
        classes=table.take_list('classes', str),
        column_numbers=table.take_list('column_numbers', int, optional=True),
        input=FrameInput.from_dict(table.take('input', dict), f'{table.place}input'),
        tracker=table.take('tracker', dict),
        opset=table.take('opset', int),
        versions=table.take('versions', dict),
        check=table.take('check', dict),
        folder=folder,
    )
    _Table(values['tracker'], f'{table.place}tracker.').take('type')
    numbers, named = values['column_numbers'], len(values['classes'])
    if numbers is not None and len(numbers) < named:
        raise ValueError(
            f'{table.place}column_numbers: found {len(numbers)} numbers, expected one '
            f'for each of {named} classes; {_AGAIN}'
        )
    weights = table.inside('checkpoint', optional=True)
    values['checkpoint'] = None
    if weights is not None:
        taken = {name: weights.take(name) for name in ('name', 'sha256')}
        values['checkpoint'] = CheckpointFacts(**taken)
        weights.end()
    detector = table.inside('detector')
    assert detector is not None
    values['detector'] = DetectorFile(
        kind=detector.take('kind', among=DETECTOR_KINDS),
        test_cfg=detector.take('test_cfg', dict),
        **_take_files(detector),
    )
    detector.end()
    association = table.inside('association', optional=True)
    values['association'] = None
    if association is not None:
        names = ('embed_dims', 'num_id_vocabulary', 'window')
        sizes = {name: association.take(name, int) for name in names}
        values['association'] = AssociationFile(**sizes, **_take_files(association))
        association.end()
    table.end()
    return ExportedModel(**values)


def _take_files(table: _Table) -> dict[str, Any]:
    """Read the arguments of :class:`GraphFile`; names must be those of the folder."""
    taken = dict(
        file=table.take('file'),
        sha256=table.take('sha256'),
        data=table.take('data', dict),
    )
    hashes = _Table(taken['data'], f'{table.place}data.')
    taken['data'] = {name: hashes.take(name) for name in taken['data']}
    for name in (taken['file'], *taken['data']):
        if Path(name).name != name:
            raise ValueError(
                f'{table.place}file: found {name!r}, expected the name of a file in '
                f'the folder; {_AGAIN}'
            )
    return taken
