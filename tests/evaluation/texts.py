# Copyright (c) mmfdta authors.
"""Folders of text with moving objects, and the official evaluation of files."""

from pathlib import Path

import numpy as np
from trackeval.datasets import MotChallenge2DBox

from mmfdta.cli.main import main
from mmfdta.evaluation import Tracks
from mmfdta.structures.mot_text import write_tracks

from .oracle import METRICS


def half(length: int) -> int:
    """Frames of the first half, as ByteTrack's conversion cuts MOT17."""
    return length // 2 + 1


def moving(length: int, seed: int = 0, speed: float = 9.0) -> tuple[Tracks, Tracks]:
    """Draw four objects that cross the image, and what a good tracker finds."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(1, length + 1), 4)
    identity = np.tile(np.arange(1, 5), length)
    lane = rng.random(4)[identity - 1]
    box = np.stack(
        [
            300 * lane + speed * frame + 500 * (seed % 7),
            130.0 * identity,
            np.full(len(frame), 40.0),
            np.full(len(frame), 90.0),
        ],
        axis=1,
    )
    gt = Tracks.create(frame, identity, box.round())
    # Every object is lost for a while and comes back under another identity.
    lost = rng.random(len(frame)) < 0.15
    found = Tracks.create(
        frame,
        10 * identity + (frame > length * lane),
        (box + rng.normal(0, 2, box.shape)).round(2),
        score=rng.random(len(frame)).round(3),
    )
    return gt, found.select(~lost)


def renumber(tracks: Tracks, shift: int) -> Tracks:
    """Move rows in time."""
    return Tracks.create(
        tracks.frame + shift, tracks.identity, tracks.xywh, tracks.score
    )


def within(tracks: Tracks, first: int, last: int) -> Tracks:
    """Keep the rows of some frames, with their numbers."""
    return tracks.select((tracks.frame >= first) & (tracks.frame <= last))


class Folders:
    """A ground truth and result folder that tests fill."""

    def __init__(self, root: Path) -> None:
        self.root, self.gt, self.results = root, root / 'gt', root / 'results'
        self.lengths: dict[str, int] = {}

    def add(
        self,
        name: str,
        gt: Tracks,
        pred: Tracks,
        length: int,
        gt_file: str = 'gt.txt',
        results: Path | None = None,
    ) -> None:
        """Write a sequence."""
        self.add_truth(name, gt, length, gt_file)
        write_tracks((results or self.results) / f'{name}.txt', pred)

    def add_truth(
        self, name: str, gt: Tracks, length: int, gt_file: str = 'gt.txt'
    ) -> None:
        """Write a ground truth text, with column 8, and ``seqinfo.ini``."""
        path = self.gt / name / 'gt' / gt_file
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = zip(gt.frame, gt.identity, gt.xywh, strict=True)
        path.write_text(
            ''.join(
                f'{f},{i},{x:.0f},{y:.0f},{w:.0f},{h:.0f},1,1,1\n'
                for f, i, (x, y, w, h) in rows
            )
        )
        ini = f'[Sequence]\nname={name}\nseqLength={length}\n'
        (self.gt / name / 'seqinfo.ini').write_text(ini)
        self.lengths[name] = length

    def evaluate(self, *options: object) -> int:
        """Run the command on both folders, all columns."""
        sides = ['--gt', str(self.gt), '--results', str(self.results)]
        return run(*sides, *options)

    def official(
        self,
        lengths: dict[str, int] | None = None,
        gt_file: str = 'gt.txt',
        results: Path | None = None,
    ) -> dict[str, float]:
        """Score files with the official data set class."""
        results = results or self.results
        lengths = lengths or self.lengths
        dataset = MotChallenge2DBox(
            {
                'GT_FOLDER': str(self.gt),
                'GT_LOC_FORMAT': f'{{gt_folder}}/{{seq}}/gt/{gt_file}',
                'TRACKERS_FOLDER': str(results.parent),
                'TRACKERS_TO_EVAL': [results.name],
                'TRACKER_SUB_FOLDER': '',
                'SKIP_SPLIT_FOL': True,
                'BENCHMARK': 'MOT15',
                'DO_PREPROC': False,
                'PRINT_CONFIG': False,
                'SEQ_INFO': dict(lengths),
            }
        )
        found = {}
        for metric in METRICS:
            scores = {}
            for name in lengths:
                raw = dataset.get_raw_seq_data(results.name, name)
                data = dataset.get_preprocessed_seq_data(raw, 'pedestrian')
                scores[name] = metric.eval_sequence(data)
            found |= metric.combine_sequences(scores)
        return {name: float(np.mean(value)) for name, value in found.items()}


def run(*options: object) -> int:
    """Run ``mmfdta evaluate`` in this process."""
    return main(['evaluate', '--all-columns', '--processes', '1', *map(str, options)])


def shown(output: str, row: str = 'COMBINED') -> dict[str, float]:
    """Read a row of a printed table; rates as fractions."""
    lines = [line.split() for line in output.splitlines()]
    head = next(line for line in lines if line and line[0] in ('sequence', 'tracker'))
    found = next(line for line in lines if line and line[0] == row)
    counts = ('IDSW', 'TP', 'FP', 'FN', 'Frag', 'MT', 'PT', 'ML')
    return {
        title: float(cell) / (1 if title in counts else 100)
        for title, cell in zip(head[1:], found[1:], strict=True)
    }


def assert_equal(
    output: str, official: dict[str, float], row: str = 'COMBINED'
) -> None:
    """Compare a printed row with official scores."""
    names = {'FP': 'CLR_FP', 'FN': 'CLR_FN'}
    for title, value in shown(output, row).items():
        expected = official[names.get(title, title)]
        assert abs(value - expected) < 6e-6, f'{title}: {value}, not {expected}'
