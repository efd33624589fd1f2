# Copyright (c) mmfdta authors.
"""Track the objects of videos, folders of images, cameras and streams.

mmfdta track VIDEO finds 80 kinds of objects (people, cars, animals ...) and writes
VIDEO_tracks.mp4 and VIDEO_tracks.txt into the current folder.
"""

import argparse
import contextlib
import functools
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmfdta.apis.presets import DEFAULT_PRESET, PRESETS, choose_config
from mmfdta.apis.thresholds import MEANINGS
from mmfdta.runtime.sessions import PROVIDERS
from mmfdta.utils.addresses import without_password

from .arguments import (
    add_batch_size,
    add_cfg_options,
    add_compile,
    add_keep_embeddings,
    add_launcher,
    add_precision,
    add_video_options,
    join_job,
    number,
)
from .counting_arguments import add_counting_options, read_counter
from .errors import explain
from .source_arguments import add_source_options, source_options
from .track_archive import (
    add_archive_options,
    check_launcher,
    is_archive,
    open_archive,
    print_report,
    printable,
    run_archive,
)
from .track_ray import add_ray_options, check_ray_options, open_workers
from .track_streams import add_stream_options, are_streams, guess_silent, run_streams

if TYPE_CHECKING:
    from mmfdta.apis import (
        ExportedTracker,
        MOTInferencer,
        TrackedFrame,
        TrackingReport,
    )
    from mmfdta.apis.ray_archive import WorkerFacts
    from mmfdta.models.trackers.gallery import IdentityGallery

    Tracker = ExportedTracker | MOTInferencer

# Frames that tell how fast it goes: the first ones are slower.
_WARM = 3
_LISTED = 8
_FASTEST = 'bytetrack_yolox-nano_coco'
_FORMATS = ('mp4', 'txt')
_NO_VIDEO = ('.txt', '.json', '.jsonl', '.csv', '.npz')
_OF_EXPORTED = ('provider', 'threads')
# Option -> what to do instead with an exported model.
_OF_CONFIGS = {
    'checkpoint': 'leave it out, or name the config with --config',
    'input_size': 'mmfdta export has --input-size',
    'device': '--provider chooses where it computes',
    'precision': 'mmfdta export has --precision',
    'compile': 'leave it out',
    'cfg_options': 'leave it out; --det-thr and others change thresholds',
    'allow_random_weights': 'leave it out',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'sources',
        nargs='+',
        metavar='SOURCE',
        help='video file, folder of images, pattern such as "frames/*.jpg" or '
        '"frames/%%06d.jpg", index of a camera, address such as rtsp://..., or - for '
        'standard input',
    )
    _add_model_options(parser)
    _add_tracker_options(parser)
    results = parser.add_argument_group('results')
    results.add_argument(
        '--out',
        nargs='+',
        metavar='FILE',
        help='what to write of one source, by suffix: annotated video (mp4, mov, mkv, '
        'avi, webm), MOTChallenge text (txt), JSON (json), JSON lines (jsonl), CSV '
        '(csv), embeddings (npz); a video alone gets the text next to it',
    )
    results.add_argument(
        '--out-dir',
        metavar='DIR',
        help='folder for SOURCE_tracks.* and a ledger of the files that were tracked: '
        'the same command again continues where it ended. Without this option, files '
        'go to the current folder, and there is no ledger',
    )
    results.add_argument(
        '--formats',
        nargs='+',
        metavar='SUFFIX',
        help=f'what is written there ({" ".join(_FORMATS)})',
    )
    add_keep_embeddings(results)
    add_archive_options(results)
    parser.add_argument(
        '--max-frames', type=number(1, whole=True), help='stop after so many frames'
    )
    parser.add_argument(
        '--fps',
        type=number(0.001, 1000),
        help='frame rate of the written video, and of images and videos without time '
        'stamps; by default the times of the source stay',
    )
    add_video_options(results)
    drawing = parser.add_argument_group('drawing')
    drawing.add_argument('--show-scores', action='store_true', help='draw scores')
    drawing.add_argument(
        '--show-classes',
        action=argparse.BooleanOptionalAction,
        help='draw classes; by default if there are several',
    )
    drawing.add_argument(
        '--show-fps', action='store_true', help='draw frame number and speed'
    )
    drawing.add_argument(
        '--trail',
        type=number(0, whole=True),
        default=30,
        metavar='FRAMES',
        help='length of the trails',
    )
    drawing.add_argument(
        '--line-width', type=number(0.1, 200), help='pixels; by image size'
    )
    drawing.add_argument(
        '--font-size', type=number(1, 500), help='pixels; by image size'
    )
    add_counting_options(parser)
    add_source_options(parser)
    add_stream_options(parser)
    add_ray_options(parser)
    parser.add_argument(
        '--no-progress', action='store_true', help='show no progress bar'
    )
    add_launcher(parser)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('model')
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        '--preset',
        choices=PRESETS,
        help=f'ByteTrack on YOLOX-tiny or on YOLOX-x ({DEFAULT_PRESET})',
    )
    which.add_argument('--config', help='path of a config, or its name in mmfdta')
    which.add_argument(
        '--model',
        metavar='FOLDER',
        help='a model that mmfdta export made; runs without PyTorch',
    )
    group.add_argument(
        '--checkpoint',
        metavar='WEIGHTS',
        help="file, address, or a name that mmfdta weights lists; the config's own",
    )
    group.add_argument(
        '--input-size',
        type=number(32, whole=True),
        metavar='PIXELS',
        help='long side to which frames are resized for the model; smaller is faster, '
        "larger finds smaller objects; the config's",
    )
    group.add_argument('--device', help='such as cuda:1 or cpu; a GPU if there is one')
    add_batch_size(group)
    add_precision(group, 'compute in it')
    add_compile(group)
    add_cfg_options(group, 'settings to change, such as model.tracker.det_thr=0.5')
    group.add_argument(
        '--allow-random-weights',
        action='store_true',
        help='track with the model as initialised, without a checkpoint',
    )
    exported = parser.add_argument_group('exported model', 'With --model.')
    exported.add_argument(
        '--provider',
        choices=PROVIDERS,
        help='what onnxruntime computes with; cpu by default',
    )
    exported.add_argument(
        '--threads',
        type=number(1, whole=True),
        help='threads of an operator on a CPU; by default one for each core',
    )


def _add_tracker_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        'what is tracked',
        'A threshold that the tracker does not have stops it.',
    )
    group.add_argument(
        '--classes',
        nargs='+',
        metavar='CLASS',
        help='keep these only, such as person car; all',
    )
    for name, meaning in MEANINGS.items():
        group.add_argument(
            f'--{name.replace("_", "-")}',
            type=number(1, whole=True) if name == 'max_gap' else number(0, 1),
            metavar='FRAMES' if name == 'max_gap' else 'X',
            help=meaning,
        )
    group.add_argument(
        '--gallery',
        metavar='FILE',
        help='identities get their number back when they return, in this video and in '
        'later ones: FILE.npz remembers them by their embeddings, and is made if it is '
        'not there',
    )
    group.add_argument(
        '--gallery-thr',
        type=number(-1, 1),
        metavar='X',
        help='lowest cosine similarity of embeddings at which an object is recognised '
        '(default: 0.5; 0.88 on YOLOX)',
    )


def run(options: argparse.Namespace) -> int:
    """Track.

    Returns:
        0 if all sources were tracked to their end, 1 if one was not.
    """
    _check_model_options(options)
    if not options.model:
        _check_family()
    _name_embeddings(options)
    gallery = _open_gallery(options)
    plan, kind = _plan_results(options)
    check_ray_options(options, kind == 'archive')
    check_launcher(options, kind == 'archive')
    reading = dict(
        counter=read_counter(options), source_options=source_options(options)
    )
    if kind == 'archive':
        return _run_archive(options, plan, gallery, reading)
    tracker = open_tracker(options, gallery)
    _describe(tracker)
    how = _how(options, tracker) | reading
    if kind == 'streams':
        return run_streams(options, plan, tracker, how, _say)
    failed = []
    for source, files in plan:
        shown = without_password(source)
        try:
            report = _track(tracker, source, files, how)
        except Exception as error:
            text = explain(error)
            if len(plan) == 1 or text is None or options.traceback:
                raise
            _say(text)
            failed.append(shown)
            continue
        print_report(report)
        failed += [] if report.complete else [shown]
    if failed and len(plan) > 1:
        _say(f'{len(failed)} of {len(plan)} not complete: {", ".join(failed)}')
    return 1 if failed else 0


def _run_archive(
    options: argparse.Namespace,
    plan: list[tuple[str, list[Path]]],
    gallery: 'IdentityGallery | str | None',
    reading: dict[str, Any],
) -> int:
    """Track files into a folder that has a ledger, here or on a cluster."""
    from mmfdta.apis.archive import hold_folder

    sources = [source for source, _ in plan]
    formats = options.formats or _FORMATS
    with contextlib.ExitStack() as stack:
        processes = stack.enter_context(join_job(options))
        stack.enter_context(hold_folder(options.out_dir, processes.world > 1))
        tracker: Tracker | WorkerFacts
        if options.ray is None:
            from mmfdta.apis.archive import track_archive

            if not options.model and options.device in (None, 'cuda'):
                options.device = processes.device() or options.device
            tracker = open_tracker(options, gallery)
            track = functools.partial(track_archive, tracker, explain=explain)
        else:
            from mmfdta.apis.ray_archive import track_archive_on_ray

            if not options.model:
                _choose_config(options)
            workers = open_workers(options, open_tracker, len(plan))
            tracker = stack.enter_context(workers).facts()
            track = functools.partial(track_archive_on_ray, workers)
        if processes.is_first:
            _describe(tracker)
        rank = processes.rank if processes.world > 1 else None
        archive = open_archive(options, sources, tracker, formats, rank)
        how = _how(options, tracker) | reading | dict(progress=False)
        return run_archive(options, archive, track, how, _say, processes)


def _how(
    options: argparse.Namespace, tracker: 'Tracker | WorkerFacts'
) -> dict[str, Any]:
    """Say what is drawn and written: further arguments of ``tracker.track``."""
    from mmfdta.visualization import TrackStyle

    show_classes = options.show_classes
    if show_classes is None:
        show_classes = len(tracker.kept_classes) > 1
    return dict(
        style=TrackStyle(
            show_scores=options.show_scores,
            show_classes=show_classes,
            trail_length=options.trail,
            line_width=options.line_width,
            font_size=options.font_size,
        ),
        caption=options.show_fps,
        frame_rate=options.fps,
        max_frames=options.max_frames,
        progress=not options.no_progress,
        counts=options.counts,
        show=options.show,
        audio=options.audio,
        crf=options.crf,
    )


def _check_model_options(options: argparse.Namespace) -> None:
    """Refuse options that say nothing of the kind of model that is named."""
    for name in ('model', 'config', 'checkpoint'):
        if getattr(options, name) == '':  # a variable of the shell that is not set
            raise ValueError(f"--{name}: found '', expected a name")
    if not options.model:
        for name in _OF_EXPORTED:
            if getattr(options, name) is not None:
                raise ValueError(f'--{name}: is for an exported model; add --model')
        return
    for name, advice in _OF_CONFIGS.items():
        if getattr(options, name):
            raise ValueError(
                f'--{name.replace("_", "-")}: an exported model computes as it was '
                f'exported; {advice}'
            )


def _check_family() -> None:
    """Ask for what a config needs, before a source asks for what is a part of it."""
    from mmfdta.utils.environment import explain_missing, find_environment

    missing = find_environment().all_missing
    if missing:
        raise ImportError(
            f'{explain_missing(missing)}; an exported model needs none of it: --model '
            'FOLDER'
        )


def _name_embeddings(options: argparse.Namespace) -> None:
    """Name the files that --keep-embeddings asks for; a file of that kind asks, too."""
    named = options.out or options.formats or _FORMATS
    if any(f'.{name}'.lower().endswith('.npz') for name in named):
        options.keep_embeddings = True
    elif options.keep_embeddings and options.out:
        texts = [name for name in options.out if Path(name).suffix.lower() == '.txt']
        if not texts:
            texts = [str(Path(options.out[0]).with_suffix('.txt'))]
            options.out = [*options.out, *texts]
        options.out = [*options.out, str(Path(texts[0]).with_suffix('.npz'))]
    elif options.keep_embeddings:
        options.formats = [*named, 'npz']


def _open_gallery(options: argparse.Namespace) -> 'IdentityGallery | str | None':
    """Read the gallery, if one is named: before weights are fetched and loaded."""
    if options.gallery is None:
        if options.gallery_thr is not None:
            raise ValueError('--gallery-thr: is for a gallery; add --gallery FILE')
        return None
    from mmfdta.models.trackers.gallery import IdentityGallery

    if options.gallery_thr is not None:
        return IdentityGallery.open(options.gallery, threshold=options.gallery_thr)
    IdentityGallery.open(options.gallery)
    return options.gallery  # the threshold depends on the model


def open_tracker(
    options: argparse.Namespace, gallery: 'IdentityGallery | str | None' = None
) -> 'Tracker':
    """Load the model that the arguments name.

    Args:
        options: The parsed arguments of ``track``.
        gallery: Who is remembered.
    """
    return (_open_exported if options.model else _open_config)(options, gallery)


def _open_exported(
    options: argparse.Namespace, gallery: 'IdentityGallery | str | None'
) -> 'ExportedTracker':
    """Load an exported model."""
    from mmfdta.apis import ExportedTracker
    from mmfdta.utils.logs import show_log

    show_log('mmfdta track: ')
    return ExportedTracker(
        options.model,
        provider=options.provider or 'cpu',
        threads=options.threads,
        classes=options.classes,
        batch_size=options.batch_size,
        thresholds=_thresholds(options),
        gallery=gallery,
        keep_embeddings=options.keep_embeddings,
    )


def _open_config(
    options: argparse.Namespace, gallery: 'IdentityGallery | str | None'
) -> 'MOTInferencer':
    """Load the model of a config."""
    _choose_config(options)

    from mmengine.logging import MMLogger

    from mmfdta.apis import MOTInferencer
    from mmfdta.engine import quiet_console

    quiet_console(MMLogger.get_current_instance())
    return MOTInferencer(
        options.config,
        options.checkpoint,
        options.device,
        classes=options.classes,
        batch_size=options.batch_size,
        precision=options.precision,
        compile=options.compile,
        allow_random_weights=options.allow_random_weights,
        cfg_options=options.cfg_options,
        thresholds=_thresholds(options),
        input_size=options.input_size,
        gallery=gallery,
        keep_embeddings=options.keep_embeddings,
    )


def _choose_config(options: argparse.Namespace) -> None:
    """Set the config where none is named, and say which it is."""
    options.config = options.config or PRESETS.get(options.preset)
    if options.config is None:
        options.config = choose_config(options.checkpoint)
        others = (
            '--config chooses' if options.checkpoint else '--preset, --config choose'
        )
        _say(f'config {options.config}; {others} another')


def _thresholds(options: argparse.Namespace) -> dict[str, float]:
    values = {name: getattr(options, name) for name in MEANINGS}
    return {name: value for name, value in values.items() if value is not None}


def _plan_results(
    options: argparse.Namespace,
) -> tuple[list[tuple[str, list[Path]]], str]:
    """Pair each source with what is written of it; check both.

    Returns:
        The pairs, and how they are tracked: as ``'streams'`` side by side, as an
        ``'archive'``, which names its results itself, or in ``'turn'``.
    """
    from mmfdta.apis.result_names import find_sources, name_results, refuse_replacing
    from mmfdta.apis.sources import kind_of_source, open_source
    from mmfdta.apis.track_outputs import VideoFacts, VideoOptions, plan_outputs
    from mmfdta.visualization import TrackStyle

    # All that can be known before weights are fetched and loaded.
    sources = find_sources(options.sources)
    kinds = guess_silent(options, [kind_of_source(source) for source in sources])
    kind = 'turn'
    if are_streams(options, sources, kinds):
        kind = 'streams'
    elif is_archive(options, kinds):
        kind = 'archive'
    alone = Path(sources[0])
    if len(sources) == 1 and kind != 'archive' and (alone.is_file() or alone.is_dir()):
        open_source(sources[0], source_options(options)).close()
    if options.counts and len(sources) > 1:
        raise ValueError(f'--counts: found {len(sources)} sources, expected one')
    if options.out:
        for other in ('out_dir', 'formats'):
            if getattr(options, other):
                raise ValueError(
                    f'--out names complete files; leave out --{other.replace("_", "-")}'
                )
        if len(sources) > 1:
            raise ValueError(
                f'--out: found {len(sources)} sources, expected one; name a folder '
                'with --out-dir'
            )
        if not all(options.out):
            raise ValueError("--out: found '', expected a file")
        files = [[Path(name) for name in options.out]]
        suffix = files[0][0].suffix.lower()
        if len(files[0]) == 1 and suffix not in _NO_VIDEO:
            files[0].append(files[0][0].with_suffix('.txt'))
    else:
        folder = Path(options.out_dir or '')
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f'--out-dir: {folder} is a file, no folder')
        folder.mkdir(parents=True, exist_ok=True)
        files = name_results(sources, folder, options.formats or _FORMATS)
    if kind != 'archive':  # its ledger may know a source as a result
        named = [*itertools.chain.from_iterable(files)]
        refuse_replacing(sources, named)
        if options.gallery is not None:
            refuse_replacing([options.gallery], named, 'the gallery')
    for source, names in zip(sources, files, strict=True):
        facts, video = VideoFacts(source, 1.0), VideoOptions(crf=options.crf)
        plan_outputs(names, facts, TrackStyle(), caption=False, video=video)
    return list(zip(sources, files, strict=True)), kind


def _describe(tracker: 'Tracker | WorkerFacts') -> None:
    """Say what tracks, with which weights, and what it can find."""
    for line in tracker.describe():
        _say(line)
    kept = tracker.kept_classes
    if len(kept) > _LISTED:
        _say(
            f'classes: {len(kept)} ({", ".join(kept[:3])}, ...); --classes {kept[0]} '
            'keeps one'
        )
    elif kept:
        _say(f'classes: {", ".join(kept)}')


def _track(
    tracker: 'Tracker', source: str, files: list[Path], how: dict[str, Any]
) -> 'TrackingReport':
    """Track a source, and say how it goes."""
    from mmfdta.apis import ExportedTracker

    shown = without_password(source)
    _say(f'{shown} -> {", ".join(map(str, files))}')
    frames = tracker.track(source, out=files, **how)
    try:
        for count in itertools.count(1):
            _remark(tracker, next(frames), count)
    except StopIteration as end:
        report: TrackingReport = end.value
    finally:
        frames.close()
    if report.tracks:
        _say(f'{shown}: {report.describe_tracks()}')
    else:
        chosen = len(tracker.kept_classes) < len(tracker.classes)
        kept = ' of these classes' if chosen else ''
        larger = 'a larger --input-size'
        if isinstance(tracker, ExportedTracker):
            larger = 'mmfdta export with a larger --input-size'
        _say(
            f'{shown}: nothing{kept} was tracked; a lower --det-thr finds what is '
            f'less sure, {larger} what is smaller'
        )
    return report


def _remark(tracker: 'Tracker', frame: 'TrackedFrame', count: int) -> None:
    """Say with the first frames how large they are, and how to be faster."""
    from mmfdta.apis.progress import format_speed

    if count not in (1, _WARM):
        return
    height, width = frame.image.shape[:2]
    rows, columns = tracker.preprocessor.input_shape(height, width)
    if count == 1:
        _say(f'frames {width}x{height}, resized to {columns}x{rows} for the model')
    elif 0 < frame.fps < 1:
        ways = _ways_to_be_faster(tracker, max(rows, columns))
        _say(f'{format_speed(frame.fps)}; faster: {", ".join(ways)}')


def _ways_to_be_faster(tracker: 'Tracker', size: int) -> list[str]:
    """Name them, where frames have a long side of so many pixels for the model."""
    from mmfdta.apis import ExportedTracker

    if isinstance(tracker, ExportedTracker):
        return [f'mmfdta export with a smaller --input-size (now {size})']
    name = Path(tracker.config.filename or '').stem
    ways = [] if name == _FASTEST else ['--preset fast']
    if name == PRESETS['fast']:
        ways = [f'--config {_FASTEST}']
    ways += [f'a smaller --input-size (now {size})']
    if next(tracker.model.parameters()).device.type == 'cpu':
        ways.append('a GPU')
    return ways


def _say(text: str) -> None:
    print(f'mmfdta track: {printable(text)}', file=sys.stderr, flush=True)
