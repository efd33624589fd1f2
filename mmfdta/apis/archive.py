# Copyright (c) mmfdta authors.
"""Many videos, one after the other, by a ledger of what has ended.

The ledger lies in the folder of the results. Each process appends to a file of its
own, so that nobody waits for a lock, and all files are read: ``archive.jsonl`` of a
process alone, ``archive-RANK.jsonl`` of one among several. A line of JSON is a video
that ended, or the settings that lines after it refer to.
"""

import contextlib
import dataclasses
import errno
import hashlib
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mmfdta.structures import locks
from mmfdta.utils.addresses import local_path, without_password
from mmfdta.utils.logs import say
from mmfdta.utils.processes import divide_evenly
from mmfdta.version import __version__

from .result_names import name_sources, result_files
from .sources.image_files import may_be_image
from .sources.opening import match_pattern
from .track_outputs import final_path

if TYPE_CHECKING:
    from .progress import ArchiveProgress
    from .tracking_run import TrackingReport
    from .video_tracker import VideoTracker

WHOLE, FAILED = 'whole', 'failed'
_LEDGER = re.compile(r'archive(-\d+)?\.jsonl')
# A file while it is written: the number is that of the process.
_LEFT = re.compile(r'\.(.+)\.\d+(\.\w+)', re.DOTALL)
# What keeps every further result from being written, too.
_NO_MORE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}
# So many settings that differ are named.
_NAMED = 3


@dataclass(frozen=True)
class Video:
    """A video of an archive.

    Attributes:
        source: As it was named.
        key: What the ledger knows it by: its absolute path, or its address without a
            password.
        size: Bytes, None where that is not known.
        time: When it was changed, nanoseconds, None where that is not known.
        name: What its results are called after.
        files: The results, when they are whole.
    """

    source: str
    key: str
    size: int | None
    time: int | None
    name: str
    files: tuple[Path, ...]

    @property
    def shown(self) -> str:
        """As messages name it: the source, without a password."""
        return without_password(self.source)


@dataclass(frozen=True)
class Entry:
    """A line of the ledger: how a video ended.

    Attributes:
        source: :attr:`Video.key`.
        size: Of the video, bytes.
        time: When it had been changed, nanoseconds.
        name: What its results are called after.
        state: ``'whole'``, or ``'failed'``.
        reason: Why it failed.
        frames: That were tracked.
        tracks: Identities in them.
        seconds: That it took.
        files: That were written; relative to the folder where they lie in it.
        settings: Names those that decided, see :attr:`Archive.digest`.
        ended: When, in seconds since 1970.
    """

    source: str
    size: int | None
    time: int | None
    name: str
    state: str
    reason: str | None
    frames: int
    tracks: int
    seconds: float
    files: tuple[str, ...]
    settings: str
    ended: float

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> 'Entry':
        """Make an entry of a line.

        Raises:
            TypeError: If it is none.
        """
        entry = cls(**values)
        texts = (entry.source, entry.name, entry.settings, *entry.files)
        known = entry.state in (WHOLE, FAILED) and isinstance(entry.ended, float | int)
        if not known or not all(isinstance(text, str) for text in texts):
            raise TypeError('no entry')
        return dataclasses.replace(entry, files=tuple(entry.files))


class Archive:
    """Videos, a folder for their results, and the ledger in it.

    A video is known by its absolute path. It is tracked again if it has changed since,
    or if a result of it is no longer there; not if the video itself is gone. Results
    keep the names that they have in the ledger, whatever else is named.

    Args:
        folder: Of results and ledger; it is made with the first entry.
        sources: Video files, folders and patterns of images, addresses of files. One
            that is named twice counts once, and a result of the archive itself, which
            a pattern may match, does not count.
        suffixes: What is written of each, such as ``('mp4', 'txt')``.
        settings: What decides about results, by name; JSON can write it.
        rank: Number of this process among several; None: it is alone.
        replace: Track again what stands there by other settings, in its place.
        counts: A file of what is counted, which is expected of a video, too.

    Attributes:
        folder: As given.
        videos: In the order of the sources.
        digest: Names the settings.

    Raises:
        ValueError: If videos stand there that were tracked by other settings.
        OSError: If the ledger cannot be read.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        sources: Sequence[str],
        suffixes: Sequence[str],
        settings: Mapping[str, Any],
        *,
        rank: int | None = None,
        replace: bool = False,
        counts: str | os.PathLike | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._counts = None if counts is None else _key(os.fspath(counts))
        beside = '' if rank is None else f'-{rank}'
        self._path = self.folder / f'archive{beside}.jsonl'
        formats = sorted({suffix.lstrip('.') for suffix in suffixes})
        self._settings = json.loads(json.dumps({**settings, 'formats': formats}))
        self.digest = _digest(self._settings)
        self._known: dict[str, dict[str, Any]] = {}
        self._entries: dict[str, Entry] = {}
        self._read()
        by_key = {_key(source): source for source in reversed(sources)}
        results = {_key(str(path)) for path in self._results()}
        keys = [key for key in dict.fromkeys(map(_key, sources)) if key not in results]
        names = name_sources(
            [by_key[key] for key in keys],
            {by_key[key]: e.name for key, e in self._entries.items() if key in by_key},
            [entry.name for entry in self._entries.values()],
        )
        files = [tuple(result_files(name, self.folder, suffixes)) for name in names]
        # What an interrupted run left is in no ledger.
        left = {
            _key(str(final_path(path, complete=False)))
            for path in itertools.chain.from_iterable(files)
        }
        self.videos = tuple(
            Video(by_key[key], key, *source_state(by_key[key]), name, results_of_it)
            for key, name, results_of_it in zip(keys, names, files, strict=True)
            if key not in left
        )
        self._refuse_mixing(replace)

    def waiting(self, retry_failed: bool = False) -> list[Video]:
        """List the videos that are still to be tracked.

        Args:
            retry_failed: Those that failed, too.
        """
        ended = {WHOLE} if retry_failed else {WHOLE, FAILED}
        return [video for video in self.videos if self.state(video) not in ended]

    def state(self, video: Video) -> str | None:
        """Say how a video ended: ``'whole'``, ``'failed'``, or None if it has not."""
        entry = self._entries.get(video.key)
        if entry is None or entry.settings != self.digest or _changed(entry, video):
            return None
        if entry.state == WHOLE and not (self._stands(entry) and self._counted(entry)):
            return None
        return entry.state

    def failed(self) -> list[tuple[Video, str]]:
        """List the videos that failed, each with its reason."""
        return [
            (video, self._entries[video.key].reason or 'for no known reason')
            for video in self.videos
            if self.state(video) == FAILED
        ]

    def record(
        self, video: Video, report: 'TrackingReport | None', reason: str | None = None
    ) -> None:
        """Write into the ledger how a video ended.

        What an earlier run left of it in the folder, and this one has not written, is
        removed.

        Args:
            video: Which.
            report: Of the tracking; None if that ended in an error.
            reason: Why it failed; None takes the report's, or it is whole.

        Raises:
            OSError: If it cannot be written.
        """
        failed = reason is not None or report is None or not report.complete
        if failed and reason is None:
            reason = report.problem if report is not None else None
        if report is None:
            partial = [final_path(path, complete=False) for path in video.files]
            files = [path for path in partial if path.is_file()]
        else:
            files = list(report.files)
        entry = Entry(
            source=video.key,
            size=video.size,
            time=video.time,
            name=video.name,
            state=FAILED if failed else WHOLE,
            reason=reason,
            frames=0 if report is None else report.num_frames,
            tracks=0 if report is None else sum(report.tracks.values()),
            seconds=0.0 if report is None else round(report.seconds, 3),
            files=tuple(map(self._name, files)),
            settings=self.digest,
            ended=time.time(),
        )
        if self.digest not in self._known:
            self._append(
                dict(settings=self.digest, values=self._settings, mmfdta=__version__)
            )
            self._known[self.digest] = self._settings
        self._append(dataclasses.asdict(entry))
        before = self._entries.get(video.key)
        self._entries[video.key] = entry
        stale = {self._name(final_path(path, complete=False)) for path in video.files}
        stale |= set() if before is None else set(before.files)
        for name in stale - set(entry.files):
            if name == Path(name).name:
                (self.folder / name).unlink(missing_ok=True)

    def clear(self, videos: Sequence[Video]) -> None:
        """Remove what killed processes left while they tracked these videos."""
        names = {path.name for video in videos for path in video.files}
        for file in self.folder.glob('.*'):
            left = _LEFT.fullmatch(file.name)
            if left is not None and left[1] + left[2] in names:
                file.unlink(missing_ok=True)

    def _name(self, path: Path) -> str:
        """Name a file as the ledger does."""
        if path.parent == self.folder:
            return path.name
        return str(path.absolute())

    def _results(self) -> Iterator[Path]:
        """Name all results in the ledger, and what they are called while not whole."""
        for entry in self._entries.values():
            for name in entry.files:
                yield self.folder / name
                yield final_path(self.folder / name, complete=False)

    def _stands(self, entry: Entry) -> bool:
        """Tell whether all results of a video are there."""
        return all((self.folder / name).is_file() for name in entry.files)

    def _counted(self, entry: Entry) -> bool:
        """Tell whether what was counted in a video is in the file that is asked for."""
        written = {_key(str(self.folder / name)) for name in entry.files}
        return self._counts is None or self._counts in written

    def _read(self) -> None:
        """Read all ledgers; of several entries of a video the last one counts."""
        paths = [p for p in self.folder.glob('*.jsonl') if _LEDGER.fullmatch(p.name)]
        entries: list[Entry] = []
        for path in sorted(paths):
            for number, line in enumerate(path.read_bytes().split(b'\n'), start=1):
                if not line.strip():
                    continue
                try:
                    values = json.loads(line)
                    if 'values' in values:
                        self._known[values['settings']] = dict(values['values'])
                    else:
                        entries.append(Entry.read(values))
                except (ValueError, TypeError, KeyError):
                    say(
                        f'{path}: line {number} is no entry of a ledger; was it cut '
                        'off? Its video is tracked again'
                    )
        for entry in sorted(entries, key=lambda entry: entry.ended):
            self._entries[entry.source] = entry

    def _refuse_mixing(self, replace: bool) -> None:
        """Refuse to put results among those of other settings."""
        videos = {video.key: video for video in self.videos}
        others = [
            entry
            for entry in self._entries.values()
            if entry.state == WHOLE
            and entry.settings != self.digest
            and self._stands(entry)
            and not (entry.source in videos and _changed(entry, videos[entry.source]))
        ]
        if not others:
            return
        unnamed = [
            entry.source
            for entry in others
            if entry.source not in videos or _is_gone(entry, videos[entry.source])
        ]
        if not replace:
            raise ValueError(
                f'{self.folder}: {_count(len(others))} there by other settings '
                f'({self._describe_difference(others[0].settings)}); name another '
                'folder with --out-dir, or track them again with --replace'
            )
        if unnamed:
            raise ValueError(
                f'{self.folder}: {_count(len(unnamed))} there by other settings and '
                f'not named now, or gone, such as {unnamed[0]}; name all of them, or '
                'another folder with --out-dir'
            )

    def _describe_difference(self, digest: str) -> str:
        there = self._known.get(digest)
        if there is None:
            return 'which ones is not known'
        now = self._settings
        names = [n for n in {**there, **now} if there.get(n) != now.get(n)]
        parts = [
            f'{name}: {json.dumps(there.get(name))} there, {json.dumps(now.get(name))} '
            'now'
            for name in names[:_NAMED]
        ]
        more = len(names) - _NAMED
        return '; '.join(parts) + (f'; and {more} more' if more > 0 else '')

    def _append(self, values: Mapping[str, Any]) -> None:
        """Add a line, and hand it to the disk."""
        text = json.dumps(values) + '\n'
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._path.open('a+b') as file:
                # A line that a killed process began stays one of its own.
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    text = text if file.read(1) == b'\n' else f'\n{text}'
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(
                error.errno,
                f'cannot write the ledger ({error.strerror})',
                str(self._path),
            ) from None


def share(videos: Sequence[Video], rank: int, world: int) -> list[Video]:
    """Choose the videos of one among several processes.

    They are divided by size, see :func:`divide_evenly`; one whose size is not known
    counts as a mean one.

    Args:
        videos: The same in each process; what waits in an archive becomes less while
            others work.
        rank: Which process, from 0.
        world: How many there are.

    Returns:
        In the order of ``videos``. Each video is in the share of one process.

    Raises:
        ValueError: If there is no such process.
    """
    if not 0 <= rank < world:
        raise ValueError(f'rank: found {rank}, expected 0 to {world - 1}')
    known = [video.size for video in videos if video.size is not None]
    usual = sum(known) / len(known) if known else 1.0
    sizes = [usual if video.size is None else video.size for video in videos]
    return [videos[index] for index in divide_evenly(sizes, world)[rank]]


@contextlib.contextmanager
def hold_folder(folder: str | os.PathLike, shared: bool) -> Iterator[None]:
    """Let no other command track into a folder meanwhile.

    Two commands that do not know of each other would give the same name to results of
    different videos, and take what the other one writes for leavings. The operating
    system forgets it when the process ends, however that ends.

    Args:
        folder: It is there.
        shared: Other processes of the same job may hold it, too.

    Raises:
        ValueError: If another command holds it. Where the system or the disk knows no
            locks, nobody asks.
    """

    def refuse() -> NoReturn:
        raise ValueError(
            f'{folder}: another command tracks into it; wait until it ends, name '
            'another folder with --out-dir, or give all videos to one command, '
            'which --launcher and --ray divide among processes'
        )

    with locks.hold_folder(folder, refuse, shared):
        yield


def track_archive(
    tracker: 'VideoTracker',
    archive: Archive,
    videos: Sequence[Video],
    how: Mapping[str, Any],
    *,
    explain: Callable[[Exception], str | None] = str,
    progress: 'ArchiveProgress | None' = None,
) -> Iterator[tuple[Video, 'TrackingReport | None', str | None]]:
    """Track videos one after the other, and note each that ends.

    One that fails is noted with its reason, and the next one is tracked. What keeps all
    results from being written, such as a full disk, ends it; so does an interruption.
    The video that is being tracked then is not noted, and waits.

    Args:
        tracker: Tracks them.
        archive: Has them and takes the notes.
        videos: Of the archive.
        how: Further arguments of :meth:`VideoTracker.track`.
        explain: Says on a line what an error is; None of it: the error's own text.
        progress: Is told of frames and videos.

    Yields:
        Each video that ended, its report, and the reason if it failed.

    Raises:
        OSError: If results or the ledger cannot be written.
    """
    archive.clear(videos)
    for video in videos:
        report, reason = track_video(tracker, video, how, explain, progress)
        if report is None or not report.stopped:
            archive.record(video, report, reason)
            if progress is not None:
                progress.end_video(video.size, reason is not None)
        yield video, report, reason


def track_video(
    tracker: 'VideoTracker',
    video: Video,
    how: Mapping[str, Any],
    explain: Callable[[Exception], str | None] = str,
    progress: 'ArchiveProgress | None' = None,
) -> tuple['TrackingReport | None', str | None]:
    """Track a video of an archive.

    Args:
        tracker: Tracks it.
        video: Which.
        how: Further arguments of :meth:`VideoTracker.track`.
        explain: Says on a line what an error is; None of it: the error's own text.
        progress: Is told of frames.

    Returns:
        How it went, None after an error; and why it failed, None if it did not.

    Raises:
        OSError: If no result can be written.
    """
    try:
        frames = tracker.track(video.source, out=video.files, **how)
        try:
            while True:
                next(frames)
                if progress is not None:
                    progress.add_frame()
        except StopIteration as end:
            report: TrackingReport = end.value
        finally:
            frames.close()
    except Exception as error:
        if _ends_all(error, video):
            raise
        text = explain(error) or f'{type(error).__name__}: {error}'
        return None, ' '.join(text.split())
    if report.complete:
        return report, None
    return report, report.problem or 'it is not complete'


def _ends_all(error: Exception, video: Video) -> bool:
    """Tell what keeps results of all videos from being written."""
    if not isinstance(error, OSError) or error.errno not in _NO_MORE:
        return False
    folders = {path.parent for path in video.files}
    named = Path(os.fsdecode(error.filename or ''))
    return named in folders or named.parent in folders


def _count(number: int) -> str:
    return f'{number} video{"s were" if number > 1 else " was"} tracked'


def _changed(entry: Entry, video: Video) -> bool:
    """Tell whether a video is not the one that was tracked."""
    changed = (entry.size, entry.time) != (video.size, video.time)
    return changed and not _is_gone(entry, video)


def _is_gone(entry: Entry, video: Video) -> bool:
    """Tell whether a video that was tracked is no longer there: it cannot be again."""
    return entry.size is not None and video.size is None


def _digest(settings: Mapping[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _key(source: str) -> str:
    """Name a source alike, however and from wherever it is named."""
    path = local_path(source)
    return without_password(source) if path is None else os.path.abspath(path)


def source_state(source: str) -> tuple[int | None, int | None]:
    """Bytes of a source, and when it was changed; of images: all, and the last."""
    path = local_path(source)
    if path is None:
        return None, None
    if os.path.isfile(path):
        status = [os.stat(path)]
    elif os.path.isdir(path):
        images = (p for p in Path(path).rglob('*') if may_be_image(p.name))
        status = [image.stat() for image in images if image.is_file()]
    else:
        status = [p.stat() for p in match_pattern(path) or [] if p.is_file()]
    if not status:
        return None, None
    return sum(s.st_size for s in status), max(s.st_mtime_ns for s in status)
