# Copyright (c) mmfdta authors.
"""Clip sampling against a plain reading of its rule."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmfdta.datasets import ClipSampler, SequenceSampler, samplers
from mmfdta.datasets.sequences import Sequence, SequenceAnnotations
from mmfdta.structures.tracks import Tracks


def _sequence(length, counts, repeat_in=(), is_static=False):
    """Make a sequence with ``counts[t]`` objects; ``repeat_in``: not unique."""
    ids = [
        0 if t in repeat_in and i == count - 1 else i
        for t, count in enumerate(counts)
        for i in range(count)
    ]
    frames = np.repeat(np.arange(length) + 1, counts)
    tracks = Tracks.create(frames, ids, np.ones((len(ids), 4)))
    annotations = SequenceAnnotations.create(tracks, length)
    names = np.array([f'{i:06d}.jpg' for i in range(length)])
    return Sequence('s', '', names, annotations, is_static=is_static)


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    counts = [rng.choice([0, 2, 3], n, p=[0.05, 0.5, 0.45]).tolist() for n in (40, 21)]
    crowd = [3] * 12
    crowd[4] = 301
    sequences = [
        _sequence(40, counts[0], repeat_in=(30,)),
        _sequence(21, counts[1]),
        _sequence(12, crowd),
        _sequence(3, [2] * 3),
        _sequence(1, [5], is_static=True),
        _sequence(1, [0], is_static=True),
    ]
    return SimpleNamespace(sequences=sequences, sequence_weights=[1, 2, 1, 1, 3, 1])


def _reference_clips(dataset, length, max_interval, seed, epoch):
    """Follow the rule frame by frame, with the generators of the released code."""
    random.seed(seed + epoch)
    clips = []
    for index, sequence in enumerate(dataset.sequences):
        annotations = sequence.annotations
        offsets, ids = annotations.offsets, annotations.tracks.identity
        legal = []
        for t in range(len(sequence)):
            frame = ids[offsets[t] : offsets[t + 1]].tolist()
            legal.append(0 < len(frame) <= 300 and len(set(frame)) == len(frame))
        for begin in range(len(sequence)):
            for _ in range(dataset.sequence_weights[index]):
                if sequence.is_static:
                    if legal[0]:
                        clips.append((index, (0,) * length))
                    continue
                if begin + length > len(sequence):
                    continue
                room = (len(sequence) - 1 - begin) // (length - 1)
                interval = min(random.randint(1, max_interval), room)
                frames = tuple(begin + interval * k for k in range(length))
                if all(legal[t] for t in frames):
                    clips.append((index, frames))
    order = torch.randperm(
        len(clips), generator=torch.Generator().manual_seed(seed + epoch)
    )
    return [clips[i] for i in order]


@pytest.mark.parametrize('epoch', range(4))
def test_equals_the_rule(dataset, epoch):
    sampler = ClipSampler(dataset, lengths={0: 5, 2: 3}, max_interval=4, seed=11)
    sampler.set_epoch(epoch)
    length = 5 if epoch < 2 else 3
    assert sampler.clip_length == length
    expected = _reference_clips(dataset, length, 4, 11, epoch)
    assert [(i.sequence, i.frames) for i in sampler] == expected
    assert len(sampler) == len(expected)


def test_leaves_python_and_torch_generators_alone(dataset):
    random.seed(5)
    torch.manual_seed(5)
    before = random.getstate(), torch.get_rng_state()
    list(ClipSampler(dataset, lengths=4, seed=0))
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_every_legal_start_once_with_all_intervals():
    sequence = _sequence(400, [1] * 400)
    dataset = SimpleNamespace(sequences=[sequence], sequence_weights=[1])
    sampler = ClipSampler(dataset, lengths=5, max_interval=4, seed=0)
    clips = list(sampler)
    assert sorted(i.frames[0] for i in clips) == list(range(396))
    steps = np.array([i.frames[1] - i.frames[0] for i in clips if i.frames[0] < 380])
    counts = np.bincount(steps, minlength=5)[1:]
    assert counts.sum() == 380 and counts.min() > 65
    assert max(i.frames[-1] for i in clips) < 400


def test_ranks_share_one_order(dataset, monkeypatch):
    whole = list(ClipSampler(dataset, lengths=4, seed=3))
    shares = []
    for rank in range(3):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, 3))
        sampler = ClipSampler(dataset, lengths=4, seed=3)
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1]) == -(-len(whole) // 3)
    mixed = [share[i] for i in range(len(shares[0])) for share in shares]
    assert mixed[: len(whole)] == whole
    for extra, first in zip(mixed[len(whole) :], whole, strict=False):
        assert (extra.sequence, extra.frames) == (first.sequence, first.frames)


def test_without_round_up_nothing_repeats(dataset, monkeypatch):
    total = len(ClipSampler(dataset, lengths=4, seed=3))
    lengths = []
    for rank in range(3):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, 3))
        sampler = ClipSampler(dataset, lengths=4, seed=3, round_up=False)
        assert len(sampler) == len(list(sampler))
        lengths.append(len(sampler))
    assert sum(lengths) == total


def test_skip_resumes_within_an_epoch(dataset):
    sampler = ClipSampler(dataset, lengths=4, seed=3)
    sampler.set_epoch(2)
    whole = list(sampler)
    resumed = ClipSampler(dataset, lengths=4, seed=3)
    resumed.set_epoch(2)
    resumed.skip(7)
    assert list(resumed) == whole[7:] and len(resumed) == len(whole) - 7
    resumed.set_epoch(3)
    assert len(list(resumed)) == len(resumed) > 7


def test_seeds_of_samples_differ(dataset):
    sampler = ClipSampler(dataset, lengths=4, seed=3)
    seeds = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        seeds += [index.seed for index in sampler]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(lengths={1: 4}), 'begins at epoch 0'),
        (dict(lengths=0), 'positive clip length'),
        (dict(max_interval=0), 'max_interval=0'),
        (dict(lengths=41), "lengths=41 frames: no sequence .* 4 is 's' with 40"),
    ],
)
def test_bad_options_are_named(dataset, options, message):
    dataset.sequences = dataset.sequences[:4]
    dataset.sequence_weights = dataset.sequence_weights[:4]
    with pytest.raises(ValueError, match=message):
        ClipSampler(dataset, seed=0, **options)


@pytest.fixture
def messages(monkeypatch) -> list[str]:
    """What is said."""
    said = []
    monkeypatch.setattr(samplers, 'print_log', lambda text, *_: said.append(text))
    return said


def _set(*sequences):
    for number, sequence in enumerate(sequences):
        sequence.name = f's{number}'
    weights = [1] * len(sequences)
    return SimpleNamespace(sequences=list(sequences), sequence_weights=weights)


@pytest.mark.parametrize(
    ('dataset', 'options', 'message'),
    [
        (
            _set(_sequence(3, [2] * 3), _sequence(7, [2] * 7)),
            dict(lengths=8),
            r"sampler\.lengths=8 frames: no sequence .* 2 is 's1' with 7\. Lower",
        ),
        (  # of a later epoch, known at the start
            _set(_sequence(7, [2] * 7)),
            dict(lengths={0: 2, 9: 8}),
            r"sampler\.lengths=8 frames: no sequence .* 1 is 's0' with 7\. Lower",
        ),
        (  # long enough, but with gaps
            _set(_sequence(3, [2] * 3), _sequence(9, [1, 1, 0, 1, 1, 1, 0, 1, 1])),
            dict(lengths=4, max_interval=1),
            'no clip of 2 sequences .* has 3, in',
        ),
        (
            _set(_sequence(9, [0] * 9)),
            dict(lengths=1),
            "no clip of 1 sequences .* has 0, in 's0'",
        ),
        (
            _set(_sequence(5, [2] * 5, repeat_in=range(5))),
            dict(lengths=2),
            'unique identities in each frame.* has 0',
        ),
        (_set(), dict(lengths=2), 'no clip of 0 sequences'),
        (
            _set(_sequence(1, [0], is_static=True)),
            dict(lengths=2),
            'no clip of 1 sequences',
        ),
    ],
)
def test_clips_that_no_sequence_gives_name_the_longest(dataset, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        ClipSampler(dataset, seed=0, **options)
    assert '\n' not in str(caught.value)


def test_sequences_that_give_no_clip_are_said(messages):
    crossing = _sequence(9, [2] * 9, repeat_in=range(0, 9, 2))
    dataset = _set(
        _sequence(9, [1] * 9), _sequence(5, [1] * 5), crossing, _sequence(4, [1] * 4)
    )
    sampler = ClipSampler(dataset, lengths=5, max_interval=1, seed=0)
    assert {index.sequence for index in sampler} == {0, 1}
    short, broken = messages
    assert '1 of 4 sequences have fewer than 5 frames' in short and 's3 (4' in short
    assert '1 of 4 sequences have no clip' in broken and 's2 (9' in broken
    # The epochs to come say nothing again.
    sampler.set_epoch(1)
    assert len(messages) == 2


def test_a_clip_that_skips_a_gap_counts(messages):
    """Frames 1, 3 and 5 are legal; a clip of three takes every second."""
    dataset = _set(_sequence(6, [0, 1, 0, 1, 0, 1]))
    sampler = ClipSampler(dataset, lengths=3, max_interval=2, seed=6)
    assert not messages
    assert {index.frames for index in sampler} == {(1, 3, 5)}


def test_single_frames():
    dataset = SimpleNamespace(sequences=[_sequence(4, [1, 0, 1, 1])])
    dataset.sequence_weights = [1]
    frames = sorted(i.frames for i in ClipSampler(dataset, lengths=1, seed=0))
    assert frames == [(0,), (2,), (3,)]


def test_whole_sequences_in_order(monkeypatch):
    lengths = [4, 9, 2, 5]
    dataset = SimpleNamespace(sequences=[_sequence(n, [1] * n) for n in lengths])
    for world in (1, 2, 6):
        seen = []
        for rank in range(world):
            monkeypatch.setattr(
                samplers, 'get_dist_info', lambda r=rank, w=world: (r, w)
            )
            sampler = SequenceSampler(dataset, seed=0)
            indices = list(sampler)
            assert len(indices) == len(sampler)
            own = sorted({i.sequence for i in indices})
            assert [(i.sequence, i.frames) for i in indices] == [
                (s, (t,)) for s in own for t in range(lengths[s])
            ]
            seen += own
        assert sorted(seen) == [0, 1, 2, 3]
    assert len(indices) == 0  # rank 5 of 6 has nothing to do
