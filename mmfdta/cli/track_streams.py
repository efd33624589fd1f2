# Copyright (c) mmfdta authors.
"""``track`` of several cameras and streams at once, with budgets for each."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmfdta.utils.addresses import without_password

from .arguments import number
from .counting_arguments import describe_counts
from .errors import INTERRUPTED
from .track_archive import printable

if TYPE_CHECKING:
    from mmfdta.apis.video_tracker import VideoTracker

_BUDGETS = ('max_latency', 'max_dropped')
# What is there for one source that is read to its end.
_OF_ONE = ('show', 'audio', 'counts')


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-latency`` and ``--max-dropped``.

    Args:
        parser: Receives them.
    """
    group = parser.add_argument_group(
        'budgets of cameras and streams',
        'Several are tracked side by side. The last lines report whether each kept its '
        'budget, and the exit code is 1 if one did not.',
    )
    group.add_argument(
        '--max-latency',
        type=number(0.001, 3600),
        metavar='SECONDS',
        help='from the arrival of a frame to its tracks; frames that would be later '
        'are dropped, except the newest one. The budget is met if 95 %% of the tracked '
        'frames meet it',
    )
    group.add_argument(
        '--max-dropped',
        type=number(0, 1),
        metavar='SHARE',
        help='share of the frames that may be left out to keep up',
    )


def guess_silent(options: argparse.Namespace, kinds: Sequence[str]) -> list[str]:
    """Take addresses that do not answer for what stands next to them.

    Args:
        options: The parsed arguments of ``track``.
        kinds: Of the sources, see :func:`mmfdta.apis.sources.kind_of_source`.

    Returns:
        The kinds without ``'silent'``: streams next to others or with a budget, so that
        one camera that is off holds up nobody; else files.
    """
    budgets = any(getattr(options, name) is not None for name in _BUDGETS)
    guess = 'live' if budgets or 'live' in kinds else 'file'
    return [guess if kind == 'silent' else kind for kind in kinds]


def are_streams(
    options: argparse.Namespace, sources: Sequence[str], kinds: Sequence[str]
) -> bool:
    """Tell whether sources are tracked side by side.

    Args:
        options: The parsed arguments of ``track``.
        sources: What is tracked.
        kinds: Of the sources, see :func:`mmfdta.apis.sources.kind_of_source`.

    Raises:
        ValueError: If they are not alike, or an option does not fit.
    """
    budgets = [name for name in _BUDGETS if getattr(options, name) is not None]
    others = [s for s, kind in zip(sources, kinds, strict=True) if kind != 'live']
    if others and budgets:
        raise ValueError(
            f'--{budgets[0].replace("_", "-")}: is for cameras and streams; '
            f'{without_password(others[0])} waits, and no frame of it is left out'
        )
    if others and len(others) < len(sources):
        live = next(s for s in sources if s not in others)
        raise ValueError(
            f'found {without_password(live)}, a camera or stream, together '
            f'with {without_password(others[0])}, which is none; track streams and '
            'files with two commands'
        )
    if others or (len(sources) == 1 and not budgets):
        return False
    for name in _OF_ONE if len(sources) == 1 else (*_OF_ONE, 'gallery'):
        if getattr(options, name):
            raise ValueError(
                f'--{name}: not with several cameras or streams, nor with '
                '--max-latency and --max-dropped; track one with its own command'
            )
    return True


def run_streams(
    options: argparse.Namespace,
    plan: Sequence[tuple[str, list[Path]]],
    tracker: 'VideoTracker',
    how: dict[str, Any],
    say: Callable[[str], None],
) -> int:
    """Track cameras and streams side by side, and say how it went.

    Args:
        options: The parsed arguments of ``track``.
        plan: Each source and its files.
        tracker: What tracks.
        how: Further arguments of :meth:`VideoTracker.track`.
        say: Writes a line.

    Returns:
        0 if all were read and kept their budgets, 1 if one was not or did not; 130 if
        it was interrupted.
    """
    from mmfdta.apis.progress import StatusLine
    from mmfdta.apis.streams import LiveStreams, StreamBudget

    names = [without_password(source) for source, _ in plan]
    for name, (_, files) in zip(names, plan, strict=True):
        say(f'{name} -> {", ".join(map(str, files))}')
    shared = ('style', 'caption', 'frame_rate', 'max_frames', 'source_options')
    streams = LiveStreams(
        tracker,
        [source for source, _ in plan],
        [files for _, files in plan],
        StreamBudget(options.max_latency, options.max_dropped),
        **{name: how[name] for name in (*shared, 'counter', 'crf')},
    )
    frames = streams.frames()
    line = None if options.no_progress else StatusLine()
    interrupted = False
    try:
        for _ in frames:
            if line is not None:
                line.show(streams)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        frames.close()
        if line is not None:
            line.close(streams)
    for _, report in sorted(streams.reports.items()):
        print(printable(str(report)), flush=True)
        if report.tracking.counts is not None:
            print(describe_counts(report.tracking.counts), flush=True)
    failed = [names[place] for place in sorted(streams.errors)]
    if failed:
        say(f'{len(failed)} of {len(plan)} not tracked: {", ".join(failed)}')
    if interrupted:
        say('interrupted')
        return INTERRUPTED
    kept = all(report.is_kept for report in streams.reports.values())
    return 0 if kept and not failed else 1
