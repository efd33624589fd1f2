# Copyright (c) mmfdta authors.
"""The rules of MOT17 and MOT20 against the official data set class on files."""

from pathlib import Path

import numpy as np
import pytest
from trackeval.datasets import MotChallenge2DBox

from mmfdta.evaluation import (
    BENCHMARKS,
    Sequence,
    Settings,
    Tracks,
    evaluate,
    select_scored,
)
from mmfdta.evaluation.folders import find_sequences

from .oracle import METRICS, STYLES, SceneStyle, largest_difference, random_scene

OFFICIAL_NAMES = {
    'mot16': ('MOT16', True),
    'mot17': ('MOT17', True),
    'mot20': ('MOT20', True),
    'mot15': ('MOT15', False),
    'mot_challenge': ('MOT15', False),
}


def with_classes(scene: Sequence, seed: int) -> Sequence:
    """Give the objects of the ground truth classes, and some rows a 0 in column 7."""
    rng = np.random.default_rng(seed)
    of_object = rng.choice([1, 1, 1, 2, 3, 6, 7, 8, 12, 13], 64)
    gt = scene.gt
    gt = Tracks.create(
        gt.frame,
        gt.identity,
        gt.xywh,
        (rng.random(len(gt)) < 0.9).astype(float),
        of_object[gt.identity % 64],
    )
    return Sequence(scene.name, scene.num_frames, gt, scene.pred)


def write(root: Path, sequence: Sequence) -> None:
    """Write a sequence in the layout of MOTChallenge, boxes in full."""
    folder = root / 'gt' / sequence.name
    (folder / 'gt').mkdir(parents=True)
    (root / 'results').mkdir(exist_ok=True)
    (folder / 'seqinfo.ini').write_text(
        f'[Sequence]\nname={sequence.name}\nseqLength={sequence.num_frames}\n'
    )
    gt, pred = sequence.gt, sequence.pred
    rows = zip(gt.frame, gt.identity, gt.xywh, gt.score, gt.label, strict=True)
    (folder / 'gt' / 'gt.txt').write_text(
        ''.join(
            f'{f},{i},{",".join(str(v) for v in box)},{m:.0f},{c},1\n'
            for f, i, box, m, c in rows
        )
    )
    rows = zip(pred.frame, pred.identity, pred.xywh, strict=True)
    (root / 'results' / f'{sequence.name}.txt').write_text(
        ''.join(
            f'{f},{i},{",".join(str(v) for v in box)},0.5,-1,-1,-1\n'
            for f, i, box in rows
        )
    )


def official_scores(root: Path, sequences: list[Sequence], benchmark: str) -> dict:
    """Score the files with the official data set and metric classes."""
    name, preprocess = OFFICIAL_NAMES[benchmark]
    dataset = MotChallenge2DBox(
        {
            'GT_FOLDER': str(root / 'gt'),
            'TRACKERS_FOLDER': str(root),
            'TRACKERS_TO_EVAL': ['results'],
            'TRACKER_SUB_FOLDER': '',
            'SKIP_SPLIT_FOL': True,
            'BENCHMARK': name,
            'DO_PREPROC': preprocess,
            'PRINT_CONFIG': False,
            'SEQ_INFO': {s.name: s.num_frames for s in sequences},
        }
    )
    scores = {}
    for sequence in sequences:
        raw = dataset.get_raw_seq_data('results', sequence.name)
        data = dataset.get_preprocessed_seq_data(raw, 'pedestrian')
        scores[sequence.name] = [metric.eval_sequence(data) for metric in METRICS]
    return scores


@pytest.mark.parametrize('benchmark', OFFICIAL_NAMES)
def test_files_equal_official(tmp_path, benchmark):
    styles = (STYLES[3], STYLES[1], STYLES[2], SceneStyle('moving', 30, 8))
    sequences = [
        with_classes(random_scene(seed, styles[seed % 4], f'seq-{seed:02d}'), seed)
        for seed in range(40)
    ]
    for sequence in sequences:
        write(tmp_path, sequence)
    official = official_scores(tmp_path, sequences, benchmark)
    files, extra = find_sequences(tmp_path / 'gt', tmp_path / 'results')
    assert not extra
    ours = evaluate(files, Settings(benchmark), processes=2)
    for name in official:
        difference, score = largest_difference(ours.of_sequence(name), official[name])
        assert difference < 1e-9, f'{score} of {name} differs by {difference}'
    combined = [
        metric.combine_sequences({name: scores[m] for name, scores in official.items()})
        for m, metric in enumerate(METRICS)
    ]
    difference, score = largest_difference(ours.of_class(), combined)
    assert difference < 1e-9, f'combined {score} differs by {difference}'


def test_distractors_make_a_difference():
    """A result on a static person is no false positive in MOT17, elsewhere it is."""
    box = [[0.0, 0.0, 10.0, 20.0], [50.0, 0.0, 10.0, 20.0]]
    gt = Tracks.create([1, 1], [1, 2], box, label=[1, 7])
    pred = Tracks.create([1, 1], [8, 9], box)
    sequence = Sequence('s', 1, gt, pred)
    prepared = select_scored(sequence, 'mot17')
    assert prepared.gt.identity.tolist() == [1]
    assert prepared.pred.identity.tolist() == [8]
    prepared = select_scored(sequence, 'mot_challenge')
    assert prepared.pred.identity.tolist() == [8, 9]


def test_rules_that_differ():
    assert 6 in BENCHMARKS['mot20'].distractors
    assert 6 not in BENCHMARKS['mot17'].distractors
    for name in ('dancetrack', 'sportsmot', 'bft', 'minidance', 'mot15'):
        assert not BENCHMARKS[name].distractors


def test_strange_classes():
    box = [[0.0, 0.0, 10.0, 20.0]]
    one = Tracks.create([1], [1], box, label=[1])
    other = Tracks.create([1], [1], box, label=[99])
    with pytest.raises(ValueError, match=r's: .*ground truth of class 99.*1 to 13'):
        select_scored(Sequence('s', 1, other, one), 'mot17')
    with pytest.raises(ValueError, match=r's: .*result of class 99.*pedestrians'):
        select_scored(Sequence('s', 1, one, other), 'mot17')
