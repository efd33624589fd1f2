# Copyright (c) mmfdta authors.
"""Keeps what detectors found, so that nothing is detected twice.

The benchmark, the search of thresholds and the measure of similarity share it. A
folder holds the detections of one detector, named by what decides about them; a file
in it holds those of one sequence.
"""

import json
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmfdta.datasets import MOTSequenceDataset
from mmfdta.datasets.sequences import Sequence
from mmfdta.engine.precision import precision_of
from mmfdta.ops.compilation import is_compiled
from mmfdta.structures.whole_files import open_whole

from .fingerprints import (
    MODEL_CODE,
    code_digest,
    digest,
    images_digest,
    modules_of,
    plain_attributes,
    settings_of,
    versions,
    weights_digest,
)

LOWEST_SCORE = 0.05
"""Detections that are not above it are not kept, unless a tracker asks for them;
ByteTrack's lowest is 0.1."""
TIMED = ('decode', 'preprocess', 'detector')
"""Stages that trackers with one detector share."""

# What a file is written as; another number makes all detections again.
_FORMAT = 2
_COLUMN, _SHAPE = 'column_', 'shape_'
# Folders of this project that decide about detections; losses and trackers do not.
_CODE = (
    *(f'models/{name}' for name in ('adapters', 'data_preprocessors', 'detectors')),
    *('models/layers', 'models/mot', *MODEL_CODE[1:]),
)
# Attributes of a data set that choose among its images and do not change them.
_CHOICES = {
    *('ann_file', 'data_root', 'data_prefix', 'split', 'sequence_names', '_indices'),
    *('dataset_name', '_metainfo', 'test_mode', '_fully_initialized'),
    *('data_list', 'data_bytes', 'data_address'),
}


@dataclass
class SequenceDetections:
    """What a detector found in the L frames of a sequence.

    Attributes:
        frames: For each frame ``bboxes`` float32 (n, 4) xyxy in pixels of the
            original image, ``scores``, ``labels`` (n,) and whatever else the
            detector gives, such as ``embeddings`` (n, C); on the CPU.
        shapes: For each frame its ``ori_shape``, ``img_shape``, ``scale_factor``.
        seconds: float64 (L, 3), the times of :data:`TIMED`.
        lowest_score: Detections with a score not above it were left out.
        batch_size: Frames that the detector took at a time.
        machine: What the times were taken on.
    """

    frames: list[InstanceData]
    shapes: list[dict[str, tuple]]
    seconds: np.ndarray
    lowest_score: float
    batch_size: int
    machine: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames)

    def above(self, score: float) -> 'SequenceDetections':
        """Leave out detections with a score not above a higher limit."""
        if score == self.lowest_score:
            return self
        frames = [found[found.scores > score] for found in self.frames]
        return replace(self, frames=frames, lowest_score=score)

    def save(self, path: Path) -> None:
        """Write a file that is whole or not there.

        Raises:
            OSError: If it cannot be written.
        """
        columns: dict[str, Any] = {}
        dtypes = {}
        for name in self.frames[0].keys() if self.frames else ():
            column = torch.cat([found.get(name) for found in self.frames])
            dtypes[name] = str(column.dtype).removeprefix('torch.')
            if column.dtype == torch.bfloat16:  # which NumPy does not know
                column = column.float()
            columns[_COLUMN + name] = column.numpy()
        facts = dict(
            lowest_score=self.lowest_score,
            batch_size=self.batch_size,
            machine=self.machine,
            dtypes=dtypes,
        )
        names = self.shapes[0] if self.shapes else ()
        columns |= {_SHAPE + n: [shape[n] for shape in self.shapes] for n in names}
        with open_whole(path) as file:
            np.savez(
                file,
                counts=[len(found) for found in self.frames],
                seconds=self.seconds,
                facts=json.dumps(facts),
                **columns,
            )

    @classmethod
    def load(cls, path: Path) -> 'SequenceDetections':
        """Read what :meth:`save` wrote.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                content = {name: file[name] for name in file.files}
            facts = json.loads(str(content['facts']))
            counts, seconds = content['counts'].tolist(), content['seconds']
            dtypes = facts.pop('dtypes')
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise ValueError(
                f'{path}: expected the detections of a sequence, found something '
                f'else ({error}); delete it'
            ) from None
        parts = {
            name: torch.from_numpy(content[_COLUMN + name])
            .to(getattr(torch, dtype))
            .split(counts)
            for name, dtype in dtypes.items()
        }
        shapes = {
            name.removeprefix(_SHAPE): [tuple(row) for row in values.tolist()]
            for name, values in content.items()
            if name.startswith(_SHAPE)
        }
        length = range(len(counts))
        return cls(
            [InstanceData(**{n: part[i] for n, part in parts.items()}) for i in length],
            [{n: rows[i] for n, rows in shapes.items()} for i in length],
            seconds,
            **facts,
        )


class DetectionStore:
    """The detections of one model on any sequences.

    Trackers that differ in nothing but what comes after detection have one store.

    Args:
        folder: Folder of all stores.
        model: With its weights; a tracker that detects and associates apart, or a
            detector.
        dataset: Whose pipeline makes the model's inputs.
        **facts: What else decides about detections.

    Attributes:
        fingerprint: Names what decides about the detections: weights and settings
            of the detector and of preprocessing, pipeline, code, versions.
        folder: Holds ``<sequence>-<images>.npz``.
    """

    def __init__(
        self, folder: Path, model: nn.Module, dataset: MOTSequenceDataset, **facts: Any
    ) -> None:
        self.fingerprint = detection_fingerprint(model, dataset, **facts)
        self.folder = Path(folder) / self.fingerprint

    def path(self, sequence: Sequence) -> Path:
        """Return where the detections of a sequence stand.

        Raises:
            FileNotFoundError: If an image is missing.
        """
        return self.folder / f'{sequence.name}-{images_digest(sequence)}.npz'

    def read(
        self,
        sequence: Sequence,
        lowest_score: float = LOWEST_SCORE,
        batch_size: int | None = None,
        machine: dict | None = None,
    ) -> SequenceDetections | None:
        """Read the detections of a sequence, if they are what is asked for.

        Args:
            sequence: The sequence.
            lowest_score: Detections with a score above it are wanted.
            batch_size: Frames that the detector must have taken at a time; None
                takes any.
            machine: What the times must have been taken on; None takes any.

        Returns:
            The detections, or None if the sequence has to be looked at.
        """
        try:
            found = SequenceDetections.load(self.path(sequence))
        except (OSError, ValueError):
            return None
        if (
            len(found) != len(sequence)
            or found.lowest_score > lowest_score
            or batch_size not in (None, found.batch_size)
            or machine not in (None, found.machine)
        ):
            return None
        return found.above(lowest_score)

    def write(self, sequence: Sequence, detections: SequenceDetections) -> None:
        """Keep the detections of a sequence, instead of what was there.

        Raises:
            OSError: If they cannot be written.
        """
        detections.save(self.path(sequence))


def detects_apart(model: nn.Module) -> bool:
    """Whether a tracker has ``detect`` and ``associate`` besides ``predict``."""
    return hasattr(model, 'detect') and hasattr(model, 'associate')


def detection_fingerprint(
    model: nn.Module, dataset: MOTSequenceDataset, **facts: Any
) -> str:
    """Name what decides about the detections of a model in an image.

    It is taken from what was built. Of this project's models, ``detect`` asks
    ``model.detector`` and, where there is such a part, ``model.embeddings``; of any
    other model everything but its ``tracker`` counts.

    Args:
        model: With its weights.
        dataset: Whose pipeline makes the model's inputs.
        **facts: What else decides.

    Returns:
        16 hexadecimal digits.
    """
    preprocessor, transforms = model.data_preprocessor, dataset.pipeline.transforms
    skip = ('data_preprocessor', 'tracker')
    if detects_apart(model) and _is_ours(type(model).detect):
        # FDTA and any tracker on its detector share detections.
        root, parts = model.detector, [model.detector]
        embeddings = getattr(model, 'embeddings', None)
        if embeddings is not None:
            parts.append(embeddings)
            facts['embeddings'] = settings_of(embeddings), weights_digest(embeddings)
    else:
        root = model
        parts = [part for name, part in model.named_children() if name not in skip]
        parts.append(type(model).__mro__)
    modules = modules_of(*parts, preprocessor, *transforms, type(dataset))
    # The same pixels, as a dictionary of tensors or as a tensor.
    ((_, kind, values), *_) = settings_of(preprocessor)
    kind = 'clip' if _is_ours(type(preprocessor)) else kind
    if any(is_compiled(part) for part in root.modules()):
        facts['compiled'] = True
    return digest(
        _FORMAT,
        settings_of(root, skip),
        weights_digest(root, skip),
        device_of(root).type,
        [kind, values, weights_digest(preprocessor)],
        plain_attributes(dataset, _CHOICES),
        _settings_of_steps(transforms),
        code_digest(modules, _CODE),
        versions(),
        precision_of(model).name,
        facts,
    )


def device_of(model: nn.Module) -> torch.device:
    """Where a model is; one without weights is on the CPU."""
    return next((p.device for p in model.parameters()), torch.device('cpu'))


def _is_ours(item: object) -> bool:
    return str(getattr(item, '__module__', '')).startswith('mmfdta.')


def _settings_of_steps(pipeline: Any) -> list:
    """List class and plain attributes of the steps of a pipeline, nested ones too."""
    steps = getattr(pipeline, 'transforms', pipeline)
    return [
        [
            type(step).__qualname__,
            plain_attributes(step),
            _settings_of_steps(step.transforms) if hasattr(step, 'transforms') else [],
        ]
        for step in steps
    ]


def move_embeddings(found: InstanceData, device: torch.device) -> InstanceData:
    """Copy detections, with the embeddings on a device and all else on the CPU."""
    return InstanceData(
        **{
            name: value.to(device if name == 'embeddings' else 'cpu')
            for name, value in found.items()
            if isinstance(value, Tensor)
        }
    )
