# Copyright (c) mmfdta authors.
"""`evaluate` places both sides on the same frames, however each counts them."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmfdta.cli.main import main
from mmfdta.evaluation import Settings, evaluate, summarise
from mmfdta.evaluation.inputs import Inputs, find_trackers
from mmfdta.evaluation.submission import make_submission
from mmfdta.structures.mot_text import format_tracks
from mmfdta.structures.tracks import Sequence, Tracks

from .oracle import STYLES, official_combined, official_sequence, random_scene

Count = Callable[[np.ndarray, list[int]], np.ndarray]
LENGTH = 8


def by_name(frame: np.ndarray, numbers: list[int]) -> np.ndarray:
    return np.array(numbers)[frame - 1]


def from_one(frame: np.ndarray, numbers: list[int]) -> np.ndarray:
    return frame


def from_zero(frame: np.ndarray, numbers: list[int]) -> np.ndarray:
    return frame - 1


def scenes() -> list[Sequence]:
    """Two sequences, with boxes on their first and last frames on both sides."""
    found = []
    for seed in (41, 45):
        scene = random_scene(seed, STYLES[3], f's{seed}')
        box = np.array([[5.0, 5, 20, 30]])
        sides = []
        for tracks in (scene.gt, scene.pred):
            inside = tracks.select((tracks.frame > 1) & (tracks.frame < LENGTH))
            ends = [Tracks.create([t], [999], box) for t in (1, LENGTH)]
            sides.append(Tracks.concatenate([ends[0], inside, ends[1]]))
        found.append(Sequence(scene.name, LENGTH, *sides))
    return found


def write_side(path: Path, tracks: Tracks, count: Count, numbers: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    changed = replace(tracks, frame=count(tracks.frame, numbers))
    path.write_text(format_tracks(changed))


def write(
    root: Path,
    sequences: list[Sequence],
    numbers: list[int] | range,
    gt: Count,
    pred: Count,
    images: str | None = 'img1',
    seqinfo: str = '',
    pattern: str = '{:06d}.jpg',
) -> Path:
    numbers = list(numbers)
    for s in sequences:
        folder = root / 'gt' / s.name
        write_side(folder / 'gt' / 'gt.txt', s.gt, gt, numbers)
        write_side(root / 'results' / f'{s.name}.txt', s.pred, pred, numbers)
        if images is not None:
            (folder / images).mkdir(parents=True)
            for number in numbers:
                (folder / images / pattern.format(number)).touch()
        if seqinfo:
            (folder / 'seqinfo.ini').write_text(seqinfo)
    return root


def score(root: Path, **options: str) -> tuple[dict, list[str]]:
    inputs = Inputs(root / 'gt', [root / 'results'], **options)
    (tracker,), _ = find_trackers(inputs)
    sequences, remarks = tracker.load()
    return summarise(evaluate(sequences, Settings()).of_class()), remarks


def official(sequences: list[Sequence]) -> dict:
    combined = official_combined([official_sequence(s) for s in sequences])
    scores = {name: value for scores in combined for name, value in scores.items()}
    return {name: float(np.mean(value)) for name, value in scores.items()}


ZERO, CUT, SECOND = range(LENGTH), range(3, 3 + LENGTH), range(1, 2 * LENGTH, 2)
GAPS = [1, 2, 4, 5, 6, 9, 10, 12]


@pytest.mark.parametrize('pred', [by_name, from_one, from_zero])
@pytest.mark.parametrize('gt', [by_name, from_one, from_zero])
@pytest.mark.parametrize('numbers', [range(1, 9), ZERO, CUT, SECOND, GAPS])
def test_every_pair_of_readings_scores_alike(
    tmp_path: Path, numbers: list[int], gt: Count, pred: Count
) -> None:
    """What trackeval gives where both count from 1."""
    sequences = scenes()
    scores, remarks = score(write(tmp_path, sequences, numbers, gt, pred))
    expected = official(sequences)
    for name in ('HOTA', 'AssA', 'MOTA', 'IDF1', 'CLR_FP', 'IDSW'):
        np.testing.assert_allclose(scores[name], expected[name], rtol=0, atol=1e-12)
    regular = range(1, 9) == numbers
    for side, count in (('ground truth', gt), ('results', pred)):
        said = [r for r in remarks if r.startswith(f'{side}: frames')]
        assert len(said) == (not regular or count is from_zero)


@pytest.mark.parametrize(
    ('images', 'pattern', 'seqinfo'),
    [
        ('frames', '{:06d}.jpg', '[Sequence]\nimDir=frames\nseqLength=8\n'),
        ('img', 'frame_{}.png', 'imDir: img'),
        ('img1', 'cam1_{:03d}.jpg', '[sequence]\nname=s\n'),
        (None, '', 'seqLength=8'),
        (None, '', '[Other]\nSEQLENGTH : 8.0 ; frames\n'),
        (None, '', ''),
    ],
)
@pytest.mark.parametrize('pred', [from_one, from_zero])
def test_seqinfo_and_imdir_tell_the_frames(
    tmp_path: Path, images: str | None, pattern: str, seqinfo: str, pred: Count
) -> None:
    sequences = scenes()
    root = write(
        tmp_path, sequences, range(8), from_zero, pred, images, seqinfo, pattern
    )
    scores, remarks = score(root)
    np.testing.assert_allclose(scores['HOTA'], official(sequences)['HOTA'], atol=1e-12)
    assert any(remark.startswith('ground truth: frames') for remark in remarks)


def keep(sequences: list[Sequence], frames: range) -> list[Sequence]:
    """Keep the results of some frames."""
    return [
        replace(s, pred=s.pred.select(np.isin(s.pred.frame, frames))) for s in sequences
    ]


@pytest.mark.parametrize(
    ('numbers', 'count', 'frames', 'choice'),
    [
        (ZERO, from_one, range(2, 8), 'count'),
        (ZERO, by_name, range(2, 8), 'names'),
        (CUT, by_name, range(1, 6), 'names'),
        (CUT, from_one, range(3, 8), 'count'),
        (range(1, 9), from_zero, range(3, 9), 'count0'),
    ],
)
def test_results_that_can_be_read_in_two_ways_take_an_option(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    numbers: range,
    count: Count,
    frames: range,
    choice: str,
) -> None:
    sequences = keep(scenes(), frames)
    gt = from_zero if choice == 'count0' else by_name
    root = write(tmp_path, sequences, numbers, gt, count)
    command = ['evaluate', '--gt', str(root / 'gt'), '--results', str(root / 'results')]
    command += ['--processes', '1', '--frames', 'all']
    assert main(command) == 1
    error = capsys.readouterr().err
    assert re.search(r'results/s\d+.txt:\d+: frame \d can be .* or ', error)
    assert '--result-frame-numbers names, count or count0' in error
    assert main([*command, '--result-frame-numbers', choice]) == 0
    table = capsys.readouterr().out
    assert f'{100 * official(sequences)["HOTA"]:.3f}' in table.splitlines()[-1]


def test_one_option_serves_for_both_sides_where_both_are_unclear(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    sequences = [
        replace(s, gt=s.gt.select(s.gt.frame < 7), pred=s.gt.select(s.gt.frame < 7))
        for s in scenes()
    ]
    root = write(tmp_path, sequences, CUT, by_name, by_name)
    with pytest.raises(ValueError, match=r'gt.txt:1: frame 3 can be 000003.jpg, by'):
        score(root)
    scores, remarks = score(root, frame_numbers='names')
    assert scores['HOTA'] == 1
    assert [r.split(':')[0] for r in remarks[:2]] == ['ground truth', 'results']


@pytest.mark.parametrize(
    ('side', 'images', 'pattern'),
    [
        ('gt', 'img1', r'gt.txt:\d+: found frame 9, but the sequence has 8 frames'),
        ('results', 'img1', r's41.txt:\d+: found frame 9, but the sequence has 8'),
        ('results', None, r's41.txt:\d+: found frame 9, but .*\(seqLength in'),
    ],
)
def test_a_frame_beyond_the_sequence_is_named(
    tmp_path: Path, side: str, images: str | None, pattern: str
) -> None:
    seqinfo = '[Sequence]\nseqLength=8\n'
    root = write(tmp_path, scenes(), range(1, 9), from_one, from_one, images, seqinfo)
    path = root / 'results' / 's41.txt'
    if side == 'gt':
        path = root / 'gt' / 's41' / 'gt' / 'gt.txt'
    path.write_text(path.read_text() + '9,1,1,2,3,4,1,-1,-1,-1\n')
    with pytest.raises(ValueError, match=pattern):
        score(root)


def test_a_stray_frame_0_does_not_shift_the_others(tmp_path: Path) -> None:
    root = write(tmp_path, scenes(), range(1, 9), from_one, from_one, images=None)
    path = root / 'results' / 's41.txt'
    path.write_text('0,1,1,2,3,4,1,-1,-1,-1\n' + path.read_text())
    with pytest.raises(ValueError, match=r's41.txt:1: found frame 0.* frame 8 '):
        score(root)


def test_texts_of_unknown_length_count_from_0_if_told(tmp_path: Path) -> None:
    """None of them has a frame 0, and their last frame is 8, the ninth."""
    sequences = []
    for s in scenes():
        later = [replace(side, frame=side.frame + 1) for side in (s.gt, s.pred)]
        sequences.append(replace(s, num_frames=LENGTH + 1, gt=later[0], pred=later[1]))
    root = write(tmp_path, sequences, [], from_zero, from_zero, images=None)
    expected = official(sequences)['HOTA']
    for choice in ('auto', 'count0'):
        scores, _ = score(root, frame_numbers=choice, result_frame_numbers=choice)
        np.testing.assert_allclose(scores['HOTA'], expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match='1 to 8, the results 2 to 9, as if one of'):
        score(root, result_frame_numbers='count0')


def test_some_images_are_enough_where_seqinfo_tells_the_length(tmp_path: Path) -> None:
    sequences = scenes()
    seqinfo = '[Sequence]\nseqLength=8\n'
    root = write(tmp_path, sequences, range(1, 9), from_one, from_one, seqinfo=seqinfo)
    for s in sequences:
        for number in range(3, 9):
            (root / 'gt' / s.name / 'img1' / f'{number:06d}.jpg').unlink()
    scores, remarks = score(root)
    np.testing.assert_allclose(scores['HOTA'], official(sequences)['HOTA'], atol=1e-12)
    assert 'there are 2 images, but seqLength in seqinfo.ini is 8' in remarks[0]


def test_strange_images_are_refused_unless_they_are_counted(tmp_path: Path) -> None:
    root = write(tmp_path, scenes(), range(1, 8), from_one, from_one)
    for name in ('s41', 's45'):
        (root / 'gt' / name / 'img1' / 'title.jpg').touch()
    with pytest.raises(ValueError, match='found title.jpg among images'):
        score(root)
    assert score(root, frame_numbers='count')[0]['HOTA'] > 0


@pytest.mark.parametrize(
    ('images', 'seqinfo', 'length'),
    [
        ('img1', '', 8),
        ('frames', '[Sequence]\nimDir=frames\nseqLength=3\n', 8),
        (None, 'seqLength=8', 8),
        (None, '[sequence]\nseqLength : 7\n', 7),
    ],
)
def test_submissions_have_as_many_frames(
    tmp_path: Path, images: str | None, seqinfo: str, length: int
) -> None:
    root = write(tmp_path, scenes(), range(8), from_one, from_one, images, seqinfo)
    for name in ('s41', 's45'):
        if images is not None:
            (root / 'gt' / name / images / 'Thumbs.db').touch()

    def submit() -> None:
        make_submission('dancetrack', root / 'results', root / 'gt', root / 'made.zip')

    if length == 8:
        submit()
    else:
        with pytest.raises(ValueError, match='found frame 8, but the sequence has 7'):
            submit()


def moving(length: int, seed: int) -> Sequence:
    """Objects that move by a tenth of their size per frame, and a good tracker."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(1, length + 1), 4)
    identity = np.tile(np.arange(4), length)
    left = 100.0 * identity + 4 * frame
    gt = np.column_stack([left, 50 * identity, *np.full((2, len(frame)), 40.0)])
    pred = gt + rng.normal(0, 0.5, gt.shape)
    return Sequence(
        f's{seed}',
        length,
        Tracks.create(frame, identity, gt),
        Tracks.create(frame, identity, pred),
    )


def renumber(tracks: Tracks, shift: int, first: int = 1) -> Tracks:
    kept = tracks.select(tracks.frame >= first)
    return replace(kept, frame=kept.frame + shift)


@pytest.mark.parametrize(
    ('gt_shift', 'pred_shift'), [(2, 0), (299, 0), (0, 1), (5, 1), (0, 40)]
)
def test_texts_of_one_extent_that_lie_apart_are_refused(
    tmp_path: Path, gt_shift: int, pred_shift: int
) -> None:
    """A cut-out by its old numbers against results from 1; nothing tells of it."""
    for seed in range(2):
        s = moving(30 + seed, seed)
        for side, tracks, shift in (
            ('gt', s.gt, gt_shift),
            ('results', s.pred, pred_shift),
        ):
            path = tmp_path / side / f'{s.name}.txt'
            path.parent.mkdir(exist_ok=True)
            path.write_text(format_tracks(renumber(tracks, shift)))
    with pytest.raises(ValueError, match=r'results .*; --frames all scores them'):
        score(tmp_path)


@pytest.mark.parametrize('first', [2, 6, 501])
def test_numbers_of_a_longer_video_are_told_the_length_they_take(
    tmp_path: Path, first: int
) -> None:
    """What the error proposes, and no length at all, score as the official rules."""
    sequences = scenes()
    last = first + LENGTH - 1

    def later(frame: np.ndarray, numbers: list[int]) -> np.ndarray:
        return frame + first - 1

    ini = f'[Sequence]\nseqLength={LENGTH}\n'
    root = write(tmp_path, sequences, [], later, later, None, ini)
    with pytest.raises(ValueError, match=rf'{first} to {last} here.*seqLength={last}'):
        score(root)
    for text in (ini.replace(str(LENGTH), str(last)), '[Sequence]\n'):
        for path in root.rglob('seqinfo.ini'):
            path.write_text(text)
        scores, _ = score(root)
        assert scores['HOTA'] == pytest.approx(official(sequences)['HOTA'], abs=1e-12)
