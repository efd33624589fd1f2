# Copyright (c) mmfdta authors.
"""The event log: motmetrics goes on with it, and counts what is scored here."""

import csv
import io
import json
import subprocess
import sys
import warnings
from collections import Counter
from dataclasses import replace

import motmetrics
import numpy as np
import pandas
import pytest
from pages import ROOT, code_blocks

from mmfdta.cli.main import main
from mmfdta.evaluation import Sequence, Settings, Tracks, evaluate, select_scored
from mmfdta.evaluation.events import COLUMNS, find_events, write_events
from mmfdta.evaluation.scores import count_sequence

from .oracle import (
    STYLES,
    SceneStyle,
    official_data,
    official_sequence,
    only_class,
    random_scene,
)
from .test_benchmarks import with_classes, write

# Scores that both define alike, under both names.
ALIKE = {
    'num_switches': 'IDSW',
    'num_detections': 'CLR_TP',
    'num_misses': 'CLR_FN',
    'num_false_positives': 'CLR_FP',
    'mota': 'MOTA',
    'recall': 'CLR_Re',
    'precision': 'CLR_Pr',
    'mostly_lost': 'ML',
    'idf1': 'IDF1',
    'idp': 'IDP',
    'idr': 'IDR',
    'idtp': 'IDTP',
    'idfp': 'IDFP',
    'idfn': 'IDFN',
}
OTHERS = [
    *('num_frames', 'num_matches', 'num_objects', 'num_predictions', 'motp'),
    *('num_unique_objects', 'num_transfer', 'num_ascend', 'num_migrate'),
]


def read(path) -> pandas.DataFrame:
    """The lines of docs/evaluation.md."""
    return pandas.read_csv(path, index_col=['FrameId', 'Event'])


def compute(events: pandas.DataFrame) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        host = motmetrics.metrics.create()
        table = host.compute(events, metrics=[*ALIKE, *OTHERS])
    return table.iloc[0].to_dict()


def hold(theirs: dict, sequence: Sequence, ours: dict) -> None:
    """Compare what motmetrics computes with scores of both sides' boxes."""
    for name, our_name in ALIKE.items():
        if np.isnan(theirs[name]):  # nothing is divided by nothing
            assert ours[our_name] == 0, name
        else:
            assert theirs[name] == pytest.approx(ours[our_name], abs=1e-12), name
    assert theirs['num_frames'] == sequence.num_frames
    assert theirs['num_matches'] == ours['CLR_TP'] - ours['IDSW']
    assert theirs['num_objects'] == len(sequence.gt)
    assert theirs['num_predictions'] == len(sequence.pred)
    assert theirs['num_unique_objects'] == len(np.unique(sequence.gt.identity))
    if ours['CLR_TP']:
        assert 1 - theirs['motp'] == pytest.approx(ours['MOTP'], abs=1e-12)


def write_and_read(path, sequence: Sequence) -> pandas.DataFrame:
    write_events(path, {'t': {'all': {sequence.name: find_events(sequence)}}})
    return read(path)


@pytest.mark.parametrize('style', STYLES, ids=lambda style: style.boxes)
def test_motmetrics_computes_our_scores(tmp_path, style):
    """The scores of trackeval, from the file; frames and sides may be empty."""
    total = Counter()
    for seed in range(25):
        sequence = random_scene(seed, style)
        # Frames before, behind and between that hold nothing.
        gt, pred = (
            replace(side, frame=2 * side.frame + 3)
            for side in (sequence.gt, sequence.pred)
        )
        sequence = Sequence('s', 2 * sequence.num_frames + 6, gt, pred)
        official = {}
        for scores in official_sequence(sequence):
            official |= scores
        theirs = compute(write_and_read(tmp_path / 'events.csv', sequence))
        if len(gt) and len(pred):
            hold(theirs, sequence, official)
            total.update(theirs)
        else:  # the official rates of an empty side are no quotients
            assert theirs['num_misses'] == len(gt)
            assert theirs['num_false_positives'] == len(pred)
            assert theirs['num_frames'] == sequence.num_frames
    assert min(total[name] for name in ('num_misses', 'num_false_positives')) > 100
    assert min(total[name] for name in ('num_switches', 'num_transfer')) > 0


def as_counter(events: pandas.DataFrame, raw: bool) -> Counter:
    rows = events.reset_index().astype({'Type': str}).fillna(-1)
    rows = rows[(rows.Type == 'RAW') == raw]
    return Counter(
        zip(rows.FrameId, rows.Type, rows.OId, rows.HId, rows.D.round(9), strict=True)
    )


def accumulate(sequence: Sequence, allowed: set | None) -> pandas.DataFrame:
    """Let motmetrics match, all pairs with an IoU of 0.5 or only those allowed."""
    accumulator = motmetrics.MOTAccumulator()
    data = official_data(sequence)
    gt_ids, pred_ids = (
        np.unique(sequence.gt.identity),
        np.unique(sequence.pred.identity),
    )
    for frame in range(1, sequence.num_frames + 1):
        gt = gt_ids[data['gt_ids'][frame - 1]]
        pred = pred_ids[data['tracker_ids'][frame - 1]]
        iou = data['similarity_scores'][frame - 1]
        may = iou >= 0.5
        if allowed is not None:
            pairs = [[(frame, g, p) in allowed for p in pred] for g in gt]
            may = np.array(pairs, dtype=bool).reshape(iou.shape)
        distance = np.where(may, 1 - iou, np.nan)
        accumulator.update(gt, pred, distance, frameid=frame)
    return accumulator.events


def test_events_are_those_of_an_accumulator_that_matches_alike(tmp_path):
    """Row by row, where the accumulator may match no other pairs than we do."""
    compared = Counter()
    styles = [replace(style, max_frames=30) for style in STYLES]
    scenes = [random_scene(seed, style) for style in styles for seed in range(8)]
    for sequence in scenes:
        ours = write_and_read(tmp_path / 'events.csv', sequence)
        matched = ours[ours.Type.isin(['MATCH', 'SWITCH'])].reset_index()
        allowed = set(zip(matched.FrameId, matched.OId, matched.HId, strict=True))
        events = as_counter(ours, raw=False)
        assert events == as_counter(accumulate(sequence, allowed), raw=False)
        raw = as_counter(accumulate(sequence, None), raw=True)
        assert as_counter(ours, raw=True) == raw
        compared.update(kind for _, kind, *_ in events.elements())
    types = 'MATCH', 'SWITCH', 'MISS', 'FP', 'TRANSFER', 'ASCEND', 'MIGRATE'
    assert set(compared) == set(types)
    assert min(compared.values()) > 20


def test_rows_of_a_small_log(tmp_path):
    """An identity is followed by 8, lost, found by 9; 9 then goes to a newborn."""
    box, far, away = [0, 0, 10, 10], [100, 0, 10, 10], [500, 0, 9, 9]
    gt = Tracks.create([1, 2, 3, 5], [1, 1, 1, 2], [box, box, box, far])
    pred = Tracks.create([1, 3, 4, 5], [8, 9, 9, 9], [box, [0, 0, 10, 8], away, far])
    sequence = Sequence('s', 6, gt, pred)
    write_events(tmp_path / 'e.csv', {'t': {'all': {'s': find_events(sequence)}}})
    lines = (tmp_path / 'e.csv').read_text().splitlines()
    assert lines == [
        'FrameId,Event,Type,OId,HId,D',
        *('1,0,RAW,,,', '1,1,RAW,1,8,0.0', '1,2,MATCH,1,8,0.0'),
        *('2,0,RAW,,,', '2,1,RAW,1,,', '2,2,MISS,1,,'),
        *('3,0,RAW,,,', f'3,1,RAW,1,9,{1 - 0.8}', f'3,2,ASCEND,1,9,{1 - 0.8}'),
        f'3,3,SWITCH,1,9,{1 - 0.8}',
        *('4,0,RAW,,,', '4,1,RAW,,9,', '4,2,FP,,9,'),
        *('5,0,RAW,,,', '5,1,RAW,2,9,0.0', '5,2,MIGRATE,2,9,0.0'),
        *('5,3,TRANSFER,2,9,0.0', '5,4,MATCH,2,9,0.0'),
        '6,0,RAW,,,',
    ]


def lower(iou: float, steps: int) -> float:
    for _ in range(steps):
        iou = np.nextafter(iou, 0)
    return iou


def test_pairs_that_clear_accepts_and_identity_does_not(tmp_path):
    """CLEAR's threshold has a margin below 0.5, that of identities has none."""
    box = [0.0, 0.0, 1.0, 1.0]
    for steps in range(1, 12):
        other = [0.0, 0.0, 1.0, lower(0.5, steps)]
        gt = Tracks.create([1], [1], [box])
        sequence = Sequence('s', 1, gt, Tracks.create([1], [5], [other]))
        ours = count_sequence(sequence).scores()
        if ours['CLR_TP'] == 1 and ours['IDTP'] == 0:
            break
    else:
        pytest.fail('no box lies between the two thresholds')
    theirs = compute(write_and_read(tmp_path / 'events.csv', sequence))
    assert (theirs['num_matches'], theirs['idtp']) == (1, 0)


def test_nothing_on_both_sides(tmp_path):
    sequence = Sequence('s', 3, Tracks.empty(), Tracks.empty())
    events = find_events(sequence)
    assert events.type.tolist() == ['RAW'] * 3
    assert compute(write_and_read(tmp_path / 'e.csv', sequence))['num_frames'] == 3


def test_api_gives_what_the_file_holds(tmp_path):
    sequence = random_scene(3, STYLES[3])
    events = find_events(sequence)
    table = pandas.DataFrame(events.columns()).set_index(['FrameId', 'Event'])
    assert [*table.index.names, *table.columns] == [*COLUMNS]
    written = write_and_read(tmp_path / 'events.csv', sequence)
    pandas.testing.assert_frame_equal(table, written, check_dtype=False)
    switches = events.select('SWITCH', 'MATCH')
    assert len(switches) == count_sequence(sequence).scores()['CLR_TP']


def test_identities_that_floats_confuse_are_refused():
    tracks = Tracks.create([1, 1], [2**53 + 2, 1], [[0, 0, 9, 9], [50, 0, 9, 9]])
    for sides in ((tracks, Tracks.empty()), (Tracks.empty(), tracks)):
        with pytest.raises(ValueError, match=r'identity 9007199254740994, .* 2\*\*53'):
            find_events(Sequence('s', 1, *sides))


def mot17_scene(seed: int, style: SceneStyle = STYLES[3]) -> Sequence:
    """Some identities are distractors, some rows do not count."""
    sequence = random_scene(seed, style, f's{seed}')
    rng = np.random.default_rng(seed)
    label = np.array([1, 1, 1, 2, 7, 8, 12, 3])[sequence.gt.identity // 3 % 8]
    score = (rng.random(len(label)) < 0.9).astype(float)
    return replace(sequence, gt=replace(sequence.gt, label=label, score=score))


def test_rules_of_the_benchmark_hold_in_the_log(tmp_path):
    """What a benchmark takes out is no event."""
    sequences = [mot17_scene(seed) for seed in range(12)]
    settings = Settings('mot17', events=True)
    evaluation = evaluate(sequences, settings)
    write_events(tmp_path / 'events.csv', {'t': evaluation.events})
    table = pandas.read_csv(
        tmp_path / 'events.csv',
        index_col=['FrameId', 'Event'],
        dtype={'Sequence': str},
    )
    parts = dict(list(table.groupby('Sequence')))
    assert set(parts) == set(evaluation.sequences)
    taken_out = 0
    for sequence in sequences:
        scored = select_scored(sequence, 'mot17')
        taken_out += len(sequence.pred) - len(scored.pred)
        if len(scored.gt) and len(scored.pred):
            ours = evaluation.of_sequence(sequence.name)
            hold(compute(parts[sequence.name]), scored, ours)
    assert taken_out > 20
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        overall = motmetrics.metrics.create().compute_many(
            list(parts.values()),
            names=list(parts),
            metrics=list(ALIKE),
            generate_overall=True,
        )
    combined = evaluation.of_class()
    for name, our_name in ALIKE.items():
        theirs = overall.loc['OVERALL', name]
        assert theirs == pytest.approx(combined[our_name], abs=1e-12), name


def run(root, *arguments) -> int:
    places = ['--gt', str(root / 'gt'), '--results', str(root / 'results')]
    return main(['evaluate', *places, *arguments])


def with_labels(tracks: Tracks, count: int) -> Tracks:
    return replace(tracks, label=tracks.identity // 3 % count + 1)


@pytest.mark.parametrize('processes', ['1', '2'])
def test_command_writes_classes_one_by_one(tmp_path, processes):
    """Several sequences and classes in one file; a class may have no box."""
    sequences = []
    for seed in (41, 44):
        scene = random_scene(seed, STYLES[3], f'000{seed}')
        sides = with_labels(scene.gt, 2), with_labels(scene.pred, 3)
        sequences.append(Sequence(scene.name, scene.num_frames, *sides))
        write(tmp_path, sequences[-1])
        text = tmp_path / 'results' / f'{scene.name}.txt'
        rows = zip(text.read_text().splitlines(), sides[1].label, strict=True)
        text.write_text(
            ''.join(f'{row[: -len("-1,-1,-1")]}{label},1\n' for row, label in rows)
        )
    classes = {'person': 1, 'car': 2, 'dog': 3}
    path = tmp_path / 'events.csv'
    named = [f'{name}={number}' for name, number in classes.items()]
    assert (
        run(
            *(tmp_path, '--events', str(path), '--processes', processes),
            *('--classes', *named),
        )
        == 0
    )
    table = pandas.read_csv(
        path, index_col=['FrameId', 'Event'], dtype={'Sequence': str}
    )
    evaluation = evaluate(sequences, Settings(classes=classes))
    parts = dict(list(table.groupby(['Class', 'Sequence'])))
    assert list(table.columns) == ['Class', 'Sequence', *COLUMNS[2:]]
    assert len(parts) == 5  # one of them has no dog
    held = 0
    for sequence in sequences:
        for name, number in classes.items():
            part = only_class(sequence, number)
            if not len(part.gt) and not len(part.pred):
                assert (name, sequence.name) not in parts
                continue
            theirs = compute(parts[name, sequence.name])
            ours = evaluation.of_sequence(sequence.name, name)
            assert theirs['num_frames'] == sequence.num_frames
            if len(part.gt) and len(part.pred):
                hold(theirs, part, ours)
                held += 1
            assert theirs['num_false_positives'] == ours['CLR_FP']
    assert held >= 3


def test_command_needs_neither_pytorch_nor_pandas(tmp_path):
    sequence = random_scene(41, STYLES[3], 's')
    write(tmp_path, sequence)
    path = tmp_path / 'events' / 'log.csv'
    arguments = [
        *('evaluate', '--gt', f'{tmp_path}/gt', '--results', f'{tmp_path}/results'),
        *('--events', str(path)),
    ]
    code = (
        'import sys; from mmfdta.cli.main import main; '
        f'assert main({arguments!r}) == 0; '
        'loaded = {"torch", "mmengine", "mmdet", "pandas", "motmetrics"}; '
        'loaded &= set(sys.modules); assert not loaded, loaded'
    )
    subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)
    rows = list(csv.reader(io.StringIO(path.read_text())))
    assert tuple(rows[0]) == COLUMNS
    hold(compute(read(path)), sequence, count_sequence(sequence).scores())


def test_a_folder_is_no_file(tmp_path, capsys):
    write(tmp_path, random_scene(41, STYLES[3], 's'))
    assert run(tmp_path, '--events', str(tmp_path)) == 1
    captured = capsys.readouterr()
    assert captured.out == '' and 'expected a file' in captured.err


def test_plot_tracks_shows_the_switches_that_evaluate_counts(tmp_path, capsys):
    """Under the rules of MOT17, which take boxes out."""
    style = replace(STYLES[3], max_frames=30)
    scenes = [
        with_classes(random_scene(seed, style, f's{seed}'), seed)
        for seed in (22, 31, 73)
    ]
    for scene in scenes:
        write(tmp_path, scene)
    places = ['--gt', f'{tmp_path}/gt', '--results', f'{tmp_path}/results']
    places += ['--benchmark', 'mot17']
    assert main(['plot-tracks', *places, '--out', f'{tmp_path}/plots']) == 0
    said = capsys.readouterr().out.splitlines()
    scores = tmp_path / 'scores.json'
    assert main(['evaluate', *places, '--out', str(scores)]) == 0
    by_sequence = json.loads(scores.read_text())['classes']['all']['sequences']
    listed = json.loads((tmp_path / 'plots' / 'switches.json').read_text())
    total = 0
    for scene, line in zip(scenes, said, strict=True):
        of = by_sequence[scene.name]
        path = tmp_path / 'plots' / f'{scene.name}.png'
        assert path.is_file()
        assert line == (
            f'{path}: {of["IDSW"]:.0f} switches, {of["CLR_FN"]:.0f} misses, '
            f'{of["CLR_FP"]:.0f} false positives'
        )
        assert len(listed[scene.name]) == of['IDSW']
        total += len(listed[scene.name])
    assert total > 20


def test_the_lines_of_the_page_give_our_scores(tmp_path, monkeypatch, capsys):
    """Of one sequence, of several, and from Python; docs/evaluation.md."""
    blocks = code_blocks(ROOT / 'docs' / 'evaluation.md', 'python')
    of_one, of_several, api = [
        next(block for block in blocks if word in block)
        for word in ('.compute(events)', 'compute_many', 'found = find_events')
    ]
    names = {}
    style = replace(STYLES[3], max_frames=30)
    scenes = [mot17_scene(seed, style) for seed in (31, 73)]
    for scene in scenes:
        write(tmp_path, scene)
    monkeypatch.chdir(tmp_path)
    rules = ['--benchmark', 'mot17', '--events', 'events.csv']
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert run(tmp_path, *rules, '--sequences', 's31') == 0
        exec(of_one, names)
        one = names['events']
        assert run(tmp_path, *rules) == 0
        exec(of_several, names)
    exec(api, names | {'sequence': scenes[0]})
    pandas.testing.assert_frame_equal(one, names['parts']['s31'][one.columns])
    evaluation = evaluate(scenes, Settings('mot17'))
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    switches = int(evaluation.of_class()['IDSW'])
    assert switches > 3
    printed = [words for words in said if words[:1] == ['num_switches']]
    assert [float(words[-1]) for words in printed] == [
        evaluation.of_sequence('s31')['IDSW'],
        switches,
    ]
    assert switches == sum(
        (part.Type == 'SWITCH').sum() for part in names['parts'].values()
    )


def write_by_class(root) -> None:
    """Identity 1 is a person and a car; the cars' results change theirs once."""
    rows = [(frame, 1, label) for frame in range(1, 7) for label in (1, 3)]
    gt = Tracks.create(
        frame := [row[0] for row in rows],
        [row[1] for row in rows],
        [[200.0 * row[2], 0, 50, 50] for row in rows],
        label=[row[2] for row in rows],
    )
    identity = [5 if row[2] == 1 or row[0] < 4 else 6 for row in rows]
    pred = Tracks.create(frame, identity, gt.xywh, label=gt.label)
    for folder, tracks in (('gt', gt), ('results', pred)):
        text = zip(
            *(tracks.frame, tracks.identity, tracks.xywh, tracks.label), strict=True
        )
        (root / folder).mkdir()
        (root / folder / 's.txt').write_text(
            ''.join(
                f'{f},{i},{x},{y},{w},{h},1,{c},1\n' for f, i, (x, y, w, h), c in text
            )
        )


@pytest.mark.parametrize('classes', [[], ['--classes', 'person=1', 'car=3']])
def test_plot_tracks_reads_classes_as_evaluate_does(tmp_path, capsys, classes):
    """Identities that count within their class, with classes told apart or not."""
    write_by_class(tmp_path)
    events, plots = tmp_path / 'events.csv', tmp_path / 'plots'
    assert run(tmp_path, *classes, '--events', str(events)) == 0
    said = capsys.readouterr().err
    table = pandas.read_csv(events)
    switches = table[table.Type == 'SWITCH']
    assert switches.FrameId.tolist() == [4]
    if classes:
        assert switches.Class.tolist() == ['car']
        assert list(table.columns) == ['Class', 'Sequence', *COLUMNS]
    assert table.Type.value_counts()['MATCH'] == 11
    places = ['--gt', f'{tmp_path}/gt', '--results', f'{tmp_path}/results']
    assert main(['plot-tracks', *places, *classes, '--out', str(plots)]) == 0
    assert capsys.readouterr().err == said.replace('evaluate:', 'plot-tracks:')
    listed = json.loads((plots / 'switches.json').read_text())
    assert listed.keys() == ({'s_person', 's_car'} if classes else {'s'})
    (switch,) = (found for of in listed.values() for found in of)
    assert switch['frame'] == 4
    assert switch['identity'] == switches.OId.item()
    assert switch['to'] == switches.HId.item()


def test_classes_that_a_sequence_lacks_have_no_rows():
    """Of the hundreds of classes of a data set, say."""
    both = Tracks.create([1, 2], [1, 1], [[0, 0, 9, 9]] * 2, label=[1, 1])
    nothing = Tracks.empty()
    sides = {'gt': (both, nothing), 'pred': (nothing, both), 'both': (both, both)}
    sequences = [Sequence(name, 3, *of) for name, of in sides.items()]
    sequences.append(Sequence('none', 3, nothing, nothing))
    classes = {f'class{number}': number for number in range(400)}
    settings = Settings(classes=classes, all_classes=True, events=True)
    evaluation = evaluate(sequences, settings)
    assert len(evaluation.classes) == 400
    kept = {name for name, of in evaluation.events.items() if of}
    assert kept == {'class1'}
    assert set(evaluation.events['class1']) == set(sides)
    events = evaluate(sequences[3:], Settings(events=True)).events
    assert len(events['all']['none']) == 3


def test_several_trackers_are_told_apart(tmp_path):
    scene = random_scene(44, STYLES[3], 's')
    write(tmp_path, scene)
    text = (tmp_path / 'results' / 's.txt').read_text().splitlines(keepends=True)
    for name, rows in (('byte', text), ('sort', text[::2])):
        (tmp_path / name).mkdir()
        (tmp_path / name / 's.txt').write_text(''.join(rows))
    events = tmp_path / 'events.csv'
    places = ['--gt', f'{tmp_path}/gt', '--results']
    places += [f'{tmp_path}/byte', f'{tmp_path}/sort']
    assert main(['evaluate', *places, '--events', str(events)]) == 0
    table = pandas.read_csv(events, index_col=['FrameId', 'Event'])
    assert list(table.columns) == ['Tracker', 'Sequence', *COLUMNS[2:]]
    rows = np.arange(len(scene.pred))
    for name, kept in (('byte', rows), ('sort', rows[::2])):
        sequence = replace(scene, pred=scene.pred.select(kept))
        ours = count_sequence(sequence).scores()
        hold(compute(table[table.Tracker == name]), sequence, ours)
