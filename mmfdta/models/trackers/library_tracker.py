# Copyright (c) mmfdta authors.
"""Trackers of the package ``trackers``, and a tracker object of your own.

Both take and return ``supervision.Detections``.
"""

import copy
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from .assignment import check_finite
from .fdta_tracker import as_arrays, as_instances

if TYPE_CHECKING:
    from supervision import Detections

# Arguments of the package's classes that take a class, and the module of these classes.
_NAMED = dict(
    iou='trackers.utils.iou',
    state_estimator_class='trackers.utils.state_representations',
)


@MODELS.register_module()
class LibraryTracker:
    """A tracker of the package ``trackers`` (Roboflow's, version 2.6 and later 2.x).

    A detection only continues a trajectory of its class, as with all trackers of this
    project. Each class has an instance of the package's tracker, which gets only the
    detections of its class, in every frame from the first on. With one class, tracks
    and identities are those of the package. Camera motion is estimated once per frame
    for all classes; if the method masks detections, it masks those of all classes.

    Args:
        name: The package's name of the tracker: 'botsort', 'bytetrack', 'cbiou',
            'mcbyte', 'ocsort', 'sort'.
        score_thr: Only detections with a higher score are tracked. 'botsort', 'cbiou'
            and 'mcbyte' themselves leave out scores up to 0.1.
        **arguments: Arguments of the package's class, see its documentation. ``iou``
            takes a name such as 'GIoU', or ``dict(type='BIoU', buffer_ratio=0.3)``;
            ``state_estimator_class`` takes a name such as 'XYXYStateEstimator'.

    Attributes:
        needs_frames: Whether the tracker needs the frames: 'botsort' and 'mcbyte' do,
            to estimate camera motion, unless ``enable_cmc=False``.

    Raises:
        ModuleNotFoundError: If the package is not installed.
        ValueError: If there is no such tracker, or it refuses an argument.
    """

    def __init__(self, name: str, score_thr: float = 0.1, **arguments: Any) -> None:
        self.name = name
        self.score_thr = score_thr
        self.arguments = arguments
        self._kind = _find_class(name)
        _check_arguments(name, self._kind, arguments)
        self.needs_frames = getattr(self._build(), 'cmc', None) is not None
        self.reset()

    def __deepcopy__(self, memo: dict) -> 'LibraryTracker':
        """Return a tracker for another video: same settings, nothing tracked yet.

        The package's objects cannot always be copied.
        """
        return type(self)(self.name, self.score_thr, **self.arguments)

    @property
    def settings(self) -> dict[str, Any]:
        """All arguments of the package's class, with its defaults."""
        takes = inspect.signature(self._kind).parameters
        return {name: p.default for name, p in takes.items()} | self.arguments

    def reset(self) -> None:
        """Start a new video and forget everything."""
        self._of_class: dict[int, Any] = {}
        self._camera: _SharedCamera | None = None
        # Class and the package's number of live trajectories -> identity.
        self._identities: dict[tuple[int, int], int] = {}
        self._next_identity = 0
        self._first = True

    def track(
        self,
        data_sample: DetDataSample,
        frame: Callable[[], np.ndarray] | None = None,
        **_: object,
    ) -> InstanceData:
        """Track the next frame.

        Args:
            data_sample: ``frame_id`` (0 starts a video) and ``pred_instances``, on the
                CPU: ``bboxes`` (n, 4) xyxy in pixels, ``scores``, ``labels`` (n,).
            frame: Returns the frame, uint8 (H, W, 3) BGR; required if `needs_frames`.
            **_: Arguments of other trackers.

        Returns:
            On the CPU: ``bboxes``, ``scores``, ``labels`` and ``instances_id`` int64
            (m,) of the detections that have an identity. Trajectories that the package
            has not confirmed yet have none.

        Raises:
            ValueError: If boxes or scores are not finite (the state is then as before
                the frame), or the frame is missing.
        """
        if data_sample.metainfo.get('frame_id') == 0:
            self.reset()
        boxes, scores, labels = _selected(data_sample, self.score_thr)
        present = sorted({*labels.tolist(), *self._of_class})
        image = None
        if self.needs_frames and present:
            if frame is None:
                raise ValueError(
                    f"LibraryTracker('{self.name}'): found no frame in the context of "
                    'track, which is needed to estimate camera motion; pass '
                    'frame=..., or set model.tracker.enable_cmc=False'
                )
            image = frame()
        for label in present:
            if label not in self._of_class:
                self._of_class[label] = self._begin()
        if self._camera is not None:
            high = self._of_class[present[0]].high_conf_det_threshold
            self._camera.begin(boxes[scores >= high])
        tracks = [_nothing()]
        for label in present:
            rows = labels == label
            found = _detections(boxes[rows], scores[rows], labels[rows])
            tracks.append(self._follow(label, found, image))
        self._first = False
        return _as_tracks(*map(np.concatenate, zip(*tracks, strict=True)))

    def _build(self) -> Any:
        given = {k: _resolve(k, value) for k, value in self.arguments.items()}
        try:
            return self._kind(**given)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'model.tracker: {self.name} of the package trackers refuses '
                f'{self.arguments}: {error}'
            ) from None

    def _begin(self) -> Any:
        """Return a tracker for a class that had no detections in earlier frames."""
        tracker = self._build()
        if getattr(tracker, 'cmc', None) is not None:
            self._camera = self._camera or _SharedCamera(tracker.cmc)
            tracker.cmc = self._camera
        if not self._first:
            # One empty frame does for all earlier ones: the package only distinguishes
            # the first frame.
            tracker.update(_detections(*_nothing()[:3]))
        return tracker

    def _follow(
        self, label: int, found: 'Detections', image: np.ndarray | None
    ) -> tuple[np.ndarray, ...]:
        """Track the detections of a class; return those that have an identity."""
        tracker = self._of_class[label]
        # Trackers that use no frames warn if they get one.
        context = {} if image is None else {'frame': image}
        boxes, scores, labels, numbers = _confirmed(tracker.update(found, **context))
        for number in sorted(numbers.tolist()):
            if (label, number) not in self._identities:
                self._identities[label, number] = self._next_identity
                self._next_identity += 1
        found_identities = [self._identities[label, n] for n in numbers.tolist()]
        identities = np.array(found_identities, dtype=np.int64)
        alive = {(label, track.tracker_id) for track in tracker.tracks}
        for key in [key for key in self._identities if key[0] == label]:
            if key not in alive:
                del self._identities[key]
        return boxes, scores, labels, identities


@MODELS.register_module()
class UpdateTracker:
    """A tracker object of your own that takes and returns ``supervision.Detections``.

    Its method ``update(detections)`` or ``update(detections, frame)`` is called once
    per frame, also without detections. It returns detections with ``tracker_id``,
    unique integers; negative ones are left out. ``detections`` have ``xyxy``,
    ``confidence`` and ``class_id``, best score first; ``frame`` is uint8 (H, W, 3) BGR.
    The tracker gets all classes at once and decides itself whether a detection may
    continue a trajectory of another class.

    Args:
        tracker: ``dict(type='package.module.Class', ...)`` with the arguments of the
            class, which is built for each video; or an object with ``reset()``.
        score_thr: Only detections with a higher score are tracked.

    Attributes:
        needs_frames: Whether ``update`` takes a frame.

    Raises:
        ValueError: If the tracker does not have these methods.
        ModuleNotFoundError: If its module does not exist.
    """

    def __init__(
        self, tracker: Mapping[str, Any] | Any, score_thr: float = 0.1
    ) -> None:
        self.tracker = tracker
        self.score_thr = score_thr
        self._object: Any = tracker
        if _is_config(tracker):
            self._object = _build_object(tracker)
        self.needs_frames = _takes_frame(self._object)
        if not _is_config(tracker) and not hasattr(tracker, 'reset'):
            raise ValueError(
                f'model.tracker.tracker: {type(tracker).__name__} has no reset(), '
                "expected one, or dict(type='package.module.Class', ...)"
            )

    def __deepcopy__(self, memo: dict) -> 'UpdateTracker':
        """Return a tracker for another video; a config builds one that is empty."""
        is_config = _is_config(self.tracker)
        tracker = self.tracker if is_config else copy.deepcopy(self.tracker, memo)
        return type(self)(tracker, self.score_thr)

    def reset(self) -> None:
        """Start a new video and forget everything."""
        if _is_config(self.tracker):
            self._object = _build_object(self.tracker)
        else:
            self._object.reset()

    def track(
        self,
        data_sample: DetDataSample,
        frame: Callable[[], np.ndarray] | None = None,
        **_: object,
    ) -> InstanceData:
        """Track the next frame; see `LibraryTracker.track`.

        Raises:
            ValueError: If boxes or scores are not finite, the frame is missing, or
                ``update`` returns anything but detections with unique numbers.
        """
        if data_sample.metainfo.get('frame_id') == 0:
            self.reset()
        found = _detections(*_selected(data_sample, self.score_thr))
        name = type(self._object).__name__
        if not self.needs_frames:
            returned = self._object.update(found)
        elif frame is None:
            raise ValueError(
                f'{name}.update takes a frame, but found none in the context of track; '
                'pass frame=...'
            )
        else:
            returned = self._object.update(found, frame=frame())
        if not hasattr(returned, 'tracker_id') or not hasattr(returned, 'xyxy'):
            raise ValueError(
                f'{name}.update: returned {type(returned).__name__}, expected '
                'supervision.Detections'
            )
        columns = _confirmed(returned)
        if len({*columns[3].tolist()}) < len(columns[3]):
            raise ValueError(
                f'{name}.update: found a tracker_id twice in a frame '
                f'({sorted(columns[3].tolist())}), expected each once'
            )
        return _as_tracks(*columns)


class _SharedCamera:
    """Camera motion, estimated once per frame for the trackers of all classes.

    It replaces the package's estimator.
    """

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    def begin(self, boxes: np.ndarray) -> None:
        """Start a frame with the boxes (n, 4) of moving objects."""
        self._boxes = boxes
        self._motion: np.ndarray | None = None

    def estimate(self, frame: np.ndarray, boxes: np.ndarray | None) -> np.ndarray:
        """Return the affine motion (2, 3) since the frame before.

        Args:
            frame: uint8 (H, W, 3) BGR.
            boxes: Ignored: those of a single class.
        """
        if self._motion is None:
            moving = self._boxes if len(self._boxes) else None
            self._motion = self._estimator.estimate(frame, moving)
        return self._motion


# ------------------------------------------------------------------- the container
def _selected(
    data_sample: DetDataSample, score_thr: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes, scores and labels of the detections that are tracked.

    Raises:
        ValueError: If boxes or scores are not finite.
    """
    boxes, scores, labels = as_arrays(data_sample.pred_instances)
    check_finite(
        np.column_stack([boxes, scores]),
        'boxes or scores',
        data_sample.metainfo.get('frame_id', -1),
    )
    rows = scores > score_thr
    return boxes[rows], scores[rows], labels[rows]


def _detections(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray
) -> 'Detections':
    from supervision import Detections

    return Detections(xyxy=boxes, confidence=scores, class_id=labels)


def _nothing() -> tuple[np.ndarray, ...]:
    """Return empty boxes, scores, labels and identities."""
    ids = np.zeros(0, np.int64)
    return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ids, ids


def _confirmed(returned: 'Detections') -> tuple[np.ndarray, ...]:
    """Return boxes, scores, labels and numbers of detections with a valid number."""
    if returned.tracker_id is None or not len(returned):
        return _nothing()
    numbers = np.asarray(returned.tracker_id)
    rows = numbers >= 0
    count = len(numbers)
    scores, labels = returned.confidence, returned.class_id
    columns = (
        np.asarray(returned.xyxy, np.float32),
        np.ones(count, np.float32)
        if scores is None
        else np.asarray(scores, np.float32),
        np.zeros(count, np.int64) if labels is None else np.asarray(labels, np.int64),
        numbers.astype(np.int64),
    )
    return tuple(column[rows] for column in columns)


def _as_tracks(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, identities: np.ndarray
) -> InstanceData:
    return as_instances(boxes, scores, labels, instances_id=identities)


# -------------------------------------------------------- objects from other packages
def _find_class(name: str) -> type:
    """Find a class of the package by its ``tracker_id``."""
    try:
        package = import_module('trackers')
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"model.tracker.type='LibraryTracker': {error}; "
            "pip install 'mmfdta[trackers]'",
            name=error.name,
        ) from None
    kinds = [getattr(package, kind) for kind in package.__all__]
    known = {k.tracker_id: k for k in kinds if getattr(k, 'tracker_id', None)}
    if name not in known:
        raise ValueError(
            f'model.tracker.name: found {name!r}, expected one of '
            f'{", ".join(sorted(known))}'
        )
    return known[name]


def _check_arguments(name: str, kind: type, arguments: Mapping[str, Any]) -> None:
    takes = list(inspect.signature(kind).parameters)
    for argument in arguments:
        if argument not in takes:
            raise ValueError(
                f'model.tracker.{argument}: {name} of the package trackers has no such '
                f'setting, only {", ".join(takes)}'
            )


def _resolve(argument: str, value: Any) -> Any:
    """Replace the name of a class of the package by the class or an object of it."""
    if argument not in _NAMED or not isinstance(value, str | Mapping):
        return value
    given = dict(value) if isinstance(value, Mapping) else {'type': value}
    name = given.pop('type', None)
    module = import_module(_NAMED[argument])
    kind = getattr(module, str(name), None)
    if not inspect.isclass(kind):
        raise ValueError(
            f'model.tracker.{argument}: found {name!r}, expected the name of a class '
            f'in {module.__name__}'
        )
    if argument == 'state_estimator_class':
        return kind
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f'model.tracker.{argument}: {error}') from None


def _is_config(tracker: Any) -> bool:
    return isinstance(tracker, Mapping)


def _build_object(config: Mapping[str, Any]) -> Any:
    """Build an object from a config with the full name of its class."""
    arguments = dict(config)
    kind = arguments.pop('type', None)
    if isinstance(kind, str):
        module, _, name = kind.rpartition('.')
        if not module:
            raise ValueError(
                f'model.tracker.tracker.type: found {kind!r}, expected '
                "'package.module.Class'"
            )
        try:
            kind = getattr(import_module(module), name, None)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'model.tracker.tracker.type: found {kind!r}, but {error}; add the '
                'folder of the module to PYTHONPATH, or install its package',
                name=error.name,
            ) from None
    if not callable(kind):
        raise ValueError(
            f'model.tracker.tracker.type: found {config.get("type")!r}, expected '
            "'package.module.Class' of an existing class"
        )
    try:
        inspect.signature(kind).bind(**arguments)
    except TypeError as error:
        raise ValueError(
            f'model.tracker.tracker: {config["type"]} does not take {arguments}: '
            f'{error}'
        ) from None
    except ValueError:  # compiled, without a signature
        pass
    return kind(**arguments)


def _takes_frame(tracker: Any) -> bool:
    """Return whether ``update`` takes a frame in addition to the detections.

    Raises:
        ValueError: If there is no such method, or it requires other arguments.
    """
    update = getattr(tracker, 'update', None)
    expected = 'expected update(detections) or update(detections, frame)'
    if not callable(update):
        raise ValueError(
            f'model.tracker.tracker: {type(tracker).__name__} has no update, {expected}'
        )
    try:
        signature = inspect.signature(update)
    except ValueError:  # compiled, without a signature
        return False
    takes = list(signature.parameters.values())
    required = [p.name for p in takes[1:] if p.default is p.empty and '*' not in str(p)]
    if not takes or any(name != 'frame' for name in required):
        raise ValueError(
            f'model.tracker.tracker: found {type(tracker).__name__}.update'
            f'{signature}, {expected}'
        )
    return any(p.name == 'frame' for p in takes[1:])
