# Copyright (c) mmfdta authors.
"""FDTATracker: thresholds, life and death, overflow, classes, bad input."""

import warnings

import pytest
import torch
from torch import Tensor
from tracker_inputs import detected

from mmfdta.models.trackers import PROTOCOLS, FDTATracker, TrajectoryHistory


def embed(codes: list[int]) -> Tensor:
    return torch.nn.functional.one_hot(
        torch.tensor(codes, dtype=torch.long), 64
    ).float()


class Scene:
    """Objects with a code each; the scorer knows the codes of words perfectly."""

    def __init__(self, **options) -> None:
        options = dict(num_id_vocabulary=3, miss_tolerance=4) | options
        self.tracker = FDTATracker(embed_dims=64, **options)
        self.calls = 0

    def scorer(self, history: TrajectoryHistory, embeddings: Tensor) -> Tensor:
        self.calls += 1
        scores = torch.zeros(len(embeddings), self.tracker.num_id_vocabulary + 1)
        codes = history.features.amax(0)
        scores[:, history.id_labels] = (embeddings @ codes.T).float()
        scores[:, -1] = 0.5
        return scores

    def track(
        self,
        codes: list[int],
        scores: list[float] | None = None,
        labels: list[int] | None = None,
    ) -> dict[int, int]:
        """Identity of each code; object c stands at its own place."""
        boxes = torch.tensor([[c / 64, 0.5, 0.02, 0.5] for c in codes])
        scores = [0.9 + c / 1000 for c in codes] if scores is None else scores
        labels = [0] * len(codes) if labels is None else labels
        tracks = self.tracker.track(
            detected(
                boxes.reshape(-1, 4),
                torch.tensor(scores),
                torch.tensor(labels, dtype=torch.long),
                (480, 640),
                embed(codes),
            ),
            score_identities=self.scorer,
        )
        places = ((tracks.bboxes[:, 0] + tracks.bboxes[:, 2]) / 20).round().int()
        return dict(zip(places.tolist(), tracks.instances_id.tolist(), strict=True))


def test_life_of_an_identity():
    """Remembered for miss_tolerance - 1 frames without a detection, then new."""
    scene = Scene()
    assert scene.track([1, 2]) == {1: 0, 2: 1}
    assert scene.track([2]) == {2: 1}
    assert scene.track([2]) == {2: 1}
    assert scene.track([1, 2]) == {1: 0, 2: 1}
    for _ in range(3):
        assert scene.track([2]) == {2: 1}
    assert scene.track([1, 2]) == {1: 2, 2: 1}


def test_thresholds_are_strict():
    scene = Scene(det_thr=0.5, newborn_thr=0.75)
    assert scene.track([1, 2, 3], scores=[0.75, 0.75 + 1e-6, 0.5]) == {2: 0}
    assert scene.track([1, 2], scores=[0.75, 0.5]) == {}
    assert scene.track([1, 2], scores=[0.75, 0.5 + 1e-6]) == {2: 0}
    # 0.02 x 640 times 0.5 x 480 pixels is 3072.
    assert Scene(area_thr=3000).track([1]) == {1: 0}
    assert Scene(area_thr=3073).track([1]) == {}


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_empty_frames_age_the_trajectories(protocol: str):
    scene = Scene(protocol=protocol)
    assert scene.track([]) == {}
    assert scene.track([1]) == {1: 0}
    assert scene.track([]) == scene.track([]) == {}
    assert scene.track([1]) == {1: 0}
    for _ in range(3):
        scene.track([])
    assert scene.track([1]) == {1: 1}


def test_scorer_is_not_called_without_need():
    scene = Scene()
    for codes in ([], [1], [], []):
        scene.track(codes)
    assert scene.calls == 0
    scene.track([1])
    assert scene.calls == 1


def test_shortest_memory():
    scene = Scene(miss_tolerance=2)
    assert scene.tracker.max_history == 1
    assert scene.track([1, 2]) == {1: 0, 2: 1}
    assert scene.track([2]) == {2: 1}
    assert scene.track([1, 2]) == {1: 2, 2: 1}


def test_recycled_word_ends_a_remembered_trajectory():
    scene = Scene()
    assert scene.track([1, 2, 3]) == {1: 0, 2: 1, 3: 2}
    assert scene.track([2, 3]) == {2: 1, 3: 2}
    assert scene.track([2, 3, 4]) == {2: 1, 3: 2, 4: 3}
    assert scene.tracker.live.all()
    with pytest.warns(UserWarning, match='overflow'):
        assert scene.track([1, 2, 3, 4]) == {2: 1, 3: 2, 4: 3}
    # 4 leaves; 1 takes the word that was least recently used.
    assert scene.track([1, 2, 3]) == {1: 4, 2: 1, 3: 2}


def test_overflow_warns_once_and_counts_per_sequence():
    scene = Scene()
    with pytest.warns(UserWarning, match=r'frame 0 .* 2 newborn .* = 3\)'):
        assert scene.track([1, 2, 3, 4, 5]) == {1: 0, 2: 1, 3: 2}
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        scene.track([1, 2, 3, 4, 5])
        assert scene.tracker.num_dropped == 4
        scene.tracker.reset()
        assert scene.tracker.num_dropped == 0
        scene.track([5, 4, 3, 2])
        assert scene.tracker.num_dropped == 1


def test_overflow_keep_tracks_without_words():
    scene = Scene(overflow='keep')
    everyone = {1: 0, 2: 1, 3: 2, 10: 3, 20: 4}
    for _ in range(6):
        assert scene.track(list(everyone)) == everyone
    assert len(scene.tracker.wordless) == 2
    # A low score is enough to go on, and a gap is survived.
    assert scene.track([1, 2, 3, 20], scores=[0.9, 0.9, 0.9, 0.4]) == {
        k: v for k, v in everyone.items() if k != 10
    }
    assert scene.track(list(everyone)) == everyone
    # 1 is not seen, but keeps its word; once it is forgotten, 10 takes the word.
    rest = {k: v for k, v in everyone.items() if k != 1}
    for _ in range(3):
        assert scene.track(list(rest)) == rest
    assert len(scene.tracker.wordless) == 2
    assert scene.track(list(rest)) == rest
    assert scene.tracker.wordless.identities.tolist() == [4]
    assert 3 in scene.tracker.vocabulary.identities
    assert scene.track(list(rest)) == rest
    # A track without a word ends like any other.
    for _ in range(3):
        scene.track([2, 3, 10])
    assert len(scene.tracker.wordless) == 0
    assert scene.track([2, 3, 10, 20]) == {2: 1, 3: 2, 10: 3, 20: 5}
    assert scene.tracker.num_dropped == 0


def test_tracks_without_a_word_get_words_by_seniority_and_end_with_the_sequence():
    scene = Scene(num_id_vocabulary=1, overflow='keep')
    assert scene.track([1, 9, 5]) == {1: 0, 9: 1, 5: 2}
    for _ in range(5):  # in another order
        assert scene.track([5, 9]) == {9: 1, 5: 2}
    assert scene.tracker.wordless.identities.tolist() == [2]
    scene.tracker.reset()
    assert scene.track([5, 9]) == {5: 0, 9: 1}


@pytest.mark.parametrize(('class_aware', 'identity'), [(False, 1), (True, 2)])
def test_tracks_without_a_word_keep_their_class(class_aware: bool, identity: int):
    scene = Scene(num_id_vocabulary=1, overflow='keep', class_aware=class_aware)
    assert scene.track([1, 9], labels=[0, 0]) == {1: 0, 9: 1}
    assert scene.track([1, 9], labels=[0, 3]) == {1: 0, 9: identity}


def test_thousand_detections():
    for overflow in ('drop', 'keep'):
        tracker = FDTATracker(embed_dims=8, overflow=overflow)
        grid = torch.arange(1000)
        boxes = torch.stack([grid % 40 / 40, grid // 40 / 25], dim=1)
        boxes = torch.cat([boxes, torch.full((1000, 2), 0.02)], dim=1)
        frame = detected(
            boxes,
            torch.full((1000,), 0.9),
            torch.zeros(1000, dtype=torch.long),
            (1000, 1000),
            torch.randn(1000, 8),
        )

        def scorer(history: TrajectoryHistory, embeddings: Tensor) -> Tensor:
            scores = torch.full((len(embeddings), 51), 0.001)
            scores[history.id_labels, history.id_labels] = 0.9
            return scores

        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            first, second = (
                tracker.track(frame, score_identities=scorer) for _ in range(2)
            )
        number = 50 if overflow == 'drop' else 1000
        assert first.instances_id.tolist() == list(range(number))
        assert second.instances_id.tolist() == list(range(number))
        assert len(tracker.detections(frame.pred_instances)) == 1000


def test_class_aware():
    codes, labels = [1, 2], [0, 1]
    for class_aware, expected in ((False, {1: 0, 2: 1}), (True, {1: 2, 2: 3})):
        scene = Scene(num_id_vocabulary=6, class_aware=class_aware)
        assert scene.track(codes, labels=labels) == {1: 0, 2: 1}
        assert scene.track(codes, labels=labels[::-1]) == expected


def test_sequences_do_not_meet():
    scene, fresh = Scene(), Scene()
    for codes in ([1, 2], [2], [], [3, 2]):
        scene.track(codes)
    scene.tracker.reset()
    for codes in ([5, 2, 3], [2, 1], [2, 3, 5]):
        assert scene.track(codes) == fresh.track(codes)
    assert scene.tracker.vocabulary.queue == fresh.tracker.vocabulary.queue


def test_memory_stays_flat():
    scene = Scene(overflow='keep')
    sizes = set()
    for t in range(300):
        scene.track([(t // 5 + k) % 64 for k in range(5)])
        if t > 50:
            sizes.add(scene.tracker.memory._buffer.numel())
            assert len(scene.tracker.wordless) <= 15
    assert len(sizes) == 1
    assert scene.tracker.vocabulary.next_identity >= 60


def test_half_precision_and_gradients_stay_outside():
    scene = Scene()
    embeddings = embed([1, 2]).to(torch.bfloat16).requires_grad_()
    for _ in range(2):
        tracks = scene.tracker.track(
            detected(
                torch.full((2, 4), 0.5, dtype=torch.bfloat16),
                torch.full((2,), 0.9, dtype=torch.bfloat16, requires_grad=True),
                torch.tensor([0, 3]),
                (100, 200),
                embeddings,
            ),
            score_identities=lambda history, x: scene.scorer(history, x).bfloat16(),
        )
        assert tracks.instances_id.tolist() == [0, 1]
    assert tracks.labels.tolist() == [0, 3]
    assert tracks.bboxes.dtype == torch.float32
    assert tracks.bboxes[0].tolist() == [50, 25, 150, 75]
    history = scene.tracker.history()
    assert history.features.dtype == torch.bfloat16
    assert not history.features.requires_grad


@pytest.mark.parametrize('broken', ['boxes', 'scores', 'ID scores'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_not_finite(broken: str, value: float):
    scene = Scene()
    scene.track([1, 2])
    boxes, scores = torch.full((2, 4), 0.5), torch.full((2,), 0.9)
    id_scores = torch.full((2, 4), 0.25)
    {'boxes': boxes, 'scores': scores, 'ID scores': id_scores}[broken][1] = value
    with pytest.raises(ValueError, match=rf'{broken}.* 1 of 2 .* frame 1 .*number 1'):
        scene.tracker.track(
            detected(
                boxes,
                scores,
                torch.zeros(2, dtype=torch.long),
                (10, 10),
                embed([1, 2]),
            ),
            score_identities=lambda *_: id_scores,
        )
    # The state is as it was.
    assert scene.track([1, 2]) == {1: 0, 2: 1}


def test_wrong_shapes():
    scene = Scene()
    with pytest.raises(ValueError, match=r'tracker.embed_dims is 64'):
        scene.tracker.track(
            detected(
                torch.rand(2, 4),
                torch.rand(2),
                torch.zeros(2).long(),
                (10, 10),
                torch.rand(2, 32),
            ),
            score_identities=scene.scorer,
        )
    scene.track([1, 2])
    scene.scorer = lambda history, embeddings: torch.rand(2, 51)
    with pytest.raises(ValueError, match=r'found shape \(2, 51\), expected \(2, 4\)'):
        scene.track([1, 2])


@pytest.mark.parametrize(
    'setting',
    [
        dict(num_id_vocabulary=0),
        dict(miss_tolerance=1),
        dict(id_thr=-0.1),
        dict(det_thr=30),
        dict(newborn_thr=float('nan')),
        dict(protocol='greedy'),
        dict(overflow='grow'),
    ],
)
def test_bad_settings(setting: dict):
    with pytest.raises(ValueError, match=f'tracker.{next(iter(setting))}: found'):
        FDTATracker(**setting)
