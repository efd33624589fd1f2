# Copyright (c) mmfdta authors.
"""FDTA's association as a state machine on host arrays (paper, Sec. 3.1; from MOTIP).

Which identity an ID word stands for, who gets which word, how long a trajectory that
is missed stays alive, and what happens when the words do not suffice. Only NumPy and
SciPy are needed here: the ID scores come from outside, and so do embeddings, which are
asked for where they are needed on the host.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

# Mean of IoU and cosine similarity. Embeddings alone, however alike, do not exceed it.
_MATCH_THR = 0.5

Protocol = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
HostEmbeddings = Callable[[np.ndarray], np.ndarray]


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
        similarity = (_iou(boxes, self._boxes) + cosine) / 2
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


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU (n, m) of boxes xyxy (n, 4) and (m, 4)."""
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (first, second)]
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    shared = (high - low).clip(0).prod(-1)
    union = areas[0][:, None] + areas[1] - shared
    return shared / np.maximum(union, np.float32(1e-6))


# -------------------------------------------------------------------- state machine
@dataclass(frozen=True)
class NamedDetections:
    """What a frame's n detections are called now."""

    identities: np.ndarray
    """(n,) int64, -1 for detections that are left out."""
    words: np.ndarray
    """(n,) int64, K for those without a word."""
    ended: np.ndarray
    """(m,) int64 words that have just been taken from a live trajectory."""


class IdentityAssignment:
    """Identities of detections, from frame to frame, by scores of ID words.

    A detection takes the word of a live trajectory if the ID scores say so; else it
    is newborn, and kept if its score is high enough. A newborn gets a new identity
    and the least recently used word; if that word's trajectory was still remembered,
    it ends. A trajectory ends after `miss_tolerance - 1` frames without a detection.

    Args:
        num_id_vocabulary: K, number of ID words.
        miss_tolerance: One more than the frames that are remembered; at least 2.
        det_thr: Only detections with a higher score take part.
        newborn_thr: Only detections with a higher score start a trajectory.
        id_thr: Lowest ID score that continues a trajectory.
        area_thr: Only detections with a larger area (pixels) take part.
        protocol: 'object-max', 'hungarian' or 'id-max', see `PROTOCOLS`.
        overflow: What happens with more objects than words. 'drop': newborns may take
            the words of trajectories that are not seen in the frame; if these do not
            suffice, the last newborns in the detector's order are left out, counted
            in `num_dropped` (since `reset`), and a warning is given once. 'keep':
            no trajectory loses its word while it is remembered; objects without a
            word are tracked by overlap and embedding until one is free.
        class_aware: A detection only continues a trajectory of its own class.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        num_id_vocabulary: int = 50,
        miss_tolerance: int = 30,
        det_thr: float = 0.3,
        newborn_thr: float = 0.6,
        id_thr: float = 0.2,
        area_thr: float = 0.0,
        protocol: str = 'object-max',
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
        self.overflow = overflow
        self.class_aware = class_aware
        self.vocabulary = IDVocabulary(num_id_vocabulary)
        self.wordless = WordlessTracks(self.max_history)
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
        # (T, K) bool: the word was not given in that one of the last T frames.
        self.missing = np.ones((0, self.num_id_vocabulary), dtype=bool)
        self.num_frames = 0
        self.num_dropped = 0

    def select(
        self, bboxes: np.ndarray, scores: np.ndarray, areas: np.ndarray
    ) -> np.ndarray:
        """Choose the detections that take part.

        Args:
            bboxes: (Q, 4) xyxy in pixels.
            scores: (Q,).
            areas: (Q,) in square pixels.

        Returns:
            (n,) int64 indices, ascending.

        Raises:
            ValueError: If boxes or scores are not finite.
        """
        self._check_finite(np.column_stack([bboxes, scores]), 'boxes or scores')
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
        self._check_finite(id_scores, 'ID scores')
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

    def _check_finite(self, table: np.ndarray, what: str) -> None:
        bad = np.flatnonzero(~np.isfinite(table).all(1))
        if len(bad):
            raise ValueError(
                f'{what}: found NaN or infinity for {len(bad)} of {len(table)} '
                f'detections in frame {self.num_frames} of the sequence (the first is '
                f'number {bad[0]}), expected finite numbers; the weights or the image '
                'are broken'
            )
