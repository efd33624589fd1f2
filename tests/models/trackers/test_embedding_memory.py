# Copyright (c) mmfdta authors.
"""EmbeddingMemory against a list of frames."""

import numpy as np
import pytest
import torch

from mmfdta.models.trackers import EmbeddingMemory


@pytest.mark.parametrize('length', [1, 2, 3, 7])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_equals_a_list_of_frames(length: int, dtype: torch.dtype):
    rng = np.random.default_rng(length)
    buffer = EmbeddingMemory(length, num_words=5)
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
        features = buffer.read(torch.tensor(live, dtype=torch.int64))
        assert features.dtype == dtype
        assert features.shape == (len(frames), len(live), 2)
        for t, frame in enumerate(frames):
            for n, word in enumerate(live):
                expected = frame.get(word, torch.zeros(2, dtype=dtype))
                assert torch.equal(features[t, n], expected)


def test_what_was_read_is_not_written_to():
    buffer = EmbeddingMemory(2, num_words=2)
    words = np.array([0, 1])
    buffer.append(words, torch.ones(2, 1))
    features = buffer.read(torch.tensor([0, 1]))
    for _ in range(5):
        buffer.append(words, torch.full((2, 1), 9.0))
    assert torch.equal(features, torch.ones(1, 2, 1))
