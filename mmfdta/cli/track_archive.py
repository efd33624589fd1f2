# Copyright (c) mmfdta authors.
"""``track --out-dir``: many videos, noted in a ledger as they end."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mmfdta.apis.thresholds import MEANINGS
from mmfdta.utils.processes import Processes

from .counting_arguments import describe_counts

if TYPE_CHECKING:
    from mmfdta.apis import TrackingReport
    from mmfdta.apis.archive import Archive, Video
    from mmfdta.apis.ray_archive import WorkerFacts
    from mmfdta.apis.video_tracker import VideoTracker

# Options that decide about tracks, and about what annotated videos look like.
_OF_TRACKS = (
    *('max_frames', 'fps', 'skip_broken', 'value_range', *MEANINGS),
    *('line', 'count_at', 'gallery', 'gallery_thr'),
)
_OF_VIDEOS = (
    *('show_scores', 'show_classes', 'show_fps', 'trail', 'line_width', 'font_size'),
    *('audio', 'crf'),
)
# Those that are chosen if they are neither given nor refused.
_CHOSEN = ('show_classes',)
_LISTED = 8


def add_archive_options(parser: argparse._ArgumentGroup) -> None:
    """Add ``--retry-failed`` and ``--replace``.

    Args:
        parser: Receives them.
    """
    parser.add_argument(
        '--retry-failed',
        action='store_true',
        help='track the videos again that failed in an earlier run into --out-dir',
    )
    parser.add_argument(
        '--replace',
        action='store_true',
        help='track again the videos whose tracks in --out-dir are from other '
        'settings, and replace these',
    )


def is_archive(options: argparse.Namespace, kinds: Sequence[str]) -> bool:
    """Tell whether a ledger is kept: files are tracked into a folder that is named.

    Args:
        options: The parsed arguments of ``track``.
        kinds: Of the sources, see :func:`mmfdta.apis.sources.kind_of_source`.

    Raises:
        ValueError: If there is none and an option is for one.
    """
    if options.out_dir is not None and {*kinds} == {'file'}:
        return True
    for name in ('retry_failed', 'replace'):
        if getattr(options, name):
            raise ValueError(
                f'--{name.replace("_", "-")}: is for files that are tracked into a '
                'folder; add --out-dir'
            )
    return False


def check_launcher(options: argparse.Namespace, is_archive: bool) -> None:
    """Refuse what several processes cannot share.

    Args:
        options: The parsed arguments of ``track``.
        is_archive: A ledger is kept of the sources.

    Raises:
        ValueError: If something is refused.
    """
    if options.launcher == 'none':
        return
    if not is_archive:
        raise ValueError(
            '--launcher: processes share video files that are tracked into a folder; '
            'add --out-dir'
        )
    for name, reason in (
        ('gallery', 'it follows people from one video to the next'),
        ('ray', 'it shares the videos itself'),
    ):
        if getattr(options, name) is not None:
            raise ValueError(f'--{name}: cannot be had with --launcher: {reason}')


def deciding_settings(
    options: argparse.Namespace,
    tracker: 'VideoTracker | WorkerFacts',
    suffixes: Sequence[str],
) -> dict[str, Any]:
    """Say what decides about the results of an archive, by name.

    Args:
        options: The parsed arguments of ``track``.
        tracker: What tracks.
        suffixes: What is written.
    """
    from mmfdta.structures.whole_files import hash_file
    from mmfdta.visualization import VIDEO_SUFFIXES

    names = _OF_TRACKS
    if {f'.{suffix.lower().lstrip(".")}' for suffix in suffixes} & {*VIDEO_SUFFIXES}:
        names += _OF_VIDEOS
    settings = {name: getattr(options, name) for name in names}
    settings |= dict(zone=[hash_file(path)[:16] for path in options.zone])
    settings |= tracker.settings()
    # What is not asked for now need not be known to an earlier version. 0 is asked for,
    # and so is the opposite of what is chosen where nothing is said.
    return {
        name: value
        for name, value in settings.items()
        if value not in (None, []) and (value is not False or name in _CHOSEN)
    }


def open_archive(
    options: argparse.Namespace,
    sources: Sequence[str],
    tracker: 'VideoTracker | WorkerFacts',
    suffixes: Sequence[str],
    rank: int | None = None,
) -> 'Archive':
    """Open the archive that the arguments name.

    Args:
        options: The parsed arguments of ``track``.
        sources: What is tracked.
        tracker: What tracks.
        suffixes: What is written of each.
        rank: Number of this process among several.

    Raises:
        ValueError: If it holds results of other settings, or one would replace a video
            or the gallery.
        OSError: If its ledger cannot be read.
    """
    from mmfdta.apis.archive import Archive
    from mmfdta.apis.result_names import refuse_replacing

    archive = Archive(
        options.out_dir,
        sources,
        suffixes,
        deciding_settings(options, tracker, suffixes),
        rank=rank,
        replace=options.replace,
        counts=options.counts,
    )
    files = [file for video in archive.videos for file in video.files]
    refuse_replacing([video.source for video in archive.videos], files)
    if options.gallery is not None:
        refuse_replacing([options.gallery], files, 'the gallery')
    return archive


def run_archive(
    options: argparse.Namespace,
    archive: 'Archive',
    track: Callable[..., Iterator[tuple['Video', 'TrackingReport | None', str | None]]],
    how: dict[str, Any],
    say: Callable[[str], None],
    processes: Processes = Processes(),  # noqa: B008 (it is frozen)
) -> int:
    """Track what waits in an archive, and say how it went.

    Args:
        options: The parsed arguments of ``track``.
        archive: Where to.
        track: Tracks videos of an archive in one way or another, as `track_archive`
            does on one tracker; it takes archive, videos, ``how`` and ``progress``.
        how: Further arguments of :meth:`VideoTracker.track`.
        say: Writes a line.
        processes: They share what waits; the first says what concerns all.

    Returns:
        0 if all videos are whole, 1 if one is not.

    Raises:
        ValueError: If the processes have different archives.
    """
    from mmfdta.apis.archive import WHOLE
    from mmfdta.apis.progress import ArchiveProgress

    total, waiting = len(archive.videos), archive.waiting(options.retry_failed)
    failed = [] if options.retry_failed else archive.failed()
    whole = total - len(waiting) - len(failed)
    say_of_all = say if processes.is_first else _say_nothing
    if whole:
        say_of_all(f'{options.out_dir}: {whole} of {total} are complete there')
    for video, why in failed:
        said = _name_once(video.shown, why)
        say_of_all(f'failed before: {said}; --retry-failed tries it again')
    if processes.world > 1:
        waiting = _share(archive, waiting, processes)
    progress = None
    if waiting and not options.no_progress and processes.is_first:
        sizes = [video.size for video in waiting]
        progress = ArchiveProgress(sizes, whole, len(failed))
    try:
        for video, report, reason in track(archive, waiting, how, progress=progress):
            if report is not None:
                print_report(report)
                say(f'{video.shown}: {report.describe_tracks()}')
            elif reason is not None:
                say(_name_once(video.shown, reason))
    finally:
        if progress is not None:
            progress.close()
    mine = {video.key for video in waiting if archive.state(video) != WHOLE}
    # One that leaves earlier, with an error, would have the launcher end the others.
    keys = {video.key for video, _ in failed}.union(*processes.gather(mine))
    lacking = [video.shown for video in archive.videos if video.key in keys]
    if lacking:
        listed = ', '.join(lacking[:_LISTED])
        more = ', ...' if len(lacking) > _LISTED else ''
        say_of_all(f'{len(lacking)} of {total} not complete: {listed}{more}')
    return 1 if lacking else 0


def _share(
    archive: 'Archive', waiting: 'Sequence[Video]', processes: Processes
) -> 'list[Video]':
    """Choose what this process tracks, out of what waits as the first one sees it.

    None of them has written before all have said what they see.

    Raises:
        ValueError: If the processes have different archives.
    """
    from mmfdta.apis.archive import share

    seen = [(video.key, video.size, video.name) for video in archive.videos]
    keys = {video.key for video in waiting}
    (expected, keys), *others = processes.gather((seen, keys))
    if any(theirs != expected for theirs, _ in others):
        raise ValueError(
            'the processes find different videos, or different results in --out-dir; '
            'all machines of the job need both on a disk that they share, under the '
            'same paths'
        )
    left = [video for video in archive.videos if video.key in keys]
    return share(left, processes.rank, processes.world)


def _name_once(source: str, reason: str) -> str:
    """Put the name of a video before a reason that does not have it already."""
    named = ' '.join(source.split()) in reason
    return reason if named else f'{source}: {reason}'


def _say_nothing(text: str) -> None:
    """What concerns all, the first process says."""


def print_report(report: 'TrackingReport') -> None:
    """Print how the tracking of a video went, and what was counted."""
    print(printable(str(report)), flush=True)
    if report.counts is not None:
        print(describe_counts(report.counts), flush=True)


def printable(text: str) -> str:
    """Write a text on one line, also where a file name has breaks or is in no code."""
    return ' '.join(text.splitlines()).encode(errors='backslashreplace').decode()
