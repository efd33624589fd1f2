# Copyright (c) mmfdta authors.
"""The work whose cost `bench_growth.py` follows, each with the one size that grows."""

import functools
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from clips import ClipSize, make_clip
from crowds import CHANNELS, Crowd, write_sequences
from mmdet.registry import MODELS
from networks import build_fdta, make_frames, make_history

from mmfdta.apis import MOTInferencer
from mmfdta.apis.archive import Archive
from mmfdta.apis.config import read_config
from mmfdta.evaluation.clear import count_clear
from mmfdta.evaluation.hota import count_hota
from mmfdta.evaluation.identity import count_identity
from mmfdta.evaluation.matching import find_overlaps
from mmfdta.minidance.scene import MiniDanceOptions, build_scene
from mmfdta.models import QualityAwareContrastiveLoss
from mmfdta.models.association import build_sequences
from mmfdta.models.trackers import FDTATracker, TrajectoryHistory
from mmfdta.runtime import box_trackers
from mmfdta.structures.mot_text import scan_mot_text, write_tracks

# Frames until a tracker's window is full.
_WARM = 32
_VIDEO_FRAMES = 4


@dataclass(frozen=True)
class Work:
    """Something to do again and again.

    Attributes:
        run: Does it; gets what `feed` returns.
        feed: Makes what is needed for the next time, which does not count.
        warm: Times that it is done before it counts.
        in_children: It is done in processes of its own.
    """

    run: Callable[[Any], object]
    feed: Callable[[], Any] = lambda: None
    warm: int = 1
    in_children: bool = False


@dataclass(frozen=True)
class Curve:
    """Work at growing sizes.

    Attributes:
        title: What it is; the part before the colon gathers curves.
        size: What grows.
        sizes: How far.
        prepare: Returns the work of a size.
        frames: Frames in the work of size 1; 0 where that says nothing.
    """

    title: str
    size: str
    sizes: tuple[int, ...]
    prepare: Callable[[int], Work]
    frames: int = 0

    @property
    def group(self) -> str:
        """Names curves that belong together."""
        what = self.title.split(': ')[0]
        return what if what == self.size else f'{what} by {self.size}'

    @property
    def name(self) -> str:
        """Tells it from the others of the group."""
        return self.title.split(': ')[1]


# ------------------------------------------------------------- association per frame
@dataclass
class _Oracle:
    """Scores words by the likeness of embeddings, in place of trained weights.

    Attributes:
        words: K.
        network: Scores them too, for its time alone, once `asks` is set.
    """

    words: int
    network: Callable | None = None
    asks: bool = False

    def __call__(
        self, history: TrajectoryHistory, embeddings: torch.Tensor
    ) -> torch.Tensor:
        if self.network is not None and self.asks:
            self.network(history, embeddings)
        # The mean of what was seen, as what is missing is 0.
        means = torch.nn.functional.normalize(history.features.sum(0), dim=1)
        scores = embeddings.new_zeros(len(embeddings), self.words + 1)
        scores[:, history.id_labels] = embeddings @ means.T
        scores[:, -1] = 0.5
        return scores


def _fdta(
    objects: int, words: int | None = 50, network: bool = True, **settings: Any
) -> Work:
    """FDTA's association; without `words` there is one for every object that lives."""
    words = words or max(50, 2 * objects)
    oracle = _Oracle(words)
    if network:
        oracle.network = build_fdta(30, words).eval().score_identities
    tracker = FDTATracker(
        words,
        30,
        newborn_thr=0.3,
        area_thr=0,
        embed_dims=CHANNELS,
        overflow='keep',
        **settings,
    )
    frames = _frames(objects)

    def feed() -> Any:
        sample = next(frames)
        oracle.asks = sample.frame_id >= _WARM
        return sample

    return Work(lambda x: tracker.track(x, score_identities=oracle), feed, _WARM)


def _frames(objects: int) -> Any:
    crowd, frame = Crowd(objects), 0
    while True:
        yield crowd.detect(frame)
        frame += 1


def _tracker(objects: int, config: str, **changes: Any) -> Work:
    """A tracker that takes boxes, as a config of this project sets it."""
    settings = read_config(config).model.tracker
    settings.update(changes)
    tracker = MODELS.build(settings)
    frames = _frames(objects)

    def run(sample: Any) -> object:
        # As TrackingByDetection calls it.
        return tracker.track(
            model=None,
            img=None,
            feats=None,
            data_sample=sample,
            data_preprocessor=None,
            rescale=True,
        )

    return Work(run, lambda: next(frames), _WARM)


def _light_tracker(objects: int, config: str) -> Work:
    """The same tracker on NumPy arrays, as an exported model has it."""
    settings = dict(read_config(config).model.tracker)
    tracker = getattr(box_trackers, settings.pop('type'))(**settings)
    frames = _frames(objects)

    def run(sample: Any) -> object:
        found = sample.pred_instances
        columns = (found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy())
        return tracker.track(sample.frame_id, *columns)

    return Work(run, lambda: next(frames), _WARM)


def _gallery(objects: int) -> Work:
    byte = dict(read_config('bytetrack_yolox-nano_coco').model.tracker)
    tracker = MODELS.build(dict(type='GalleryTracker', tracker=byte))
    frames = _frames(objects)
    return Work(
        lambda sample: tracker.track(data_sample=sample), lambda: next(frames), _WARM
    )


def _score_words(window: int, objects: int) -> Work:
    """FDTA's network alone, from a full window."""
    model = build_fdta(window, max(50, objects)).eval()
    history = make_history(window - 1, objects)
    embeddings = torch.randn(objects, CHANNELS)
    return Work(lambda _: model.score_identities(history, embeddings))


# ------------------------------------------------------------- detector and training
def _detector(pixels: int) -> Work:
    # 16:9, sides that are multiples of 32.
    height = 32 * round((pixels * 9 / 16) ** 0.5 / 32)
    width = 32 * round(pixels / height / 32)
    detector = build_fdta().eval().detector
    image, frames = torch.randn(1, 3, height, width), make_frames(1, height, width)
    return Work(lambda _: detector.detect(image, frames))


def _train_association(frames: int, objects: int) -> Work:
    """Association of a training clip, with its gradient."""
    model = build_fdta(60, 200).train()
    clip = make_clip(ClipSize(frames, objects, groups=1), words=200)
    embeddings = torch.randn(1, frames, objects, CHANNELS, requires_grad=True)
    query = torch.arange(objects).expand(1, frames, -1)

    def run(_: object) -> None:
        with torch.enable_grad():
            sequences = build_sequences(embeddings, query, clip.id_targets)
            model.associate_clip(sequences).square().mean().backward()

    return Work(run)


def _contrast(objects: int) -> Work:
    """Contrastive loss of 10 frames, which are one chunk."""
    loss = QualityAwareContrastiveLoss()
    embeddings = torch.randn(10 * objects, CHANNELS, requires_grad=True)
    labels, quality = torch.arange(objects).repeat(10), torch.ones(10 * objects)

    def run(_: object) -> None:
        with torch.enable_grad():
            loss(embeddings, labels, quality).backward()

    return Work(run)


# --------------------------------------------------------------------------- scoring
_COUNTS = dict(HOTA=count_hota, CLEAR=count_clear, Identity=count_identity)
_FRAMES, _OBJECTS = 1000, 10


def _sizes_of(axis: str, rows: int) -> tuple[int, int, int]:
    """Sequences, frames and objects that make so many rows of ground truth."""
    if axis == 'sequences':
        return rows // (_FRAMES * _OBJECTS), _FRAMES, _OBJECTS
    if axis == 'frames':
        return 1, rows // _OBJECTS, _OBJECTS
    return 1, _FRAMES, rows // _FRAMES


def _score(rows: int, axis: str, step: str) -> Work:
    """A step of the scoring of sequences that are in memory."""
    number, frames, objects = _sizes_of(axis, rows)
    sequences = [Crowd(objects).sequence(f'{i:04d}', frames) for i in range(number)]
    if step == 'overlaps':
        return Work(lambda _: [find_overlaps(one) for one in sequences], warm=0)
    # One after the other, as the scoring does.
    found = [find_overlaps(one) for one in sequences]
    return Work(lambda _: [_COUNTS[step](one) for one in found], warm=0)


def _evaluate(rows: int, axis: str, folder: Path) -> Work:
    """`mmfdta evaluate` on text, in this process."""
    from mmfdta.cli.main import main

    number, frames, objects = _sizes_of(axis, rows)
    root = folder / f'{axis}-{rows}'
    write_sequences(root, number, frames, objects)
    sides = ['--gt', str(root / 'gt'), '--results', str(root / 'results')]

    def run(_: object) -> None:
        code = main(['evaluate', *sides, '--processes', '1'])
        if code:
            raise RuntimeError(f'mmfdta evaluate ended with {code}')

    return Work(run, warm=0)


def _read(rows: int, folder: Path) -> Work:
    """Reading of one text."""
    path = folder / f'{rows}.txt'
    write_tracks(path, Crowd(_OBJECTS).sequence('', rows // _OBJECTS).gt)
    return Work(lambda _: scan_mot_text(path), warm=0)


# ------------------------------------------------------------------ streams, archives
def _streams(number: int, together: bool) -> Work:
    """The next frame of each stream, on one small FDTA with its weights."""
    scene = build_scene(MiniDanceOptions(test=1), 'test', 0)
    pictures = [scene.render(frame).image for frame in range(40)]
    inferencer = MOTInferencer('fdta_mini', 'minidance', 'cpu')
    sessions = [inferencer.session() for _ in range(number)]
    time = itertools.count()

    def feed() -> list[np.ndarray]:
        # Streams show other moments of the dance; it goes back and forth.
        now = [(next(time) + 5 * i) % 78 for i in range(number)]
        return [pictures[min(t, 78 - t)] for t in now]

    def run(frames: list[np.ndarray]) -> object:
        if together:
            return inferencer.step(dict(zip(sessions, frames, strict=True)))
        return [s.step(frame) for s, frame in zip(sessions, frames, strict=True)]

    return Work(run, feed, _WARM)


def _archive(number: int, folder: Path, workers: int) -> Work:
    """`mmfdta track` on so many short videos, in one or several processes."""
    videos = folder / f'{number}-videos'
    if not videos.exists():
        videos.mkdir()
        scene = build_scene(MiniDanceOptions(test=1), 'test', 0)
        for i in range(_VIDEO_FRAMES):
            cv2.imwrite(str(videos / f'{i:06d}.png'), scene.render(i).image)
        first = videos / '0000.mp4'
        writer = cv2.VideoWriter(
            str(first), cv2.VideoWriter_fourcc(*'mp4v'), 25, (256, 144)
        )
        for picture in sorted(videos.glob('*.png')):
            writer.write(cv2.imread(str(picture)))
            picture.unlink()
        writer.release()
        for i in range(1, number):
            shutil.copy(first, videos / f'{i:04d}.mp4')
    command = [sys.executable, '-W', 'ignore', '-m']
    if workers > 1:
        command += ['torch.distributed.run', '--nproc_per_node', str(workers), '-m']
    command += ['mmfdta', 'track', str(videos / '*.mp4'), '--config', 'fdta_mini']
    command += ['--checkpoint', 'minidance', '--device', 'cpu', '--formats', 'txt']
    if workers > 1:
        command += ['--launcher', 'pytorch']

    def run(_: object) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as out:
            subprocess.run(
                [*command, '--out-dir', out], check=True, stderr=subprocess.DEVNULL
            )
            found = len(list(Path(out).glob('*_tracks.txt')))
        if found != number:
            raise RuntimeError(f'found results of {found} videos, expected {number}')

    return Work(run, warm=0, in_children=True)


def _open_archive(number: int, folder: Path) -> Work:
    """What a second run of `mmfdta track` does before it says that all is done."""
    videos, out = folder / f'{number}-empty', folder / f'{number}-results'
    out.mkdir()
    videos.mkdir()
    sources = [str(videos / f'{i:06d}.mp4') for i in range(number)]
    for source in sources:
        Path(source).touch()
    archive = Archive(out, sources, ('txt',), {})
    lines = [dict(settings=archive.digest, values={}, mmfdta='')]
    for video in archive.videos:
        video.files[0].touch()
        lines.append(
            dict(
                source=video.key,
                size=video.size,
                time=video.time,
                name=video.name,
                state='whole',
                reason=None,
                frames=_VIDEO_FRAMES,
                tracks=5,
                seconds=1.0,
                files=[file.name for file in video.files],
                settings=archive.digest,
                ended=0.0,
            )
        )
    (out / 'archive.jsonl').write_text(''.join(json.dumps(x) + '\n' for x in lines))

    def run(_: object) -> None:
        waiting = Archive(out, sources, ('txt',), {}).waiting()
        if waiting:
            raise RuntimeError(f'{len(waiting)} videos wait, expected none')

    return Work(run, warm=0)


# -------------------------------------------------------------------------- the list
OBJECTS = (10, 50, 100, 200, 500)
ROWS = (10_000, 100_000, 1_000_000)
STREAMS = (1, 2, 4, 8, 16)
VIDEOS = (1, 10, 100, 1000)
PER_FRAME = 'objects per frame'


def make_curves(folder: Path) -> list[Curve]:
    """All curves.

    Args:
        folder: For files that the work reads; it may be deleted afterwards.
    """
    take = functools.partial

    def of_objects(title: str, prepare: Callable, **settings: Any) -> Curve:
        return Curve(title, PER_FRAME, OBJECTS, take(prepare, **settings))

    curves = [
        of_objects('FDTA: 50 words, keep', _fdta),
        of_objects('FDTA: a word for each', _fdta, words=None),
        of_objects('FDTA: 50 words, no network', _fdta, network=False),
        of_objects(
            'FDTA: a word for each, no network', _fdta, words=None, network=False
        ),
        of_objects(
            'FDTA: hungarian, no network',
            _fdta,
            words=None,
            network=False,
            protocol='hungarian',
        ),
        of_objects('boxes: ByteTrack', _tracker, config='bytetrack_yolox-nano_coco'),
        of_objects('boxes: OC-SORT', _tracker, config='ocsort_yolox-nano_pets'),
        of_objects('boxes: SORT', _tracker, config='sort_yolox-nano_pets'),
        of_objects('boxes: C-BIoU (package)', _tracker, config='cbiou_yolox-nano_coco'),
        of_objects(
            'NumPy: ByteTrack', _light_tracker, config='bytetrack_yolox-nano_coco'
        ),
        of_objects('NumPy: OC-SORT', _light_tracker, config='ocsort_yolox-nano_pets'),
        of_objects('NumPy: SORT', _light_tracker, config='sort_yolox-nano_pets'),
        of_objects('looks: DeepSORT', _tracker, config='deepsort_fdta-det_mini'),
        of_objects(
            'looks: StrongSORT', _tracker, config='strongsort_fdta-det_mini', cmc=None
        ),
        of_objects(
            'looks: IoU and embedding', _tracker, config='iou-embedding_fdta-det_mini'
        ),
        of_objects('looks: ByteTrack with a gallery', _gallery),
        Curve(
            'FDTA: window, network',
            'frames',
            (30, 60, 120),
            take(_score_words, objects=30),
        ),
        Curve(
            'detector: pixels',
            'pixels',
            (192 * 320, 256 * 448, 384 * 672, 512 * 896),
            _detector,
        ),
        Curve(
            'training: clip length',
            'frames',
            (10, 30, 60),
            take(_train_association, objects=10),
        ),
        Curve(
            'training: objects',
            PER_FRAME,
            (10, 50, 200),
            take(_train_association, 10),
        ),
        Curve('training: contrastive loss', PER_FRAME, (10, 50, 200), _contrast),
        Curve('scoring: reading a text', 'rows', ROWS, take(_read, folder=folder)),
        Curve(
            'streams: together',
            'streams',
            STREAMS,
            take(_streams, together=True),
            1,
        ),
        Curve(
            'streams: one by one',
            'streams',
            STREAMS,
            take(_streams, together=False),
            1,
        ),
        Curve(
            'ledger: opened again',
            'videos',
            (100, 1000, 10_000, 100_000),
            take(_open_archive, folder=folder),
        ),
    ]
    for workers in (1, 2, 4):
        title = f'archive: {workers} process{"es" if workers > 1 else ""}'
        work = take(_archive, folder=folder, workers=workers)
        curves.append(Curve(title, 'videos', VIDEOS, work, _VIDEO_FRAMES))
    for axis in ('sequences', 'frames', 'objects'):
        for step in ('overlaps', *_COUNTS):
            title = f'scoring, more {axis}: {step}'
            curves.append(
                Curve(title, 'rows', ROWS, take(_score, axis=axis, step=step))
            )
        title = f'scoring, more {axis}: mmfdta evaluate'
        curves.append(
            Curve(title, 'rows', ROWS, take(_evaluate, axis=axis, folder=folder))
        )
    return curves
