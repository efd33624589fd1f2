# Copyright (c) mmfdta authors.
"""An archive on a Ray cluster: a worker on each device, a video at a time on each.

All machines see the same files under the same paths; nothing is copied. A worker is a
process that opens the tracker once. This process gives it videos, and alone reads and
writes the ledger, so that a worker that is lost leaves nothing but a video to be
tracked again. Each video starts afresh, so that it does not matter which worker tracks
it, or when.
"""

import contextlib
import importlib
import importlib.metadata
import logging
import os
import platform
import secrets
import signal
import socket
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mmfdta.utils.environment import processor
from mmfdta.utils.logs import keep_log, say
from mmfdta.version import __version__

from .archive import Archive, Video, source_state, track_video

if TYPE_CHECKING:
    from .progress import ArchiveProgress
    from .tracking_run import TrackingReport
    from .video_tracker import VideoTracker

TRIES = 3
"""So often a video is begun, or a worker started, before it is given up."""
# How long one waits, in seconds, before it is said, and for what cannot be reached.
_PATIENCE = 10.0
# Settings of this process that hold in workers: threads may change last digits.
_HANDED_OVER = (
    *('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OMP_WAIT_POLICY', 'KMP_BLOCKTIME'),
    *('GOMP_SPINCOUNT', 'PYTHONPATH'),
)
# Packages that decide about tracks; not all of them are there.
_PACKAGES = (
    *('torch', 'mmdet', 'onedl-mmdetection', 'onnxruntime', 'trackers'),
    *('numpy', 'scipy', 'opencv-python', 'av'),
)
_Ended = tuple[Video, 'TrackingReport | None', str | None]


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker says of itself; of its tracker it says what that itself says.

    Attributes:
        host: Name of its machine.
        process: Its number there.
        processor: What it computes with.
        versions: Of packages that decide about tracks.
        classes: Names of the model's classes, where known.
        kept_classes: Names of those that are returned.
        lines: What the tracker says of itself.
        decides: What decides about tracks.
    """

    host: str
    process: int
    processor: str
    versions: dict[str, str]
    classes: tuple[str, ...]
    kept_classes: tuple[str, ...]
    lines: tuple[str, ...]
    decides: dict[str, Any]

    def describe(self) -> list[str]:
        """See :meth:`VideoTracker.describe`."""
        return list(self.lines)

    def settings(self) -> dict[str, Any]:
        """See :meth:`VideoTracker.settings`."""
        return self.decides


@dataclass(frozen=True)
class Unfit:
    """Why a worker cannot track as the others do."""

    reason: str


@dataclass(frozen=True)
class Opening:
    """What a worker needs to know before its first video.

    Attributes:
        folder: Where the command was started.
        probe: A file in the folder of the results.
        versions: Those of the command.
        open_tracker: See :class:`RayWorkers`.
        threads: How many it is to use.
        explain: See :class:`RayWorkers`.
    """

    folder: str
    probe: str
    versions: dict[str, str]
    open_tracker: Callable[[int], 'VideoTracker']
    threads: int
    explain: Callable[[Exception], str | None]


class VideoWorker:
    """Runs in a process of its own, on any machine of the cluster."""

    def open(self, opening: Opening) -> WorkerFacts | Unfit:
        """Open the tracker, if this machine is like that of the command."""
        self._host = socket.gethostname()
        self._explain = opening.explain
        try:
            os.chdir(opening.folder)
        except OSError as error:
            return self._unfit(
                f'{opening.folder}: {error.strerror}; start the command in a folder '
                'that all machines share'
            )
        if not os.path.exists(opening.probe):
            return self._unfit(
                f'{os.path.dirname(opening.probe)} is another folder there; name one '
                'that all machines share with --out-dir'
            )
        here, there = find_versions(), opening.versions
        for name in sorted({*here, *there}):
            found, expected = here.get(name, 'none'), there.get(name, 'none')
            if found != expected:
                return self._unfit(
                    f'{name}: found {found}, expected {expected}; install the same '
                    'versions on all machines'
                )
        try:
            self._tracker = tracker = opening.open_tracker(opening.threads)
        except Exception as error:
            text = opening.explain(error)
            if text is None:
                raise
            return self._unfit(text)
        self._lines: list[str] = []
        keep_log(self._lines)
        return WorkerFacts(
            self._host,
            os.getpid(),
            _name_processor(tracker.describe()),
            here,
            tuple(tracker.classes),
            tuple(tracker.kept_classes),
            tuple(tracker.describe()),
            tracker.settings(),
        )

    def track(
        self, video: Video, how: Mapping[str, Any]
    ) -> 'tuple[TrackingReport | None, str | None, list[str]] | Unfit':
        """Track a video; return what `track_video` does, and what was said."""
        size, _ = source_state(video.source)
        if size != video.size:
            there = 'nothing' if size is None else f'{size} bytes'
            return self._unfit(
                f'{video.key}: found {there}, expected {video.size} bytes; put the '
                'videos where all machines see them under the same path'
            )
        self._lines.clear()
        report, reason = track_video(self._tracker, video, how, self._explain)
        return report, reason, list(self._lines)

    def _unfit(self, reason: str) -> Unfit:
        return Unfit(f'{self._host}: {" ".join(reason.split())}')


@dataclass(eq=False)
class _Place:
    """A worker, and those that follow it when it is lost.

    Attributes:
        actor: Ray's handle of it.
        facts: What it says of itself, once its tracker is open.
        video: What it tracks.
        losses: How often it was lost before its tracker was open.
    """

    actor: Any = None
    facts: WorkerFacts | None = None
    video: Video | None = None
    losses: int = 0


class RayWorkers:
    """The workers of a command on a Ray cluster; a context manager.

    Args:
        open_tracker: Opens the tracker in a worker, which is told how many threads it
            is to use. It is pickled, by name if it is a function of a module.
        out_dir: Folder of the results; it is there.
        address: ``HOST:PORT`` of the cluster's head, ``'auto'`` for the cluster of
            this machine, ``'local'`` for one of its own that ends with the command.
            None takes what ``RAY_ADDRESS`` says, else the cluster of this machine,
            else one of its own.
        workers: How many; None takes one for each GPU, without GPUs one for each
            machine. Those for which there is no device yet wait for one.
        gpu: Whether a worker takes a GPU; None: if the cluster has one.
        most: More workers than this have nothing to do.
        explain: Says on a line what an error is; None of it: a bug. Pickled as well.

    Raises:
        ImportError: If Ray is not installed.
        ConnectionError: If there is no such cluster.
        ValueError: If it has no such devices.
    """

    def __init__(
        self,
        open_tracker: Callable[[int], 'VideoTracker'],
        out_dir: str | os.PathLike,
        *,
        address: str | None = None,
        workers: int | None = None,
        gpu: bool | None = None,
        most: int | None = None,
        explain: Callable[[Exception], str | None] = str,
    ) -> None:
        self._open_tracker = open_tracker
        self._out_dir = Path(out_dir)
        self._address = address
        self._wanted = workers
        self._gpu = gpu
        self._most = most
        self._explain = explain
        self._stack = contextlib.ExitStack()
        self._busy: dict[Any, _Place] = {}
        self._idle: list[_Place] = []
        self._waiting: deque[Video] = deque()
        self._facts: WorkerFacts | None = None
        self._unfit: list[str] = []
        self._losses: Counter[str] = Counter()
        self._processors: set[str] = set()
        self._has_waited = False

    def __enter__(self) -> 'RayWorkers':
        with contextlib.ExitStack() as stack:
            self._ray = _join_cluster(self._address, stack)
            probe = self._out_dir / f'.mmfdta-{secrets.token_hex(8)}'
            probe.touch()
            stack.callback(probe.unlink, missing_ok=True)
            count, demand = self._plan()
            self._actor = self._ray.remote(VideoWorker).options(
                max_restarts=0, max_task_retries=0, **demand
            )
            self._opening = self._ray.put(
                Opening(
                    os.getcwd(),
                    str(probe.absolute()),
                    find_versions(),
                    self._open_tracker,
                    max(1, demand['num_cpus']),
                    self._explain,
                )
            )
            stack.callback(self._end)
            for _ in range(count):
                self._start(_Place())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _plan(self) -> tuple[int, dict[str, Any]]:
        """Say how many workers there are to be, and what Ray is asked for each."""
        found = [node['Resources'] for node in self._ray.nodes() if node['Alive']]
        gpus = [int(resources.get('GPU', 0)) for resources in found]
        cpus = [int(resources.get('CPU', 0)) for resources in found]
        with_gpu = sum(gpus) > 0 if self._gpu is None else self._gpu
        demand: dict[str, Any] = {}
        if with_gpu:
            if not sum(gpus):
                raise ValueError(
                    'the Ray cluster has no GPU, expected one for each worker; name '
                    '--device cpu'
                )
            count = self._wanted or sum(gpus)
            shares = [c // g for c, g in zip(cpus, gpus, strict=True) if g]
            demand |= dict(num_gpus=1, num_cpus=min(shares))
        else:
            if not sum(cpus):
                raise ValueError('the Ray cluster has no CPU, expected one at least')
            count = self._wanted or sum(c > 0 for c in cpus)
            # As many as let all workers run at once.
            fitting = (
                n for n in range(max(cpus), 0, -1) if sum(c // n for c in cpus) >= count
            )
            demand |= dict(num_cpus=next(fitting, 1))
        if self._most is not None:
            count = min(count, max(1, self._most))
        known = {n: v for n in _HANDED_OVER if (v := os.environ.get(n))}
        if known:
            demand['runtime_env'] = dict(env_vars=known)
        each = '1 GPU' if with_gpu else f'{demand["num_cpus"]} CPU'
        say(
            f'Ray {self._ray.__version__} at '
            f'{self._ray.get_runtime_context().gcs_address}: machines: {len(found)}, '
            f'workers: {count}, each with {each}'
        )
        return count, demand

    def facts(self) -> WorkerFacts:
        """Wait for the first worker whose tracker is open.

        Raises:
            RuntimeError: If no worker can open it.
        """
        while self._facts is None:
            self._wait()
        return self._facts

    def track(
        self,
        videos: Sequence[Video],
        how: Mapping[str, Any],
        clear: Callable[[Sequence[Video]], None],
    ) -> Iterator[_Ended]:
        """Track videos, each by one worker, in any order.

        A video whose worker is lost is given to another one, and given up when
        :data:`TRIES` workers have been lost.

        Args:
            videos: Of an archive.
            how: Further arguments of :meth:`VideoTracker.track`.
            clear: Removes what lost workers left of videos.

        Yields:
            What :func:`track_archive` does.

        Raises:
            OSError: If no result can be written.
            RuntimeError: If no worker is left.
        """
        self._waiting = deque(videos)
        self._clear = clear
        clear(videos)
        try:
            while self._waiting or any(place.video for place in self._busy.values()):
                while self._waiting and self._idle:
                    place = self._idle.pop(0)
                    place.video = video = self._waiting.popleft()
                    self._busy[place.actor.track.remote(video, how)] = place
                yield from self._wait()
        finally:
            self._waiting.clear()
            self._end()

    def _start(self, place: _Place) -> None:
        place.actor = self._actor.remote()
        place.facts = None
        self._busy[place.actor.open.remote(self._opening)] = place

    def _wait(self) -> list[_Ended]:
        """Wait until a worker has done something; return the videos that ended."""
        if not self._busy:
            raise RuntimeError(self._describe_lack())
        answers, _ = self._ray.wait(list(self._busy), timeout=_PATIENCE)
        if not answers and self._facts is None and not self._has_waited:
            self._has_waited = True
            say('waiting for the first worker: others may use the devices')
        ended = []
        for answer in answers:
            place = self._busy.pop(answer)
            video, place.video = place.video, None
            try:
                result = self._ray.get(answer)
            except self._ray.exceptions.RayTaskError as error:
                # Ray lets it be its cause as well, and says where it arose.
                if isinstance(error.cause, OSError):
                    raise error.cause from None
                raise
            except self._ray.exceptions.RayError as error:
                ended += self._lose(place, video, _name_loss(error))
                continue
            if isinstance(result, WorkerFacts):
                result = self._compare(result)
            if isinstance(result, Unfit):
                if video is not None and source_state(video.source)[0] != video.size:
                    ended.append((video, None, 'it has changed meanwhile'))
                    self._idle.append(place)  # no fault of the worker
                else:
                    self._leave_out(place, video, result.reason)
            elif isinstance(result, WorkerFacts):
                place.facts, place.losses = result, 0
                self._idle.append(place)
            elif video is not None:
                report, reason, lines = result
                for line in lines:
                    say(line)
                ended.append((video, report, reason))
                self._idle.append(place)
        return ended

    def _compare(self, facts: WorkerFacts) -> WorkerFacts | Unfit:
        """Refuse a worker that would track otherwise than the first one does."""
        if self._facts is None:
            self._facts = facts
            for reason in self._unfit:
                self._say_left_out(reason)
        known = self._facts
        if facts.decides != known.decides:
            names = [
                n for n in known.decides if facts.decides.get(n) != known.decides[n]
            ]
            return Unfit(
                f'{facts.host}: {", ".join(names) or "settings"} differ from those on '
                f'{known.host}; are the files of config and weights the same?'
            )
        if self._processors and facts.processor not in self._processors:
            say(
                f'{facts.host} has another processor ({facts.processor}) than '
                f'{known.host} ({known.processor}): the last digits of boxes may '
                'differ from one video to another',
                logging.WARNING,
            )
        self._processors.add(facts.processor)
        return facts

    def _leave_out(self, place: _Place, video: Video | None, reason: str) -> None:
        """Go on without a worker that cannot do what the others can."""
        self._ray.kill(place.actor)
        if video is not None:
            self._waiting.appendleft(video)
        if reason not in self._unfit:
            self._unfit.append(reason)
            if self._facts is not None and (self._busy or self._idle):
                self._say_left_out(reason)

    def _say_left_out(self, reason: str) -> None:
        say(f'continues without a worker of {reason}', logging.WARNING)

    def _lose(self, place: _Place, video: Video | None, reason: str) -> list[_Ended]:
        """Start a worker in the place of one that was lost; return a video given up."""
        facts = place.facts
        with contextlib.suppress(Exception):  # it may be there and out of reach
            self._ray.kill(place.actor)
        given_up: list[_Ended] = []
        if video is None:
            place.losses += 1
            if place.losses == TRIES:
                host = 'some machine' if self._facts is None else 'the cluster'
                self._leave_out(place, None, f'{host}: lost {TRIES} times ({reason})')
                return []
        else:
            self._losses[video.key] += 1
            tries = self._losses[video.key]
            where = '' if facts is None else f' on {facts.host}'
            text = f'the worker{where} was lost: {reason}'
            self._clear([video])
            if tries == TRIES:
                given_up.append((video, None, f'{text}; so were {TRIES - 1} before it'))
            else:
                self._waiting.append(video)
                say(
                    f'{video.shown}: {text}; it is tracked again ({tries + 1} of '
                    f'{TRIES})',
                    logging.WARNING,
                )
        if self._waiting or self._facts is None:
            self._start(place)
        return given_up

    def _describe_lack(self) -> str:
        reasons = '; '.join(self._unfit) or 'none could be started'
        waiting = f'{len(self._waiting)} videos wait: ' if self._waiting else ''
        return f'no worker is left, {waiting}{reasons}'

    def _end(self) -> None:
        """End all workers; what they have begun is removed."""
        places, begun = [*self._busy.values(), *self._idle], list(self._busy)
        self._busy, self._idle = {}, []
        for place in places:
            with contextlib.suppress(Exception):
                self._ray.kill(place.actor)
        if any(place.video for place in places):
            self._ray.wait(begun, num_returns=len(begun), timeout=_PATIENCE)
        self._clear([place.video for place in places if place.video is not None])


def track_archive_on_ray(
    workers: RayWorkers,
    archive: Archive,
    videos: Sequence[Video],
    how: Mapping[str, Any],
    *,
    progress: 'ArchiveProgress | None' = None,
) -> Iterator[_Ended]:
    """Track videos on the workers of a cluster, and note each that ends.

    It is :func:`track_archive` on many devices: files and notes are the same, in the
    order in which videos end. Lost workers are no error, see :meth:`RayWorkers.track`.

    Args:
        workers: Track them.
        archive: Has them and takes the notes.
        videos: Of the archive.
        how: Further arguments of :meth:`VideoTracker.track`.
        progress: Is told of frames and videos.

    Yields:
        Each video that ended, its report, and the reason if it failed.

    Raises:
        OSError: If results or the ledger cannot be written.
        RuntimeError: If no worker is left.
    """
    for video, report, reason in workers.track(videos, how, archive.clear):
        archive.record(video, report, reason)
        if progress is not None:
            progress.add_frame(0 if report is None else report.num_frames)
            progress.end_video(video.size, reason is not None)
        yield video, report, reason


def find_versions() -> dict[str, str]:
    """Versions of what decides about tracks, by name, as far as it is installed."""
    found = dict(mmfdta=__version__, python=platform.python_version())
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _name_processor(lines: Sequence[str]) -> str:
    """Name the GPU if the tracker says that it is on one, else the processor."""
    torch = sys.modules.get('torch')
    if torch is not None and any('on cuda' in line for line in lines):
        return torch.cuda.get_device_name()
    return processor()


def _name_loss(error: Exception) -> str:
    """Say in a few words why Ray lost a worker."""
    text = str(error)
    if 'node has died' in text or 'node was terminated' in text:
        return 'its machine has left the cluster'
    if 'OutOfMemory' in type(error).__name__ or 'low on memory' in text:
        return 'the memory of its machine was used up'
    if 'creation task' in text:
        return ' '.join(text.splitlines()[-1].split())
    return 'its process ended'


def _join_cluster(address: str | None, stack: contextlib.ExitStack) -> Any:
    """Connect to a cluster, until the stack is closed; return the module of Ray."""
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    try:
        ray = importlib.import_module('ray')
    except ModuleNotFoundError as error:
        if error.name != 'ray':
            raise
        raise ImportError(
            "this needs ray, which is not installed: pip install 'mmfdta[cluster]'"
        ) from None
    importlib.import_module('ray.exceptions')
    if ray.is_initialized():
        return ray
    _check_address(address or os.environ.get('RAY_ADDRESS'))
    stack.enter_context(contextlib.redirect_stdout(_WithoutRay(sys.stdout)))
    try:
        with _kept_signals():
            ray.init(
                address=address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except Exception as error:  # Ray raises what it likes
        first = ' '.join((str(error).splitlines() or [''])[0].split())
        where = f' at {address}' if address else ''
        raise ConnectionError(
            f'--ray: cannot join the cluster{where}: {first or type(error).__name__}; '
            'run the command on a machine of the cluster, with RAY_AUTH_MODE=token if '
            'the cluster has a token'
        ) from None
    stack.callback(ray.shutdown)
    return ray


def _check_address(address: str | None) -> None:
    """Refuse an address that Ray would try for minutes, or that it does not take."""
    if address is None or address in ('auto', 'local'):
        return
    host, _, port = address.rpartition(':')
    if '://' in address or not host or not port.isdecimal():
        raise ValueError(
            f'--ray: found {address}, expected HOST:PORT of the head of the cluster, '
            'as ray start --head says it; the command runs on a machine of the cluster'
        )
    try:
        socket.create_connection((host.strip('[]'), int(port)), _PATIENCE).close()
    except OSError as error:
        raise ConnectionError(
            f'--ray: no cluster at {address} ({error.strerror or error}); ray start '
            '--head starts one and says its address'
        ) from None


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Let SIGTERM do what it did before; Ray sets what it does."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@dataclass
class _WithoutRay:
    """Standard output without what Ray's threads print of lost workers.

    Attributes:
        stream: Standard output.
    """

    stream: TextIO = field(repr=False)

    def write(self, text: str) -> int:
        """Write a text, unless a thread of Ray's does."""
        if threading.current_thread().name.startswith('ray_'):
            return len(text)
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
