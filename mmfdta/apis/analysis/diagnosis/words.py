# Copyright (c) mmfdta authors.
"""Competition for ID words: who is due a word, who gets it, and by how much.

The word of an object, before a frame, is the word of the identity that CLEAR matched
the object with last, if that trajectory is still live. A detection of the object is due
this word. What becomes of it is one of :data:`FATES`.
"""

from collections import Counter
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .recording import SequenceEvidence, WordRecord


@dataclass(frozen=True)
class Meaning:
    """What a key of the diagnosis means to a reader.

    Attributes:
        title: A few words.
        text: A sentence that says exactly what is counted.
        advice: What can be done about it; empty if nothing is wrong.
    """

    title: str
    text: str
    advice: str = ''


_SEPARATE = (
    'look at the separability by stage: if the embeddings do not tell objects apart, '
    'train longer, raise the weight of the contrastive loss, or detach the embeddings '
    'from the detector; if they do, train association longer'
)
_DUPLICATES = (
    'raise det_thr or newborn_thr, or train the detector longer: it finds objects twice'
)
FATES = {
    'kept': Meaning('word kept', 'the detection was given the word of its object'),
    'asked_newborn': Meaning(
        'taken for newborn',
        "the best ID score was that of newborn although the object's word was live",
        'train association longer, with more occlusions and switches in the ID '
        'targets: the ID decoder does not recognise the object',
    ),
    'unsure': Meaning(
        'score below id_thr',
        "the best ID score was that of the object's word, but below id_thr",
        'lower id_thr, or train longer if most ID scores are low',
    ),
    'lost_to_object': Meaning(
        'word lost to another object',
        "the best ID score was that of the object's word, and a detection of another "
        'object was given it',
        _SEPARATE,
    ),
    'lost_to_duplicate': Meaning(
        'word lost to a duplicate',
        "the best ID score was that of the object's word, and a second detection that "
        'overlaps the object (IoU 0.5) and no other one was given it',
        _DUPLICATES,
    ),
    'lost_to_nothing': Meaning(
        'word lost to a false positive',
        "the best ID score was that of the object's word, and a detection that is no "
        'object was given it',
        'raise det_thr, or train the detector longer',
    ),
    'refused': Meaning(
        'word given to nobody',
        "the best ID score was that of the object's word, not below id_thr, and the "
        'protocol gave the word to no detection (hungarian and id-max only)',
        "try tracker.protocol='object-max'",
    ),
    'asked_other': Meaning(
        "asked for another object's word in vain",
        'the best ID score was that of a live word that stands for another object, and '
        'the detection was not given it',
        _SEPARATE,
    ),
    'asked_stray': Meaning(
        'asked for a stray word in vain',
        'the best ID score was that of a word that stands for no other object (of a '
        'second track of the object, of a false positive, or of no live trajectory), '
        'and the detection was not given it',
        _DUPLICATES,
    ),
    'took_other': Meaning(
        "took another object's word",
        'the detection was given a live word that stands for another object',
        _SEPARATE,
    ),
    'took_stray': Meaning(
        'took a stray word',
        'the detection was given a live word that stands for no object: that of a '
        'second track of the object, or of a false positive',
        _DUPLICATES,
    ),
    'came_back': Meaning(
        'back to an earlier identity',
        'the detection was given the live word of another identity that had been '
        'matched with the object before: the second half of an earlier mistake',
        'look at the causes of the other switches: this one repairs one of them',
    ),
}
"""What becomes of a detection that is due a word; each has exactly one.

The best ID score is the largest one of the detection as the protocol sees it, the first
of equal ones.
"""
THEN = ('new_identity', 'other_identity', 'left_out')
"""What a detection without its word becomes: a newborn; a part of another trajectory
(or a track without a word); or nothing, as its score is not above newborn_thr or no
word is free."""
CONTESTS = {
    'another_object': Meaning(
        'another object', 'a detection of another object, tracked before, was given it'
    ),
    'new_object': Meaning(
        'a new object', 'a detection of an object never tracked before was given it'
    ),
    'same_object': Meaning(
        'the same object',
        'one of the two detections has no separate object, and both overlap the same '
        'one (IoU 0.5): one is a duplicate of the other',
    ),
    'nothing': Meaning(
        'a false positive', 'a detection that is no object was given it'
    ),
    'nobody': Meaning('nobody', 'the protocol gave it to no detection'),
}
"""Who was given the live word that another detection wanted with a score not below
id_thr."""


class LastBefore:
    """What somebody had last before a frame.

    Args:
        who: int64 (P,), any whole numbers.
        frame: int64 (P,), with nobody twice in a frame.
        value: int64 (P,), not negative.
    """

    def __init__(self, who: np.ndarray, frame: np.ndarray, value: np.ndarray) -> None:
        order = np.lexsort((frame, who))
        self._known, number = np.unique(who, return_inverse=True)
        self._width = int(frame.max(initial=0)) + 2
        self._number, self._value = number[order], value[order]
        self._key = self._number * self._width + frame[order]

    def __call__(self, who: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Return the values int64 (n,) before frames (n,), -1 where there is none."""
        found = np.full(len(who), -1)
        number = np.searchsorted(self._known, who)
        there = np.flatnonzero(np.isin(who, self._known))
        number = number[there]
        wanted = number * self._width + np.minimum(frame[there], self._width - 1)
        place = np.searchsorted(self._key, wanted) - 1
        same = (place >= 0) & (self._number[place] == number)
        found[there[same]] = self._value[place[same]]
        return found


class Scene:
    """Looks things up in the evidence of a sequence.

    Frames count from 1. A detection that took part is named by its place n of the N in
    :class:`WordRecord`.

    Args:
        evidence: Of the sequence.

    Attributes:
        evidence: The same.
        last_identity: Identity that an object was matched with last before a frame.
        last_object: Object that an identity was matched with last before a frame.
    """

    def __init__(self, evidence: SequenceEvidence) -> None:
        self.evidence = evidence
        tracks = evidence.run.tracks
        objects = evidence.objects[evidence.match_truth]
        frame = tracks.frame[evidence.match_track]
        identity = tracks.identity[evidence.match_track]
        self.last_identity = LastBefore(objects, frame, identity)
        self.last_object = LastBefore(identity, frame, objects)
        self._rows = np.lexsort((evidence.truth.frame, evidence.objects))

    @property
    def words(self) -> WordRecord:
        """What was done with words.

        Raises:
            ValueError: If the tracker has none.
        """
        words = self.evidence.run.words
        if words is None:
            raise ValueError(f'{self.evidence.run.name}: the tracker has no words')
        return words

    @cached_property
    def frame(self) -> np.ndarray:
        """int64 (N,), frames of the detections that took part."""
        assert self.evidence.run.detections is not None
        return self.evidence.run.detections.frame[self.words.row]

    @cached_property
    def score(self) -> np.ndarray:
        """float32 (N,), their scores."""
        assert self.evidence.run.detections is not None
        score = self.evidence.run.detections.score[self.words.row]
        return score.astype(np.float32)

    @cached_property
    def is_good(self) -> np.ndarray:
        """Whether their scores could start a trajectory, bool (N,)."""
        return self.score > self.words.settings['newborn_thr']

    @cached_property
    def object(self) -> np.ndarray:
        """int64 (N,), their objects, -1 for none."""
        row = self.evidence.object_row[self.words.row]
        found = np.full(len(row), -1)
        found[row >= 0] = self.evidence.objects[row[row >= 0]]
        return found

    @cached_property
    def asked(self) -> np.ndarray:
        """int64 (N,), words with the best score, K for newborn, -1: nothing asked."""
        scores = self.words.scores
        is_scored = ~np.isnan(scores[:, -1])
        return np.where(is_scored, np.nan_to_num(scores, nan=-9).argmax(1), -1)

    @cached_property
    def holder(self) -> np.ndarray:
        """int64 (L, K), detection that the protocol gave the word, -1: none."""
        words = self.words
        holder = np.full(words.live.shape, -1)
        given = np.flatnonzero(words.given < words.none)
        holder[self.frame[given] - 1, words.given[given]] = given
        return holder

    @cached_property
    def _owner(self) -> np.ndarray:
        return np.where(self.words.live, self.words.owner, -1)

    def word_of(self, identity: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Return the live words (n,) of identities before frames (n,), -1: none."""
        is_its = self._owner[frame - 1] == identity[:, None]
        is_its &= identity[:, None] >= 0
        return np.where(is_its.any(1), is_its.argmax(1), -1)

    def object_of_word(self, word: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Return the objects (n,) that live words stand for before frames, -1: none."""
        owner = self._owner[frame - 1, word]
        return np.where(owner >= 0, self.last_object(owner, frame), -1)

    def row_of(self, objects: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Return rows (n,) of the ground truth of objects in frames, -1: not there."""
        truth, rows = self.evidence.truth, self._rows
        if not len(rows):
            return np.full(len(objects), -1)
        width = max(int(truth.frame.max()), int(frame.max(initial=0))) + 1
        key = self.evidence.objects[rows] * width + truth.frame[rows]
        wanted = objects * width + frame
        place = np.searchsorted(key, wanted).clip(max=len(key) - 1)
        return np.where((objects >= 0) & (key[place] == wanted), rows[place], -1)

    @cached_property
    def _near(self) -> np.ndarray:
        detection, row = self.evidence.near.T
        return np.sort(detection * (len(self.evidence.truth) + 1) + row)

    def is_near(self, detection: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Whether detections (n,) of the M overlap rows of the ground truth."""
        known = self._near
        if not len(known):
            return np.zeros(len(row), dtype=bool)
        wanted = detection * (len(self.evidence.truth) + 1) + row
        place = np.searchsorted(known, wanted).clip(max=len(known) - 1)
        return (row >= 0) & (known[place] == wanted)

    @cached_property
    def due(self) -> np.ndarray:
        """int64 (N,), words that the detections are due, -1: none."""
        identity = self.last_identity(self.object, self.frame)
        return self.word_of(identity, self.frame)

    @cached_property
    def kept(self) -> np.ndarray:
        """int64 (R,), the detection that took part that each row of the tracks is."""
        return np.flatnonzero(self.words.identity >= 0)

    def place_of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the detections that stand for rows (n,) of the ground truth.

        Args:
            rows: int64 (n,).

        Returns:
            int64 (n,), -1 where none that took part does.
        """
        place = np.full(len(self.evidence.truth), -1)
        row = self.evidence.object_row[self.words.row]
        has = np.flatnonzero(row >= 0)
        place[row[has]] = has
        return place[rows]

    def judge(
        self, place: np.ndarray, word: np.ndarray, objects: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Say what became of detections that were due a word.

        Args:
            place: int64 (n,), the detections.
            word: int64 (n,), the live words that they were due.
            objects: int64 (n,), the objects that the words stand for.

        Returns:
            Keys of :data:`FATES` (n,), and float64 (n,) by how much: what the ID
            score of the word lacks to the winner's for it, to the threshold, or to the
            best (or given) word's of the detection; NaN where nothing is lacking.
        """
        words, frame = self.words, self.frame[place]
        scores = words.scores[place].astype(np.float64)
        given, asked = words.given[place], self.asked[place]
        order = np.arange(len(place))
        own = scores[order, word]
        holder = self.holder[frame - 1, word]
        is_held = holder >= 0
        held_by = np.where(is_held, self.object[holder], -1)
        twin = self.is_near(words.row[holder], self.row_of(objects, frame))
        is_unsure = own < words.settings['id_thr']
        has_other = given < words.none
        rival = np.where(has_other, given, asked)
        # Newborn stands for nobody; it is told apart before.
        stands_for = self.object_of_word(rival % words.none, frame)
        is_stray = (stands_for < 0) | (stands_for == objects)
        wants = asked == word
        cases = {
            'kept': given == word,
            'came_back': has_other & (stands_for == objects),
            'took_stray': has_other & is_stray,
            'took_other': has_other,
            'asked_newborn': asked == words.none,
            'asked_stray': ~wants & is_stray,
            'asked_other': ~wants,
            'unsure': is_unsure,
            'refused': ~is_held,
            'lost_to_object': (held_by >= 0) & (held_by != objects),
            'lost_to_duplicate': twin,
        }
        fate = np.select(list(cases.values()), list(cases), 'lost_to_nothing')
        winner = words.scores[holder, word].astype(np.float64)
        lack = np.select(
            [
                np.isin(fate, ('kept', 'refused')),
                fate == 'unsure',
                np.char.startswith(fate, 'lost'),
            ],
            [np.nan, words.settings['id_thr'] - own, winner - own],
            scores[order, rival] - own,
        )
        return fate, lack

    def what_then(self, place: np.ndarray) -> np.ndarray:
        """Say what detections (n,) without their word became, see :data:`THEN`."""
        words = self.words
        identity, frame = words.identity[place], self.frame[place]
        born = self.first_frame(identity) == frame
        return np.select([identity < 0, born], ['left_out', 'new_identity'], THEN[1])

    def first_frame(self, identity: np.ndarray) -> np.ndarray:
        """Return the frames (n,) in which identities first occur, -1 for none."""
        known, frame = self._first_frames
        if not len(known):
            return np.full(len(identity), -1)
        place = np.searchsorted(known, identity).clip(max=len(known) - 1)
        return np.where(known[place] == identity, frame[place], -1)

    @cached_property
    def _first_frames(self) -> tuple[np.ndarray, np.ndarray]:
        tracks = self.evidence.run.tracks
        known, first = np.unique(tracks.identity, return_index=True)
        return known, tracks.frame[first]


@dataclass(frozen=True)
class Tally:
    """Detections of one kind.

    Attributes:
        count: How many.
        good: Those with a score above newborn_thr.
        then: What they became, by :data:`THEN`; empty of those that kept their word.
        wrong: Those whose object the word stood for.
        margins: float64, ascending, what each of them lacked in ID score.
    """

    count: int
    good: int
    then: dict[str, int]
    wrong: int
    margins: np.ndarray

    def summary(self) -> dict:
        """Return what is kept as JSON."""
        known = len(self.margins) > 0
        median, high = np.quantile(self.margins, (0.5, 0.9)) if known else (None, None)
        return dict(
            count=self.count,
            good=self.good,
            then=self.then,
            margin=dict(
                median=median if median is None else float(median),
                p90=high if high is None else float(high),
            ),
        )


@dataclass(frozen=True)
class Competition:
    """How detections and words came together.

    Attributes:
        asked: Detections that took part in a frame with live trajectories.
        due: Those of them that were due a word.
        due_good: Those of these with a score above newborn_thr.
        became: Detections that were due a word, by :data:`FATES`; they sum up to
            `due`.
        wanted: Detections, due a word or not, whose best ID score was that of a live
            word and not below id_thr.
        contests: Those of them that were not given this word, by :data:`CONTESTS`.
    """

    asked: int
    due: int
    due_good: int
    became: dict[str, Tally]
    wanted: int
    contests: dict[str, Tally]

    @property
    def lost_good(self) -> float:
        """Share of the detections with a good score, due a word, that lost it."""
        return 1 - self.became['kept'].good / max(1, self.due_good)

    def summary(self) -> dict:
        """Return what is kept as JSON."""
        return dict(
            asked=self.asked,
            due=self.due,
            due_good=self.due_good,
            lost_good=self.lost_good,
            became={key: of.summary() for key, of in self.became.items()},
            wanted=self.wanted,
            contests={
                key: of.summary() | dict(wrong=of.wrong)
                for key, of in self.contests.items()
            },
        )


@dataclass
class _Column:
    """Detections of all sequences, with what is tallied of each."""

    key: list[np.ndarray]
    good: list[np.ndarray]
    then: list[np.ndarray]
    wrong: list[np.ndarray]
    margin: list[np.ndarray]

    def tally(self, keys: SequenceOf[str]) -> dict[str, Tally]:
        key, good, then, wrong, margin = (
            np.concatenate(parts) if parts else np.zeros(0)
            for parts in (self.key, self.good, self.then, self.wrong, self.margin)
        )
        found = {}
        for name in keys:
            here = key == name
            counted = Counter(then[here].tolist())
            margins = margin[here]
            found[name] = Tally(
                int(here.sum()),
                int(good[here].sum()),
                {fate: counted[fate] for fate in THEN} if name != 'kept' else {},
                int(wrong[here].sum()),
                np.sort(margins[~np.isnan(margins)]),
            )
        return found


def measure_competition(evidence: SequenceOf[SequenceEvidence]) -> Competition | None:
    """Count what became of the detections that were due a word, and of contests.

    Args:
        evidence: Of all sequences.

    Returns:
        None of a tracker without words.
    """
    if not evidence or any(one.run.words is None for one in evidence):
        return None
    fates, contests = (_Column([], [], [], [], []) for _ in range(2))
    asked = wanted = 0
    for one in evidence:
        scene = Scene(one)
        asked += int((scene.asked >= 0).sum())
        place = np.flatnonzero((scene.asked >= 0) & (scene.due >= 0))
        fate, lack = scene.judge(place, scene.due[place], scene.object[place])
        fates.key.append(fate)
        fates.margin.append(lack)
        fates.good.append(scene.is_good[place])
        fates.then.append(scene.what_then(place))
        fates.wrong.append(fate != 'kept')
        wanted += _find_contests(scene, contests)
    due = fates.tally(list(FATES))
    return Competition(
        asked=asked,
        due=sum(of.count for of in due.values()),
        due_good=sum(of.good for of in due.values()),
        became=due,
        wanted=wanted,
        contests=contests.tally(list(CONTESTS)),
    )


def _find_contests(scene: Scene, column: _Column) -> int:
    """Add the losers of a sequence's contests; return who wanted a live word."""
    words, asked, frame = scene.words, scene.asked, scene.frame
    place = np.flatnonzero((asked >= 0) & (asked < words.none))
    sureness = words.scores[place, asked[place]].astype(np.float64)
    wants = words.live[frame[place] - 1, asked[place]]
    wants &= sureness >= words.settings['id_thr']
    place, sureness = place[wants], sureness[wants]
    num_wanted = len(place)
    lost = words.given[place] != asked[place]
    place, sureness = place[lost], sureness[lost]
    word, when = asked[place], frame[place]
    holder = scene.holder[when - 1, word]
    mine, theirs = scene.object[place], scene.object[holder]
    row = scene.evidence.object_row[words.row]
    # A pair without any object: both may overlap an object that a third one has.
    near: dict[int, set[int]] = {}
    for detection, truth in scene.evidence.near.tolist():
        near.setdefault(detection, set()).add(truth)
    same = [
        bool(
            (mine[i] < 0 or theirs[i] < 0)
            and _objects_of(place[i], row, words, near)
            & _objects_of(holder[i], row, words, near)
        )
        for i in range(len(place))
    ]
    is_known = scene.last_identity(theirs, when) >= 0
    column.key.append(
        np.select(
            [holder < 0, np.array(same, dtype=bool), theirs < 0, is_known],
            ['nobody', 'same_object', 'nothing', 'another_object'],
            'new_object',
        )
    )
    column.good.append(scene.is_good[place])
    column.then.append(scene.what_then(place))
    column.wrong.append((mine >= 0) & (scene.object_of_word(word, when) == mine))
    lack = words.scores[holder, word].astype(np.float64) - sureness
    column.margin.append(np.where(holder < 0, np.nan, lack))
    return num_wanted


def _objects_of(
    place: int, row: np.ndarray, words: WordRecord, near: dict[int, set[int]]
) -> set[int]:
    """Rows of the ground truth that a detection is, or may be: its own, or all near."""
    if row[place] >= 0:
        return {int(row[place])}
    return near.get(int(words.row[place]), set())
