# Copyright (c) mmfdta authors.
"""Write a MiniDance data set: all of it under its name, or nothing."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np

from mmfdta.apis.progress import Progress
from mmfdta.structures.frames import IMAGE_DIR, SequenceInfo
from mmfdta.structures.whole_files import refuse_current_folder, write_text

from .scene import SPLITS, Frame, MiniDanceOptions, build_scene

MANIFEST = 'minidance.json'
VERSION = 1
"""Of the renderer: changes when equal options give other pixels."""
FRAME_RATE = 20


def make_minidance(
    root: str | os.PathLike,
    options: MiniDanceOptions | None = None,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Render a data set, or reuse it if it is there already.

    The sequences are written to a folder next to ``root`` that gets its name
    when they are complete. The files do not depend on ``processes``.

    Args:
        root: The data set's folder; of a link what it leads to.
        options: What to render.
        processes: Processes to render with; by default one per core.
        progress: Called with the number of sequences that are written and of all.

    Returns:
        True if it was rendered, False if it was there.

    Raises:
        FileExistsError: If ``root`` holds something else, or a MiniDance set
            of other options; or it is the current folder, and empty.
    """
    root = Path(root)
    options = options or MiniDanceOptions()
    if _is_there(root, options):
        return False
    refuse_current_folder(root)
    root = root.resolve()
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=root.parent, prefix=f'.{root.name}.partial-'))
    try:
        _write_sequences(partial, options, processes, progress)
        manifest = dict(version=VERSION, options=options.as_dict())
        text = json.dumps(manifest, indent=2) + '\n'
        write_text(partial / MANIFEST, text)
        partial.chmod(0o755)
        return _publish(partial, root, options)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def show_progress() -> Callable[[int, int], None]:
    """Make a ``progress`` of :func:`make_minidance` that shows a bar."""
    bars: list[Progress] = []

    def show(done: int, total: int) -> None:
        if not bars:
            bars.append(Progress(total, unit='sequences'))
        bars[0].update()
        if done == total:
            bars[0].close()

    return show


def _is_there(root: Path, options: MiniDanceOptions) -> bool:
    """Tell whether the very set is there; refuse anything else in its place."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    path = root / MANIFEST
    if not path.is_file():
        raise FileExistsError(
            f'{root}: is there and is no MiniDance data set (it has no {MANIFEST}); '
            'expected a new or empty folder. Choose another one.'
        )
    try:
        manifest = json.loads(path.read_text(encoding='utf-8'))
        version, stored = manifest['version'], manifest['options']
        differences = options.differences(stored)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileExistsError(
            f'{path}: cannot be read ({error!r}), expected what MiniDance wrote. '
            'Delete the folder or choose another one.'
        ) from None
    if version != VERSION:
        differences.insert(0, f'version: {version} there, {VERSION} here')
    if differences:
        raise FileExistsError(
            f'{root}: holds a MiniDance data set of other options '
            f'({"; ".join(differences)}). Delete it or choose another folder.'
        )
    return True


def _publish(partial: Path, root: Path, options: MiniDanceOptions) -> bool:
    """Give the finished folder its name; another process may have been first."""
    try:
        os.replace(partial, root)
    except OSError:
        if _is_there(root, options):
            return False
        raise
    return True


def _write_sequences(
    folder: Path,
    options: MiniDanceOptions,
    processes: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    jobs = [(s, n) for s in SPLITS for n in range(options.sequences(s))]
    for split in SPLITS:
        (folder / split).mkdir()
    processes = min(processes or os.cpu_count() or 1, max(len(jobs), 1))
    if processes == 1:
        for done, job in enumerate(jobs, start=1):
            write_sequence(folder, options, *job)
            if progress is not None:
                progress(done, len(jobs))
        return
    with ProcessPoolExecutor(
        processes, initializer=cv2.setNumThreads, initargs=(0,)
    ) as pool:
        running = [pool.submit(write_sequence, folder, options, *job) for job in jobs]
        try:
            for done, future in enumerate(as_completed(running), start=1):
                future.result()
                if progress is not None:
                    progress(done, len(jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def write_sequence(
    folder: str | os.PathLike, options: MiniDanceOptions, split: str, number: int
) -> None:
    """Render one sequence into ``<folder>/<split>/minidance<number>``.

    Args:
        folder: The data set's folder.
        options: The data set.
        split: ``train``, ``val`` or ``test``.
        number: Which sequence of the split, from 0.
    """
    name = sequence_name(number)
    base = Path(folder, split, name)
    for part in (IMAGE_DIR, 'depth', 'gt'):
        (base / part).mkdir(parents=True)
    scene = build_scene(options, split, number)
    quality = [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality]
    lines = []
    for index in range(options.frames):
        frame = scene.render(index)
        stem = f'{index + 1:08d}'
        _write_image(base / IMAGE_DIR / f'{stem}.jpg', frame.image, quality)
        _write_image(base / 'depth' / f'{stem}.png', frame.depth, [])
        lines += _rows(index + 1, frame)
    write_text(base / 'gt' / 'gt.txt', ''.join(lines))
    info = SequenceInfo(
        name=name,
        image_dir=IMAGE_DIR,
        frame_rate=FRAME_RATE,
        length=options.frames,
        width=options.width,
        height=options.height,
        suffix='.jpg',
    )
    write_text(base / 'seqinfo.ini', info.text())


def sequence_name(number: int) -> str:
    """Return the name of a sequence, whose numbers begin with 0."""
    return f'minidance{number:04d}'


def _write_image(path: Path, image: np.ndarray, flags: list[int]) -> None:
    """Encode and write; OpenCV itself is silent about a full disk."""
    done, data = cv2.imencode(path.suffix, image, flags)
    if not done:
        raise OSError(f'{path}: OpenCV cannot encode the image')
    path.write_bytes(data.tobytes())


def _rows(number: int, frame: Frame) -> list[str]:
    """Ground truth of a frame; identities count from 1."""
    return [
        f'{number},{identity + 1},{x},{y},{w},{h},1,1,{visibility:.4f}\n'
        for identity, (x, y, w, h), visibility in zip(
            frame.identities, frame.boxes, frame.visibilities, strict=True
        )
    ]
