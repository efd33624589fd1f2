# Copyright (c) mmfdta authors.
"""FDTATracker on random sequences: against plain loops, and what must never happen."""

import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor
from tracker_inputs import detected

from mmfdta.models.trackers import (
    PROTOCOLS,
    FDTATracker,
    IdentityAssignment,
    TrajectoryHistory,
)

# A long run sets this to 10,000 and more.
EXAMPLES = int(os.environ.get('MMFDTA_FUZZ_EXAMPLES', '100'))
WORDS, DIMS, QUERIES = 4, 3, 7


class PlainTracker:
    """The rules by list and dictionary; a word remembers when it was last given."""

    def __init__(self, words: int, window: int, thr: tuple, protocol: str) -> None:
        self.words, self.window, self.protocol = words, window, PROTOCOLS[protocol]
        self.det_thr, self.newborn_thr, self.id_thr = thr
        self.queue = list(range(words))
        self.identity, self.last_seen = {}, {}
        self.time = self.next_id = self.dropped = 0

    @property
    def live(self) -> set[int]:
        return {w for w, t in self.last_seen.items() if self.time - t <= self.window}

    def use(self, word: int) -> None:
        self.queue.remove(word)
        self.queue.append(word)

    def track(self, scores: list, id_scores: np.ndarray) -> list[tuple[int, int]]:
        """Give (detection, identity) of a frame; id_scores of all detections."""
        active = [i for i, score in enumerate(scores) if score > self.det_thr]
        words = [self.words] * len(active)
        if active and self.live:
            live = np.isin(np.arange(self.words), list(self.live))
            words = self.protocol(id_scores[active], live, self.id_thr).tolist()
        pairs = [
            (i, word)
            for i, word in zip(active, words, strict=True)
            if word < self.words or scores[i] > self.newborn_thr
        ]
        for _, word in pairs:
            if word < self.words:
                self.use(word)
        free = self.words - sum(word < self.words for _, word in pairs)
        named = []
        for i, word in pairs:
            if word == self.words:
                if free == 0:
                    self.dropped += 1
                    continue
                free -= 1
                word = self.queue[0]
                self.use(word)
                self.identity[word] = self.next_id
                self.next_id += 1
            named.append((i, word))
        for _, word in named:
            self.use(word)
            self.last_seen[word] = self.time
        self.time += 1
        return [(i, self.identity[word]) for i, word in named]


class Frame:
    """A random frame; the embeddings hold the detection's number."""

    def __init__(self, seed: int, num_words: int = WORDS) -> None:
        rng = np.random.default_rng(seed)
        number = int(rng.integers(0, QUERIES + 1))
        self.scores = rng.choice([0.1, 0.25, 0.4, 0.5, 0.7, 0.9], number)
        logits = rng.normal(size=(number, num_words + 1)) * rng.choice([0.5, 4])
        self.id_scores = torch.tensor(logits).softmax(-1).float()
        self.boxes = torch.tensor(rng.random((number, 4)) * 0.5 + 0.2).float()
        self.labels = torch.tensor(rng.integers(0, 2, number))
        self.embeddings = torch.zeros(number, DIMS)
        self.embeddings[:, 0] = torch.arange(number)
        self.embeddings[:, 1] = 1
        self.called_with = None

    def scorer(self, history: TrajectoryHistory, embeddings: Tensor) -> Tensor:
        self.called_with = history
        return self.id_scores[embeddings[:, 0].long()]

    def sample(self) -> DetDataSample:
        return detected(
            self.boxes,
            torch.tensor(self.scores),
            self.labels,
            (100, 200),
            self.embeddings,
        )

    def track(self, tracker: FDTATracker) -> InstanceData:
        return tracker.track(self.sample(), score_identities=self.scorer)


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.filterwarnings('ignore:frame .* newborn objects')
@settings(max_examples=EXAMPLES)
@given(
    miss_tolerance=st.integers(2, 5),
    seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=30),
)
def test_equals_plain_loops(protocol: str, miss_tolerance: int, seeds: list[int]):
    tracker = FDTATracker(
        num_id_vocabulary=WORDS,
        miss_tolerance=miss_tolerance,
        det_thr=0.25,
        newborn_thr=0.5,
        id_thr=0.2,
        protocol=protocol,
        embed_dims=DIMS,
    )
    plain = PlainTracker(WORDS, miss_tolerance - 1, (0.25, 0.5, 0.2), protocol)
    for seed in seeds:
        frame = Frame(seed)
        live = sorted(plain.live)
        expected = plain.track(frame.scores.tolist(), frame.id_scores.numpy())
        tracks = frame.track(tracker)
        assert tracks.instances_id.tolist() == [identity for _, identity in expected]
        scores = [frame.scores[i] for i, _ in expected]
        assert tracks.scores.tolist() == pytest.approx(scores)
        assert tracker.vocabulary.queue == plain.queue
        assert tracker.num_dropped == plain.dropped
        if frame.called_with is not None:
            assert frame.called_with.id_labels.tolist() == live


@pytest.mark.filterwarnings('ignore:frame .* newborn objects')
@settings(max_examples=EXAMPLES)
@given(
    protocol=st.sampled_from(list(PROTOCOLS)),
    miss_tolerance=st.integers(2, 5),
    overflow=st.sampled_from(['drop', 'keep']),
    class_aware=st.booleans(),
    seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=30),
)
def test_arrays_are_tracked_as_tensors(seeds: list[int], **options):
    options |= dict(num_id_vocabulary=WORDS, det_thr=0.25, embed_dims=DIMS)
    on_tensors, on_arrays = FDTATracker(**options), IdentityAssignment(**options)
    for seed in seeds:
        frame, again = Frame(seed), Frame(seed)
        tracks = frame.track(on_tensors)
        found = frame.sample().pred_instances

        def scorer(history: TrajectoryHistory, embeddings: np.ndarray) -> np.ndarray:
            again.called_with = history  # noqa: B023
            return again.id_scores.numpy()[embeddings[:, 0].astype(int)]  # noqa: B023

        names = 'bboxes', 'scores', 'labels', 'embeddings'
        rows, identities = on_arrays.associate(
            *(found.get(name).numpy() for name in names),
            scorer,
            found.areas.numpy(),
        )
        assert tracks.instances_id.tolist() == identities.tolist()
        assert torch.equal(tracks.bboxes, found.bboxes[rows])
        assert (frame.called_with is None) == (again.called_with is None)
        if frame.called_with is not None:
            for name, expected in vars(frame.called_with).items():
                array = getattr(again.called_with, name)
                assert isinstance(array, np.ndarray)
                assert np.array_equal(array, expected.numpy())
                assert array.dtype == expected.numpy().dtype


class TrackerMachine(RuleBasedStateMachine):
    """Any frames, in any order, with any settings; what must hold after each."""

    @initialize(
        protocol=st.sampled_from(list(PROTOCOLS)),
        miss_tolerance=st.integers(2, 5),
        overflow=st.sampled_from(['drop', 'keep']),
        class_aware=st.booleans(),
    )
    def start(self, **options):
        self.tracker = FDTATracker(
            num_id_vocabulary=WORDS,
            det_thr=0.25,
            newborn_thr=0.5,
            embed_dims=DIMS,
            **options,
        )
        self.restart()

    def restart(self):
        self.last_seen, self.labels, self.time, self.newest = {}, {}, 0, -1
        self.tracks = None

    @rule()
    def reset(self):
        self.tracker.reset()
        self.restart()

    @rule(seed=st.integers(0, 2**32))
    def frame(self, seed: int):
        frame = Frame(seed)
        self.tracks = frame.track(self.tracker)
        ids = self.tracks.instances_id.tolist()
        assert len(set(ids)) == len(ids), 'an identity twice in a frame'
        window = self.tracker.max_history
        for identity, label in zip(ids, self.tracks.labels.tolist(), strict=True):
            if identity in self.last_seen:
                gap = self.time - self.last_seen[identity]
                assert gap <= window, 'an identity returned after its end'
            else:
                assert identity > self.newest, 'an old number for a new identity'
                self.newest = identity
            if self.tracker.class_aware:
                assert self.labels.setdefault(identity, label) == label
            self.last_seen[identity] = self.time
        self.time += 1
        kept = frame.scores > 0.5
        if self.tracker.overflow == 'keep':
            found = set(np.round(self.tracks.scores.tolist(), 5))
            assert set(frame.scores[kept].round(5)) <= found
        else:
            assert len(ids) <= WORDS

    @invariant()
    def memory_is_bounded(self):
        if not hasattr(self, 'tracker') or self.tracks is None:
            return
        window = self.tracker.max_history
        assert len(self.tracker.missing) == len(self.tracker.memory) <= window
        assert self.tracker.memory._buffer.shape == (2 * window, WORDS, DIMS)
        assert len(self.tracker.wordless) <= self.tracker.max_history * QUERIES

    @invariant()
    def missing_features_are_zero(self):
        if not hasattr(self, 'tracker') or self.tracks is None:
            return
        history = self.tracker.history()
        visible = history.features[..., 1] == 1
        assert torch.equal(visible, ~history.masks)
        assert history.features[history.masks].abs().sum() == 0
        assert visible.any(0).all()

    @invariant()
    def every_word_is_in_the_queue_once(self):
        if hasattr(self, 'tracker'):
            assert sorted(self.tracker.vocabulary.queue) == list(range(WORDS))


TestTrackerMachine = pytest.mark.filterwarnings('ignore:frame .* newborn objects')(
    TrackerMachine.TestCase
)
TestTrackerMachine.settings = settings(max_examples=EXAMPLES, stateful_step_count=30)
