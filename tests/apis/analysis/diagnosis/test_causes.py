# Copyright (c) mmfdta authors.
"""Small stories with a known cause each; sums over random ones against the scores."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmfdta.apis.analysis.diagnosis import find_evidence, record_evidence
from mmfdta.apis.analysis.diagnosis.causes import (
    BIRTHS,
    MISSES,
    SWITCHES,
    explain_births,
    explain_misses,
    explain_switches,
)
from mmfdta.apis.analysis.diagnosis.words import FATES, THEN, measure_competition
from mmfdta.apis.detection_store import SequenceDetections
from mmfdta.apis.evaluation_data import EvaluationData
from mmfdta.evaluation import Settings, Tracks, evaluate, summarise

pytestmark = pytest.mark.filterwarnings('ignore:frame .* more than ID words')

BOXES = {
    'A': [10, 10, 30, 40],
    'B': [60, 10, 80, 40],
    'C': [10, 60, 30, 90],
    'D': [11, 10, 31, 40],  # nearly where A is
    'a': [13, 10, 33, 40],  # a second box of A
    'b': [64, 10, 84, 40],  # a second box of B
    'x': [60, 60, 80, 90],  # nothing
}


class Story:
    """Objects that stand still, and what is detected of them frame by frame.

    A detection is the name of its box, its score, and the ID scores of words that are
    not 0; -1 is newborn. Embeddings are the ID scores.
    """

    def __init__(self, loop, data, words: int, benchmark: str) -> None:
        self.loop, self.data, self.words = loop, data, words
        self.benchmark = benchmark

    def tell(self, frames: list, objects: str = 'ABC', away=(), labels=(0, 0, 0)):
        """Evidence of both sequences; the second one is empty."""
        found = []
        for detections in frames:
            table = np.zeros((len(detections), self.words + 1))
            for row, (_, _, asked) in zip(table, detections, strict=True):
                row[list(asked)] = list(asked.values())
            boxes = [BOXES[name] for name, *_ in detections]
            found.append(
                InstanceData(
                    bboxes=torch.tensor(boxes).float().reshape(-1, 4),
                    scores=torch.tensor([score for _, score, _ in detections]).float(),
                    labels=torch.tensor([int(n == 'x') for n, *_ in detections]).long(),
                    embeddings=torch.from_numpy(table).float(),
                )
            )
        length = len(self.data.sequences[0])
        found += [found[0][:0]] * (length - len(found))
        known = [
            SequenceDetections(of, [{}] * length, np.zeros((length, 3)), 0.1, 1)
            for of in (found, [found[0][:0]] * length)
        ]
        truth = [
            (t, i, BOXES[name])
            for t in range(1, len(frames) + 1)
            for i, name in enumerate(objects)
            if (t, name) not in away
        ]
        boxes = np.array([box for *_, box in truth], dtype=float).reshape(-1, 4)
        boxes[:, 2:] -= boxes[:, :2]
        data = EvaluationData(self.data.dataset, self.benchmark)
        one = Tracks.create([t for t, *_ in truth], [i for _, i, _ in truth], boxes)
        one = replace(one, label=np.array(labels)[one.identity])
        data.__dict__['truths'] = [one, Tracks.empty()]
        return record_evidence(self.loop, data, known)


@pytest.fixture
def story(scripted):
    """A function: a story with settings of the tracker."""

    def make(words=6, classes=1, benchmark='mot_challenge', **options) -> Story:
        options |= dict(num_id_vocabulary=words, embed_dims=words + 1)
        loop, data, _ = scripted(0, classes, **options)
        return Story(loop, data, words, benchmark)

    return make


def causes_of(evidence) -> list[tuple]:
    return [
        (s.frame, s.object, s.before, s.after, s.cause)
        for s in explain_switches(evidence).switches
    ]


START = [('A', 0.9, {}), ('B', 0.8, {})]
B = ('B', 0.8, {1: 0.9})


@pytest.mark.parametrize(
    ('second', 'expected', 'margin'),
    [
        ([('A', 0.9, {0: 0.4, -1: 0.5}), B], 'asked_newborn', 0.1),
        ([('A', 0.9, {0: 0.24, -1: 0.1}), B], 'unsure', 0.01),
        ([('A', 0.9, {0: 0.3, 1: 0.8}), B], 'asked_other', 0.5),
        ([('A', 0.9, {0: 0.3, 4: 0.8}), B], 'asked_stray', 0.5),
        ([('A', 0.9, {0: 0.5}), ('x', 0.9, {0: 0.7}), B], 'lost_to_nothing', 0.2),
        ([('A', 0.9, {0: 0.1, 1: 0.8})], 'took_other', 0.7),
    ],
)
def test_words_are_lost_for_a_reason(story, second, expected, margin):
    evidence = story().tell([START, second])
    (switch,) = explain_switches(evidence).switches
    assert (switch.frame, switch.object, switch.before) == (2, 0, 0)
    assert switch.cause == expected and switch.gap == 1
    assert switch.margin == pytest.approx(margin)
    competition = measure_competition(evidence)
    assert competition.became[expected].count == 1
    assert competition.became[expected].margins == pytest.approx([margin])
    kept = competition.became['kept'].count
    assert kept == (len(second) > 1) == competition.due - 1
    fate = 'other_identity' if expected == 'took_other' else 'new_identity'
    assert competition.became[expected].then == {k: int(k == fate) for k in THEN}


def test_two_objects_swap_and_come_back(story):
    frames = [
        START,
        [('A', 0.9, {0: 0.5}), ('B', 0.8, {0: 0.6, 1: 0.3})],
        [('A', 0.9, {0: 0.9}), ('B', 0.8, {1: 0.9})],
    ]
    evidence = story().tell(frames)
    assert causes_of(evidence) == [
        (2, 0, 0, 2, 'lost_to_object'),
        (2, 1, 1, 0, 'took_other'),
        (3, 0, 2, 0, 'took_other'),  # its first identity, but it was B's last
        (3, 1, 0, 1, 'came_back'),
    ]
    contests = measure_competition(evidence).contests
    assert contests['another_object'].count == contests['another_object'].wrong == 1
    assert contests['another_object'].margins == pytest.approx([0.1])
    births = explain_births(evidence)
    assert births.causes == {
        **dict.fromkeys(BIRTHS, 0),
        'new_object': 2,
        'known_object': 1,
    }
    assert births.why == {'known_object': {'lost_to_object': 1}}


def test_duplicates(story):
    """A second box that takes the word, and one that is there all the time."""
    evidence = story().tell(
        [START, [B], [('A', 0.9, {0: 0.5}), ('a', 0.9, {0: 0.7}), B]]
    )
    assert causes_of(evidence) == [(3, 0, 0, 2, 'lost_to_duplicate')]
    contests = measure_competition(evidence).contests
    assert contests['same_object'].count == 1 == contests['same_object'].wrong
    evidence = story().tell(
        [
            [('A', 0.9, {}), ('a', 0.9, {})],
            [('a', 0.9, {1: 0.9})],
        ]
    )
    assert causes_of(evidence) == [(2, 0, 0, 1, 'second_track')]
    assert explain_births(evidence).causes['duplicate'] == 1


def test_words_of_second_tracks_are_stray(story):
    start = [('A', 0.9, {}), ('a', 0.9, {})]
    asks = [('A', 0.9, {0: 0.3, 1: 0.8}), ('a', 0.9, {1: 0.9})]
    # In the frame between, neither box is the match that CLEAR prefers to keep.
    evidence = story().tell([start, [], asks])
    switches = causes_of(evidence)
    assert switches == [(3, 0, 0, 2, 'asked_stray')]
    takes = [('A', 0.9, {0: 0.3, 1: 0.8})]
    became = measure_competition(story().tell([start, takes])).became
    assert (
        became['took_stray'].count == 1 == became['took_stray'].then['other_identity']
    )


def test_a_birth_away_from_the_object_decides(story):
    """The new identity starts beside the object and is matched a frame later."""
    frames = [START, [('x', 0.9, {0: 0.3, -1: 0.6})], [('A', 0.9, {2: 0.9})]]
    evidence = story().tell(frames)
    (switch,) = explain_switches(evidence).switches
    assert (switch.frame, switch.decided, switch.cause) == (3, 2, 'asked_newborn')
    assert switch.margin == pytest.approx(0.3)
    assert explain_births(evidence).causes['background'] == 1


@pytest.mark.parametrize(('gap', 'cause'), [(4, 'asked_newborn'), (5, 'forgotten')])
def test_who_is_away_too_long_is_forgotten(story, gap, cause):
    frames = [START, *[[B]] * (gap - 1), [('A', 0.9, {-1: 0.9}), B]]
    evidence = story().tell(frames)  # miss_tolerance is 5
    assert causes_of(evidence) == [(1 + gap, 0, 0, 2, cause)]
    assert explain_births(evidence).why == {'known_object': {cause: 1}}


def test_words_are_lent_to_others(story):
    frames = [START, [('C', 0.9, {-1: 1.0}), B], [('A', 0.9, {-1: 1.0}), B]]
    evidence = story(words=2).tell(frames)
    assert causes_of(evidence) == [(3, 0, 0, 3, 'word_reused')]


def test_tracks_without_a_word(story):
    """B has none; nor is it found again by its embedding, which differs."""
    frames = [
        [('A', 0.9, {}), ('B', 0.8, {0: 1.0})],
        [('A', 0.9, {0: 0.9}), ('b', 0.9, {-1: 0.1})],
    ]
    evidence = story(words=1, overflow='keep').tell(frames)
    assert causes_of(evidence) == [(2, 1, 1, 2, 'wordless')]
    frames[1][1] = ('B', 0.9, {-1: 0.1, 0: 0.05})
    assert causes_of(story(words=1, overflow='keep').tell(frames)) == []


def test_a_word_that_nobody_gets(story):
    """The sum is larger with the word for B, whose score for it is too low."""
    frames = [
        START[:1],
        [('A', 0.9, {0: 0.5, -1: 0.45}), ('B', 0.9, {0: 0.22, -1: 0.1})],
    ]
    evidence = story(protocol='hungarian').tell(frames)
    assert causes_of(evidence) == [(2, 0, 0, 1, 'refused')]
    assert measure_competition(evidence).contests['nobody'].count == 1


@pytest.mark.parametrize(
    ('second', 'options', 'expected'),
    [
        ([], {}, 'no_box'),
        ([('x', 0.9, {})], {}, 'no_box'),
        ([('A', 0.3, {0: 0.9})], {}, 'low_score'),
        ([('A', 0.9, {0: 0.9})], dict(area_thr=600), 'small'),
        ([('C', 0.5, {-1: 0.9})], {}, 'weak_newborn'),
        ([('A', 0.5, {-1: 0.9})], {}, 'lost_word'),
        ([('C', 0.9, {-1: 1.0}), ('A', 0.9, {0: 1})], dict(words=1), 'no_free_word'),
    ],
)
def test_misses_have_a_cause(story, second, options, expected):
    name = second[0][0] if second else 'A'
    name = 'A' if name == 'x' else name
    others = {(1, 'C'), *((2, n) for n in 'ABC' if n != name and n not in str(second))}
    start = START[:1] if options.get('words') == 1 else START
    away = {*others, *(() if len(start) == 2 else {(1, 'B')})}
    evidence = story(**options).tell([start, second], away=away)
    misses = explain_misses(evidence)
    extra = 2 if expected == 'small' else 0  # both are too small in frame 1
    assert misses.total == 1 + extra
    assert misses.causes[expected] == 1 + extra
    if expected == 'lost_word':
        assert misses.why == {'lost_word': {'asked_newborn': 1}}


def test_without_any_detection_all_is_missed_by_the_detector(story):
    evidence = story().tell([[], []])
    misses = explain_misses(evidence)
    assert misses.causes['no_box'] == misses.total == 6
    assert explain_births(evidence).total == 0 and not causes_of(evidence)
    assert measure_competition(evidence).due == 0


def test_misses_of_merged_boxes_and_other_classes(story):
    evidence = story().tell([[('A', 0.9, {})]], 'AD')
    assert explain_misses(evidence).causes['shared_box'] == 1
    BOXES['y'] = BOXES['x']
    try:
        evidence = story(classes=2).tell([[('x', 0.9, {})]], 'y')
    finally:
        del BOXES['y']
    assert explain_misses(evidence).causes['wrong_class'] == 1


def test_causes_sum_up(script):
    loop, data, found, _ = script
    evidence = record_evidence(loop, data, found)
    tracks = [one.run.tracks for one in evidence]
    scores = summarise(data.score(tracks).over_classes())
    switches = explain_switches(evidence)
    assert sum(switches.causes.values()) == scores['IDSW'] == len(switches.switches)
    assert set(switches.causes) <= set(SWITCHES) and len(switches.causes) > 4
    settings: Settings = replace(data.settings, events=True)
    logged = Counter()
    for of_class in evaluate(data.pair(tracks), settings).events.values():
        for name, log in of_class.items():
            log = log.select('SWITCH')
            rows = zip(log.frame, log.gt_id, log.pred_id, strict=True)
            logged.update((name, *map(int, row)) for row in rows)
    assert logged == Counter(
        (s.sequence, s.frame, s.object, s.after) for s in switches.switches
    )
    births = explain_births(evidence)
    assert births.total == sum(len(np.unique(of.identity)) for of in tracks)
    known = births.causes['known_object']
    assert sum(births.why['known_object'].values()) == known
    misses = explain_misses(evidence)
    assert misses.total == scores['CLR_FN'] and set(misses.causes) == set(MISSES)
    assert not misses.causes['unknown'] and not misses.causes['not_scored']
    assert sum(misses.why['lost_word'].values()) == misses.causes['lost_word'] > 0
    competition = measure_competition(evidence)
    assert set(competition.became) == set(FATES)
    for key, tally in competition.became.items():
        assert sum(tally.then.values()) == (0 if key == 'kept' else tally.count)
        if loop.model.tracker.protocol == 'object-max':
            assert (tally.margins >= 0).all()
    left_out = sum(of.then.get('left_out', 0) for of in competition.became.values())
    # A detection without an identity is a miss of its object, if it has one.
    assert left_out >= misses.causes['lost_word']


@pytest.mark.parametrize('classes', [1, 2])
def test_parts_that_need_no_words(scripted, classes):
    loop, data, found = scripted(1, classes)
    with_words = record_evidence(loop, data, found)
    runs = [replace(one.run, words=None) for one in with_words]
    evidence = find_evidence(runs, data)
    assert measure_competition(evidence) is None
    switches = explain_switches(evidence)
    assert len(switches.switches) == len(explain_switches(with_words).switches)
    assert set(switches.causes) <= {
        *('second_track', 'new_identity', 'came_back', 'took_other')
    }
    assert explain_births(evidence).causes == explain_births(with_words).causes
    misses = explain_misses(evidence).causes
    expected = explain_misses(with_words).causes
    for key in ('no_box', 'shared_box', 'wrong_class'):
        assert misses[key] == expected[key]
    assert sum(misses.values()) == sum(expected.values())
    blind = find_evidence([replace(run, detections=None) for run in runs], data)
    assert explain_misses(blind).causes['unknown'] == sum(misses.values())


def test_boxes_that_the_rules_leave_out(story):
    """B is a distractor of MOT17, which is neither missed nor found."""
    evidence = story(benchmark='mot17').tell([START, [B]], 'AB', labels=[1, 8])
    assert len(evidence[0].truth) == 2 and not evidence[0].by_class
    births = explain_births(evidence).causes
    assert (births['new_object'], births['not_scored']) == (1, 1)
    misses = explain_misses(evidence)
    assert misses.total == misses.causes['no_box'] == 1


def test_an_identity_that_is_a_pair_with_its_class(scripted):
    """Results count identities within each class; all are scored as one class."""
    loop, data, found = scripted(0, 2)
    data = replace(data, class_aware=False)
    run, other = (one.run for one in record_evidence(loop, data, found))
    truth = data.truths[0]
    here = truth.select(np.isin(truth.identity, (1, 2)))
    pairs = [f for f in np.unique(here.frame) if (here.frame == f).sum() == 2]
    here = here.select(np.isin(here.frame, pairs[:2]))
    # Both objects have identity 0, and change their class in the second frame.
    label = here.label ^ (here.frame == pairs[1])
    tracks = replace(here, identity=np.zeros(len(here), dtype=int), label=label)
    run = replace(run, tracks=tracks, words=None, track_row=np.full(len(tracks), -1))
    evidence = find_evidence([run, other], data)
    assert explain_switches(evidence[:1]).causes == {'class_changed': 2}
