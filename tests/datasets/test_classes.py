# Copyright (c) mmfdta authors.
"""Classes of column 8: labels, what is trained on, and identities within a class."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest

from mmfdta.cli.main import main
from mmfdta.datasets import (
    ClipSampler,
    JointMOTDataset,
    MOTSequenceDataset,
    mot_sequence,
)
from mmfdta.datasets.transforms.id_targets import GenerateIDTargets
from mmfdta.structures import benchmarks

FRAMES = 4


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """Warnings that the data set logs."""
    texts = []

    def keep(text: str, logger: str, level: int) -> None:
        assert level == logging.WARNING
        texts.append(text)

    monkeypatch.setattr(mot_sequence, 'print_log', keep)
    return texts


def rows(objects: list[tuple[int, int, int]], shift: int = 0) -> str:
    """Text of objects (identity, class, column 7), in all frames."""
    return ''.join(
        f'{t},{identity},{5 + 20 * i + shift},4,10,12,{flag},{number},1\n'
        for t in range(1, FRAMES + 1)
        for i, (identity, number, flag) in enumerate(objects)
    )


# Identities count within each class.
WITHIN = [(1, 1, 1), (1, 2, 1), (2, 2, 1)]
# Column 7 is 0 in rows of another class.
UNSCORED = [(1, 1, 1), (2, 1, 1), (9, 3, 0), (8, 7, 0)]
PLAIN = [(1, 1, 1), (2, 2, 1), (3, 2, 1)]
TWO = dict(metainfo=dict(classes=('person', 'car')), category_map={1: 0, 2: 1})


@pytest.fixture
def make(tmp_path, make_sequence):
    """Write a data set of two sequences; hand out the class of it."""

    def make(objects, labels: str | None = None, **options) -> MOTSequenceDataset:
        for name, shift in (('a', 0), ('b', 1)):
            if not (tmp_path / 'train' / name).exists():
                make_sequence(tmp_path / 'train' / name, FRAMES, rows(objects, shift))
            if labels is not None:
                path = tmp_path / 'train' / name / 'gt' / 'labels.txt'
                path.write_text(labels)
        return MOTSequenceDataset(str(tmp_path), 'train', **options)

    return make


def objects_of(dataset, frame: int = 0) -> list[tuple[int, int]]:
    info = dataset.get_data_info(frame)
    return list(zip(info['gt_ids'].tolist(), info['gt_labels'].tolist(), strict=True))


def counts(ids) -> int:
    return len(np.unique(ids))


@pytest.mark.parametrize(
    'options',
    [
        {},
        TWO,
        dict(category_map={1: 0, 2: 0}),
        dict(TWO, test_mode=True),
        dict(category_map={2: 0}),
    ],
    ids=['no map', 'map', 'two numbers, one class', 'testing', 'one of two'],
)
def test_identities_within_classes_are_usable(make, said, options):
    dataset = make(WITHIN, **options)
    chosen = 2 if options.get('category_map') == {2: 0} else 3
    for sequence in dataset.sequences:
        assert sequence.legal_frames.all()
        used = sequence.annotations.tracks.select(sequence.annotations.trainable)
        assert counts(used.identity) == chosen
        # The same object in all frames.
        of_frame = used.identity.reshape(FRAMES, chosen)
        assert (of_frame == of_frame[0]).all()
    told = [text for text in said if 'identities count within each class' in text]
    assert len(told) == 1 and 'category_map' in told[0]
    assert 'identity 1 is in frame 1 in the classes 1 and 2' in told[0]
    if not options.get('test_mode'):
        sampler = ClipSampler(dataset, lengths=FRAMES, max_interval=1, seed=0)
        assert len(sampler.clips) == 2


@pytest.mark.parametrize('class_aware', [False, True])
def test_id_targets_tell_objects_within_classes_apart(make, class_aware):
    dataset = make(WITHIN, **TWO)
    info = dataset.get_data_info(mot_sequence.ClipIndex(0, (0, 1, 2), (0,)))
    transform = GenerateIDTargets(num_groups=1, vocab=6, class_aware=class_aware)
    targets = transform.transform(dict(info, rng=np.random.default_rng(0)))
    found = targets['id_targets'].unknown_ann_idxs[0]
    assert found.shape == (3, 3)
    # Every box of a frame has a column.
    assert sorted(found[0].tolist()) == sorted(found[2].tolist()) == [0, 1, 2]


def test_unique_identities_stay_what_they_are(make, said):
    dataset = make(PLAIN, **TWO)
    assert objects_of(dataset) == [(1, 0), (2, 1), (3, 1)]
    assert said == []
    assert dataset.metainfo['class_numbers'] == (1, 2)


def test_a_real_repeat_is_still_one(make, said):
    dataset = make([*WITHIN, (2, 2, 1)], **TWO)
    assert not any(s.legal_frames.any() for s in dataset.sequences)
    assert any('identity 2 occurs again in frame 1' in text for text in said)


@pytest.mark.parametrize(
    ('category_map', 'classes', 'numbers'),
    [
        ({1: 0, 3: 1}, ('person', 'car'), (1, 3)),
        ({3: 0, 1: 1}, ('car', 'person'), (3, 1)),
        ({1: 0, 2: 0, 3: 1}, ('person', 'car'), (1, 3)),
        ({0: 0, 1: 1}, ('a', 'b'), (0, 1)),
        ({4: 0}, ('a', 'b', 'c'), (4, 5, 6)),
        ({4: 1}, ('a', 'b'), (5, 4)),
    ],
)
def test_labels_have_the_numbers_of_the_text(make, category_map, classes, numbers):
    dataset = make(
        PLAIN, category_map=category_map, metainfo=dict(classes=classes), test_mode=True
    )
    assert dataset.metainfo['class_numbers'] == numbers


@pytest.mark.parametrize(
    ('objects', 'expected'),
    [
        (UNSCORED, 'column 7 is 0 in 16 rows .classes 3 .8 rows., 7 .8 rows..'),
        (UNSCORED, 'classes 1 .16 rows., 3 .8 rows., 7 .8 rows.: all are trained on'),
        (PLAIN, 'classes 1 .8 rows., 2 .16 rows.: all are trained on as one class'),
        ([(1, 1, 1), (2, 1, 0)], 'column 7 is 0 in 8 rows'),
        ([(1, -1, 1), (2, -1, 0)], 'column 7 is 0 in 8 rows'),
    ],
)
def test_what_counts_as_an_object_is_said_once(make, said, objects, expected):
    make(objects)
    assert sum(bool(re.search(expected, text)) for text in said) == 1
    assert all('category_map' in t or 'use_consider_flag' in t for t in said)


@pytest.mark.parametrize(
    ('objects', 'options'),
    [
        ([(1, 1, 1), (2, 1, 1)], {}),
        ([(1, -1, 1), (2, -1, 1)], {}),
        (UNSCORED, dict(category_map={1: 0}, use_consider_flag=True)),
        (UNSCORED, dict(test_mode=True)),
        (PLAIN, TWO),
    ],
)
def test_nothing_is_said_where_all_is_clear(make, said, objects, options):
    make(objects, **options)
    assert said == []


def test_the_flag_leaves_rows_out(make):
    dataset = make(UNSCORED, use_consider_flag=True)
    assert objects_of(dataset) == [(1, 0), (2, 0)]
    assert [i for i, _ in objects_of(make(UNSCORED))] == [1, 2, 9, 8]


@pytest.mark.parametrize('test_mode', [False, True])
def test_named_classes_need_numbers(make, test_mode):
    with pytest.raises(ValueError, match=r'category_map=\{1: 0, 2: 1\}'):
        make(PLAIN, metainfo=TWO['metainfo'], test_mode=test_mode)


def test_a_map_to_what_is_not_there_is_said(make, said):
    make(PLAIN, category_map={1: 0, 5: 1}, metainfo=TWO['metainfo'])
    assert len(said) == 2
    assert 'category_map leaves out 16 of 24 rows: classes 2 (16 rows)' in said[0]
    assert 'category_map has the class 5, which no row' in said[1]


LEFT_OUT = {
    'a class': (PLAIN, {}, '8 of 24 rows: classes 1 (8 rows)'),
    'some have none': ([(1, 2, 1), (2, -1, 1)], {}, '8 of 16 rows: 8 rows without a'),
    'several': ([(1, 2, 1), (2, 3, 1), (3, 7, 0)], {}, '16 of 24 rows: classes 3 (8'),
    'testing': (PLAIN, dict(test_mode=True), '8 of 24 rows: classes 1 (8 rows)'),
    'unscored rows do not count': (
        *([(1, 2, 1), (2, 3, 1), (3, 7, 0)], dict(use_consider_flag=True)),
        '8 of 16 rows: classes 3 (8 rows)',
    ),
}


@pytest.mark.parametrize('case', LEFT_OUT)
def test_rows_that_a_map_leaves_out_are_counted(make, said, case):
    objects, options, words = LEFT_OUT[case]
    make(objects, category_map={2: 0}, **options)
    (text,) = [text for text in said if 'leaves out' in text]
    assert f'category_map leaves out {words}' in text


def test_check_counts_rows_that_are_left_out(make, tmp_path, capsys):
    make(PLAIN)
    assert main(['check-data', 'mot', str(tmp_path), '--classes', 'car=2']) == 0
    assert 'category_map leaves out 8 of 24 rows' in capsys.readouterr().out


# Columns 7 to 10 of rows whose column 8 is no class.
FRACTIONS = {
    'a visibility': '1,0.87,1',
    'a class and a half': '1,1.5,1',
    'a position as in MOT15': '1,4.4852,5.5016,0',
}


@pytest.mark.parametrize('case', FRACTIONS)
def test_a_fraction_is_no_class(tmp_path, make_sequence, said, capsys, case):
    """It is refused only where classes play a part."""
    tail = FRACTIONS[case]
    text = ''.join(f'{t},1,5,4,10,12,{tail}\n' for t in range(1, FRAMES + 1))
    make_sequence(tmp_path / 'train' / 'a', FRAMES, text)
    words = f'gt.txt:1: found {tail.split(",")[1]} in column 8, which is no class'
    dataset = MOTSequenceDataset(str(tmp_path), 'train')
    assert objects_of(dataset) == [(1, 0)]
    assert [words in text for text in said] == [True]
    with pytest.raises(ValueError, match=re.escape(words)):
        MOTSequenceDataset(str(tmp_path), 'train', category_map={1: 0})
    for verb in ('check-data', 'prepare-dataset'):
        assert main([verb, 'mot', str(tmp_path)]) == 0
        captured = capsys.readouterr()
        assert words in captured.out + captured.err
    assert main(['check-data', 'mot', str(tmp_path), '--classes', 'person=1']) == 1
    assert words in capsys.readouterr().out
    assert main(['check-data', 'mot17', str(tmp_path)]) == 1


@pytest.mark.parametrize('metainfo', [None, TWO['metainfo']])
def test_joint_data_have_numbers_if_they_agree(make, metainfo):
    one = make(PLAIN, **TWO)
    other = make(PLAIN, **TWO)
    turned = make(PLAIN, **{**TWO, 'category_map': {1: 1, 2: 0}})
    joint = JointMOTDataset([one, other], metainfo=metainfo)
    assert joint.metainfo['class_numbers'] == (1, 2)
    joint = JointMOTDataset([one, turned], metainfo=metainfo)
    assert 'class_numbers' not in joint.metainfo


def test_a_benchmark_may_have_the_numbers(make, tmp_path, monkeypatch):
    known = dict(benchmarks.BENCHMARKS)
    monkeypatch.setattr(mot_sequence, 'BENCHMARKS', known)
    rules = benchmarks.Benchmark('fish', 'Fish', ('shark', 'cod'), numbers=(2, 1))
    kind = type('FishDataset', (MOTSequenceDataset,), dict(BENCHMARK=rules))
    make(PLAIN, test_mode=True)
    dataset = kind(str(tmp_path), 'train')
    assert objects_of(dataset) == [(1, 1), (2, 0), (3, 0)]
    assert dataset.metainfo['class_numbers'] == (2, 1)


# ------------------------------------------------------------------ labels.txt
@pytest.mark.parametrize(
    ('classes', 'expected', 'numbers'),
    [
        (('person', 'car'), [(1, 0), (2, 1), (3, 1)], (1, 2)),
        (('car', 'person'), [(1, 1), (2, 0), (3, 0)], (2, 1)),
        (('car',), [(2, 0), (3, 0)], (2,)),
        (['person'], [(1, 0)], (1,)),
        (('pedestrian',), [(1, 0), (2, 0), (3, 0)], None),
    ],
)
def test_names_are_looked_up_beside_the_text(make, classes, expected, numbers):
    dataset = make(PLAIN, 'person\ncar\n', metainfo=dict(classes=classes))
    assert objects_of(dataset) == expected
    assert dataset.metainfo.get('class_numbers') == numbers


def test_a_name_that_is_not_listed_is_an_error(make):
    with pytest.raises(ValueError, match=r"'bus'.*labels.txt.*1 person, 2 car"):
        make(PLAIN, 'person\ncar\n', metainfo=dict(classes=('person', 'bus')))


def test_a_map_of_the_config_goes_first(make):
    dataset = make(PLAIN, 'car\nperson\n', **TWO)
    assert objects_of(dataset) == [(1, 0), (2, 1), (3, 1)]


def test_names_without_a_choice_are_said(make, said):
    dataset = make(PLAIN, 'person\ncar\n')
    assert objects_of(dataset) == [(1, 0), (2, 0), (3, 0)]
    assert len(said) == 1 and '1 person (8 rows), 2 car (16 rows)' in said[0]


def test_sequences_must_number_alike(make, tmp_path):
    make(PLAIN, 'person\ncar\n')
    (tmp_path / 'train' / 'b' / 'gt' / 'labels.txt').write_text('car\nperson\n')
    with pytest.raises(ValueError, match="class 1 is 'car', but 'person'"):
        make(PLAIN, metainfo=TWO['metainfo'])
    one = make(PLAIN, metainfo=TWO['metainfo'], sequences=['b'])
    assert objects_of(one) == [(1, 1), (2, 0), (3, 0)]


def test_the_cache_knows_names_too(make, tmp_path, capsys):
    make(PLAIN, 'person\ncar\n')
    assert main(['prepare-dataset', 'mot', str(tmp_path)]) == 0
    assert (tmp_path / 'annotations' / 'train_mmfdta.npz').is_file()
    dataset = make(PLAIN, metainfo=dict(classes=('car',)))
    assert objects_of(dataset) == [(2, 0), (3, 0)]


# ------------------------------------------------------------------- commands
def cells(text: str) -> list[list[str]]:
    """Rows of the printed table of classes."""
    lines = iter(text.splitlines())
    head = next(line for line in lines if line.startswith('class '))
    assert head.split()[:4] == ['class', 'name', 'boxes', 'ids']
    return [line.split() for line in iter(lambda: next(lines), '')]


@pytest.mark.parametrize(
    ('objects', 'options', 'expected'),
    [
        (WITHIN, (), ['1 - 8 2 0 8', '2 - 16 4 0 16']),
        (
            UNSCORED,
            (),
            ['1 - 16 4 0 16', '3 - 8 2 8 8', '7 - 8 2 8 8'],
        ),
        (PLAIN, ('--classes', 'car=2'), ['1 - 8 2 0 0', '2 car 16 4 0 16']),
        (
            PLAIN,
            ('--classes', 'all=1,2'),
            ['1 all 8 2 0 8', '2 all 16 4 0 16'],
        ),
        ([(1, -1, 1)], (), ['none - 8 2 0 8']),
    ],
)
def test_check_counts_classes(make, tmp_path, capsys, objects, options, expected):
    make(objects, test_mode=True)
    assert main(['check-data', 'mot', str(tmp_path), *options]) == 0
    text = capsys.readouterr().out
    assert [' '.join(row) for row in cells(text)] == expected
    assert ('training counts them' in text) == (objects is UNSCORED)
    assert ('identities count within each class' in text) == (objects is WITHIN)


def test_check_names_classes(make, tmp_path, capsys):
    make(PLAIN, 'person\ncar\n')
    assert main(['check-data', 'mot', str(tmp_path)]) == 0
    assert [row[1] for row in cells(capsys.readouterr().out)] == ['person', 'car']
    assert main(['check-data', 'mot', str(tmp_path), '--classes', 'car']) == 0
    table = cells(capsys.readouterr().out)
    assert [row[-1] for row in table] == ['0', '16']
    assert main(['check-data', 'mot', str(tmp_path), '--classes', 'bus']) == 1
    assert 'labels.txt has person=1, car=2' in capsys.readouterr().err


def test_check_finds_a_pair_twice(make, tmp_path, capsys):
    make([*WITHIN, (2, 2, 1)], test_mode=True)
    assert main(['check-data', 'mot', str(tmp_path)]) == 1
    assert 'identity 2 occurs again in frame 1' in capsys.readouterr().out


def test_rows_of_mot17_that_are_trained_on(tmp_path, make_sequence, capsys):
    text = rows([(1, 1, 1), (2, 1, 0), (3, 7, 1)])
    make_sequence(tmp_path / 'train' / 'MOT17-02-FRCNN', FRAMES, text)
    assert main(['check-data', 'mot17', str(tmp_path)]) == 0
    table = cells(capsys.readouterr().out)
    assert [' '.join(row) for row in table] == [
        '1 pedestrian 8 2 4 4',
        '7 - 4 1 0 0',
    ]


@pytest.mark.parametrize(
    ('objects', 'words', 'categories', 'boxes'),
    [
        (PLAIN, ('person=1', 'car=2'), ['person', 'car'], {1: 8, 2: 16}),
        (WITHIN, ('person=1', 'car=2'), ['person', 'car'], {1: 8, 2: 16}),
        (PLAIN, ('car=2', 'person=1'), ['car', 'person'], {1: 16, 2: 8}),
        (UNSCORED, ('a=1',), ['a'], {1: 16}),
        (UNSCORED, ('a=1,7', 'b=3'), ['a', 'b'], {1: 24, 2: 8}),
    ],
)
def test_coco_has_the_classes_that_are_named(
    make, tmp_path: Path, capsys, objects, words, categories, boxes
):
    make(objects, test_mode=True)
    options = ['--coco', '--classes', *words]
    assert main(['prepare-dataset', 'mot', str(tmp_path), *options]) == 0
    path = tmp_path / 'annotations' / 'train_cocovid.json'
    document = json.loads(path.read_text())
    assert [c['name'] for c in document['categories']] == categories
    found = [a['category_id'] for a in document['annotations']]
    assert {number: found.count(number) for number in sorted(set(found))} == boxes
    # One object has one number in all frames, and no frame has it twice.
    pairs = [(a['image_id'], a['instance_id']) for a in document['annotations']]
    assert len(set(pairs)) == len(pairs)
    assert len(pairs) == FRAMES * document['num_instances']


def test_classes_of_the_cache_alone_are_refused(make, tmp_path, capsys):
    make(PLAIN, test_mode=True)
    words = ['--classes', 'person=1']
    assert main(['prepare-dataset', 'mot', str(tmp_path), *words]) == 1
    assert 'name them with --coco' in capsys.readouterr().err


@pytest.mark.parametrize('category_map', [{1: 0, 2: 2}, {1: 0, 2: -1}, {1: 1, 2: 2}])
def test_a_label_without_a_class_is_refused(make, category_map):
    with pytest.raises(ValueError, match=r'metainfo\.classes has 2 \(person, car\)'):
        make(PLAIN, category_map=category_map, metainfo=TWO['metainfo'])


def test_two_labels_need_two_names(make):
    with pytest.raises(ValueError, match=r'label 1, but metainfo\.classes has 1'):
        make(PLAIN, category_map={1: 0, 2: 1})
