# Copyright (c) mmfdta authors.
"""HistoryBuffer against a list of frames."""

import numpy as np
import pytest
import torch

from mmfdta.models.trackers.history import HistoryBuffer


@pytest.mark.parametrize('length', [1, 2, 3, 7])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_equals_a_list_of_frames(length: int, dtype: torch.dtype):
    rng = np.random.default_rng(length)
    buffer = HistoryBuffer(length, num_words=5, embed_dims=2)
    frames: list[dict[int, torch.Tensor]] = []
    for _ in range(40):
        forgotten = rng.permutation(5)[: rng.integers(0, 2)]
        buffer.forget(forgotten)
        for frame in frames:
            for word in forgotten:
                frame.pop(int(word), None)
        words = rng.permutation(5)[: rng.integers(0, 4)]
        features = torch.randn(len(words), 2).to(dtype)
        buffer.append(words, features)
        frames = [*frames, dict(zip(words.tolist(), features, strict=True))][-length:]

        live = sorted({word for frame in frames for word in frame})
        assert len(buffer) == len(frames)
        assert np.flatnonzero(buffer.live).tolist() == live
        history = buffer.read()
        assert history.id_labels.tolist() == live
        assert history.features.dtype == dtype
        for t, frame in enumerate(frames):
            for n, word in enumerate(live):
                assert bool(history.masks[t, n]) == (word not in frame)
                expected = frame.get(word, torch.zeros(2, dtype=dtype))
                assert torch.equal(history.features[t, n], expected)


def test_a_read_history_is_not_written_to():
    buffer = HistoryBuffer(2, num_words=2, embed_dims=1)
    words = np.array([0, 1])
    buffer.append(words, torch.ones(2, 1))
    history = buffer.read()
    for _ in range(5):
        buffer.append(words, torch.full((2, 1), 9.0))
    assert torch.equal(history.features, torch.ones(1, 2, 1))
    assert not history.masks.any()
