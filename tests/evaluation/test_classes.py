# Copyright (c) mmfdta authors.
"""Classes in column 8 of both sides, and identities that count within a class."""

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmfdta.cli.main import main
from mmfdta.evaluation import Sequence, Settings, Tracks, evaluate, summarise

from .oracle import (
    STYLES,
    official_combined,
    official_sequence,
    only_class,
    random_scene,
)

SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1', 'IDSW')


def two_classes(numbers=(1, 2), restart: bool = False) -> list[Sequence]:
    """Scenes whose even identities are of one class and odd ones of another.

    Args:
        numbers: Numbers of the classes.
        restart: Identities count from 1 again in each class.
    """
    scenes = []
    for seed in (41, 44, 45):
        scene = random_scene(seed, STYLES[3], f'v{seed}')
        sides = []
        for side in (scene.gt, scene.pred):
            label = np.array(numbers)[side.identity % 2]
            identity = side.identity // 6 + 1 if restart else side.identity + 1
            sides.append(replace(side, identity=identity, label=label))
        scenes.append(replace(scene, gt=sides[0], pred=sides[1]))
    assert all({*numbers} <= {*s.gt.label, *s.pred.label} for s in scenes[1:])
    return scenes


def relabel(scenes, side, function) -> list[Sequence]:
    """Change the labels of one side of scenes."""
    changed = []
    for scene in scenes:
        tracks = getattr(scene, side)
        label = function(tracks.label)
        changed.append(replace(scene, **{side: replace(tracks, label=label)}))
    return changed


def official(scenes) -> dict[str, float]:
    merged: dict = {}
    for scores in official_combined([official_sequence(s) for s in scenes]):
        merged |= scores
    return {name: float(np.mean(merged[name])) for name in SCORES}


def write(root: Path, scenes, gt_columns: int = 9) -> None:
    """Write scenes as text: ``gt/<name>/gt/gt.txt`` and ``results/<name>.txt``."""
    for scene in scenes:
        texts = {
            root / 'gt' / scene.name / 'gt' / 'gt.txt': (scene.gt, gt_columns),
            root / 'results' / f'{scene.name}.txt': (scene.pred, 9),
        }
        for path, (tracks, columns) in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = zip(
                tracks.frame,
                tracks.identity,
                *tracks.xywh.T,
                tracks.score,
                tracks.label,
                [1] * len(tracks),
                strict=True,
            )
            cells = ([repr(float(v)).removesuffix('.0') for v in row] for row in rows)
            path.write_text(''.join(','.join(r[:columns]) + '\n' for r in cells))


def run(root: Path, *options: str) -> int:
    sides = ['--gt', str(root / 'gt'), '--results', str(root / 'results')]
    rules = () if '--benchmark' in options else ('--benchmark', 'mot_challenge')
    return main(['evaluate', *sides, '--processes', '1', *rules, *options])


def said(capsys) -> str:
    """What stands on standard error; every line has the verb."""
    text = capsys.readouterr().err
    assert all(line.startswith('mmfdta evaluate: ') for line in text.splitlines())
    return text


def shown(text: str) -> dict[str, dict[str, float]]:
    """Rows of a printed table by their first cell."""
    head, *rows = text.splitlines()
    names = head.split()[1:]
    return {
        row[: -len(' '.join(row.split()[-len(names) :]))].strip(): dict(
            zip(names, map(float, row.split()[-len(names) :]), strict=True)
        )
        for row in (' '.join(row.split()) for row in rows)
    }


NUMBERS = {'person': 1, 'car': 2}
OPTION = ('--classes', 'person=1', 'car=2')


@pytest.mark.parametrize('restart', [False, True])
@pytest.mark.parametrize('numbers', [(1, 2), (3, 7), (0, 1), (12, 1)])
def test_each_class_scores_as_if_alone(tmp_path, capsys, numbers, restart):
    scenes = two_classes(numbers, restart)
    write(tmp_path, scenes)
    words = [f'c{n}={n}' for n in numbers]
    assert run(tmp_path, '--classes', *words) == 0
    captured = capsys.readouterr()
    assert not captured.err
    table = shown(captured.out)
    for number in numbers:
        expected = official([only_class(s, number) for s in scenes])
        row = table[f'c{number} / COMBINED']
        for name in SCORES:
            scale = 1 if name == 'IDSW' else 100
            assert row[name] == pytest.approx(scale * expected[name], abs=6e-4)


def by_pairs(scenes) -> list[Sequence]:
    """Give each pair of class and identity a number of its own, another way."""
    return [
        replace(
            scene,
            **{
                name: replace(side, identity=side.identity * 100 + side.label)
                for name, side in (('gt', scene.gt), ('pred', scene.pred))
            },
        )
        for scene in scenes
    ]


@pytest.mark.parametrize('sides', [('gt', 'pred'), ('gt',), ('pred',)])
def test_identities_within_classes_are_pairs_in_one_class(sides):
    """The whole set is read by pairs, also sequences that would not need it."""
    fine, split = two_classes(), two_classes(restart=True)
    scenes = [
        replace(one, **{side: getattr(other, side) for side in sides})
        for one, other in zip(fine, split, strict=True)
    ]
    # One object changes its class in a sequence without repeats.
    box = np.array([[1.0, 1, 9, 9]] * 2)
    change = Tracks.create([1, 2], [5, 5], box, None, [1, 2])
    scenes.append(Sequence('change', 2, change, change))
    evaluation = evaluate(scenes, Settings())
    expected = official(
        [
            replace(scene, **{side: getattr(paired, side) for side in sides})
            for scene, paired in zip(scenes, by_pairs(scenes), strict=True)
        ]
    )
    ours = summarise(evaluation.of_class())
    assert {name: ours[name] for name in SCORES} == pytest.approx(expected, abs=1e-9)
    told = [r for r in evaluation.remarks if 'pair of class and identity' in r]
    names = {'gt': 'ground truth', 'pred': 'results'}
    assert [r.split(':')[0] for r in told] == [names[side] for side in sides]


def test_an_object_may_change_its_class():
    """Identities that are unique in each frame are taken as they are."""
    box = np.array([[1.0, 1, 9, 9]] * 3)
    side = Tracks.create([1, 2, 3], [5, 5, 5], box, None, [1, 2, 1])
    evaluation = evaluate([Sequence('change', 3, side, side)], Settings())
    assert summarise(evaluation.of_class())['HOTA'] == 1
    assert not any('pair' in remark for remark in evaluation.remarks)


def test_a_pair_twice_in_a_frame_is_refused(tmp_path, capsys):
    write(tmp_path, two_classes(restart=True))
    path = tmp_path / 'results' / 'v44.txt'
    first = path.read_text().splitlines()[0]
    path.write_text(path.read_text() + first + '\n')
    for options in ((), OPTION):
        assert run(tmp_path, *options) == 1
        assert 'occurs again in frame' in said(capsys)


def test_rules_of_one_class_know_no_pairs(tmp_path, capsys):
    box = np.array([[1.0, 1, 9, 9], [30, 1, 9, 9]])
    gt = Tracks.create([1, 1], [1, 2], box, None, [1, 1])
    pred = Tracks.create([1, 1], [4, 4], box, None, [1, 0])
    write(tmp_path, [Sequence('MOT17-02', 1, gt, pred)])
    assert run(tmp_path, '--benchmark', 'mot17') == 1
    assert 'identity 4 occurs twice in frame 1' in said(capsys)


# What the results have in column 8, the options, and what the error must say.
WITHOUT = 'no result row has a class .column 8 is -1 or no'
REFUSED = {
    'none': (lambda n: n * 0 - 1, OPTION, WITHOUT),
    'none, others in the ground truth': (lambda n: n * 0 - 1, OPTION[:2], WITHOUT),
    'from 0': (lambda n: n - 1, OPTION, 'count classes from 0 and the ground truth'),
    'from 0, one is asked for': (lambda n: n - 1, OPTION[:2], 'add 1 to column 8'),
    'all 0': (lambda n: n * 0, OPTION, 'add 1 to column 8'),
    'from 0, another besides': (lambda n: np.where(n == 2, 5, 0), OPTION, 'add 1'),
    'others': (lambda n: n + 20, OPTION, 'results have none of the classes asked'),
    'asked for others': (lambda n: n, ('--classes', 'bus=7'), 'ground truth has none'),
    'one number of two': (lambda n: n, ('--classes', 'a=1', 'b=1'), 'found number 1'),
    'one name twice': (lambda n: n, ('--classes', 'a=1', 'a=2'), "found 'a' twice"),
    'a name alone': (lambda n: n, ('--classes', 'car'), 'expected NAME=NUMBER'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_results_whose_classes_do_not_fit_are_refused(tmp_path, capsys, case):
    change, options, message = REFUSED[case]
    write(tmp_path, relabel(two_classes(), 'pred', change))
    assert run(tmp_path, *options) == 1
    text = said(capsys)
    assert len(text.splitlines()) == 1
    assert re.search(message, text), text


def test_one_sequence_without_classes_is_named(tmp_path, capsys):
    first, *others = two_classes()
    write(tmp_path, [*relabel([first], 'pred', lambda n: n * 0 - 1), *others])
    assert run(tmp_path, *OPTION) == 1
    assert f'no result row of {first.name} has a class' in said(capsys)
    # A sequence without results is another matter.
    write(tmp_path, [replace(first, pred=Tracks.empty()), *others])
    assert run(tmp_path, *OPTION) == 0


@pytest.mark.parametrize(
    ('change', 'columns', 'message'),
    [
        (lambda n: n * 0 - 1, 9, 'no ground truth row has a class'),
        (lambda n: n, 6, 'expected at least 8'),
        (lambda n: n - 1, 9, 'results seem to count classes from 1'),
        (lambda n: n + 30, 9, 'ground truth has none of the classes asked for'),
    ],
)
def test_ground_truth_whose_classes_do_not_fit_is_refused(
    tmp_path, capsys, change, columns, message
):
    write(tmp_path, relabel(two_classes(), 'gt', change), columns)
    assert run(tmp_path, *OPTION) == 1
    assert message in said(capsys)


def test_without_classes_can_be_scored_as_one(tmp_path, capsys):
    """What the error advises."""
    scenes = relabel(two_classes(), 'pred', lambda n: n * 0 - 1)
    write(tmp_path, scenes)
    assert run(tmp_path) == 0
    captured = capsys.readouterr()
    assert captured.err.count('all are scored as one class') == 1
    expected = official(scenes)['HOTA']
    assert shown(captured.out)['COMBINED']['HOTA'] == pytest.approx(
        100 * expected, abs=6e-4
    )


def test_results_without_classes_may_be_the_only_class(tmp_path, capsys):
    scenes = relabel(two_classes(), 'gt', lambda n: n * 0 + 3)
    scenes = relabel(scenes, 'pred', lambda n: n * 0 - 1)
    write(tmp_path, scenes)
    assert run(tmp_path, '--classes', 'person=3') == 0
    captured = capsys.readouterr()
    assert 'all results count as person=3' in captured.err
    expected = official(scenes)['HOTA']
    assert shown(captured.out)['COMBINED']['HOTA'] == pytest.approx(
        100 * expected, abs=6e-4
    )


@pytest.mark.parametrize('some', [True, False])
def test_results_without_classes_can_be_of_one(tmp_path, capsys, some):
    """A tracker of persons, and a ground truth that has more than persons."""
    scenes = [replace(s, pred=s.pred.select(s.pred.label == 1)) for s in two_classes()]
    kept = 2 if some else 1

    def hide(numbers: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(numbers)) % kept, numbers, -1)

    write(tmp_path, relabel(scenes, 'pred', hide))
    words = ('--classes', 'person=1', '--unclassed', 'person')
    assert run(tmp_path, *words) == 0
    captured = capsys.readouterr()
    assert 'rows of other classes are not scored (ground truth' in captured.err
    expected = official([only_class(s, 1) for s in scenes])
    row = shown(captured.out)['COMBINED']
    assert row['HOTA'] == pytest.approx(100 * expected['HOTA'], abs=6e-4)
    assert row['IDSW'] == expected['IDSW']


def test_a_class_for_results_without_one_changes_nothing_where_all_have_one():
    scenes = two_classes()
    classes = dict(person=1, car=2, bus=7)
    plain = evaluate(scenes, Settings(classes=classes))
    for name in classes:
        named = evaluate(scenes, Settings(classes=classes, unclassed=name))
        assert named.classes == plain.classes == ['person', 'car']
        assert summarise(named.over_classes()) == summarise(plain.over_classes())
    none = relabel(scenes, 'pred', lambda n: n * 0 + 9)
    with pytest.raises(ValueError, match='results have none of the classes asked for'):
        evaluate(none, Settings(classes=classes, unclassed='person'))


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--classes', 'person=1', '--unclassed', 'car'), "found 'car', expected one"),
        (('--unclassed', 'person'), 'expected --classes'),
    ],
)
def test_the_class_of_results_must_be_named(tmp_path, capsys, words, message):
    write(tmp_path, two_classes())
    assert run(tmp_path, *words) == 1
    assert message in said(capsys)


def remarks_of(scenes, **classes) -> tuple[list[str], str]:
    evaluation = evaluate(scenes, Settings(classes=classes or None))
    return evaluation.classes, '\n'.join(evaluation.remarks)


def test_what_is_left_out_is_said():
    scenes = two_classes()
    assert remarks_of(scenes, person=1, car=2) == (['person', 'car'], '')
    names, text = remarks_of(scenes, person=1, bus=7)
    assert names == ['person'] and 'class bus=7: neither side has any' in text
    assert 'rows of other classes are not scored' in text
    mixed = relabel(scenes, 'pred', lambda n: np.where(np.arange(len(n)) % 3, n, -1))
    names, text = remarks_of(mixed, person=1, car=2)
    assert names == ['person', 'car'] and 'rows without a class' in text
    lacking = relabel(scenes, 'pred', lambda n: n * 0 + 1)
    names, text = remarks_of(lacking, person=1, car=2)
    assert names == ['person', 'car']
    assert 'class car=2: the results have none, so its scores are 0' in text
    more = relabel(scenes, 'gt', lambda n: n * 0 + 1)
    names, text = remarks_of(more, person=1, car=2)
    assert names == ['person', 'car'] and 'lower the mean over classes' in text


@pytest.mark.parametrize(
    ('side', 'function'),
    [
        ('gt', lambda n: n),
        ('gt', lambda n: n * 0 + 1),
        ('pred', lambda n: n * 0 - 1),
        ('pred', lambda n: n * 0 + 5),
        ('gt', lambda n: n * 0 + 9),
    ],
)
def test_several_classes_scored_as_one_are_said_once(side, function):
    _, text = remarks_of(relabel(two_classes(), side, function))
    assert text.count('all are scored as one class') == 1


def test_one_class_needs_no_remark():
    for gt, pred in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
        scenes = relabel(two_classes(), 'gt', lambda n, gt=gt: n * 0 + gt)
        scenes = relabel(scenes, 'pred', lambda n, pred=pred: n * 0 + pred)
        assert remarks_of(scenes)[1] == ''


def test_rows_that_are_not_evaluated_are_said():
    """Column 7 is 0 in the rows of classes 3 and 7."""
    scenes = []
    for scene in two_classes((1, 3)):
        score = np.where(scene.gt.label == 3, 0.0, 1.0)
        scenes.append(replace(scene, gt=replace(scene.gt, score=score)))
    evaluation = evaluate(scenes, Settings())
    rows = sum((s.gt.label == 3).sum() for s in scenes)
    assert any(f'{rows} ground truth rows have a 0' in r for r in evaluation.remarks)
    names, text = remarks_of(scenes, person=1)
    assert names == ['person'] and text.count('have a 0 in column 7') == 1
    kept = [replace(s, gt=s.gt.select(s.gt.label == 1)) for s in scenes]
    ours = summarise(evaluation.of_class())
    assert ours['HOTA'] == pytest.approx(official(kept)['HOTA'], abs=1e-9)


@pytest.mark.parametrize('restart', [False, True])
def test_several_numbers_are_one_class(tmp_path, capsys, restart):
    scenes = two_classes((1, 2), restart)
    write(tmp_path, scenes)
    assert run(tmp_path, '--classes', 'all=1,2') == 0
    expected = official(by_pairs(scenes) if restart else scenes)
    row = shown(capsys.readouterr().out)['COMBINED']
    assert row['HOTA'] == pytest.approx(100 * expected['HOTA'], abs=6e-4)


def test_names_come_from_labels_beside_the_ground_truth(tmp_path, capsys):
    scenes = two_classes((1, 2))
    write(tmp_path, scenes)
    for scene in scenes:
        labels = tmp_path / 'gt' / scene.name / 'gt' / 'labels.txt'
        labels.write_text('person\ncar\n')
    assert run(tmp_path, *OPTION) == 0
    numbered = capsys.readouterr().out
    assert run(tmp_path, '--classes', 'person', 'car') == 0
    assert capsys.readouterr().out == numbered
    assert run(tmp_path) == 0
    assert '--classes person=1 car=2 scores classes one by one' in said(capsys)
    assert run(tmp_path, '--classes', 'person=2') == 1
    assert 'labels.txt next to the ground truth has person=1' in said(capsys)
    labels.write_text('car\nperson\n')
    assert run(tmp_path, '--classes', 'person', 'car') == 1
    assert "class 1 is 'car', but 'person' in" in said(capsys)


def test_an_export_of_one_sequence_is_read_as_it_comes(tmp_path, capsys):
    """CVAT's zip: ``gt/gt.txt`` and ``gt/labels.txt`` at its root."""
    scene = two_classes()[1]
    write(tmp_path, [scene])
    path = tmp_path / 'street.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.write(tmp_path / 'gt' / scene.name / 'gt' / 'gt.txt', 'gt/gt.txt')
        archive.writestr('gt/labels.txt', 'person\ncar\n')
    text = tmp_path / 'results' / f'{scene.name}.txt'
    words = ['--gt', str(path), '--results', str(text), '--classes', 'car', 'person']
    assert main(['evaluate', *words, '--benchmark', 'mot_challenge']) == 0
    table = shown(capsys.readouterr().out)
    for name, number in NUMBERS.items():
        expected = official([only_class(scene, number)])
        hota = table[f'{name} / COMBINED']['HOTA']
        assert hota == pytest.approx(100 * expected['HOTA'], abs=6e-4)


def test_labels_beside_flat_texts_are_no_sequence(tmp_path, capsys):
    scenes = two_classes((1, 2))
    write(tmp_path, scenes)
    for scene in scenes:
        text = (tmp_path / 'gt' / scene.name / 'gt' / 'gt.txt').read_text()
        (tmp_path / f'flat_{scene.name}').mkdir()
        (tmp_path / 'flat').mkdir(exist_ok=True)
        (tmp_path / 'flat' / f'{scene.name}.txt').write_text(text)
    for folder in ('flat', 'results'):
        (tmp_path / folder / 'labels.txt').write_text('person\ncar\n')
    sides = ['--gt', f'{tmp_path}/flat', '--results', f'{tmp_path}/results']
    assert main(['evaluate', *sides, '--classes', 'person', 'car']) == 0
    assert len(said(capsys).splitlines()) == 1  # which rules hold
