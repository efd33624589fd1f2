# Copyright (c) mmfdta authors.
"""One cause for each identity switch, each birth, and each miss."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from mmfdta.evaluation.matching import find_overlaps
from mmfdta.structures.tracks import Sequence

from .recording import IOU_THR, SequenceEvidence
from .words import FATES, Meaning, Scene

SWITCHES = {
    'second_track': Meaning(
        'a second track of the object takes over',
        'the new identity is as old as the last match or older, and was never matched '
        'with any object before',
        FATES['lost_to_duplicate'].advice,
    ),
    'forgotten': Meaning(
        'not seen for too long',
        "the old identity's trajectory had ended: no detection continued it in the "
        'last miss_tolerance - 1 frames',
        'raise model.window (and train with it), and look at the misses: an object '
        'that is missed for long is forgotten',
    ),
    'word_reused': Meaning(
        'word given to another object',
        "the old identity's word was given to a newborn while its trajectory was still "
        "remembered (overflow='drop')",
        'raise model.num_id_vocabulary, or newborn_thr if many newborns are false',
    ),
    'wordless': Meaning(
        'tracked without a word',
        "one of the two identities had no ID word (overflow='keep')",
        'raise model.num_id_vocabulary',
    ),
    **{key: FATES[key] for key in FATES if key != 'kept'},
    'new_identity': Meaning(
        'a new identity',
        'the new identity was never matched with an object before and started after '
        'the last match (trackers without words)',
        'look at the thresholds of the tracker, and at the misses before the switch',
    ),
    'class_changed': Meaning(
        'the class changed',
        'the identity has the same number but another class; in these results the '
        'class is part of the identity',
        'make the tracker keep its class',
    ),
}
"""Why an object has another identity than at its last match; each switch has exactly
one cause, the first of these that holds. The causes of words are those of
:data:`FATES`, asked of the detection that decided: the first one of the new identity
if no object was matched with it before, and else the one that is matched now."""

BIRTHS = {
    'new_object': Meaning(
        'an object never tracked before', 'the box is the first match of an object'
    ),
    'known_object': Meaning(
        'an object that had an identity',
        'the box is matched with an object that was matched with another identity '
        'before: a false newborn',
        'see why its word was not given to it',
    ),
    'duplicate': Meaning(
        'a second box of an object',
        'the box has no match and overlaps an object (IoU 0.5) that another track is '
        'matched with: a false newborn',
        'raise newborn_thr, or train the detector longer',
    ),
    'background': Meaning(
        'no object',
        'the box has no match and overlaps no object (IoU 0.5): a false newborn',
        'raise newborn_thr',
    ),
    'not_scored': Meaning(
        'outside the rules', 'the rules of the benchmark leave the box out'
    ),
}
"""What the first box of each identity is; each identity has exactly one."""

MISSES = {
    'no_box': Meaning(
        'no detection',
        'no detection overlaps the object (IoU 0.5)',
        'train the detector longer, or raise the resolution',
    ),
    'shared_box': Meaning(
        'one detection for two objects',
        'every detection that overlaps the object is the match of another one',
        'raise the resolution or the number of queries: the detector merges objects '
        'that overlap',
    ),
    'wrong_class': Meaning(
        'wrong class',
        'the detections that overlap the object are of another class',
        'train the classes of the detector longer',
    ),
    'low_score': Meaning(
        'score not above det_thr',
        'the detection of the object took no part: its score is not above det_thr',
        'lower det_thr',
    ),
    'small': Meaning(
        'area not above area_thr',
        'the detection of the object took no part: its area is not above area_thr',
        'lower area_thr',
    ),
    'weak_newborn': Meaning(
        'newborn not above newborn_thr',
        'the detection took part; the object has no live word, and the score is not '
        'above newborn_thr',
        'lower newborn_thr',
    ),
    'lost_word': Meaning(
        'not recognised, and no newborn',
        "the detection took part and was not given the object's word, which was live; "
        'its score is not above newborn_thr',
        'see why the word was not given to it',
    ),
    'no_free_word': Meaning(
        'no word free',
        'the detection was to be a newborn, and all words were in use',
        "raise model.num_id_vocabulary, or set tracker.overflow='keep'",
    ),
    'not_tracked': Meaning(
        'detected and not tracked',
        'the object was detected, but the tracker returned no track for it (trackers '
        'without words)',
        'look at the thresholds of the tracker',
    ),
    'not_scored': Meaning(
        'outside the rules',
        'the rules of the benchmark leave the track of the object out',
    ),
    'unknown': Meaning('not known', 'the model does not report its detections'),
}
"""Why a row of the ground truth has no match; each has exactly one cause."""
BY_DETECTOR = ('no_box', 'shared_box', 'wrong_class', 'low_score', 'small')
"""The misses that association can do nothing about."""


@dataclass(frozen=True)
class Switch:
    """A switch of CLEAR, and its cause.

    Attributes:
        sequence: Name of the sequence.
        frame: Frame, from 1.
        object: Identity in the ground truth.
        label: Its class.
        before: Identity of the last match.
        after: Identity now.
        gap: Frames since the last match.
        cause: Key of :data:`SWITCHES`.
        margin: See :meth:`Scene.judge`; None where it has none.
        decided: Frame in which the new identity was given to the object.
    """

    sequence: str
    frame: int
    object: int
    label: int
    before: int
    after: int
    gap: int
    cause: str
    margin: float | None
    decided: int


@dataclass(frozen=True)
class Counted:
    """Things counted by cause.

    Attributes:
        causes: Number by cause; they sum up to the number of things.
        why: Why an object did not continue with its word, by cause and key of
            :data:`FATES` or :data:`SWITCHES`; only of causes that ask for it.
    """

    causes: dict[str, int]
    why: dict[str, dict[str, int]]

    @property
    def total(self) -> int:
        """Number of things."""
        return sum(self.causes.values())

    def summary(self) -> dict:
        """Return what is kept as JSON."""
        return dict(total=self.total, causes=self.causes, why=self.why)


@dataclass(frozen=True)
class Switches:
    """All identity switches.

    Attributes:
        switches: In the order of sequences, and in each of time.
    """

    switches: list[Switch]

    @property
    def causes(self) -> dict[str, int]:
        """Number of switches by cause, the most frequent first; the sum is IDSW."""
        counted = Counter(switch.cause for switch in self.switches)
        return dict(counted.most_common())

    def summary(self) -> dict:
        """Return what is kept as JSON."""
        return dict(
            total=len(self.switches),
            causes=self.causes,
            switches=[asdict(switch) for switch in self.switches],
        )


def explain_switches(evidence: Iterable[SequenceEvidence]) -> Switches:
    """Find the cause of every switch.

    Args:
        evidence: Of all sequences.
    """
    found = []
    for one in evidence:
        scene = Scene(one)
        frames = one.run.tracks.frame[one.match_track]
        switches = np.flatnonzero(one.is_switch)
        for match in switches[np.argsort(frames[switches], kind='stable')].tolist():
            found.append(_explain_switch(scene, match))
    return Switches(found)


def _explain_switch(scene: Scene, match: int) -> Switch:
    """Find the cause of one switch, a row of the matches."""
    evidence, tracks = scene.evidence, scene.evidence.run.tracks
    row, last = evidence.match_track[match], evidence.match_last[match]
    truth_row = evidence.match_truth[match]
    frame, last_frame = (
        int(tracks.frame[evidence.match_track[i]]) for i in (match, last)
    )
    before, after = (
        int(tracks.identity[evidence.match_track[i]]) for i in (last, match)
    )
    number = int(evidence.objects[truth_row])
    deciding, decided = int(row), frame
    last_object = int(scene.last_object(np.array([after]), np.array([frame]))[0])
    is_fresh = last_object < 0
    if is_fresh:
        deciding = int(np.flatnonzero(tracks.identity == after)[0])
        decided = int(tracks.frame[deciding])
    margin = None
    if before == after:
        cause = 'class_changed'
    elif is_fresh and decided <= last_frame:
        cause = 'second_track'
    elif evidence.run.words is not None:
        cause, margin = _ask_words(scene, deciding, decided, before, number)
    elif is_fresh:
        cause = 'new_identity'
    else:
        cause = 'came_back' if last_object == number else 'took_other'
    return Switch(
        sequence=evidence.run.name,
        frame=frame,
        object=int(evidence.truth.identity[truth_row]),
        label=int(evidence.truth.label[truth_row]),
        before=before,
        after=after,
        gap=frame - last_frame,
        cause=cause,
        margin=margin,
        decided=decided,
    )


def _ask_words(
    scene: Scene, track: int, frame: int, identity: int, number: int
) -> tuple[str, float | None]:
    """Say why a track did not continue with an identity.

    Args:
        scene: The sequence.
        track: Row of the tracks that decided.
        frame: Its frame.
        identity: The one that the object had last.
        number: The object.

    Returns:
        Key of :data:`SWITCHES`, and by how much.
    """
    words = scene.words
    place = scene.kept[[track]]
    word = scene.word_of(np.array([identity]), np.array([frame]))
    if word[0] < 0:
        return _why_gone(scene, identity, frame), None
    has_word = words.given[place[0]] < words.none
    if not has_word and scene.what_then(place)[0] != 'new_identity':
        return 'wordless', None
    fate, lack = scene.judge(place, word, np.array([number]))
    margin = None if np.isnan(lack[0]) else float(lack[0])
    return str(fate[0]), margin


def _why_gone(scene: Scene, identity: int, frame: int) -> str:
    """Say why an identity has no live word before a frame."""
    words, tracks = scene.words, scene.evidence.run.tracks
    rows = np.flatnonzero((tracks.identity == identity) & (tracks.frame < frame))
    last = rows[-1]
    if words.word[scene.kept[last]] == words.none:
        return 'wordless'
    if frame - tracks.frame[last] >= words.settings['miss_tolerance']:
        return 'forgotten'
    return 'word_reused'


# ------------------------------------------------------------------------------ births
def explain_births(evidence: Iterable[SequenceEvidence]) -> Counted:
    """Say what the first box of each identity is, see :data:`BIRTHS`.

    Args:
        evidence: Of all sequences.
    """
    causes: Counter[str] = Counter()
    why: Counter[str] = Counter()
    for one in evidence:
        scene, tracks = Scene(one), one.run.tracks
        first = np.sort(np.unique(tracks.identity, return_index=True)[1])
        matched = np.full(len(tracks), -1)
        matched[one.match_track] = one.objects[one.match_truth]
        number, frame = matched[first], tracks.frame[first]
        had = scene.last_identity(number, frame)
        pairs = find_overlaps(
            Sequence(one.run.name, one.run.num_frames, one.truth, tracks)
        )
        near = np.zeros(len(tracks), dtype=bool)
        near[pairs.pred_row[pairs.iou >= IOU_THR]] = True
        kinds = np.select(
            [~one.counted[first], had >= 0, number >= 0, near[first]],
            ['not_scored', 'known_object', 'new_object', 'duplicate'],
            'background',
        )
        causes.update(kinds.tolist())
        if one.run.words is not None:
            for i in np.flatnonzero(kinds == 'known_object').tolist():
                at = int(first[i]), int(frame[i]), int(had[i]), int(number[i])
                why[_ask_words(scene, *at)[0]] += 1
    counted = {key: causes[key] for key in BIRTHS}
    return Counted(counted, dict(known_object=dict(why.most_common())))


# ------------------------------------------------------------------------------ misses
def explain_misses(evidence: Iterable[SequenceEvidence]) -> Counted:
    """Say why rows of the ground truth have no match, see :data:`MISSES`.

    Args:
        evidence: Of all sequences.
    """
    causes: Counter[str] = Counter()
    why: Counter[str] = Counter()
    for one in evidence:
        missed = np.flatnonzero(~one.found)
        kinds = _kinds_of_misses(one, missed)
        causes.update(kinds.tolist())
        if one.run.words is None:
            continue
        scene = Scene(one)
        place = scene.place_of_rows(missed[kinds == 'lost_word'])
        fate, _ = scene.judge(place, scene.due[place], scene.object[place])
        why.update(fate.tolist())
    counted = {key: causes[key] for key in MISSES}
    return Counted(counted, dict(lost_word=dict(why.most_common())))


def _kinds_of_misses(one: SequenceEvidence, missed: np.ndarray) -> np.ndarray:
    """Keys of :data:`MISSES` (n,) of missed rows (n,)."""
    run = one.run
    if run.detections is None:
        return np.full(len(missed), 'unknown')
    # What overlaps each row: anything, something that is no other object, of its class.
    detection, row = one.near.T
    is_near, is_free, is_alike = (
        np.zeros(len(one.truth), dtype=bool) for _ in range(3)
    )
    free = one.object_row[detection] < 0
    alike = free.copy()
    if one.by_class:
        alike &= run.detections.label[detection] == one.truth.label[row]
    is_near[row], is_free[row[free]], is_alike[row[alike]] = True, True, True
    # The detection that stands for each row.
    of_row = np.full(len(one.truth), -1)
    has = np.flatnonzero(one.object_row >= 0)
    of_row[one.object_row[has]] = has
    stands = of_row[missed]
    cases = {
        'no_box': ~is_near[missed],
        'shared_box': (stands < 0) & ~is_free[missed],
        'wrong_class': (stands < 0) & ~is_alike[missed],
        # A free track of the class would be the match, except for the rules.
        'not_scored': stands < 0,
    }
    words = run.words
    if words is None:
        cases['not_tracked'] = stands >= 0
    else:
        scene = Scene(one)
        place = scene.place_of_rows(missed)
        score = np.zeros(len(missed), dtype=np.float32)
        score[stands >= 0] = run.detections.score[stands[stands >= 0]]
        due = np.where(place >= 0, scene.due[place], -1) if len(scene.due) else place
        good = score > words.settings['newborn_thr']
        cases |= {
            'low_score': (place < 0) & ~(score > words.settings['det_thr']),
            'small': place < 0,
            'no_free_word': good,
            'lost_word': due >= 0,
        }
    return np.select(list(cases.values()), list(cases), 'weak_newborn')
