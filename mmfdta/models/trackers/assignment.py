# Copyright (c) mmfdta authors.
"""FDTA's association as a state machine (paper, Sec. 3.1; from MOTIP).

It decides which detections are tracked, which identity an ID word stands for, which
detection gets which word, how long a missed trajectory stays alive, and what happens if
there are not enough words. It needs only NumPy and SciPy: a function gives the ID
scores, and a memory holds the embeddings on any device, see `embedding_memory`.
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

# Mean of IoU and cosine similarity. Equal embeddings without overlap do not exceed it.
_MATCH_THR = 0.5

Protocol = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
HostEmbeddings = Callable[[np.ndarray], np.ndarray]
# Scores of the words (n, K + 1), the last one newborn, for the live trajectories and
# the embeddings (n, C) of the detections that are tracked.
IdentityScorer = Callable[[TrajectoryHistory[Array], Array], Array]


# ------------------------------------------------------------------------ protocols
# Each takes the ID scores (M, K + 1) of M detections (the last column means newborn),
# which of the K words belong to a live trajectory (K,) bool, and the lowest score that
# assigns a word. Each returns the word of every detection (M,) int64, K for newborn; no
# word is assigned twice.
def object_max(scores: np.ndarray, live: np.ndarray, id_thr: float) -> np.ndarray:
    """Assign each word to the detection with the highest score among its candidates.

    Candidates of a word are the detections that score it highest. Any other detection
    is newborn, also if its second best word is free. Of equal scores the first
    detection gets the word.

    Args:
        scores: ID scores (M, K + 1).
        live: Words of live trajectories (K,) bool.
        id_thr: Lowest score that assigns a word.

    Returns:
        Words (M,) int64, K for newborn.
    """
    num_dets, newborn = len(scores), len(live)
    best = scores.argmax(1)
    # In double precision, like the threshold.
    highest = scores[np.arange(num_dets), best].astype(np.float64)
    order = np.lexsort((-highest, best))  # stable
    first = np.ones(num_dets, dtype=bool)
    first[1:] = best[order][1:] != best[order][:-1]
    wins = np.zeros(num_dets, dtype=bool)
    wins[order[first]] = True
    wins &= np.append(live, False)[best] & (highest >= id_thr)
    return np.where(wins, best, newborn)


def hungarian(scores: np.ndarray, live: np.ndarray, id_thr: float) -> np.ndarray:
    """Assign words so that the sum of the scores is the largest.

    Any number of detections may be newborn. A detection is also newborn if its word has
    no live trajectory or too low a score, even if its second best word were valid.

    Args:
        scores: ID scores (M, K + 1).
        live: Words of live trajectories (K,) bool.
        id_thr: Lowest score that assigns a word.

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
    """Let every word (and newborn) pick its best detection; the best pick counts.

    A detection is newborn if the word that picks it with the highest score is newborn,
    has no live trajectory or too low a score. Of equal scores, the last valid word
    counts, and a word picks the first detection.

    Args:
        scores: ID scores (M, K + 1).
        live: Words of live trajectories (K,) bool.
        id_thr: Lowest score that assigns a word.

    Returns:
        Words (M,) int64, K for newborn.
    """
    num_dets, newborn = len(scores), len(live)
    words = np.full(num_dets, newborn)
    if num_dets == 0:
        return words
    picked = scores.argmax(0)
    highest = scores.max(0).astype(np.float64)
    best = np.full(num_dets, -np.inf)
    np.maximum.at(best, picked, highest)
    valid = np.append(live, False) & (highest >= id_thr) & (highest >= best[picked])
    # If an index occurs twice, NumPy keeps the last assignment.
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
    """Set the ID scores of words of other classes below any threshold.

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
    """K words that identities borrow, the least recently used one first.

    Identities count up from 0 and are never reused.

    Args:
        num_words: Number K of words.
    """

    def __init__(self, num_words: int) -> None:
        self.num_words = num_words
        self.clear()

    def clear(self) -> None:
        """Free all words and count identities from 0 again."""
        self._queue = OrderedDict.fromkeys(range(self.num_words))
        self.identities = np.full(self.num_words, -1, dtype=np.int64)
        self.classes = np.full(self.num_words, -1, dtype=np.int64)
        self.next_identity = 0

    @property
    def queue(self) -> list[int]:
        """The words in the order in which they are lent next."""
        return list(self._queue)

    def new_identities(self, number: int) -> np.ndarray:
        """Return new identities.

        Args:
            number: How many.

        Returns:
            (number,) int64, none of them used before.
        """
        first = self.next_identity
        self.next_identity += number
        return np.arange(first, self.next_identity)

    def touch(self, words: np.ndarray) -> None:
        """Mark words as used, the last one most recently.

        Args:
            words: (n,) int64.
        """
        for word in words.tolist():
            self._queue.move_to_end(word)

    def lend(self, identities: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Give words to identities, the least recently used one first.

        The words stay at the front of the queue until they are touched.

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
    """Tracks objects without an ID word by overlap and embedding.

    Args:
        max_missed: Number of frames without a detection that ends a track.
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
        """Match detections with the tracks.

        Args:
            boxes: (n, 4) xyxy of the detections without a word.
            embeddings: (n, C) of these detections.
            classes: (n,) of these detections if tracks keep their class, otherwise
                None.

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
        """Update the tracks at the end of a frame.

        Args:
            identities: (n,) int64 of the detections that are tracked without a word.
            boxes: (n, 4) xyxy of these detections.
            embeddings: (n, C) of these detections.
            classes: (n,) int64 of these detections.
            promoted: (m,) int64 identities that got a word.
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
    """Return the IoU (n, m) of boxes xyxy (n, 4) and (m, 4), as MMDetection rounds."""
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (first, second)]
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    shared = (high - low).clip(0).prod(-1)
    union = areas[0][:, None] + areas[1] - shared
    return shared / np.maximum(union, np.float32(1e-6))


# -------------------------------------------------------------------- state machine
def check_finite(table: np.ndarray, what: str, frame: int) -> None:
    """Refuse detections with numbers that are not finite.

    Args:
        table: (n, columns), one row per detection.
        what: Name of the numbers, for the error.
        frame: Number of the frame in its sequence, from 0.

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
    """Identities and words of a frame's n detections.

    Attributes:
        identities: (n,) int64, -1 for detections that are left out.
        words: (n,) int64, K for detections without a word.
        ended: (m,) int64 words that this frame took from a live trajectory.
    """

    identities: np.ndarray
    words: np.ndarray
    ended: np.ndarray


@dataclass(frozen=True)
class AssociatedFrame:
    """The tracker's decisions in a frame and their inputs.

    Attributes:
        rows: (n,) int64 indices, among the frame's detections, of the tracked ones.
        id_scores: (n, K + 1) float32 of the network; None if it did not run because
            there were no detections or no live trajectories.
        live: (K,) bool, words of the trajectories that were live before the frame.
        owners: (K,) int64, identities that the words stood for before the frame, also
            of words that are no longer live; -1 for words that were never lent.
        classes: (K,) int64 classes of these identities.
        words: (n,) int64 words that the protocol assigned, K for none.
        named: The detections' final identities and words, including newborns.
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
    """Gives detections their identities, frame by frame, by scores of ID words.

    A detection takes the word of a live trajectory if its ID scores choose that word.
    Otherwise it is newborn, and kept if its score is high enough. A newborn gets a new
    identity and the least recently used word; if that word's trajectory was still
    remembered, it ends. A trajectory ends after `miss_tolerance - 1` frames without a
    detection.

    The object is the state of one video and contains no network. Embeddings are NumPy
    arrays, or those of the `memory_class` of a subclass.

    Args:
        num_id_vocabulary: K, number of ID words.
        miss_tolerance: One more than the number of frames that are remembered; at least
            2.
        det_thr: Only detections with a higher score are tracked.
        newborn_thr: Only detections with a higher score start a trajectory.
        id_thr: Lowest ID score that continues a trajectory; at least 0.
        area_thr: Only detections with a larger area (square pixels) are tracked.
        protocol: 'object-max', 'hungarian' or 'id-max', see `PROTOCOLS`.
        embed_dims: C, channels of the embeddings.
        overflow: Behaviour with more objects than words. 'drop': newborns may take the
            words of trajectories that are not seen in the frame. If there are not
            enough, the last newborns in the detector's order are left out and counted
            in `num_dropped` (since `reset`), and the first time there is a warning.
            'keep': no trajectory loses its word while it is remembered; objects without
            a word are tracked by overlap and embedding until one is free.
        class_aware: A detection only continues a trajectory of the same class.

    Attributes:
        observer: Called at the end of each frame with its decisions; None calls
            nothing. It does not influence the tracker.

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
            ('det_thr', det_thr, det_thr <= 1, '<= 1'),
            ('newborn_thr', newborn_thr, newborn_thr <= 1, '<= 1'),
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
        # (T, K) bool: whether a word was missing in each of the last T frames.
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
            score_identities: Returns scores of the words (n, K + 1), the last one
                newborn, for the live trajectories and the embeddings (n, C) of the
                detections above the thresholds; not called if either is empty.
            areas: (Q,) in square pixels; None takes those of the boxes.

        Returns:
            Indices (n,) int64 of the detections that have an identity, ascending, and
            their identities (n,) int64, which are counted from 0 in a sequence and
            never reused.

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
        """Select the detections above `det_thr` and `area_thr`.

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
        """Assign the words of live trajectories to detections.

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
        """Turn words into identities, start new trajectories, and end the frame.

        Args:
            words: (n,) int64 as returned by `assign`, K for newborn.
            bboxes: (n, 4) xyxy in pixels.
            scores: (n,).
            labels: (n,) int64 classes.
            embeddings: Returns the embeddings (m, C) float32 of some detections,
                given their indices (m,); called only if there are tracks without a
                word.

        Returns:
            Identities and words of the detections.
        """
        newborn_word, live = self.num_id_vocabulary, self.live
        known = words < newborn_word
        ids = np.full(len(words), -1, dtype=np.int64)
        ids[known] = self.vocabulary.identities[words[known]]
        self.vocabulary.touch(words[known])

        # Free words go to tracks without one, the oldest first, then to newborns.
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
        """Slide the window of `missing` by a frame; its words are ``given``."""
        first = max(len(self.missing) + 1 - self.max_history, 0)
        row = np.ones((1, self.num_id_vocabulary), dtype=bool)
        row[:, given] = False
        before = self.missing[first:].copy()
        before[:, ended] = True
        self.missing = np.concatenate([before, row])
        self.num_frames += 1

    def _drop(self, number: int) -> None:
        """Count newborns without a word; warn once."""
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
