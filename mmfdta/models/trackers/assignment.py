# Copyright (c) mmfdta authors.
"""FDTA's association as a state machine (paper, Sec. 3.1; from MOTIP).

Which detections take part, which identity an ID word stands for, who gets which word,
how long a trajectory that is missed stays alive, and what happens when the words do
not suffice. Only NumPy and SciPy are needed here: the ID scores come from outside, and
embeddings lie in a memory that knows where, see `embedding_memory`.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

import numpy as np
from scipy.optimize import linear_sum_assignment

from .embedding_memory import (
    Array,
    ArrayMemory,
    EmbeddingWindow,
    TrajectoryHistory,
)

# Mean of IoU and cosine similarity. Embeddings alone, however alike, do not exceed it.
_MATCH_THR = 0.5

Protocol = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
HostEmbeddings = Callable[[np.ndarray], np.ndarray]
# Scores of the words (n, K + 1), the last one newborn, from the live trajectories and
# the embeddings (n, C) of the detections that take part.
IdentityScorer = Callable[[TrajectoryHistory[Array], Array], Array]


# ------------------------------------------------------------------------ protocols
# Each takes the ID scores (M, K + 1) of M detections (the last column means newborn),
# which of the K words belong to a live trajectory (K,) bool, and the lowest score that
# gives a word. Each returns the word of every detection (M,) int64, K for newborn; no
# word is given twice.
def object_max(scores: np.ndarray, live: np.ndarray, id_thr: float) -> np.ndarray:
    """Every detection asks for its best word; of several, the surest one gets it.

    A detection whose best word is refused is newborn, whatever its second best is.
    Of equally sure detections the first gets the word.

    Args:
        scores: ID scores (M, K + 1).
        live: Words of live trajectories (K,) bool.
        id_thr: Lowest score that gives a word.

    Returns:
        Words (M,) int64, K for newborn.
    """
    num_dets, newborn = len(scores), len(live)
    best = scores.argmax(1)
    # In double precision, as the threshold is.
    sureness = scores[np.arange(num_dets), best].astype(np.float64)
    order = np.lexsort((-sureness, best))  # stable
    first = np.ones(num_dets, dtype=bool)
    first[1:] = best[order][1:] != best[order][:-1]
    wins = np.zeros(num_dets, dtype=bool)
    wins[order[first]] = True
    wins &= np.append(live, False)[best] & (sureness >= id_thr)
    return np.where(wins, best, newborn)


def hungarian(scores: np.ndarray, live: np.ndarray, id_thr: float) -> np.ndarray:
    """Words are given out so that the sum of the scores is the largest.

    Newborn is repeated, so that all detections may be. A word without a live
    trajectory or with too low a score makes newborn, even if the detection's second
    best were valid.

    Args:
        scores: ID scores (M, K + 1).
        live: Words of live trajectories (K,) bool.
        id_thr: Lowest score that gives a word.

    Returns:
        Words (M,) int64, K for newborn.
    """
    num_dets, newborn = len(scores), len(live)
    repeated = np.repeat(scores[:, -1:], max(num_dets - 1, 0), axis=1)
    cost = 1 - np.concatenate([scores, repeated], axis=1)
    rows, columns = linear_sum_assignment(cost)
    words = np.minimum(columns, newborn)
    valid = np.append(live, False)[words] & (scores[rows, words] >= id_thr)
    return np.where(valid, words, newborn)


def id_max(scores: np.ndarray, live: np.ndarray, id_thr: float) -> np.ndarray:
    """Every word (and newborn) picks its best detection, which takes its best picker.

    A detection is newborn if its best picker is newborn, has no live trajectory or
    too low a score. Of equally sure pickers the last valid one counts; of equally
    sure detections a word picks the first.

    Args:
        scores: ID scores (M, K + 1).
        live: Words of live trajectories (K,) bool.
        id_thr: Lowest score that gives a word.

    Returns:
        Words (M,) int64, K for newborn.
    """
    num_dets, newborn = len(scores), len(live)
    words = np.full(num_dets, newborn)
    if num_dets == 0:
        return words
    picked = scores.argmax(0)
    sureness = scores.max(0).astype(np.float64)
    best = np.full(num_dets, -np.inf)
    np.maximum.at(best, picked, sureness)
    valid = np.append(live, False) & (sureness >= id_thr) & (sureness >= best[picked])
    # Where a detection stands twice, NumPy keeps the last assignment.
    words[picked[valid]] = np.flatnonzero(valid)
    return words


PROTOCOLS: dict[str, Protocol] = {
    'object-max': object_max,
    'hungarian': hungarian,
    'id-max': id_max,
}


def admissible_scores(
    scores: np.ndarray, labels: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """Put the ID scores of words of other classes below any threshold.

    Args:
        scores: ID scores (M, K + 1).
        labels: int64 (M,), classes of the detections.
        classes: int64 (K,), or (M, K), classes of the words.

    Returns:
        ID scores (M, K + 1), -1 where the classes differ.
    """
    scores = scores.copy()
    scores[:, :-1][labels[:, None] != classes] = -1
    return scores


# ---------------------------------------------------------------------------- words
class IDVocabulary:
    """K words that are lent to identities, the least recently used one first.

    Identities are counted up from 0 and never used again.

    Args:
        num_words: K.
    """

    def __init__(self, num_words: int) -> None:
        self.num_words = num_words
        self.clear()

    def clear(self) -> None:
        """Take all words back and count identities from 0 again."""
        self._queue = OrderedDict.fromkeys(range(self.num_words))
        self.identities = np.full(self.num_words, -1, dtype=np.int64)
        self.classes = np.full(self.num_words, -1, dtype=np.int64)
        self.next_identity = 0

    @property
    def queue(self) -> list[int]:
        """The words, the next one to be lent first."""
        return list(self._queue)

    def new_identities(self, number: int) -> np.ndarray:
        """Count up.

        Args:
            number: How many.

        Returns:
            (number,) int64 identities that never were.
        """
        first = self.next_identity
        self.next_identity += number
        return np.arange(first, self.next_identity)

    def touch(self, words: np.ndarray) -> None:
        """Note that words are in use, the last one most recently.

        Args:
            words: (n,) int64.
        """
        for word in words.tolist():
            self._queue.move_to_end(word)

    def lend(self, identities: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Give words to identities, the least recently used one first.

        They stay at the front of the queue until they are touched.

        Args:
            identities: (n,) int64, n at most K.
            classes: (n,) int64 class of each.

        Returns:
            (n,) int64 words.
        """
        words = np.array(self.queue[: len(identities)], dtype=np.int64)
        self.identities[words] = identities
        self.classes[words] = classes
        return words


class WordlessTracks:
    """Tracks by overlap and embedding, for objects that no ID word is left for.

    Args:
        max_missed: A track ends with this many frames without a detection.
    """

    def __init__(self, max_missed: int) -> None:
        self.max_missed = max_missed
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.identities = np.zeros(0, dtype=np.int64)
        self._missed = np.zeros(0, dtype=np.int64)
        self._classes = np.zeros(0, dtype=np.int64)
        self._boxes = np.zeros((0, 4), dtype=np.float32)
        self._embeddings = np.zeros((0, 0), dtype=np.float32)

    def __len__(self) -> int:
        """Number of tracks."""
        return len(self.identities)

    def match(
        self, boxes: np.ndarray, embeddings: np.ndarray, classes: np.ndarray | None
    ) -> np.ndarray:
        """Find the tracks again.

        Args:
            boxes: (n, 4) xyxy of the detections without a word.
            embeddings: (n, C) of them.
            classes: (n,) of them if tracks keep their class, else None.

        Returns:
            (n,) int64 identity of each detection, -1 for none.
        """
        found = np.full(len(boxes), -1, dtype=np.int64)
        if not len(self) or not len(boxes):
            return found
        cosine = _unit(embeddings) @ _unit(self._embeddings).T
        similarity = (box_ious(boxes, self._boxes) + cosine) / 2
        if classes is not None:
            similarity[classes[:, None] != self._classes] = -1
        rows, columns = linear_sum_assignment(similarity, maximize=True)
        good = similarity[rows, columns] > _MATCH_THR
        found[rows[good]] = self.identities[columns[good]]
        return found

    def update(
        self,
        identities: np.ndarray,
        boxes: np.ndarray,
        embeddings: np.ndarray,
        classes: np.ndarray,
        promoted: np.ndarray,
    ) -> None:
        """End a frame.

        Args:
            identities: (n,) int64 of the detections that are tracked without a word.
            boxes: (n, 4) xyxy of them.
            embeddings: (n, C) of them.
            classes: (n,) int64 of them.
            promoted: (m,) int64 identities that were given a word.
        """
        self._missed += 1
        unseen = ~np.isin(self.identities, np.concatenate([identities, promoted]))
        unseen &= self._missed < self.max_missed
        missed = np.zeros(len(identities), dtype=np.int64)
        old = self._embeddings.reshape(-1, embeddings.shape[1])
        self._missed = np.concatenate([self._missed[unseen], missed])
        self.identities = np.concatenate([self.identities[unseen], identities])
        self._classes = np.concatenate([self._classes[unseen], classes])
        self._boxes = np.concatenate([self._boxes[unseen], boxes])
        self._embeddings = np.concatenate([old[unseen], embeddings])


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def box_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the IoU (n, m) of boxes xyxy (n, 4) and (m, 4), to MMDetection's digit."""
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (first, second)]
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    shared = (high - low).clip(0).prod(-1)
    union = areas[0][:, None] + areas[1] - shared
    return shared / np.maximum(union, np.float32(1e-6))


# -------------------------------------------------------------------- state machine
def check_finite(table: np.ndarray, what: str, frame: int) -> None:
    """Refuse detections with numbers that are none.

    Args:
        table: (n, columns), one row per detection.
        what: What the numbers are.
        frame: Number of the frame, from 0.

    Raises:
        ValueError: If a number is not finite.
    """
    bad = np.flatnonzero(~np.isfinite(table).all(1))
    if len(bad):
        raise ValueError(
            f'{what}: found NaN or infinity for {len(bad)} of {len(table)} '
            f'detections in frame {frame} of the sequence (the first is number '
            f'{bad[0]}), expected finite numbers; the weights or the image are broken'
        )


@dataclass(frozen=True)
class NamedDetections:
    """What a frame's n detections are called now."""

    identities: np.ndarray
    """(n,) int64, -1 for detections that are left out."""
    words: np.ndarray
    """(n,) int64, K for those without a word."""
    ended: np.ndarray
    """(m,) int64 words that have just been taken from a live trajectory."""


@dataclass(frozen=True)
class AssociatedFrame:
    """What the tracker decided in a frame, for those who want to know why.

    Attributes:
        rows: (n,) int64, places among the frame's detections of those that took part.
        id_scores: (n, K + 1) float32 of the network; None if it was not asked: there
            were no detections or no live trajectories.
        live: (K,) bool, words of the trajectories that were live before the frame.
        owners: (K,) int64, identities that the words stood for before the frame, also
            of words that are live no more; -1 of words that were never lent.
        classes: (K,) int64, their classes.
        words: (n,) int64 words that the protocol gave, K for none.
        named: What the detections are called after newborns were let in.
    """

    rows: np.ndarray
    id_scores: np.ndarray | None
    live: np.ndarray
    owners: np.ndarray
    classes: np.ndarray
    words: np.ndarray
    named: NamedDetections


FrameObserver = Callable[[AssociatedFrame], None]


class IdentityAssignment(Generic[Array]):
    """Identities of detections, from frame to frame, by scores of ID words.

    A detection takes the word of a live trajectory if the ID scores say so; else it
    is newborn, and kept if its score is high enough. A newborn gets a new identity
    and the least recently used word; if that word's trajectory was still remembered,
    it ends. A trajectory ends after `miss_tolerance - 1` frames without a detection.

    The object is the state of one video; no network is in it. Embeddings are NumPy
    arrays, or what a subclass with another `memory_class` takes.

    Args:
        num_id_vocabulary: K, number of ID words.
        miss_tolerance: One more than the frames that are remembered; at least 2.
        det_thr: Only detections with a higher score take part.
        newborn_thr: Only detections with a higher score start a trajectory.
        id_thr: Lowest ID score that continues a trajectory.
        area_thr: Only detections with a larger area (pixels) take part.
        protocol: 'object-max', 'hungarian' or 'id-max', see `PROTOCOLS`.
        embed_dims: C, channels of the embeddings.
        overflow: What happens with more objects than words. 'drop': newborns may take
            the words of trajectories that are not seen in the frame; if these do not
            suffice, the last newborns in the detector's order are left out, counted
            in `num_dropped` (since `reset`), and a warning is given once. 'keep':
            no trajectory loses its word while it is remembered; objects without a
            word are tracked by overlap and embedding until one is free.
        class_aware: A detection only continues a trajectory of the same class.

    Attributes:
        observer: Called at the end of each frame with what was decided in it; None
            calls nothing. It changes nothing that the tracker does.

    Raises:
        ValueError: If an argument is out of its range.
    """

    observer: FrameObserver | None = None
    memory_class: type[EmbeddingWindow] = ArrayMemory

    def __init__(
        self,
        num_id_vocabulary: int = 50,
        miss_tolerance: int = 30,
        det_thr: float = 0.3,
        newborn_thr: float = 0.6,
        id_thr: float = 0.2,
        area_thr: float = 0.0,
        protocol: str = 'object-max',
        embed_dims: int = 256,
        overflow: str = 'drop',
        class_aware: bool = False,
    ) -> None:
        for name, value, fits, expected in (
            ('num_id_vocabulary', num_id_vocabulary, num_id_vocabulary >= 1, '>= 1'),
            ('miss_tolerance', miss_tolerance, miss_tolerance >= 2, '>= 2'),
            ('id_thr', id_thr, id_thr >= 0, '>= 0'),
            ('protocol', protocol, protocol in PROTOCOLS, f'one of {list(PROTOCOLS)}'),
            ('overflow', overflow, overflow in ('drop', 'keep'), "'drop' or 'keep'"),
        ):
            if not fits:
                raise ValueError(
                    f'tracker.{name}: found {value!r}, expected {expected}'
                )
        self.num_id_vocabulary = num_id_vocabulary
        self.miss_tolerance = miss_tolerance
        self.det_thr = det_thr
        self.newborn_thr = newborn_thr
        self.id_thr = id_thr
        self.area_thr = area_thr
        self.protocol = protocol
        self.embed_dims = embed_dims
        self.overflow = overflow
        self.class_aware = class_aware
        self.vocabulary = IDVocabulary(num_id_vocabulary)
        self.wordless = WordlessTracks(self.max_history)
        self.memory: EmbeddingWindow[Array] = self.memory_class(
            self.max_history, num_id_vocabulary
        )
        self._has_warned = False
        self.reset()

    @property
    def max_history(self) -> int:
        """Most frames that are remembered."""
        return self.miss_tolerance - 1

    @property
    def live(self) -> np.ndarray:
        """(K,) bool, the words of live trajectories."""
        return ~np.asarray(self.missing.all(0))

    def reset(self) -> None:
        """Start a new sequence: no trajectories, identities from 0."""
        self.vocabulary.clear()
        self.wordless.clear()
        self.memory.clear()
        # (T, K) bool: the word was not given in that one of the last T frames.
        self.missing = np.ones((0, self.num_id_vocabulary), dtype=bool)
        self.num_frames = 0
        self.num_dropped = 0

    def history(self) -> TrajectoryHistory[Array]:
        """Return the live trajectories, as arrays of the memory's kind."""
        words = np.flatnonzero(self.live)
        masks, id_labels = self.memory.bring([self.missing[:, words], words])
        return TrajectoryHistory(self.memory.read(id_labels), masks, id_labels)

    def associate(
        self,
        bboxes: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        embeddings: Array,
        score_identities: IdentityScorer[Array],
        areas: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Give the detections of the next frame their identities.

        Args:
            bboxes: (Q, 4) float32 xyxy in pixels.
            scores: (Q,).
            labels: (Q,) int64 classes.
            embeddings: (Q, C).
            score_identities: Scores of the words (n, K + 1), the last one newborn,
                from the live trajectories and the embeddings (n, C) of the detections
                above the thresholds; not called if there are none of either.
            areas: (Q,) in square pixels; None takes those of the boxes.

        Returns:
            Indices (n,) int64 of the detections that are tracked, ascending, and their
            identities (n,) int64, which are counted from 0 in a sequence and never
            used again.

        Raises:
            ValueError: If shapes do not fit, or boxes, scores or ID scores are not
                finite; the state is then as before the frame.
        """
        shape = tuple(embeddings.shape)
        if shape != (len(bboxes), self.embed_dims):
            raise ValueError(
                f'embeddings: found shape {shape}, expected '
                f'{(len(bboxes), self.embed_dims)}; tracker.embed_dims is '
                f'{self.embed_dims}'
            )
        rows = self.select(bboxes, scores, areas)
        bboxes, scores, labels = bboxes[rows], scores[rows], labels[rows]
        embeddings = self.memory.rows(embeddings, rows)
        words = np.full(len(rows), self.num_id_vocabulary)
        live, id_scores = self.live, None
        if len(rows) and live.any():
            scored = score_identities(self.history(), embeddings)
            id_scores = self.memory.on_host(scored)
            words = self.assign(id_scores, labels)
        owners = self.vocabulary.identities.copy()
        classes = self.vocabulary.classes.copy()
        named = self.name(
            words,
            bboxes,
            scores,
            labels,
            lambda which: self.memory.on_host(self.memory.rows(embeddings, which)),
        )
        self.memory.forget(named.ended)
        given = np.flatnonzero(named.words < self.num_id_vocabulary)
        self.memory.append(named.words[given], self.memory.rows(embeddings, given))
        if self.observer is not None:
            self.observer(
                AssociatedFrame(rows, id_scores, live, owners, classes, words, named)
            )
        kept = named.identities >= 0
        return rows[kept], named.identities[kept]

    def select(
        self, bboxes: np.ndarray, scores: np.ndarray, areas: np.ndarray | None = None
    ) -> np.ndarray:
        """Choose the detections that take part.

        Args:
            bboxes: (Q, 4) xyxy in pixels.
            scores: (Q,).
            areas: (Q,) in square pixels; None takes those of the boxes.

        Returns:
            (n,) int64 indices, ascending.

        Raises:
            ValueError: If boxes or scores are not finite.
        """
        table = np.column_stack([bboxes, scores])
        check_finite(table, 'boxes or scores', self.num_frames)
        if areas is None:
            areas = (bboxes[:, 2:] - bboxes[:, :2]).prod(1)
        return np.flatnonzero((scores > self.det_thr) & (areas > self.area_thr))

    def assign(self, id_scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Give the words of live trajectories to detections.

        Args:
            id_scores: (n, K + 1), the last column means newborn.
            labels: (n,) int64 classes.

        Returns:
            Words (n,) int64, K for newborn.

        Raises:
            ValueError: If the scores are not finite or have another shape.
        """
        expected = (len(labels), self.num_id_vocabulary + 1)
        if id_scores.shape != expected:
            raise ValueError(
                f'ID scores: found shape {id_scores.shape}, expected {expected}: one '
                'row per detection, one column per word and one for newborn; '
                f'tracker.num_id_vocabulary is {self.num_id_vocabulary}'
            )
        check_finite(id_scores, 'ID scores', self.num_frames)
        scores = id_scores
        if self.class_aware:
            scores = admissible_scores(id_scores, labels, self.vocabulary.classes)
        return PROTOCOLS[self.protocol](scores, self.live, self.id_thr)

    def name(
        self,
        words: np.ndarray,
        bboxes: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        embeddings: HostEmbeddings,
    ) -> NamedDetections:
        """Turn words into identities, let newborns in, and end the frame.

        Args:
            words: (n,) int64 as `assign` gave them, K for newborn.
            bboxes: (n, 4) xyxy in pixels.
            scores: (n,).
            labels: (n,) int64 classes.
            embeddings: Returns the embeddings (m, C) float32 of some detections,
                given their indices (m,); asked only if there are tracks without a
                word.

        Returns:
            What everybody is called.
        """
        newborn_word, live = self.num_id_vocabulary, self.live
        known = words < newborn_word
        ids = np.full(len(words), -1, dtype=np.int64)
        ids[known] = self.vocabulary.identities[words[known]]
        self.vocabulary.touch(words[known])

        # Who wants a word: tracks without one, the oldest first, then newborns.
        others = np.flatnonzero(~known)
        if len(self.wordless):
            ids[others] = self.wordless.match(
                bboxes[others],
                embeddings(others),
                labels[others] if self.class_aware else None,
            )
        found = others[ids[others] >= 0]
        found = found[np.argsort(ids[found])]
        newborn = others[(ids[others] < 0) & (scores[others] > self.newborn_thr)]
        wanting = np.concatenate([found, newborn])
        in_use = known if self.overflow == 'drop' else live
        num_free = newborn_word - int(in_use.sum())
        served, rest = wanting[:num_free], wanting[num_free:]
        if self.overflow == 'drop':
            self._drop(len(rest))
            newborn, rest = newborn[:num_free], rest[:0]
        ids[newborn] = self.vocabulary.new_identities(len(newborn))

        words = words.copy()
        words[served] = self.vocabulary.lend(ids[served], labels[served])
        ended = words[served][live[words[served]]]
        given = words[words < newborn_word]
        self.vocabulary.touch(given)
        self._end_frame(ended, given)
        if len(self.wordless) or len(rest):
            self.wordless.update(
                ids[rest], bboxes[rest], embeddings(rest), labels[rest], ids[served]
            )
        return NamedDetections(ids, words, ended)

    def _end_frame(self, ended: np.ndarray, given: np.ndarray) -> None:
        """Slide the window of `missing` by a frame in which words were given."""
        first = max(len(self.missing) + 1 - self.max_history, 0)
        row = np.ones((1, self.num_id_vocabulary), dtype=bool)
        row[:, given] = False
        before = self.missing[first:].copy()
        before[:, ended] = True
        self.missing = np.concatenate([before, row])
        self.num_frames += 1

    def _drop(self, number: int) -> None:
        """Count newborns for which there is no word; warn once."""
        self.num_dropped += number
        if number and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f'frame {self.num_frames} of the sequence has {number} newborn objects '
                f'more than ID words are free (num_id_vocabulary = '
                f'{self.num_id_vocabulary}); they are left out and counted in '
                "num_dropped. Set tracker.overflow='keep' to track them without a "
                'word. This warning is given once.',
                stacklevel=4,
            )
